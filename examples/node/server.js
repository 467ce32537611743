// A small API in Node that takes Innkeeper's access tokens.
//
//   ISSUER=http://localhost:8080 npm start
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { Refusal, verifier } from './innkeeper.js'

const routes = {
  'GET /me': { do: (claims) => ({ subject: claims.sub, username: claims.username }) },
  'GET /mail': { permission: 'mail:read', do: () => ['hello'] },
  'GET /admin': { role: 'admin', do: () => 'the keys to everything' },
  'POST /transfer': { maxAge: 600, do: () => 'sent' }, // seconds since the password was typed
}

export const newServer = ({ verify }) => createServer(async (request, response) => {
  const send = (status, body, headers = {}) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
  try {
    const route = routes[`${request.method} ${request.url.split('?', 1)[0]}`]
    if (!route) return send(404, { code: 'not_found' })
    const claims = await verify(request.headers.authorization)
    const lacks = (list, name) => name !== undefined && !(list ?? []).includes(name)
    if (lacks(claims.roles, route.role) || lacks(claims.permissions, route.permission)) {
      throw new Refusal(403, 'forbidden', 'Bearer error="insufficient_scope"')
    }
    if (Date.now() / 1000 - claims.auth_time > route.maxAge) { // RFC 9470
      throw new Refusal(401, 'recent_auth_required', `Bearer error="insufficient_user_authentication", max_age=${route.maxAge}`)
    }
    send(200, route.do(claims))
  } catch (error) {
    const { status, code, challenge } = error instanceof Refusal ? error : new Refusal(500, 'internal')
    const header = challenge ? { 'WWW-Authenticate': challenge } : { 'Retry-After': '2' }
    send(status, { status, code }, { ...header, 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' })
  }
})

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  newServer(verifier({ issuer: process.env.ISSUER, audience: process.env.AUDIENCE })).listen(8081, 'localhost')
}
