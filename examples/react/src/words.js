// What the codes of Innkeeper mean, in plain words. Codes are stable; the English that
// comes along with them is for developers.

// explain says what went wrong, and in which field of a form.
export function explain(error) {
  const problem = error.problem ?? {}
  switch (error.code) {
    case 'invalid_credentials':
      return { field: 'password', text: 'That is not the right password, or there is nobody of that name.' }
    case 'username_taken':
      return { field: 'username', text: 'Somebody else has that name. Please choose another.' }
    case 'password_rejected':
      return { field: 'password', text: passwordRules[problem.why] ?? 'Please choose another password.' }
    case 'invalid_request':
      return memberRules[problem.errors?.[0]?.member] ?? { text: 'Something in this form is not as it should be.' }
    case 'too_many_attempts':
      return { text: `Too many tries. Please wait ${seconds(error.retryAfter)} and try again.` }
    case 'forbidden':
      return { text: 'That is not allowed here.' }
    case 'user_changed':
      return { text: 'Somebody else has signed in, in another tab. Nothing was sent.' }
    default: // no answer, or none that says anything about the session
      return { text: 'The front desk does not answer. Nothing is lost; please try again in a moment.' }
  }
}

const passwordRules = {
  too_short: 'A few more characters, please: at least 8.',
  too_long: 'That is too long for a password.',
  invalid_utf8: 'There are signs in it that cannot be kept.',
  unassigned_character: 'There are signs in it that cannot be kept.',
}

const memberRules = {
  username: { field: 'username', text: 'Use letters, digits and signs, without spaces.' },
  password: { field: 'password', text: 'Please give a password.' },
  email: { field: 'email', text: 'Give one address, like ada@example.com, or leave it empty.' },
}

const seconds = (ms) => (ms > 90_000 ? `${Math.ceil(ms / 60_000)} minutes` : `${Math.max(1, Math.ceil((ms ?? 0) / 1000))} seconds`)

// untoldNotice is for who wanted to sign out everywhere while the front desk was away.
export const untoldNotice = 'You are signed out here only: the front desk did not answer. To end your other sessions, sign in again later.'

// goodbyes says why somebody who did not sign out is signed out.
export const goodbyes = {
  other_tab: 'You have signed out in another tab.',
  expired: 'You have been away for long, and your session has ended.',
  revoked: 'This session was ended from another device, or the password was changed there.',
  theft: 'Somebody used a copy of your key. That session was ended at once, for them and for you. Sign in and change your password.',
  superseded: 'This browser was no longer up to date with the front desk. Please sign in again.',
  cookies_blocked: 'Your browser keeps no cookies of this site, and without them nobody can stay signed in. Please allow them.',
}
