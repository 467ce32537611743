// The stage: wires buttons to the client, and draws what it says.

import { createClient } from '/auth/client.js';
import { $, el } from './dom.js';
import { observe, readHint } from './observer.js';
import { Phone } from './phone.js';
import { drawSeen, probe } from './seen.js';
import { desk, farewell } from './story.js';
import * as theft from './thief.js';
import * as timeline from './timeline.js';

const AUTO_CALL = 4_000;

const { observed, describe } = observe(noted);
const client = createClient({ fetch: observed, device: 'Ada’s browser' });
const phone = new Phone({ onExchange: (event) => timeline.exchange(event, event.actor) });

let card = null; // the key card in use, as far as it is for showing
let lastRefresh = null; // the desk's account of it
let verdict = null; // what the desk said last when it refused a refresh

function noted(event) {
  timeline.exchange(event);
  if (event.path === '/auth/refresh' && event.response) {
    lastRefresh = desk(event.response);
    verdict = event.response.ok ? null : event.answer.body;
  }
  theft.watch(event);
}

// One thing at a time, so that the timeline reads like a story.

let busy = false;

async function act(title, work, options) {
  if (busy) return;
  busy = true;
  document.body.toggleAttribute('data-busy', true);
  timeline.begin(title, options);
  try {
    await work();
  } catch (error) {
    tell(error);
  }
  theft.conclude();
  busy = false;
  document.body.toggleAttribute('data-busy', false);
  drawSeen(card);
}

/** Renews the key card, however young it is. */
const renew = () => client.getToken({ forceGen: client.session.session?.generation });

function tell(error) {
  if (error.code === 'signed_out') timeline.say(`The page signs out: ${verdict?.reason ?? verdict?.code ?? error.reason}.`, 'alarm');
  else if (error.code === 'refresh_unavailable') timeline.say('The front desk does not answer. The session is as it was.', 'lost');
  else timeline.say(error.message, 'lost');
}

const on = (id, title, work) => $(id).addEventListener('click', () => act(title, work));

/** Calls what only the demo server has. */
async function backstage(path, body = {}) {
  const response = await fetch(path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), cache: 'no-store',
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.detail ?? `the demo server says ${response.status}`);
  return answer;
}

const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// Front desk

const credentials = () => ({ username: $('username').value, password: $('password').value });

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  act('You check in', async () => {
    $('sign-in-note').hidden = true;
    try {
      await client.signIn(credentials());
    } catch (error) {
      $('sign-in-note').hidden = false;
      $('sign-in-note').textContent = error.problem ? `${error.message}.` : 'The front desk does not answer. Please try again.';
      throw error;
    }
    theft.reset();
    for (const id of ['lost-outcome', 'everywhere-outcome']) $(id).hidden = true;
    $('desk-title').focus({ preventScroll: true });
    await listSessions();
  });
});
on('sign-out', 'You check out', () => {
  $('desk-title').focus({ preventScroll: true }); // the button goes away
  return client.signOut();
});
on('refresh', 'You renew the key card', renew);

// Mail

async function getMail() {
  const response = await client.fetch('/api/mail');
  const { messages, detail } = await response.json();
  if (!messages) throw new Error(detail);
  $('inbox').replaceChildren(...messages.map(({ from, subject }) => el('li', {}, el('b', {}, from), el('span', {}, subject))));
}

on('get-mail', 'You ask for mail', getMail);
on('five-calls', 'Five calls at once', async () => { await Promise.all(Array.from({ length: 5 }, getMail)); });
setInterval(() => {
  if ($('auto-call').checked && client.session.status === 'signed_in') act('The page asks for mail', getMail, { repeats: true });
}, AUTO_CALL);

// Scripts

on('probe', 'A script looks for the refresh token', async () => {
  await probe(client, observed);
  timeline.say('Asked everywhere, found nowhere. The list is under “What scripts can see”.');
});

// Devices

