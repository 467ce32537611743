// Judgment without I/O: what an answer to a refresh means, and what to do next.
//
// Only a code of the server's own that says so ends a session, and only after a
// second look. Everything else, a captive portal's login page with status 200
// included, says nothing about it.

/** @import { Answer, Reason } from './contract.js' */

/** The codes on which a client may sign somebody out. On no others. */
const DEAD = /^(refresh_token_(missing|invalid|expired|reused)|session_ended|invalid_grant)$/;

/** Whether the answer brings tokens. @param {Answer} answer */
export const brings = ({ status, body }) => status >= 200 && status < 300 && !!body && typeof body.access_token === 'string'
  && body.expires_in > 0 && typeof body.session?.id === 'string' && body.session.generation > 0 && typeof body.user?.id === 'string';

/** Whether the answer says that the session is over. @param {Answer} answer */
export const isDead = ({ status, code }) => (status === 401 || status === 400) && DEAD.test(code ?? '');

/** Whether the server has said anything at all about what was asked of it. @param {Answer} answer */
export const isSilent = ({ status, body }) => !status || status === 408 || status === 425 || status >= 500 || typeof body?.code !== 'string';

/** Why the session is over, in the client's words. @param {Answer} answer @returns {Reason} */
export function reasonOf({ code, body }) {
  const reason = body?.reason;
  if (code === 'refresh_token_reused' || reason === 'reuse') return 'theft';
  return code === 'refresh_token_expired' || reason === 'expired' ? 'expired'
    : code === 'refresh_token_missing' ? 'other_tab' : 'revoked';
}

/**
 * What a refresh remembers from one try to the next.
 * @typedef {object} Memory
 * @property {number} [named] The generation that the server says the jar holds.
 * @property {number} superseded How often it was told that the jar is behind.
 * @property {boolean} [looked] Whether it has taken its second look.
 */

/**
 * What to do next: take the tokens, try again after a while, end the session (and, if told so, for whoever else has a
 * copy of the jar as well), or give up for now.
 * @typedef {{to: 'adopt'} | {to: 'again', after: number} | {to: 'end', reason: Reason, logout: boolean} | {to: 'fail', retryAfter: number}} Step
 */

/**
 * Decides on an answer to a refresh, and notes in the memory what the next try must know.
 * @param {Answer} answer
 * @param {Memory} memory
 * @param {{moved: boolean, held: boolean}} seen whether the jar has moved since the request began, and whether the lock was held
 * @returns {Step}
 */
export function step(answer, memory, { moved, held }) {
  if (brings(answer)) return { to: 'adopt' };
  const { status, code, body } = answer;
  if (status === 409 && code === 'refresh_generation_mismatch' && body.generation > 0 && memory.named !== body.generation) {
    // The hint was wrong about the jar. Nothing was consumed: send the key of the generation that it holds.
    memory.named = body.generation;
    return { to: 'again', after: 0 };
  }
  if (status === 409 && code === 'refresh_superseded') {
    delete memory.named;
    if (memory.superseded++ && !moved) return { to: 'end', reason: 'superseded', logout: true };
    return { to: 'again', after: held ? 0 : 10_000 };
  }
  if (isDead(answer)) {
    if (!moved || memory.looked) return { to: 'end', reason: reasonOf(answer), logout: false };
    // Another tab has signed in or refreshed meanwhile: what was refused is not what the jar holds now.
    memory.looked = true;
    delete memory.named;
    return { to: 'again', after: 0 };
  }
  return { to: 'fail', retryAfter: answer.retryAfter };
}

/**
 * Whether a WWW-Authenticate header asks for a new token: a Bearer challenge with error="invalid_token" (RFC 6750
 * section 3.1), whatever challenges of other schemes stand beside it. Not insufficient_scope, and not a step-up.
 * @param {string | null} header
 */
export function asksForRenewal(header) {
  const bearer = /(?:^|,)\s*Bearer\s+((?:[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",]+)\s*,?\s*)*)/i.exec(header ?? '');
  return !!bearer && /(?:^|[\s,])error\s*=\s*"?invalid_token(?:["\s,]|$)/i.test(bearer[1]);
}
