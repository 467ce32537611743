// Compiles test/types with the types of the newest and of the oldest React: right.tsx
// without an error, and wrong.tsx with exactly the errors that its comments announce.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const wrong = readFileSync(join(root, 'test/types/wrong.tsx'), 'utf8').split('\n')
const announced = wrong.flatMap((line, index) => {
  const [, code] = /^\/\/ error (TS\d+)/.exec(line) ?? []
  return code ? [`wrong.tsx:${index + 2} ${code}`] : []
})
assert.ok(announced.length > 10)

for (const config of ['tsconfig.json', 'tsconfig.react-18.json']) {
  const { stdout, stderr, error } = spawnSync('npx', ['tsc', '-p', `test/types/${config}`, '--pretty', 'false'], { cwd: root, encoding: 'utf8' })
  assert.equal(error, undefined)
  assert.equal(stderr, '')
  const found = [...stdout.matchAll(/^test\/types\/(\S+)\((\d+),\d+\): error (TS\d+)/gm)].map(([, file, line, code]) => `${file}:${line} ${code}`)
  assert.deepEqual(found, announced, stdout)
  console.log(`${config}: right.tsx compiles, and ${found.length} of ${announced.length} wrong statements do not`)
}
