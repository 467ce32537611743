// Time. All of it but `now` is arithmetic on moments, which may be given.
//
// The life of a token counts from the *start* of the request that brought it, on
// two clocks: the monotonic one may stand still while a computer sleeps, the wall's
// may be set. It has expired if either says so. The server's clock plays no part.

/** @import { Card, Moment } from './contract.js' */

/** The present. @returns {Moment} */
export const now = () => ({ steady: performance.now(), wall: Date.now() });

/** Milliseconds that a token still lives, by whichever clock is the stricter. @param {Card} card @param {Moment} [at] */
export const left = ({ lifetime, since }, at = now()) => lifetime - Math.max(at.steady - since.steady, at.wall - since.wall);

/**
 * How long before its end a token is renewed in the background: 20 % of its life and at most a minute, and up to a
 * tenth more, a share of which each tab draws for itself so that they do not all wake at once.
 * @param {number} lifetime @param {number} share between 0 and 1
 */
export const margin = (lifetime, share) => Math.min(60_000, lifetime / 5) * (1 + share / 10);

/** Younger than this a token is not renewed unless it was refused: whatever the clocks say, there is no storm. @param {number} lifetime */
export const floor = (lifetime) => Math.min(10_000, lifetime / 10);

/** The pause after so many failures: full jitter, half a second doubling up to 30. @param {number} failures @param {number} random */
export const backoff = (failures, random) => random * Math.min(30_000, 500 * 2 ** failures);

/**
 * Retry-After (RFC 9110 section 10.2.3) in milliseconds, at most five minutes. A date is read against the answer's own
 * Date and never against the clock of this machine.
 * @param {string | null} value @param {string | null} date
 */
export function retryAfter(value, date) {
  if (!value) return 0;
  const wait = /^\d+$/.test(value) ? +value * 1000 : Date.parse(value) - Date.parse(date ?? '');
  return Math.min(Math.max(wait || 0, 0), 300_000);
}

/** Whether one token may take the place of another: a stale one never does. @param {Card} card @param {Card | null} current @param {Moment} [at] */
export const newer = (card, current, at = now()) => !current || card.sid !== current.sid || card.generation > current.generation
  // A jar that was rolled back gets the successor that we know, with a fresh access token.
  || (card.generation === current.generation && left(card, at) > left(current, at));
