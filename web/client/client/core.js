// One session of one browser tab: what it knows, and how it keeps it fresh.
//
// All state is in here, and the access token in a private field of it. Whatever
// judges is elsewhere and pure (verdict.js, clock.js); whatever reaches out is
// elsewhere too (desk.js, jar.js, keys.js, lock.js, channel.js).

import { channel } from './channel.js';
import { backoff, floor, left, margin, newer, now } from './clock.js';
import { ask } from './desk.js';
import { InnkeeperError, RefreshUnavailableError, RefusedError, SignedOutError, UserChangedError } from './errors.js';
import { grave } from './jar.js';
import { idempotencyKey } from './keys.js';
import { patiently, pause, underLock } from './lock.js';
import { isHidden, watchPage } from './page.js';
import { brings, isDead, isSilent, step } from './verdict.js';

/**
 * @import { Message } from './channel.js'
 * @import { Answer, Card, ClientEvent, EventType, Hint, Options, Reason, Snapshot, Ticket, TokenRequest } from './contract.js'
 * @import { Jar } from './jar.js'
 * @import { Memory } from './verdict.js'
 */

const TRIES = 3; // of one refresh, before those who wait are told that there is no answer
const STEPS = 8; // of one refresh, whatever the server says
const PATIENCE = 5_000; // the longest pause between two of them
const LOCK_WAIT = 12_000; // longer than one request of another tab
const LOGOUT_WAIT = 2_000;
const PEERS_AT_BOOT = 100;
const PEERS_UNDER_LOCK = 250;
const LONGEST_TIMER = 2 ** 31 - 1;

/** What is known before anything is, and all that is ever known on a server. @type {Readonly<Snapshot>} */
export const UNKNOWN = Object.freeze({
  status: 'unknown', user: null, session: null, reason: null, refreshing: false, degraded: false, offline: false,
});

/** Thrown inside only: somebody's sign-in, sign-out or leaving the page has ended what was under way. Look again. */
const INTERRUPTED = new DOMException('interrupted', 'AbortError');

export class Core {
  /** The present state. @type {Readonly<Snapshot>} */
  session = UNKNOWN;

  /** @type {Card | null} */ #card = null;
  /** The session that this tab believes to be in, kept while its token is not. @type {string | null} */ #pin = null;
  /** The same, as the hint names it. @type {string | null} */ #pinHint = null;
  /** The session that this tab has seen end last. @type {string | null} */ #ended = null;
  /** Grows when what is under way must not count any more. */ #epoch = 0;
  /** Ends whatever is under way. */ #abort = new AbortController();
  /** The refresh under way, shared by all who need it. @type {Promise<Card> | null} */ #flight = null;
  /** The sign-in, sign-out or change of password under way. @type {Promise<unknown> | null} */ #change = null;
  /** While the page is left. @type {{promise: Promise<void>, end: () => void} | null} */ #sleep = null;
  /** What the jar held when we last acted on it. @type {string | null} */ #acted = null;
  /** Failures in a row, all for what the jar held then. */ #failures = 0;
  /** @type {string | undefined} */ #failedFor;
  /** When to try again, on the monotonic clock. */ #notBefore = 0;
  /** Until when the server has asked for silence. */ #silence = 0;
  #share = Math.random();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {(() => void) | undefined} */ #heard;
  /** @type {Set<(event: ClientEvent) => void>} */ #listeners = new Set();
  #stop = () => {};
  #stopped = false;

  #url; #options; #send; #jar; #grave; #channel;

  /** @param {URL} url @param {Options} options @param {Jar} jar @param {typeof fetch} send */
  constructor(url, options, jar, send) {
    this.#url = url.origin;
    this.#options = options;
    this.#send = send;
    this.#jar = jar;
    this.#grave = grave(this.#url);
    this.#channel = channel(`innkeeper:${this.#url}`, (message) => this.#hear(message));
  }

  // Beginning and end.

  /** A visitor without a hint costs no request, one with a hint the question to the other tabs, and if none answers one refresh. */
  start() {
    this.#stop = watchPage({
      sleep: () => this.#fallAsleep(),
      wake: (fromCache) => this.#wake(fromCache),
      check: (hopeful) => this.#check(hopeful),
      quiet: () => clearTimeout(this.#timer),
    });
    this.#channel.open();
    const { load } = this.#jar;
    if (load) load().then(() => this.#boot());
    else this.#boot();
  }

