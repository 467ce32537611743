// The demo page, driven as a newcomer would.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { startDemo } from './server.js'
import { launch } from './browser.js'
import { until } from './until.js'

let demo, browser, context, page, keycard, complaints

before(async () => {
  demo = await startDemo()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})
beforeEach(async () => {
  await context?.close()
  context = await browser.newContext({ serviceWorkers: 'block' })
  page = await context.newPage()
  complaints = []
  page.on('pageerror', (error) => complaints.push(error.stack))
  page.on('console', (message) => {
    // An expected 401 is printed by the browser, and no page can keep it from that.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text())
  })
  await page.goto(demo.url)
  const signedIn = page.waitForResponse((response) => response.url().endsWith('/auth/login'))
  await page.click('#sign-in button')
  keycard = (await (await signedIn).json()).access_token
  await idle()
})

const idle = () => page.waitForFunction(() => !document.body.hasAttribute('data-busy'))
const click = async (id) => {
  await page.click(`#${id}`)
  await idle()
}
const text = (id) => page.textContent(`#${id}`)

test('an expired key card: five calls, one refresh, nobody notices', async () => {
  assert.equal(await text('generation'), '1')
  await page.waitForSelector('#keycard.expired', { timeout: 25_000 })
  // The page counts from before it asked. By the clock of the API it may be a little later.
  const { exp } = JSON.parse(Buffer.from(keycard.split('.')[1], 'base64url'))
  await until('the API to refuse it', () => Date.now() >= exp * 1000)
  const statuses = []
  page.on('response', (response) => statuses.push(`${response.status()} ${new URL(response.url()).pathname}`))
  await click('five-calls')
  const count = (line) => statuses.filter((status) => status === line).length
  assert.equal(count('401 /api/mail'), 5)
  assert.equal(count('200 /auth/refresh'), 1)
  assert.equal(count('200 /api/mail'), 5)
  assert.equal(await text('generation'), '2')
  assert.match(await text('inbox'), /Your room is ready/)
  assert.deepEqual(complaints, [])
})

test('an answer gets lost: one rotation, and nobody is signed out', async () => {
  await click('lose')
  assert.match(await text('lost-outcome'), /One rotation, one booking, nobody signed out/)
  assert.equal(await text('generation'), '2')
  assert.deepEqual(complaints, [])
})

test('scripts cannot get the refresh token', async () => {
  await click('probe')
  const probes = await page.$$eval('#probes > *', (rows) => rows.map((row) => row.textContent))
  assert.ok(probes.length >= 8)
  for (const probe of probes) assert.match(probe, /not there/)
  const { value } = (await context.cookies()).find((cookie) => cookie.name.endsWith('-refresh'))
  assert.ok(value.startsWith('ikr_') && !(await page.content()).includes(value.slice(4, 20)))
})

for (const [first, second] of [['victim-moves', 'thief-moves'], ['thief-moves', 'victim-moves']]) {
  test(`a thief copies the booking; ${first}, then ${second}: the session ends for both`, async () => {
    await click('steal')
    await click(first)
    await click(second)
    assert.match(await text('thief-outcome'), /reuse|both|caught/i)
    await page.waitForSelector('#check-in:not([hidden])')
    assert.deepEqual(complaints, [])
  })
}

test('log out everywhere ends the phone as well', async () => {
  await click('phone-in')
  await click('log-out-everywhere')
  await page.waitForSelector('#check-in:not([hidden])')
  assert.notEqual((await text('everywhere-outcome')).trim(), '')
  assert.deepEqual(complaints, [])
})
