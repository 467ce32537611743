// Errors have a `code` to branch on. None of them carries a token.

/** @import { Reason } from './contract.js' */

/** The base of all errors of this client. */
export class InnkeeperError extends Error {
  /**
   * @param {string} code stable
   * @param {string} message for people
   */
  constructor(code, message) {
    super(message);
    /** Stable: branch on this. */
    this.code = code;
  }
}

/** Nobody is signed in (any more): show the sign-in form. */
export class SignedOutError extends InnkeeperError {
  /** @param {Reason} reason */
  constructor(reason) {
    super('signed_out', `signed out: ${reason}`);
    /** Why, as in the snapshot. */
    this.reason = reason;
  }
}

/** No token can be had now. It says nothing about the session: try again later. */
export class RefreshUnavailableError extends InnkeeperError {
  /** @param {number} retryAfter */
  constructor(retryAfter) {
    super('refresh_unavailable', 'no answer: try again later');
    /** Milliseconds after which trying again makes sense. */
    this.retryAfter = retryAfter;
  }
}

/** The server said no: a wrong password, a user name that is taken, too many attempts. */
export class RefusedError extends InnkeeperError {
  /** @param {import('./contract.js').Answer} answer */
  constructor({ status, code, body, retryAfter }) {
    super(code ?? 'refused', body?.detail ?? `refused with ${status}`);
    /** The HTTP status. */
    this.status = status;
    /** The whole problem (RFC 9457), null if the answer was none. @type {Record<string, any> | null} */
    this.problem = body;
    /** Milliseconds, 0 if the server did not say. */
    this.retryAfter = retryAfter;
  }
}

/** Somebody else has signed in meanwhile. The request was made by the one before and is not sent for the one after. */
export class UserChangedError extends InnkeeperError {
  constructor() {
    super('user_changed', 'somebody else has signed in');
  }
}
