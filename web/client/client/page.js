// When the page goes to sleep and wakes up. Timers are not to be trusted for
// that: they stand still in hidden tabs, in sleep and in the back/forward cache.

const DEBOUNCE = 1_000;

/**
 * @param {() => void} sleep the page is left, perhaps for good
 * @param {(event: any) => void} wake it is shown again
 * @param {(hopeful: boolean) => void} check look at the age of things: at most once a second, hopeful if the network or the user is back
 * @returns {() => void} stops watching
 */
export function watchPage(sleep, wake, check) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let hopeful = false;
  const soon = (/** @type {Event} */ { type }) => {
    hopeful ||= type === 'online' || (type === 'visibilitychange' && !isHidden());
    timer ??= setTimeout(() => {
      check(hopeful);
      hopeful = false;
      timer = undefined;
    }, DEBOUNCE);
  };
  const stop = new AbortController();
  for (const type of ['visibilitychange', 'resume', 'focus', 'online', 'offline', 'pagehide', 'pageshow']) {
    // In the capture phase the window hears what is said to the document, too.
    addEventListener(type, type === 'pagehide' ? sleep : type === 'pageshow' ? wake : soon, { signal: stop.signal, capture: true });
  }
  return () => stop.abort();
}

/** Whether nobody is looking. */
export const isHidden = () => document.visibilityState === 'hidden';
