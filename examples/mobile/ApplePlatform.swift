// What InnkeeperSession needs of iOS: a record that only this app and its extensions on this device can read, the
// network, and the time.
import Darwin
import Foundation
import Security

extension InnkeeperSession {
    /// The session of this app. Make one, and keep it. group is an App Group, such as group.com.example, which
    /// the app and its extensions have among their entitlements; it names their part of the keychain, too.
    static func onThisDevice(
        issuer: String, group: String, onError: @escaping @Sendable (any Error) -> Void
    ) -> InnkeeperSession {
        InnkeeperSession(
            vault: KeychainVault(group: group), wire: HTTPSWire(issuer: issuer),
            now: { // CLOCK_MONOTONIC_RAW goes on in sleep, CLOCK_UPTIME_RAW would stop
                Moment(wall: Date().timeIntervalSince1970, running: Double(clock_gettime_nsec_np(CLOCK_MONOTONIC_RAW)) / 1e9)
            },
            onError: onError
        )
    }
}

struct StorageFailure: Error { let status: Int }

/// One item of the keychain, and a lock file in the App Group.
struct KeychainVault: Vault {
    let group: String

    // Two things at once. The lock keeps a widget and the app apart. The activity keeps iOS from suspending us
    // between the answer and the write; and it must, since a process that is suspended while it holds a lock in
    // an App Group is killed (0xdead10cc). When its time is up the request is given up, which loses nothing.
    func exclusively<T: Sendable>(_ act: @escaping @Sendable () async throws -> T) async throws -> T {
        let finished = DispatchSemaphore(value: 0)
        let work = Task { () throws -> T in
            defer { finished.signal() }
            let file = try await lock()
            defer { Darwin.close(file) } // which gives the lock back
            return try await act()
        }
        ProcessInfo.processInfo.performExpiringActivity(withReason: "innkeeper") { expired in
            if expired { work.cancel() } else { finished.wait() }
        }
        return try await work.value
    }

    // The lock file stays where it is: whoever deletes one lets two processes hold "the" lock.
    private func lock() async throws -> Int32 {
        guard let folder = FileManager.default.containerURL(forSecurityApplicationGroupIdentifier: group) else {
            throw StorageFailure(status: Int(errSecMissingEntitlement))
        }
        let file = Darwin.open(folder.appendingPathComponent("innkeeper.lock").path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw StorageFailure(status: Int(errno)) }
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            do { try await Task.sleep(nanoseconds: 20_000_000) } catch {
                Darwin.close(file)
                throw error
            }
        }
        return file
    }

    private var item: [CFString: Any] {
        [
            kSecClass: kSecClassGenericPassword, kSecAttrService: "innkeeper", kSecAttrAccount: "session",
            kSecAttrAccessGroup: group, kSecUseDataProtectionKeychain: true,
        ]
    }

    func read() throws -> Saved? {
        var found: CFTypeRef?
        let query = item.merging([kSecReturnData: true]) { $1 }
        switch SecItemCopyMatching(query as CFDictionary, &found) {
        case errSecSuccess:
            guard let data = found as? Data else { throw StorageFailure(status: Int(errSecDecode)) }
            return try JSONDecoder().decode(Saved.self, from: data)
        case errSecItemNotFound:
            return nil
        case let status: // such as errSecInteractionNotAllowed, before the first unlock: we cannot tell
            throw StorageFailure(status: Int(status))
        }
    }

    func write(_ saved: Saved?) throws {
        guard let saved else {
            let status = SecItemDelete(item as CFDictionary)
            guard status == errSecSuccess || status == errSecItemNotFound else { throw StorageFailure(status: Int(status)) }
            return
        }
        let content: [CFString: Any] = [
            kSecValueData: try JSONEncoder().encode(saved),
            // Readable in the background, in no backup that another device could restore.
            kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
        ]
        // Update first: deleting and adding would leave a moment without a session.
        var status = SecItemUpdate(item as CFDictionary, content as CFDictionary)
        if status == errSecItemNotFound { status = SecItemAdd(item.merging(content) { $1 } as CFDictionary, nil) }
        guard status == errSecSuccess else { throw StorageFailure(status: Int(status)) }
    }
}

/// A URLSession of its own: no cookies, no cache, no redirects, nothing on disk.
final class HTTPSWire: NSObject, Wire, URLSessionTaskDelegate {
    private let issuer: String
    private let session: URLSession

    init(issuer: String) {
        precondition(issuer.hasPrefix("https://") || URL(string: issuer)?.host == "localhost", "the issuer must be https")
        self.issuer = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
        let configuration = URLSessionConfiguration.ephemeral
        configuration.timeoutIntervalForRequest = 8
        configuration.timeoutIntervalForResource = 8
        configuration.waitsForConnectivity = false
        configuration.httpCookieStorage = nil
        configuration.urlCache = nil
        session = URLSession(configuration: configuration)
    }

    func post(_ path: String, _ body: [String: String], headers: [String: String]) async -> Reply {
        guard let url = URL(string: issuer + path) else { return Reply(status: 0) }
        var request = URLRequest(url: url)
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        do {
            request.httpBody = try JSONEncoder().encode(body)
            let (bytes, response) = try await session.bytes(for: request, delegate: self)
            guard let response = response as? HTTPURLResponse else { return Reply(status: 0) }
            if response.statusCode == 204 { return Reply(status: 204) }
            var text = Data()
            for try await byte in bytes {
                text.append(byte)
                if text.count > 1 << 20 { return Reply(status: 0) }
            }
            guard (try? JSONSerialization.jsonObject(with: text)) is [String: Any] else { return Reply(status: 0) }
            let wait = response.value(forHTTPHeaderField: "Retry-After").flatMap(Double.init) ?? 0
            return Reply(status: response.statusCode, body: text, retryAfter: wait)
        } catch { // it may have arrived: only the same request with the same key will tell
            return Reply(status: 0)
        }
    }

    // A redirect would carry the token to wherever it points.
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest
    ) async -> URLRequest? { nil }
}
