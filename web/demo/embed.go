// Package demo holds the page of `innkeeper demo`: static files, no build step,
// nothing from anywhere else. internal/demo serves it.
//
// client.js is the part to learn from: a browser client in one file. The others
// are stage and scenery.
package demo

import (
	"embed"
	"io/fs"
)

//go:embed *.html *.js *.css *.svg
var files embed.FS

// Files returns the page, in one flat directory.
func Files() fs.FS { return files }
