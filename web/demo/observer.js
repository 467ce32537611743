// Looks over the client's shoulder: a fetch that it is given (the option `fetch`
// of createClient), and that tells the page of each request and each answer. The
// client itself has no windows for that.
//
// And it tells the client one lie. Key cards live 15 seconds here, and a client
// would renew them a little earlier; it is told 15 minutes, the usual life, so that
// you can watch what happens when a door refuses one.

const TOLD_LIFETIME = 900; // seconds

/** What the client knows about the cookie jar: what the readable hint cookie says, null if there is none. */
export function readHint() {
  const match = /(?:^|; )innkeeper-hint=([^.;]+)\.(\d+)\.(\d+)/.exec(document.cookie);
  return match && { session: match[1], generation: Number(match[2]), expires: Number(match[3]) };
}

/** Returns a fetch that calls onExchange(exchange) before and after every request, and what it knows of a key card. */
export function observe(onExchange) {
  const cards = new Map(); // token -> what is known of it
  const tries = new Map(); // idempotency key -> how often it has been sent

  async function observed(input, init) {
    const request = new Request(input, init);
    const exchange = { method: request.method, path: new URL(request.url).pathname, ...presented(request.headers) };
    const since = Date.now();
    onExchange(exchange);
    try {
      const response = await fetch(request, { cache: 'no-store' });
      const answer = exchange.path.startsWith('/auth/') && exchange.method === 'POST' ? await read(response) : undefined;
      const tokens = answer?.body?.access_token && answer.body;
      if (tokens) cards.set(tokens.access_token, card(tokens.access_token, tokens.session.generation, since));
      onExchange({ ...exchange, response, answer, before: exchange });
      return tokens ? new Response(JSON.stringify({ ...tokens, expires_in: TOLD_LIFETIME }), response) : response;
    } catch (error) {
      onExchange({ ...exchange, error, before: exchange });
      throw error;
    }
  }

  /** What a request shows to the other side. */
  function presented(headers) {
    const [, key, generation] = /^"([^"]+)";generation=(\d+)$/.exec(headers.get('Idempotency-Key') ?? '') ?? [];
    const token = /^Bearer (.+)$/.exec(headers.get('Authorization') ?? '')?.[1];
    if (key) tries.set(key, (tries.get(key) ?? 0) + 1);
    return {
      ...(key && { attempt: tries.get(key), idempotency: { key, generation: Number(generation) } }),
      ...(token && { card: describe(token) }),
    };
  }

  /** What is on a key card. The generation is printed on none: it is known of those that came through here. */
  function describe(token, generation) {
    if (!cards.has(token)) {
      const { claims } = card(token);
      cards.set(token, card(token, generation, claims.iat * 1000)); // from another tab
    }
    return cards.get(token);
  }

  return { observed, describe };
}

async function read(response) {
  const body = await response.clone().json().catch(() => null);
  return { status: response.status, body, code: body?.code };
}

function card(token, generation, since) {
  const [header, claims] = token.split('.').slice(0, 2).map(decode);
  const lifetime = claims.exp - claims.iat;
  return {
    header, claims, lifetime, generation,
    get left() { return Math.max(0, lifetime - (Date.now() - since) / 1000); },
    text: `${token.slice(0, 10)}…${token.slice(-6)}`,
  };
}

const decode = (part) => JSON.parse(new TextDecoder().decode(
  Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0)),
));
