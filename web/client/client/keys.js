// Idempotency keys: one for each generation of a session, made *before* the
// refresh that uses it and the same for every try at it. Whoever shows the key
// again proves to be the one who made the first try; a thief who has copied the
// cookie jar has no key for the refresh that you have not begun yet.
//
// They live in IndexedDB, because with strict durability it survives a killed
// browser, which neither cookies nor localStorage do. They are not secret in the
// way that tokens are: without the refresh token a key opens nothing.

const STORE = 'idempotency-keys';
const KEPT = 3; // generations
const PATIENCE = 2_000; // a database that does not answer must not keep anybody from refreshing

/** Keys of this page, so that a try that is repeated has its key even where IndexedDB fails. @type {Map<string, Promise<string>>} */
const known = new Map();

/**
 * Returns the key of one generation of one session, making it if there is none.
 * It is on the disk before the promise resolves, if there is a disk.
 * @param {string} session @param {number} generation @returns {Promise<string>}
 */
export function idempotencyKey(session, generation) {
  const name = `${session}.${generation}`;
  let key = known.get(name);
  if (!key) {
    const fresh = randomKey(); // the same, whether the database keeps it now, late or never
    key = getOrCreate(session, generation, fresh).catch(() => fresh);
    known.set(name, key);
    for (const oldest of known.keys()) if (known.size > KEPT) known.delete(oldest);
  }
  return key;
}

/**
 * Get and create are one transaction, so that all tabs use the same key without asking each other.
 * @param {string} session @param {number} generation @param {string} fresh @returns {Promise<string>}
 */
function getOrCreate(session, generation, fresh) {
  return new Promise((resolve, reject) => {
    setTimeout(reject, PATIENCE);
    const opening = indexedDB.open('innkeeper', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onerror = opening.onblocked = reject;
    opening.onsuccess = () => {
      const database = opening.result;
      database.onversionchange = () => database.close();
      try {
        const transaction = database.transaction(STORE, 'readwrite', { durability: 'strict' });
        const keys = transaction.objectStore(STORE);
        const reading = keys.get([session, generation]);
        let key = fresh;
        reading.onsuccess = () => {
          key = reading.result ?? fresh;
          if (reading.result) return;
          keys.put(fresh, [session, generation]);
          keys.delete(IDBKeyRange.bound([session], [session, generation - KEPT]));
        };
        transaction.oncomplete = () => { database.close(); resolve(key); };
        transaction.onabort = () => { database.close(); reject(transaction.error); };
      } catch (error) {
        database.close();
        reject(error);
      }
    };
  });
}

/** 128 random bits, as 22 characters of base64url. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}
