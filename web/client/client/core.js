// One session of one browser tab: what it knows, and how it keeps it fresh.
//
// All state is in here, and the access token in a variable that nothing outside
// can reach. Whatever judges is elsewhere and pure (verdict.js, clock.js); whatever reaches out is
// elsewhere too (desk.js, jar.js, keys.js, lock.js, channel.js).

import { channel } from './channel.js';
import { backoff, floor, left, margin, newer, now } from './clock.js';
import { ask } from './desk.js';
import { InnkeeperError, RefreshUnavailableError, RefusedError, SignedOutError, UserChangedError } from './errors.js';
import { note } from './jar.js';
import { idempotencyKey } from './keys.js';
import { patiently, pause, underLock } from './lock.js';
import { isHidden, watchPage } from './page.js';
import { brings, isDead, isSilent, step } from './verdict.js';

/**
 * @import { Message } from './channel.js'
 * @import { Answer, Card, ClientEvent, EventType, Hint, Jar, Options, Reason, Snapshot, Ticket, TokenRequest } from './contract.js'
 * @import { Memory, Step } from './verdict.js'
 */

const TRIES = 5; // of one refresh, all begun within so many milliseconds: then those who wait are told that there is no answer
const PATIENCE = 15_000;
const LOCK_WAIT = 12_000; // longer than one request of another tab
const LOGOUT_WAIT = 2_000;
const PEERS_AT_BOOT = 100;
const PEERS_UNDER_LOCK = 250;
const LONGEST_TIMER = 2 ** 31 - 1;

/** What is known before anything is, and all that is ever known on a server. @type {Snapshot} */
export const UNKNOWN = Object.freeze({
  status: 'unknown', user: null, session: null, reason: null, refreshing: false, degraded: false, offline: false,
});

/** Somebody's sign-in, sign-out or leaving the page has ended what was under way. Who waits for a token looks again. */
const INTERRUPTED = new RefreshUnavailableError(0);

/**
 * A refresh under way.
 * @typedef {object} Search
 * @property {AbortSignal} signal
 * @property {Card | null} stale what it is to replace
 * @property {() => Card | null} found what has replaced it, whoever brought it
 * @property {Memory} memory of what the server has said
 * @property {string} [asked] the hint that the other tabs were asked about
 */

/** @typedef {ReturnType<typeof createCore>} Core */

/**
 * A closure and not a class: the token is out of reach of whoever gets hold of the object, and it packs smaller. Nothing
 * happens before `start`.
 * @param {string} url an origin @param {Options} options @param {Jar} jar @param {typeof fetch} send
 */
