// Tokens for WebSocket and EventSource, which cannot send a header.
//
// The token is asked for anew at every connect, so that no reconnect comes with
// yesterday's. It never stands in a URL, which servers and proxies write into
// their logs: a WebSocket takes it as a subprotocol, and for an EventSource your
// API trades it for a ticket that is good for one connect.
//
//     const connection = connect(client, '/live', (ticket) => new WebSocket(url, protocols(ticket)));
//     const connection = connect(client, '/ticket', async (ticket) => new EventSource(await exchange(ticket)));

/** @import { Client, Ticket } from '../client.js' */

/** @typedef {WebSocket | EventSource} Socket */

/** The first of the two subprotocols of {@link protocols}: the server answers with it, and never with the other. */
export const PROTOCOL = 'innkeeper.bearer';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const STEADY = 5_000; // a connection that has lasted so long was a good one

/** The subprotocols that carry a token to a server: the name, then the token, then those of your own. @param {Ticket} ticket @param {...string} own */
export const protocols = ({ token }, ...own) => [PROTOCOL, token, ...own];

/**
 * Keeps a connection: opens it with a living token, opens it anew with another one when it is lost, and closes it for
 * good when the user has changed or signed out.
 * @param {Client} client
 * @param {string | URL} url Who is shown the token; it must be in the client's `allowedOrigins`. ws and wss count as http and https.
 * @param {(ticket: Ticket) => Socket | Promise<Socket>} open Called for every connect. Add your listeners here.
 * @returns {{close: () => void}}
 */
export function connect(client, url, open) {
  const target = new URL(url, document.baseURI);
  target.protocol = target.protocol.replace('ws', 'http');
  const over = new AbortController();
  const leave = client.subscribe(({ type }) => {
    if (type === 'signed_out' || type === 'user_changed') over.abort();
  });
  over.signal.addEventListener('abort', leave);
  keep(client, target, open, over.signal).catch(() => {}).finally(() => over.abort());
  return { close: () => over.abort() };
}

/** @param {Client} client @param {URL} url @param {(ticket: Ticket) => Socket | Promise<Socket>} open @param {AbortSignal} signal */
async function keep(client, url, open, signal) {
  for (let lost = 0; !signal.aborted; lost++) {
    const since = performance.now();
    try {
      const ticket = await client.ticket(url, { signal });
      if (!ticket) return; // nobody is signed in, or it may not be shown there
      const socket = await open(ticket);
      await lifeOf(socket, signal);
    } catch (error) {
      // Without a session there is nothing to wait for; without an answer there is.
      if (/** @type {any} */ (error).code === 'signed_out' || /** @type {any} */ (error).code === 'user_changed') return;
    }
    if (performance.now() - since > STEADY) lost = 0;
    await pause(Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** lost), signal);
  }
}

/** Waits until a connection is lost, or closes it. @param {Socket} socket @param {AbortSignal} signal @returns {Promise<void>} */
function lifeOf(socket, signal) {
  return new Promise((resolve) => {
    const end = () => {
      socket.close(); // an EventSource would go on by itself, with the ticket that is used up
      resolve();
    };
    if (signal.aborted) return end();
    signal.addEventListener('abort', end);
    for (const type of ['close', 'error']) socket.addEventListener(type, end);
  });
}

/** @param {number} time @param {AbortSignal} signal @returns {Promise<void>} */
function pause(time, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, time);
    signal.addEventListener('abort', () => resolve());
  });
}
