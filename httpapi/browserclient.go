package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"time"

	"github.com/innkeeper-auth/innkeeper/web/client"
)

// browserClient serves the browser client: GET /auth/client.js, and what it
// imports from below /auth/client/. It is not part of the described API.
//
// Pages import it as a module, from other origins with CORS, which the allowed
// origins have.
func browserClient(mux *http.ServeMux) {
	files := client.Files()
	// The files are compiled in: the only error is the one of the function below.
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		mux.HandleFunc("GET /auth/"+name, script(content))
		return nil
	})
}

// script serves one module. It is asked for again each time and costs a 304: a
// page never runs the client of yesterday beside the server of today, or half of
// each.
func script(content []byte) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/javascript; charset=utf-8")
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", tag)
		// A page under Cross-Origin-Embedder-Policy may load it as well; there is
		// nothing in it to hide.
		header.Set("Cross-Origin-Resource-Policy", "cross-origin")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}