export function createCore(url, { shareTokens = true }, jar, send) {
  let state = UNKNOWN;
  /** The token in use. @type {Card | null} */
  let held = null;
  /** The session that this tab believes to be in, kept while its token is not. @type {string | null} */
  let pinned = null;
  /** The same, as the hint names it. @type {string | null} */
  let pinnedHint = null;
  /** The session that this tab has seen end last. @type {string | null} */
  let lastEnded = null;
  /** Grows when what is under way must not count any more. */
  let epoch = 0;
  /** Ends whatever is under way. */
  let aborter = new AbortController();
  /** The refresh under way, shared by all who need it. @type {Promise<Card> | null} */
  let flight = null;
  /** The sign-in, sign-out or change of password under way. @type {Promise<unknown> | null} */
  let changing = null;
  /** While the page is left. @type {Promise<void> | null} */
  let asleep = null;
  let awaken = () => {};
  /** What the jar held when we last acted on it. @type {string | undefined} */
  let actedOn;
  /** Failures in a row, all for what the jar held then. */
  let failures = 0;
  /** @type {string | undefined} */
  let failedFor;
  /** When to try again, and until when the server has asked for silence, on the monotonic clock. */
  let notBefore = 0;
  let silence = 0;
  let stopped = true; // as it stays on a server
  let unwatch = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** Called when another tab has answered. @type {(() => void) | undefined} */
  let heard;
  const luck = Math.random();
  /** @type {Set<(event: ClientEvent) => void>} */
  const listeners = new Set();
  const name = `innkeeper:${url}`;
  const peers = channel(name, hear);
  /**
   * Signed out while the server could not be told. JavaScript cannot delete the HttpOnly cookie, so a reload would bring
   * the session back: this note makes the next page tell the server before anything else. It names the session and dies
   * with it.
   */
  const grave = note(`innkeeper-out:${url}`);

  // Beginning and end.

  /** A visitor without a hint costs no request, one with a hint the question to the other tabs, and if none answers one refresh. */
  function start() {
    unwatch = watchPage(fallAsleep, wake, check);
    stopped = false;
    peers.open();
    const { load } = jar;
    if (load) load().then(boot);
    else boot();
  }

  function boot() {
    if (changing) return; // somebody signs in already
    if (isBuried()) {
      end('user', false);
      bury('this');
    } else if (!jar.hint()) {
      end(null, false);
    } else {
      refreshQuietly();
    }
  }

  function stop() {
    unwatch();
    fallAsleep();
    stopped = true;
    awaken();
    listeners.clear();
  }

  // What everybody asks for.

  /** @param {(event: ClientEvent) => void} listener @returns {() => void} */
  function subscribe(listener) {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }

  /**
   * Returns an access token that lives, waiting for a refresh if there is none. Whoever asked as one user never gets
   * the token of another.
   * @param {TokenRequest & {refused?: Ticket}} [wish] @returns {Promise<Card>}
   */
  async function card({ minTtl = 0, signal, forceGen = 0, refused } = {}) {
    signal?.throwIfAborted();
    const pin = refused?.sid ?? pinned;
    let renewed = false;
    look();
    for (;;) {
      if (stopped) throw closed();
      const blocker = changing ?? asleep;
      if (blocker) {
        await patiently(blocker, signal);
        continue;
      }
      if (state.status === 'signed_out') throw new SignedOutError(state.reason);
      if (pin && pinned && pin !== pinned) throw new UserChangedError();
      const card = held;
      const good = card && card.generation > forceGen && card.token !== refused?.token ? card : null;
      const rest = good ? left(good) : 0;
      // A young token is used whatever a clock that jumps says of it: if it is dead, its 401 will name it.
      if (good && (renewed || rest > minTtl || now().steady - good.since.steady < floor(good.lifetime))) {
        if (!renewed && rest < margin(good.lifetime, luck)) refreshQuietly();
        return good;
      }
      try {
        await patiently(refresh(), signal);
        renewed = true;
      } catch (error) {
        if (error === INTERRUPTED) continue;
        if (good && error instanceof RefreshUnavailableError && left(good) > 0) return good;
        throw error;
      }
    }
  }

  /** @returns {Promise<Snapshot>} */
  async function ready() {
    if (stopped) throw closed();
    while (state.status === 'unknown') await new Promise((/** @type {(value?: any) => void} */ resolve) => { const leave = subscribe(() => { leave(); resolve(); }); });
    return state;
  }

  /** Looks whether another tab has signed in or out. Synchronous, and cheap: call it often. */
  function look() {
    const { status } = state;
    if (changing || asleep || status === 'unknown') return;
    const hint = jar.hint();
    if (status === 'signed_out') {
      if (hint && hint.text !== actedOn && !isBuried()) lookCloser();
    } else if (pinnedHint) {
      if (!hint || isBuried()) end('other_tab', false); // the cookie outlives a sign-out that the server has not heard of
      else if (hint.session !== pinnedHint) lookCloser(); // never go on as somebody else
    }
  }

  function lookCloser() {
    held = null;
    become(UNKNOWN);
    refreshQuietly();
  }

  // Signing in and out.

  /**
   * Sends what opens a session: sign-in, sign-up, a change of password.
   * @param {string} path @param {object} body @param {Card} [bearer] @returns {Promise<Snapshot>}
   */
  async function enter(path, body, bearer) {
    return exclusively(LOCK_WAIT, async (signal) => {
      const answer = await post(path, body, signal, bearer);
      if (!brings(answer)) throw refusal(answer);
      grave.erase();
      await adopt(answer, true);
      return state;
    });
  }

  /** @param {{currentPassword: string, newPassword: string}} change */
  async function changePassword({ currentPassword, newPassword }) {
    const bearer = await card({ minTtl: Infinity }); // as fresh as can be: there is no second try
    return enter('/auth/password', { current_password: currentPassword, new_password: newPassword }, bearer);
  }

  /** @param {'this' | 'others' | 'everywhere'} scope */
  async function signOut(scope) {
    if (scope === 'others') {
      const bearer = await card();
      told(await post('/auth/logout', { scope }, aborter.signal, bearer));
      card({ forceGen: bearer.generation }).catch(() => {}); // it carries the old epoch
      return;
    }
    look();
    const bearer = held;
    const session = pinnedHint ?? jar.hint()?.session ?? pinned;
    if (session) grave.write(session);
    end('user');
    if (session) await bury(scope, bearer);
  }

  /** Tells the server of a sign-out. If it does not answer, the grave is left open for later. @param {string} scope @param {Card | null} [bearer] */
  function bury(scope, bearer) {
    return exclusively(LOGOUT_WAIT, async (signal) => {
      told(await post('/auth/logout', { scope }, signal, bearer));
      grave.erase();
      jar.forget();
      actedOn = jar.hint()?.text;
    }).catch((error) => {
      fail(0);
      schedule();
      if (scope !== 'this') throw error;
    });
  }

  /** Whether somebody has signed out of the session in the jar and the server has not been told. */
  function isBuried() {
    const buried = grave.read();
    if (buried && buried !== jar.hint()?.session) return void grave.erase(); // it dies with its session
    return buried;
  }

  /**
   * One change at a time, and no refresh beside it in any tab: answers that cross would leave the cookie of whichever
   * comes last. A refresh never passes this lock; a change that has waited too long for a refresh does.
   * @template T @param {number} wait @param {(signal: AbortSignal) => Promise<T>} work @returns {Promise<T>}
   */
  function exclusively(wait, work) {
    if (stopped) throw closed();
    interrupt();
    peers.post({ type: 'interrupt' });
    const { signal } = aborter;
    const change = underLock(`${name}:change`, 'exclusive', wait, signal, () => work(signal));
    const settled = change.catch(() => {}).then(() => {
      if (changing === settled) changing = null;
      if (state.status === 'unknown') refreshQuietly();
      schedule();
    });
    changing = settled;
    return change;
  }

  // The refresh.

  /** However many ask, there is one at a time. @returns {Promise<Card>} */
  function refresh() {
    flight ??= persist().finally(() => {
      flight = null;
      become({ refreshing: false });
      schedule();
    });
    return flight;
  }

  function refreshQuietly() {
    card({ minTtl: Infinity }).catch(() => {});
  }

  /** Tries until the server has said yes or no, or not for too long. */
  async function persist() {
    const { signal } = aborter;
    const rest = notBefore - now().steady;
    if (failures && rest > 0 && failedFor === jar.hint()?.text) throw new RefreshUnavailableError(rest);
    if (navigator.onLine === false) throw fail(0);
    become({ refreshing: true });
    const stale = held;
    /** @type {Search} */
    const search = {
      signal,
      stale,
      found: () => (held !== stale && held && left(held) > 0 ? held : null),
      memory: { superseded: 0 },
    };
    if (!stale) await askPeers(search, PEERS_AT_BOOT);
    for (let tries = 1, end = now().steady + PATIENCE; ; tries++) {
      const outcome = search.found() ?? await attempt(search);
      if ('token' in outcome) return outcome;
      let { to, wait } = outcome;
      if (to === 'fail' || tries > TRIES) {
        // No answer, or none of the server's. Perhaps it has acted, perhaps not: the same key makes asking again safe.
        const failure = fail(wait);
        wait = failure.retryAfter;
        if (tries > TRIES || now().steady + wait > end) throw failure;
      }
      await pause(wait, signal);
    }
  }

  /** One try, under the lock of the refresh and beside nobody's sign-in or sign-out. @param {Search} search @returns {Promise<Card | Step>} */
  function attempt(search) {
    const { signal } = search;
    return underLock(
      `${name}:change`, 'shared', LOCK_WAIT, signal,
      () => underLock(`${name}:refresh`, 'exclusive', LOCK_WAIT, signal, (held) => rotate(search, held)),
      async () => ({ to: 'fail', wait: 0 }), // their lock is never passed
    );
  }

  /** @param {Search} search @param {boolean} held @returns {Promise<Card | Step>} */
  async function rotate(search, held) {
    const { signal, stale, found, memory } = search;
    await jar.load?.();
    // The lock may have been a long wait: another tab may have done the work.
    if (!found() && (jar.hint()?.generation ?? 0) > (stale?.generation ?? 0)) await askPeers(search, PEERS_UNDER_LOCK);
    const card = found();
    if (card) return card;

    // Where cookies are blocked there is no hint, and the session is known by its own name.
    const hint = jar.hint() ?? (stale && !stale.hint ? { session: stale.sid, generation: stale.generation, text: '' } : null);
    if (!hint) throw end(pinned ? 'other_tab' : null, false); // no request needed to know
    const answer = await post('/auth/refresh', {}, signal, null, hint, memory.named);
    const next = step(answer, memory, { moved: (jar.hint()?.text ?? '') !== hint.text, held });
    if (next.to === 'adopt') return adopt(answer, false);
    if (next.to !== 'end') return next;
    if (next.logout) await post('/auth/logout', { scope: 'this' }, signal);
    throw end(answer.code === 'refresh_token_missing' && stale && !stale.kept ? 'cookies_blocked' : next.reason ?? null);
  }

  /** Notes that there was no answer. @param {number} retryAfter @returns {RefreshUnavailableError} */
  function fail(retryAfter) {
    const wait = Math.max(retryAfter, backoff(failures++, Math.random()));
    const { steady } = now();
    failedFor = jar.hint()?.text;
    notBefore = steady + wait;
    silence = steady + retryAfter;
    if (state.status !== 'signed_out') become({ degraded: true, offline: navigator.onLine === false }, [state.degraded ? 'state' : 'degraded']);
    return new RefreshUnavailableError(wait);
  }

  /**
   * @param {string} path @param {object} body @param {AbortSignal} signal @param {{token: string} | null} [bearer]
   * @param {Hint} [hint] of the token that is to be rotated @param {number} [generation] if the hint is known to be wrong
   */
  async function post(path, body, signal, bearer, hint, generation = hint?.generation) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (bearer) headers.Authorization = `Bearer ${bearer.token}`;
    if (hint && generation) headers['Idempotency-Key'] = `"${await idempotencyKey(hint.session, generation)}";generation=${generation}`;
    signal.throwIfAborted();
    return ask(send, url + path, body, headers, signal);
  }

  // What becomes of it.

  /** Takes the tokens of an answer over. @param {Answer} answer @param {boolean} entered by a sign-in, not by a refresh */
  async function adopt({ body, since }, entered) {
    const began = epoch;
    await jar.keep(body);
    if (began !== epoch) throw INTERRUPTED;
    const hint = jar.hint();
    /** @type {Card} */
    const card = {
      token: body.access_token, sid: body.session.id, generation: body.session.generation, expiresAt: body.session.expires_at,
      lifetime: body.expires_in * 1000, since, user: body.user, hint: hint?.session ?? null, kept: !entered || (jar.readable && !!hint),
    };
    if (newer(card, held)) {
      hold(card);
      share(card);
    }
    return /** @type {Card} */ (held);
  }

  /** @param {Card} card */
  function hold(card) {
    const { sid, generation, expiresAt } = card;
    const { status, degraded, refreshing, user } = state;
    /** @type {EventType[]} */
    const events = [pinned && pinned !== sid ? 'user_changed' : status === 'signed_in' ? 'refreshed' : 'signed_in'];
    if (degraded) events.push('recovered');
    held = card;
    pinned = sid;
    pinnedHint = card.hint;
    failures = 0;
    actedOn = jar.hint()?.text;
    become({
      ...UNKNOWN,
      refreshing,
      status: 'signed_in',
      user: JSON.stringify(user) === JSON.stringify(card.user) ? user : card.user, // the same object while nothing has changed
      session: Object.freeze({ id: sid, generation, expiresAt }),
    }, events);
    heard?.();
    schedule();
  }

  /** The session is over, here and at once. @param {Reason} reason @param {boolean} [tell] the other tabs */
  function end(reason, tell = true) {
    const { status } = state;
    const sid = pinned;
    const hint = jar.hint();
    const named = pinnedHint ?? hint?.session ?? null;
    if (sid) lastEnded = sid;
    held = pinned = pinnedHint = null;
    failures = 0;
    actedOn = hint?.text;
    epoch++;
    interrupt();
    if (status !== 'signed_out') {
      /** @type {EventType[]} */
      const events = reason || sid ? ['signed_out'] : ['state'];
      if (reason === 'theft') events.unshift('theft_detected');
      become({ ...UNKNOWN, status: 'signed_out', reason }, events);
      if (tell) peers.post({ type: 'out', sid, hint: named, reason: reason === 'user' ? 'other_tab' : reason });
    }
    return new SignedOutError(state.reason);
  }

  function interrupt() {
    aborter.abort(INTERRUPTED);
    aborter = new AbortController();
  }

  /**
   * Changes the state, if it does change, and tells of it: after all is done, so that nobody else's code runs in the
   * middle of ours.
   * @param {Partial<Snapshot>} change @param {EventType[]} [events]
   */
  function become(change, events = ['state']) {
    const before = state;
    const names = /** @type {(keyof Snapshot)[]} */ (Object.keys(change));
    if (names.every((name) => before[name] === change[name])) return;
    const session = Object.freeze({ ...before, ...change });
    state = session;
    for (const type of events) {
      // Each listener in a microtask of its own: what one of them throws is reported, and is nobody else's.
      queueMicrotask(() => listeners.forEach((listener) => queueMicrotask(() => listener({ type, session, reason: session.reason }))));
    }
  }

  // The other tabs.

  /** @param {Search} search @param {number} time */
  async function askPeers(search, time) {
    const hint = jar.hint();
    if (!hint || hint.text === search.asked || !shareTokens) return;
    search.asked = hint.text;
    if (!peers.post({ type: 'ask', hint: hint.session, generation: held?.generation ?? 0 })) return;
    await new Promise((/** @type {(value?: any) => void} */ resolve) => {
      heard = resolve;
      setTimeout(resolve, time);
    });
    search.signal.throwIfAborted();
  }

  /** @param {Card} card */
  function share(card) {
    if (shareTokens) peers.post({ type: 'token', card, age: now().steady - card.since.steady });
  }

  /** @param {Message} message */
  function hear(message) {
    const card = held;
    const hint = jar.hint();
    if (message.type === 'interrupt') {
      if (!changing) interrupt();
    } else if (message.type === 'out') {
      const mine = pinned ? message.sid === pinned : state.status === 'unknown' && !!hint && message.hint === hint.session;
      if (mine && !changing) end(message.reason, false);
    } else if (!shareTokens) {
      // Tokens stay in their tab.
    } else if (message.type === 'ask') {
      if (card && card.hint === message.hint && card.generation > message.generation && left(card) > 0) share(card);
    } else if (message.type === 'token') {
      offer(message.card, message.age, hint);
    }
  }

  /** A token from another tab. @param {Card} offered @param {number} age @param {Hint | null} hint */
  function offer(offered, age, hint) {
    const at = now();
    // The message may have lain about while this tab was frozen; the monotonic clocks of two tabs have nothing in common.
    const steady = at.steady - Math.max(age, at.wall - offered.since.wall);
    const card = { ...offered, since: { steady, wall: offered.since.wall } };
    const mine = hint ? hint.session === card.hint : card.sid === pinned;
    if (mine && !changing && card.sid !== lastEnded && !isBuried() && left(card) > 0 && newer(card, held)) hold(card);
  }

  // Time, and the page.

  /** Milliseconds until there is something to do by itself. */
  function due() {
    const { status, degraded } = state;
    const { steady } = now();
    const card = held;
    if (status === 'signed_out' && !grave.read()) return Infinity;
    return card && !degraded
      ? Math.max(left(card) - margin(card.lifetime, luck), floor(card.lifetime) - steady + card.since.steady)
      : failures && notBefore - steady;
  }

  /** Sets the one timer. It is a hint: every use of a token looks at its age. */
  function schedule() {
    clearTimeout(timer);
    if (asleep || changing || isHidden()) return;
    timer = setTimeout(() => check(), Math.min(Math.max(due(), 100), LONGEST_TIMER));
  }

  /** Looks at the age of things. @param {boolean} [hopeful] something has changed for the better, perhaps: one try at once */
  function check(hopeful) {
    if (hopeful) notBefore = silence;
    become({ offline: navigator.onLine === false });
    look();
    if (due() > 0 || changing || (isHidden() && !hopeful)) return schedule();
    if (state.status !== 'signed_out') refreshQuietly();
    else if (isBuried()) bury('this');
  }

  function fallAsleep() {
    asleep ??= new Promise((resolve) => { awaken = resolve; });
    schedule();
    // A page that is left must not have a late answer overwrite the cookie of its successor.
    interrupt();
    peers.close();
  }

  /** @param {PageTransitionEvent} event */
  function wake({ persisted }) {
    asleep = null;
    peers.open();
    if (persisted) {
      look(); // before anything of the page can use what may be over
      if (jar.hint()?.text !== actedOn) held = null;
    }
    awaken();
    schedule();
  }

  return { start, stop, subscribe, card, ready, look, enter, changePassword, signOut, state: () => state, users: 0 };
}

/** What becomes of whoever asks a client that has let go, or that was never in a browser. */
const closed = () => new InnkeeperError('closed', 'closed, or on a server');

/** Why the server did not do what it was asked. @param {Answer} answer */
const refusal = (answer) => (isSilent(answer) ? new RefreshUnavailableError(answer.retryAfter) : new RefusedError(answer));

/** Throws unless the session has ended, now or before. @param {Answer} answer */
function told(answer) {
  if (answer.status !== 204 && !isDead(answer)) throw refusal(answer);
}
