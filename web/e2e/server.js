// Builds and runs the servers that the browser tests talk to.
import { spawn, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

// run builds a command of this repository and starts it. It returns the first
// line that the command prints, and stop.
async function run(command, args = []) {
  const folder = mkdtempSync(join(tmpdir(), 'innkeeper-e2e-'))
  const binary = join(folder, 'server')
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
    child.stdin.end()
    child.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  return { line, stop }
}

// startServer starts the test server and returns its URL and switches.
export async function startServer() {
  const { line: url, stop } = await run('./web/e2e/server')
  return {
    url,
    stop,
    // counters returns what has reached the server since the last call.
    counters: async () => (await fetch(`${url}/test/counters`)).json(),
    // cut makes the server act on the next n refreshes and reset the connection.
    cut: (n) => fetch(`${url}/test/cut`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: String(n) }),
  }
}

// startDemo starts `innkeeper demo` on a free port.
export async function startDemo() {
  const { line, stop } = await run('./cmd/innkeeper', ['demo', '--listen', 'localhost:0', '--log-level', 'warn', '--output', 'json'])
  return { ...JSON.parse(line), stop }
}
