// Signing out, and signing in as somebody else, while other things are under way.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, stage } from './stage.js'
import { password } from './person.js'
import { until } from './until.js'

const { checkIn } = stage()

const once = async (tab, reason) => assert.deepEqual((await tab.told('signed_out')).map((event) => event.reason), [reason])

describe('signing out', { concurrency: 2 }, () => {
  test('a sign-out in one tab is one in all, and the session has ended on the server', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const others = await person.tabs(2)
    await Promise.all(others.map((one) => one.ready()))
    await tab.signOut()
    for (const one of others) await one.becomes('signed_out')
    await once(tab, 'user')
    for (const one of others) await once(one, 'other_tab')
    assert.equal(await person.cookie('refresh'), undefined)
    assert.equal(await person.cookie('hint'), undefined)
    const ledger = await inn.ledger()
    assert.equal(ledger.asked('/auth/logout'), 1)
    ledger.assertHonest('logout')
  })

  for (const hold of ['before', 'after']) {
    test(`D3.12: sign-out in A while B refreshes, ${hold} the server has acted on that`, async (t) => {
      const { inn, person, tab: a } = await checkIn(t, { script: askLonger })
      const b = await person.tab()
      await b.ready()
      await person.inStep()
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', hold, times: 1 })
      const refreshing = b.call()
      await inn.held(1)
      await a.signOut()
      await inn.abandoned(1)
      await inn.release() // now the refresh gets through, or its answer
      assert.equal((await refreshing).error, 'signed_out')
      await inn.until('the late refresh', (ledger) => ledger.refreshes.length === 1)
      await b.becomes('signed_out')
      await once(a, 'user')
      await once(b, 'other_tab')
      // Whatever cookie the late answer may have brought opens nothing.
      await a.reload()
      await a.ready()
      assert.equal(await a.status(), 'signed_out')
      const ledger = await inn.ledger()
      assert.equal(ledger.statuses()[200], undefined)
      ledger.assertHonest('logout')
    })
  }

  test('D3.12: sign-out while the same tab refreshes', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    await expire(inn)
    await inn.faults({ path: '/auth/refresh', hold: 'after', times: 1 })
    await tab.run(() => { window.late = call('/api/mail') })
    await inn.held(1)
    await tab.signOut()
    await inn.release()
    assert.equal((await tab.run(() => late)).error, 'signed_out')
    await once(tab, 'user')
    assert.equal(await person.cookie('refresh'), undefined)
    ;(await inn.ledger()).assertHonest('logout')
  })

  test('D3.12: sign-out without a network, then a reload: the server is told before anything else', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    await person.context.setOffline(true)
    await tab.signOut()
    assert.equal(await tab.status(), 'signed_out')
    assert.deepEqual((await inn.ledger()).logouts, [])
    await tab.page.close() // before it could notice that the network is back
    await person.context.setOffline(false)
    const next = await person.tab()
    await next.ready()
    assert.equal(await next.status(), 'signed_out')
    await inn.until('the sign-out', (ledger) => ledger.ends.length === 1)
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 0, 'no refresh has brought the session back')
    assert.deepEqual(ledger.logouts.map(({ scope, status }) => ({ scope, status })), [{ scope: 'this', status: 204 }])
    await until('the cookies to go', async () => !await person.cookie('refresh'))
    ledger.assertHonest('logout')
  })

  test('D3.12: sign-out without a network in a tab that stays: the server is told when it is back', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    const before = await inn.ledger()
    await person.context.setOffline(true)
    await tab.signOut()
    await other.becomes('signed_out')
    await person.context.setOffline(false)
    await inn.until('the sign-out', (ledger) => ledger.ends.length === 1)
    const ledger = await inn.ledger()
    assert.equal(ledger.since(before).sum.requests, 0)
    ledger.assertHonest('logout')
  })

  test('D3.12: a sign-out whose answers are lost ends the session all the same', async (t) => {
    const { inn, tab } = await checkIn(t)
    await inn.faults({ path: '/auth/logout', end: 'reset', times: 5 })
    await tab.signOut()
    await tab.reload()
    await tab.ready()
    assert.equal(await tab.status(), 'signed_out')
    await inn.until('the sign-out to be answered', (ledger) => ledger.asked('/auth/logout') > 5)
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.requests, 0)
    ledger.assertHonest('logout')
  })

  test('D3.12: sign-out everywhere ends the other device as well', async (t) => {
    const { inn, tab } = await checkIn(t)
    const phone = await tab.person.elsewhere()
    t.after(() => phone.close())
    const far = await phone.tab()
    await far.signIn('ada')
    await tab.signOut({ scope: 'everywhere' })
    await until('the API to know', async () => (await far.call()).error === 'signed_out')
    await once(far, 'revoked')
    assert.equal((await inn.ledger()).sum.reused, 0)
  })

  test('D3.12: sign-out of the others leaves this one signed in', async (t) => {
    const { inn, tab } = await checkIn(t)
    const phone = await tab.person.elsewhere()
    t.after(() => phone.close())
    const far = await phone.tab()
    await far.signIn('ada')
    await tab.signOut({ scope: 'others' })
    await until('the API to know', async () => (await far.call()).error === 'signed_out')
    assert.deepEqual(await tab.calls(3), { 200: 3 })
    assert.equal(await tab.status(), 'signed_in')
    assert.equal((await inn.ledger()).sum.reused, 0)
  })
})