on('phone-in', 'The phone checks in', async () => {
  await phone.signIn({ ...credentials(), device: 'Ada’s phone' });
  await listSessions();
});
on('phone-out', 'The phone checks out', async () => {
  await phone.signOut();
  await listSessions();
});
on('phone-mail', 'The phone asks for mail', async () => {
  const response = await phone.fetch('/api/mail');
  if (!response) timeline.say('The phone is out: it shows its sign-in form now.', 'alarm');
});
on('list', 'You list your sessions', listSessions);

async function listSessions() {
  if (client.session.status !== 'signed_in') return;
  const response = await client.fetch('/auth/sessions');
  const { sessions } = await response.json();
  $('sessions').replaceChildren(...sessions.map(sessionItem));
}

function sessionItem({ id, device, created_at: created, current }) {
  const button = el('button', { className: 'small' }, 'End', el('span', { className: 'sr-only' }, ` ${device}`));
  button.addEventListener('click', () => act(`You end the session of ${device}`, async () => {
    if (current) return client.signOut();
    await client.fetch(`/auth/sessions/${id}`, { method: 'DELETE' });
    if (phone.card?.session === id) timeline.say('The phone does not know yet. Its key card opens doors until it expires; its next refresh is refused.');
    await listSessions();
  }));
  return el('li', { className: current ? 'current' : '' },
    el('span', { className: 'device' }, el('b', {}, device || 'unnamed device'), current && el('span', { className: 'chip' }, 'this browser')),
    el('span', { className: 'since' }, `since ${new Date(created).toLocaleTimeString()}, session ${id.slice(0, 6)}…`), button);
}

// A lost answer

on('lose', 'The answer to a refresh gets lost', async () => {
  $('lost-outcome').hidden = true;
  await backstage('/auth/demo/lose-next-answer');
  timeline.say('The demo server will act on the next refresh, then cut the line before it answers.');
  await renew();
  const lost = lastRefresh.filter(({ answered }) => !answered).length;
  const bookings = new Set(lastRefresh.map(({ successor }) => successor));
  const rotations = lastRefresh.filter(({ did }) => did === 'rotated').length;
  $('lost-outcome').hidden = false;
  $('lost-outcome').replaceChildren(
    el('strong', {}, bookings.size === 1 && rotations === 1 ? 'One rotation, one booking, nobody signed out.' : 'That is not as it should be.'),
    ` The desk got this request ${lastRefresh.length} times and ${lost} of its answers were lost`,
    lost > 1 ? ' (a browser repeats a request by itself when a connection breaks). ' : '. ',
    'It rotated once and handed out the same booking each time: ', el('code', {}, [...bookings].map((b) => `#${b}`).join(', ')),
    ', the beginning of its SHA-256.');
});

// The thief

on('steal', 'A thief copies your cookie jar', async () => {
  $('auto-call').checked = false; // the order of moves is yours now
  await theft.steal(backstage);
});
on('victim-moves', 'You refresh', async () => {
  try {
    await renew();
  } finally {
    if (theft.thiefIsUnaware()) {
      await wait(900);
      await theft.thiefMoves(backstage);
    }
  }
});
on('thief-moves', 'The thief uses its copy', async () => {
  if (!await theft.thiefMoves(backstage)) return;
  timeline.say('Now your page refreshes, as it would have within 15 seconds.');
  await wait(1200);
  await renew();
});

// Lock change

on('log-out-everywhere', 'You log out everywhere', async () => {
  await client.signOut({ scope: 'everywhere' });
  $('everywhere-outcome').hidden = false;
  if (!phone.card) {
    $('everywhere-outcome').replaceChildren(el('strong', {}, 'Every booking is void.'), ' Check in on the phone as well, to see both go.');
    return;
  }
  $('everywhere-outcome').replaceChildren(el('strong', {}, 'Every booking is void.'), ' The phone still has a key card that opens doors for ', el('b', { id: 'still-open' }), '.');
  while (phone.card?.left > 0) {
    await phone.knock('/api/mail');
    await wait(Math.min(3000, 1000 * phone.card.left + 50));
  }
  await phone.fetch('/api/mail');
  $('everywhere-outcome').replaceChildren(el('strong', {}, 'Both devices are out.'), ' The phone’s key card has expired, and its booking buys no other.');
});

