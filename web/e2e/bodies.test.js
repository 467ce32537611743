// What is sent again after a 401, and what cannot be.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { expire, stage } from './stage.js'

const { checkIn } = stage()

// Each body is made in the page.
const bodies = {
  'a string': () => 'hällo',
  'a form with a file': () => {
    const form = new FormData()
    form.append('subject', 'hello')
    form.append('file', new File([new Uint8Array(100_000).fill(7)], 'seven.bin'))
    return form
  },
  'URL parameters': () => new URLSearchParams({ to: 'bob', text: 'hällo & more' }),
  'a Blob': () => new Blob(['<p>hello</p>'], { type: 'text/html' }),
  'an ArrayBuffer': () => new Uint8Array(1000).fill(1).buffer,
  'a typed array': () => new Uint8Array(1000).fill(2),
  'no body': () => undefined,
}

// sendTwice makes the API refuse the first try, and checks that the second is the same.
async function sendTwice(inn, method, send) {
  const before = await inn.ledger()
  await expire(inn)
  const status = await send()
  const { calls, sum } = (await inn.ledger()).since(before)
  assert.equal(status, 200)
  assert.deepEqual(calls.map((call) => [call.method, call.status]), [[method, 401], [method, 200]])
  assert.equal(calls[1].size, calls[0].size)
  assert.equal(calls[1].sum, calls[0].sum)
  assert.equal(sum.requests, 1)
  return calls[1]
}

// tooShort leaves the token half a minute, too little for an upload. The computer has
// slept: the clock on the wall is ahead of the monotonic one. Below ten seconds of age
// no token is renewed, so that much passes on both.
async function tooShort(person) {
  await person.pass(11_000)
  await person.setClock(14.5 * 60_000)
}

describe('bodies', { concurrency: 2 }, () => {
  test('D3.13: every body that can be sent again is, unchanged and once', async (t) => {
    const { inn, tab } = await checkIn(t)
    const sums = new Set()
    for (const [kind, make] of Object.entries(bodies)) {
      const { size, sum } = await sendTwice(inn, 'POST', () => tab.run(async (make) =>
        (await client.fetch('/api/echo', { method: 'POST', body: new Function(`return ${make}`)()() })).status, make.toString()))
      assert.equal(size > 0, kind !== 'no body')
      sums.add(sum)
    }
    assert.equal(sums.size, Object.keys(bodies).length)
    ;(await inn.ledger()).assertHonest()
  })

  test('D3.13: a Request with each of these bodies is sent again as well, and can be cloned before', async (t) => {
    const { inn, tab } = await checkIn(t)
    for (const make of Object.values(bodies)) {
      await sendTwice(inn, 'PUT', () => tab.run(async (make) =>
        (await client.fetch(new Request('/api/echo', { method: 'PUT', body: new Function(`return ${make}`)()() }))).status, make.toString()))
    }
    await sendTwice(inn, 'POST', () => tab.run(async () =>
      (await client.fetch(new Request('/api/echo', { method: 'PUT', body: 'overridden' }), { method: 'POST', body: 'by this' })).status))
    ;(await inn.ledger()).assertHonest()
  })

  test('D3.13: HEAD, GET, POST, PUT, PATCH and DELETE', async (t) => {
    const { inn, tab } = await checkIn(t)
    for (const method of ['HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      await sendTwice(inn, method, async () => (await tab.call('/api/echo', { method })).status)
    }
    ;(await inn.ledger()).assertHonest()
  })

  test('D3.13: headers and credentials of the caller come along both times', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    const sent = []
    await tab.page.route('**/api/echo', (route) => { // looks on and lets through
      sent.push(route.request().headers())
      return route.continue()
    })
    assert.equal((await tab.call('/api/echo', { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json', 'X-Trace': 'abc' } })).status, 200)
    assert.deepEqual(sent.map((headers) => [headers['content-type'], headers['x-trace']]), Array(2).fill(['application/json', 'abc']))
  })

  test('D3.13: with replay off, the 401 is the caller’s', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    assert.equal((await tab.call('/api/echo', { method: 'POST', body: 'once', innkeeper: { replay: false } })).status, 401)
    assert.equal((await inn.ledger()).calls.length, 1)
  })

  // Chromium sends streams over HTTP/2 only.
  test('D3.13: a stream is never sent twice: the token is made fresh before, and a 401 is the caller’s', async (t) => {
    const { inn, person, tab } = await checkIn(t, { plan: { secure: true }, clock: true })
    const stream = () => tab.run(async () => {
      const body = new Blob(['streamed']).stream()
      const { status, reason } = await client.fetch('/api/echo', { method: 'POST', body, duplex: 'half' })
      return { status, reason }
    })
    await expire(inn) // which the client cannot know
    assert.deepEqual(await stream(), { status: 401, reason: 'body_not_replayable' })
    const first = await inn.ledger()
    assert.equal(first.calls.length, 1)

    await tab.run(() => client.getToken({ forceGen: 1 }))
    assert.deepEqual(await stream(), { status: 200, reason: undefined })
    await expire(inn)
    await tooShort(person)
    assert.deepEqual(await stream(), { status: 200, reason: undefined })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.calls.map(({ status }) => status), [401, 200, 200])
    assert.equal(ledger.sum.rotated, 2)
    ledger.assertHonest()
  })

  test('D3.13: 50 MB are sent again as a whole, or once if the token is made fresh before', async (t) => {
    const { inn, person, tab } = await checkIn(t, { clock: true })
    await tab.run(() => { window.file = new Blob(Array.from({ length: 50 }, (_, n) => new Uint8Array(1 << 20).fill(n))) })
    const upload = () => tab.run(async () => (await client.fetch('/api/echo', { method: 'PUT', body: file })).status)
    const { size } = await sendTwice(inn, 'PUT', upload)
    assert.equal(size, 50 << 20)

    await inn.advance('14m30s')
    await tooShort(person)
    const before = await inn.ledger()
    await tab.run(() => client.ensureFresh(60_000))
    await inn.advance('1m')
    assert.equal(await upload(), 200)
    const since = (await inn.ledger()).since(before)
    assert.deepEqual(since.calls.map((call) => [call.status, call.size]), [[200, 50 << 20]])
    assert.equal(since.sum.rotated, 1)
  })
})
