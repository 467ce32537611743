// The thief's part. The demo server plays it, over the same endpoints as
// everybody: the stolen cookie never comes back to this page.

import { $, el } from './dom.js';
import { say, thiefDid } from './timeline.js';

let play = null; // the theft that is going on

/** Begins a new play, or ends the present one. */
export function reset() {
  play = null;
  $('side-you').replaceChildren();
  $('side-thief').replaceChildren();
  $('sides').hidden = $('thief-outcome').hidden = true;
  allow();
}

/** The thief copies the jar. */
export async function steal(backstage) {
  reset();
  const { thief, generation } = await backstage('/auth/demo/thief/copy');
  play = { thief, generation, youMoved: false, thiefIn: false, over: false };
  $('sides').hidden = false;
  side('thief', `copied the cookie jar: booking of generation ${generation}`, 'stolen');
  side('you', 'hold the same booking, unaware');
  say(`Two copies of booking ${generation} are about now. Nobody can tell, until the first of them is used.`, 'alarm');
  allow();
}

/** The thief uses what it has. Returns true if that gave it away. */
export async function thiefMoves(backstage) {
  const { deeds } = await backstage('/auth/demo/thief/use', { thief: play.thief });
  const [refresh, mail] = deeds;
  thiefDid(refresh, thiefText(refresh));
  if (refresh.status === 200) {
    side('thief', `refreshed: generation ${refresh.presented} → ${refresh.obtained}, a key card`, 'stolen');
    play.thiefIn = true;
    if (mail?.status === 200) side('thief', 'read your mail', 'stolen');
  } else {
    side('thief', `${refresh.status} ${refresh.code}${refresh.reason ? `, reason ${refresh.reason}` : ''}`, 'caught');
  }
  if (mail) thiefDid(mail, mailText(refresh, mail));
  if (refresh.status === 200) say('The thief is in, and looks like you. It lasts until your next refresh.', 'alarm');
  else if (mail?.status === 200) side('thief', 'its last key card opens doors for a few seconds more');
  const caught = refresh.code === 'refresh_token_reused';
  if (caught) play.caughtBy = 'thief';
  allow();
  return caught;
}

function thiefText({ status, code, obtained }) {
  if (status === 200) return `Nobody has used this booking yet, so the thief gets generation ${obtained}. Yours is dead now.`;
  if (code === 'refresh_token_reused') return 'You have used this booking, with a key that the thief does not have. Caught at the first try: the session ends.';
  return 'The session is over for the thief as well.';
}

function mailText(refresh, mail) {
  if (mail.status !== 200) return 'Its last key card has expired: every door is closed.';
  return refresh.status === 200 ? 'Its key card opens the door.' : 'Its last key card still opens doors until it expires: 15 s at most, then never again.';
}

/** Watches what the page itself does, whyever it does it. */
export function watch({ path, answer }) {
  if (!play || play.over || path !== '/auth/refresh' || !answer?.status) return;
  if (answer.status === 200 && !play.thiefIn) {
    side('you', `refreshed with your key: now generation ${answer.body.session.generation}`, 'fine');
    if (!play.youMoved) side('thief', `holds a dead copy of generation ${play.generation}, and does not know`);
    play.youMoved = true;
  } else if (answer.status === 401) {
    side('you', `401 ${answer.code}${answer.body.reason ? `, reason ${answer.body.reason}` : ''}: checked out`, 'caught');
    play.caughtBy ??= answer.code === 'refresh_token_reused' ? 'you' : null;
    play.over = true;
  }
  allow();
}

/** Whether the thief, found out by your refresh, has not noticed yet. */
export const thiefIsUnaware = () => play?.over && play.caughtBy === 'you';

/** Says how it ended. */
export function conclude() {
  if (!play?.caughtBy) return;
  $('thief-outcome').hidden = false;
  $('thief-outcome').replaceChildren(...(play.caughtBy === 'thief'
    ? [el('strong', {}, 'Caught at its first move.'), ' You had refreshed before, so the copy was dead. A dead booking without its key cannot be you: the desk ended the session, reason ', el('code', {}, 'reuse'), '. The thief got nothing; you check in once more. ', again()]
    : [el('strong', {}, 'Caught by your next refresh.'), ' The thief was first and had a key card until then. But your refresh showed that two people hold one booking: the desk ended the session for both, reason ', el('code', {}, 'reuse'), '. A booking that did not rotate would have served the thief for 30 days, unseen. ', again()]));
  play = null;
  allow();
}

const again = () => el('a', { href: '#desk' }, 'Back to the front desk');

function side(whose, text, className = '') {
  $(`side-${whose}`).append(el('li', { className }, text));
}

function allow() {
  $('victim-moves').disabled = !play || play.over;
  $('thief-moves').disabled = !play;
}
