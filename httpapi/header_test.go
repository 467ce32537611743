package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestHeaders asks for one of everything, and for refusals of every kind, and looks at
// what browsers are told (K13, K14, K16, T6).
func TestHeaders(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{AllowedOrigins: []string{app}}})
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	auth := []string{"Authorization", bearer(session.AccessToken)}
	for name, test := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		cache, resource    string // other than no-store and same-origin
	}{
		"tokens":           {"POST", "/auth/login", credentials + `}`, nil, 200, "", ""},
		"a person":         {"GET", "/auth/me", "", auth, 200, "", ""},
		"sessions":         {"GET", "/auth/sessions", "", auth, 200, "", ""},
		"check":            {"GET", "/auth/check", "", auth, 200, "", ""},
		"feed":             {"GET", "/auth/revocations", "", nil, 200, "", ""},
		"feed, waiting":    {"GET", "/auth/revocations?after=9000000000000000000&wait=1ms", "", nil, 200, "", ""},
		"health":           {"GET", "/healthz", "", nil, 200, "", ""},
		"readiness":        {"GET", "/readyz", "", nil, 200, "", ""},
		"keys":             {"GET", "/.well-known/jwks.json", "", nil, 200, "public, max-age=600", "cross-origin"},
		"metadata":         {"GET", "/.well-known/oauth-authorization-server", "", nil, 200, "public, max-age=600", "cross-origin"},
		"description":      {"GET", "/openapi.json", "", nil, 200, "", "cross-origin"},
		"description 3.0":  {"GET", "/openapi-3.0.yaml", "", nil, 200, "", "cross-origin"},
		"script":           {"GET", "/auth/client.js", "", nil, 200, "no-cache", "cross-origin"},
		"no such script":   {"GET", "/auth/client/x.js", "", nil, 404, "", ""},
		"no such URL":      {"GET", "/nothing", "", nil, 404, "", ""},
		"odd path":         {"GET", "//healthz", "", nil, 404, "", ""},
		"another method":   {"PUT", "/auth/login", "", nil, 405, "", ""},
		"wrong type":       {"POST", "/auth/login", "x", []string{"Content-Type", "text/plain"}, 415, "", ""},
		"too large":        {"POST", "/auth/login", strings.Repeat("x", 65<<10), nil, 413, "", ""},
		"no token":         {"GET", "/auth/me", "", nil, 401, "", ""},
		"cross-site":       {"POST", "/auth/login", credentials + `}`, []string{"Origin", "https://evil.example"}, 403, "", ""},
		"OAuth":            {"POST", "/oauth/revoke", "token=x", []string{"Content-Type", oauthForm}, 200, "", ""},
		"OAuth, refused":   {"POST", "/oauth/token", "x=1", []string{"Content-Type", oauthForm}, 400, "", ""},
		"OAuth, not found": {"GET", "/oauth/nothing", "", nil, 404, "", ""},
		"preflight": {"OPTIONS", "/auth/refresh", "", []string{
			"Origin", app, "Access-Control-Request-Method", "POST",
		}, 204, "", ""},
		"preflight of a stranger": {"OPTIONS", "/auth/refresh", "", []string{
			"Origin", "https://evil.example", "Access-Control-Request-Method", "POST",
		}, 204, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := request(t, test.method, inn.URL+test.path, test.body, test.headers...)
			a.want(t, test.status, "")
			want := map[string]string{
				"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
				"Referrer-Policy":           "no-referrer",
				"Content-Security-Policy":   "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
				"Strict-Transport-Security": "", // the issuer is http: see TestStrictTransport
				"Clear-Site-Data":           "",
			}
			if test.cache != "" {
				want["Cache-Control"] = test.cache
			}
			if test.resource != "" {
				want["Cross-Origin-Resource-Policy"] = test.resource
			}
			for header, value := range want {
				if got := strings.Join(a.header.Values(header), " & "); got != value {
					t.Errorf("%s: %q, want %q", header, got, value)
				}
			}
			vary := strings.Join(a.header.Values("Vary"), ", ")
			unsafe := test.method != "GET" && test.method != "OPTIONS"
			if !strings.Contains(vary, "Origin") || strings.Contains(vary, "Sec-Fetch-Site") != unsafe {
				t.Errorf("Vary: %q", vary)
			}
		})
	}
}

// TestStrictTransport: HSTS where the public URL is https, for a year (K16).
func TestStrictTransport(t *testing.T) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: memory.New().Stores(), RootKeys: roots, Clock: time.Now,
		Passwords: password.Config{InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/nothing", "/auth/me"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if got := w.Header().Get("Strict-Transport-Security"); got != "max-age=31536000" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestClearSiteData: whose session has ended by their own will is forgotten, and nobody
// else (K15).
func TestClearSiteData(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	logout := func(body string) answer {
		t.Helper()
		session := inn.SignIn("ada")
		return request(t, "POST", inn.URL+"/auth/logout", body, "Authorization", bearer(session.AccessToken))
	}
	for body, want := range map[string]string{
		`{}`: `"cache"`, `{"scope":"everywhere"}`: `"cache"`, `{"scope":"others"}`: "",
	} {
		a := logout(body)
		a.want(t, 204, "")
		if got := a.header.Get("Clear-Site-Data"); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	refused := request(t, "POST", inn.URL+"/auth/logout", `{}`)
	refused.want(t, 401, "refresh_token_missing")
	if got := refused.header.Get("Clear-Site-Data"); got != "" {
		t.Errorf("a logout that was refused answered %q", got)
	}
}
