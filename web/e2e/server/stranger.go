package main

import "net/http"

// nextDoor is an origin that nobody trusts. It lets every page call it with every
// header, so that only the client itself can keep the access token from it.
func nextDoor(l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		l.write(func(seq int, p *page) {
			p.Strangers = append(p.Strangers, stranger{
				Seq: seq, Method: r.Method, Path: r.URL.Path,
				Authorization: r.Header.Get("Authorization"), Cookie: r.Header.Get("Cookie"),
			})
		})
		writeJSON(w, http.StatusOK, map[string]any{"stranger": true})
	})
}
