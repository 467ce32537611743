// A session of Innkeeper on a phone: what to send, what to believe, what to keep.
// Nothing here is Apple's but Foundation: the store, the network and the time come from outside.
import Foundation

/// What an answer to a refresh means. examples/mobile/verdicts.json has every case.
enum Verdict: String { case adopt, relabel, again, logOut = "log_out", signIn = "sign_in", later }

private let dead: Set<String> = [
    "refresh_token_missing", "refresh_token_invalid", "refresh_token_expired", "refresh_token_reused", "session_ended",
]

/// Judges an answer by its status (0: none that can be read) and code. moved: the store no longer holds what
/// was sent. before: this generation was called superseded once already. Only what is listed ends a session;
/// whatever else a server or a captive portal may say does not.
func judge(status: Int, code: String?, moved: Bool, before: Bool) -> Verdict {
    switch (status, code ?? "") {
    case (200, _): return .adopt
    case (409, "refresh_generation_mismatch"): return .relabel
    case (409, "refresh_superseded"): return before && !moved ? .logOut : .again
    case (401, let code) where dead.contains(code): return moved ? .again : .signIn
    default: return .later
    }
}

/// All that outlives the process, in one record, since a token without its key is half of nothing.
struct Saved: Codable, Sendable, CustomStringConvertible {
    var session: String
    var user: String
    var generation: Int
    var refreshToken: String
    var keys: [Int: String] = [:] // idempotency keys, of the last three generations
    var superseded = 0 // the generation that was called superseded once, 0 if none
    var ending = false // signed out here, and the server may not know yet

    var description: String { "Saved(\(session), generation \(generation))" } // no secret reaches a log
}

/// Keeps the record. read and write throw if they cannot tell or cannot do it; that is never "nobody".
protocol Vault: Sendable {
    /// Runs act while nobody else does, in this process or another.
    func exclusively<T: Sendable>(_ act: @escaping @Sendable () async throws -> T) async throws -> T

    /// The record, nil if nobody is signed in here.
    func read() throws -> Saved?

    /// Returns when a power cut cannot undo it any more. nil removes the record.
    func write(_ saved: Saved?) throws
}

/// An answer. status is 0 if there was none, or if a 200 or an error had no JSON in it. retryAfter is in seconds.
struct Reply: Sendable {
    var status: Int
    var body = Data()
    var retryAfter = 0.0

    var problem: Problem? { try? JSONDecoder().decode(Problem.self, from: body) }
}

struct Problem: Decodable, Sendable {
    let code: String?
    let reason: String?
    let generation: Int?
}

/// Posts JSON to the issuer: https only, no redirects, a time-out of 8 s, at most 1 MiB of answer.
protocol Wire: Sendable {
    func post(_ path: String, _ body: [String: String], headers: [String: String]) async -> Reply
}

/// Two clocks in seconds: the wall's, which may jump, and one that runs through sleep.
struct Moment: Sendable {
    let wall: Double
    let running: Double
}

enum SessionError: Error, Sendable {
    /// Sign in again: the session is over, for the reason of the server.
    case signedOut(reason: String)
    /// The session lives; it could not be refreshed now. Try again after so many seconds.
    case unavailable(retryAfter: Double)
    /// A sign-in was refused, with the code of the server.
    case refused(status: Int, code: String?)
    case signOutFirst
}

