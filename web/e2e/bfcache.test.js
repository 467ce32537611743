// The Back button: a page comes out of the back/forward cache as it was, and what it
// knew may be over.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, stage } from './stage.js'

const { checkIn } = stage()

// back goes back and says what the page was like at the moment that it was shown.
async function back({ page }) {
  await page.evaluate(() => history.back())
  await page.waitForFunction(() => window.shown?.at(-1)?.persisted, undefined, { timeout: 10_000 })
  return page.evaluate(() => shown.at(-1).status)
}

// unaware makes the browser one that does not know Clear-Site-Data, which empties the
// back/forward cache.
const unaware = (inn) => inn.faults({ path: '/auth/logout', end: 'no-clear' })

describe('the Back button', { concurrency: 2 }, () => {
  test('D3.11: sign out on the next page, then Back: nothing of the person is left', async (t) => {
    const { inn, tab } = await checkIn(t)
    await unaware(inn)
    assert.deepEqual(await tab.calls(1), { 200: 1 })
    await tab.open({ next: true })
    await tab.ready()
    await tab.signOut()
    const before = await inn.ledger()
    assert.deepEqual(before.ends, ['logout'])
    assert.equal(await back(tab), 'signed_out', 'it is known before the page can act')
    assert.equal((await tab.session()).user, null)
    assert.equal((await tab.call()).status, 401)
    const since = (await inn.ledger()).since(before)
    assert.deepEqual(since.calls.map(({ bearer }) => bearer), [false])
    assert.equal(since.sum.requests, 0)
    assert.equal((await tab.told('signed_out')).length, 1)
  })

  test('D3.11: sign out in another tab while the page is in the cache, then Back', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    await unaware(inn)
    const other = await person.tab()
    await other.ready()
    await tab.page.goto(person.url('/away'))
    await other.signOut()
    const before = await inn.ledger()
    assert.equal(await back(tab), 'signed_out')
    await tab.call()
    const since = (await inn.ledger()).since(before)
    assert.deepEqual(since.calls.map(({ bearer }) => bearer), [false])
    assert.equal(since.sum.requests, 0)
  })

  test('D3.11: sign out in another tab, which the server does not hear of, then Back', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    await tab.page.goto(person.url('/away'))
    await inn.faults({ path: '/auth/logout', end: 'reset-before' })
    await other.signOut()
    const before = await inn.ledger()
    assert.deepEqual(before.ends, [], 'the cookie is there, and so is the session')
    assert.equal(await back(tab), 'signed_out')
    await tab.call()
    const since = (await inn.ledger()).since(before)
    assert.deepEqual(since.calls.map(({ bearer }) => bearer), [false])
    assert.equal(since.sum.requests, 0)
    await inn.faults()
    await tab.page.evaluate(() => dispatchEvent(new Event('online')))
    await inn.until('the sign-out', (ledger) => ledger.ends.length === 1)
  })

  test('D3.11: a sign-out empties the cache of a browser that knows Clear-Site-Data: Back begins anew', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    await tab.page.goto(person.url('/away'))
    await other.signOut()
    const before = await inn.ledger()
    await tab.page.goBack()
    await tab.ready()
    assert.equal(await tab.status(), 'signed_out')
    assert.equal(await tab.page.evaluate(() => shown.some(({ persisted }) => persisted)), false)
    assert.equal((await inn.ledger()).since(before).sum.requests, 0)
  })

  test('D3.11: a refresh in another tab while the page is in the cache, then Back: the old token is not used', async (t) => {
    const { inn, person, tab } = await checkIn(t, { script: askLonger })
    const other = await person.tab()
    await other.ready()
    await tab.page.goto(person.url('/away'))
    await expire(inn)
    assert.deepEqual(await other.calls(1), { 200: 1 })
    const before = await inn.ledger()
    assert.notEqual(await back(tab), 'signed_out')
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.since(before).statuses(), { 200: 3 }, 'no call met a 401')
    assert.equal(ledger.since(before).sum.requests, 0, 'the other tab has handed its token over')
    ledger.assertHonest()
  })

  test('D3.11: somebody else signs in while the page is in the cache, then Back: it is theirs, or nobody’s', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    await tab.page.goto(person.url('/away'))
    await other.signUp('bob')
    const before = await inn.ledger()
    assert.notEqual(await back(tab), 'signed_in', 'ada is not shown for a moment')
    await tab.ready()
    assert.equal((await tab.session()).user.username, 'bob')
    assert.deepEqual(await tab.calls(1), { 200: 1 })
    assert.deepEqual((await inn.ledger()).since(before).calls.map(({ user }) => user), ['bob'])
  })

  test('D3.11: a page that is left in the middle of a refresh comes back and goes on', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    await tab.run(() => { window.late = call('/api/mail') })
    await inn.held(1)
    await tab.page.goto(person.url('/away'))
    await inn.abandoned(1)
    await inn.release()
    await back(tab)
    assert.equal((await tab.run(() => late)).status, 200)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 2, rotated: 1, replayed: 1 })
    ledger.assertHonest()
  })
})
