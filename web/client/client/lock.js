// Web Locks, and waiting. A lock saves requests; correctness comes from the
// server and the idempotency key. So it is never stolen, nothing of the caller's
// runs under it, and where it is missing or slow, work goes on without.

/**
 * A signal that aborts with another one, and after some time. AbortSignal.any would do, but not in Safari before 17.4.
 * @param {number} time milliseconds @param {AbortSignal} signal
 */
export function deadline(time, signal) {
  const controller = new AbortController();
  const end = () => controller.abort(signal.reason);
  if (signal.aborted) end();
  setTimeout(end, time);
  signal.addEventListener('abort', end, { signal: controller.signal });
  return controller.signal;
}

/**
 * Runs work under a lock, without one where there are none, or `otherwise` if it is not granted in time. Both are told
 * whether it is held.
 * @template T
 * @param {string} name
 * @param {LockMode} mode
 * @param {number} wait milliseconds to wait for the lock
 * @param {AbortSignal} signal ends the wait
 * @param {(held: boolean) => Promise<T>} work
 * @param {(held: boolean) => Promise<T>} [otherwise]
 * @returns {Promise<T>}
 */
export async function underLock(name, mode, wait, signal, work, otherwise = work) {
  if (!navigator.locks) return work(false); // not a secure context
  const waiting = deadline(wait, signal);
  let granted = false;
  try {
    return await navigator.locks.request(name, { mode, signal: waiting }, () => {
      granted = true;
      return work(true);
    });
  } catch (error) {
    if (granted) throw error;
    signal.throwIfAborted();
    return (waiting.aborted ? otherwise : work)(false); // it may also be forbidden, with all storage
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
