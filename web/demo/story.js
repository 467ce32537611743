// What requests and answers mean, in words.

/** Why a session is over, for the person whose session it was: the client's reason, and what the desk said. */
export function farewell(reason, verdict) {
  if (reason === 'theft') {
    return {
      alarm: true,
      title: 'Somebody else has a copy of your booking.',
      text: 'It was used twice by two different hands, so the front desk ended the session for both. Check in again; it is a new session, and the thief’s copy is worth nothing.',
    };
  }
  const text = {
    other_tab: 'The booking is no longer in this browser: you have checked out in another tab.',
    superseded: 'This browser held a booking older than the front desk’s, and it did not change when looked at again.',
    cookies_blocked: 'This browser does not keep cookies, so there is no booking to renew the key card with.',
  }[reason] ?? {
    logout_everywhere: 'All your sessions were logged out at once. Check in again where you like.',
    password_changed: 'Your password was changed, which ends every session.',
    logout: 'This session was ended from another of your devices.',
    admin: 'An administrator ended this session.',
    replaced: 'A newer check-in in this browser replaced this session.',
    expired: 'This session has come to its end.',
    user_disabled: 'This account has been closed.',
    restored: 'The server was restored from a backup, and asks everybody to check in again.',
  }[verdict?.reason] ?? {
    refresh_token_expired: 'The booking has expired.',
    refresh_token_invalid: 'The front desk does not know this booking: was the demo server restarted?',
  }[verdict?.code] ?? 'The session is over.';
  return { alarm: false, title: 'You are checked out.', text };
}

/** Who talks to whom. */
export function receiver(path) {
  if (path.startsWith('/api/')) return 'Mail API';
  if (path.startsWith('/auth/demo/')) return 'Backstage';
  return 'Front desk';
}

/** What an exchange has brought: { tone, code, text }. */
export function explain({ method, path, error, response, answer, idempotency, attempt }) {
  if (error) {
    const text = path === '/auth/refresh'
      ? 'The connection broke. Has the desk acted or not? Nobody here can know, so the page asks again, with the same key.'
      : 'The connection broke. That says nothing about the session.';
    return { tone: 'lost', text: attempt > 1 ? 'Again. Same booking, same key.' : text };
  }
  const code = answer?.code ?? challenge(response);
  const reading = texts[`${method} ${path.startsWith('/auth/sessions/') ? '/auth/sessions/…' : path}`];
  const text = reading?.({ status: response.status, code, answer, from: idempotency?.generation, attempt, desk: desk(response) });
  const tone = response.ok ? 'good' : code === 'refresh_token_reused' || answer?.body?.reason === 'reuse' ? 'alarm' : 'refused';
  return { tone, code, text };
}

const texts = {
  'GET /api/mail': ({ status, code }) => (status === 200
    ? 'The API has checked the signature and the expiry by itself. Nobody asked the front desk.'
    : code === 'invalid_token' && 'This key card opens nothing any more. Renew it once, then send the same call again.'),
  'POST /auth/login': ({ status }) => (status === 200
    ? 'Checked in: generation 1 of a new session.'
    : 'The same answer for a wrong password, an unknown user and a disabled one.'),
  'POST /auth/refresh': refreshed,
  'POST /auth/logout': ({ status }) => status === 204 && 'Ended at the front desk, and the cookies are taken back.',
  'GET /auth/sessions': ({ code }) => code && 'Here the front desk itself looks at the key card.',
  'DELETE /auth/sessions/…': ({ status }) => status === 204 && 'That session’s booking is void from this moment.',
};

function refreshed({ status, code, answer, from, attempt, desk: seen }) {
  if (status === 200) {
    const to = answer.body.session.generation;
    if (seen.at(-1)?.did === 'replayed') {
      return attempt > 1
        ? `The desk knows this key: the same new booking again, generation ${to}. Nothing was used up twice.`
        : `Another request with this key came first, the browser’s own repetition perhaps: the same new booking, generation ${to}.`;
    }
    return `Booking ${from} is used up, ${to} has taken its place. With it comes a new key card.`;
  }
  return {
    refresh_token_reused: 'A dead booking, and not the key of whoever used it: somebody else has a copy. The session ends, for both.',
    session_ended: answer?.body?.reason === 'reuse'
      ? 'The session ended when the theft was noticed. No second alarm.'
      : 'The session is over: this booking buys nothing any more.',
    refresh_generation_mismatch: `The cookie jar holds generation ${answer?.body?.generation}. Nothing was used up.`,
    refresh_superseded: 'A late duplicate. It gives nothing and ends nothing.',
  }[code];
}

/** The error code of a challenge. The body belongs to whoever made the call. */
const challenge = (response) => /error="([^"]*)"/.exec(response.headers.get('WWW-Authenticate'))?.[1];

/** How often the desk saw the same refresh, and what it did each time: told by the demo server only. */
export function desk(response) {
  return JSON.parse(response?.headers.get('Innkeeper-Demo-Desk') ?? '[]');
}
