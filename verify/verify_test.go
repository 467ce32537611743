package verify_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/verify"
)

func TestConfig(t *testing.T) {
	const good = "https://auth.example.com"
	for _, cfg := range []verify.Config{
		{Issuer: good},
		{Issuer: good + "/"},
		{Issuer: good + ":8443/tenant"},
		{Issuer: "http://localhost:8080"},
		{Issuer: "http://app.localhost:8080"},
		{Issuer: "http://127.0.0.1:8080"},
		{Issuer: "http://127.8.9.1"},
		{Issuer: "http://[::1]:8080"},
		{Issuer: good, JWKSURL: "http://localhost:8080/keys?v=1"},
		{Issuer: good, Skew: verify.NoSkew},
		{Issuer: good, Skew: 5 * time.Minute},
	} {
		if _, err := verify.New(cfg); err != nil {
			t.Errorf("New(%+v): %v", cfg, err)
		}
	}
	for _, cfg := range []verify.Config{
		{},
		{Issuer: "auth.example.com"},
		{Issuer: "//auth.example.com"},
		{Issuer: "https://"},
		{Issuer: "https:auth.example.com"},
		{Issuer: "ftp://auth.example.com"},
		{Issuer: "http://auth.example.com"},
		{Issuer: "http://localhost.example.com"},
		{Issuer: "http://evil-localhost"},
		{Issuer: "http://127.0.0.1.example.com"},
		{Issuer: "http://192.168.1.1"},
		{Issuer: "https://ada:SECRET@auth.example.com"},
		{Issuer: "https://auth.example.com/%zzSECRET"},
		{Issuer: good + "?tenant=1"},
		{Issuer: good + "#top"},
		{Issuer: good, JWKSURL: "http://auth.example.com/jwks"},
		{Issuer: good, JWKSURL: "/jwks"},
		{Issuer: good, Skew: -2},
		{Issuer: good, Skew: -time.Second},
		{Issuer: good, Skew: 5*time.Minute + 1},
	} {
		v, err := verify.New(cfg)
		if err == nil || v != nil {
			t.Errorf("New(%+v) succeeds", cfg)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error shows the password: %v", err)
		}
	}
}

func TestVerifyReturnsTheIdentity(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		got, err := iss.verifier(t).Verify(t.Context(), iss.token(t))
		if err != nil {
			t.Fatal(err)
		}
		c := iss.claims()
		want := verify.Identity{
			Subject: c.Subject, SessionID: c.SessionID, ClientID: c.ClientID, Username: c.Username, Email: c.Email,
			Roles: c.Roles, Permissions: c.Permissions, AuthTime: c.AuthTime.UTC(), AuthMethods: c.AuthMethods,
			IssuedAt: c.IssuedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC(),
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
		if !got.HasRole("editor") || got.HasRole("Editor") || got.HasRole("") || got.HasRole("mail:read") {
			t.Error("HasRole is wrong")
		}
		if !got.HasPermission("mail:read") || got.HasPermission("mail:") || got.HasPermission("editor") {
			t.Error("HasPermission is wrong")
		}
	})
}

// An error never comes with an identity.
func TestVerifyRefuses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		for name, tt := range map[string]struct {
			token string
			want  error
		}{
			"empty":          {"", accesstoken.ErrMalformed},
			"refresh token":  {"ikr_AAAA", accesstoken.ErrMalformed},
			"other issuer":   {iss.token(t, func(c *accesstoken.Claims) { c.Issuer += "/" }), accesstoken.ErrIssuer},
			"other audience": {iss.token(t, func(c *accesstoken.Claims) { c.Audience = []string{"https://x"} }), accesstoken.ErrAudience},
			"expired":        {iss.token(t, func(c *accesstoken.Claims) { c.ExpiresAt = time.Now().Add(-time.Hour) }), accesstoken.ErrExpired},
			"unknown key":    {iss.stranger(t), accesstoken.ErrUnknownKey},
			"altered":        {iss.token(t)[:200] + "AAAA" + iss.token(t)[204:], accesstoken.ErrSignature},
		} {
			id, err := v.Verify(t.Context(), tt.token)
			if !errors.Is(err, tt.want) || !reflect.DeepEqual(id, verify.Identity{}) {
				t.Errorf("%s: %+v, %v, want %v", name, id, err, tt.want)
			}
		}
	})
}

// A5: exp is judged by our clock, with the allowance that was configured.
func TestSkew(t *testing.T) {
	for _, tt := range []struct{ configured, want time.Duration }{
		{0, 30 * time.Second},
		{verify.NoSkew, 0},
		{time.Second, time.Second},
		{5 * time.Minute, 5 * time.Minute},
	} {
		bubble.Test(t, func(t *testing.T) {
			iss := newIssuer(t)
			v := newVerifier(t, verify.Config{Issuer: iss.url, Skew: tt.configured, HTTPClient: &http.Client{Transport: iss}})
			token := iss.token(t, func(c *accesstoken.Claims) { c.ExpiresAt = time.Now().Add(time.Minute) })
			time.Sleep(time.Minute + tt.want - 1)
			check(t, v, token, nil)
			time.Sleep(time.Nanosecond)
			check(t, v, token, accesstoken.ErrExpired)
		})
	}
}

func TestAudience(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		const api = "https://api.example.com"
		v := newVerifier(t, verify.Config{Issuer: iss.url, Audience: api, HTTPClient: &http.Client{Transport: iss}})
		check(t, v, iss.token(t, func(c *accesstoken.Claims) { c.Audience = []string{"https://x", api} }), nil)
		check(t, v, iss.token(t), accesstoken.ErrAudience) // is for the issuer itself
	})
}

func TestJWKSURL(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ issuer, configured, want string }{
			{"https://auth.example.com", "", "https://auth.example.com/.well-known/jwks.json"},
			{"https://auth.example.com/", "", "https://auth.example.com/.well-known/jwks.json"},
			{"https://example.com/auth", "", "https://example.com/auth/.well-known/jwks.json"},
			{"https://auth.example.com", "https://cdn.example.com/k", "https://cdn.example.com/k"},
		} {
			iss := newIssuer(t)
			iss.url = tt.issuer
			var asked string
			iss.setAnswer(func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.String()
				_, _ = w.Write(jwks(iss.keys...))
			})
			v := newVerifier(t, verify.Config{Issuer: tt.issuer, JWKSURL: tt.configured, HTTPClient: &http.Client{Transport: iss}})
			check(t, v, iss.token(t), nil)
			if asked != tt.want {
				t.Errorf("issuer %s: fetched %s, want %s", tt.issuer, asked, tt.want)
			}
		}
	})
}