describe('signing in as somebody else', { concurrency: 2 }, () => {
  for (const method of ['POST', 'GET']) {
    test(`D3.12: "bob" signs in in B while A has queued a ${method} as "ada": A never sends it as "bob"`, async (t) => {
      const { inn, person, tab: a } = await checkIn(t)
      const b = await person.tab()
      await b.ready()
      await person.inStep()
      await expire(inn)
      await inn.faults({ path: '/auth/refresh', hold: 'before', times: 1 })
      const queued = a.call('/api/echo', { method, body: method === 'POST' ? 'from ada' : undefined })
      await inn.held(1)
      await b.signUp('bob')
      await inn.release()
      const { error, status } = await queued
      await inn.until('the late refresh', (ledger) => ledger.refreshes.length >= 1)
      await until('A to know bob', async () => (await a.session()).user?.username === 'bob')
      assert.deepEqual([await a.calls(1), await b.calls(1)], [{ 200: 1 }, { 200: 1 }])
      const ledger = await inn.ledger()
      const echoes = ledger.calls.filter(({ path }) => path === '/api/echo')
      if (status === 200) { // interrupted, A has tried again at once and was ahead of bob: then ada's call was served as ada's
        assert.deepEqual(echoes.map(({ status, user }) => [status, user]), [[401, ''], [200, 'ada']])
        assert.ok(echoes[1].seq < ledger.events.find(({ reason }) => reason === 'replaced').seq, 'and before the end of her session')
      } else {
        assert.ok(error === 'user_changed' || error === 'signed_out', `the call ended with ${error ?? status}`)
        assert.deepEqual(echoes.map(({ status }) => status), [401])
      }
      assert.deepEqual(ledger.calls.filter(({ status, path }) => status === 200 && path !== '/api/echo').map(({ user }) => user), ['bob', 'bob'])
      ledger.assertHonest('replaced')
    })
  }

  test('D3.12: a call that learns of its dead token after "bob" has signed in is not sent again', async (t) => {
    const { inn, person, tab: a } = await checkIn(t)
    const b = await person.tab()
    await b.ready()
    // The call is on its way when bob signs in: the API sees ada's token, which has just been revoked.
    await a.run(() => {
      const { fetch } = window
      window.go = new Promise((resolve) => { window.let = resolve })
      Object.assign(window, { slowly: async (...request) => { await go; return fetch(...request) } })
    })
    await a.run(() => {
      const slow = innkeeper.createClient({ fetch: slowly })
      window.late = slow.fetch('/api/echo', { method: 'POST', body: 'from ada' }).then(({ status }) => ({ status }), ({ code }) => ({ error: code }))
    })
    await b.signUp('bob')
    await until('A to know bob', async () => (await a.session()).user?.username === 'bob')
    await a.run(() => window.let())
    const late = await a.run(() => window.late)
    assert.ok(late.error === 'user_changed' || late.status === 401, `the call ended with ${JSON.stringify(late)}`)
    const { calls } = await inn.ledger()
    assert.deepEqual(calls.filter(({ user }) => user === 'bob'), [])
  })

  test('a change of password ends all sessions and this tab goes on with a new one', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const other = await person.tab()
    await other.ready()
    await tab.run((password) => client.changePassword({ currentPassword: password, newPassword: 'tr0ub4dor and three more' }), password)
    assert.deepEqual(await tab.calls(2), { 200: 2 })
    await until('the other tab to follow', async () => (await other.call()).status === 200)
    const ledger = await inn.ledger()
    assert.equal(ledger.sum.reused, 0)
    assert.equal(new Set(ledger.calls.filter(({ status }) => status === 200).map(({ session }) => session)).size, 1)
  })
})
