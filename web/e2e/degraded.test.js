// Browsers in which something is missing, or throws when it is touched. Less is shared
// then and more is asked; nobody is signed out for it.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnBrowser } from './browser.js'
import { Person } from './person.js'
import { askLonger, expire, stage } from './stage.js'
import { until } from './until.js'

const { arrive, checkIn } = stage()

// What befalls the page before any of its own code runs.
const without = {
  'no Web Locks': () => { Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }) },
  'no BroadcastChannel': () => { delete window.BroadcastChannel },
  'a BroadcastChannel that throws': () => { window.BroadcastChannel = class { constructor() { throw new DOMException('denied', 'SecurityError') } } },
  'no IndexedDB': () => { Object.defineProperty(window, 'indexedDB', { value: undefined }) },
  'an IndexedDB that throws': () => {
    Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('denied', 'SecurityError') } })
  },
  'an IndexedDB that never answers': () => { IDBFactory.prototype.open = () => ({}) },
  'a localStorage that throws': () => {
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError') } })
    }
  },
  'a localStorage that is full': () => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') } },
}

// How many requests two tabs may need for one refresh: where they cannot hand the token
// over, one each.
const each = /BroadcastChannel/

describe('a browser with', { concurrency: 3 }, () => {
  for (const [name, script] of Object.entries(without)) {
    const forgetful = /never answers/.test(name) && 'a key of its own in each tab'
    test(`D3.18: ${name}`, async (t) => await live(t, script, each.test(name) ? 2 : 1, forgetful))
  }

  test('D3.18: nothing of all that', async (t) => {
    await live(t, () => {
      Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })
      delete window.BroadcastChannel
      for (const name of ['indexedDB', 'localStorage', 'sessionStorage']) {
        Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError') } })
      }
    }, 2, 'keys live as long as the page')
  })
})

// live goes through a day of two tabs: sign up, expire, reload, a lost answer, sign out.
async function live(t, script, requests, forgetful) {
  const { inn, person, tab } = await checkIn(t, { script })
  const other = await person.tab()
  await other.ready()
  assert.equal(await other.status(), 'signed_in')
  if (requests === 1) await person.inStep()
  await expire(inn)
  let before = await inn.ledger()
  const counts = [await tab.calls(3), await other.calls(3)]
  assert.deepEqual(counts, [{ 200: 3 }, { 200: 3 }])
  assert.ok((await inn.ledger()).since(before).sum.requests <= requests)

  await tab.reload()
  await tab.ready()
  assert.equal(await tab.status(), 'signed_in')
  await expire(inn)
  await inn.faults({ path: '/auth/refresh', end: 'reset', times: 1 })
  before = await inn.ledger()
  assert.deepEqual(await tab.calls(3), { 200: 3 })
  const { sum } = (await inn.ledger()).since(before)
  assert.deepEqual(sum, { ...sum, requests: 2, rotated: 1, replayed: 1 })

  if (!forgetful) { // both at once, as ever
    if (requests === 1) await person.inStep()
    await expire(inn)
    assert.deepEqual(await Promise.all([tab.calls(3), other.calls(3)]), [{ 200: 3 }, { 200: 3 }])
  }
  await tab.signOut()
  await until('the other tab to notice', async () => {
    await other.call()
    return await other.status() === 'signed_out'
  })
  ;(await inn.ledger()).assertHonest('logout')
}

describe('an IndexedDB that is slow', () => {
  test('D3.18: a key that another tab has stored is waited for, and no other one is made up', async (t) => {
    const { inn, person, tab } = await checkIn(t, { script: askLonger })
    const [slow, busy] = await person.tabs(2)
    await Promise.all([slow, busy].map((one) => one.ready()))
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    tab.calls(1).catch(() => {})
    await inn.held(1) // the server has acted, with the key that this tab has stored
    // Something else has the database to itself for a while, as a slow disk does.
    await busy.run(() => new Promise((begun) => {
      indexedDB.open('innkeeper').onsuccess = ({ target: { result } }) => {
        const keys = result.transaction(result.objectStoreNames, 'readwrite').objectStore(result.objectStoreNames[0])
        const end = performance.now() + 4_000
        const goOn = () => { if (performance.now() < end) keys.count().onsuccess = goOn }
        keys.count().onsuccess = () => { goOn(); begun() }
      }
    }))
    await tab.page.close()
    await inn.abandoned(1)
    assert.deepEqual(await slow.calls(2), { 200: 2 })
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.sum, { ...ledger.sum, requests: 2, rotated: 1, replayed: 1 })
    ledger.assertHonest()
  })
})

describe('cookies that are blocked', { concurrency: 2 }, () => {
  test('D3.18: a server whose cookies are thrown away is found out, and not asked again and again', async (t) => {
    const { inn, person } = await arrive(t)
    const tab = await person.tab()
    await inn.faults({ path: '/auth/signup', end: 'no-cookies' })
    await tab.signUp('ada')
    await foundOut(inn, tab)
  })

  test('D3.18: a browser that blocks all cookies, and storage with them', async (t) => {
    const { inn } = await arrive(t)
    const folder = await mkdtemp(join(tmpdir(), 'innkeeper-e2e-'))
    t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
    await mkdir(join(folder, 'Default'))
    await writeFile(join(folder, 'Default', 'Preferences'), JSON.stringify({
      profile: { default_content_setting_values: { cookies: 2 } },
    }))
    const browser = await spawnBrowser(t, folder)
    const person = new Person(browser.context, inn)
    const tab = await person.tab()
    assert.equal(await tab.run(() => { try { return localStorage.length } catch (error) { return error.name } }), 'SecurityError')
    await tab.signUp('ada')
    assert.deepEqual(await person.context.cookies(), [])
    await foundOut(inn, tab)
    assert.deepEqual(person.complaints, [])
  })
})

// foundOut uses a session that has no cookie, and looks what the server hears of it.
async function foundOut(inn, tab) {
  assert.deepEqual(await tab.calls(3), { 200: 3 }) // the access token is good
  await expire(inn)
  for (let n = 0; n < 5; n++) await tab.calls(3)
  assert.equal(await tab.status(), 'signed_out')
  assert.deepEqual((await tab.told('signed_out')).map(({ reason }) => reason), ['cookies_blocked'])
  const ledger = await inn.ledger()
  assert.ok(ledger.sum.requests <= 2, `${ledger.sum.requests} refreshes`)
  ledger.assertHonest()
}
