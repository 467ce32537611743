// The other tabs of this origin. Messages are versioned and checked; who does not
// understand one ignores it. Neither order nor arrival is relied upon.

import { attempt } from './jar.js';

/** @import { Card, Reason } from './contract.js' */

/**
 * @typedef {{type: 'ask', hint: string | null, generation: number}
 *   | {type: 'token', card: Card, age: number}
 *   | {type: 'out', sid: string | null, hint: string | null, reason: Reason}
 *   | {type: 'interrupt'}} Message
 *   ask: who has a newer token of this session? token: here is one, so old by the monotonic clock. out: the session is
 *   over. interrupt: a sign-in, sign-out or change of password is about to begin, so leave the jar alone.
 */

/** Of the messages. Tabs of another one are not understood. */
const VERSION = 1;

/** @param {string} name @param {(message: Message) => void} receive */
export function channel(name, receive) {
  /** @type {BroadcastChannel | undefined} */
  let open;
  return {
    // Missing, or forbidden: then each tab is on its own.
    open: () => attempt(() => {
      open ??= new BroadcastChannel(name);
      open.onmessage = ({ data }) => { if (data.v === VERSION) receive(data); };
    }),
    /** @param {Message} message @returns {boolean | undefined} whether anybody can have heard it */
    post: (message) => attempt(() => {
      open?.postMessage({ v: VERSION, ...message });
      return !!open;
    }),
    close() {
      open?.close();
      open = undefined;
    },
  };
}
