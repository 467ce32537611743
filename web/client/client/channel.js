// The other tabs of this origin. Messages are versioned and checked; who does not
// understand one ignores it. Neither order nor arrival is relied upon.

/** @import { Card, Reason } from './contract.js' */

/**
 * @typedef {{type: 'ask', hint: string | null, generation: number}
 *   | {type: 'token', card: Card, age: number}
 *   | {type: 'out', sid: string | null, hint: string | null, reason: Reason}
 *   | {type: 'interrupt'}} Message
 *   ask: who has a newer token of this session? token: here is one, so old by the monotonic clock. out: the session is
 *   over. interrupt: a sign-in, sign-out or change of password is about to begin, so leave the jar alone.
 */

/** @param {string} name @param {(message: Message) => void} receive */
export function channel(name, receive) {
  /** @type {BroadcastChannel | undefined} */
  let open;
  return {
    open() {
      try {
        open ??= new BroadcastChannel(name);
        open.onmessage = ({ data }) => { if (isMessage(data)) receive(data); };
      } catch { /* missing, or forbidden: each tab is on its own */ }
    },
    /** @param {Message} message @returns {boolean} whether anybody can have heard it */
    post(message) {
      try {
        open?.postMessage({ v: 1, ...message });
      } catch {
        return false;
      }
      return !!open;
    },
    close() {
      open?.close();
      open = undefined;
    },
  };
}

/** @param {any} data @returns {data is Message} */
function isMessage(data) {
  if (data?.v !== 1) return false;
  const { type, card, generation, age } = data;
  return type === 'interrupt' || type === 'out' || (type === 'ask' && generation >= 0)
    || (type === 'token' && typeof card?.token === 'string' && typeof card.sid === 'string' && card.generation > 0
      && card.lifetime > 0 && age >= 0 && card.since?.wall > 0 && !!card.user?.id);
}
