// @innkeeper/client: keeps people signed in, and never logs an honest one out.
//
//     const innkeeper = createClient();
//     await innkeeper.signIn({ username, password });
//     const mail = await innkeeper.fetch('/api/mail');
//
// The access token is in the memory of this page, the refresh token in an
// HttpOnly cookie that no script sees. Importing this file touches nothing;
// createClient looks at a readable hint cookie and sends a request only if there
// may be a session. What happens then is in client/core.js.

import { createCore } from './client/core.js';
import { fetchWith } from './client/fetch.js';
import { cookieJar } from './client/jar.js';
import { allowing } from './client/origins.js';

export { InnkeeperError, RefreshUnavailableError, RefusedError, SignedOutError, UserChangedError } from './client/errors.js';

/** @import { Core } from './client/core.js' */
/** @typedef {ReturnType<typeof createClient>} Client Keeps one person signed in. */
/** @typedef {import('./client/contract.js').Options} Options */
/** @typedef {import('./client/contract.js').Snapshot} Snapshot */
/** @typedef {import('./client/contract.js').ClientEvent} ClientEvent */
/** @typedef {import('./client/contract.js').User} User */
/** @typedef {import('./client/contract.js').Reason} Reason */
/** @typedef {import('./client/contract.js').Ticket} Ticket */
/** @typedef {import('./client/contract.js').TokenRequest} TokenRequest */

/** The browser's own, before anybody has wrapped it: a wrapper of ours must not end up in our refresh. */
const pristine = globalThis.fetch;

/** One core for each Innkeeper, however many clients are made. @type {Map<string, Core>} */
const cores = new Map();

/**
 * Makes a client. Two of the same `url` are two handles on one: they share session, refresh and events, and the
 * first one's `shareTokens`, `jar` and `fetch`.
 *
 * On a server it touches nothing and stays "unknown", and whatever needs a token rejects with the code "closed": only
 * the browser refreshes.
 * @param {Readonly<Options>} [options]
 */
export function createClient(options = {}) {
  const here = globalThis.location?.origin ?? 'http://localhost';
  const { url = here, allowedOrigins = [here], device, jar, refreshOn } = options;
  const { origin } = new URL(url, here);
  const send = options.fetch ?? ((input, init) => pristine(input, init));
  const allowed = allowing(allowedOrigins, here);
  const core = cores.get(origin) ?? createCore(origin, options, jar ?? cookieJar(origin), send);
  let open = true;
  if (globalThis.document && !core.users++) {
    cores.set(origin, core);
    core.start();
  }

  /**
   * Returns the token to show to a URL, null if it must not be shown there or nobody is signed in. If it was refused,
   * ask again with it as `refused`: the next one belongs to the same session, or it rejects with
   * {@link UserChangedError}. It is what the adapters are made of.
   * @param {string | URL} target
   * @param {TokenRequest & {refused?: Ticket}} [wish]
   * @returns {Promise<Ticket | null>}
   */
  async function ticket(target, wish) {
    if (!allowed(new URL(target, globalThis.document?.baseURI))) return null;
    core.look();
    if (core.state().status === 'signed_out' && !wish?.refused) return null;
    return core.card(wish).catch((error) => {
      if (error.reason !== null) throw error;
      return null; // nobody was signed in: at boot that was not known yet
    });
  }

  return {
    ticket,

    /**
     * fetch() with the access token, for the origins of `allowedOrigins` alone; to all others, and with an
     * Authorization of your own, the request goes as it is. A token that is refused is renewed once and the request
     * sent once more; whatever comes then is yours. Signed out, it sends without a token.
     *
     * It is a function of its own: hand it to ky, ofetch, urql or Apollo as their fetch. `innkeeper: {replay: false}`
     * in `init` gives the first 401 to you. A stream as body cannot be sent again; then the 401 has the member
     * `reason: 'body_not_replayable'`.
     *
     * It rejects with {@link SignedOutError}, {@link RefreshUnavailableError} or {@link UserChangedError} where no token can
     * be had, and with fetch's own errors.
     */
    fetch: fetchWith(send, ticket, refreshOn === 'any'),

    /** The present state. The same object until something has changed. @returns {Snapshot} */
    get session() {
      return core.state();
    },

    /**
     * Calls a listener after every change, in a microtask of its own. Returns what ends that.
     * @param {(event: ClientEvent) => void} listener
     * @returns {() => void}
     */
    subscribe: (listener) => core.subscribe(listener),

    /** Waits until it is known whether somebody is signed in. @returns {Promise<Snapshot>} */
    ready: () => core.ready(),

    /**
     * Signs in. The session that was here before, if any, ends.
     * @param {{username: string, password: string, device?: string}} credentials
     * @returns {Promise<Snapshot>} rejects with {@link RefusedError} (`code: 'invalid_credentials'`) or {@link RefreshUnavailableError}
     */
    signIn: (credentials) => core.enter('/auth/login', { device, ...credentials }),

    /**
     * Creates a user and signs in.
     * @param {{username: string, password: string, email?: string, device?: string}} person
     * @returns {Promise<Snapshot>} rejects with {@link RefusedError} (`username_taken`, `password_rejected`) or {@link RefreshUnavailableError}
     */
    signUp: (person) => core.enter('/auth/signup', { device, ...person }),

    /**
     * Ends this session, all others, or all. "this" and "everywhere" sign out here at once, before the promise settles.
     * With "this" it always fulfils: if the server could not be told, it is told as soon as it can be, by the next page
     * if need be. The other scopes reject with {@link RefreshUnavailableError} if it was not told.
     * @param {{scope?: 'this' | 'others' | 'everywhere'}} [options]
     * @returns {Promise<void>}
     */
    signOut: ({ scope = 'this' } = {}) => core.signOut(scope),

    /**
     * Changes the password. It ends every session, this one too, and opens a new one here.
     * @param {{currentPassword: string, newPassword: string}} change
     * @returns {Promise<Snapshot>} rejects with {@link RefusedError} (`invalid_credentials`, `password_rejected`)
     */
    changePassword: (change) => core.changePassword(change),

    /**
     * Returns an access token that lives, for what cannot use `fetch`. Ask each time, and keep none.
     * @param {TokenRequest} [wish]
     * @returns {Promise<string>} rejects with {@link SignedOutError}, {@link RefreshUnavailableError} or {@link UserChangedError}
     */
    getToken: async (wish) => (await core.card(wish)).token,

    /**
     * Makes sure that the token lives for a while: before a long upload.
     * @param {number} minTtl milliseconds
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<void>}
     */
    ensureFresh: async (minTtl, options) => { await core.card({ minTtl, ...options }); },

    /** Lets go. The last handle of a `url` to be closed stops timers, listeners and whatever is under way. */
    close() {
      if (open && !--core.users) {
        cores.delete(origin);
        core.stop();
      }
      open = false;
    },
  };
}
