// Requests to Innkeeper itself. An answer is JSON or it is none.

import { now, retryAfter } from './clock.js';
import { deadline } from './lock.js';

/** @import { Answer } from './contract.js' */

const TIMEOUT = 8_000; // less than anybody waits for the lock

/**
 * Sends a request. It returns whatever the server says, status 0 if it says nothing, and throws only if the signal was
 * aborted: then whatever the server has said is nobody's.
 *
 * No keepalive: with it a late answer would set its cookie although the request was given up.
 * @param {typeof fetch} send @param {string} url @param {object} body @param {Record<string, string>} headers @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function ask(send, url, body, headers, signal) {
  /** @type {Answer} */
  const answer = { status: 0, body: null, code: undefined, retryAfter: 0, since: now() };
  try {
    const response = await send(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers }, // no form can send this type: it is what keeps other sites out
      body: JSON.stringify(body),
      credentials: 'include',
      cache: 'no-store',
      redirect: 'error', // no redirect is ever meant
      referrerPolicy: 'no-referrer',
      signal: deadline(TIMEOUT, signal),
    });
    answer.status = response.status;
    answer.retryAfter = retryAfter(response.headers.get('Retry-After'), response.headers.get('Date'));
    answer.body = await response.json(); // whatever is no JSON, or half of it, is no word of the server's
    answer.code = answer.body?.code;
  } catch { /* no answer, or not all of one */ }
  signal.throwIfAborted();
  return answer;
}
