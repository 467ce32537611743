package verify_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// greet answers with the name of who asks.
func greet(w http.ResponseWriter, r *http.Request) {
	id, ok := verify.FromContext(r.Context())
	if !ok {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	_, _ = io.WriteString(w, id.Username)
}

const (
	realm   = `Bearer realm="https://auth.example.com"`
	expired = realm + `, error="invalid_token", error_description="the access token has expired"`
	invalid = realm + `, error="invalid_token", error_description="the access token is not valid here"`
	request = realm + `, error="invalid_request", error_description="the Authorization header must be sent once, ` +
		`as Bearer, one space and the access token"`
	scope = realm + `, error="insufficient_scope", error_description="the signed-in user may not do this"`
)

// B1 to B3 and B6: what every kind of request is told.
func TestChallenges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		handler := iss.verifier(t).RequireAuth(http.HandlerFunc(greet))
		good := iss.token(t)
		old := iss.token(t, func(c *accesstoken.Claims) { c.ExpiresAt = time.Now().Add(-time.Hour) })
		elsewhere := iss.token(t, func(c *accesstoken.Claims) { c.Audience = []string{"x"} })

		for _, tt := range []struct {
			name          string
			authorization []string
			status        int
			code          string
			challenge     string
		}{
			{"good", []string{"Bearer " + good}, 200, "", ""},
			{"B3 lower case scheme", []string{"bearer " + good}, 200, "", ""},
			{"B3 upper case scheme", []string{"BEARER " + good}, 200, "", ""},

			{"B1 none", nil, 401, "access_token_invalid", realm},
			{"B1 empty", []string{""}, 401, "access_token_invalid", realm},
			{"B1 Basic", []string{"Basic YWRhOng="}, 401, "access_token_invalid", realm},
			{"B1 DPoP", []string{"DPoP " + good}, 401, "access_token_invalid", realm},
			{"B1 scheme that begins alike", []string{"BearerX " + good}, 401, "access_token_invalid", realm},
			{"B1 token without a scheme", []string{good}, 401, "access_token_invalid", realm},

			{"B2 expired", []string{"Bearer " + old}, 401, "access_token_expired", expired},
			{"B2 other audience", []string{"Bearer " + elsewhere}, 401, "access_token_invalid", invalid},
			{"B2 unknown key", []string{"Bearer " + iss.stranger(t)}, 401, "access_token_invalid", invalid},
			{"B2 no JWT", []string{"Bearer x"}, 401, "access_token_invalid", invalid},
			{"B2 refresh token", []string{"Bearer ikr_AAAAAAAA"}, 401, "access_token_invalid", invalid},
			{"B2 padded", []string{"Bearer " + good + "="}, 401, "access_token_invalid", invalid},
			{"A19 large", []string{"Bearer " + strings.Repeat("a", 1<<20)}, 401, "access_token_invalid", invalid},

			{"B3 scheme alone", []string{"Bearer"}, 400, "invalid_request", request},
			{"B3 scheme and space", []string{"Bearer "}, 400, "invalid_request", request},
			{"B3 two spaces", []string{"Bearer  " + good}, 400, "invalid_request", request},
			{"B3 space after", []string{"Bearer " + good + " "}, 400, "invalid_request", request},
			{"B3 tab", []string{"Bearer \t" + good}, 400, "invalid_request", request},
			{"B3 two tokens", []string{"Bearer " + good + " " + good}, 400, "invalid_request", request},
			{"B3 comma", []string{"Bearer " + good + ", Bearer " + good}, 400, "invalid_request", request},
			{"B3 parameters", []string{"Bearer token=" + good}, 400, "invalid_request", request},
			{"B3 quotes", []string{`Bearer "` + good + `"`}, 400, "invalid_request", request},
			{"B3 only padding", []string{"Bearer =="}, 400, "invalid_request", request},
			{"B3 padding inside", []string{"Bearer a=b"}, 400, "invalid_request", request},
			{"B3 not ASCII", []string{"Bearer é"}, 400, "invalid_request", request},
			{"B3 twice the same", []string{"Bearer " + good, "Bearer " + good}, 400, "invalid_request", request},
			{"B3 Bearer and Basic", []string{"Bearer " + good, "Basic YWRhOng="}, 400, "invalid_request", request},
			{"B3 empty and Bearer", []string{"", "Bearer " + good}, 400, "invalid_request", request},
		} {
			rec := get(handler, tt.authorization...)
			if rec.Code != tt.status {
				t.Errorf("%s: status = %d, want %d", tt.name, rec.Code, tt.status)
			}
			if got := rec.Header().Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("%s: challenge = %s\nwant %s", tt.name, got, tt.challenge)
			}
			if tt.status == 200 {
				if rec.Body.String() != "ada" {
					t.Errorf("%s: body = %s", tt.name, rec.Body)
				}
				continue
			}
			if p := readProblem(t, rec); p.Code != tt.code {
				t.Errorf("%s: code = %s, want %s", tt.name, p.Code, tt.code)
			}
			if rec.Header().Get("Retry-After") != "" {
				t.Errorf("%s: Retry-After without a 503", tt.name)
			}
			for _, value := range tt.authorization { // B6
				if len(value) > 16 && strings.Contains(rec.Body.String(), value[8:16]) {
					t.Errorf("%s: the body shows the token: %s", tt.name, rec.Body)
				}
			}
		}
	})
}

