// Away from the network, asleep, frozen.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, stage } from './stage.js'

const { checkIn } = stage()

describe('away', { concurrency: 3 }, () => {
  // The minutes are on the clocks of pages and server; nothing waits for real ones.
  test('D3.9: five tabs offline for longer than a token lives wake up: one refresh', async (t) => {
    const { inn, person, tab } = await checkIn(t, { clock: true, script: askLonger })
    const tabs = [tab, ...await person.tabs(4)]
    await Promise.all(tabs.map((one) => one.ready()))
    await person.pass(11_000) // no younger token is renewed before the API has refused it
    await person.context.setOffline(true)
    await inn.advance('16m')
    await person.setClock(16 * 60_000)
    const away = await Promise.all(tabs.map((one) => one.call()))
    assert.deepEqual(away.map(({ error }) => error), Array(5).fill('refresh_unavailable'))
    assert.deepEqual(await Promise.all(tabs.map((one) => one.status())), Array(5).fill('signed_in'))
    await person.context.setOffline(false)
    await inn.until('the refresh', (ledger) => ledger.sum.rotated === 1)
    for (const one of tabs) await one.page.waitForFunction(() => !client.session.degraded)
    const awake = await Promise.all(tabs.map((one) => one.calls(2)))
    assert.deepEqual(awake, Array(5).fill({ 200: 2 }))
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 1)
    assert.deepEqual(ledger.statuses(), { 200: 10 })
    ledger.assertHonest()
  })

  test('D3.9: five tabs that did not notice the time go by are one refresh as well', async (t) => {
    const { inn, person, tab } = await checkIn(t, { script: askLonger })
    const tabs = [tab, ...await person.tabs(4)]
    await Promise.all(tabs.map((one) => one.ready()))
    await person.context.setOffline(true)
    await expire(inn)
    const away = await Promise.all(tabs.map((one) => one.call()))
    assert.deepEqual(away.map(({ error }) => error), Array(5).fill('TypeError'), 'the network error of the call itself')
    await person.context.setOffline(false)
    const awake = await Promise.all(tabs.map((one) => one.calls(2)))
    assert.deepEqual(awake, Array(5).fill({ 200: 2 }))
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 1)
    ledger.assertHonest()
  })

  test('D3.10: a tab is frozen in the middle of its refresh and keeps the lock: the others go on without', async (t) => {
    const { inn, person, tab: frozen } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    await person.inStep()
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    await frozen.run(() => { window.late = call('/api/mail') })
    await inn.held(1)
    const thaw = await freeze(frozen)
    assert.deepEqual(await other.calls(3), { 200: 3 }) // after the 12 s that it waits for a lock
    await inn.release()
    await thaw()
    assert.equal((await frozen.run(() => window.late)).status, 200)
    await expire(inn)
    assert.deepEqual([await frozen.calls(1), await other.calls(1)], [{ 200: 1 }, { 200: 1 }])
    const ledger = await inn.ledger()
    assert.ok(ledger.sum.replayed >= 1)
    ledger.assertHonest()
  })

  for (const alone of [false, true]) {
    test(`D3.10: a frozen tab has missed two refreshes, and thaws ${alone ? 'when nobody else is there' : 'beside the tab that made them'}`, async (t) => {
      const { inn, person, tab: frozen } = await checkIn(t)
      const other = await person.tab()
      await other.ready()
      const thaw = await freeze(frozen)
      for (let n = 0; n < 2; n++) {
        await expire(inn)
        assert.deepEqual(await other.calls(1), { 200: 1 })
      }
      if (alone) await other.page.close()
      if (alone) await expire(inn)
      const before = await inn.ledger()
      await thaw()
      assert.deepEqual(await frozen.calls(3), { 200: 3 })
      const ledger = await inn.ledger()
      assert.equal(ledger.since(before).sum.requests, alone ? 1 : 0)
      ledger.assertHonest()
    })
  }
})

// freeze does to a tab what Chromium does to save power, and returns what undoes it.
async function freeze({ page }) {
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
  return () => devtools.send('Page.setWebLifecycleState', { state: 'active' })
}
