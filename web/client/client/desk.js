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
 * @param {typeof fetch} send
 * @param {string} url
 * @param {{body: object, headers?: Record<string, string>, signal: AbortSignal, credentials: RequestCredentials}} what
 * @returns {Promise<Answer>}
 */
export async function ask(send, url, { body, headers, signal, credentials }) {
  const since = now();
  const bounded = deadline(TIMEOUT, signal);
  /** @type {Answer} */
  let answer = { status: 0, body: null, code: undefined, retryAfter: 0, since };
  try {
    const response = await send(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers }, // no form can send this type: it is what keeps other sites out
      body: JSON.stringify(body),
      credentials,
      cache: 'no-store',
      redirect: 'error', // no redirect is ever meant
      referrerPolicy: 'no-referrer',
      signal: bounded.signal,
    });
    const { status, headers: said } = response;
    // Half a body is no answer; a whole one that is no JSON is an answer of somebody else's.
    const json = status === 204 ? null : await response.json().catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return null;
    });
    answer = { status, body: json, code: json?.code, retryAfter: retryAfter(said.get('Retry-After'), said.get('Date')), since };
  } catch { /* no answer, or half of one */ } finally {
    bounded.done();
  }
  signal.throwIfAborted();
  return answer;
}
