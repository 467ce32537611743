// Clients and resource servers in Node, unmodified, against the server at $INTEROP_ISSUER,
// whose certificate is of an authority that only $NODE_EXTRA_CA_CERTS names. Run by
// ../node_test.go. The numbers are those of the checklist in docs/oauth.md.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent } from 'node:https'
import { after, before, describe, test } from 'node:test'
import express from 'express'
import { auth } from 'express-oauth2-jwt-bearer'
import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { INTEROP_ISSUER: ISSUER, INTEROP_AUDIENCE: AUDIENCE, INTEROP_ALG: ALG, INTEROP_PASSWORD: PASSWORD } = process.env
const { INTEROP_SERVICE: SERVICE, INTEROP_SECRET: SECRET } = process.env
const jwksUri = `${ISSUER}/.well-known/jwks.json`

async function signIn() {
  const answer = await fetch(`${ISSUER}/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ username: 'ada', password: PASSWORD, delivery: 'body' }),
  })
  assert.equal(answer.status, 200)
  return answer.json()
}

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

// bad returns tokens that no resource server may accept.
function bad({ access_token: token, refresh_token: refreshToken }) {
  const [head, payload, signature] = token.split('.')
  const { kid } = JSON.parse(Buffer.from(head, 'base64url'))
  return {
    'a refresh token': refreshToken,
    'no signature': `${head}.${payload}.`,
    'another signature': `${head}.${payload}.${'A'.repeat(signature.length)}`,
    'alg none': `${base64({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
    'an unknown key': `${base64({ alg: ALG, typ: 'at+jwt', kid: `${kid}x` })}.${payload}.${signature}`,
    'another user': `${head}.${base64({ ...JSON.parse(Buffer.from(payload, 'base64url')), sub: 'eve' })}.${signature}`,
  }
}

test('without the authority the server is not trusted', async () => {
  // That it is trusted at all comes from NODE_EXTRA_CA_CERTS.
  const { rootCertificates, connect } = await import('node:tls')
  const { hostname, port } = new URL(ISSUER)
  const socket = connect({ host: hostname, port, ca: rootCertificates })
  const [error] = await once(socket, 'error')
  assert.match(error.code, /SELF_SIGNED|UNABLE_TO/)
})

describe('oauth4webapi', () => {
  const app = { client_id: 'innkeeper' }
  const service = { client_id: SERVICE }
  let as
  before(async () => {
    const issuer = new URL(ISSUER)
    // O1, O2, D1 to D3
    as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }))
    assert.equal(as.issuer, ISSUER) // D2: to the byte, as in tokens
    assert.deepEqual(as.grant_types_supported, ['refresh_token'])
  })

  test('refresh, public and confidential (O3, O4)', async () => {
    let { refresh_token: refreshToken, session } = await signIn()
    for (const [who, how] of [
      [app, oauth.None()], [service, oauth.ClientSecretBasic(SECRET)], [service, oauth.ClientSecretPost(SECRET)], [app, oauth.None()],
    ]) {
      const answer = await oauth.refreshTokenGrantRequest(as, who, how, refreshToken)
      const tokens = await oauth.processRefreshTokenResponse(as, who, answer)
      assert.equal(tokens.token_type, 'bearer')
      assert.equal(tokens.expires_in, 900)
      assert.equal(jose.decodeJwt(tokens.access_token).sid, session.id)
      refreshToken = tokens.refresh_token
    }
  })

  test('the key of a retry is a header', async () => {
    const { refresh_token: refreshToken } = await signIn()
    const refresh = async (key) => oauth.processRefreshTokenResponse(as, app,
      await oauth.refreshTokenGrantRequest(as, app, oauth.None(), refreshToken, { headers: { 'Idempotency-Key': key } }))
    const [first, again] = [await refresh('"0123456789abcdef"'), await refresh('"0123456789abcdef"')]
    assert.equal(again.refresh_token, first.refresh_token)
    await assert.rejects(refresh('"another89abcdef0"'), (error) => error.error === 'invalid_grant')
  })

  test('errors are read (O5, T8 to T11)', async () => {
    const { refresh_token: refreshToken } = await signIn()
    const refused = async (who, how, token, options) => {
      const answer = await oauth.refreshTokenGrantRequest(as, who, how, token, options)
      return oauth.processRefreshTokenResponse(as, who, answer).then(() => assert.fail('accepted'), (error) => error)
    }
    const code = async (...args) => {
      const error = await refused(...args)
      assert.ok(error instanceof oauth.ResponseBodyError, error)
      return `${error.status} ${error.error}`
    }
    assert.equal(await code(app, oauth.None(), 'garbage'), '400 invalid_grant')
    assert.equal(await code(app, oauth.None(), refreshToken, { additionalParameters: { scope: 'mail:read' } }), '400 invalid_scope')
    assert.equal(await code({ client_id: 'stranger' }, oauth.None(), refreshToken), '400 invalid_client')
    assert.equal(await code(service, oauth.ClientSecretPost('wrong'), refreshToken), '400 invalid_client')
    const challenged = await refused(service, oauth.ClientSecretBasic('wrong'), refreshToken)
    assert.ok(challenged instanceof oauth.WWWAuthenticateChallengeError, challenged)
    assert.equal(challenged.status, 401)
    assert.equal(challenged.cause[0].scheme, 'basic')
    // T14: after all that the token is as good as new.
    await oauth.processRefreshTokenResponse(as, app, await oauth.refreshTokenGrantRequest(as, app, oauth.None(), refreshToken))
    // T24
    const password = await oauth.genericTokenEndpointRequest(as, app, oauth.None(), 'password', { username: 'ada', password: PASSWORD })
    await assert.rejects(oauth.processGenericTokenEndpointResponse(as, app, password), (error) => error.error === 'unsupported_grant_type')
  })

  test('introspection and revocation (O6, O7, V1 to V8, I1 to I6)', async () => {
    const { access_token: accessToken, refresh_token: refreshToken, user } = await signIn()
    const ask = async (token, hint) => oauth.processIntrospectionResponse(as, service,
      await oauth.introspectionRequest(as, service, oauth.ClientSecretBasic(SECRET), token, { additionalParameters: hint && { token_type_hint: hint } }))
    const access = await ask(accessToken)
    assert.equal(access.active, true)
    assert.equal(access.sub, user.id)
    assert.equal(access.token_type, 'Bearer')
    assert.equal((await ask(refreshToken, 'access_token')).active, true)
    for (const token of [accessToken, refreshToken, 'garbage']) {
      await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), token))
    }
    assert.deepEqual(await ask(accessToken), { active: false })
    assert.deepEqual(await ask(refreshToken), { active: false })
    await assert.rejects(async () => oauth.processIntrospectionResponse(as, app,
      await oauth.introspectionRequest(as, app, oauth.None(), accessToken)), oauth.WWWAuthenticateChallengeError)
  })

  test('validateJwtAccessToken (O8, O9)', async () => {
    const session = await signIn()
    const validate = (token, audience = AUDIENCE) => oauth.validateJwtAccessToken(as,
      new Request('https://api.example.com/', { headers: { Authorization: `Bearer ${token}` } }), audience)
    const claims = await validate(session.access_token)
    assert.equal(claims.sub, session.user.id)
    assert.equal(claims.client_id, 'innkeeper')
    assert.equal(claims.iss, ISSUER)
    assert.deepEqual(claims.permissions, ['mail:read'])
    await assert.rejects(validate(session.access_token, 'https://other.example.com'))
    for (const [name, token] of Object.entries(bad(session))) await assert.rejects(validate(token), undefined, name)
  })
})

