// Runs all of this example, for `npm run dev`, `npm start` and its tests: Innkeeper,
// the Go server of main.go, and the dev server of Vite. Your app is started in your
// own way; nothing of this file needs to be copied.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const repository = join(here, '../..')

// run starts everything. It returns the URL of the app, and stop.
export async function run({ dev = false, ports = [8080, 8081, 5173], innkeeper = [] } = {}) {
  const [deskPort, hostPort, devPort] = ports
  const binaries = mkdtempSync(join(tmpdir(), 'innkeeper-example-'))
  const running = []
  const stop = async () => {
    for (const end of running.toReversed()) await end()
    rmSync(binaries, { recursive: true, force: true })
  }
  // On SIGTERM Vite ends this process by itself, and nothing waits for stop.
  process.once('exit', () => {
    for (const end of running) end()
    rmSync(binaries, { recursive: true, force: true })
  })
  const start = (name, folder, args) => {
    const binary = join(binaries, name)
    execFileSync('go', ['build', '-o', binary, '.'], { cwd: folder, stdio: 'inherit' })
    const child = spawn(binary, args, { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    running.push(() => { child.kill('SIGTERM'); return ended })
    return child
  }
  try {
    const desk = start('innkeeper', join(repository, 'cmd/innkeeper'), [
      'serve', '--listen', `127.0.0.1:${deskPort}`, '--issuer', `http://localhost:${deskPort}`,
      '--signup', 'open', '--trusted-proxy', '127.0.0.1/32', '--log-level', 'warn', ...innkeeper,
    ])
    const host = start('host', here, ['-listen', `localhost:${hostPort}`, '-issuer', `http://localhost:${deskPort}`, '-app', 'dist'])
    await answered(desk, `http://localhost:${deskPort}/readyz`)
    await answered(host, `http://localhost:${hostPort}/auth/revocations`)
    if (!dev) return { url: `http://localhost:${hostPort}`, stop }
    process.env.API = `http://localhost:${hostPort}`
    const vite = await (await import('vite')).createServer({ root: here, server: { port: devPort, strictPort: true }, logLevel: 'warn' })
    running.push(() => vite.close())
    await vite.listen()
    return { url: `http://localhost:${devPort}`, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

// answered waits for the first answer of a program that has just been started.
async function answered(program, url) {
  const giveUp = Date.now() + 30_000
  while (program.exitCode !== null || !(await fetch(url).catch(() => ({}))).ok) {
    if (program.exitCode !== null || Date.now() > giveUp) throw new Error(`${url} does not answer`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// freePorts finds ports for tests, which run beside whatever else there is.
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))))
  const ports = servers.map((server) => server.address().port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url, stop } = await run({ dev: process.argv.includes('--dev') })
  console.log(`open ${url} and create an account; stop with ctrl-c`)
  const end = () => stop().then(() => process.exit())
  process.once('SIGINT', end).once('SIGTERM', end)
}
