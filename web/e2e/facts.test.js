// What the browser itself does: facts on which the client and these tests are built.
// Should one of them change, this says so before anything else fails for it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startServer } from './server.js'
import { launch } from './browser.js'
import { password } from './person.js'
import { until } from './until.js'

let server, browser
before(async () => {
  server = await startServer()
  browser = await launch(server)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

// visit opens an empty page of an inn. There is no client in it: what is looked at
// here is what the browser does by itself.
async function visit(t, plan) {
  const inn = await server.open(plan)
  const context = await browser.newContext({ serviceWorkers: 'block' })
  t.after(async () => {
    await context.close()
    await inn.close()
  })
  const page = await context.newPage()
  await page.goto(inn.url)
  return { inn, context, page }
}

// post sends JSON from a page, as the client does, and returns status or error.
const post = (page, path, body = {}, init = {}) => page.evaluate(async ([path, body, init]) => {
  try {
    return (await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), ...init })).status
  } catch (error) {
    return error.name
  }
}, [path, body, init])

const signUp = async (page) => assert.equal(await post(page, '/auth/signup', { username: 'ada', password }), 201)
const generation = async (context) => Number((await context.cookies()).find(({ name }) => name === 'innkeeper-hint').value.split('.')[1])
const held = (inn) => inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })

describe('facts of the browser', { concurrency: 3 }, () => {
  for (const [name, plan, least, most] of [
    ['plain HTTP/1.1', {}, 2, 7], // once more for each connection that was open, and six may be
    ['HTTP/1.1 over TLS', { secure: true, http1: true }, 2, 7],
    ['HTTP/2', { secure: true }, 1, 1],
  ]) {
    test(`one POST whose answer is lost, over ${name}, is sent ${least === most ? 'once' : 'at least twice'}`, async (t) => {
      const { inn, page } = await visit(t, plan)
      await signUp(page)
      await inn.faults({ path: '/auth/refresh', end: 'reset' })
      assert.equal(await post(page, '/auth/refresh'), 'TypeError')
      const { requests } = (await inn.ledger()).sum
      assert.ok(requests >= least && requests <= most, `it was sent ${requests} times`)
    })
  }

  test('cookies with Secure and __Secure- are taken on http://localhost and 127.0.0.1, and ignore the port', async (t) => {
    const { inn, context, page } = await visit(t)
    const other = await server.open()
    t.after(() => other.close())
    await signUp(page)
    assert.equal((await context.cookies(inn.url + '/auth')).length, 3)
    await page.goto(other.url)
    assert.equal(await post(page, '/auth/refresh'), 401)
    const [{ outcome }] = (await other.ledger()).refreshes
    assert.equal(outcome, 'refresh_token_invalid', 'the cookie of another port has arrived') // it is not "missing"
    await page.goto(other.url.replace('localhost', '127.0.0.1'))
    await signUp(page)
    assert.equal((await context.cookies(other.url.replace('localhost', '127.0.0.1') + '/auth')).length, 3)
  })

  test('T6: over https all cookies are Secure, Strict and of their host alone', async (t) => {
    const { inn, context, page } = await visit(t, { secure: true })
    await signUp(page)
    const cookies = await context.cookies()
    assert.deepEqual(cookies.map(({ secure, sameSite, domain }) => ({ secure, sameSite, domain })), Array(3).fill({ secure: true, sameSite: 'Strict', domain: 'auth.inn.localhost' }))
    assert.deepEqual(await context.cookies(inn.app + '/auth'), [])
  })

  test('locks and channels reach all tabs, and a page that closes gives its lock back', async (t) => {
    const { inn, context, page } = await visit(t)
    const other = await context.newPage()
    await other.goto(inn.url)
    await page.evaluate(() => new Promise((granted) => { navigator.locks.request('desk', () => { granted(); return new Promise(() => {}) }) }))
    await page.evaluate(() => { new BroadcastChannel('desk').onmessage = ({ data, target }) => target.postMessage(data + 1) })
    const answer = other.evaluate(() => new Promise((resolve) => {
      const channel = new BroadcastChannel('desk')
      channel.onmessage = ({ data }) => resolve(data)
      channel.postMessage(1)
    }))
    assert.equal(await answer, 2)
    const free = () => other.evaluate(() => navigator.locks.request('desk', { ifAvailable: true }, (lock) => !!lock))
    assert.equal(await free(), false)
    await page.close()
    await until('the lock', free)
  })

  test('T1: the back/forward cache is on', async (t) => {
    const { inn, page } = await visit(t)
    await page.evaluate(() => addEventListener('pageshow', ({ persisted }) => { window.back = persisted }))
    await page.goto(inn.url + '/away')
    await page.evaluate(() => history.back())
    await page.waitForFunction(() => window.back === true)
  })

  test('T2: every tab says that it is visible', async (t) => {
    const { inn, context, page } = await visit(t)
    const other = await context.newPage()
    await other.goto(inn.url)
    await other.bringToFront()
    assert.deepEqual(await Promise.all([page, other].map((one) => one.evaluate(() => document.visibilityState))), ['visible', 'visible'])
  })

  test("T3: an answer that the driver's interception has thrown away has set its cookie", async (t) => {
    const { context, page } = await visit(t)
    await signUp(page)
    await page.route('**/auth/refresh', async (route) => {
      await route.fetch()
      await route.abort()
    })
    assert.equal(await post(page, '/auth/refresh'), 'TypeError')
    assert.equal(await generation(context), 2)
  })

  test('T4: the clock of a page can be set, and its cookies do not notice', async (t) => {
    const { context, page } = await visit(t)
    await signUp(page)
    await page.clock.setSystemTime(Date.now() + 100 * 24 * 3600_000)
    assert.ok(await page.evaluate(() => Date.now()) > Date.now() + 99 * 24 * 3600_000)
    assert.equal(await post(page, '/auth/refresh'), 200)
    assert.equal(await generation(context), 2)
  })

  test('T5: what is asked offline never reaches the server', async (t) => {
    const { inn, context, page } = await visit(t)
    await signUp(page)
    await context.setOffline(true)
    assert.equal(await page.evaluate(() => navigator.onLine), false)
    assert.equal(await post(page, '/auth/refresh'), 'TypeError')
    assert.equal((await inn.ledger()).sum.requests, 0)
  })

  for (const [name, leave, expected] of [
    ['a POST that outlives its page sets its cookie late', () => {}, 2],
    ['a POST that was aborted as its page went does not', (abort) => addEventListener('pagehide', abort), 1],
  ]) {
    test(name, async (t) => {
      const { inn, context, page } = await visit(t)
      await signUp(page)
      await held(inn)
      await page.evaluate((leave) => {
        const going = new AbortController()
        new Function(`return ${leave}`)()(() => going.abort())
        fetch('/auth/refresh', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}', signal: going.signal }).catch(() => {})
      }, leave.toString())
      await inn.held(1)
      await page.goto(inn.url + '/away')
      if (expected === 1) await inn.abandoned(1)
      await inn.release()
      await until('the cookie', async () => await generation(context) === expected)
      assert.equal((await inn.ledger()).sum.rotated, 1)
    })
  }
})
