// Runs the API of server.js against a real Innkeeper.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { verifier } from './innkeeper.js'
import { userEntry } from './revocations.js'
import { newServer } from './server.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const audience = 'https://api.example.com'
const password = 'correct horse battery staple'
const folder = mkdtempSync(join(tmpdir(), 'innkeeper-node-'))
const data = ['--data', join(folder, 'data')]
const binary = join(folder, 'innkeeper')
const innkeeper = (args, input) => execFileSync(binary, [...args, ...data], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] })

let issuer, inn, watched
const opened = []

// serve starts Innkeeper and returns when it is ready.
async function serve() {
  const { port, host } = new URL(issuer)
  const child = spawn(binary, ['serve', ...data, '--listen', `127.0.0.1:${port}`, '--issuer', issuer, '--audience', audience, '--log-level', 'error'],
    { stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await until(`${host} is ready`, async () => (await fetch(`${issuer}/readyz`).catch(() => ({}))).ok)
  return { stop: () => { child.kill('SIGTERM'); return ended } }
}

// until waits for a condition and returns how long that took, in ms.
async function until(what, condition) {
  const began = performance.now()
  while (!await condition()) {
    if (performance.now() - began > 30_000) assert.fail(`still waiting: ${what}`)
    await sleep(5)
  }
  return Math.round(performance.now() - began)
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

// open starts an API and returns call.
async function open(options = {}) {
  const guard = verifier({ issuer, audience, onError: () => {}, ...options })
  const server = newServer(guard).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  opened.push(() => { guard.close(); server.closeAllConnections(); server.close() })
  return async (route, token, headers = token && { Authorization: `Bearer ${token}` }) => {
    const [method, path] = route.split(' ')
    const answer = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { method, headers })
    const { code, ...body } = await answer.json()
    return { status: answer.status, code, body, challenge: answer.headers.get('WWW-Authenticate') }
  }
}

async function post(path, body, token) {
  const answer = await fetch(issuer + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...token && { Authorization: `Bearer ${token}` } },
    body: JSON.stringify(body),
  })
  assert.ok(answer.ok, `${path}: ${answer.status}`)
  return answer.status === 204 ? undefined : answer.json()
}
const signIn = (username) => post('/auth/login', { username, password, delivery: 'body' })
const refused = (answer, status, code) => assert.deepEqual([answer.status, answer.code], [status, code])
const accepted = (answer) => assert.equal(answer.status, 200, answer.code)

