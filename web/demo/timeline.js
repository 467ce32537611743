// The list of all requests, newest episode first.

import { $, el } from './dom.js';
import { desk, explain, receiver } from './story.js';

const KEPT_EPISODES = 40;
const KEPT_ROWS = 24; // of one episode

const rows = new WeakMap(); // exchange -> its row
let episode = null;

/** Begins a new episode: what is exchanged from now on belongs to it. One that repeats itself goes on until a refresh. */
export function begin(title, { repeats = false } = {}) {
  if (repeats && episode?.title === title && !episode.refreshed) return;
  const list = el('ol', { className: 'exchanges' });
  const time = el('time', {}, new Date().toLocaleTimeString());
  episode = { title, list, open: new Map() };
  $('episodes').prepend(el('li', { className: 'episode' }, el('h3', {}, title, time), list));
  while ($('episodes').children.length > KEPT_EPISODES) $('episodes').lastElementChild.remove();
  $('timeline-empty').hidden = true;
}

/** Takes an exchange, once when it leaves and once when it has come back. */
export function exchange(event, actor = 'Browser') {
  if (event.before) return arrived(event, actor);
  if (!episode) begin('Meanwhile');
  // Calls that do not differ share a row.
  const name = event.card && [actor, event.method, event.path, event.card.generation, event.card.left > 0].join();
  let row = name && episode.open.get(name);
  if (row) {
    row.times.textContent = `× ${++row.sent}`;
  } else {
    const times = el('span', { className: 'times' });
    row = { sent: 1, times, element: el('li', { className: 'exchange' }, departure(event, actor, times)), answers: new Set() };
    append(row.element);
    if (name) episode.open.set(name, row);
  }
  if (event.path === '/auth/refresh') episode.refreshed = true;
  rows.set(event, { row, since: performance.now() });
}

function arrived(event, actor) {
  const { row, since } = rows.get(event.before);
  const { tone, code, text } = explain(event);
  tick(actor, event.path, event.response?.status, tone);
  if (text) $('announce').textContent = text;
  const elapsed = Math.round(performance.now() - since);
  const same = `${event.response?.status} ${code}`;
  if (row.answers.has(same)) return;
  row.answers.add(same);
  row.element.classList.add(tone);
  row.element.append(arrival({ ...event, code, elapsed }), seenByDesk(event), text ? el('p', { className: 'say' }, text) : '');
}

/** Adds a remark, or what somebody else did. */
export function say(text, tone = 'info') {
  if (!episode) begin('Meanwhile');
  append(el('li', { className: `exchange remark ${tone}` }, el('p', { className: 'say' }, text)));
}

/** Adds a request that the demo server made in the role of the thief. */
export function thiefDid({ method, path, presented, obtained, status, code, reason }, text) {
  const tone = status === 200 ? 'stolen' : 'caught';
  append(el('li', { className: `exchange ${tone}` },
    departure({ method, path, note: presented && `generation ${presented}, no key` }, 'Thief'),
    arrival({ response: { status }, code, generations: obtained && [presented, obtained], reason }),
    el('p', { className: 'say' }, text)));
  tick('Thief', path, status, tone);
}

export function clear() {
  $('episodes').replaceChildren();
  $('timeline-empty').hidden = false;
  $('ticker').hidden = true;
  episode = null;
}

function append(element) {
  episode.list.append(element);
  if (episode.list.children.length > KEPT_ROWS) episode.list.firstElementChild.remove();
}

function departure({ method, path, card, idempotency, attempt, note }, actor, times) {
  return el('p', { className: 'out' },
    el('span', { className: `lane by-${actor.toLowerCase()}` }, actor, el('span', { className: 'arrow', role: 'img', 'aria-label': 'to' }, '→'), receiver(path)),
    el('code', {}, `${method} ${short(path)}`),
    times,
    attempt > 1 && el('span', { className: 'chip' }, `try ${attempt}`),
    card && el('span', { className: 'chip' }, `card of generation ${card.generation}, ${card.left > 0 ? `${Math.ceil(card.left)} s left` : 'expired'}`),
    idempotency && el('span', { className: 'chip key', title: 'Idempotency-Key' }, `key ${idempotency.key.slice(0, 5)}… for generation ${idempotency.generation}`),
    note && el('span', { className: 'chip' }, note));
}

function arrival({ response, answer, idempotency, code, elapsed, error, generations, reason }) {
  if (error) {
    return el('p', { className: 'back' }, el('span', { className: 'arrow', 'aria-hidden': 'true' }, '✕'),
      el('span', { className: 'status' }, 'no answer'), took(elapsed));
  }
  const [before, after] = generations || [idempotency?.generation, answer?.body?.session?.generation];
  return el('p', { className: 'back' },
    el('span', { className: 'arrow', role: 'img', 'aria-label': 'answer' }, '←'),
    el('span', { className: 'status' }, String(response.status)),
    code && el('code', {}, code),
    (reason ?? answer?.body?.reason) && el('span', { className: 'chip' }, `reason ${reason ?? answer.body.reason}`),
    before && after && el('span', { className: 'chip generation' }, `generation ${before} → ${after}`),
    response.headers && desk(response).at(-1)?.did === 'replayed' && el('span', { className: 'chip replayed' }, 'replayed'),
    took(elapsed));
}

const took = (elapsed) => elapsed !== undefined && el('span', { className: 'took' }, `${elapsed} ms`);

/** Where a request has reached the desk more than once, the desk's own account of it. */
function seenByDesk({ response }) {
  const seen = desk(response);
  if (seen.length < 2) return '';
  const lines = [];
  for (const { did, generation, successor, answered } of seen) {
    const last = lines.at(-1);
    if (last?.did === did && last.answered === answered) last.times++;
    else lines.push({ did, generation, successor, answered, times: 1 });
  }
  return el('ol', { className: 'seen-by-desk', 'aria-label': 'The same request, as the front desk saw it' }, lines.map((line) => el('li', {},
    el('b', {}, line.did), `generation ${line.generation},`, el('code', {}, `#${line.successor}`), line.times > 1 && `× ${line.times}`,
    el('span', { className: line.answered ? 'answered' : 'cut' }, line.answered ? 'answer arrived' : 'answer lost'))));
}

/** On a small screen the list is out of sight: its latest line is not. */
function tick(actor, path, status, tone) {
  $('ticker').hidden = false;
  $('ticker').className = `ticker ${tone}`;
  $('ticker').replaceChildren(el('span', {}, `${actor} ↔ ${receiver(path)}: ${status ?? 'no answer'}`), el('span', { className: 'more' }, 'all steps'));
}

/** IDs are long; their beginnings are enough. */
const short = (path) => path.replace(/([\w-]{6})[\w-]{16}$/, '$1…');
