// Web Locks, and waiting. A lock saves requests; correctness comes from the
// server and the idempotency key. So it is never stolen, nothing of the caller's
// runs under it, and where it is missing or slow, work goes on without.

/**
 * An abort signal that also ends after some time, and what disposes of it.
 * AbortSignal.any would do, but not in Safari before 17.4.
 * @param {number} time milliseconds @param {AbortSignal} signal
 */
export function deadline(time, signal) {
  const controller = new AbortController();
  const end = () => controller.abort(signal.reason);
  const timer = setTimeout(end, time);
  if (signal.aborted) end();
  signal.addEventListener('abort', end);
  return {
    signal: controller.signal,
    done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
    },
  };
}

/**
 * Runs work under a lock.
 * @template T
 * @param {string} name
 * @param {object} how
 * @param {LockMode} how.mode
 * @param {number} how.wait milliseconds to wait for the lock
 * @param {AbortSignal} how.signal ends the wait
 * @param {boolean} [how.strict] fail if the lock is not granted in time, instead of going on without
 * @param {(held: boolean) => Promise<T>} work is told whether the lock is held
 * @returns {Promise<T>}
 */
export async function underLock(name, { mode, wait, signal, strict }, work) {
  const { locks } = navigator;
  if (!locks) return work(false); // not a secure context
  const waiting = deadline(wait, signal);
  let granted = false;
  try {
    return await locks.request(name, { mode, signal: waiting.signal }, () => {
      granted = true;
      waiting.done();
      return work(true);
    });
  } catch (error) {
    if (granted) throw error;
    signal.throwIfAborted();
    if (strict && waiting.signal.aborted) throw error;
    return work(false);
  } finally {
    waiting.done();
  }
}

/**
 * Waits for a promise, but no longer than a signal allows. What is waited for goes on.
 * @template T @param {Promise<T>} promise @param {AbortSignal} [signal] @returns {Promise<T>}
 */
export function patiently(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/** @param {number} time milliseconds @param {AbortSignal} [signal] */
export const pause = (time, signal) => patiently(new Promise((resolve) => { setTimeout(resolve, time); }), signal);