  #boot() {
    const hint = this.#jar.hint();
    if (this.#isBuried(hint)) this.#end('user', false);
    else if (!hint) this.#end(null, false);
    else this.#refreshQuietly();
    this.#schedule(0);
  }

  stop() {
    this.#stop();
    this.#fallAsleep();
    this.#stopped = true;
    this.#sleep?.end();
    this.#listeners.clear();
  }

  // What everybody asks for.

  /** @param {(event: ClientEvent) => void} listener @returns {() => void} */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /**
   * Returns an access token that lives, waiting for a refresh if there is none. Whoever asked as one user never gets
   * the token of another.
   * @param {TokenRequest & {refused?: Ticket}} [wish] @returns {Promise<Card>}
   */
  async card({ minTtl = 0, signal, forceGen = 0, refused } = {}) {
    signal?.throwIfAborted();
    const pin = refused?.sid ?? this.#pin;
    let renewed = false;
    this.look();
    for (;;) {
      if (this.#stopped) throw new InnkeeperError('closed', 'this client has been closed');
      const blocker = this.#change ?? this.#sleep?.promise;
      if (blocker) {
        await patiently(blocker, signal);
        continue;
      }
      if (this.session.status === 'signed_out') throw new SignedOutError(this.session.reason);
      if (pin && this.#pin && pin !== this.#pin) throw new UserChangedError();
      const card = this.#card;
      const good = card && card.generation > forceGen && card.token !== refused?.token ? card : null;
      if (good) {
        const at = now();
        const rest = left(good, at);
        if (renewed || (rest > 0 && (rest > minTtl || at.steady - good.since.steady < floor(good.lifetime)))) {
          if (rest < margin(good.lifetime, this.#share)) this.#refreshQuietly();
          return good;
        }
      }
      try {
        await patiently(this.#refresh(), signal);
        renewed = true;
      } catch (error) {
        if (error === INTERRUPTED) continue;
        if (error instanceof RefreshUnavailableError && good && left(good, now()) > 0) return good;
        throw error;
      }
    }
  }

  /** @returns {Promise<Readonly<Snapshot>>} */
  ready() {
    return new Promise((resolve) => {
      const settled = () => {
        if (this.session.status === 'unknown') return;
        leave();
        resolve(this.session);
      };
      const leave = this.subscribe(settled);
      settled();
    });
  }

  /** Looks whether another tab has signed in or out. Synchronous, and cheap: call it often. */
  look() {
    const { status } = this.session;
    if (this.#change || this.#sleep || status === 'unknown') return;
    const hint = this.#jar.hint();
    if (status === 'signed_out') {
      if (hint && hint.text !== this.#acted && !this.#isBuried(hint)) this.#lookCloser();
    } else if (this.#pinHint) {
      if (!hint) this.#end('other_tab', false);
      else if (hint.session !== this.#pinHint) this.#lookCloser(); // never go on as somebody else
    }
  }

  #lookCloser() {
    this.#card = null;
    this.#set({ status: 'unknown', user: null, session: null, reason: null });
    this.#refreshQuietly();
  }

  // Signing in and out.

  /**
   * Sends what opens a session: sign-in, sign-up, a change of password.
   * @param {string} path @param {object} body @param {Card} [bearer] @returns {Promise<Readonly<Snapshot>>}
   */
  enter(path, body, bearer) {
    return this.#changing(LOCK_WAIT, async (signal) => {
      const answer = await this.#ask(path, { delivery: this.#options.delivery, ...body }, signal, bearer);
      if (!brings(answer)) throw isSilent(answer) ? new RefreshUnavailableError(answer.retryAfter) : new RefusedError(answer);
      this.#grave.fill();
      await this.#adopt(answer, true);
      return this.session;
    });
  }

  /** @param {{currentPassword: string, newPassword: string}} change */
  async changePassword({ currentPassword, newPassword }) {
    const change = { current_password: currentPassword, new_password: newPassword };
    const refused = await this.card();
    try {
      return await this.enter('/auth/password', change, refused);
    } catch (error) {
      if (!(error instanceof RefusedError) || !/^access_token_/.test(error.code)) throw error;
      return this.enter('/auth/password', change, await this.card({ refused }));
    }
  }

  /** @param {'this' | 'others' | 'everywhere'} scope */
  async signOut(scope) {
    this.look();
    if (scope === 'others') {
      const refused = await this.card();
      await this.#changing(LOGOUT_WAIT, async (signal) => this.#told(await this.#ask('/auth/logout', { scope }, signal, refused)));
      this.#refreshQuietly(refused.generation); // our token carries the old epoch
      return;
    }
    const bearer = this.#card;
    const session = this.#pinHint ?? this.#jar.hint()?.session ?? this.#pin;
    if (session) this.#grave.dig(session, scope);
    this.#end('user');
    if (!session) return;
    const told = await this.#bury(scope, bearer);
    if (!told && scope !== 'this') throw new RefreshUnavailableError(Math.max(0, this.#notBefore - now().steady));
  }

  /** Tells the server of a sign-out. False if it did not answer: then the grave is left open for later. @param {string} scope @param {Card | null} [bearer] */
  async #bury(scope, bearer) {
    try {
      await this.#changing(LOGOUT_WAIT, async (signal) => {
        let answer = await this.#ask('/auth/logout', { scope }, signal, bearer);
        const hint = this.#jar.hint();
        if (answer.code === 'refresh_superseded' && hint) {
          // The jar is behind, and no access token speaks for it: fetch one, for this alone.
          const { body } = await this.#ask('/auth/refresh', {}, signal, null, hint);
          answer = await this.#ask('/auth/logout', { scope }, signal, body?.access_token ? { token: body.access_token } : null);
        }
        this.#told(answer);
        this.#grave.fill();
        this.#jar.forget();
        this.#acted = this.#jar.hint()?.text ?? null;
      });
      return true;
    } catch {
      this.#fail(0);
      this.#schedule();
      return false;
    }
  }

  /** @param {Answer} answer */
  #told(answer) {
    if (answer.status !== 204 && !isDead(answer)) throw isSilent(answer) ? new RefreshUnavailableError(answer.retryAfter) : new RefusedError(answer);
  }

  /** @param {Hint | null} hint */
  #isBuried(hint) {
    const buried = this.#grave.read();
    if (buried && buried.session === hint?.session) return buried;
    if (buried) this.#grave.fill(); // it dies with its session
    return null;
  }

  /**
   * One change at a time, and no refresh beside it in any tab: answers that cross would leave the cookie of whichever
   * comes last. A refresh never passes this lock; a change that has waited too long for a refresh does.
   * @template T @param {number} wait @param {(signal: AbortSignal) => Promise<T>} work @returns {Promise<T>}
   */
  #changing(wait, work) {
    this.#interrupt();
    this.#channel.post({ type: 'interrupt' });
    const { signal } = this.#abort;
    const change = underLock(`innkeeper:${this.#url}:change`, { mode: 'exclusive', wait, signal }, () => work(signal))
      .catch((error) => { throw error === INTERRUPTED ? new RefreshUnavailableError(0) : error; });
    const settled = change.then(() => {}, () => {}).then(() => {
      if (this.#change === settled) this.#change = null;
      if (this.session.status === 'unknown') this.#refreshQuietly();
      this.#schedule();
    });
    this.#change = settled;
    return change;
  }

  // The refresh.

  /** However many ask, there is one at a time. @returns {Promise<Card>} */
  #refresh() {
    this.#flight ??= this.#persist().finally(() => {
      this.#flight = null;
      this.#set({ refreshing: false });
      this.#schedule();
    });
    return this.#flight;
  }

  /** @param {number} [forceGen] */
  #refreshQuietly(forceGen) {
    (forceGen ? this.card({ forceGen }) : this.#refresh()).catch(() => {});
  }

  async #persist() {
    const epoch = this.#epoch;
    for (;;) {
      try {
        return await this.#try();
      } catch (error) {
        // Another tab signs in or out: its lock is before ours, and then we look again.
        if (error !== INTERRUPTED || epoch !== this.#epoch || this.#sleep || this.#change) throw error;
      }
    }
  }

  /** Tries until the server has said yes or no, or not for too long. */
  async #try() {
    const { signal } = this.#abort;
    const stale = this.#card;
    const wait = this.#notBefore - now().steady;
    if (this.#sleep || this.#change) throw INTERRUPTED;
    if (this.#failures && wait > 0 && this.#failedFor === this.#jar.hint()?.text) throw new RefreshUnavailableError(wait);
    if (navigator.onLine === false) {
      this.#set({ offline: true });
      throw this.#fail(0);
    }
    this.#set({ refreshing: true, offline: false });
    /** @type {Memory & {asked?: string}} */
    const memory = { superseded: 0 };
    if (!stale) await this.#askPeers(memory, PEERS_AT_BOOT, signal);
    for (let tries = 1, steps = 0; ; steps++) {
      const outcome = this.#card !== stale && this.#card ? this.#card : await this.#locked(signal, (held) => this.#attempt(memory, stale, signal, held));
      if ('token' in outcome) return outcome;
      if (outcome.to === 'again' && steps < STEPS) {
        await pause(outcome.after, signal);
      } else {
        const failure = this.#fail('retryAfter' in outcome ? outcome.retryAfter : 0);
        if (++tries > TRIES || failure.retryAfter > PATIENCE) throw failure;
        // No answer, or none of the server's. Perhaps it has acted, perhaps not: the same key makes asking again safe.
        await pause(failure.retryAfter, signal);
      }
    }
  }

  /** @template T @param {AbortSignal} signal @param {(held: boolean) => Promise<T>} work */
  #locked(signal, work) {
    const name = `innkeeper:${this.#url}`;
    return underLock(`${name}:change`, { mode: 'shared', wait: LOCK_WAIT, signal, strict: true }, () =>
      underLock(`${name}:refresh`, { mode: 'exclusive', wait: LOCK_WAIT, signal }, work))
      .catch((error) => {
        signal.throwIfAborted();
        if (error.name === 'AbortError') return /** @type {const} */ ({ to: 'fail', retryAfter: 0 });
        throw error;
      });
  }

  /** @param {Memory & {asked?: string}} memory @param {Card | null} stale @param {AbortSignal} signal @param {boolean} held */
  async #attempt(memory, stale, signal, held) {
    await this.#jar.load?.();
    signal.throwIfAborted();
    // The lock may have been a long wait: another tab may have done the work.
    const before = this.#jar.hint();
    if (!this.#isNew(stale) && before && before.generation > (stale?.generation ?? 0)) await this.#askPeers(memory, PEERS_UNDER_LOCK, signal);
    if (this.#card && this.#isNew(stale)) return this.#card;

    // Where cookies are blocked there is no hint, and the session is known by its own name.
    const hint = this.#jar.hint() ?? (stale && !stale.hint ? { session: stale.sid, generation: stale.generation, text: '' } : null);
    if (!hint) throw this.#end('other_tab', false); // no request needed to know
    const answer = await this.#ask('/auth/refresh', {}, signal, null, hint, memory.named);
    const next = step(answer, memory, { moved: (this.#jar.hint()?.text ?? '') !== hint.text, held });
    if (next.to === 'adopt') return this.#adopt(answer, false);
    if (next.to !== 'end') return next;
    if (next.logout) await this.#ask('/auth/logout', { scope: 'this' }, signal);
    throw this.#end(answer.code === 'refresh_token_missing' && stale && !stale.kept ? 'cookies_blocked' : next.reason);
  }

  /** @param {Card | null} stale */
  #isNew(stale) {
    return this.#card !== stale && this.#card && left(this.#card, now()) > 0;
  }

  /** Notes that there was no answer. @param {number} retryAfter @returns {RefreshUnavailableError} */
  #fail(retryAfter) {
    const wait = Math.max(retryAfter, backoff(this.#failures++, Math.random()));
    const { steady } = now();
    this.#failedFor = this.#jar.hint()?.text;
    this.#notBefore = steady + wait;
    this.#silence = steady + retryAfter;
    if (this.session.status !== 'signed_out') this.#set({ degraded: true });
    return new RefreshUnavailableError(wait);
  }

  /**
   * @param {string} path @param {object} body @param {AbortSignal} signal @param {{token: string} | null} [bearer]
   * @param {Hint} [hint] of the token that is to be rotated @param {number} [generation] if the hint is known to be wrong
   */
  async #ask(path, body, signal, bearer, hint, generation = hint?.generation) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (bearer) headers.Authorization = `Bearer ${bearer.token}`;
    if (hint && generation) headers['Idempotency-Key'] = `"${await idempotencyKey(hint.session, generation)}";generation=${generation}`;
    signal.throwIfAborted();
    const native = this.#options.delivery === 'body';
    const secret = /refresh|logout/.test(path) ? this.#jar.secret() : {};
    return ask(this.#send, this.#url + path, { body: { ...body, ...secret }, headers, signal, credentials: native ? 'omit' : 'include' });
  }

  // What becomes of it.

  /** Takes the tokens of an answer over. @param {Answer} answer @param {boolean} entered by a sign-in, not by a refresh */
  async #adopt({ body, since }, entered) {
    const epoch = this.#epoch;
    await this.#jar.keep(body);
    if (epoch !== this.#epoch) throw INTERRUPTED;
    const hint = this.#jar.hint();
    /** @type {Card} */
    const card = {
      token: body.access_token, sid: body.session.id, generation: body.session.generation, expiresAt: body.session.expires_at,
      lifetime: body.expires_in * 1000, since, user: body.user, hint: hint?.session ?? null, kept: !entered || (this.#jar.readable && !!hint),
    };
    if (newer(card, this.#card, now())) {
      this.#hold(card);
      if (this.#options.shareTokens !== false) this.#channel.post({ type: 'token', card, age: now().steady - since.steady });
    }
    return /** @type {Card} */ (this.#card);
  }

  /** @param {Card} card */
  #hold(card) {
    const { sid, generation, expiresAt } = card;
    const { status, degraded } = this.session;
    /** @type {EventType[]} */
    const events = [this.#pin && this.#pin !== sid ? 'user_changed' : status === 'signed_in' ? 'refreshed' : 'signed_in'];
    if (degraded) events.push('recovered');
    this.#card = card;
    this.#pin = sid;
    this.#pinHint = card.hint;
    this.#failures = 0;
    this.#acted = this.#jar.hint()?.text ?? null;
    const { user } = this.session;
    this.#set({
      status: 'signed_in', reason: null, degraded: false, offline: false,
      user: user && JSON.stringify(user) === JSON.stringify(card.user) ? user : card.user,
      session: Object.freeze({ id: sid, generation, expiresAt }),
    }, events);
    this.#heard?.();
    this.#schedule();
  }

  /** The session is over, here and at once. @param {Reason} reason @param {boolean} [tell] the other tabs */
  #end(reason, tell = true) {
    const { status } = this.session;
    const sid = this.#pin;
    const hint = this.#jar.hint();
    const named = this.#pinHint ?? hint?.session ?? null;
    if (sid) this.#ended = sid;
    this.#card = this.#pin = this.#pinHint = null;
    this.#failures = 0;
    this.#acted = hint?.text ?? null;
    this.#epoch++;
    this.#interrupt();
    if (status !== 'signed_out') {
      /** @type {EventType[]} */
      const events = reason || sid ? ['signed_out'] : ['state'];
      if (reason === 'theft') events.unshift('theft_detected');
      this.#set({ status: 'signed_out', user: null, session: null, reason, degraded: false, refreshing: false }, events);
      if (tell) this.#channel.post({ type: 'out', sid, hint: named, reason: reason === 'user' ? 'other_tab' : reason });
    }
    return new SignedOutError(this.session.reason);
  }

  #interrupt() {
    this.#abort.abort(INTERRUPTED);
    this.#abort = new AbortController();
  }

  /**
   * Changes the state, if it does change, and tells of it: after all is done, so that nobody else's code runs in the
   * middle of ours.
   * @param {Partial<Snapshot>} change @param {EventType[]} [events]
   */
  #set(change, events = ['state']) {
    const before = this.session;
    const names = /** @type {(keyof Snapshot)[]} */ (Object.keys(change));
    if (names.every((name) => before[name] === change[name])) return;
    if (change.degraded && !before.degraded) events = ['degraded'];
    const session = Object.freeze({ ...before, ...change });
    this.session = session;
    for (const type of events) {
      const { reason } = session;
      queueMicrotask(() => {
        for (const listener of this.#listeners) {
          try {
            listener({ type, session, ...(reason && { reason }) });
          } catch (error) {
            reportError(error); // theirs, and nobody else's
          }
        }
      });
    }
  }

  // The other tabs.

  /** @param {Memory & {asked?: string}} memory @param {number} time @param {AbortSignal} signal */
  async #askPeers(memory, time, signal) {
    const hint = this.#jar.hint();
    if (!hint || hint.text === memory.asked || this.#options.shareTokens === false) return;
    memory.asked = hint.text;
    if (!this.#channel.post({ type: 'ask', hint: hint.session, generation: this.#card?.generation ?? 0 })) return;
    await patiently(Promise.race([pause(time), new Promise((/** @type {(value?: any) => void} */ resolve) => { this.#heard = resolve; })]), signal);
  }

  /** @param {Message} message */
  #hear(message) {
    const card = this.#card;
    const hint = this.#jar.hint();
    if (message.type === 'interrupt') {
      if (!this.#change) this.#interrupt();
    } else if (message.type === 'out') {
      const mine = this.#pin ? message.sid === this.#pin : this.session.status === 'unknown' && !!hint && message.hint === hint.session;
      if (mine && !this.#change) this.#end(message.reason, false);
    } else if (this.#options.shareTokens === false) {
      // Tokens stay in their tab.
    } else if (message.type === 'ask') {
      const at = now();
      if (card && card.hint === message.hint && card.generation > message.generation && left(card, at) > 0) {
        this.#channel.post({ type: 'token', card, age: at.steady - card.since.steady });
      }
    } else {
      this.#offered(message.card, message.age, hint);
    }
  }

  /** A token from another tab. @param {Card} offered @param {number} age @param {Hint | null} hint */
  #offered(offered, age, hint) {
    const at = now();
    // The message may have lain about while this tab was frozen; the monotonic clocks of two tabs have nothing in common.
    const steady = at.steady - Math.max(age, at.wall - offered.since.wall);
    const card = { ...offered, since: { steady, wall: offered.since.wall } };
    const mine = hint ? hint.session === card.hint : card.sid === this.#pin;
    if (mine && !this.#change && card.sid !== this.#ended && !this.#isBuried(hint) && left(card, at) > 0 && newer(card, this.#card, at)) this.#hold(card);
  }

  // Time, and the page.

  /** Sets the one timer. It is a hint: every use of a token looks at its age. @param {number} [least] */
  #schedule(least = 100) {
    clearTimeout(this.#timer);
    if (this.#sleep || this.#change || isHidden()) return;
    const { status, degraded } = this.session;
    const at = now();
    const card = this.#card;
    let due = Infinity;
    if (status === 'signed_out' ? this.#grave.read() : !card || degraded) due = this.#failures ? this.#notBefore - at.steady : 0;
    else if (card) due = Math.max(left(card, at) - margin(card.lifetime, this.#share), floor(card.lifetime) - at.steady + card.since.steady);
    if (due < Infinity) this.#timer = setTimeout(() => this.#check(), Math.min(Math.max(due, least), LONGEST_TIMER));
  }

  /** Looks at the age of things. @param {boolean} [hopeful] something has changed for the better, perhaps: one try at once */
  #check(hopeful) {
    if (hopeful) this.#notBefore = this.#silence;
    this.#set({ offline: navigator.onLine === false });
    this.look();
    const buried = this.session.status === 'signed_out' && !this.#change && this.#isBuried(this.#jar.hint());
    const card = this.#card;
    if (buried) this.#bury(buried.scope);
    else if (this.session.status !== 'signed_out' && (!card || this.session.degraded || left(card, now()) < margin(card.lifetime, this.#share))) this.#refreshQuietly();
    else this.#schedule();
  }

  #fallAsleep() {
    if (this.#sleep) return;
    let end = () => {};
    this.#sleep = { promise: new Promise((resolve) => { end = resolve; }), end };
    clearTimeout(this.#timer);
    // A page that is left must not have a late answer overwrite the cookie of its successor.
    this.#interrupt();
    this.#channel.close();
  }

  /** @param {boolean} fromCache */
  #wake(fromCache) {
    const { end } = this.#sleep ?? {};
    if (!end) return;
    this.#sleep = null;
    this.#channel.open();
    if (fromCache) {
      this.look(); // before anything of the page can use what may be over
      if (this.#jar.hint()?.text !== this.#acted) this.#card = null;
    }
    end();
    this.#check();
  }
}
