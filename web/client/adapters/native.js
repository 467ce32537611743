// For native shells (Electron, Capacitor): the refresh token comes in the body of
// answers, and the shell keeps it in the keychain of the system.
//
//     createClient({ url, ...native(keychain) })
//
// MUST NOT be used in a web page: any script in it could read the token.

import { parse } from '../client/jar.js';

/** @import { Jar } from '../client/contract.js' */

/**
 * @typedef {object} TokenStore Where a native shell keeps its session. Whatever throws counts as "not stored".
 * @property {() => Promise<Stored | null>} load
 * @property {(stored: Stored) => Promise<void>} save Resolves once it is on the disk.
 * @property {() => Promise<void>} clear
 * @property {() => Promise<string | null>} [loadDevice] With both of these the server knows the device again at the next
 *     sign-in, and does not hold it up for what strangers guess elsewhere. `clear` leaves this token where it is.
 * @property {(deviceToken: string) => Promise<void>} [saveDevice]
 */

/**
 * @typedef {object} Stored
 * @property {string} refreshToken
 * @property {string} session
 * @property {number} generation
 */

/**
 * Returns the two options that make a client use a store instead of cookies.
 * @param {TokenStore} store
 * @param {typeof fetch} [send] Default: the shell's own fetch.
 * @returns {{jar: Jar, fetch: typeof fetch}}
 */
export function native(store, send = globalThis.fetch) {
  /** @type {Stored | null} */
  let stored = null;
  /** @type {Stored | null} */
  let offered = null; // by an answer that the client has not taken over yet
  return {
    jar: {
      readable: false,
      load: async () => { stored = await store.load().catch(() => stored); },
      hint: () => parse(stored && `${stored.session}.${stored.generation}.`),
      async keep() {
        const next = offered;
        // A token that is not stored is never shown: until it is, its parent and the parent's key bring it again.
        if (next) await store.save(next).then(() => { stored = next; }, () => {});
      },
      forget() {
        stored = null;
        store.clear().catch(() => {});
      },
    },
    async fetch(input, init) {
      const path = /\/auth\/(login|signup|refresh|logout|password)$/.exec(String(input))?.[1];
      if (!path || typeof init?.body !== 'string') return send(input, init);
      const secret = path === 'refresh' || path === 'logout' ? { refresh_token: stored?.refreshToken } : { delivery: 'body' };
      const known = path === 'login' && await store.loadDevice?.().catch(() => null);
      const device = known ? { device_token: known } : {};
      const response = await send(input, { ...init, credentials: 'omit', body: JSON.stringify({ ...JSON.parse(init.body), ...secret, ...device }) });
      const body = await response.clone().json().catch(() => null);
      if (body?.device_token) await store.saveDevice?.(body.device_token).catch(() => {});
      if (body?.refresh_token) offered = { refreshToken: body.refresh_token, session: body.session.id, generation: body.session.generation };
      return response;
    },
  };
}
