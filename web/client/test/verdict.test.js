// What an answer means: every line of the table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asksForRenewal, brings, isDead, isSilent, reasonOf, step } from '../client/verdict.js'

const tokens = { access_token: 'a', expires_in: 900, session: { id: 's', generation: 2 }, user: { id: 'u' } }
const answer = (status, body = null, retryAfter = 0) => ({ status, body, code: body?.code, retryAfter, since: { steady: 0, wall: 0 } })
const problem = (status, code, more) => answer(status, { code, ...more })
const still = { moved: false, held: true }
const moved = { moved: true, held: true }
const fresh = () => ({ superseded: 0 })

test('an answer brings tokens only if it has all of them', () => {
  assert.ok(brings(answer(200, tokens)))
  assert.ok(brings(answer(201, tokens)))
  for (const missing of Object.keys(tokens)) assert.ok(!brings(answer(200, { ...tokens, [missing]: undefined })), missing)
  assert.ok(!brings(answer(200, { ...tokens, expires_in: 0 })))
  for (const other of [answer(0), answer(200), answer(200, 'hello'), answer(200, []), answer(401, tokens), answer(302, tokens)]) assert.ok(!brings(other))
})

test('only the codes of the server that say so end a session', () => {
  for (const code of ['refresh_token_missing', 'refresh_token_invalid', 'refresh_token_expired', 'refresh_token_reused', 'session_ended', 'invalid_grant']) {
    assert.equal(step(problem(401, code), fresh(), still).to, 'end', code)
    assert.ok(isDead(problem(400, code)))
    for (const status of [200, 403, 404, 409, 429, 500, 503]) assert.equal(step(problem(status, code), fresh(), still).to, 'fail', `${status} ${code}`)
  }
  const harmless = [
    answer(0), answer(200), answer(200, { hello: 'portal' }), answer(204), answer(302), answer(401), answer(401, { error: 'login' }), answer(408), answer(425), answer(429), answer(500),
    answer(502), answer(503), problem(401, 'access_token_expired'), problem(403, 'cross_site_request'), problem(401, 'session_ended_soon'), problem(401, 'x_refresh_token_reused'),
    problem(400, 'invalid_request'), problem(503, 'unavailable'), problem(429, 'too_many_attempts'), problem(418, 'new_code'),
  ]
  for (const other of harmless) assert.equal(step(other, fresh(), still).to, 'fail', JSON.stringify(other))
})

test('a session does not end before a second look', () => {
  const memory = fresh()
  memory.named = 3
  assert.deepEqual(step(problem(401, 'session_ended'), memory, moved), { to: 'again', wait: 0 })
  assert.equal(memory.named, undefined)
  assert.equal(step(problem(401, 'session_ended'), memory, moved).to, 'end', 'but before a third')
})

test('a wrong hint is corrected once', () => {
  const memory = fresh()
  assert.deepEqual(step(problem(409, 'refresh_generation_mismatch', { generation: 4 }), memory, still), { to: 'again', wait: 0 })
  assert.equal(memory.named, 4)
  assert.equal(step(problem(409, 'refresh_generation_mismatch', { generation: 4 }), memory, still).to, 'fail', 'the same again is no progress')
})

test('superseded: look again, then leave for good', () => {
  assert.equal(step(problem(409, 'refresh_superseded'), fresh(), { moved: false, held: false }).wait, 10_000, 'without the lock, later')
  const memory = fresh()
  assert.deepEqual(step(problem(409, 'refresh_superseded'), memory, still), { to: 'again', wait: 0 })
  assert.equal(step(problem(409, 'refresh_superseded'), memory, moved).to, 'again', 'the jar has moved: it deserves another try')
  assert.deepEqual(step(problem(409, 'refresh_superseded'), memory, still), { to: 'end', wait: 0, reason: 'superseded', logout: true })
})

test('no answer waits as long as the server says', () => {
  assert.deepEqual(step(answer(503, null, 7000), fresh(), still), { to: 'fail', wait: 7000 })
})

test('why a session is over', () => {
  const reasons = {
    theft: [problem(401, 'refresh_token_reused'), problem(401, 'session_ended', { reason: 'reuse' })],
    expired: [problem(401, 'refresh_token_expired'), problem(401, 'session_ended', { reason: 'expired' })],
    other_tab: [problem(401, 'refresh_token_missing')],
    revoked: [problem(401, 'refresh_token_invalid'), problem(401, 'invalid_grant'),
      ...['logout', 'logout_everywhere', 'password_changed', 'admin', 'user_disabled', 'replaced', 'restored', undefined].map((reason) => problem(401, 'session_ended', { reason }))],
  }
  for (const [reason, answers] of Object.entries(reasons)) for (const each of answers) assert.equal(reasonOf(each), reason, JSON.stringify(each))
})

test('who has not spoken has not refused', () => {
  for (const silent of [answer(0), answer(408), answer(502, { code: 'x' }), answer(503, { code: 'unavailable' }), answer(200), answer(401, { error: 'x' })]) assert.ok(isSilent(silent))
  for (const spoken of [problem(401, 'invalid_credentials'), problem(409, 'username_taken'), problem(422, 'password_rejected'), problem(429, 'too_many_attempts')]) assert.ok(!isSilent(spoken))
})

test('which challenges ask for a new token', () => {
  const yes = [
    'Bearer error="invalid_token"', 'Bearer realm="innkeeper", error="invalid_token", error_description="expired"', 'bearer error=invalid_token',
    'Basic realm="x", Bearer error="invalid_token"', 'Bearer realm="a, b \\" c", error="invalid_token"', 'DPoP error="use_dpop_nonce", Bearer realm="x" , error="invalid_token"',
    'Negotiate, Bearer error = "invalid_token"',
  ]
  const no = [
    null, '', 'Bearer', 'Bearer realm="innkeeper"', 'Bearer error="insufficient_scope"', 'Bearer error="insufficient_user_authentication", max_age=60',
    'DPoP error="invalid_token"', 'Bearer realm="x", DPoP error="invalid_token"', 'Bearer realm="error=\\"invalid_token\\""', 'Bearer error="invalid_tokens"', 'NotBearer error="invalid_token"',
    'Bearer error_description="error=invalid_token"', 'Basic realm="Bearer error=invalid_token"',
  ]
  for (const header of yes) assert.ok(asksForRenewal(header), header)
  for (const header of no) assert.ok(!asksForRenewal(header), String(header))
})
