// When the page goes to sleep and wakes up. Timers are not to be trusted for
// that: they stand still in hidden tabs, in sleep and in the back/forward cache.

const DEBOUNCE = 1_000;

/**
 * @param {{sleep: () => void, wake: (fromCache: boolean) => void, check: (hopeful: boolean) => void, quiet: () => void}} on
 *   sleep: the page is left, perhaps for good. wake: it is shown again. check: look at the age of things, at most once a
 *   second; hopeful if the network or the user is back. quiet: nobody is looking.
 * @returns {() => void} stops watching
 */
export function watchPage({ sleep, wake, check, quiet }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let hopeful = false;
  const soon = (/** @type {Event} */ { type }) => {
    const online = type === 'online';
    if (isHidden() && !online) return quiet();
    hopeful ||= online || type === 'visibilitychange';
    timer ??= setTimeout(() => {
      timer = undefined;
      check(hopeful);
      hopeful = false;
    }, DEBOUNCE);
  };
  const stop = new AbortController();
  const listen = (/** @type {EventTarget} */ target, /** @type {string} */ types, /** @type {(event: any) => void} */ listener) => {
    for (const type of types.split(' ')) target.addEventListener(type, listener, { signal: stop.signal });
  };
  listen(document, 'visibilitychange resume', soon);
  listen(window, 'focus online offline', soon);
  listen(window, 'pagehide', sleep);
  listen(window, 'pageshow', ({ persisted }) => wake(persisted));
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

/** Whether nobody is looking. */
export const isHidden = () => document.visibilityState === 'hidden';
