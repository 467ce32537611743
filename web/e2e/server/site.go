package main

import (
	"embed"
	"net/http"
)

//go:embed pages/*.html
var pages embed.FS

// site adds the pages of the app to a mux:
//
//	/       an empty page
//	/app    loads the client; its options are JSON in the query
//	/away   a page that a person goes to and comes back from
func site(mux *http.ServeMux) {
	for path, name := range map[string]string{"/{$}": "empty", "/app": "app", "/away": "away"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			// The pages may stay in the back/forward cache, which no-store would forbid, and
			// are asked for again when they are loaded.
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, pages, "pages/"+name+".html")
		})
	}
}
