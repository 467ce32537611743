// Package demo holds the page of `innkeeper demo`: static files, no build step,
// nothing from anywhere else. internal/demo serves it.
//
// The page uses the client that every server has at /auth/client.js. page.js
// is the part to learn from; the others are stage and scenery.
package demo

import (
	"embed"
	"io/fs"
)

//go:embed *.html *.js *.css *.svg
var files embed.FS

// Files returns the page, in one flat directory.
func Files() fs.FS { return files }