/// One per process, and as long-lived. onError hears of a store that cannot be written.
actor InnkeeperSession {
    private let vault: any Vault
    private let wire: any Wire
    private let now: @Sendable () -> Moment
    private let onError: @Sendable (any Error) -> Void
    private var access: Access?
    private var running: (flight: Task<String, any Error>, number: Int)?
    private var flights = 0
    private var epoch = 0 // counts sign-ins and sign-outs: a flight of an older one is not believed
    private var signedOut = false
    private var failures = 0
    private var quietUntil = 0.0

    init(
        vault: any Vault, wire: any Wire, now: @escaping @Sendable () -> Moment,
        onError: @escaping @Sendable (any Error) -> Void = { _ in }
    ) {
        self.vault = vault
        self.wire = wire
        self.now = now
        self.onError = onError
    }

    /// An access token for a request to your API. Pass the token that an API has refused with 401
    /// invalid_token as refused, and repeat the request once. Throws signedOut or unavailable.
    func accessToken(refused: String? = nil) async throws -> String {
        if signedOut { throw SessionError.signedOut(reason: "logout") }
        if let held = access, held.token != refused, !held.expired(now()) {
            if held.stale(now()) { _ = fly() } // in the background: nobody waits for it
            return held.token
        }
        return try await outcome(of: fly())
    }

    /// Signs in. device is what the list of sessions shows. Throws refused or unavailable.
    func signIn(username: String, password: String, device: String) async throws {
        try await inOwnTime { try await self.enter(username, password, device) }
    }

    /// Signs out, here at once. The server learns of it now or, offline, with the next start.
    func signOut() async throws {
        turn(signedOut: true, access: nil)
        try await inOwnTime {
            if let saved = try self.vault.read() { _ = try await self.end(saved) }
        }
    }

    /// Call it when the network is back: the next token is asked for at once.
    func networkIsBack() { quietUntil = 0 }

    // A task of its own outlives whoever started it: a screen that closes must not throw away an answer.
    private func inOwnTime(_ act: @escaping @Sendable () async throws -> Void) async throws {
        try await Task { try await self.vault.exclusively(act) }.value
    }

    // Who gives up waiting ends their own wait and nothing else.
    private func outcome(of flight: Task<String, any Error>) async throws -> String {
        let landed = AsyncThrowingStream<String, any Error> { stream in
            Task {
                do {
                    stream.yield(try await flight.value)
                    stream.finish()
                } catch {
                    stream.finish(throwing: error)
                }
            }
        }
        for try await token in landed { return token }
        throw CancellationError()
    }

    // No await between the look and the note: two callers never start two flights. A flight is over when
    // its function has returned, and not before.
    private func fly() -> Task<String, any Error> {
        if let running { return running.flight }
        flights += 1
        let number = flights, started = epoch
        let flight = Task { () throws -> String in
            defer { if self.running?.number == number { self.running = nil } }
            do {
                let quiet = self.quietUntil - self.now().running
                if quiet > 0 { throw SessionError.unavailable(retryAfter: quiet) }
                let token = try await self.vault.exclusively { try await self.refresh(started) }
                self.failures = 0
                return token
            } catch let error as SessionError {
                if case .signedOut = error, started == self.epoch { self.access = nil }
                throw error
            } catch { // a locked keychain, a suspended app: no verdict on the session
                throw self.later(0)
            }
        }
        running = (flight, number)
        return flight
    }

    private func refresh(_ started: Int) async throws -> String {
        let began = now()
        for attempt in 0..<5 {
            if started != epoch { throw SessionError.signedOut(reason: "logout") }
            guard var saved = try vault.read() else { throw SessionError.signedOut(reason: "refresh_token_missing") }
            if saved.ending {
                _ = try await end(saved)
                throw SessionError.signedOut(reason: "logout")
            }
            saved = try withKey(saved) // stored before the request leaves: it proves that a retry is ours
            let asked = now()
            let reply = await wire.post(
                "/auth/refresh", ["refresh_token": saved.refreshToken],
                headers: ["Idempotency-Key": "\"\(saved.keys[saved.generation]!)\";generation=\(saved.generation)"]
            )
            let problem = reply.problem
            let moved = try vault.read()?.refreshToken != saved.refreshToken
            switch judge(status: reply.status, code: problem?.code, moved: moved, before: saved.superseded == saved.generation) {
            case .adopt:
                return try adopt(saved, try JSONDecoder().decode(Tokens.self, from: reply.body), asked, started)
            case .relabel:
                guard let generation = problem?.generation else { throw later(0) }
                saved.generation = generation
                if !moved { try vault.write(try withKey(saved)) }
            case .again:
                saved.superseded = saved.generation
                if !moved { try vault.write(saved) }
            case .logOut:
                _ = try await end(saved)
                throw SessionError.signedOut(reason: "refresh_superseded")
            case .signIn:
                try vault.write(nil) // what was refused is what it holds: nothing else can be lost
                throw SessionError.signedOut(reason: problem?.reason ?? problem?.code ?? "")
            case .later:
                // The answer may have been lost after the act. The same token with the same key gets it again.
                if reply.status != 0 || now().running - began.running > 5 { throw later(reply.retryAfter) }
                try await Task.sleep(nanoseconds: UInt64.random(in: 0..<(500_000_000 << UInt64(attempt))))
            }
        }
        throw later(0)
    }

    private func withKey(_ saved: Saved) throws -> Saved {
        if saved.keys[saved.generation] != nil { return saved }
        var next = saved
        next.keys[next.generation] = UUID().uuidString // 122 bits of the system's secure random numbers
        let latest = next.keys.keys.sorted(by: >).prefix(3)
        next.keys = next.keys.filter { latest.contains($0.key) || $0.key == next.generation }
        try vault.write(next)
        return next
    }

    // Stored first, used after. If it cannot be stored the access token serves all the same: the store still
    // holds the parent and its key, and presenting them again brings the same successor.
    private func adopt(_ saved: Saved, _ tokens: Tokens, _ asked: Moment, _ started: Int) throws -> String {
        guard tokens.session.id == saved.session, tokens.user.id == saved.user else { throw later(0) } // about another session
        if let refreshToken = tokens.refreshToken { // without one the old one stays
            var next = saved
            next.generation = tokens.session.generation
            next.refreshToken = refreshToken
            next.superseded = 0
            do { try vault.write(next) } catch { onError(error) }
        }
        if started != epoch { throw SessionError.signedOut(reason: "logout") }
        access = Access(tokens, asked)
        return tokens.accessToken
    }

    private func enter(_ username: String, _ password: String, _ device: String) async throws {
        if let saved = try vault.read() {
            guard saved.ending else { throw SessionError.signOutFirst }
            let over = try await end(saved)
            if !over { throw later(0) }
        }
        let asked = now()
        let body = ["username": username, "password": password, "device": device, "delivery": "body"]
        let reply = await wire.post("/auth/login", body, headers: [:])
        guard reply.status == 200 else {
            if (400..<500).contains(reply.status) { throw SessionError.refused(status: reply.status, code: reply.problem?.code) }
            throw SessionError.unavailable(retryAfter: reply.retryAfter)
        }
        let tokens = try JSONDecoder().decode(Tokens.self, from: reply.body)
        guard let refreshToken = tokens.refreshToken else { throw SessionError.unavailable(retryAfter: 0) }
        do {
            try vault.write(Saved(
                session: tokens.session.id, user: tokens.user.id, generation: tokens.session.generation, refreshToken: refreshToken
            ))
        } catch { // a session that cannot be kept is not left behind on the server
            _ = await wire.post("/auth/logout", ["refresh_token": refreshToken], headers: [:])
            throw error
        }
        turn(signedOut: false, access: Access(tokens, asked))
    }

    // From here on nobody believes a flight that began before.
    private func turn(signedOut: Bool, access: Access?) {
        epoch += 1
        running = nil
        failures = 0
        quietUntil = 0
        self.signedOut = signedOut
        self.access = access
    }

    // Written down before it is sent, so that no restart brings a session back to life. Says whether the server knows.
    private func end(_ saved: Saved) async throws -> Bool {
        var ending = saved
        ending.ending = true
        try vault.write(ending)
        let reply = await wire.post("/auth/logout", ["scope": "this", "refresh_token": saved.refreshToken], headers: [:])
        let over = reply.status == 204 || judge(status: reply.status, code: reply.problem?.code, moved: false, before: false) == .signIn
        if over { try vault.write(nil) }
        return over
    }

    // Full jitter from 0.5 s to 30 s, or what the server asks for, up to five minutes.
    private func later(_ retryAfter: Double) -> SessionError {
        let wait = max(Double.random(in: 0..<min(30, 0.5 * Double(1 << min(failures, 6)))), min(retryAfter, 300))
        failures += 1
        quietUntil = now().running + wait
        return .unavailable(retryAfter: wait)
    }
}

private struct Tokens: Decodable, Sendable {
    struct Session: Decodable, Sendable { let id: String, generation: Int }
    struct User: Decodable, Sendable { let id: String }
    enum CodingKeys: String, CodingKey {
        case accessToken = "access_token", expiresIn = "expires_in", refreshToken = "refresh_token", session, user
    }

    let accessToken: String
    let expiresIn: Double
    let refreshToken: String?
    let session: Session
    let user: User
}

// Lives in memory only. Its age counts from when it was asked for, by whichever clock says more; it is never
// compared with a time of the server.
private struct Access: Sendable {
    let token: String
    private let life: Double
    private let asked: Moment

    init(_ tokens: Tokens, _ asked: Moment) {
        token = tokens.accessToken
        life = tokens.expiresIn
        self.asked = asked
    }

    private func age(_ now: Moment) -> Double { max(now.wall - asked.wall, now.running - asked.running) }
    func expired(_ now: Moment) -> Bool { age(now) >= life }
    func stale(_ now: Moment) -> Bool { age(now) >= life - min(60, life / 5) }
}
