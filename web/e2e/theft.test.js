// A thief with a copy of the refresh token. All tabs learn of it, and nothing that is
// not a theft is ever called one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askLonger, expire, stage } from './stage.js'
import { until } from './until.js'

const { checkIn } = stage()

// use presents a copied token as curl would.
async function use(inn, token, key) {
  const response = await fetch(`${inn.url}/auth/refresh`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json', Cookie: `__Secure-innkeeper-refresh=${token}`, ...key && { 'Idempotency-Key': key },
    },
    body: '{}',
  })
  const { code } = await response.json()
  return { status: response.status, code }
}

const told = async (tab) => {
  assert.equal((await tab.told('theft_detected')).length, 1)
  assert.deepEqual((await tab.told('signed_out')).map(({ reason }) => reason), ['theft'])
}

describe('theft', { concurrency: 2 }, () => {
  for (const key of [undefined, '"a-key-of-the-thief";generation=1']) {
    test(`D3.19: a thief ${key ? 'with a key of its own' : 'without a key'} uses the parent after the owner has: all tabs are told`, async (t) => {
      const { inn, person, tab } = await checkIn(t, { script: askLonger })
      const tabs = [tab, ...await person.tabs(2)]
      await Promise.all(tabs.map((one) => one.ready()))
      const { value: copy } = await person.cookie('refresh')
      await expire(inn)
      assert.deepEqual(await tab.calls(1), { 200: 1 })
      assert.deepEqual(await use(inn, copy, key), { status: 401, code: 'refresh_token_reused' })
      await until('the API to know', async () => (await tab.call()).error === 'signed_out')
      for (const one of tabs) {
        await one.becomes('signed_out')
        await told(one)
      }
      const ledger = await inn.ledger()
      assert.deepEqual(ledger.ends, ['reuse'])
      assert.equal(ledger.sum.reused, 1)
      assert.equal(ledger.sum.ended, 1, 'one tab has asked, the others were told')
    })
  }

  test('D3.19: a thief uses the current token before its owner does: the owner’s next refresh ends it for both', async (t) => {
    const { inn, person, tab } = await checkIn(t, { script: askLonger })
    const other = await person.tab()
    await other.ready()
    const { value: copy } = await person.cookie('refresh')
    assert.equal((await use(inn, copy, '"a-key-of-the-thief";generation=1')).status, 200)
    await expire(inn)
    assert.equal((await tab.call()).error, 'signed_out')
    for (const one of [tab, other]) {
      await one.becomes('signed_out')
      await told(one)
    }
    const ledger = await inn.ledger()
    assert.deepEqual(ledger.ends, ['reuse'])
    assert.equal(ledger.sum.reused, 1)
  })

  test('D3.19: a thief who stays one step behind is caught at the first step', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const { value: copy } = await person.cookie('refresh')
    await expire(inn)
    assert.deepEqual(await tab.calls(1), { 200: 1 })
    assert.equal((await use(inn, copy)).code, 'refresh_token_reused')
    assert.equal((await use(inn, (await person.cookie('refresh')).value)).code, 'session_ended')
    await until('the API to know', async () => (await tab.call()).error === 'signed_out')
    await told(tab)
  })

  test('D3.19: after a theft the person signs in again, and the thief stays out', async (t) => {
    const { inn, person, tab } = await checkIn(t)
    const { value: copy } = await person.cookie('refresh')
    await expire(inn)
    await tab.calls(1)
    await use(inn, copy)
    await until('the API to know', async () => (await tab.call()).error === 'signed_out')
    await tab.signIn('ada')
    assert.deepEqual(await tab.calls(2), { 200: 2 })
    assert.equal((await use(inn, copy)).code, 'session_ended')
    await expire(inn)
    assert.deepEqual(await tab.calls(2), { 200: 2 })
    assert.deepEqual((await inn.ledger()).ends, ['reuse'])
  })
})
