package verify_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// exampleIssuer stands for a running server: it publishes one key. The token is
// what its users would send.
func exampleIssuer() (server *httptest.Server, token string) {
	key, err := accesstoken.Generate(accesstoken.ES256)
	if err != nil {
		log.Fatal(err)
	}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(jwks(key))
	}))
	token, err = accesstoken.Sign(key, accesstoken.Claims{
		Issuer: server.URL, Audience: []string{"https://api.example.com"}, Subject: "01JAZ4T9W7", ID: "1",
		ClientID: "web", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(15 * time.Minute),
		Username: "ada", Permissions: []string{"mail:read"},
	})
	if err != nil {
		log.Fatal(err)
	}
	return server, token
}

// An API with one route for everybody who is signed in, one for those with a
// permission and one for those with a role.
func Example() {
	issuer, token := exampleIssuer()
	defer issuer.Close()

	v, err := verify.New(verify.Config{
		Issuer:   issuer.URL, // https://auth.example.com
		Audience: "https://api.example.com",
	})
	if err != nil {
		panic(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s", id.Username)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /me", v.RequireAuth(hello))
	mux.Handle("GET /mail", v.RequirePermission("mail:read", hello))
	mux.Handle("GET /admin", v.RequireRole("admin", hello))

	for _, path := range []string{"/me", "/mail", "/admin"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(path, w.Code, w.Body)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/me", nil))
	fmt.Println("without a token", w.Code, w.Header().Get("WWW-Authenticate"))

	// Output:
	// /me 200 hello ada
	// /mail 200 hello ada
	// /admin 403 {"type":"about:blank","title":"Forbidden","status":403,"detail":"the signed-in user may not do this","code":"forbidden"}
	// without a token 401 Bearer realm="https://api.example.com"
}

// Where there is no http.Handler: gRPC, a queue, a WebSocket.
func ExampleVerifier_Verify() {
	issuer, token := exampleIssuer()
	defer issuer.Close()
	v, err := verify.New(verify.Config{Issuer: issuer.URL, Audience: "https://api.example.com"})
	if err != nil {
		panic(err)
	}

	judge := func(token string) string {
		id, err := v.Verify(context.Background(), token)
		switch {
		case errors.Is(err, verify.ErrUnavailable):
			return "try again later" // codes.Unavailable
		case errors.Is(err, accesstoken.ErrExpired):
			return "refresh and try again" // codes.Unauthenticated
		case err != nil:
			return "refused" // codes.Unauthenticated
		default:
			return "from " + id.Subject
		}
	}
	fmt.Println(judge(token))
	fmt.Println(judge("not a token"))

	// Output:
	// from 01JAZ4T9W7
	// refused
}

// What moves money wants to know of every session that ended more than five seconds
// ago, and a sign-in of the last ten minutes.
func ExampleVerifier_RequireFresh() {
	v, err := verify.New(verify.Config{Issuer: "https://auth.example.com", FollowRevocations: true})
	if err != nil {
		panic(err)
	}
	defer v.Close()

	transfer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	http.Handle("POST /transfer", v.RequireFresh(5*time.Second, v.RequireRecentAuth(10*time.Minute, transfer)))
}

// A test of a handler needs no token.
func ExampleNewContext() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		id, _ := verify.FromContext(r.Context())
		fmt.Fprint(w, id.HasRole("admin"))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(verify.NewContext(r.Context(), verify.Identity{Subject: "1", Roles: []string{"admin"}}))
	w := httptest.NewRecorder()
	handler(w, r)
	fmt.Println(w.Body)

	// Output:
	// true
}
