// On a server, which has no page: importing touches nothing, and nothing is refreshed.
import assert from 'node:assert/strict'
import { test } from 'node:test'

test('a client on a server stays unknown', async () => {
  const names = Object.getOwnPropertyNames(globalThis)
  const { createClient } = await import('../client.js')
  const client = createClient({ url: 'https://auth.example.com', fetch: () => assert.fail('a request') })
  assert.equal(client.session.status, 'unknown')
  assert.equal(client.session, createClient().session, 'one constant')
  client.subscribe(() => assert.fail('an event'))()
  for (const wait of [() => client.getToken(), () => client.ready(), () => client.signIn({ username: 'a', password: 'b' })]) {
    await assert.rejects(wait, { code: 'closed' })
  }
  client.close()
  assert.deepEqual(Object.getOwnPropertyNames(globalThis), names)
})
