// A session of Innkeeper on a phone: what to send, what to believe, what to keep.
// Nothing here is Android's: the store, the network and the time come from outside.
package com.example.innkeeper

import java.io.IOException
import java.util.UUID
import kotlin.math.max
import kotlin.math.min
import kotlin.random.Random
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import org.json.JSONObject

/** What an answer to a refresh means. examples/mobile/verdicts.json has every case. */
enum class Verdict { ADOPT, RELABEL, AGAIN, LOG_OUT, SIGN_IN, LATER }

private val dead = setOf(
    "refresh_token_missing", "refresh_token_invalid", "refresh_token_expired", "refresh_token_reused", "session_ended",
)

/**
 * Judges an answer by its status (0: none that can be read) and code. [moved]: the store no longer
 * holds what was sent. [before]: this generation was called superseded once already. Only what is
 * listed ends a session; whatever else a server or a captive portal may say does not.
 */
fun judge(status: Int, code: String?, moved: Boolean, before: Boolean): Verdict = when {
    status == 200 -> Verdict.ADOPT
    status == 409 && code == "refresh_generation_mismatch" -> Verdict.RELABEL
    status == 409 && code == "refresh_superseded" -> if (before && !moved) Verdict.LOG_OUT else Verdict.AGAIN
    status == 401 && code in dead -> if (moved) Verdict.AGAIN else Verdict.SIGN_IN
    else -> Verdict.LATER
}

/** All that outlives the process, in one record, since a token without its key is half of nothing. */
data class Saved(
    val session: String,
    val user: String,
    val generation: Long,
    val refreshToken: String,
    val keys: Map<Long, String> = emptyMap(), // idempotency keys, of the last three generations
    val superseded: Long = 0, // the generation that was called superseded once, 0 if none
    val ending: Boolean = false, // signed out here, and the server may not know yet
) {
    override fun toString() = "Saved($session, generation $generation)" // no secret reaches a log

    fun encode(): String = JSONObject().put("session", session).put("user", user).put("generation", generation)
        .put("refresh_token", refreshToken).put("keys", JSONObject(keys.mapKeys { it.key.toString() }))
        .put("superseded", superseded).put("ending", ending).toString()

    companion object {
        fun decode(text: String): Saved = JSONObject(text).run {
            val keys = getJSONObject("keys")
            Saved(
                getString("session"), getString("user"), getLong("generation"), getString("refresh_token"),
                keys.keys().asSequence().map { it as String }.associate { it.toLong() to keys.getString(it) },
                getLong("superseded"), getBoolean("ending"),
            )
        }
    }
}

/** Keeps the record. read and write throw if they cannot tell or cannot do it; that is never "nobody". */
interface Vault {
    /** Runs [act] while nobody else does, in this process or another. */
    suspend fun <T> exclusively(act: suspend () -> T): T

    /** The record, null if nobody is signed in here. */
    fun read(): Saved?

    /** Returns when a power cut cannot undo it any more. null removes the record. */
    fun write(saved: Saved?)
}

/** An answer. [status] is 0 if there was none, or if a 200 or an error had no JSON in it. */
class Reply(val status: Int, val body: JSONObject = JSONObject(), val retryAfter: Long = 0) {
    val code: String? get() = if (body.has("code")) body.getString("code") else null
}

/** Posts JSON to the issuer: https only, no redirects, a time-out of 8 s, at most 1 MiB of answer. */
interface Wire {
    suspend fun post(path: String, body: JSONObject, headers: Map<String, String> = emptyMap()): Reply
}

/** Two clocks in milliseconds: the wall's, which may jump, and one that runs through sleep. */
class Moment(val wall: Long, val running: Long)

/** Sign in again: the session is over, for the [reason] of the server. */
class SignedOut(val reason: String) : Exception("signed out: $reason")

/** The session lives; it could not be refreshed now. Try again after [retryAfter] milliseconds. */
class Unavailable(val retryAfter: Long, cause: Throwable? = null) : IOException("sign-in service unavailable", cause)

/** A sign-in was refused, with the [code] of the server. */
class Refused(val status: Int, val code: String?) : Exception("sign-in refused: $status $code")

