// The binding in a real Chromium, under all that makes React run things twice at once:
// StrictMode, hydration of a page from a server, hot reload. With the oldest and the
// newest React.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { startInnkeeper, startSite } from './site.js'

let innkeeper, browser

before(async () => {
  innkeeper = await startInnkeeper()
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: process.getuid?.() !== 0, // Chromium refuses its sandbox to root
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
  await innkeeper?.stop()
})

for (const [version, folder] of [['19', import.meta.dirname], ['18', join(import.meta.dirname, 'react-18')]]) {
  describe(`React ${version}`, () => {
    let site, context, page, complaints

    before(async () => { site = await startSite(innkeeper.url, folder) })
    after(() => site?.stop())
    beforeEach(async () => {
      site.forget()
      context = await browser.newContext({ serviceWorkers: 'block' })
      context.setDefaultTimeout(60_000)
      page = await open()
    })
    afterEach(() => context.close())

    async function open() {
      complaints = []
      const page = await context.newPage()
      page.on('pageerror', (error) => complaints.push(error.stack))
      page.on('console', (message) => {
        if (/warning|error/.test(message.type())) complaints.push(`${message.type()}: ${message.text()}`)
      })
      await page.goto(site.url)
      return page
    }
    const refreshes = () => site.count('POST /auth/refresh')
    const text = (id, words) => page.locator(`#${id}`, { hasText: words }).waitFor()
    const signUp = async () => {
      await page.click('#sign-up')
      await text('me', /^ada\d+ 0$/)
    }

    test('a refresh renders only what selects something of it', async () => {
      await signUp()
      complaints = [] // the browser has printed the 401 of who called too early
      const commits = await page.evaluate(() => window.commits)
      await page.click('#refresh')
      await text('generation', '2')
      assert.equal(refreshes(), 1)
      assert.equal(await page.evaluate(() => window.commits), commits)
      assert.ok(await page.locator('#forbidden').isVisible())
      assert.equal(await page.locator('#mail').count(), 0)
      assert.deepEqual(complaints, [])
    })

    test('another user is another subtree', async () => {
      await signUp()
      await page.click('#me')
      await text('me', / 1$/)
      // Somebody else signs in, in another tab, which hands the token over to this one.
      const other = await context.newPage()
      await other.goto(site.url)
      await other.click('#switch')
      await text('me', /^bob\d+ 0$/)
    })

    // The last one: it edits the app.
    test('StrictMode, hydration and hot reload: one refresh, no warning', async () => {
      await text('version', 'first version')
      await signUp()
      assert.equal(refreshes(), 0)
      assert.deepEqual(complaints.filter((line) => !line.includes('401 (Unauthorized)')), []) // of who called too early
      await page.close()
      page = await open()
      const html = await (await fetch(site.url)).text()
      assert.match(html, /id="loading"/, 'the server renders what it does not know')
      assert.doesNotMatch(html, /sign-up|id="me"/)
      await text('me', /^ada\d+ 0$/)
      assert.deepEqual(await page.evaluate(() => Promise.all(window.calls)), [200, 200])
      assert.equal(refreshes(), 1)

      // A component is edited: its state stays, and that of the others.
      await page.evaluate(() => { window.isTheSame = true })
      await page.click('#me')
      site.edit('Desk.jsx', 'first desk', 'second desk')
      await text('desk', 'second desk')
      await text('me', / 1$/)
      // The file that makes the client is edited, three times.
      for (const [old, next] of [['first', 'second'], ['second', 'third'], ['third', 'fourth']]) {
        site.edit('App.jsx', `${old} version`, `${next} version`)
        await text('version', `${next} version`)
        await text('me', / 1$/)
      }
      assert.equal(await page.evaluate(() => window.isTheSame), true)
      assert.ok(await page.evaluate(() => window.calls.length) > 2, 'there were other clients')
      assert.ok((await page.evaluate(() => Promise.all(window.calls))).every((status) => status === 200))
      const seen = await page.evaluate(() => window.seen)
      assert.ok(seen.lastIndexOf('unknown') < seen.indexOf('signed_in') && !seen.includes('signed_out'), seen.join(' '))
      assert.equal(refreshes(), 1)

      // What is rendered is subscribed to the last client.
      await page.click('#sign-out')
      await page.locator('#sign-up').waitFor()
      assert.deepEqual(complaints, [])
    })
  })
}

test('without a provider the hooks say what is missing', async () => {
  const { createElement } = await import('react')
  const { renderToString } = await import('react-dom/server')
  const { useSession } = await import('@innkeeper/react')
  const Orphan = () => useSession().status
  assert.throws(() => renderToString(createElement(Orphan)), /need an InnkeeperProvider above/)
})
