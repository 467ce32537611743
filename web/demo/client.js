// A browser client of Innkeeper in one file. Read it top to bottom.
//
// The access token ("key card") is in a private field of one object and nowhere
// else. The refresh token ("booking") is in an HttpOnly cookie that no script
// sees; all that this file knows of it is what the readable hint cookie says:
// which session, which generation.
//
// One thing is different from a client for production: this one uses a key card
// until a door refuses it, so that you can watch what happens then. A real one
// renews it a little earlier, and hands new cards to its other tabs.

import { idempotencyKey } from './keys.js';

/** The codes on which a client may sign somebody out. On no others. */
const DEAD = new Set([
  'refresh_token_missing', 'refresh_token_invalid', 'refresh_token_expired', 'refresh_token_reused', 'session_ended',
]);
/** The Web Lock that refresh, sign-in and sign-out of all tabs share. */
export const LOCK = 'innkeeper-demo';

const REQUEST_TIMEOUT = 8_000; // of one try
const LOCK_TIMEOUT = 12_000; // longer than one try of another tab
const TRIES = 6;

/** The session is over. `code` and `reason` say why. */
export class SignedOut extends Error {
  constructor(code, reason) {
    super(`signed out: ${reason ?? code}`);
    Object.assign(this, { code, reason });
  }
}

/** The front desk did not answer, or not in words that say anything about the session. Try again later. */
export class Unavailable extends Error {}

/** The front desk said no, for example to a password. */
export class Refused extends Error {
  constructor({ status, code, body }) {
    super(body?.detail ?? `refused with ${status}`);
    this.code = code;
  }
}

/** Reads the hint cookie `hash.generation.expires`, null if there is none. */
export function readHint() {
  const match = /(?:^|; )innkeeper-hint=(([^.;]+)\.(\d+)\.(\d+))/.exec(document.cookie);
  return match && { text: match[1], session: match[2], generation: Number(match[3]), expires: Number(match[4]) };
}

export class Client {
  #card = null; // { token, session, generation, … }: replaced as a whole, never changed
  #flight = null; // the refresh under way, shared by all who need it
  #interruption = new AbortController(); // ends whatever is under way
  #locked = 0;
  #jar = null; // the hint that we have acted on last
  #onChange;
  #onExchange;

  /** 'unknown' until we have looked: never show that as signed out. */
  state = Object.freeze({ status: 'unknown' });

