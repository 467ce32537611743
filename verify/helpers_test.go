package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// issuer publishes keys and signs tokens. It is an http.Handler: some tests serve
// it over a socket, and those about time hand it requests directly, in a
// synctest bubble.
type issuer struct {
	url     string
	fetches atomic.Int64

	mu     sync.Mutex
	keys   []*accesstoken.SigningKey // all published; the last one signs
	header http.Header
	answer http.HandlerFunc // if not nil, instead of the keys
}

const testURL = "https://auth.example.com"

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	iss := &issuer{url: testURL, header: http.Header{}}
	iss.rotate(t)
	return iss
}

// rotate publishes another key, which signs from now on.
func (iss *issuer) rotate(t testing.TB) {
	t.Helper()
	key, err := accesstoken.Generate(accesstoken.ES256)
	if err != nil {
		t.Fatal(err)
	}
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.keys = append(iss.keys, key)
}

// withdraw removes all keys but the last.
func (iss *issuer) withdraw() {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.keys = iss.keys[len(iss.keys)-1:]
}

// setAnswer replaces the answer to a fetch; nil brings the keys back.
func (iss *issuer) setAnswer(h http.HandlerFunc) {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.answer = h
}

func (iss *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	iss.fetches.Add(1)
	iss.mu.Lock()
	answer := iss.answer
	iss.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	if r.URL.Path != "/.well-known/jwks.json" {
		http.NotFound(w, r)
		return
	}
	iss.mu.Lock()
	defer iss.mu.Unlock()
	for name, values := range iss.header {
		w.Header()[name] = values
	}
	_, _ = w.Write(jwks(iss.keys...))
}

// jwks returns the JWK set of the keys.
func jwks(keys ...*accesstoken.SigningKey) []byte {
	var list [][]byte
	for _, key := range keys {
		text, err := key.Public().MarshalJWK()
		if err != nil {
			panic(err)
		}
		list = append(list, text)
	}
	return fmt.Appendf(nil, `{"keys":[%s]}`, bytes.Join(list, []byte(",")))
}

// RoundTrip answers in place. It gives up with its request, as a network does.
func (iss *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	iss.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

// hang is an answer that never comes.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// slow is an answer that takes a while.
func (iss *issuer) slow(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(d)
		iss.mu.Lock()
		defer iss.mu.Unlock()
		_, _ = w.Write(jwks(iss.keys...))
	}
}

// verifier trusts the issuer without a socket.
func (iss *issuer) verifier(t testing.TB) *verify.Verifier {
	t.Helper()
	return newVerifier(t, verify.Config{Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}})
}

func newVerifier(t testing.TB, cfg verify.Config) *verify.Verifier {
	t.Helper()
	v, err := verify.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims are good for a week, so that what ends in a test is what it is about.
func (iss *issuer) claims() accesstoken.Claims {
	return accesstoken.Claims{
		Issuer: iss.url, Audience: []string{iss.url}, Subject: "01JAZ4T9W7", ID: "1", ClientID: "web",
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(7 * 24 * time.Hour), SessionID: "Kx3vPq",
		AuthTime: time.Now().Add(-time.Hour), AuthMethods: []string{"pwd"}, Epoch: "AAAAAAAAAAA",
		Username: "ada", Email: "ada@example.com", Roles: []string{"editor"}, Permissions: []string{"mail:read"},
	}
}

// token returns a good token with changes made.
func (iss *issuer) token(t testing.TB, changes ...func(*accesstoken.Claims)) string {
	t.Helper()
	claims := iss.claims()
	for _, change := range changes {
		change(&claims)
	}
	iss.mu.Lock()
	defer iss.mu.Unlock()
	token, err := accesstoken.Sign(iss.keys[len(iss.keys)-1], claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// stranger returns a token that names a key which the issuer does not have.
func (iss *issuer) stranger(t testing.TB) string {
	t.Helper()
	other := &issuer{url: iss.url}
	other.rotate(t)
	return other.token(t)
}

// get sends a request to a handler and returns the answer.
func get(h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// problem is the body of a refusal.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
}

func readProblem(t testing.TB, rec *httptest.ResponseRecorder) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("body %q: %v", rec.Body, err)
	}
	if p.Type != "about:blank" || p.Status != rec.Code || p.Title != http.StatusText(rec.Code) || p.Detail == "" {
		t.Errorf("problem = %+v with status %d", p, rec.Code)
	}
	if got := rec.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type = %q", got)
	}
	if got := rec.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
	return p
}
