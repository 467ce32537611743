// What InnkeeperSession needs of Android: a record that only this app on this device can read, the network, and the time.
package com.example.innkeeper

import android.content.Context
import android.os.SystemClock
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import android.system.Os
import android.system.OsConstants
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.io.RandomAccessFile
import java.net.HttpURLConnection
import java.net.URL
import java.security.KeyStore
import javax.crypto.AEADBadTagException
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec
import kotlinx.coroutines.delay
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.json.JSONException
import org.json.JSONObject

/** The session of this app. Make one, in your Application object. */
fun innkeeper(context: Context, issuer: String, onError: (Throwable) -> Unit) = InnkeeperSession(
    KeystoreVault(context.noBackupFilesDir), // never in a backup, never on another device
    HttpWire(issuer),
    { Moment(System.currentTimeMillis(), SystemClock.elapsedRealtime()) }, // uptimeMillis would stop in sleep
    onError,
)

/** One file, encrypted with a key that never leaves the Keystore. */
class KeystoreVault(private val directory: File) : Vault {
    private val mutex = Mutex()
    private val file = File(directory, "innkeeper.session")

    // The lock file stays where it is: whoever deletes one lets two processes hold "the" lock.
    override suspend fun <T> exclusively(act: suspend () -> T): T = mutex.withLock {
        RandomAccessFile(File(directory, "innkeeper.lock"), "rw").use { lock ->
            while (lock.channel.tryLock() == null) delay(20) // another process of this app (android:process)
            act()
        }
    }

    override fun read(): Saved? {
        if (!file.exists()) return null
        val key = key() ?: return null // a file that came from another device: nobody is signed in on this one
        val bytes = file.readBytes()
        return try {
            val cipher = Cipher.getInstance(TRANSFORMATION)
            cipher.init(Cipher.DECRYPT_MODE, key, GCMParameterSpec(128, bytes, 0, NONCE))
            Saved.decode(String(cipher.doFinal(bytes, NONCE, bytes.size - NONCE)))
        } catch (_: AEADBadTagException) {
            null // damaged, or of a key that is gone: it will never be readable. All other exceptions may pass
        }
    }

    override fun write(saved: Saved?) {
        if (saved == null) {
            if (!file.delete() && file.exists()) throw IOException("the session could not be removed")
            return settle()
        }
        val cipher = Cipher.getInstance(TRANSFORMATION)
        cipher.init(Cipher.ENCRYPT_MODE, key() ?: newKey())
        val next = File(directory, "innkeeper.session.next")
        FileOutputStream(next).use {
            it.write(cipher.iv)
            it.write(cipher.doFinal(saved.encode().toByteArray()))
            it.fd.sync() // before the rename, or a power cut leaves an empty file under the old name
        }
        if (!next.renameTo(file)) throw IOException("the session could not be replaced")
        settle()
    }

    // Makes the rename itself last: a key that a power cut takes back after its request has left proves nothing.
    private fun settle() {
        val folder = Os.open(directory.path, OsConstants.O_RDONLY, 0)
        try {
            Os.fsync(folder)
        } finally {
            Os.close(folder)
        }
    }

    private fun keys() = KeyStore.getInstance("AndroidKeyStore").apply { load(null) }

    private fun key(): SecretKey? = keys().getKey(ALIAS, null) as SecretKey?

    // No setUserAuthenticationRequired: a refresh in the background could not use such a key.
    private fun newKey(): SecretKey = KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, "AndroidKeyStore").run {
        init(
            KeyGenParameterSpec.Builder(ALIAS, KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT)
                .setBlockModes(KeyProperties.BLOCK_MODE_GCM).setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                .setKeySize(256).build(),
        )
        generateKey()
    }

    private companion object {
        const val ALIAS = "innkeeper"
        const val TRANSFORMATION = "AES/GCM/NoPadding"
        const val NONCE = 12
    }
}

/** HttpURLConnection is enough for three requests. With OkHttp use a client of its own, without your authenticator. */
class HttpWire(private val issuer: String) : Wire {
    init {
        require(issuer.startsWith("https://") || URL(issuer).host in setOf("localhost", "127.0.0.1", "10.0.2.2")) { "the issuer must be https" }
    }

    override suspend fun post(path: String, body: JSONObject, headers: Map<String, String>): Reply {
        val connection = URL(issuer.trimEnd('/') + path).openConnection() as HttpURLConnection
        return try {
            connection.run {
                requestMethod = "POST"
                doOutput = true
                useCaches = false
                instanceFollowRedirects = false // a redirect would carry the token to wherever it points
                connectTimeout = 4_000
                readTimeout = 4_000
                setRequestProperty("Content-Type", "application/json")
                headers.forEach { (name, value) -> setRequestProperty(name, value) }
                outputStream.use { it.write(body.toString().toByteArray()) }
                val status = responseCode
                if (status == 204) return Reply(status)
                val text = (if (status < 400) inputStream else errorStream ?: return Reply(0)).use { upTo(1 shl 20, it) }
                Reply(status, JSONObject(text), (getHeaderField("Retry-After")?.toLongOrNull() ?: 0) * 1000)
            }
        } catch (_: IOException) {
            Reply(0) // it may have arrived: only the same request with the same key will tell
        } catch (_: JSONException) {
            Reply(0)
        } finally {
            connection.disconnect()
        }
    }

    private fun upTo(limit: Int, stream: InputStream): String {
        val text = ByteArrayOutputStream()
        val buffer = ByteArray(8192)
        while (true) {
            val n = stream.read(buffer)
            if (n < 0) return text.toString("UTF-8")
            if (text.size() + n > limit) throw IOException("the answer is too long")
            text.write(buffer, 0, n)
        }
    }
}
