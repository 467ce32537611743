// People with a browser: tabs of the app, and what they do in them.
import assert from 'node:assert/strict'
import { until } from './until.js'

export const password = 'correct horse battery staple'

// visit opens a browser context at an inn. `options` go to the client of every tab.
// `clock` lets the clock on the wall be set: it has to be in place before a page is,
// or the monotonic clock of that page would jump back.
export async function visit(browser, inn, { options = {}, script, clock, origin = inn.app || inn.url } = {}) {
  const context = await browser.newContext({ serviceWorkers: 'block' })
  if (clock) await context.clock.install()
  if (script) await context.addInitScript(script)
  return new Person(context, inn, origin, inn.app ? { url: inn.url, allowedOrigins: [inn.url, inn.app], ...options } : options)
}

export class Person {
  #options
  #origin

  constructor(context, inn, origin = inn.url, options = {}) {
    this.context = context
    this.inn = inn
    this.complaints = [] // errors that no code of the page has caught
    this.#origin = origin
    this.#options = options
    context.on('weberror', (error) => this.complaints.push(error.error().stack))
  }

  // tab opens the app. With idle it does not start the client.
  async tab(options = {}) {
    const tab = new Tab(await this.context.newPage(), this, { ...this.#options, ...options })
    await tab.open()
    return tab
  }

  tabs = (n, options) => Promise.all(Array.from({ length: n }, () => this.tab(options)))

  // inStep waits until all tabs hold the same token. A tab that had no answer of the
  // others within its 100 ms has refreshed by itself, and what it tells them is on its
  // way for a while.
  inStep = () => until('the tabs to hold one token', async () => {
    const generations = await Promise.all(this.context.pages().map((page) => page.evaluate(() => client.session.session?.generation)))
    return new Set(generations).size === 1
  })

  // elsewhere is the same person with another device.
  elsewhere = async () => new Person(await this.context.browser().newContext({ serviceWorkers: 'block' }), this.inn, this.#origin, this.#options)

  // setClock sets the clock on the wall of all tabs, so many milliseconds from the
  // right time. Timers and the monotonic clock go on as before.
  setClock = (wrong) => this.context.clock.setSystemTime(Math.max(1, Date.now() + wrong))

  // pass lets time pass for all tabs, on all their clocks and timers.
  pass = (time) => this.context.clock.fastForward(time)

  url = (path) => this.#origin + path

  // cookie returns one of Innkeeper's cookies: "refresh" or "hint".
  cookie = async (kind) => (await this.context.cookies())
    .find(({ name }) => name === { refresh: '__Secure-innkeeper-refresh', hint: 'innkeeper-hint' }[kind])

  // close checks that nothing was thrown past every handler, and leaves.
  async close() {
    await this.context.close()
    assert.deepEqual(this.complaints, [])
  }
}

// Tab is one page of the app.
export class Tab {
  #options

  constructor(page, person, options) {
    this.page = page
    this.person = person
    this.#options = options
  }

  async open(options = {}) {
    await this.page.goto(this.person.url(`/app?${encodeURIComponent(JSON.stringify({ ...this.#options, ...options }))}`))
    await this.loaded()
  }

  async reload() {
    await this.page.reload()
    await this.loaded()
  }

  loaded = () => this.page.waitForFunction(() => window.loaded)

  run = (code, argument) => this.page.evaluate(code, argument)

  // ready waits until the client knows whether somebody is signed in.
  ready = () => this.run(async () => { await client.ready() })

  signUp = (username) => this.run(([username, password]) => client.signUp({ username, password }), [username, password])
  signIn = (username) => this.run(([username, password]) => client.signIn({ username, password }), [username, password])
  signOut = (options) => this.run((options) => client.signOut(options), options)

  // call makes one request of the API and returns {status, text} or {error, …}.
  call = (path = '/api/mail', init) => this.run(([path, init]) => call(path, init), [path, init])

  // calls makes n requests at once and returns how many had each status or error.
  calls = (n, path = '/api/mail', init) => this.run(async ([n, path, init]) => {
    const counts = {}
    for (const { status, error } of await Promise.all(Array.from({ length: n }, () => call(path, init)))) {
      counts[status ?? error] = (counts[status ?? error] ?? 0) + 1
    }
    return counts
  }, [n, path, init])

  session = () => this.run(() => ({ ...client.session }))
  status = () => this.run(() => client.session.status)

  // told lists the types of events, or the events of one type.
  told = (type) => this.run((type) => type ? events.filter((event) => event.type === type) : events.map((event) => event.type), type)

  // becomes waits for a status.
  becomes = (status) => this.page.waitForFunction((status) => client.session.status === status, status)
}
