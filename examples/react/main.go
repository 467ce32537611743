// Command react serves a small mail app under one host: the React app as Vite has
// built it, the API that has the mail, and Innkeeper, which stays a process of its own.
//
// One host is what makes it simple: the refresh cookie belongs to it, the access token
// goes to no other origin, and there is no CORS to set up. README.md says how to run it.
package main

import (
	"encoding/json"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// newHandler is everything under the one host.
func newHandler(v *verify.Verifier, innkeeper *url.URL, app fs.FS) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/mails", v.RequireAuth(http.HandlerFunc(mails)))
	mux.Handle("/auth/", frontDesk(innkeeper))
	mux.Handle("/", pages(app))
	return mux
}

// mail is one letter.
type mail struct {
	ID       int       `json:"id"`
	From     string    `json:"from"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
	Received time.Time `json:"received"`
}

// mails answers with the mail of whoever calls. Who that is says the access token and
// nothing else in the request; an app with a database looks up id.Subject in it.
func mails(w http.ResponseWriter, r *http.Request) {
	id, _ := verify.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string][]mail{"mails": mailsFor(id)})
}

// mailsFor is the sample mail of a user.
func mailsFor(id verify.Identity) []mail {
	in := id.AuthTime.UTC()
	return []mail{
		{3, "The front desk", "Welcome, " + id.Username, "You checked in with your password, and only the front desk has seen it. " +
			"The rest of the house opens with a key card that is good for a quarter of an hour; a new one is made for you before it runs out.", in},
		{2, "Housekeeping", "Two tabs, one key", "Open this page in a second tab. It is signed in at once: the first tab hands its key card over, " +
			"and nobody has to ask the front desk. Sign out in one, and both are signed out.", in.Add(-3 * time.Hour)},
		{1, "The night porter", "If you lose your phone", "Look under Devices and end its session there. Every door in the house refuses its key card within a second, " +
			"even though the card itself is still good.", in.Add(-26 * time.Hour)},
	}
}

// frontDesk passes requests on to Innkeeper: with their Host, which it compares with the
// Origin, and with the address of the browser, which it believes of --trusted-proxy.
func frontDesk(innkeeper *url.URL) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(innkeeper)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}}
}

// pages serves the built app. The policy lets a page run our own scripts and talk to our
// own host; no other site may show it in a frame.
func pages(app fs.FS) http.Handler {
	files := http.FileServerFS(app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache") // ask each time whether it is still the same
		files.ServeHTTP(w, r)
	})
}

func main() {
	listen := flag.String("listen", "localhost:8081", "host and port")
	issuer := flag.String("issuer", "http://localhost:8080", "where Innkeeper is")
	app := flag.String("app", "react/dist", "the folder that vite build has filled")
	flag.Parse()
	if err := serve(*listen, *issuer, *app); err != nil {
		log.Fatal(err)
	}
}

func serve(listen, issuer, app string) error {
	innkeeper, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	v, err := verify.New(verify.Config{Issuer: issuer, FollowRevocations: true})
	if err != nil {
		return err
	}
	defer v.Close()
	server := &http.Server{Addr: listen, Handler: newHandler(v, innkeeper, os.DirFS(app)), ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}
