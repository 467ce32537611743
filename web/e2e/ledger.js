// What reached an inn, and the sums that the tests assert on.
import assert from 'node:assert/strict'

export class Ledger {
  constructor(lists) {
    for (const name of ['requests', 'refreshes', 'logouts', 'calls', 'events', 'strangers']) this[name] = lists[name] ?? []
  }

  // since is what came after an earlier look.
  since(earlier) {
    const lists = {}
    for (const [name, entries] of Object.entries(this)) lists[name] = entries.slice(earlier[name].length)
    return new Ledger(lists)
  }

  // asked counts the requests to an endpoint, acted on or not.
  asked(path) {
    return this.requests.filter((request) => request.path === path).length
  }

  // sum counts refreshes: the requests, and what the desk made of those that it saw.
  get sum() {
    const count = (outcome) => this.refreshes.filter((refresh) => refresh.outcome === outcome).length
    return {
      requests: this.asked('/auth/refresh'),
      rotated: count('rotated'),
      replayed: count('replayed'),
      superseded: count('refresh_superseded'),
      mismatched: count('refresh_generation_mismatch'),
      reused: count('refresh_token_reused'),
      ended: count('session_ended'),
    }
  }

  // ends lists why sessions ended: one reason for each sign-out, whatever it took with it.
  get ends() {
    const ended = ['session.ended', 'sessions.ended', 'refresh_token.reused', 'store.behind']
    return this.events.filter(({ kind }) => ended.includes(kind)).map(({ kind, reason }) => reason || kind)
  }

  // statuses counts the API's answers by status, of one path or of all.
  statuses(path) {
    const counts = {}
    for (const call of this.calls) {
      if (!path || call.path === path) counts[call.status] = (counts[call.status] ?? 0) + 1
    }
    return counts
  }

  // assertHonest is what holds whatever the network does to honest people: no alarm,
  // no session ended but by its owner, and never two successors of one parent.
  assertHonest(...allowedEnds) {
    assert.deepEqual(this.refreshes.filter(({ outcome }) => outcome === 'forked'), [], 'two successors of one parent')
    assert.equal(this.sum.reused, 0, 'a false alarm')
    assert.deepEqual(this.ends, allowedEnds, 'sessions that ended')
  }
}
