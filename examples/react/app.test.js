// The app as people use it, in a real Chromium: built, served by the Go server of
// main.go, signed in with a real Innkeeper.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { chromium } from 'playwright-core'
import { build } from 'vite'
import { freePorts, run } from './run.js'

const password = 'correct horse battery staple'
const folder = mkdtempSync(join(tmpdir(), 'innkeeper-example-'))
let app, browser, context, page, complaints, calls

before(async () => {
  process.chdir(import.meta.dirname)
  await build({ logLevel: 'warn' })
  app = await run({ ports: await freePorts(3), innkeeper: ['--data', join(folder, 'data')] })
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: process.getuid?.() !== 0, // Chromium refuses its sandbox to root
    ignoreDefaultArgs: ['--disable-back-forward-cache'], // people have it
    args: [
      '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // The suggestions of the address bar, which cost more than the pages that are tested.
      '--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup',
    ],
  })
})
after(async () => {
  await browser?.close()
  await app?.stop()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  complaints = []
  context = await device()
  page = await context.newPage()
  calls = watch(context)
})
afterEach(async () => {
  await context.close()
  assert.deepEqual(complaints, [])
})

// device is a browser of its own, with its own cookies.
async function device(options) {
  const context = await browser.newContext({ serviceWorkers: 'block', ...options })
  context.setDefaultTimeout(60_000)
  context.on('weberror', (error) => complaints.push(error.error().stack))
  context.on('console', (message) => {
    // The browser itself prints every 401 and 422, and no page can keep it from that.
    if (/error|warning/.test(message.type()) && !message.text().startsWith('Failed to load resource')) complaints.push(message.text())
  })
  return context
}

