// What scripts can see, and an honest try at seeing more.

import { idempotencyKey } from '/auth/client/keys.js';
import { $, el } from './dom.js';
import { readHint } from './observer.js';

const shown = {};

/** Draws what any script of this page can read. Cheap: call it often. */
export async function drawSeen(card) {
  const keys = await countKeys();
  row('document.cookie', document.cookie || 'empty', document.cookie && 'a hint: session hash, generation, expiry. No secret.');
  row('localStorage', count(() => localStorage.length));
  row('sessionStorage', count(() => sessionStorage.length));
  row('IndexedDB', keys ? `${keys} idempotency ${keys === 1 ? 'key' : 'keys'}` : 'empty', keys > 0 && 'random numbers: worth nothing without the booking');
  row('memory of the page', card ? card.text : 'no access token', card && 'the access token, in a private field. Dead within 15 s.');
  row('refresh token', readHint() ? 'not visible: HttpOnly' : 'none', readHint() && 'in the cookie jar, out of reach of every script', 'secret');
  $('claims').hidden = !card;
  const text = card ? `${JSON.stringify(card.header)}\n${JSON.stringify(card.claims, null, 2)}` : '';
  if ($('claims-text').textContent !== text) $('claims-text').textContent = text;
}

function row(name, value, note, className = '') {
  const text = `${value}|${note}`;
  if (shown[name]?.text === text) return;
  shown[name]?.element.remove();
  const element = el('div', { className }, el('dt', {}, name), el('dd', {}, el('code', {}, value), note && el('span', {}, note)));
  shown[name] = { text, element };
  $('seen').insertBefore(element, $('seen').children[Object.keys(shown).indexOf(name)] ?? null);
}

/** How many idempotency keys the client has stored. The database is its own; here it is only looked at. */
async function countKeys() {
  const databases = await indexedDB.databases?.().catch(() => []) ?? [];
  if (!databases.some(({ name }) => name === 'innkeeper')) return 0;
  const asPromise = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  try {
    const database = await asPromise(indexedDB.open('innkeeper'));
    const number = await asPromise(database.transaction('idempotency-keys').objectStore('idempotency-keys').count());
    database.close();
    return number;
  } catch {
    return 0;
  }
}

function count(length) {
  try {
    return length() ? `${length()} items` : 'empty';
  } catch {
    return 'blocked';
  }
}

/** Tries to get hold of a refresh token, in every way that a script has, and shows what came of it. */
export async function probe(client, send) {
  $('probes').replaceChildren();
  for (const [name, attempt] of attempts(client, send)) {
    const found = await attempt().catch((error) => `${error.name}: ${error.message}`);
    const leaked = /(?<![\w-])ikr_[\w-]{8}/.test(found);
    $('probes').append(el('li', { className: leaked ? 'leaked' : 'kept' },
      el('code', {}, name), el('span', {}, leaked ? 'FOUND' : 'not there'), el('small', {}, summary(found))));
  }
}

function attempts(client, send) {
  const api = async (path) => text(await client.fetch(path));
  return [
    ['document.cookie', async () => document.cookie],
    ['cookieStore.getAll()', async () => ('cookieStore' in window ? JSON.stringify((await cookieStore.getAll()).map(({ name }) => name)) : 'not in this browser')],
    ['POST /auth/refresh {"delivery":"body"}', () => refreshWith(send, { delivery: 'body' })],
    ['POST /auth/refresh?delivery=body', () => refreshWith(send, {}, '?delivery=body')],
    ['GET /auth/refresh', async () => text(await fetch('/auth/refresh'))],
    ['TRACE /auth/refresh', async () => text(await fetch('/auth/refresh', { method: 'TRACE' }))],
    ['GET /auth/me', () => api('/auth/me')],
    ['GET /auth/sessions', () => api('/auth/sessions')],
    ['GET /api/mail', () => api('/api/mail')],
  ];
}

/** A refresh with wishes. It is a real one, so it keeps the rules: the lock, and a key made before. */
function refreshWith(send, wishes, query = '') {
  const work = async () => {
    const { session, generation } = readHint();
    const key = await idempotencyKey(session, generation);
    const response = await send(`/auth/refresh${query}`, {
      method: 'POST', body: JSON.stringify(wishes), cache: 'no-store', redirect: 'error',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `"${key}";generation=${generation}` },
    });
    return text(response);
  };
  return navigator.locks ? navigator.locks.request(`innkeeper:${location.origin}:refresh`, work) : work();
}

/** All of an answer that a script gets: its status, its headers and its body. */
async function text(response) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  return `${response.status}\n${headers}\n\n${await response.text()}`;
}

/** The status and the names of what was in the body. */
function summary(found) {
  const [head, body] = found.split('\n\n');
  if (body === undefined) return found || 'empty';
  try {
    return `${head.split('\n')[0]}, with ${Object.keys(JSON.parse(body)).join(', ')}`;
  } catch {
    return head.split('\n')[0];
  }
}
