// What a script can know about the refresh token: which session, which generation.
//
// In a web page the token is in an HttpOnly cookie. Its readable twin, the hint
// cookie, lives and dies with it. Where the hint cannot be read, because Innkeeper
// is on another host, a note in localStorage takes its place; where it is wrong,
// the server says so (409 refresh_generation_mismatch) before anything is consumed.

/** @import { Hint, Jar } from './contract.js' */

/** The cookie jar of the browser. @param {string} url where Innkeeper is: an origin @returns {Jar} */
export function cookieJar(url) {
  const { read, write, erase } = note(`innkeeper:${url}`);
  // Cookies ignore the port, so the same host is enough.
  const readable = attempt(() => document.cookie) !== undefined && new URL(url).hostname === location.hostname;
  return {
    readable,
    hint: () => parse(readable ? /(?:^|; )innkeeper-hint=([^;]*)/.exec(document.cookie)?.[1] : read()),
    keep: ({ session: { id, generation } }) => { if (!readable) write(`${id}.${generation}.`); },
    forget: erase,
  };
}

/** @param {string | null | undefined} text "session.generation.expires" @returns {Hint | null} */
export function parse(text) {
  const match = /^([\w-]+)\.(\d+)\./.exec(text ?? '');
  return match && { session: match[1], generation: +match[2], text: match.input };
}

/** A line in localStorage, if there is one. @param {string} name */
export const note = (name) => ({
  read: () => attempt(() => localStorage.getItem(name)),
  write: (/** @type {string} */ text) => attempt(() => localStorage.setItem(name, text)),
  erase: () => attempt(() => localStorage.removeItem(name)),
});

/** Storage and channels may throw wherever they are touched. @template T @param {() => T} work @returns {T | undefined} */
export function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}
