// Package client holds the browser client, @innkeeper/client: ES modules without
// a build step and without dependencies. Package httpapi serves them, npm packs
// the same files.
package client

import "embed"

//go:embed client.js client/*.js
var files embed.FS

// Files returns client.js and the folder client, which it imports from.
func Files() embed.FS { return files }
