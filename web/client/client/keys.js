// Idempotency keys: one for each generation of a session, made *before* the
// refresh that uses it and the same for every try at it. Whoever shows the key
// again proves to be the one who made the first try; a thief who has copied the
// cookie jar has no key for the refresh that you have not begun yet.
//
// They live in IndexedDB, because with strict durability it survives a killed
// browser, which neither cookies nor localStorage do. They are not secret in the
// way that tokens are: without the refresh token a key opens nothing.

import { pause } from './lock.js';

const STORE = 'idempotency-keys';
const KEPT = 3; // generations
// A database that never answers must not keep anybody from refreshing for good. But where it is only slow, another tab
// may have stored a key in it, and to send one of our own instead would look like a theft.
const PATIENCE = 10_000;

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
    // 128 random bits, the same ones whether the database keeps them now, late or never.
    const fresh = crypto.getRandomValues(new Uint32Array(4)).join('-');
    const kept = getOrCreate(session, generation, fresh).catch(() => fresh);
    key = Promise.race([kept, pause(PATIENCE).then(() => fresh)]);
    if (known.size > KEPT) known.clear();
    known.set(name, key);
  }
  return key;
}

/**
 * Get and create are one transaction, so that all tabs use the same key without asking each other.
 * @param {string} session @param {number} generation @param {string} fresh @returns {Promise<string>}
 */
async function getOrCreate(session, generation, fresh) {
  const opening = indexedDB.open('innkeeper', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await result(opening);
  try {
    const transaction = database.transaction(STORE, 'readwrite', { durability: 'strict' });
    const written = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = reject;
    });
    const keys = transaction.objectStore(STORE);
    const found = await result(keys.get([session, generation]));
    if (!found) {
      keys.put(fresh, [session, generation]);
      keys.delete(IDBKeyRange.bound([session], [session, generation - KEPT]));
    }
    await written;
    return found ?? fresh;
  } finally {
    database.close();
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  });
}
