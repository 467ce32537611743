// Networks and servers that fail in the middle of a refresh. All faults are made by
// the server: a browser's own interception stores the cookies of "lost" answers.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, recovers, stage } from './stage.js'
import { until } from './until.js'

const { checkIn } = stage()

describe('answers that do not arrive', { concurrency: 3 }, () => {
  for (const [name, end, happened] of [
    ['before the server has acted', 'reset-before', 'none'],
    ['after the server has acted, before the first byte', 'reset', 'act'],
    ['in the middle of the headers', 'reset-in-headers', 'act'],
    ['after the headers', 'reset-after-headers', 'cookie'],
  ]) {
    // One lost answer is mended by the browser, which repeats the POST by itself, once for
    // every connection that it had open. What the page hears of is for the client to mend.
    for (const heard of [false, true]) {
      test(`D3.5: the connection is reset ${name}, ${heard ? 'until the page hears of it' : 'once'}`, async (t) => {
        const { inn, tab } = await checkIn(t)
        await expire(inn)
        await inn.faults({ path: '/auth/refresh', end, times: heard ? 0 : 1 })
        const called = recovers(tab)
        if (heard) {
          await tab.page.waitForEvent('requestfailed', (request) => request.url().endsWith('/auth/refresh'))
          await inn.faults()
        }
        await called
        const ledger = await inn.ledger()
        const faults = ledger.requests.filter(({ fault }) => fault === end).length
        assert.ok(faults >= 1 && (heard || faults === 1), 'the fault has happened')
        // With the headers the cookie has arrived: the next try has another token to show.
        const { requests, rotated, replayed } = ledger.sum
        assert.equal(requests, faults + 1)
        assert.deepEqual({ rotated, replayed }, {
          none: { rotated: 1, replayed: 0 }, act: { rotated: 1, replayed: faults }, cookie: { rotated: faults + 1, replayed: 0 },
        }[happened])
        ledger.assertHonest()
      })
    }
  }

  test('D3.5: the stream is reset after the server has acted, over HTTP/2', async (t) => {
    const { inn, tab } = await checkIn(t, { plan: { secure: true } })
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', end: 'reset', times: 2 })
    await recovers(tab)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 3, rotated: 1, replayed: 2 })
    assert.ok(ledger.requests.every(({ proto }) => proto === 'HTTP/2.0'))
    ledger.assertHonest()
  })

  test('D3.6: an answer that takes three seconds is waited for, by both tabs', async (t) => {
    const { inn, person, tab } = await checkIn(t, { script: askLonger })
    const other = await person.tab()
    await other.ready()
    await person.inStep()
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', delay: '3s' })
    assert.deepEqual(await Promise.all([tab.calls(3), other.calls(3)]), [{ 200: 3 }, { 200: 3 }])
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 1)
    ledger.assertHonest()
  })

  // The client waits 8 s for an answer. That it comes after 20 s and not after 9 makes
  // no difference to it: by then it has hung up.
  test('D3.6: an answer that comes later than the client waits sets no cookie any more', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    await recovers(tab)
    await tab.run(() => client.getToken({ forceGen: 2 }))
    await inn.release()
    await expire(inn)
    await recovers(tab)
    assert.match((await person.cookie('hint')).value, /\.4\.\d+$/)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 4, rotated: 3, replayed: 1 })
    ledger.assertHonest()
  })

  test('D3.6: an answer that comes after a newer one rolls the cookie back, and nobody is signed out', async (t) => {
    // Two tabs that know nothing of each other: no lock, no channel.
    const { inn, person, tab: slow } = await checkIn(t, { options: { shareTokens: false }, script: withoutLocks })
    const quick = await person.tab()
    await quick.ready() // generation 2
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    const late = slow.call()
    await inn.held(1) // the server has made generation 3 for it
    assert.deepEqual(await quick.calls(1), { 200: 1 }) // generation 3, with the same key
    await quick.run(() => client.getToken({ forceGen: 3 })) // generation 4
    assert.match((await person.cookie('hint')).value, /\.4\.\d+$/)
    await inn.release()
    assert.equal((await late).status, 200)
    assert.match((await person.cookie('hint')).value, /\.3\.\d+$/, 'the cookie has been rolled back')
    for (const tab of [slow, quick, slow]) {
      await expire(inn)
      assert.deepEqual(await tab.calls(1), { 200: 1 })
    }
    const ledger = await inn.ledger()
    assert.ok(ledger.sum.replayed >= 2, 'the rolled-back generation was replayed with its own key')
    ledger.assertHonest()
  })
})

