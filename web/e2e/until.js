import { setTimeout as sleep } from 'node:timers/promises'

// until waits for a condition and says what it was if that never comes.
export async function until(what, holds, { within = 20_000 } = {}) {
  for (const end = Date.now() + within; ;) {
    const value = await holds()
    if (value) return value
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await sleep(40)
  }
}
