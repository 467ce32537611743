package demo

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	page "github.com/innkeeper-auth/innkeeper/web/demo"
)

// policy lets the page run its own scripts and talk to its own origin, and
// nothing else: no inline code, no frames, nothing from anywhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// contentTypes are fixed here, since the machine's own table may say anything.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

const indexFile = "index.html"

// files are what the page consists of, by name.
type files map[string][]byte

func newPage() (files, error) {
	entries, err := fs.ReadDir(page.Files(), ".")
	if err != nil {
		return nil, fmt.Errorf("read demo page: %w", err)
	}
	all := make(files, len(entries))
	for _, entry := range entries {
		content, err := fs.ReadFile(page.Files(), entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read demo page: %w", err)
		}
		all[entry.Name()] = content
	}
	return all, nil
}

// register gives every file a URL of its own, so that all others stay with the
// API and its errors.
func (f files) register(mux *http.ServeMux) {
	for name, content := range f {
		pattern := "GET /" + name
		if name == indexFile {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			header := w.Header()
			header.Set("Content-Type", contentTypes[path.Ext(name)])
			header.Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
		})
	}
}

// withHeaders protects everything that exists here only. The API, to which all else
// goes, has headers of its own, which replace these.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
