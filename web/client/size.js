// Prints what the client costs a page, and fails where that is over its budget:
// bundled by esbuild, minified by terser as Rollup and webpack do, gzipped.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { minify } from 'terser'

const budgets = { 'client.js': 6 * 1024 }
const adapters = ['xhr', 'axios', 'sockets', 'native'].map((name) => `adapters/${name}.js`)

async function size(entry) {
  const { outputFiles: [{ text }] } = await build({ entryPoints: [entry], bundle: true, format: 'esm', target: 'es2022', write: false })
  const { code } = await minify(text, { module: true, compress: { passes: 3, ecma: 2022 } })
  return gzipSync(code, { level: 9 }).length
}

for (const entry of ['client.js', ...adapters]) {
  const bytes = await size(entry)
  const budget = budgets[entry]
  const over = bytes > (budget ?? Infinity)
  console.log(`${entry.padEnd(20)} ${String(bytes).padStart(5)} bytes${budget ? ` of ${budget}` : ''}${over ? ': too many' : ''}`)
  if (over) process.exitCode = 1
}
