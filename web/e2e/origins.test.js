// Who is shown the access token, and who is not. The stranger next door lets every
// page send it every header, and writes down what it is told.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { expire, stage } from './stage.js'

const { checkIn } = stage()

describe('origins', { concurrency: 2 }, () => {
  test('D3.16: a URL of another origin is not shown the token, however it is spelled', async (t) => {
    const { inn, tab } = await checkIn(t)
    const host = new URL(inn.stranger).host
    const spellings = [inn.stranger, `${inn.stranger}/api/mail`, `//${host}/api/mail`, `http:\\\\${host}/api/mail`]
    for (const url of spellings) assert.equal((await tab.call(url)).status, 200, url)
    await tab.run(async (url) => {
      await client.fetch(new URL('/url', url))
      await client.fetch(new Request(`${url}/request`))
      await client.fetch(new Request(`${url}/request`, { method: 'POST', body: 'hello' }), { headers: { 'Content-Type': 'text/plain' } })
    }, inn.stranger)
    const { strangers } = await inn.ledger()
    assert.equal(strangers.length, spellings.length + 3)
    assert.deepEqual(strangers.filter(({ authorization, cookie }) => authorization || /(?<![\w-])ikr_/.test(cookie)), [])
  })

  test('D3.16: a <base> that points elsewhere takes relative URLs there, without the token', async (t) => {
    const { inn, tab } = await checkIn(t)
    await tab.run((url) => {
      const base = document.createElement('base')
      base.href = `${url}/`
      document.head.append(base)
    }, inn.stranger)
    assert.equal((await tab.call('api/mail')).status, 200)
    const { strangers, calls } = await inn.ledger()
    assert.deepEqual(strangers.map(({ path, authorization }) => [path, authorization]), [['/api/mail', '']])
    assert.deepEqual(calls, [])
  })

  for (const status of [301, 302, 303, 307, 308]) {
    test(`D3.16: a redirect (${status}) of the own API to another origin leaves the token behind`, async (t) => {
      const { inn, tab } = await checkIn(t)
      const redirect = `/api/redirect?status=${status}&to=${encodeURIComponent(`${inn.stranger}/target`)}`
      for (const method of ['GET', 'POST']) assert.equal((await tab.call(redirect, { method })).status, 200)
      const ledger = await inn.ledger()
      assert.deepEqual(ledger.calls.map(({ bearer }) => bearer), [true, true])
      assert.deepEqual(ledger.strangers.map(({ path, authorization }) => [path, authorization]), [['/target', ''], ['/target', '']])
    })
  }

  test('D3.16: the same host on another port, and the same port under another name, are other origins', async (t) => {
    const { inn, tab } = await checkIn(t)
    const { port } = new URL(inn.url)
    await tab.call(inn.stranger.replace('127.0.0.1', 'localhost'))
    await tab.call(`http://127.0.0.1:${port}/api/mail`)
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.strangers.map(({ authorization }) => authorization), [''])
    assert.deepEqual(ledger.calls.map(({ bearer }) => bearer), [false])
  })

  test('D3.16: a path in allowedOrigins is a bound', async (t) => {
    const { inn, tab } = await checkIn(t)
    await tab.run((url) => { window.narrow = innkeeper.createClient({ allowedOrigins: [`${url}/api/mail`] }) }, inn.url)
    const paths = ['/api/mail', '/api/mail?x=1', '/api/echo', '/api/mailbox', '/api/mail/../echo', '/api/mail/%2e%2e/echo']
    await tab.run(async (paths) => { for (const path of paths) await narrow.fetch(path) }, paths)
    // The API knows two of these paths; what it does not know must not see a token either.
    assert.deepEqual((await inn.ledger()).calls.map(({ path, bearer }) => [path, bearer]), [
      ['/api/mail', true], ['/api/mail', true], ['/api/echo', false], ['/api/echo', false], ['/api/echo', false],
    ])
  })

  test('D3.16: an Authorization of the caller is left alone, and its 401 as well', async (t) => {
    const { inn, tab } = await checkIn(t)
    assert.equal((await tab.call('/api/mail', { headers: { Authorization: 'Bearer mine' } })).status, 401)
    const ledger = await inn.ledger()
    assert.equal(ledger.calls.length, 1)
    assert.equal(ledger.sum.requests, 0)
    assert.equal(await tab.status(), 'signed_in')
  })

  test('D3.16: an allowed origin other than the own is shown the token', async (t) => {
    const { inn, tab } = await checkIn(t, { plan: { secure: true } })
    await expire(inn)
    assert.deepEqual(await tab.calls(2, `${inn.app}/api/mail`), { 200: 2 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.calls.map(({ bearer }) => bearer), Array(4).fill(true))
    assert.equal(ledger.sum.requests, 1)
  })

  test('D3.16: the client shows its tokens nowhere that scripts of others look', async (t) => {
    const { inn, tab } = await checkIn(t)
    await expire(inn)
    await tab.calls(2)
    const token = await tab.run(() => client.getToken())
    const seen = await tab.run(async () => {
      const seen = [document.cookie, location.href, JSON.stringify({ ...localStorage, ...sessionStorage }), JSON.stringify(events), JSON.stringify(client), JSON.stringify(client.session)]
      for (const { name } of await indexedDB.databases()) {
        const database = await new Promise((resolve) => { indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result) })
        for (const store of database.objectStoreNames) {
          seen.push(JSON.stringify(await new Promise((resolve) => { database.transaction(store).objectStore(store).getAll().onsuccess = ({ target }) => resolve(target.result) })))
        }
      }
      const walk = (value, path, depth) => { // whatever hangs off the client or the window
        if (depth > 4 || value === null || typeof value !== 'object') return typeof value === 'string' && seen.push(value)
        for (const key of Object.getOwnPropertyNames(value)) {
          try {
            if (value[key] !== window) walk(value[key], `${path}.${key}`, depth + 1)
          } catch { /* a getter that refuses */ }
        }
      }
      walk(client, 'client', 0)
      walk(innkeeper, 'innkeeper', 0)
      return seen
    })
    const { value } = await tab.person.cookie('refresh')
    for (const text of seen) assert.ok(!text.includes(token) && !text.includes(value), 'a token was found')
    assert.ok(seen.length > 6)
  })
})
