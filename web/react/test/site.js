// A site as developers have it: the dev server of Vite, pages rendered on the server,
// and a real Innkeeper behind it. It counts what reaches Innkeeper.
import react from '@vitejs/plugin-react'
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHTTPServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'vite'

const here = import.meta.dirname
const repository = join(here, '../../..')

// startInnkeeper runs `innkeeper serve` and returns its URL.
export async function startInnkeeper() {
  const folder = mkdtempSync(join(tmpdir(), 'innkeeper-react-'))
  const binary = join(folder, 'innkeeper')
  execFileSync('go', ['build', '-o', binary, './cmd/innkeeper'], { cwd: repository, stdio: 'inherit' })
  const args = ['serve', '--listen', '127.0.0.1:0', '--signup', 'open', '--data', join(folder, 'data'), '--log-level', 'info']
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const url = await new Promise((resolve, reject) => {
    let printed = ''
    child.stderr.on('data', (chunk) => {
      printed += chunk
      const [address] = /http:\/\/(localhost|127\.0\.0\.1):\d+/.exec(printed) ?? []
      if (address) resolve(address)
    })
    child.once('exit', (code) => reject(new Error(`innkeeper ended with ${code}: ${printed}`)))
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  return { url, stop }
}

// startSite serves a copy of the app in test/app, which can be edited. The React is the
// one of the folder that it is put into.
export async function startSite(innkeeper, folder) {
  const root = mkdtempSync(join(folder, 'tmp-'))
  cpSync(join(here, 'app'), root, { recursive: true })
  const counted = []
  let vite
  const web = createHTTPServer((request, response) => vite.middlewares(request, response, () => page(request, response)))
  vite = await createServer({
    configFile: false, root, cacheDir: join(root, '.vite'), appType: 'custom', logLevel: 'error', plugins: [react()],
    resolve: {
      alias: { '@innkeeper/react': join(here, '../react.js'), '@innkeeper/client': join(here, '../../client/client.js') },
      dedupe: ['react', 'react-dom'],
    },
    optimizeDeps: { include: ['react', 'react/jsx-dev-runtime', 'react-dom/client'] },
    server: {
      middlewareMode: true, hmr: { server: web }, fs: { allow: [join(here, '../..')] },
      proxy: { '/auth': { target: innkeeper, configure: (proxy) => proxy.on('proxyRes', ({ statusCode }, { method, url }) => counted.push(`${method} ${url} ${statusCode}`)) } },
    },
  })

  async function page(request, response) {
    try {
      const { render } = await vite.ssrLoadModule('/server.jsx')
      const template = await vite.transformIndexHtml(request.url, readFileSync(join(root, 'index.html'), 'utf8'))
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(template.replace('<!--app-->', render()))
    } catch (error) {
      response.writeHead(500).end(error.stack)
    }
  }
  web.listen(0, '127.0.0.1')
  await new Promise((resolve) => web.once('listening', resolve))
  return {
    url: `http://localhost:${web.address().port}/`,
    // count returns how many requests of this kind were answered: "POST /auth/refresh 200".
    count: (kind) => counted.filter((line) => line.startsWith(kind)).length,
    forget: () => counted.splice(0),
    // edit changes a file of the app, as an editor would.
    edit(name, from, to) {
      const file = join(root, name)
      const text = readFileSync(file, 'utf8')
      if (!text.includes(from)) throw new Error(`${name} has no ${from}`)
      writeFileSync(file, text.replace(from, to))
    },
    async stop() {
      await vite.close()
      web.closeAllConnections()
      web.close()
      rmSync(root, { recursive: true, force: true })
    },
  }
}
