// The Chromium of the system, with nothing that reaches out.
import { spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { until } from './until.js'

const executablePath = process.env.CHROMIUM || '/usr/bin/chromium'

const quiet = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]
const trust = (spki) => spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : []

// What Playwright switches off and every user has: the back/forward cache, and timers
// that slow down in the background. Bugs of both are invisible without them.
const asPeopleHaveIt = [
  '--disable-back-forward-cache', '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
]

// launch starts a browser. It trusts the test authority with the hash `spki`.
export const launch = ({ spki } = {}) => chromium.launch({
  executablePath,
  headless: true,
  chromiumSandbox: process.getuid?.() !== 0, // Chromium refuses its sandbox to root
  ignoreDefaultArgs: asPeopleHaveIt,
  args: [...quiet, ...trust(spki)],
})

// spawnBrowser starts a browser by hand over a folder of its own, so that it can be
// killed as a crash or a power cut would, and started again over the same folder. It
// does not outlive the test.
export async function spawnBrowser(t, folder) {
  const port = join(folder, 'DevToolsActivePort')
  await rm(port, { force: true }) // of the one before
  const child = spawn(executablePath, [
    '--headless', '--remote-debugging-port=0', `--user-data-dir=${folder}`, '--password-store=basic',
    ...process.getuid?.() === 0 ? ['--no-sandbox'] : [], ...quiet, 'about:blank',
  ], { stdio: 'ignore', detached: true })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  // kill ends all of its processes at once, and none gets to write anything.
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    process.kill(-child.pid, 'SIGKILL')
    await ended
  }
  t.after(kill)
  const address = await until('the browser to listen', async () => {
    const [number, path] = (await readFile(port, 'utf8').catch(() => '')).split('\n')
    return path && `ws://127.0.0.1:${number}${path}`
  })
  const browser = await chromium.connectOverCDP(address)
  return {
    context: browser.contexts()[0],
    kill,
    // quit ends it as a person does: all is written.
    async quit() {
      const session = await browser.newBrowserCDPSession()
      await session.send('Browser.close').catch(() => {}) // it may be gone before it answers
      await ended
    },
  }
}
