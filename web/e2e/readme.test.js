// What the README tells people to paste into a page, pasted into a page.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { startDemo } from './server.js'
import { launch } from './browser.js'

test('the example of the README signs in and calls', async (t) => {
  const [, html] = /```html\n(.*?)```/s.exec(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))
  const demo = await startDemo()
  t.after(demo.stop)
  const browser = await launch()
  t.after(() => browser.close())
  const page = await browser.newPage()
  await page.route(`${demo.url}/`, (route) => route.fulfill({ contentType: 'text/html', body: `<!doctype html>${html}` }))
  await page.goto(demo.url)
  await page.fill('[name=username]', 'ada')
  await page.fill('[name=password]', 'analytical-engine')
  const printed = page.waitForEvent('console')
  await page.click('button')
  const me = await (await printed).args()[0].jsonValue()
  assert.equal(me.user.username, 'ada')
})
