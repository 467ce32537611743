// People with browsers, for `go run ./internal/soak clients`: tabs that reload, close,
// open and go elsewhere in the middle of a refresh, and a browser that is killed.
//
// It reads orders on standard input and prints what happens on standard output, a JSON
// object a line. An order has an `id`, a verb `do` and a `person`, and is answered by a
// line with the same `id` and an `error` or a `result`; lines without an id are reports
// of the pages. It ends, and all browsers with it, when standard input does.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { launch, spawnBrowser } from './browser.js'

const { url, client, seed } = JSON.parse(process.argv[2])
const app = `${url}/tempest/${client}`
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

// random is a small generator (mulberry32): the same seed makes the same choices.
function random(state) {
  return () => {
    state = state + 0x6D2B79F5 | 0
    let t = Math.imul(state ^ state >>> 15, 1 | state)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32
  }
}

// gone is what every step of a tab may end with: somebody has closed it or navigated.
const gone = () => {}

// evening is when all browsers end that are left.
const evening = { ends: new Set(), after(end) { this.ends.add(end) } }

class Person {
  #browser // of one's own, that can be killed; undefined: a context of the common one
  #tabs = []
  #restless = null // the life of the tabs, while there is one
  #stop = false

  constructor(name, folder, random) {
    Object.assign(this, { name, folder, random })
  }

  between = (least, most) => least + this.random() * (most - least)
  any = (list) => list[Math.floor(this.random() * list.length)]

  async arrive() {
    if (this.folder) {
      this.#browser = await spawnBrowser(evening, this.folder)
      this.context = this.#browser.context
    } else {
      this.context = await (await common()).newContext({ serviceWorkers: 'block' })
    }
    await this.context.exposeBinding('report', (_, report) => say({ ...report, person: this.name }))
  }

  async open(n) {
    while (this.#tabs.length < n) this.#tabs.push(await this.context.newPage())
    await Promise.all(this.#tabs.map((tab) => this.load(tab)))
  }

  load = (tab) => tab.goto(app, { timeout: 60_000 })

  // signIn uses a tab of its own, which nothing happens to meanwhile.
  async signIn({ username, password }) {
    const tab = await this.context.newPage()
    try {
      await this.load(tab)
      return await tab.evaluate(([username, password]) => app.signIn(username, password), [username, password])
    } finally {
      await tab.close().catch(gone)
    }
  }

  // live keeps the tabs restless until they are told to rest.
  live() {
    this.#stop = false
    this.#restless = (async () => {
      while (!this.#stop) {
        await sleep(this.between(100, 1_500))
        await this.act(Math.floor(this.random() * this.#tabs.length))
      }
    })().catch((error) => say({ type: 'complaint', person: this.name, error: String(error) }))
  }

  async act(at) {
    const tab = this.#tabs[at]
    const act = this.any(['calls', 'calls', 'refresh', 'reload', 'reload', 'reload in mid-refresh', 'go elsewhere', 'away and back', 'close and open'])
    if (act === 'calls') tab.evaluate(() => { for (let n = 0; n < 5; n++) app.call().catch(() => {}) }).catch(gone)
    else if (act === 'refresh') tab.evaluate(() => { app.refresh() }).catch(gone)
    else if (act === 'reload') await tab.reload({ waitUntil: 'commit' }).catch(gone)
    else if (act === 'close and open') {
      tab.evaluate(() => { app.refresh() }).catch(gone)
      await sleep(this.between(0, 200))
      await tab.close().catch(gone)
      this.#tabs[at] = await this.context.newPage()
      await this.load(this.#tabs[at]).catch(gone)
    } else {
      tab.evaluate(() => { app.refresh() }).catch(gone)
      await sleep(this.between(0, 300))
      if (act === 'reload in mid-refresh') return tab.reload({ waitUntil: 'commit' }).catch(gone)
      if (act === 'go elsewhere') return tab.goto(app, { waitUntil: 'commit' }).catch(gone)
      await tab.goto(`${url}/tempest/away`, { waitUntil: 'commit' }).catch(gone)
      await sleep(this.between(0, 1_000))
      await tab.goBack({ waitUntil: 'commit' }).catch(gone)
    }
  }

  async rest() {
    this.#stop = true
    await this.#restless
  }

  // leave closes the app in all tabs, as somebody who goes for lunch.
  async leave() {
    await this.rest()
    await this.context.newPage() // a browser without a tab ends
    await Promise.all(this.#tabs.map((tab) => tab.close().catch(gone)))
    this.#tabs = []
  }

  // wake opens one tab and does not wait for anything in it.
  async wake() {
    const tab = await this.context.newPage()
    this.#tabs = [tab]
    tab.goto(app).catch(gone)
  }

  async kill() {
    this.#stop = true
    await this.#browser.kill()
    this.#tabs = []
  }

  // jar returns the refresh token, as whoever copies the profile gets it.
  async jar() {
    const cookies = await this.context.cookies()
    return cookies.find(({ name }) => name === '__Secure-innkeeper-refresh')?.value ?? ''
  }

  // census looks into every tab: how many are there, and how many are signed in and served.
  async census() {
    const served = await Promise.all(this.#tabs.map(async (tab) => {
      if (!tab.url().startsWith(app)) await this.load(tab).catch(gone)
      return tab.evaluate(() => app.signedIn() && app.call()).catch(() => false)
    }))
    return { tabs: served.length, served: served.filter(Boolean).length }
  }
}

let browser
const common = () => browser ??= launch()
const people = new Map()

async function obey({ do: verb, person: name, ...more }) {
  if (verb === 'arrive') {
    if (!people.has(name)) people.set(name, new Person(name, more.folder, random(seed + people.size)))
    await people.get(name).arrive()
    return null
  }
  const person = people.get(name)
  switch (verb) {
    case 'open': return person.open(more.tabs)
    case 'signIn': return person.signIn(more)
    case 'live': return person.live()
    case 'rest': return person.rest()
    case 'leave': return person.leave()
    case 'wake': return person.wake()
    case 'kill': return person.kill()
    case 'jar': return person.jar()
    case 'census': return person.census()
    default: throw new Error(`what is ${verb}?`)
  }
}

process.on('unhandledRejection', (error) => say({ type: 'complaint', error: String(error) }))

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  obey(order).then(
    (result) => say({ id: order.id, result: result ?? null }),
    (error) => say({ id: order.id, error: String(error) }),
  )
}
await Promise.all([...evening.ends].map((end) => end().catch(gone)))
await (await browser)?.close()
process.exit()
