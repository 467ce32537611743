// Idempotency keys: one for each generation of a session, made *before* the
// refresh that uses it and the same for every try at it. Whoever shows the key
// again proves to be the one who made the first try; a thief who has copied the
// cookie jar has no key for the refresh that you have not begun yet.
//
// They live in IndexedDB, because with strict durability it survives a killed
// browser, which neither cookies nor localStorage do. They are not secret in the
// way that tokens are: without the refresh token a key opens nothing.

const DATABASE = 'innkeeper-demo';
const STORE = 'idempotency-keys';
const KEPT = 3; // generations

// Where IndexedDB is switched off, keys live as long as the page.
const memory = new Map();

/**
 * Returns the key of one generation of one session, making it if there is none.
 * It is on the disk before the promise resolves.
 */
export async function idempotencyKey(session, generation) {
  try {
    return await getOrCreate(session, generation);
  } catch {
    const name = `${session}.${generation}`;
    if (!memory.has(name)) memory.set(name, randomKey());
    return memory.get(name);
  }
}

// Get and create are one transaction, so that all tabs use the same key without
// asking each other.
async function getOrCreate(session, generation) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, 'readwrite', { durability: 'strict' });
      const keys = transaction.objectStore(STORE);
      let key;
      keys.get([session, generation]).onsuccess = ({ target }) => {
        key = target.result;
        if (key) return;
        key = randomKey();
        keys.put(key, [session, generation]);
        keys.delete(IDBKeyRange.bound([session], [session, generation - KEPT]));
      };
      transaction.oncomplete = () => resolve(key);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** Lists what is stored, for the readout of the page. */
export async function storedKeys() {
  try {
    const database = await open();
    const keys = await asPromise(database.transaction(STORE).objectStore(STORE).getAllKeys());
    database.close();
    return keys.map(([session, generation]) => ({ session, generation }));
  } catch {
    return [];
  }
}

function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return asPromise(request);
}

function asPromise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** 128 random bits, as 22 characters of base64url. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
