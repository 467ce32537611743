// One tab: many calls and one refresh.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, stage } from './stage.js'

const { arrive, checkIn } = stage()

describe('one tab', { concurrency: 2 }, () => {
  test('D3.1: 50 calls whose token the API finds expired are one refresh and 50 answers', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    assert.deepEqual(await tab.calls(50), { 200: 50 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.statuses(), { 200: 50, 401: 50 })
    assert.equal(ledger.sum.requests, 1)
    assert.equal(ledger.sum.rotated, 1)
    ledger.assertHonest()
  })

  test('D3.1: 50 calls whose token the client knows to be expired meet no 401 at all', async (t) => {
    const { inn, person, tab } = await checkIn(t, { clock: true })
    await expire(inn)
    await person.pass(11_000) // no younger token is renewed before the API has refused it
    await person.setClock(16 * 60_000)
    assert.deepEqual(await tab.calls(50), { 200: 50 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.statuses(), { 200: 50 })
    assert.equal(ledger.sum.requests, 1)
    ledger.assertHonest()
  })

  test('D3.1: calls that begin while the refresh is under way wait for it', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after' })
    const early = tab.calls(5)
    await inn.held(1)
    const late = tab.calls(5)
    await inn.until('the late calls to be refused', (ledger) => ledger.statuses()[401] === 10)
    await inn.release()
    assert.deepEqual([await early, await late], [{ 200: 5 }, { 200: 5 }])
    assert.equal((await inn.ledger()).sum.requests, 1)
  })

  test('a call that learns late that its token is old is replayed without a refresh', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    assert.deepEqual(await tab.calls(1), { 200: 1 })
    const before = await inn.ledger()
    // The request remembers the generation that it used; the API refuses it only once.
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    const { sum, calls } = (await inn.ledger()).since(before)
    assert.equal(sum.requests, 0)
    assert.equal(calls.length, 3)
  })

  test('D3.14: an API that refuses every token: two calls, one refresh, nobody signed out', async (t) => {
    const { inn, tab } = await checkIn(t)
    assert.equal((await tab.call('/api/broken')).status, 401)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.statuses('/api/broken'), { 401: 2 })
    assert.equal(ledger.sum.requests, 1)
    assert.equal(await tab.status(), 'signed_in')
    assert.deepEqual(await tab.calls(1), { 200: 1 })
    ledger.assertHonest()
  })

  test('D3.14: a 401 without a challenge, and a 403, are the caller’s', async (t) => {
    const { inn, tab } = await checkIn(t)
    assert.equal((await tab.call('/api/unexplained')).status, 401)
    assert.equal((await tab.call('/api/forbidden')).status, 403)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.statuses(), { 401: 1, 403: 1 })
    assert.equal(ledger.sum.requests, 0)
  })

  test('D3.14: with refreshOn "any" a 401 without a challenge is two calls and one refresh', async (t) => {
    const { inn, tab } = await checkIn(t, { options: { refreshOn: 'any' } })
    assert.equal((await tab.call('/api/unexplained')).status, 401)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.statuses(), { 401: 2 })
    assert.equal(ledger.sum.requests, 1)
    assert.equal(await tab.status(), 'signed_in')
  })

  test('D3.15: whoever aborts in the middle of a refresh leaves the others alone', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after' })
    await tab.run(() => {
      window.leaving = new AbortController()
      window.left = call('/api/mail', { signal: leaving.signal }) // it comes first: the refresh is made for it
      window.staying = Promise.all([call('/api/mail'), call('/api/mail')])
    })
    await inn.held(1)
    await tab.run(() => leaving.abort())
    assert.equal((await tab.run(() => left)).error, 'AbortError')
    await inn.release()
    assert.deepEqual((await tab.run(() => staying)).map(({ status }) => status), [200, 200])
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 1)
    assert.equal(ledger.statuses()[200], 2, 'the aborted call was not replayed')
  })

  test('a visitor who was never here costs no request', async (t) => {
    const { inn, person } = await arrive(t)
    const tab = await person.tab()
    await tab.ready()
    assert.equal(await tab.status(), 'signed_out')
    assert.deepEqual((await inn.ledger()).requests, [])
  })

  test('a reload costs one refresh, and the person is never shown as signed out', async (t) => {
    const { inn, tab } = await checkIn(t)
    await tab.reload()
    assert.notEqual(await tab.status(), 'signed_out')
    await tab.ready()
    assert.equal(await tab.status(), 'signed_in')
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 1, rotated: 1 })
    assert.deepEqual(ledger.statuses(), { 200: 3 })
  })

  test('on another host the client learns from the server which generation its jar holds', async (t) => {
    const { inn, person, tab } = await checkIn(t, { plan: { secure: true }, script: askLonger })
    // The hint cookie belongs to the host of Innkeeper: scripts of the app cannot read it.
    assert.equal(await tab.run(() => document.cookie), '')
    await expire(inn)
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    // What the client has noted instead goes astray, as after a crash.
    await tab.run(() => {
      for (const [name, value] of Object.entries(localStorage)) localStorage.setItem(name, value.replace(/\.\d+\.$/, '.7.'))
    })
    await expire(inn)
    const other = await person.tab()
    await other.ready()
    assert.deepEqual(await other.calls(3), { 200: 3 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 3, rotated: 2, mismatched: 1 })
    ledger.assertHonest()
  })
})
