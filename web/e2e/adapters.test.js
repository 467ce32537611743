// The adapters of the browser client, with the real server behind them.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { startServer } from './server.js'
import { launch } from './browser.js'
import { password } from './person.js'

const client = new URL('../client/', import.meta.url)
let server, inn, browser, context, page

before(async () => {
  server = await startServer()
  browser = await launch(server)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

// Each test has a page where somebody is signed in. The adapters are not served by
// any server, so they are put beside what is.
beforeEach(async () => {
  await context?.close()
  await inn?.close()
  inn = await server.open()
  context = await browser.newContext({ serviceWorkers: 'block' })
  const file = (pattern, path) => context.route(pattern, (route) => route.fulfill({ contentType: 'text/javascript', body: readFileSync(path(route.request().url())) }))
  await file('**/auth/adapters/*.js', (url) => new URL(`adapters/${url.split('/').pop()}`, client))
  await file(`${inn.url}/vendor/axios.js`, () => new URL('node_modules/axios/dist/esm/axios.js', client))
  page = await context.newPage()
  await page.goto(inn.url)
  await signIn({})
})

const signIn = (options) => page.evaluate(async ([options, password]) => {
  const { createClient } = await import('/auth/client.js')
  window.client?.close()
  window.client = createClient(options)
  await client.ready()
  if (client.session.status === 'signed_out') await client.signUp({ username: 'ada', password })
  // spoil makes the server refuse the access token, which the client does not know.
  window.spoil = () => fetch('/auth/logout', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"scope":"others"}' })
}, [options, password])

test('xhr: a refused token is renewed once, and the body sent again', async () => {
  const seen = await page.evaluate(async () => {
    const { xhr } = await import('/auth/adapters/xhr.js')
    const plain = await xhr(client, { method: 'GET', url: '/auth/me', responseType: 'json' })
    await spoil()
    let resets = 0
    const progress = []
    const again = await xhr(client, {
      url: '/auth/password', headers: { 'Content-Type': 'application/json' }, responseType: 'json',
      body: JSON.stringify({ current_password: 'wrong', new_password: 'another analytical engine' }),
      onprogress: ({ loaded }) => progress.push(loaded), onreset: () => { resets++ },
    })
    const abroad = await xhr(client, { method: 'GET', url: '/auth/me', headers: { Authorization: 'Bearer mine' } }).catch((error) => error)
    return { user: plain.response.user.username, status: again.status, code: again.response.code, resets, progress: progress.length > 1, generation: client.session.session.generation, abroad: abroad.status }
  })
  assert.deepEqual(seen, { user: 'ada', status: 401, code: 'invalid_credentials', resets: 1, progress: true, generation: 2, abroad: 401 })
})

test('xhr: the caller’s abort ends the request', async () => {
  await inn.faults({ path: '/auth/password', hold: 'before' })
  await page.evaluate(async () => {
    const { xhr } = await import('/auth/adapters/xhr.js')
    window.controller = new AbortController()
    window.outcome = xhr(client, { url: '/auth/password', body: '{}', signal: controller.signal }).then(() => 'answered', (error) => error.name)
  })
  await inn.held(1)
  await page.evaluate(() => controller.abort())
  assert.equal(await page.evaluate(() => outcome), 'AbortError')
  await inn.abandoned(1)
})

test('axios: a refused token is renewed once, and a second 401 is the caller’s', async () => {
  const seen = await page.evaluate(async () => {
    const [{ attach }, { default: axios }] = [await import('/auth/adapters/axios.js'), await import('/vendor/axios.js')]
    const api = attach(client, axios.create({ baseURL: '/auth' }))
    await spoil()
    const all = await Promise.all(Array.from({ length: 5 }, () => api.get('/me')))
    const generation = client.session.session.generation
    const wrong = await api.post('/password', { current_password: 'wrong', new_password: 'another analytical engine' }).catch(({ response }) => response)
    const own = await api.get('/me', { headers: { Authorization: 'Bearer mine' } }).catch(({ response }) => response)
    return { users: all.map(({ data }) => data.user.username), generation, wrong: wrong.data.code, own: own.status, after: client.session.session.generation }
  })
  assert.deepEqual(seen, { users: Array(5).fill('ada'), generation: 2, wrong: 'invalid_credentials', own: 401, after: 2 })
})

// live is a server of WebSockets that takes the token as a subprotocol, and says
// which it was shown.
async function live(t) {
  const server = createServer()
  const shown = []
  const open = new Set()
  server.on('upgrade', (request, socket) => {
    const [protocol, token] = request.headers['sec-websocket-protocol'].split(', ')
    shown.push(token)
    const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`)
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    socket.resume().on('end', () => socket.end())
  })
  await new Promise((resolve) => { server.listen(0, 'localhost', resolve) })
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return { origin: `localhost:${server.address().port}`, shown, cut: () => { for (const socket of open) socket.destroy() } }
}

test('sockets: each connect shows a living token, and signing out closes for good', async (t) => {
  const { origin, shown, cut } = await live(t)
  await signIn({ allowedOrigins: [inn.url, `http://${origin}`] })
  await page.evaluate(async (origin) => {
    const { connect, protocols } = await import('/auth/adapters/sockets.js')
    window.opened = 0
    window.connection = connect(client, `ws://${origin}/live`, (ticket) => {
      window.socket = new WebSocket(`ws://${origin}/live`, protocols(ticket))
      socket.onopen = () => { opened++ }
      return socket
    })
  }, origin)
  await page.waitForFunction(() => opened === 1)
  assert.equal(await page.evaluate(() => socket.protocol), 'innkeeper.bearer')
  await page.evaluate(() => client.getToken({ forceGen: client.session.session.generation }))
  cut()
  await page.waitForFunction(() => opened === 2)
  assert.equal(shown.length, 2)
  assert.notEqual(shown[0], shown[1], 'the second connect came with the token of the refresh')
  assert.ok(shown.every((token) => /^ey[\w-]+\.[\w-]+\.[\w-]+$/.test(token)))

  await page.evaluate(() => client.signOut())
  await page.waitForFunction(() => socket.readyState >= WebSocket.CLOSING)
  await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 1200) })) // longer than the pause before a reconnect
  assert.equal(shown.length, 2)
})

