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

import { Core, UNKNOWN } from './client/core.js';
import { InnkeeperError, SignedOutError } from './client/errors.js';
import { fetchWith } from './client/fetch.js';
import { bodyJar, cookieJar } from './client/jar.js';
import { allowing } from './client/origins.js';

export { InnkeeperError, RefreshUnavailableError, RefusedError, SignedOutError, UserChangedError } from './client/errors.js';

/** @typedef {import('./client/contract.js').Options} Options */
/** @typedef {import('./client/contract.js').Snapshot} Snapshot */
/** @typedef {import('./client/contract.js').ClientEvent} ClientEvent */
/** @typedef {import('./client/contract.js').User} User */
/** @typedef {import('./client/contract.js').Reason} Reason */
/** @typedef {import('./client/contract.js').Ticket} Ticket */
/** @typedef {import('./client/contract.js').TokenRequest} TokenRequest */
/** @typedef {import('./client/contract.js').TokenStore} TokenStore */
/** @typedef {import('./client/contract.js').Stored} Stored */

/** The browser's own, before anybody has wrapped it: a wrapper of ours must not end up in our refresh. */
const pristine = globalThis.fetch;

/** One core for each Innkeeper, however many clients are made. @type {Map<string, {core: Core, users: number}>} */
const cores = new Map();

/**
 * Makes a client. Two of the same `url` are two handles on one: they share session, refresh and events, and the
 * first one's `shareTokens`, `delivery`, `store` and `fetch`.
 *
 * On a server it touches nothing and stays "unknown": only the browser refreshes.
 * @param {Readonly<Options>} [options]
 * @returns {Client}
 */
export function createClient(options = {}) {
  return new Client(options);
}

/** Keeps one person signed in. Made by {@link createClient}. */
export class Client {
  /** @type {{core: Core, users: number} | null} */
  #shared = null;
  /** @type {string} */
  #url = '';
  /** @type {(url: URL) => boolean} */
  #allowed = () => false;
  #device;

  /** @param {Readonly<Options>} options */
  constructor(options) {
    this.#device = options.device;
    const send = options.fetch ?? ((input, init) => pristine(input, init));
    if (typeof document === 'object') this.#open(options, send);
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
     * @type {(input: RequestInfo | URL, init?: RequestInit & {innkeeper?: {replay?: boolean}}) => Promise<Response>}
     */
    this.fetch = fetchWith(send, (url, wish) => this.ticket(url, wish), options.refreshOn === 'any');
  }

  /** @param {Readonly<Options>} options @param {typeof fetch} send */
  #open(options, send) {
    const url = new URL(options.url ?? '', location.origin);
    this.#url = url.origin;
    this.#allowed = allowing([...options.allowedOrigins ?? [location.origin]], location.origin);
    const { delivery, store } = options;
    if (delivery === 'body' && !store) throw new InnkeeperError('store_required', 'delivery "body" needs a store: a web page has no safe place for a refresh token');
    let shared = cores.get(this.#url);
    if (!shared) {
      const core = new Core(url, options, delivery === 'body' && store ? bodyJar(store) : cookieJar(url), send);
      cores.set(this.#url, shared = { core, users: 0 });
      core.start();
    }
    shared.users++;
    this.#shared = shared;
  }

  get #core() {
    if (!this.#shared) throw new InnkeeperError('closed', 'this client has been closed, or is on a server');
    return this.#shared.core;
  }

  /** The present state. The same object until something has changed. */
  get session() {
    return this.#shared?.core.session ?? UNKNOWN;
  }

  /**
   * Calls a listener after every change, in a microtask of its own. Returns what ends that.
   * @param {(event: ClientEvent) => void} listener
   * @returns {() => void}
   */
  subscribe(listener) {
    return this.#shared?.core.subscribe(listener) ?? (() => {});
  }

  /** Waits until it is known whether somebody is signed in. @returns {Promise<Readonly<Snapshot>>} */
  async ready() {
    return this.#core.ready();
  }

  /**
   * Signs in. The session that was here before, if any, ends.
   * @param {{username: string, password: string, device?: string}} credentials
   * @returns {Promise<Readonly<Snapshot>>} rejects with {@link RefusedError} (`code: 'invalid_credentials'`) or {@link RefreshUnavailableError}
   */
  async signIn(credentials) {
    return this.#core.enter('/auth/login', { device: this.#device, ...credentials });
  }

  /**
   * Creates a user and signs in.
   * @param {{username: string, password: string, email?: string, device?: string}} person
   * @returns {Promise<Readonly<Snapshot>>} rejects with {@link RefusedError} (`username_taken`, `password_rejected`) or {@link RefreshUnavailableError}
   */
  async signUp(person) {
    return this.#core.enter('/auth/signup', { device: this.#device, ...person });
  }

  /**
   * Ends this session, all others, or all. "this" and "everywhere" sign out here at once, before the promise settles. With
   * "this" it always fulfils: if the server could not be told, it is told as soon as it can be, by the next page if
   * need be. The other scopes reject with {@link RefreshUnavailableError} if it was not told.
   * @param {{scope?: 'this' | 'others' | 'everywhere'}} [options]
   * @returns {Promise<void>}
   */
  async signOut({ scope = 'this' } = {}) {
    return this.#core.signOut(scope);
  }

  /**
   * Changes the password. It ends every session, this one too, and opens a new one here.
   * @param {{currentPassword: string, newPassword: string}} change
   * @returns {Promise<Readonly<Snapshot>>} rejects with {@link RefusedError} (`invalid_credentials`, `password_rejected`)
   */
  async changePassword(change) {
    return this.#core.changePassword(change);
  }

  /**
   * Returns an access token that lives, for what cannot use {@link Client.fetch}. Ask each time, and keep none.
   * @param {TokenRequest} [wish]
   * @returns {Promise<string>} rejects with {@link SignedOutError}, {@link RefreshUnavailableError} or {@link UserChangedError}
   */
  async getToken(wish) {
    return (await this.#core.card(wish)).token;
  }

  /**
   * Makes sure that the token lives for a while: before a long upload.
   * @param {number} minTtl milliseconds
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   */
  async ensureFresh(minTtl, options) {
    await this.#core.card({ minTtl, ...options });
  }

  /**
   * Returns the token to show to a URL, null if it must not be shown there or nobody is signed in. If it was refused,
   * ask again with it as `refused`: the next one belongs to the same session, or it rejects with
   * {@link UserChangedError}. It is what the adapters are made of.
   * @param {string | URL} url
   * @param {TokenRequest & {refused?: Ticket}} [wish]
   * @returns {Promise<Ticket | null>}
   */
  async ticket(url, wish) {
    if (!this.#allowed(new URL(url, document.baseURI))) return null;
    const core = this.#core;
    core.look();
    if (core.session.status === 'signed_out' && !wish?.refused) return null;
    try {
      const { token, sid, generation } = await core.card(wish);
      return { token, sid, generation };
    } catch (error) {
      // At boot nobody knew yet that nobody is signed in.
      if (error instanceof SignedOutError && !error.reason) return null;
      throw error;
    }
  }

  /** Lets go. The last handle of a `url` to be closed stops timers, listeners and whatever is under way. */
  close() {
    const shared = this.#shared;
    this.#shared = null;
    if (!shared || --shared.users) return;
    cores.delete(this.#url);
    shared.core.stop();
  }
}