test('openid-client', async () => {
  const session = await signIn()
  const app = await client.discovery(new URL(ISSUER), 'innkeeper', undefined, client.None(), { algorithm: 'oauth2' })
  const service = await client.discovery(new URL(ISSUER), SERVICE, undefined, client.ClientSecretPost(SECRET), { algorithm: 'oauth2' })
  assert.equal(app.serverMetadata().issuer, ISSUER)
  const first = await client.refreshTokenGrant(app, session.refresh_token)
  const second = await client.refreshTokenGrant(service, first.refresh_token)
  assert.equal(jose.decodeJwt(second.access_token).sid, session.session.id)
  const me = await client.fetchProtectedResource(app, second.access_token, new URL(`${ISSUER}/auth/me`), 'GET')
  assert.equal((await me.json()).user.username, 'ada')
  assert.equal((await client.tokenIntrospection(service, second.refresh_token)).active, true)
  await client.tokenRevocation(app, second.refresh_token)
  assert.deepEqual(await client.tokenIntrospection(service, second.refresh_token), { active: false })
  await assert.rejects(client.refreshTokenGrant(app, second.refresh_token), (error) => error.error === 'invalid_grant')
  await assert.rejects(client.fetchProtectedResource(app, second.access_token, new URL(`${ISSUER}/auth/me`), 'GET'), client.WWWAuthenticateChallengeError)
})

