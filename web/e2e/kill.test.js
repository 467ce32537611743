// The browser is killed after a refresh, as by a crash or an empty battery. It has
// stored the old cookie and not the new one, which it writes half a minute later; the
// key of the refresh was on the disk before the request left.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnBrowser } from './browser.js'
import { Person } from './person.js'
import { expire, stage } from './stage.js'

const { arrive } = stage()

// open starts a browser over a folder and the app in it.
async function open(t, inn, folder) {
  const browser = await spawnBrowser(t, folder)
  const person = new Person(browser.context, inn)
  return { browser, person, tab: await person.tab() }
}

// settle makes a folder in which "ada" is signed in, and all of it on the disk.
async function settle(t, inn) {
  const folder = await mkdtemp(join(tmpdir(), 'innkeeper-e2e-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const { browser, tab } = await open(t, inn, folder)
  await tab.signUp('ada')
  await browser.quit()
  return folder
}

describe('kill -9', { concurrency: 3 }, () => {
  for (const seconds of [20, 5, 1]) {
    test(`D3.4: kill -9 of the browser ${seconds} s after a rotation`, async (t) => {
      const { inn } = await arrive(t)
      const folder = await settle(t, inn)
      let { browser, tab } = await open(t, inn, folder)
      await tab.ready() // which is a rotation: nobody else is there to ask
      await inn.until('the rotation', (ledger) => ledger.sum.rotated === 1)
      await sleep(seconds * 1000)
      await browser.kill()

      ;({ browser, tab } = await open(t, inn, folder))
      await tab.ready()
      assert.equal(await tab.status(), 'signed_in')
      await expire(inn)
      assert.deepEqual(await tab.calls(3), { 200: 3 })
      const ledger = await inn.ledger()
      console.log(`killed after ${seconds} s: the jar held generation ${ledger.refreshes[1].from}, and the refresh was ${ledger.refreshes[1].outcome}`)
      assert.equal(ledger.refreshes[1].from, 1, 'the cookie was lost, which is what is tested')
      assert.equal(ledger.refreshes[1].outcome, 'replayed')
      ledger.assertHonest()
    })
  }

  test('D3.4: kill -9 in the middle of a refresh that the server has acted on', async (t) => {
    const { inn } = await arrive(t)
    const folder = await settle(t, inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    let { browser, tab } = await open(t, inn, folder)
    await inn.held(1)
    await browser.kill()
    await inn.abandoned(1)
    await inn.release()

    ;({ browser, tab } = await open(t, inn, folder))
    await tab.ready()
    assert.equal(await tab.status(), 'signed_in')
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 2, rotated: 1, replayed: 1 })
    ledger.assertHonest()
  })

  // Three rotations, of which the disk has seen none: the jar is two generations behind
  // what the server allows to be replayed. That is a refresh too late for the same
  // session, and not a theft.
  test('D3.4: kill -9 after several rotations within seconds: no alarm, and a sign-in at worst', async (t) => {
    const { inn } = await arrive(t)
    const folder = await settle(t, inn)
    let { browser, tab } = await open(t, inn, folder)
    await tab.ready()
    for (let n = 0; n < 2; n++) {
      await expire(inn)
      assert.deepEqual(await tab.calls(1), { 200: 1 })
    }
    await browser.kill()

    ;({ browser, tab } = await open(t, inn, folder))
    await tab.ready()
    const { status, reason } = await tab.session()
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.rotated, 3)
    assert.equal(ledger.sum.reused, 0)
    assert.deepEqual({ status, reason, ends: ledger.ends }, { status: 'signed_out', reason: 'superseded', ends: ['logout'] })
  })
})
