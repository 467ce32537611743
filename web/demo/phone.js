// A second device, played by this page: a native app, which asks for its refresh
// token in the body and keeps it itself. Here it keeps it in memory, so a reload
// loses the phone. A real one keeps it, and the idempotency key, in its keychain.
// Never do this in a web page: that is what the cookie is for.

const TRIES = 4;

export class Phone {
  #booking = null; // the refresh token
  #key = null; // of the present generation: made before the first try, kept until a new booking is
  #flight = null;
  #onExchange;
  card = null; // of a phone that is only played, to be shown

  constructor({ onExchange = () => {} } = {}) { this.#onExchange = onExchange; }

  async signIn(credentials) {
    const answer = await this.#ask('/auth/login', { ...credentials, delivery: 'body' });
    if (!answer.body?.access_token) throw new Error(answer.body?.detail ?? 'the front desk does not answer');
    this.#adopt(answer);
  }

  async signOut() {
    const booking = this.#booking;
    this.#forget();
    await this.#ask('/auth/logout', { refresh_token: booking });
  }

  /** As in the browser's client: a refused card is renewed once, and the request sent once more. Null if the session is over. */
  async fetch(path) {
    const card = this.card;
    const response = await this.#show(path, card);
    if (response.status !== 401) return response;
    if (this.card === card) await this.#refresh();
    return this.card ? this.#show(path, this.card) : null;
  }

  /** Only shows the card, whatever comes. */
  knock(path) { return this.#show(path, this.card); }

  #refresh() {
    this.#flight ??= this.#rotate().finally(() => { this.#flight = null; });
    return this.#flight;
  }

  async #rotate() {
    this.#key ??= crypto.randomUUID();
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      const idempotency = { key: this.#key, generation: this.card.generation };
      const answer = await this.#ask('/auth/refresh', { refresh_token: this.#booking }, { attempt, idempotency });
      if (answer.body?.access_token) return this.#adopt(answer);
      if (answer.status === 401) return this.#forget();
      await new Promise((resolve) => { setTimeout(resolve, 500 * attempt); });
    }
  }

  #adopt({ body, sentAt }) {
    this.#booking = body.refresh_token;
    this.#key = null;
    this.card = {
      token: body.access_token, generation: body.session.generation, session: body.session.id,
      lifetime: body.expires_in, sentAt,
      get left() { return Math.max(0, this.lifetime - (performance.now() - this.sentAt) / 1000); },
    };
  }

  #forget() { this.#booking = this.#key = this.card = null; }

  async #ask(path, body, { attempt, idempotency } = {}) {
    const headers = { 'Content-Type': 'application/json' };
    if (idempotency) headers['Idempotency-Key'] = `"${idempotency.key}";generation=${idempotency.generation}`;
    const sentAt = performance.now();
    const exchange = { actor: 'Phone', method: 'POST', path, attempt, idempotency };
    this.#onExchange(exchange);
    try {
      const response = await fetch(path, {
        method: 'POST', headers, body: JSON.stringify(body),
        credentials: 'omit', // a phone has no share in the cookies of this browser
        cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(8_000),
      });
      const answer = { status: response.status, body: await response.json().catch(() => null), sentAt };
      this.#onExchange({ ...exchange, response, answer: { ...answer, code: answer.body?.code }, before: exchange });
      return answer;
    } catch (error) {
      this.#onExchange({ ...exchange, error, before: exchange });
      return { status: 0, body: null, sentAt };
    }
  }

  async #show(path, card) {
    const exchange = { actor: 'Phone', method: 'GET', path, card: { generation: card.generation, left: card.left } };
    this.#onExchange(exchange);
    const response = await fetch(path, {
      headers: { Authorization: `Bearer ${card.token}` }, credentials: 'omit', cache: 'no-store',
    });
    this.#onExchange({ ...exchange, response, before: exchange });
    return response;
  }
}
