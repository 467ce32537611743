// Follows what Innkeeper has revoked, so that tokens of ended sessions are refused
// within a second instead of when they expire.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const longestTokenLife = 65 * 60_000 // an hour, and five minutes for clocks that disagree

// userEntry names one epoch of one user in the feed.
export const userEntry = ({ iss, sub, epoch }) =>
  createHash('sha256').update(iss + sub + epoch).digest().subarray(0, 16).toString('base64url')

// followRevocations asks for what came after the last answer, and Innkeeper holds the
// request until there is something. isRevoked says whether a token, which is good by
// itself, was revoked. Until the first answer nothing is known: ready is false.
export function followRevocations(url, onError = console.error) {
  const keys = new Set() // revoked for good
  let young = new Set(), old = new Set() // all else is forgotten when no token can be alive
  const aging = setInterval(() => { old = young; young = new Set() }, longestTokenLife).unref()
  const stopped = new AbortController()
  const feed = {
    ready: false,
    asOf: 0, // in ms: the time, by our clock, up to which all is known. Watch it
    isRevoked: (claims, kid) => [`session ${claims.sid}`, `user ${userEntry(claims)}`, `key ${kid}`]
      .some((entry) => young.has(entry) || old.has(entry) || keys.has(entry)),
    close: () => { clearInterval(aging); stopped.abort() },
  }
  const follow = async () => {
    for (let after = 0, failures = 0; !stopped.signal.aborted;) {
      const asked = Date.now()
      try {
        const timeout = AbortSignal.any([stopped.signal, AbortSignal.timeout(40_000)])
        const answer = await fetch(`${url}?after=${after}&wait=${feed.ready ? '30s' : '0s'}`, { signal: timeout, redirect: 'error' })
        if (!answer.ok) throw new Error(`the revocation feed answers ${answer.status}`)
        const page = await answer.json()
        for (const { kind, id } of page.entries) (kind === 'key' ? keys : young).add(`${kind} ${id}`)
        if (!page.more) Object.assign(feed, { ready: true, asOf: asked + page.waited_ms - page.lag_ms })
        // Without news before its time: the server stops, or too many wait already.
        if (page.next === after && Date.now() - asked < 29_000) await sleep(1000, undefined, { signal: stopped.signal })
        after = page.next
        failures = 0
      } catch (error) {
        if (stopped.signal.aborted) return
        onError(error) // what is known goes on counting
        await sleep(Math.random() * Math.min(5000, 100 * 2 ** failures++), undefined, { signal: stopped.signal }).catch(() => {})
      }
    }
  }
  follow()
  return feed
}