function withoutLocks() {
  Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })
}

// evenPauses takes the chance out of the pauses between tries, which may all be short: the
// budgets are about pauses as they are on average.
function evenPauses() {
  Math.random = () => 0.5
}

describe('answers that say nothing about the session', { concurrency: 5 }, () => {
  const html = { 'Content-Type': 'text/html' }
  const json = { 'Content-Type': 'application/json' }
  for (const [name, answer, budget] of [
    ['429 with Retry-After', { status: 429, header: { ...json, 'Retry-After': '60' }, body: '{"code":"too_many_attempts"}' }, 1],
    ['503 with Retry-After', { status: 503, header: { ...json, 'Retry-After': '60' }, body: '{"code":"unavailable"}' }, 1],
    ['503 with HTML', { status: 503, header: html, body: '<h1>Bad gateway</h1>' }, 10],
    ['a captive portal: 200 with HTML', { status: 200, header: html, body: '<h1>Welcome to Free Wi-Fi</h1>' }, 10],
    ['a 401 without a code', { status: 401, header: json, body: '{"message":"Unauthorized"}' }, 10],
    ['a 401 with HTML', { status: 401, header: html, body: '<h1>Log in to the proxy</h1>' }, 10],
    ['a 401 with a code that nobody knows', { status: 401, header: json, body: '{"code":"computer_says_no"}' }, 10],
    ['a 403 of a firewall', { status: 403, header: html, body: '<h1>Request blocked</h1>' }, 10],
  ]) {
    test(`D3.7: ${name}: still signed in, and no storm`, async (t) => {
      const { inn, tab } = await checkIn(t, { script: evenPauses })
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', end: 'answer', ...answer })
      // Five seconds of an app that polls four times a second.
      const outcomes = await tab.run(async () => {
        const outcomes = new Set()
        for (const end = performance.now() + 5_000; performance.now() < end;) {
          const { status, error } = await call('/api/mail')
          outcomes.add(error ?? status)
          await new Promise((resolve) => { setTimeout(resolve, 250) })
        }
        return [...outcomes]
      })
      assert.deepEqual(outcomes, ['refresh_unavailable'])
      const { status, degraded } = await tab.session()
      assert.deepEqual({ status, degraded }, { status: 'signed_in', degraded: true })
      const during = await inn.ledger()
      assert.ok(during.sum.requests <= budget, `${during.sum.requests} refreshes in 5 s`)
      assert.equal(await tab.run(() => events.some(({ type }) => type === 'signed_out')), false)

      await inn.faults()
      // What the network says opens the next try; Retry-After is the server's own word and holds.
      if (budget === 1) return during.assertHonest()
      await tab.run(() => dispatchEvent(new Event('online')))
      await recovers(tab)
      await until('the all-clear', async () => (await tab.told()).includes('recovered'))
      const ledger = await inn.ledger()
      assert.equal(ledger.sum.rotated, 1)
      ledger.assertHonest()
    })
  }

  test('D3.7: an access token that still lives goes on being used while the server is down', async (t) => {
    const { inn, tab } = await checkIn(t)
    await inn.faults({ path: '/auth/refresh', end: 'answer', status: 503, header: html, body: 'down' })
    await tab.run(() => client.ensureFresh(3600_000).catch(() => {})) // asks for more than there is
    assert.deepEqual(await tab.calls(5), { 200: 5 })
    const ledger = await inn.ledger()
    assert.ok(ledger.sum.requests <= 4)
    ledger.assertHonest()
  })

  test('D3.7: Retry-After is kept to, and then all is well', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', end: 'answer', times: 1, status: 503, header: { ...json, 'Retry-After': '2' }, body: '{"code":"unavailable"}' })
    const begin = Date.now()
    await recovers(tab)
    assert.ok(Date.now() - begin >= 2_000, 'it was too early')
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 2, rotated: 1 })
    ledger.assertHonest()
  })
})
