// What run.js has started for all files: where the test server is controlled, which
// authority a browser trusts for it, and where that browser listens. Null in a file that
// is run by itself.
export const shared = JSON.parse(process.env.E2E_STAGE ?? 'null')
