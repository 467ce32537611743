// Prints what the binding adds to an app, bundled, minified and gzipped, and fails
// if that is more than 1 KB. React and @innkeeper/client are in the app already.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const BUDGET = 1024;

export async function size() {
  const { outputFiles: [bundle] } = await build({
    entryPoints: [fileURLToPath(new URL('react.js', import.meta.url))],
    bundle: true, minify: true, format: 'esm', target: 'es2022', write: false, logLevel: 'error',
    external: ['react', '@innkeeper/client'],
  });
  return { minified: bundle.contents.length, gzipped: gzipSync(bundle.contents, { level: 9 }).length };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { minified, gzipped } = await size();
  console.log(`@innkeeper/react: ${minified} bytes minified, ${gzipped} gzipped, of ${BUDGET}`);
  if (gzipped > BUDGET) process.exitCode = 1;
}
