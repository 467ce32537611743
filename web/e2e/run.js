// Runs the tests. A browser and a server take longer to start than most scenarios, so
// all files share one of each, and find them by what is in the environment. A file that
// is run by itself starts its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { launchServer } from './browser.js'
import { startServer } from './server.js'

const server = await startServer()
const browser = await launchServer(server)
const { control, spki } = server
const tests = spawn(process.execPath, ['--test', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, E2E_STAGE: JSON.stringify({ control, spki, browser: browser.wsEndpoint() }) },
})
const [code] = await once(tests, 'exit')
await browser.close()
await server.stop()
process.exitCode = code ?? 1