$('clear').addEventListener('click', timeline.clear);

// Drawing

async function draw(state) {
  const inside = state.status === 'signed_in';
  card = inside ? await client.getToken().then((token) => describe(token, state.session.generation), () => null) : null;
  if (state !== client.session) return; // it has changed again meanwhile
  $('check-in').hidden = state.status !== 'signed_out';
  $('stay').hidden = !inside;
  for (const fieldset of document.querySelectorAll('.needs-session')) fieldset.disabled = !inside;
  $('who').dataset.status = state.status;
  $('who-name').textContent = inside ? state.user.username : { unknown: 'looking…', signed_out: 'checked out' }[state.status];
  $('desk-says').textContent = {
    signed_in: 'You are in. The key card opens doors; the booking renews it, one use at a time.',
    signed_out: 'Welcome. Show your ID once; after that nobody asks again.',
    unknown: 'There is a booking in this browser. One moment…',
  }[state.status];
  drawBanner(state);
  if (!inside) {
    $('inbox').replaceChildren();
    $('sessions').replaceChildren();
    $('auto-call').checked = false;
  }
  tick();
  drawSeen(card);
}

function drawBanner({ status, reason }) {
  $('banner').hidden = status !== 'signed_out' || !reason || reason === 'user';
  if ($('banner').hidden) return;
  const { alarm, title, text } = farewell(reason, verdict);
  $('banner').className = alarm ? 'banner alarm' : 'banner';
  $('banner').replaceChildren(el('strong', {}, title), el('span', {}, text));
}

/** The parts that move with time. */
function tick() {
  if (card) {
    const expired = card.left <= 0;
    $('seconds').textContent = Math.ceil(card.left);
    $('ring-left').style.strokeDashoffset = 100 - (100 * card.left) / card.lifetime;
    $('ring').setAttribute('aria-label', expired ? 'The key card has expired' : `Key card: ${Math.ceil(card.left)} of ${card.lifetime} seconds left`);
    $('keycard').classList.toggle('expired', expired);
    $('card-user').textContent = card.claims.username;
    $('card-opens').textContent = card.claims.permissions?.join(', ');
    $('card-verdict').textContent = expired ? 'Expired: opens no door. The next call will renew it.' : 'Opens doors.';
  }
  const hint = readHint();
  if (hint) {
    $('generation').textContent = hint.generation;
    $('booking-until').textContent = `or until ${new Date(hint.expires * 1000).toLocaleDateString(undefined, { day: 'numeric', month: 'long' })}`;
  }
  $('who-card').textContent = card ? `key card ${card.left > 0 ? `${Math.ceil(card.left)} s` : 'expired'}` : '';
  $('who-booking').textContent = card && hint ? `booking ${hint.generation}` : '';
  $('who').classList.toggle('expired', card?.left <= 0);
  const left = phone.card?.left;
  $('phone').dataset.status = left === undefined ? 'out' : left > 0 ? 'in' : 'expired';
  $('phone-says').textContent = left === undefined ? 'checked out'
    : `generation ${phone.card.generation}, key card ${left > 0 ? `${Math.ceil(left)} s` : 'expired'}`;
  $('phone-in').hidden = left !== undefined;
  $('phone-mail').hidden = $('phone-out').hidden = left === undefined;
  if ($('still-open')) $('still-open').textContent = `${Math.ceil(left ?? 0)} s`;
}

setInterval(tick, 200);
setInterval(() => drawSeen(card), 1000);

timeline.begin(readHint() ? 'The page was loaded, and finds a hint' : 'The page was loaded');
if (!readHint()) timeline.say('No hint cookie: nobody is checked in, and no request was needed to know.');
client.subscribe(({ session }) => draw(session));
draw(client.session);
