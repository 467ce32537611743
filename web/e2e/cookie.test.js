// Cookie sessions in a real browser: what a page can see, what an API is sent,
// and what the browser does by itself when an answer is lost.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { startServer } from './server.js'
import { launch } from './browser.js'

// A refresh token, and not an identifier that holds the letters of its prefix by chance.
const refreshToken = /(?<![\w-])ikr_/
const cookieName = '__Secure-innkeeper-refresh'
const key = (generation) => `"key-of-generation-${generation}";generation=${generation}`

let server, browser, inn, context, page

before(async () => {
  server = await startServer()
  browser = await launch(server)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})
beforeEach(async () => {
  await context?.close()
  await inn?.close()
  inn = await server.open()
  context = await browser.newContext({ serviceWorkers: 'block' })
  page = await context.newPage()
  await page.goto(inn.url)
})

// post sends JSON from the page and returns what the page can see of the answer.
const post = (path, body, headers = {}) => page.evaluate(async ([path, body, headers]) => {
  try {
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    return { status: response.status, text, body: text && JSON.parse(text), headers: [...response.headers] }
  } catch (error) {
    return { error: error.message }
  }
}, [path, body, headers])

const signUp = async () => {
  const answer = await post('/auth/signup', { username: 'ada', password: 'correct horse battery staple' })
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const refresh = (generation) => post('/auth/refresh', {}, generation ? { 'Idempotency-Key': key(generation) } : {})

test('the refresh cookie is HttpOnly and Secure and goes to /auth only', async () => {
  const tokens = await signUp()
  const cookies = await context.cookies()
  const refreshCookie = cookies.find((cookie) => cookie.name === cookieName)
  assert.ok(refreshCookie, 'there is a refresh cookie')
  assert.equal(refreshCookie.httpOnly, true)
  assert.equal(refreshCookie.secure, true)
  assert.equal(refreshCookie.sameSite, 'Strict')
  assert.equal(refreshCookie.path, '/auth')
  assert.ok(refreshCookie.value.startsWith('ikr_'))

  const mail = await page.evaluate(async (token) => {
    const response = await fetch('/api/mail', { headers: { Authorization: `Bearer ${token}` } })
    return { status: response.status, body: await response.json() }
  }, tokens.access_token)
  assert.deepEqual(mail, { status: 200, body: { mail: ['hello'] } })
  const { calls } = await inn.ledger()
  assert.equal(calls.length, 1)
  assert.ok(!refreshToken.test(calls[0].cookie) && !calls[0].cookie.includes(cookieName), `the API was sent ${calls[0].cookie}`)
})

test('scripts see the hint and no token', async () => {
  await signUp()
  assert.equal((await refresh(1)).status, 200)
  const seen = await page.evaluate(() => ({
    cookie: document.cookie,
    local: { ...localStorage },
    session: { ...sessionStorage },
  }))
  assert.match(seen.cookie, /^innkeeper-hint=[\w-]{11}\.2\.\d+$/)
  assert.deepEqual(seen.local, {})
  assert.deepEqual(seen.session, {})
})

test('no endpoint gives a script the refresh token, whatever it sends', async () => {
  const tokens = await signUp()
  const { value } = (await context.cookies()).find((cookie) => cookie.name === cookieName)
  const secret = value.slice(4)
  const bodies = [
    {}, { delivery: 'body' }, { delivery: 'body', scope: 'others' }, { refresh_token: value },
    { refresh_token: null }, { username: 'ada', password: 'wrong', delivery: 'body' },
    { current_password: 'x', new_password: 'y', delivery: 'body' },
  ]
  const description = await page.evaluate(async () => (await fetch('/openapi.json')).json())
  const calls = Object.entries(description.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => ({ path: path.replace(/\{\w+\}/g, tokens.session.id), method: method.toUpperCase() })))
  assert.ok(calls.length > 20, 'the description names the endpoints')
  // The calls that end the session come last.
  calls.sort((a, b) => Number(/logout|DELETE/.test(a.path + a.method)) - Number(/logout|DELETE/.test(b.path + b.method)))

  const answers = await page.evaluate(async ([calls, bodies, bearer]) => {
    const answers = []
    for (const { path, method } of calls) {
      for (const body of method === 'GET' ? [undefined] : bodies) {
        const response = await fetch(path, {
          method,
          headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${bearer}`, 'Idempotency-Key': '"key-of-generation-1"' },
          body: body && JSON.stringify(body),
        })
        answers.push({ call: `${method} ${path}`, status: response.status, seen: await response.text() + JSON.stringify([...response.headers]) })
      }
    }
    return answers
  }, [calls, bodies, tokens.access_token])
  assert.ok(answers.some(({ call, status }) => call === 'POST /auth/refresh' && status === 200), 'a refresh was answered')
  for (const { call, seen } of answers) {
    assert.ok(!refreshToken.test(seen) && !seen.includes(secret), `${call} shows a refresh token: ${seen}`)
  }
})

test('an answer that is lost once is made good by the browser itself', async () => {
  await signUp()
  await inn.faults({ path: '/auth/refresh', times: 1, end: 'reset' })
  const answer = await refresh(1)
  assert.equal(answer.status, 200, answer.error)
  assert.equal(answer.body.session.generation, 2)
  const ledger = await inn.ledger()
  assert.equal(ledger.sum.requests, 2, 'one fetch, two requests')
  assert.deepEqual(ledger.refreshes.map(({ outcome }) => outcome), ['rotated', 'replayed'])
  ledger.assertHonest()
})

test('silent resends of one POST do not end the session when the key is sent', async () => {
  await signUp()
  await inn.faults({ path: '/auth/refresh', end: 'reset' })
  const lost = await refresh(1)
  assert.ok(lost.error, 'the page sees the last error only')
  const ledger = await inn.ledger()
  console.log(`one fetch was sent ${ledger.sum.requests} times`)
  assert.ok(ledger.sum.requests >= 2, 'the browser has sent the request again by itself')
  assert.ok(ledger.refreshes.every((request) => request.status === 200 && request.key === key(1)))
  ledger.assertHonest()

  await inn.faults()
  const answer = await refresh(1)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.body.session.generation, 2, 'all of them were one rotation')
  assert.equal((await refresh(2)).body.session.generation, 3)
})

test('without a key the same resends look like a theft', async () => {
  await signUp()
  await inn.faults({ path: '/auth/refresh', end: 'reset' })
  assert.ok((await refresh()).error)
  await inn.faults()
  const ledger = await inn.ledger()
  assert.deepEqual(ledger.refreshes.slice(0, 2).map(({ status }) => status), [200, 401])
  assert.equal(ledger.sum.reused, 1)
  const answer = await refresh()
  assert.equal(answer.body.code, 'session_ended')
  assert.equal(answer.body.reason, 'reuse')
})

test('a page of another origin cannot call', async () => {
  await signUp()
  const elsewhere = await context.newPage()
  await elsewhere.goto(inn.url.replace('localhost', '127.0.0.1'))
  const outcome = await elsewhere.evaluate(async (url) => {
    try {
      return (await fetch(`${url}/auth/refresh`, { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{}' })).status
    } catch (error) {
      return error.message
    }
  }, inn.url)
  assert.equal(outcome, 'Failed to fetch')
  assert.equal((await inn.ledger()).sum.requests, 0, 'the preflight was refused')
})
