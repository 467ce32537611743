// XMLHttpRequest with the access token, for uploads that show their progress.
//
//     const { response } = await xhr(client, { method: 'PUT', url, body: file, onprogress, onreset });
//
// fetch() cannot tell how much of a body has been sent; this can. A token that is
// refused is renewed once and the body sent once more, from its beginning.

import { asksForRenewal } from '../client/verdict.js';

/** @import { Client, Ticket } from '../client.js' */

/**
 * @typedef {object} Upload
 * @property {string} [method] Default "POST".
 * @property {string | URL} url
 * @property {XMLHttpRequestBodyInit | null} [body]
 * @property {Record<string, string>} [headers]
 * @property {XMLHttpRequestResponseType} [responseType]
 * @property {number} [minTtl] Milliseconds that the token must live when the upload begins. Default one minute.
 * @property {(event: ProgressEvent) => void} [onprogress] How much of the body has been sent.
 * @property {() => void} [onreset] The body is sent again: what `onprogress` has said is void.
 * @property {AbortSignal} [signal]
 */

/**
 * Sends a request and returns it with its answer, whatever the status.
 * @param {Client} client
 * @param {Upload} upload
 * @returns {Promise<XMLHttpRequest>} rejects as `client.fetch` does: with a TypeError if there is no answer, with the signal's reason
 */
export async function xhr(client, upload) {
  const { url, signal, minTtl = 60_000 } = upload;
  const own = Object.keys(upload.headers ?? {}).some((name) => /^authorization$/i.test(name));
  const shown = own ? null : await client.ticket(url, { signal, minTtl });
  const first = await send(upload, shown);
  if (!shown || first.status !== 401 || !asksForRenewal(first.getResponseHeader('WWW-Authenticate'))) return first;
  const next = await client.ticket(url, { signal, refused: shown });
  upload.onreset?.();
  return send(upload, next);
}

/** @param {Upload} upload @param {Ticket | null} ticket @returns {Promise<XMLHttpRequest>} */
function send({ method = 'POST', url, body = null, headers = {}, responseType = '', onprogress, signal }, ticket) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open(method, url);
    request.responseType = responseType;
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (ticket) request.setRequestHeader('Authorization', `Bearer ${ticket.token}`);
    if (onprogress) request.upload.onprogress = onprogress;
    request.onload = () => resolve(request);
    request.onerror = () => reject(new TypeError('no answer'));
    request.onabort = () => reject(signal?.reason);
    request.onloadend = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort);
    request.send(body);
  });
}
