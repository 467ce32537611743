import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The browser sees one host, in development as in production: what is not a file of
// this app goes to the Go server.
const server = process.env.API ?? 'http://localhost:8081'

export default defineConfig({
  plugins: [react()],
  server: {
    proxy: { '/api': server, '/auth': server },
    fs: { allow: ['../..'] }, // only here: @innkeeper/* are links into this repository
  },
  resolve: { dedupe: ['react', 'react-dom', '@innkeeper/client'] }, // only here, for the same reason
})
