// What the parts of the client say to each other, and to you: types only.

/**
 * @typedef {object} Options What {@link createClient} takes. Every member may be left out.
 * @property {string} [url] Where Innkeeper is: an origin, "https://auth.example.com". Default: the page's own.
 * @property {string[]} [allowedOrigins] Who is shown the access token: origins, each with or without a path that must
 *   be a prefix, "https://api.example.com/v1". https only, localhost excepted. Default: the page's own origin.
 * @property {'invalid_token' | 'any'} [refreshOn] Which 401 means that the access token should be renewed: one whose
 *   challenge says so (RFC 6750 section 3.1, the default), or any, for APIs that send no challenge.
 * @property {boolean} [shareTokens] Hand access tokens to the other tabs of this origin. Default true: one refresh
 *   serves all tabs. With false each tab refreshes for itself.
 * @property {typeof globalThis.fetch} [fetch] Sends every request, ours and yours. Default: the browser's, as it was
 *   when this module was loaded.
 * @property {string} [device] The name of this device in the list of sessions, unless a sign-in names another.
 * @property {Jar} [jar] Where the refresh token is. Default: the cookie jar. Native shells have another, see adapters/native.js.
 */

/**
 * Who is signed in. `id` is the `sub` of access tokens.
 * @typedef {{readonly id: string, readonly username: string, readonly email?: string, readonly roles: readonly string[], readonly permissions: readonly string[]}} User
 */

/** @typedef {null | 'user' | 'expired' | 'revoked' | 'theft' | 'other_tab' | 'superseded' | 'cookies_blocked'} Reason Why somebody is signed out. */

/**
 * @typedef {object} State
 * @property {'unknown' | 'signed_in' | 'signed_out'} status "unknown" until the server has been asked: never show it as signed out.
 * @property {User | null} user
 * @property {{readonly id: string, readonly generation: number, readonly expiresAt: string} | null} session
 * @property {Reason} reason Why signed out. Null if signed in, or if nobody was.
 * @property {boolean} refreshing A refresh is under way.
 * @property {boolean} degraded The server does not answer. Nobody is signed out for that.
 * @property {boolean} offline The browser says that there is no network.
 */

/** @typedef {Readonly<State>} Snapshot The state at one moment. It never changes; a new one takes its place. */

/** @typedef {'signed_in' | 'refreshed' | 'signed_out' | 'user_changed' | 'degraded' | 'recovered' | 'theft_detected' | 'state'} EventType */

/**
 * @typedef {object} ClientEvent "state" is any other change of the snapshot.
 * @property {EventType} type
 * @property {Snapshot} session
 * @property {Reason} [reason] With "signed_out" and "theft_detected".
 */

/**
 * @typedef {object} TokenRequest
 * @property {number} [minTtl] Milliseconds that the token must still live. More than a token's life means: as fresh as can be.
 * @property {AbortSignal} [signal] Ends the wait of this caller, and nobody else's.
 * @property {number} [forceGen] A generation whose token was refused: the answer is newer.
 */

/**
 * @typedef {object} Ticket An access token, and which one it is. Show it to `ticket()` as `refused` if it was.
 * @property {string} token
 * @property {string} sid The session that it belongs to.
 * @property {number} generation
 */

/** @typedef {{steady: number, wall: number}} Moment Milliseconds on the monotonic clock and on the wall's. */

/**
 * @typedef {object} Card An access token with all that is known of it.
 * @property {string} token
 * @property {string} sid
 * @property {number} generation
 * @property {number} lifetime Milliseconds, from `since`.
 * @property {Moment} since When the request that brought it was sent.
 * @property {User} user
 * @property {string} expiresAt The end of the session.
 * @property {string | null} hint The session as the hint names it, null if no hint came with the token.
 * @property {boolean} kept Whether the browser has shown that it keeps the refresh cookie.
 */

/** @typedef {{session: string, generation: number, text: string}} Hint What the jar holds, as far as a script can see. */

/**
 * @typedef {object} Jar Where the refresh token is, as far as the client can see.
 * @property {() => Hint | null} hint What it holds, null if nothing. Synchronous and cheap.
 * @property {() => Promise<void>} [load] Reads it anew, where that takes time.
 * @property {(body: any) => unknown} keep Takes the refresh token of an answer over, before anybody learns of it.
 * @property {() => unknown} forget The session has been ended.
 * @property {boolean} readable Whether the hint is the cookie itself: it shows that the browser keeps cookies.
 */

/**
 * @typedef {object} Answer What Innkeeper said.
 * @property {number} status 0 if there was no answer.
 * @property {any} body The JSON, null if it was none.
 * @property {string | undefined} code
 * @property {number} retryAfter Milliseconds, 0 if it was not said.
 * @property {Moment} since When the request was sent.
 */

export {};