test('sockets: who may not be shown the token is not connected to', async (t) => {
  const { origin, shown } = await live(t)
  const opened = await page.evaluate(async (origin) => {
    const { connect } = await import('/auth/adapters/sockets.js')
    let opened = 0
    connect(client, `ws://${origin}/live`, () => { opened++ })
    await new Promise((resolve) => { setTimeout(resolve, 300) })
    return opened
  }, origin)
  assert.deepEqual([opened, shown.length], [0, 0])
})

test('native: the refresh token is in the store and in no cookie', async () => {
  await page.evaluate(() => client.signOut())
  const cookies = await context.cookies()
  const seen = await page.evaluate(async (password) => {
    const [{ createClient }, { native }] = [await import('/auth/client.js'), await import('/auth/adapters/native.js')]
    let kept = null
    let device = null
    const sent = []
    const store = {
      load: async () => kept, save: async (next) => { kept = next }, clear: async () => { kept = null },
      loadDevice: async () => device, saveDevice: async (token) => { device = token },
    }
    const send = (input, init) => {
      if (String(input).endsWith('/auth/login')) sent.push(JSON.parse(init.body).device_token ?? null)
      return fetch(input, init)
    }
    const make = () => createClient({ url: location.origin, ...native(store, send) })
    client.close()
    let shell = make()
    const first = await shell.signIn({ username: 'ada', password })
    const token = kept.refreshToken
    await shell.getToken({ forceGen: 1 })
    const rotated = kept.refreshToken !== token && kept.generation === 2
    shell.close()
    shell = make() // the shell is started again
    const again = await shell.ready()
    const me = await (await shell.fetch('/auth/me')).json()
    await shell.signOut()
    const over = kept
    const known = device
    await shell.signIn({ username: 'ada', password })
    await shell.signOut()
    return { device: known?.slice(0, 4), sent: sent.map((token) => token === known ? 'known' : token), status: first.status, rotated, again: again.status, sameSession: again.session.id === first.session.id, me: me.user.username, cookie: document.cookie, kept: over }
  }, password)
  assert.deepEqual(seen, { device: 'ikd_', sent: [null, 'known'], status: 'signed_in', rotated: true, again: 'signed_in', sameSession: true, me: 'ada', cookie: '', kept: null })
  assert.deepEqual(await context.cookies(), cookies, 'no cookie has come, none has changed')
  assert.deepEqual(cookies.map(({ name }) => name), ['__Secure-innkeeper-device'])
})
