// fetch() with the access token: renewed once if it is refused, and the request
// sent once more; whatever comes then is the caller's.

import { asksForRenewal } from './verdict.js';

/** @import { Ticket } from './contract.js' */

/** Before a body that can be sent only once, the token is made as fresh as can be. */
const STREAM_TTL = 60_000;

/**
 * @param {typeof fetch} send
 * @param {(url: string, wish?: {minTtl?: number, signal?: AbortSignal, refused?: Ticket}) => Promise<Ticket | null>} ticket
 * @param {boolean} onAny401
 * @returns {(input: RequestInfo | URL, init?: RequestInit & {innkeeper?: {replay?: boolean}}) => Promise<Response>}
 */
export const fetchWith = (send, ticket, onAny401) => async (input, init = {}) => {
  const { innkeeper, ...rest } = init;
  // A body is read once, so each try gets a request of its own.
  const spare = input instanceof Request ? input.clone() : input;
  const first = new Request(input, rest);
  const { signal, url } = first;
  const streams = rest.body instanceof ReadableStream;
  if (first.headers.has('Authorization')) return send(first);
  const shown = await ticket(url, { signal, minTtl: streams ? STREAM_TTL : 0 });
  if (!shown) return send(first);

  const response = await send(bear(first, shown));
  if (response.status !== 401 || innkeeper?.replay === false) return response;
  if (!onAny401 && !asksForRenewal(response.headers.get('WWW-Authenticate'))) return response;
  if (streams) return Object.assign(response, { reason: 'body_not_replayable' });
  response.body?.cancel().catch(() => {});
  const next = await ticket(url, { signal, refused: shown });
  return send(next ? bear(new Request(spare, rest), next) : new Request(spare, rest));
};

/** @param {Request} request @param {Ticket} ticket */
function bear(request, { token }) {
  request.headers.set('Authorization', `Bearer ${token}`);
  return request;
}
