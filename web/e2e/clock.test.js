// Clocks that are wrong, that jump, and lifetimes that are short: the number of
// refreshes stays bounded, and every call is served.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stage } from './stage.js'

const { arrive, checkIn } = stage()
const hour = 3600_000

// poll calls five times a second and returns how many had each status or error.
const poll = (tab, time) => tab.run(async (time) => {
  const counts = {}
  for (const end = performance.now() + time; performance.now() < end;) {
    const { status, error } = await call('/api/mail')
    counts[status ?? error] = (counts[status ?? error] ?? 0) + 1
    await new Promise((resolve) => { setTimeout(resolve, 200) })
  }
  return counts
}, time)

const onlyServed = (counts) => assert.deepEqual(Object.keys(counts), ['200'])

describe('clocks', { concurrency: 4 }, () => {
  for (const [name, wrong] of [['an hour fast', hour], ['an hour slow', -hour], ['at 1970', -Date.now()]]) {
    test(`D3.8: a computer whose clock is ${name} refreshes no more than any other`, async (t) => {
      const { inn, person } = await arrive(t, { clock: true })
      await person.setClock(wrong)
      const tab = await person.tab()
      await tab.signUp('ada')
      onlyServed(await poll(tab, 4_000))
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.requests, 0)
      ledger.assertHonest()
    })
  }

  for (const [name, jump, most] of [['forward', hour, 1], ['back', -hour, 1]]) {
    test(`D3.8: the computer's clock jumps an hour ${name} during a session`, async (t) => {
      const { inn, person, tab } = await checkIn(t, { clock: true })
      await person.pass(11_000) // older than the age below which no token is renewed
      await person.setClock(jump)
      onlyServed(await poll(tab, 4_000))
      const ledger = await inn.ledger()
      assert.ok(ledger.sum.requests <= most, `${ledger.sum.requests} refreshes`)
      ledger.assertHonest()
    })
  }

  test('D3.8: the clock jumps forward by an hour, again and again', async (t) => {
    const { inn, person, tab } = await checkIn(t, { clock: true })
    const begin = Date.now()
    await person.pass(11_000)
    for (let n = 1; n <= 10; n++) {
      await person.setClock(n * hour)
      onlyServed(await poll(tab, 500))
    }
    const ledger = await inn.ledger()
    const seconds = (Date.now() - begin) / 1000
    const { requests } = ledger.sum
    assert.ok(requests >= 1 && requests <= 1 + seconds / 10, `${requests} refreshes in ${seconds} s`)
    ledger.assertHonest()
  })

  test('D3.8: the clock of the server jumps an hour forward', async (t) => {
    const { inn, tab } = await checkIn(t)
    await inn.advance('1h')
    onlyServed(await poll(tab, 4_000))
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 1)
    ledger.assertHonest()
  })

  for (const n of [1, 3]) {
    test(`D3.8: access tokens of 5 s, ${n} ${n === 1 ? 'tab' : 'tabs'}: a refresh every 4 s, whoever makes it`, async (t) => {
      const { inn, person, tab } = await checkIn(t, { plan: { access_ttl: '5s' } })
      const tabs = [tab, ...await person.tabs(n - 1)]
      await Promise.all(tabs.map((one) => one.ready()))
      const [before, begin] = [await inn.ledger(), Date.now()]
      for (const counts of await Promise.all(tabs.map((one) => poll(one, 10_000)))) onlyServed(counts)
      // One may be under way, at the end as at the beginning.
      const ledger = await inn.until('a rotation for each refresh', (now) => now.sum.rotated === now.sum.requests && now)
      const seconds = (Date.now() - begin) / 1000
      const { requests } = ledger.since(before).sum
      assert.ok(requests >= 1 && requests <= 1 + seconds / 3.9, `${requests} refreshes in ${seconds} s`)
      ledger.assertHonest()
    })
  }

  test('T2: a hidden tab lets its token expire, and one look at it is one refresh', async (t) => {
    const { inn, tab } = await checkIn(t, {
      plan: { access_ttl: '5s' },
      script: () => {
        let state = 'visible'
        Object.defineProperty(Document.prototype, 'visibilityState', { get: () => state })
        Object.defineProperty(Document.prototype, 'hidden', { get: () => state === 'hidden' })
        window.see = (next) => {
          state = next
          document.dispatchEvent(new Event('visibilitychange'))
        }
      },
    })
    await tab.run(() => see('hidden'))
    await tab.run(() => new Promise((resolve) => { setTimeout(resolve, 7_000) }))
    assert.equal((await inn.ledger()).sum.requests, 0)
    const begin = Date.now()
    await tab.run(() => see('visible'))
    await inn.until('the refresh', (ledger) => ledger.sum.rotated === 1)
    await tab.page.waitForFunction(() => !client.session.refreshing)
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    const ledger = await inn.ledger()
    const seconds = (Date.now() - begin) / 1000
    assert.ok(ledger.sum.requests >= 1 && ledger.sum.requests <= 1 + seconds / 3.9, `${ledger.sum.requests} refreshes in ${seconds} s`)
    assert.deepEqual(ledger.statuses(), { 200: 3 })
  })
})