/** One per process, and as long-lived. [onError] hears of a store that cannot be written. */
class InnkeeperSession(
    private val vault: Vault,
    private val wire: Wire,
    private val now: () -> Moment,
    private val onError: (Throwable) -> Unit = {},
) {
    // A flight outlives whoever started it: a screen that closes must not throw away an answer.
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)
    private val lock = Any() // guards the fields below, and is never held across I/O
    private var access: Access? = null
    private var running: Deferred<String>? = null
    private var epoch = 0 // counts sign-ins and sign-outs: a flight of an older one is not believed
    private var signedOut = false
    private var failures = 0
    private var quietUntil = 0L

    /**
     * An access token for a request to your API. Pass the token that an API has refused with 401
     * `invalid_token` as [refused], and repeat the request once. Throws SignedOut or Unavailable.
     */
    suspend fun accessToken(refused: String? = null): String {
        val flight = synchronized(lock) {
            if (signedOut) throw SignedOut("logout")
            val held = access
            if (held != null && held.token != refused && !held.expired(now())) {
                if (held.stale(now())) fly() // in the background: nobody waits for it
                return held.token
            }
            fly()
        }
        return flight.await() // who gives up waiting ends their own wait and nothing else
    }

    /** Signs in. [device] is what the list of sessions shows. Throws Refused or Unavailable. */
    suspend fun signIn(username: String, password: String, device: String) = inOwnTime {
        vault.read()?.let {
            check(it.ending) { "sign out first" }
            if (!end(it)) throw later(0)
        }
        val asked = now()
        val body = JSONObject().put("username", username).put("password", password).put("device", device).put("delivery", "body")
        val reply = wire.post("/auth/login", body)
        if (reply.status != 200) throw if (reply.status in 400..499) Refused(reply.status, reply.code) else Unavailable(reply.retryAfter)
        val tokens = Tokens(reply.body)
        val saved = Saved(tokens.session, tokens.user, tokens.generation, tokens.refreshToken!!)
        try {
            vault.write(saved)
        } catch (e: Exception) { // a session that cannot be kept is not left behind on the server
            wire.post("/auth/logout", JSONObject().put("refresh_token", saved.refreshToken))
            throw Unavailable(0, e)
        }
        synchronized(lock) {
            epoch++
            running = null
            signedOut = false
            failures = 0
            quietUntil = 0
            access = Access(tokens, asked)
        }
    }

    /** Signs out, here at once. The server learns of it now or, offline, with the next start. */
    suspend fun signOut() {
        synchronized(lock) {
            epoch++
            running = null
            signedOut = true
            access = null
        }
        inOwnTime { vault.read()?.let { end(it) } }
    }

    /** Call it when the network is back: the next token is asked for at once. */
    fun networkIsBack() = synchronized(lock) { quietUntil = 0 }

    private suspend fun <T> inOwnTime(act: suspend () -> T): T = scope.async { vault.exclusively(act) }.await()

    // The lock is held. A flight is over when its function has returned, and not before.
    private fun fly(): Deferred<String> {
        running?.let { if (!it.isCompleted) return it }
        val started = epoch
        return scope.async {
            try {
                synchronized(lock) { if (now().running < quietUntil) throw Unavailable(quietUntil - now().running) }
                vault.exclusively { refresh(started) }.also { synchronized(lock) { failures = 0 } }
            } catch (e: SignedOut) {
                synchronized(lock) { if (started == epoch) access = null }
                throw e
            } catch (e: Unavailable) {
                throw e
            } catch (e: Exception) { // a locked keystore, a full disk: no verdict on the session
                throw later(0, e)
            }
        }.also { running = it }
    }

    private suspend fun refresh(started: Int): String {
        val began = now()
        repeat(5) { attempt ->
            synchronized(lock) { if (started != epoch) throw SignedOut("logout") }
            var saved = vault.read() ?: throw SignedOut("refresh_token_missing")
            if (saved.ending) {
                end(saved)
                throw SignedOut("logout")
            }
            saved = withKey(saved) // stored before the request leaves: it proves that a retry is ours
            val asked = now()
            val reply = wire.post(
                "/auth/refresh", JSONObject().put("refresh_token", saved.refreshToken),
                mapOf("Idempotency-Key" to "\"${saved.keys[saved.generation]}\";generation=${saved.generation}"),
            )
            val moved = vault.read()?.refreshToken != saved.refreshToken
            when (judge(reply.status, reply.code, moved, saved.superseded == saved.generation)) {
                Verdict.ADOPT -> return adopt(saved, Tokens(reply.body), asked, started)
                Verdict.RELABEL -> if (!moved) vault.write(withKey(saved.copy(generation = reply.body.getLong("generation"))))
                Verdict.AGAIN -> if (!moved) vault.write(saved.copy(superseded = saved.generation))
                Verdict.LOG_OUT -> {
                    end(saved)
                    throw SignedOut("refresh_superseded")
                }
                Verdict.SIGN_IN -> {
                    vault.write(null) // what was refused is what it holds: nothing else can be lost
                    throw SignedOut(reply.body.optString("reason", reply.code))
                }
                // The answer may have been lost after the act. The same token with the same key gets it again.
                Verdict.LATER -> {
                    if (reply.status != 0 || now().running - began.running > 5_000) throw later(reply.retryAfter)
                    delay(Random.nextLong(500L shl attempt))
                }
            }
        }
        throw later(0)
    }

    private fun withKey(saved: Saved): Saved {
        if (saved.generation in saved.keys) return saved
        val keys = saved.keys + (saved.generation to UUID.randomUUID().toString()) // 122 bits of SecureRandom
        val latest = keys.keys.sortedDescending().take(3)
        return saved.copy(keys = keys.filterKeys { it in latest || it == saved.generation }).also { vault.write(it) }
    }

    // Stored first, used after. If it cannot be stored the access token serves all the same: the store
    // still holds the parent and its key, and presenting them again brings the same successor.
    private fun adopt(saved: Saved, tokens: Tokens, asked: Moment, started: Int): String {
        if (tokens.session != saved.session || tokens.user != saved.user) throw IOException("the answer is about another session")
        if (tokens.refreshToken != null) {
            try {
                vault.write(saved.copy(generation = tokens.generation, refreshToken = tokens.refreshToken, superseded = 0))
            } catch (e: Exception) {
                onError(e)
            }
        }
        synchronized(lock) {
            if (started != epoch) throw SignedOut("logout")
            access = Access(tokens, asked)
        }
        return tokens.access
    }

    // Written down before it is sent, so that no restart brings a session back to life. Says whether the server knows.
    private suspend fun end(saved: Saved): Boolean {
        vault.write(saved.copy(ending = true))
        val reply = wire.post("/auth/logout", JSONObject().put("scope", "this").put("refresh_token", saved.refreshToken))
        val over = reply.status == 204 || judge(reply.status, reply.code, moved = false, before = false) == Verdict.SIGN_IN
        if (over) vault.write(null)
        return over
    }

    // Full jitter from 0.5 s to 30 s, or what the server asks for, up to five minutes.
    private fun later(retryAfter: Long, cause: Throwable? = null): Unavailable = synchronized(lock) {
        val wait = max(Random.nextLong(min(30_000L, 500L shl min(failures++, 6))), min(retryAfter, 300_000L))
        quietUntil = now().running + wait
        Unavailable(wait, cause)
    }
}

private class Tokens(body: JSONObject) {
    val access: String = body.getString("access_token")
    val life: Long = body.getLong("expires_in") * 1000
    val refreshToken: String? = if (body.has("refresh_token")) body.getString("refresh_token") else null // without: the old one stays
    val session: String = body.getJSONObject("session").getString("id")
    val generation: Long = body.getJSONObject("session").getLong("generation")
    val user: String = body.getJSONObject("user").getString("id")
}

// Lives in memory only. Its age counts from when it was asked for, by whichever clock says more; it is
// never compared with a time of the server.
private class Access(tokens: Tokens, private val asked: Moment) {
    val token = tokens.access
    private val life = tokens.life
    private fun age(now: Moment) = max(now.wall - asked.wall, now.running - asked.running)
    fun expired(now: Moment) = age(now) >= life
    fun stale(now: Moment) = age(now) >= life - min(60_000, life / 5)
}
