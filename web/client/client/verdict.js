// Judgment without I/O: what an answer to a refresh means, and what to do next.
//
// Only a code of the server's own that says so ends a session, and only after a
// second look. Everything else, a captive portal's login page with status 200
// included, says nothing about it.

/** @import { Answer, Reason } from './contract.js' */

/** The codes on which a client may sign somebody out. On no others. */
const DEAD = /^(refresh_token_(missing|invalid|expired|reused)|session_ended|invalid_grant)$/;

/** Whether the answer brings tokens. @param {Answer} answer */
export const brings = ({ status, body }) => (status === 200 || status === 201) && body?.expires_in > 0
  && !!(body.access_token && body.session?.id && body.session.generation && body.user);

/** Whether the answer says that the session is over. @param {Answer} answer */
export const isDead = ({ status, code }) => (status === 401 || status === 400) && DEAD.test(code ?? '');

/** Whether the server itself has said nothing about what was asked: a proxy or a portal has, or nobody. @param {Answer} answer */
export const isSilent = ({ status, body }) => status >= 500 || !body?.code;

/** Why the session is over, in the client's words. @param {Answer} answer @returns {Reason} */
export const reasonOf = ({ code, body: { reason } }) => (/reuse/.test(code + reason) ? 'theft'
  : /expired/.test(code + reason) ? 'expired'
    : code === 'refresh_token_missing' ? 'other_tab' : 'revoked');

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
 * @typedef {{to: 'adopt' | 'again' | 'end' | 'fail', wait: number, reason?: Reason, logout?: boolean}} Step
 */

/**
 * Decides on an answer to a refresh, and notes in the memory what the next try must know.
 * @param {Answer} answer
 * @param {Memory} memory
 * @param {{moved: boolean, held: boolean}} seen whether the jar has moved since the request began, and whether the lock was held
 * @returns {Step}
 */
export function step(answer, memory, { moved, held }) {
  if (brings(answer)) return { to: 'adopt', wait: 0 };
  const { code, body, retryAfter: wait } = answer;
  if (code === 'refresh_generation_mismatch' && memory.named !== body.generation) {
    // The hint was wrong about the jar. Nothing was consumed: send the key of the generation that it holds.
    memory.named = body.generation;
    return { to: 'again', wait: 0 };
  }
  if (code === 'refresh_superseded') {
    delete memory.named;
    if (memory.superseded++ && !moved) return { to: 'end', wait: 0, reason: 'superseded', logout: true };
    return { to: 'again', wait: held ? 0 : 10_000 };
  }
  if (isDead(answer)) {
    if (!moved || memory.looked) return { to: 'end', wait: 0, reason: reasonOf(answer) };
    // Another tab has signed in or refreshed meanwhile: what was refused is not what the jar holds now.
    memory.looked = true;
    delete memory.named;
    return { to: 'again', wait: 0 };
  }
  return { to: 'fail', wait };
}

/**
 * Whether a WWW-Authenticate header asks for a new token: a Bearer challenge with error="invalid_token" (RFC 6750
 * section 3.1), whatever challenges of other schemes stand beside it. Not insufficient_scope, and not a step-up.
 * @param {string | null} header
 */
export const asksForRenewal = (header) => RENEWAL.test(header ?? '');

// "Bearer", then parameters, of which quoted ones may hold anything, up to the next scheme: a comma, a word, a space and another word.
const RENEWAL = /(^|,)\s*Bearer\s+(([^",]|"([^"\\]|\\.)*")+,(?!\s*\w+\s+\w))*\s*error\s*=\s*"?invalid_token\b/i;
