// What a script can know about the refresh token: which session, which generation.
//
// In a web page the token is in an HttpOnly cookie. Its readable twin, the hint
// cookie, lives and dies with it. Where the hint cannot be read, because Innkeeper
// is on another host, a note in localStorage takes its place; where it is wrong,
// the server says so (409 refresh_generation_mismatch) before anything is consumed.

/** @import { Hint, Stored, TokenStore } from './contract.js' */

/**
 * @typedef {object} Jar
 * @property {() => Hint | null} hint What the jar holds, null if nothing. Synchronous and cheap.
 * @property {() => Promise<void>} [load] Reads it anew, where that takes time.
 * @property {() => {refresh_token?: string}} secret What goes into the body of a refresh or logout.
 * @property {(body: any) => Promise<void> | void} keep Takes the refresh token of an answer over, before anybody learns of it.
 * @property {() => void} forget The session has been ended.
 * @property {boolean} readable Whether the hint is the cookie itself: it shows that the browser keeps cookies.
 */

/** The cookie jar of the browser. @param {URL} url where Innkeeper is @returns {Jar} */
export function cookieJar(url) {
  const note = `innkeeper:${url.origin}`;
  // Cookies ignore the port, so the same host is enough.
  const readable = url.hostname === location.hostname && attempt(() => document.cookie) !== undefined;
  return {
    readable,
    secret: () => ({}),
    hint: () => parse((readable ? /(?:^|; )innkeeper-hint=([^;]*)/.exec(document.cookie)?.[1] : attempt(() => localStorage.getItem(note))) ?? ''),
    keep({ session }) {
      if (!readable) attempt(() => localStorage.setItem(note, `${session.id}.${session.generation}.`));
    },
    forget() {
      attempt(() => localStorage.removeItem(note));
    },
  };
}

/** A native shell's own store. @param {TokenStore} store @returns {Jar} */
export function bodyJar(store) {
  /** @type {Stored | null} */
  let stored = null;
  return {
    readable: false,
    load: async () => { stored = await store.load().catch(() => stored); },
    secret: () => ({ refresh_token: stored?.refreshToken }),
    hint: () => stored && parse(`${stored.session}.${stored.generation}.`),
    async keep({ refresh_token: refreshToken, session }) {
      const next = { refreshToken, session: session.id, generation: session.generation };
      // A token that is not stored is never shown: until it is, its parent and the parent's key bring it again.
      await store.save(next).then(() => { stored = next; }, () => {});
    },
    forget() {
      stored = null;
      store.clear().catch(() => {});
    },
  };
}

/** @param {string} text "session.generation.expires" @returns {Hint | null} */
function parse(text) {
  const match = /^([\w-]+)\.(\d+)\./.exec(text);
  return match && { session: match[1], generation: Number(match[2]), text };
}

/**
 * Signed out while the server could not be told. JavaScript cannot delete the
 * HttpOnly cookie, so a reload would bring the session back: this note makes the
 * next page tell the server before anything else. It names the session and dies
 * with it.
 * @param {string} origin
 */
export function grave(origin) {
  const note = `innkeeper-out:${origin}`;
  return {
    /** @param {string} session @param {string} scope */
    dig: (session, scope) => { attempt(() => localStorage.setItem(note, `${session} ${scope}`)); },
    /** @returns {{session: string, scope: string} | null} */
    read() {
      const [session, scope] = (attempt(() => localStorage.getItem(note)) ?? '').split(' ');
      return scope ? { session, scope } : null;
    },
    fill: () => { attempt(() => localStorage.removeItem(note)); },
  };
}

/** Storage may throw wherever it is touched. @template T @param {() => T} work @returns {T | undefined} */
function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}
