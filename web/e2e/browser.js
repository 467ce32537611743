// launch starts the Chromium of the system, with nothing that reaches out.
import { chromium } from 'playwright-core'

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  chromiumSandbox: process.getuid?.() !== 0, // Chromium refuses its sandbox to root
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
})
