// What every file of scenarios stands on: one server and one browser, and for each
// test an inn and a person of its own, so that tests can run side by side.
import { after, before } from 'node:test'
import assert from 'node:assert/strict'
import { startServer } from './server.js'
import { launch } from './browser.js'
import { visit } from './person.js'
import { until } from './until.js'

export function stage() {
  let server, browser
  before(async () => {
    server = await startServer()
    browser = await launch(server)
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
  })

  // arrive opens an inn to a plan and a browser context of somebody who visits it.
  async function arrive(t, { plan, ...how } = {}) {
    const inn = await server.open(plan)
    const person = await visit(browser, inn, how)
    t.after(async () => {
      await inn.faults()
      await inn.release({ drop: true })
      await person.close()
      await inn.close()
    })
    return { inn, person }
  }

  // checkIn is arrive, and a first tab in which "ada" has signed up.
  async function checkIn(t, how) {
    const { inn, person } = await arrive(t, how)
    const tab = await person.tab()
    await tab.signUp('ada')
    return { inn, person, tab }
  }

  return { arrive, checkIn }
}

// expire makes all access tokens expire, which the clients do not know: the API
// tells them.
export const expire = (inn) => inn.advance('16m')

// askLonger, as a script of the page, makes a new tab wait for the others for as long as
// a busy machine needs and not for 100 ms: where a test says that they do answer.
export function askLonger() {
  const { setTimeout } = window
  window.setTimeout = (call, wait, ...rest) => setTimeout(call, wait === 100 ? 20_000 : wait, ...rest)
}

// recovers calls until it is served. Whoever waits may be told that the server does
// not answer, and nothing worse; and is signed in all the while.
export async function recovers(tab) {
  await until('the call to be served', async () => {
    const { status, error } = await tab.call()
    assert.ok(status === 200 || error === 'refresh_unavailable', `the call ended with ${status ?? error}`)
    assert.equal(await tab.status(), 'signed_in')
    return status === 200
  })
}
