// What the clocks say, with the clocks in the test's hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoff, floor, left, margin, newer, retryAfter } from '../client/clock.js'

const card = (more) => ({ lifetime: 900_000, since: { steady: 1000, wall: 5_000_000 }, sid: 's', generation: 3, ...more })
const after = (steady, wall = steady) => ({ steady: 1000 + steady, wall: 5_000_000 + wall })

test('a token has expired if either clock says so', () => {
  assert.equal(left(card(), after(0)), 900_000)
  assert.equal(left(card(), after(60_000)), 840_000)
  assert.ok(left(card(), after(0, 900_000)) <= 0, 'the computer slept: the monotonic clock stood still')
  assert.ok(left(card(), after(900_000, -3_600_000)) <= 0, 'the clock was set back an hour')
  assert.ok(left(card(), after(1000, 3_600_000)) <= 0, 'the clock was set forward an hour')
})

test('margins shrink with the life of a token, and tabs differ', () => {
  assert.equal(margin(900_000, 0), 60_000)
  assert.equal(margin(15_000, 0), 3_000)
  assert.equal(margin(900_000, 1), 66_000)
  assert.equal(floor(900_000), 10_000)
  assert.equal(floor(5_000), 500)
})

test('pauses grow, with full jitter', () => {
  assert.deepEqual([0, 1, 2, 5, 6, 60].map((failures) => backoff(failures, 1)), [500, 1000, 2000, 16_000, 30_000, 30_000])
  assert.equal(backoff(9, 0), 0)
})

test('Retry-After in seconds, or against the Date of the same answer', () => {
  const date = 'Wed, 21 Oct 2026 07:28:00 GMT'
  assert.equal(retryAfter('7', null), 7000)
  assert.equal(retryAfter('Wed, 21 Oct 2026 07:28:30 GMT', date), 30_000)
  assert.equal(retryAfter('Wed, 21 Oct 2026 07:27:30 GMT', date), 0, 'in the past')
  assert.equal(retryAfter('86400', null), 300_000, 'five minutes at most')
  for (const nonsense of [null, '', 'soon', '-1', '1.5']) assert.equal(retryAfter(nonsense, date), 0, String(nonsense))
  assert.equal(retryAfter('Wed, 21 Oct 2026 07:28:30 GMT', null), 0, 'nothing to read it against')
})

test('a stale token never takes the place of a newer one', () => {
  const current = card({ generation: 5 })
  assert.ok(newer(current, null, after(0)))
  assert.ok(newer(card({ generation: 6 }), current, after(0)))
  assert.ok(newer(card({ generation: 1, sid: 'other' }), current, after(0)), 'another session counts for itself')
  assert.ok(!newer(card({ generation: 4 }), current, after(0)))
  assert.ok(!newer(card({ generation: 5 }), current, after(0)), 'the same')
  assert.ok(newer(card({ generation: 5, since: { steady: 9000, wall: 5_008_000 } }), current, after(8000)), 'the same successor, with a fresh access token')
})
