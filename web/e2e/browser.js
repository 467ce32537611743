// The Chromium of the system, with nothing that reaches out.
import { spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { shared } from './shared.js'
import { until } from './until.js'

const executablePath = process.env.CHROMIUM || '/usr/bin/chromium'

const quiet = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]
// The address bar and its suggestions are a page of their own in each window, at more
// cost than all that is tested here; no page sees it.
const noSuggestions = ['WebUIOmniboxPopup', 'WebUIOmniboxAimPopup', 'WebUIOmniboxFullPopup']
// The last --disable-features wins, so what Playwright has in its own stands here again.
const disabledByPlaywright = [
  'AvoidUnnecessaryBeforeUnloadCheckSync', 'DestroyProfileOnBrowserClose', 'HttpsUpgrades',
  'HttpsFirstBalancedModeAutoEnable', 'LensOverlay', 'MediaRouter', 'PaintHolding',
  'ThirdPartyStoragePartitioning', 'AvoidCorsURLLoaderRestartOnRedirect', 'OptimizationHints',
  'NetworkTimeServiceQuerying', 'AimEnabled', 'PreconnectToSearch',
]
const without = (...features) => `--disable-features=${features.flat()}`
const trust = (spki) => spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : []

// What Playwright switches off and every user has: the back/forward cache, and timers
// that slow down in the background. Bugs of both are invisible without them.
const asPeopleHaveIt = [
  '--disable-back-forward-cache', '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
]

const options = ({ spki } = {}) => ({
  executablePath,
  headless: true,
  chromiumSandbox: process.getuid?.() !== 0, // Chromium refuses its sandbox to root
  ignoreDefaultArgs: asPeopleHaveIt,
  args: [...quiet, without(disabledByPlaywright, noSuggestions), ...trust(spki)],
})

// launch starts a browser, or connects to the one that run.js has started. It trusts the
// test authority with the hash `spki`.
export const launch = (how) => shared ? chromium.connect(shared.browser) : chromium.launch(options(how))

// launchServer starts a browser that several processes connect to.
export const launchServer = (how) => chromium.launchServer(options(how))

// spawnBrowser starts a browser by hand over a folder of its own, so that it can be
// killed as a crash or a power cut would, and started again over the same folder. It
// does not outlive the test.
export async function spawnBrowser(t, folder) {
  const port = join(folder, 'DevToolsActivePort')
  await rm(port, { force: true }) // of the one before
  const child = spawn(executablePath, [
    '--headless', '--remote-debugging-port=0', `--user-data-dir=${folder}`, '--password-store=basic',
    ...process.getuid?.() === 0 ? ['--no-sandbox'] : [], ...quiet, without(noSuggestions), 'about:blank',
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
  }, { within: 60_000 })
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