before(async () => {
  execFileSync('go', ['build', '-o', binary, './cmd/innkeeper'], { cwd: repository, stdio: 'inherit' })
  innkeeper(['role', 'set', 'reader', 'mail:read'])
  innkeeper(['user', 'add', 'ada', '--role', 'reader', '--password-stdin'], password)
  innkeeper(['user', 'add', 'bob', '--password-stdin'], password)
  innkeeper(['user', 'add', 'eve', '--role', 'admin', '--password-stdin'], password)
  issuer = `http://localhost:${await freePort()}`
  inn = await serve()
  watched = await open()
  await until('the feed was read', async () => (await watched('GET /me', (await signIn('ada')).access_token)).status === 200)
})
after(async () => {
  for (const close of opened) close()
  await inn?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('the name of a user in the feed', () => {
  // The vector of docs/revocation.md.
  assert.equal(userEntry({ iss: 'https://auth.example.com', sub: 'TVSfyJ-uWz-1gHCD9vifwg', epoch: 'HJQP6dZJg1U' }), 'N7U6Dc8FV0PWR_1FVR-0zg')
})

test('a good token is accepted', async () => {
  const { access_token: token, user } = await signIn('ada')
  const me = await watched('GET /me', token)
  accepted(me)
  assert.deepEqual(me.body, { subject: user.id, username: 'ada' })
  accepted(await watched('GET /mail', token))
  accepted(await watched('POST /transfer', token))
  accepted(await watched('GET /admin', (await signIn('eve')).access_token))
})

test('everything else is refused', async () => {
  const { access_token: token, refresh_token: refreshToken } = await signIn('ada')
  const none = await watched('GET /me')
  refused(none, 401, 'access_token_invalid')
  assert.equal(none.challenge, 'Bearer')
  const [head, payload, signature] = token.split('.')
  const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (const bad of [
    'x', refreshToken, `${head}.${payload}`, `${head}.${payload}.${'A'.repeat(signature.length)}`,
    `${base64({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
    `${base64({ alg: 'HS256', typ: 'at+jwt', kid: JSON.parse(Buffer.from(head, 'base64url')).kid })}.${payload}.${signature}`,
  ]) {
    const answer = await watched('GET /me', bad)
    refused(answer, 401, 'access_token_invalid')
    assert.match(answer.challenge, /^Bearer error="invalid_token"/)
  }
  refused(await watched('GET /me', undefined, { Authorization: `Basic ${token}` }), 401, 'access_token_invalid')
})

test('another audience or issuer is refused', async () => {
  const { access_token: token } = await signIn('ada')
  const other = await open({ audience: 'https://other.example.com' })
  refused(await other('GET /me', token), 401, 'access_token_invalid')
  const slash = await open({ issuer: `${issuer}/` })
  refused(await slash('GET /me', token), 401, 'access_token_invalid')
})

test('a missing role or permission is 403', async () => {
  const { access_token: token } = await signIn('bob')
  refused(await watched('GET /admin', token), 403, 'forbidden')
  refused(await watched('GET /mail', token), 403, 'forbidden')
})

test('a token is refused soon after its session has ended', async (t) => {
  const [first, second, third] = [await signIn('ada'), await signIn('ada'), await signIn('bob')]
  accepted(await watched('GET /me', first.access_token))
  await post('/auth/logout', {}, first.access_token)
  const took = await until('logout', async () => (await watched('GET /me', first.access_token)).status === 401)
  t.diagnostic(`refused ${took} ms after the logout`)
  refused(await watched('GET /me', first.access_token), 401, 'access_token_revoked')
  accepted(await watched('GET /me', second.access_token))

  await post('/auth/logout', { scope: 'everywhere' }, second.access_token)
  const all = await until('logout everywhere', async () => (await watched('GET /me', second.access_token)).status === 401)
  t.diagnostic(`refused ${all} ms after the logout everywhere`)
  refused(await watched('GET /me', second.access_token), 401, 'access_token_revoked')
  accepted(await watched('GET /me', (await signIn('ada')).access_token))
  accepted(await watched('GET /me', third.access_token))

  // Another process ends a session in the same database.
  innkeeper(['user', 'disable', 'bob'])
  const other = await until('the command line', async () => (await watched('GET /me', third.access_token)).status === 401)
  t.diagnostic(`refused ${other} ms after the command line has disabled the user`)
  // An API that starts now learns of what was before.
  const late = await open()
  await until('the late one is ready', async () => (await late('GET /me', third.access_token)).status !== 503)
  refused(await late('GET /me', third.access_token), 401, 'access_token_revoked')
})

test('a key that was stolen opens nothing any more', async (t) => {
  let tokens = await signIn('ada')
  const stolen = tokens.access_token
  accepted(await watched('GET /me', stolen))
  const kidOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid
  const kid = kidOf(stolen)
  // A kid may begin with a hyphen.
  execFileSync(binary, ['key', 'retire', '--emergency', ...data, '--', kid], { stdio: ['ignore', 'ignore', 'inherit'] })
  const took = await until('the key is revoked', async () => (await watched('GET /me', stolen)).code === 'access_token_revoked')
  t.diagnostic(`refused ${took} ms after the command`)
  // Nobody is signed out. The next key had been published before it signed.
  await until('the next key signs', async () => {
    tokens = await post('/auth/refresh', { refresh_token: tokens.refresh_token })
    return kidOf(tokens.access_token) !== kid
  })
  accepted(await watched('GET /me', tokens.access_token))
})

test('an Innkeeper that is down signs nobody out', async () => {
  const [good, ended] = [await signIn('ada'), await signIn('ada')]
  await post('/auth/logout', {}, ended.access_token)
  await until('logout', async () => (await watched('GET /me', ended.access_token)).status === 401)
  await inn.stop()
  accepted(await watched('GET /me', good.access_token))
  refused(await watched('GET /me', ended.access_token), 401, 'access_token_revoked')
  const blind = await open() // it knows neither keys nor revocations
  refused(await blind('GET /me', good.access_token), 503, 'unavailable')
  inn = await serve()
  await post('/auth/logout', {}, good.access_token)
  await until('it follows again', async () => (await watched('GET /me', good.access_token)).status === 401)
  await until('the blind one sees', async () => (await blind('GET /me', good.access_token)).code === 'access_token_revoked')
})
