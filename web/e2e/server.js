// Builds and runs the servers that the browser tests talk to.
import { spawn, execFileSync } from 'node:child_process'
import { join, dirname, basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ledger } from './ledger.js'
import { shared } from './shared.js'
import { until } from './until.js'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..', '..')

// run builds a command of this repository and starts it. It returns the first
// line that the command prints, and stop. A binary that is up to date is not linked
// again.
async function run(command, args = []) {
  const binary = join(here, 'test-results', 'bin', basename(command))
  execFileSync('go', ['build', '-o', binary, command], { cwd: root, stdio: 'inherit' })
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const line = await new Promise((resolve, reject) => {
    let printed = ''
    child.stdout.on('data', (chunk) => {
      printed += chunk
      if (printed.includes('\n')) resolve(printed.split('\n', 1)[0])
    })
    child.once('exit', (code) => reject(new Error(`${command} ended with ${code}`)))
  })
  const stop = async () => {
    child.stdin.end() // is what the test server waits for, and the demo for SIGTERM
    if (command.startsWith('./cmd')) child.kill('SIGTERM')
    await ended
  }
  return { line, stop }
}

// startServer starts the test server, which opens inns on demand, or finds the one that
// run.js has started. `spki` is what a browser needs to trust their https.
export async function startServer() {
  const { control, spki, stop } = shared ? { ...shared, stop() {} } : await startOwn()
  const open = async (plan = {}) => new Inn(control, await ask(`${control}/inns`, 'POST', plan))
  return { control, spki, open, stop }
}

async function startOwn() {
  const { line, stop } = await run('./web/e2e/server')
  return { ...JSON.parse(line), stop }
}

// Inn is one Innkeeper with its app, its API and its switches. README.md says what
// each switch does.
class Inn {
  #switches

  constructor(control, { id, url, app, stranger }) {
    Object.assign(this, { url, app, stranger })
    this.#switches = `${control}/inns/${id}`
  }

  // ledger is what has reached the inn so far.
  ledger = async () => new Ledger(await ask(`${this.#switches}/ledger`))

  // faults replaces the faults by others, or by none.
  faults = (...list) => ask(`${this.#switches}/faults`, 'PUT', list)

  // held waits until the faults hold n requests.
  held = (n) => until(`${n} held requests`, async () => (await ask(`${this.#switches}/held`)).held === n)

  // abandoned waits until the clients of n held requests have hung up.
  abandoned = (n) => until(`${n} abandoned requests`, async () => (await ask(`${this.#switches}/held`)).abandoned === n)

  // release lets what is held go on, or drops it, and returns how many those were.
  release = ({ drop = false } = {}) => ask(`${this.#switches}/release`, 'POST', { drop })

  // advance moves the clock of Innkeeper and the API: "16m", "-1h".
  advance = (by) => ask(`${this.#switches}/clock`, 'POST', { by })

  // repeat makes the nth refresh arrive once more, late.
  repeat = (n) => ask(`${this.#switches}/repeat/${n}`, 'POST')

  // until waits for something to stand in the ledger.
  until = (what, holds) => until(what, async () => holds(await this.ledger()))

  close = () => ask(this.#switches, 'DELETE')
}

async function ask(url, method = 'GET', body) {
  const response = await fetch(url, { method, body: body && JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`)
  return text && JSON.parse(text)
}

// startDemo starts `innkeeper demo` on a free port.
export async function startDemo() {
  const { line, stop } = await run('./cmd/innkeeper', ['demo', '--listen', 'localhost:0', '--log-level', 'warn', '--output', 'json'])
  return { ...JSON.parse(line), stop }
}
