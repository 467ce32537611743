// Who may see the token.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allowing } from '../client/origins.js'

const page = 'https://app.example.com'
const allowed = (entries, url) => allowing(entries, page)(new URL(url, page))

test('the page’s own origin, and no other', () => {
  assert.ok(allowed([page], '/api/mail'))
  assert.ok(allowed([page], 'https://app.example.com/api'))
  assert.ok(allowed([page], 'https://app.example.com:443/api'))
  for (const url of ['https://evil.example/', '//evil.example/api', 'https://app.example.com.evil.example/', 'https://app.example.com@evil.example/', 'http://app.example.com/',
    'https://app.example.com:8443/', 'https://api.example.com/', 'data:text/plain,x', 'blob:https://app.example.com/1']) assert.ok(!allowed([page], url), url)
})

test('a path is a prefix of whole segments', () => {
  const entries = ['https://api.example.com/v1']
  for (const url of ['https://api.example.com/v1', 'https://api.example.com/v1/mail', 'https://api.example.com/v1?x']) assert.ok(allowed(entries, url), url)
  for (const url of ['https://api.example.com/v10', 'https://api.example.com/', 'https://api.example.com/v1/../v2', 'https://api.example.com/V1']) assert.ok(!allowed(entries, url), url)
  assert.ok(allowed(['/api/'], '/api/mail'), 'an entry may be relative')
})

test('http only to this machine', () => {
  for (const origin of ['http://localhost:8080', 'http://127.0.0.1:1', 'http://[::1]:8080', 'http://app.localhost']) assert.ok(allowed([origin], `${origin}/x`), origin)
  for (const origin of ['http://api.example.com', 'http://127.0.0.1.evil.example', 'http://localhost.evil.example', 'http://192.168.0.1']) assert.ok(!allowed([origin], `${origin}/x`), origin)
})