test('jose, with createRemoteJWKSet (D4 to D7)', async () => {
  const session = await signIn()
  const keys = jose.createRemoteJWKSet(new URL(jwksUri))
  const verify = (token, audience = AUDIENCE) => jose.jwtVerify(token, keys, { issuer: ISSUER, audience, typ: 'at+jwt', algorithms: [ALG] })
  const { payload } = await verify(session.access_token)
  assert.equal(payload.sub, session.user.id)
  await assert.rejects(verify(session.access_token, 'https://other.example.com'))
  for (const [name, token] of Object.entries(bad(session))) await assert.rejects(verify(token), undefined, name)
  for (const jwk of keys.jwks().keys) { // D4, D5
    assert.equal(jwk.kid, await jose.calculateJwkThumbprint(jwk))
    assert.equal(jwk.use, 'sig')
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) assert.ok(!(secret in jwk), secret)
  }
})

describe('express-oauth2-jwt-bearer', () => {
  const servers = []
  // It asks for /.well-known/openid-configuration too, and never reads the 404, which
  // keeps a connection open, and with it a process that wants to end.
  const agent = new Agent()
  after(() => {
    agent.destroy()
    for (const server of servers) { server.closeAllConnections(); server.close() }
  })

  async function api(options) {
    const app = express()
    app.use(auth({ audience: AUDIENCE, agent, ...options }))
    app.get('/', (req, res) => { res.json(req.auth.payload) })
    app.use((error, _req, res, _next) => { res.status(error.status ?? 500).json({ error: error.code ?? error.message }) })
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    servers.push(server)
    return async (token) => {
      const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { Authorization: `Bearer ${token}` } })
      return { status: answer.status, body: await answer.json() }
    }
  }

  for (const strict of [false, true]) {
    for (const [how, options] of Object.entries({
      'by discovery': { issuerBaseURL: ISSUER },
      'with the address of the keys': { issuer: ISSUER, jwksUri, tokenSigningAlg: ALG },
    })) {
      test(`${strict ? 'strict' : 'not strict'}, ${how}`, async () => {
        const session = await signIn()
        const call = await api({ ...options, strict })
        const { status, body } = await call(session.access_token)
        assert.equal(status, 200, JSON.stringify(body))
        assert.equal(body.sub, session.user.id)
        for (const [name, token] of Object.entries(bad(session))) {
          assert.equal((await call(token)).status, 401, name)
        }
        const other = await api({ ...options, strict, audience: 'https://other.example.com' })
        assert.equal((await other(session.access_token)).status, 401)
      })
    }
  }
})