// B2: 403 for a good token of somebody who may not.
func TestRequireRoleAndPermission(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		next := http.HandlerFunc(greet)
		good, nobody := "Bearer "+iss.token(t), "Bearer "+iss.token(t, func(c *accesstoken.Claims) { c.Roles, c.Permissions = nil, nil })
		for _, tt := range []struct {
			name    string
			handler http.Handler
			sent    string
			status  int
		}{
			{"role", v.RequireRole("editor", next), good, 200},
			{"permission", v.RequirePermission("mail:read", next), good, 200},
			{"both", v.RequireRole("editor", v.RequirePermission("mail:read", next)), good, 200},
			{"other role", v.RequireRole("admin", next), good, 403},
			{"role in another case", v.RequireRole("Editor", next), good, 403},
			{"empty role", v.RequireRole("", next), good, 403},
			{"permission as role", v.RequireRole("mail:read", next), good, 403},
			{"other permission", v.RequirePermission("mail:send", next), good, 403},
			{"no wildcard", v.RequirePermission("mail:*", next), good, 403},
			{"role as permission", v.RequirePermission("editor", next), good, 403},
			{"nobody", v.RequireRole("editor", next), nobody, 403},
			{"nobody, empty role", v.RequireRole("", next), nobody, 403},
			{"no token", v.RequireRole("editor", next), "", 401},
		} {
			rec := get(tt.handler, tt.sent)
			if rec.Code != tt.status {
				t.Errorf("%s: status = %d, want %d", tt.name, rec.Code, tt.status)
			}
			if tt.status != 403 {
				continue
			}
			if got := rec.Header().Get("WWW-Authenticate"); got != scope {
				t.Errorf("%s: challenge = %s", tt.name, got)
			}
			if p := readProblem(t, rec); p.Code != "forbidden" {
				t.Errorf("%s: code = %s", tt.name, p.Code)
			}
		}
	})
}

// B4, B7: a token anywhere but in the header does not exist.
func TestOtherTransportsAreNotRead(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		handler := iss.verifier(t).RequireAuth(http.HandlerFunc(greet))
		token := iss.token(t)
		form := url.Values{"access_token": {token}}.Encode()
		post := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		cookie := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, name := range []string{"access_token", "token", "Authorization", "__Secure-innkeeper-refresh"} {
			cookie.AddCookie(&http.Cookie{Name: name, Value: token})
		}
		proxied := httptest.NewRequest(http.MethodGet, "/", nil)
		proxied.Header.Set("Proxy-Authorization", "Bearer "+token)
		proxied.Header.Set("X-Forwarded-Access-Token", token)
		for name, r := range map[string]*http.Request{
			"query":   httptest.NewRequest(http.MethodGet, "/?"+form, nil),
			"form":    post,
			"cookie":  cookie,
			"headers": proxied,
		} {
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			if rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") != realm {
				t.Errorf("%s: %d %s", name, rec.Code, rec.Header())
			}
		}
		// Beside a good header they change nothing, and the body is left to the handler.
		post = httptest.NewRequest(http.MethodPost, "/?access_token=other", strings.NewReader(form))
		post.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Bearer " + token}}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, post)
		if body, _ := io.ReadAll(post.Body); rec.Code != http.StatusOK || string(body) != form {
			t.Errorf("status = %d, %d bytes of the body left", rec.Code, len(body))
		}
	})
}

// A dependency that fails is never a sign-out.
func TestUnavailable(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		iss.setAnswer(hang)
		handler := iss.verifier(t).RequireAuth(http.HandlerFunc(greet))
		for range 3 {
			rec := get(handler, "Bearer "+iss.token(t))
			if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") != "5" {
				t.Errorf("%d, Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
			}
			if rec.Header().Get("WWW-Authenticate") != "" {
				t.Errorf("challenge: %s", rec.Header().Get("WWW-Authenticate"))
			}
			if p := readProblem(t, rec); p.Code != "unavailable" {
				t.Errorf("code = %s", p.Code)
			}
		}
		// Who waits as long as was asked gets an answer.
		iss.setAnswer(nil)
		time.Sleep(5 * time.Second)
		if rec := get(handler, "Bearer "+iss.token(t)); rec.Code != http.StatusOK {
			t.Errorf("status = %d", rec.Code)
		}
	})
}

// B5: whatever the audience is called, the challenge stays one.
func TestRealmIsQuoted(t *testing.T) {
	for audience, want := range map[string]string{
		`urn:"mail"`:            `Bearer realm="urn:\"mail\""`,
		`a\b`:                   `Bearer realm="a\\b"`,
		"café\r\nSet-Cookie: x": `Bearer realm="cafSet-Cookie: x"`,
	} {
		v := newVerifier(t, verify.Config{Issuer: testURL, Audience: audience})
		rec := get(v.RequireAuth(http.HandlerFunc(greet)))
		if got := rec.Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("challenge = %s, want %s", got, want)
		}
	}
}

func TestContext(t *testing.T) {
	if id, ok := verify.FromContext(t.Context()); ok || id.Subject != "" {
		t.Errorf("identity out of nowhere: %+v", id)
	}
	ctx := verify.NewContext(t.Context(), verify.Identity{Subject: "ada"})
	if id, ok := verify.FromContext(ctx); !ok || id.Subject != "ada" {
		t.Errorf("identity = %+v, %v", id, ok)
	}
}

func BenchmarkRequireAuth(b *testing.B) {
	iss := newIssuer(b)
	handler := iss.verifier(b).RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+iss.token(b))
	rec := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(rec, r)
	}
	if rec.Code != http.StatusOK {
		b.Fatal(rec.Code)
	}
}