// watch notes what the pages of a context ask of the host: "POST /auth/refresh".
function watch(context) {
  const seen = []
  context.on('request', (request) => {
    const { pathname } = new URL(request.url())
    if (/^\/(auth|api)\//.test(pathname)) seen.push({ call: `${request.method()} ${pathname}`, bearer: request.headers().authorization })
  })
  return { of: (call) => seen.filter((request) => request.call === call), forget: () => seen.splice(0) }
}

let people = 0

async function signUp(page, url = app.url) {
  const username = `ada${++people}`
  await page.goto(url)
  await page.getByRole('button', { name: 'Create one' }).click()
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.getByText(`Welcome, ${username}`).waitFor()
  return username
}

async function signIn(page, username, secret = password) {
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('Password').fill(secret)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

const atTheDesk = (page) => page.getByRole('button', { name: 'Sign in', exact: true }).waitFor()

// nothingOf makes sure that no mail and no name of somebody who has left is on a page.
async function nothingOf(page, username) {
  await atTheDesk(page)
  const html = await page.content()
  assert.ok(!html.includes(username) && !html.includes('Housekeeping'), html)
}

// thrownOut looks again until the API has heard that the session is over, which takes
// it a second at most.
async function thrownOut(page, username) {
  const desk = page.getByRole('button', { name: 'Sign in', exact: true })
  while (!(await desk.isVisible())) {
    await page.getByRole('button', { name: 'Look again' }).click({ timeout: 2_000 }).catch(() => {}) // it may just have gone
    await desk.waitFor({ timeout: 1_000 }).catch(() => {})
  }
  await nothingOf(page, username)
}

test('a visitor costs no request; errors are in plain words, and what was typed stays', async () => {
  await page.goto(app.url)
  await signIn(page, 'nobody', 'wrong password')
  const field = page.getByLabel('Password')
  await page.getByRole('alert').filter({ hasText: 'not the right password' }).waitFor()
  assert.deepEqual([calls.of('POST /auth/refresh').length, calls.of('POST /auth/login').length], [0, 1])
  assert.equal(await page.getByLabel('User name').inputValue(), 'nobody')
  assert.equal(await field.getAttribute('aria-invalid'), 'true')
  assert.ok(await field.evaluate((input) => input === document.activeElement), 'the field that is wrong has the focus')

  await page.getByRole('button', { name: 'Create one' }).click()
  assert.equal(await page.getByLabel('User name').inputValue(), 'nobody')
  for (const [label, value, words] of [
    ['Password', 'short', 'A few more characters'], ['Email', 'nowhere', 'Give one address'], ['User name', 'a b', 'without spaces'],
  ]) {
    await page.getByLabel(label).fill(value)
    await page.getByRole('button', { name: 'Create account' }).click()
    await page.getByRole('alert').filter({ hasText: words }).waitFor()
    await page.getByLabel(label).fill({ Password: password, Email: '', 'User name': 'nobody' }[label])
  }
})

test('signed up and in; the mail is the one of whoever asks', async () => {
  const ada = await signUp(page)
  await page.getByText(`Welcome, ${ada}`).click()
  await page.getByText('only the front desk has seen it').waitFor()
  assert.equal(await page.title(), 'Your mail · Pigeonhole')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await nothingOf(page, ada)
  await signIn(page, ada)
  await page.getByText(`Welcome, ${ada}`).waitFor()
  assert.equal(calls.of('POST /auth/refresh').length, 0)
})

test('a second tab is signed in without a second refresh; a sign-out signs out both', async () => {
  const ada = await signUp(page)
  const second = await context.newPage()
  await second.goto(`${app.url}/#account`)
  await second.getByRole('heading', { name: 'Account' }).waitFor()
  assert.ok(await second.getByText(ada).isVisible())
  assert.equal(calls.of('POST /auth/refresh').length, 0)

  await second.getByRole('button', { name: 'Sign out here' }).click()
  await nothingOf(second, ada)
  await page.getByText('You have signed out in another tab.').waitFor()
  await nothingOf(page, ada)
  await page.reload()
  await nothingOf(page, ada)
})

test('after a sign-out the back button shows nothing', async () => {
  const ada = await signUp(page)
  await page.getByRole('link', { name: 'Devices' }).click()
  await page.getByText('this one').waitFor()
  await page.getByRole('button', { name: 'Sign out', exact: true }).first().click()
  await nothingOf(page, ada)
  await page.goBack()
  await page.waitForURL((url) => url.hash === '')
  await nothingOf(page, ada)
})

test('nor does a page that comes back from the back/forward cache', async () => {
  const ada = await signUp(page)
  await page.evaluate(() => {
    window.isTheSame = true
    addEventListener('pageshow', (event) => {
      window.wasKept = event.persisted
      requestAnimationFrame(() => { window.firstFrame = document.body.innerText })
    })
  })
  await page.goto(`${app.url}/key.svg`) // another document
  const second = await context.newPage()
  // A browser that does not know Clear-Site-Data: one that does keeps no page after a sign-out.
  await second.route('**/auth/logout', async (route) => {
    const response = await route.fetch()
    const headers = response.headers()
    delete headers['clear-site-data']
    await route.fulfill({ response, headers })
  })
  await second.goto(app.url)
  await second.getByText(`Welcome, ${ada}`).waitFor()
  await second.getByRole('button', { name: 'Sign out' }).click()
  await atTheDesk(second)

  await page.goBack({ waitUntil: 'commit' })
  await nothingOf(page, ada)
  assert.deepEqual(await page.evaluate(() => [window.isTheSame, window.wasKept]), [true, true])
  assert.doesNotMatch(await page.evaluate(() => window.firstFrame), new RegExp(ada), 'not even for a moment')
})

test('devices are listed and ended, one or all others', async () => {
  const ada = await signUp(page)
  const phones = []
  for (const system of ['iPhone; CPU iPhone OS 18_0 like Mac OS X', 'Linux; Android 16']) {
    const phone = await device({ userAgent: `Mozilla/5.0 (${system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1`, viewport: { width: 375, height: 667 } })
    const screen = await phone.newPage()
    await screen.goto(app.url)
    await signIn(screen, ada)
    await screen.getByText(`Welcome, ${ada}`).waitFor()
    assert.ok(await screen.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it fits on a phone')
    phones.push(screen)
  }
  await page.getByRole('link', { name: 'Devices' }).click()
  await page.getByRole('button', { name: 'End the session of Safari on iPhone' }).click()
  await page.getByText('Safari on iPhone').waitFor({ state: 'detached' })
  await thrownOut(phones[0], ada)
  assert.ok(await phones[0].getByText('This session was ended from another device').isVisible())

  await page.getByText('Safari on Android').waitFor()
  await page.getByRole('button', { name: 'Sign out all other devices' }).click()
  await page.getByText('Safari on Android').waitFor({ state: 'detached' })
  await page.getByText('this one').waitFor()
  await thrownOut(phones[1], ada)
  // The own token was refused once for that, renewed, and nobody noticed.
  await page.getByRole('link', { name: 'Mail' }).click()
  await page.getByText(`Welcome, ${ada}`).waitFor()
  for (const phone of phones) await phone.context().close()
})

test('the password is changed, and only the new one opens', async () => {
  const ada = await signUp(page)
  const other = await device()
  const elsewhere = await other.newPage()
  await elsewhere.goto(app.url)
  await signIn(elsewhere, ada)
  await elsewhere.getByText(`Welcome, ${ada}`).waitFor()

  await page.getByRole('link', { name: 'Account' }).click()
  const change = async (current, next) => {
    await page.getByLabel('Current password').fill(current)
    await page.getByLabel('New password').fill(next)
    await page.getByRole('button', { name: 'Change it' }).click()
  }
  await change('not it', 'another long password')
  await page.getByRole('alert').filter({ hasText: 'not your current password' }).waitFor()
  await change(password, 'short')
  await page.getByRole('alert').filter({ hasText: 'A few more characters' }).waitFor()
  assert.equal(await page.getByLabel('Current password').inputValue(), password)
  await change(password, 'another long password')
  await page.getByText('Your password is changed.').waitFor()

  await thrownOut(elsewhere, ada)
  await signIn(elsewhere, ada)
  await elsewhere.getByRole('alert').filter({ hasText: 'not the right password' }).waitFor()
  await signIn(elsewhere, ada, 'another long password')
  await elsewhere.getByText(`Welcome, ${ada}`).waitFor()

  // Out everywhere, this time without changing anything.
  await page.getByRole('button', { name: 'Sign out everywhere' }).click()
  await nothingOf(page, ada)
  await thrownOut(elsewhere, ada)
  await other.close()
})

test('offline nobody is signed out of what is on the screen, and everybody can sign out', async () => {
  const ada = await signUp(page)
  const other = await device()
  const elsewhere = await other.newPage()
  await elsewhere.goto(app.url)
  await signIn(elsewhere, ada)
  await elsewhere.getByText(`Welcome, ${ada}`).waitFor()

  await context.setOffline(true)
  await page.getByText('The front desk cannot be reached.').waitFor()
  assert.ok(await page.getByText(`Welcome, ${ada}`).isVisible())
  await context.setOffline(false)
  await page.getByText('The front desk cannot be reached.').waitFor({ state: 'detached' })
  assert.ok(await page.getByText(`Welcome, ${ada}`).isVisible())

  await page.getByRole('link', { name: 'Account' }).click()
  await context.setOffline(true)
  await page.getByRole('button', { name: 'Sign out everywhere' }).click()
  await page.getByText('You are signed out here only').waitFor()
  await nothingOf(page, ada)
  const told = page.waitForResponse((response) => response.url().endsWith('/auth/logout') && response.status() === 204)
  await context.setOffline(false)
  await told
  await elsewhere.getByRole('link', { name: 'Devices' }).click()
  await elsewhere.getByText('this one').waitFor()
  assert.equal(await elsewhere.getByRole('button', { name: 'End' }).count(), 0, 'the session that was left has ended')
  await other.close()
})

test('in development, and with tokens of 5 seconds: renewed in time, and nobody notices', async () => {
  const dev = await run({ dev: true, ports: await freePorts(3), innkeeper: ['--access-ttl', '5s', '--data', join(folder, 'dev')] })
  try {
    const ada = await signUp(page, dev.url)
    const [{ bearer: first }] = calls.of('GET /api/mails')
    const ok = (path) => page.waitForResponse((response) => response.url().endsWith(path) && response.ok())
    await ok('/auth/refresh')
    calls.forget()
    await Promise.all([ok('/api/mails'), page.getByRole('button', { name: 'Look again' }).click()])
    const { bearer: second } = calls.of('GET /api/mails').at(-1)
    assert.match(second, /^Bearer ey/)
    assert.notEqual(second, first)
    assert.ok(await page.getByText(`Welcome, ${ada}`).isVisible())
  } finally {
    await dev.stop()
  }
})
