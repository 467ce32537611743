// Command chi is an API on github.com/go-chi/chi that takes Innkeeper's access tokens.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// newHandler is the API. The middleware of verify is what chi calls a middleware.
func newHandler(v *verify.Verifier) http.Handler {
	r := chi.NewRouter()
	r.Use(v.RequireAuth) // all below
	r.Get("/me", me)
	r.With(permission(v, "mail:read")).Get("/mail", mail)
	r.With(role(v, "admin")).Get("/admin", admin)
	r.With(recent(v)).Post("/transfer", transfer)
	return r
}

func role(v *verify.Verifier, name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return v.RequireRole(name, next) }
}

func permission(v *verify.Verifier, name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return v.RequirePermission(name, next) }
}

// recent wants a password that was typed within ten minutes, and revocations that are
// known up to five seconds ago.
func recent(v *verify.Verifier) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return v.RequireFresh(5*time.Second, v.RequireRecentAuth(10*time.Minute, next))
	}
}

func me(w http.ResponseWriter, r *http.Request) {
	id, _ := verify.FromContext(r.Context())
	answer(w, map[string]string{"subject": id.Subject, "username": id.Username})
}

func mail(w http.ResponseWriter, _ *http.Request)     { answer(w, []string{"hello"}) }
func admin(w http.ResponseWriter, _ *http.Request)    { answer(w, "the keys to everything") }
func transfer(w http.ResponseWriter, _ *http.Request) { answer(w, "sent") }

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func main() {
	v, err := verify.New(verify.Config{
		Issuer:            os.Getenv("ISSUER"), // http://localhost:8080
		FollowRevocations: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: "localhost:8081", Handler: newHandler(v), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
