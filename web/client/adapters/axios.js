// For axios: an instance of yours gets the access token, and renews it once if it
// is refused. Everything else of the instance stays as it is.
//
//     const api = attach(client, axios.create({ baseURL: '/api' }));

import { asksForRenewal } from '../client/verdict.js';

/** @import { Client, Ticket } from '../client.js' */

/**
 * The part of an axios instance that is used here.
 * @typedef {object} AxiosLike
 * @property {(config: any) => Promise<any>} request
 * @property {(config?: any) => string} getUri
 * @property {{request: Interceptors, response: Interceptors}} interceptors
 */
/** @typedef {{use: (fulfilled?: any, rejected?: any) => number, eject: (id: number) => void}} Interceptors */

/**
 * Adds the pair of interceptors and returns the instance.
 * @template {AxiosLike} T
 * @param {Client} client
 * @param {T} axios
 * @returns {T}
 */
export function attach(client, axios) {
  /** The token that a request was sent with. @type {WeakMap<object, Ticket | null>} */
  const shown = new WeakMap();
  /** Requests that are sent again: the token that was refused. @type {WeakMap<object, Ticket>} */
  const again = new WeakMap();

  axios.interceptors.request.use(async (/** @type {any} */ config) => {
    if (config.headers.has('Authorization')) return config;
    const refused = config.innkeeperRefused;
    const ticket = await client.ticket(axios.getUri(config), { signal: config.signal, refused });
    if (ticket) config.headers.set('Authorization', `Bearer ${ticket.token}`);
    shown.set(config, ticket);
    if (refused) again.set(config, refused);
    return config;
  });

  axios.interceptors.response.use(undefined, (/** @type {any} */ error) => {
    const { config, response } = error;
    const ticket = config && shown.get(config);
    if (!ticket || again.has(config) || response?.status !== 401 || !asksForRenewal(response.headers['www-authenticate'])) throw error;
    config.headers.delete('Authorization');
    return axios.request({ ...config, innkeeperRefused: ticket });
  });
  return axios;
}
