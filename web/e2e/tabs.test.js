// Several tabs of one browser: one refresh for all, whoever makes it and whatever
// becomes of that tab.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, recovers, stage } from './stage.js'

const { checkIn } = stage()
const sums = (list) => list.reduce((sum, counts) => {
  for (const [status, n] of Object.entries(counts)) sum[status] = (sum[status] ?? 0) + n
  return sum
}, {})

describe('tabs', { concurrency: 2 }, () => {
  for (const n of [2, 10]) {
    test(`D3.2: ${n} tabs at expiry are one refresh in all`, async (t) => {
      const { inn, person, tab } = await checkIn(t, { script: askLonger })
      const tabs = [tab, ...await person.tabs(n - 1)]
      await Promise.all(tabs.map((one) => one.ready()))
      assert.equal((await inn.ledger()).sum.requests, 0, 'the new tabs asked the first one')
      await expire(inn)
      assert.deepEqual(sums(await Promise.all(tabs.map((one) => one.calls(5)))), { 200: 5 * n })
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.requests, 1)
      assert.equal(ledger.sum.rotated, 1)
      ledger.assertHonest()
    })

    test(`D3.2: ${n} tabs that share no tokens are ${n} refreshes, one after the other`, async (t) => {
      const { inn, person, tab } = await checkIn(t, { options: { shareTokens: false } })
      const tabs = [tab, ...await person.tabs(n - 1)]
      await Promise.all(tabs.map((one) => one.ready()))
      const before = await inn.ledger()
      await expire(inn)
      assert.deepEqual(sums(await Promise.all(tabs.map((one) => one.calls(5)))), { 200: 5 * n })
      const ledger = (await inn.ledger()).since(before)
      assert.equal(ledger.sum.requests, n)
      assert.deepEqual(ledger.requests.map(({ overlap }) => overlap), Array(n).fill(0))
      ledger.assertHonest()
    })
  }

  for (const [name, hold, drop] of [
    ['before the server acts, which it never does', 'before', true],
    ['before the server acts, which it does late', 'before', false],
    ['after the server has acted, and the answer is lost', 'after', true],
  ]) {
    test(`D3.3: the tab that refreshes is closed ${name}: the other one recovers`, async (t) => {
      const { inn, person, tab: leader } = await checkIn(t, { script: askLonger })
      const follower = await person.tab()
      await follower.ready()
      await person.inStep()
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', hold, times: 1 })
      leader.calls(1).catch(() => {}) // it goes down with its page
      await inn.held(1)
      const waiting = follower.calls(5)
      await inn.until('the calls of both to be refused', (ledger) => ledger.statuses()[401] === 6)
      await leader.page.close()
      await inn.abandoned(1)
      if (drop) await inn.release({ drop })
      assert.deepEqual(await waiting, { 200: 5 })
      await inn.release({ drop })
      if (!drop) await inn.until('the late act', (ledger) => ledger.sum.replayed === 1)
      await expire(inn)
      assert.deepEqual(await follower.calls(1), { 200: 1 })
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.rotated, 2)
      assert.equal(ledger.sum.requests, 3)
      ledger.assertHonest()
    })
  }

  for (const hold of ['before', 'after']) {
    test(`D3.4: a reload ${hold} the server has acted on a refresh`, async (t) => {
      const { inn, tab } = await checkIn(t)
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', hold, times: 1 })
      tab.calls(1).catch(() => {})
      await inn.held(1)
      await tab.reload()
      await tab.ready()
      await inn.abandoned(1)
      await inn.release()
      assert.equal(await tab.status(), 'signed_in')
      await expire(inn)
      assert.deepEqual(await tab.calls(2), { 200: 2 })
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.rotated, 2)
      ledger.assertHonest()
    })

    test(`D3.4: going to another page ${hold} the server has acted on a refresh, and coming back`, async (t) => {
      const { inn, person, tab } = await checkIn(t)
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', hold, times: 1 })
      tab.calls(1).catch(() => {})
      await inn.held(1)
      await tab.page.goto(person.url('/away'))
      await inn.abandoned(1)
      await inn.release()
      await inn.until('the act', (ledger) => ledger.sum.rotated === 1)
      await tab.open()
      await tab.ready()
      assert.deepEqual(await tab.calls(2), { 200: 2 })
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.replayed, 1, 'the same key has brought the same successor')
      ledger.assertHonest()
    })
  }

  test('a refresh that a network repeats much later harms nobody', async (t) => {
    const { inn, tab } = await checkIn(t)
    for (let n = 0; n < 3; n++) {
      await expire(inn)
      assert.deepEqual(await tab.calls(1), { 200: 1 })
    }
    assert.deepEqual(await inn.repeat(0), { status: 409, code: 'refresh_superseded' })
    assert.deepEqual(await inn.repeat(1), { status: 409, code: 'refresh_superseded' })
    assert.equal((await inn.repeat(2)).status, 200)
    await expire(inn)
    await recovers(tab)
    ;(await inn.ledger()).assertHonest()
  })
})
