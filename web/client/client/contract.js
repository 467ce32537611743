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
 * @property {'cookie' | 'body'} [delivery] How the refresh token travels. Default "cookie". "body" is for native shells
 *   (Electron, Capacitor) and needs a `store`; in a web page any script could read such a token.
 * @property {TokenStore} [store] Where the refresh token is kept with delivery "body": a keychain.
 */

/**
 * @typedef {object} TokenStore Where a native shell keeps its session. Whatever throws counts as "not stored".
 * @property {() => Promise<Stored | null>} load
 * @property {(stored: Stored) => Promise<void>} save Resolves once it is on the disk.
 * @property {() => Promise<void>} clear
 */

/**
 * @typedef {object} Stored
 * @property {string} refreshToken
 * @property {string} session
 * @property {number} generation
 */

/**
 * @typedef {object} User
 * @property {string} id The `sub` of access tokens.
 * @property {string} username
 * @property {string} [email]
 * @property {readonly string[]} roles
 * @property {readonly string[]} permissions
 */

/** @typedef {null | 'user' | 'expired' | 'revoked' | 'theft' | 'other_tab' | 'superseded' | 'cookies_blocked'} Reason Why somebody is signed out. */

/**
 * @typedef {object} Snapshot The state at one moment. It never changes; a new one takes its place.
 * @property {'unknown' | 'signed_in' | 'signed_out'} status "unknown" until the server has been asked: never show it as signed out.
 * @property {User | null} user
 * @property {{readonly id: string, readonly generation: number, readonly expiresAt: string} | null} session
 * @property {Reason} reason Why signed out. Null if signed in, or if nobody was.
 * @property {boolean} refreshing A refresh is under way.
 * @property {boolean} degraded The server does not answer. Nobody is signed out for that.
 * @property {boolean} offline The browser says that there is no network.
 */

/** @typedef {'signed_in' | 'refreshed' | 'signed_out' | 'user_changed' | 'degraded' | 'recovered' | 'theft_detected' | 'state'} EventType */

/**
 * @typedef {object} ClientEvent "state" is any other change of the snapshot.
 * @property {EventType} type
 * @property {Readonly<Snapshot>} session
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
 * @typedef {object} Answer What Innkeeper said.
 * @property {number} status 0 if there was no answer.
 * @property {any} body The JSON, null if it was none.
 * @property {string | undefined} code
 * @property {number} retryAfter Milliseconds, 0 if it was not said.
 * @property {Moment} since When the request was sent.
 */

export {};