  /** onChange(state) after every change; onExchange(exchange) before and after every request. */
  constructor({ onChange = () => {}, onExchange = () => {} } = {}) {
    this.#onChange = onChange;
    this.#onExchange = onExchange;
    // A page that is left must not have a late answer overwrite the cookie of its successor.
    addEventListener('pagehide', () => this.#interrupt());
    addEventListener('pageshow', () => this.look());
  }

  /** At boot: a visitor without a hint costs no request, one with a hint costs one refresh. */
  async start() {
    if (readHint()) await this.refresh();
    else this.#signedOut();
  }

  async signIn(username, password, device) {
    this.#interrupt();
    return this.#exclusively(async (signal) => {
      const answer = await this.#ask('/auth/login', { signal, body: { username, password, device } });
      if (!answer.body?.access_token) throw answer.status ? new Refused(answer) : new Unavailable('the front desk does not answer');
      return this.#adopt(answer);
    });
  }

  /**
   * Signs out here at once and then at the front desk, where it counts. The scope
   * is "this" or "everywhere". A refresh that is under way cannot undo it.
   */
  async signOut(scope = 'this') {
    this.#interrupt();
    this.#signedOut('logout');
    const tell = () => this.#exclusively((signal) => this.#ask('/auth/logout', { signal, body: { scope } }));
    let answer = await tell();
    if (answer.code === 'refresh_superseded') { // the desk is a generation ahead of this jar: catch up first
      await this.#persist();
      this.#signedOut('logout');
      answer = await tell();
    }
    this.#jar = readHint()?.text ?? null;
    if (answer.status !== 204 && !DEAD.has(answer.code)) throw new Unavailable('the front desk has not been told');
  }

  /**
   * fetch() with the key card. If a door refuses the card, it is renewed once and
   * the request sent once more; whatever comes then is the caller's.
   */
  async fetch(url, init) {
    const target = new URL(url, location.href);
    if (target.origin !== location.origin) throw new TypeError('the key card is not shown to other origins');
    this.look();
    const card = this.#card ?? await this.refresh();
    const refused = await this.#show(card, target, init);
    if (refused.status !== 401 || !/error="invalid_token"/.test(refused.headers.get('WWW-Authenticate'))) return refused;

    // Perhaps somebody else has renewed it while we were away.
    const next = this.#card && this.#card !== card ? this.#card : await this.refresh();
    if (next.session !== card.session) return refused; // never send a request again in another session
    await refused.body?.cancel();
    return this.#show(next, target, init);
  }

  /** Renews the key card. However many ask, there is one refresh at a time. */
  refresh() {
    if (this.state.status === 'signed_out') return Promise.reject(new SignedOut(this.state.code, this.state.reason));
    this.#flight ??= this.#persist().finally(() => { this.#flight = null; });
    return this.#flight;
  }

  /** Tries until the desk has said yes or no. */
  async #persist() {
    const { signal } = this.#interruption;
    const memory = { named: null, superseded: 0, lookedAgain: false };
    let delay = 500;
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      const outcome = await this.#exclusively(() => this.#try(memory, attempt, signal), signal);
      if (outcome.card) return outcome.card;
      if (outcome.atOnce || attempt === TRIES) continue;
      // No answer, or none of the front desk's. Perhaps it has acted, perhaps not:
      // the same key makes asking again safe. It is no reason to sign anybody out.
      await pause(Math.max(delay, outcome.retryAfter), signal);
      delay = Math.min(500 + Math.random() * (3 * delay - 500), 30_000);
    }
    throw new Unavailable('the front desk does not answer');
  }

  /** One try at a refresh, and what to do about the answer. */
  async #try(memory, attempt, signal) {
    const hint = readHint();
    if (!hint) throw this.#signedOut('booking_gone'); // no request needed to know
    const generation = memory.named ?? hint.generation;
    const key = await idempotencyKey(hint.session, generation); // stored before the request leaves
    const answer = await this.#ask('/auth/refresh', { signal, body: {}, attempt, idempotency: { key, generation } });
    if (answer.body?.access_token) return { card: this.#adopt(answer) };

    const moved = readHint()?.text !== hint.text; // has another tab signed in or refreshed meanwhile?
    if (answer.code === 'refresh_generation_mismatch' && memory.named !== answer.body.generation) {
      memory.named = answer.body.generation; // the hint was wrong about the jar; nothing was consumed
      return { atOnce: true };
    }
    if (answer.code === 'refresh_superseded') { // a late duplicate: look at the jar again, once
      if (++memory.superseded > 1 && !moved) {
        await this.#ask('/auth/logout', { signal, body: { scope: 'this' } });
        throw this.#signedOut(answer.code);
      }
      memory.named = null;
      return navigator.locks ? { atOnce: true } : { retryAfter: 10_000 };
    }
    if (DEAD.has(answer.code) && (answer.status === 401 || answer.status === 400)) {
      if (!moved || memory.lookedAgain) throw this.#signedOut(answer.code, answer.body.reason);
      Object.assign(memory, { lookedAgain: true, named: null });
      return { atOnce: true };
    }
    return { retryAfter: answer.retryAfter };
  }

  /** Looks whether another tab has signed in or out. Cheap: call it often. */
  look() {
    if (this.#locked || this.#flight) return;
    const hint = readHint();
    if (this.state.status === 'unknown') { // the desk has not answered yet: ask again
      this.#lookCloser();
    } else if (this.state.status === 'signed_in') {
      if (!hint) this.#signedOut('booking_gone');
      else if (hint.session !== this.#card.hint) this.#lookCloser(); // never go on as somebody else
    } else if (hint && hint.text !== this.#jar) {
      this.#lookCloser();
    }
  }

  #lookCloser() {
    this.#card = null;
    this.#become({ status: 'unknown' });
    this.refresh().catch(() => {});
  }

  /** Takes the tokens of an answer over. */
  #adopt({ body, sentAt }) {
    const hint = readHint();
    this.#jar = hint?.text ?? null;
    this.#card = Object.freeze({
      token: body.access_token, session: body.session.id, hint: hint?.session,
      generation: body.session.generation, lifetime: body.expires_in, sentAt,
    });
    this.#become({ status: 'signed_in', user: body.user, session: body.session });
    return this.#card;
  }

  #signedOut(code, reason) {
    this.#card = null;
    this.#jar = readHint()?.text ?? null;
    this.#become({ status: 'signed_out', code, reason });
    return new SignedOut(code, reason);
  }

  #become(state) {
    this.state = Object.freeze(state);
    queueMicrotask(() => this.#onChange(this.state)); // nobody else's code runs in the middle of ours
  }

  /**
   * One tab at a time: a refresh and a sign-in that cross each other would leave
   * the cookie of whichever answer comes last. The lock is held for one request.
   * Whoever waits too long for it gives up instead of passing by.
   */
  async #exclusively(work, signal = this.#interruption.signal) {
    this.#locked++;
    try {
      signal.throwIfAborted();
      if (!navigator.locks) return await work(signal);
      const waiting = AbortSignal.any([signal, AbortSignal.timeout(LOCK_TIMEOUT)]);
      return await navigator.locks.request(LOCK, { signal: waiting }, () => work(signal));
    } catch (error) {
      if (['AbortError', 'TimeoutError'].includes(error.name)) throw new Unavailable('interrupted');
      throw error;
    } finally {
      this.#locked--;
    }
  }

  #interrupt() {
    this.#interruption.abort();
    this.#interruption = new AbortController();
  }

  /** Sends a request to the front desk. It answers in JSON, or not at all: then status is 0. */
  async #ask(path, { signal, body, idempotency, attempt }) {
    const headers = { 'Content-Type': 'application/json' };
    if (idempotency) headers['Idempotency-Key'] = `"${idempotency.key}";generation=${idempotency.generation}`;
    const sentAt = now();
    const exchange = { method: 'POST', path, attempt, idempotency };
    this.#onExchange(exchange);
    try {
      const response = await fetch(path, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        credentials: 'same-origin', // the cookie goes along, unseen
        cache: 'no-store',
        redirect: 'error', // no redirect is ever meant
        referrerPolicy: 'no-referrer',
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT)]),
        // No keepalive: with it a late answer sets its cookie although we have given up on it.
      });
      const answer = { status: response.status, body: await response.json().catch(() => null), sentAt };
      signal.throwIfAborted(); // signed out meanwhile: this answer is nobody's
      answer.code = answer.body?.code;
      answer.retryAfter = 1000 * Math.min(Number(response.headers.get('Retry-After')) || 0, 300);
      this.#onExchange({ ...exchange, response, answer, before: exchange });
      return answer;
    } catch (error) {
      this.#onExchange({ ...exchange, error, before: exchange });
      signal.throwIfAborted();
      return { status: 0, body: null, sentAt, retryAfter: 0 };
    }
  }

  /** Sends the caller's request, with the key card. */
  async #show(card, target, init) {
    const request = new Request(target, init); // a new one for each try
    request.headers.set('Authorization', `Bearer ${card.token}`);
    const exchange = { method: request.method, path: target.pathname, card: this.describe(card) };
    this.#onExchange(exchange);
    try {
      const response = await fetch(request, { cache: 'no-store' });
      this.#onExchange({ ...exchange, response, before: exchange });
      return response;
    } catch (error) {
      this.#onExchange({ ...exchange, error, before: exchange });
      throw error;
    }
  }

  /** What is on the key card, for showing it on the page. The token itself stays in here. */
  describe(card = this.#card) {
    if (!card) return null;
    const [header, claims] = card.token.split('.').slice(0, 2).map(decode);
    return {
      header, claims, lifetime: card.lifetime, generation: card.generation, left: secondsLeft(card),
      text: `${card.token.slice(0, 10)}…${card.token.slice(-6)}`,
    };
  }
}

/** Counted from the start of the request by both clocks: one may stop in a sleep, the other may be set. */
function secondsLeft({ sentAt, lifetime }) {
  const { steady, wall } = now();
  return Math.max(0, lifetime - Math.max(steady - sentAt.steady, wall - sentAt.wall) / 1000);
}

const now = () => ({ steady: performance.now(), wall: Date.now() });

const decode = (part) => JSON.parse(new TextDecoder().decode(
  Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0)),
));

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(new Unavailable('interrupted')); }, { once: true });
  });
}
