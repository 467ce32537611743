package oauthsource_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/client/oauthsource"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestOAuthClient lets the client of x/oauth2 call a real server, before and after the
// token has expired, and after the sign-out.
func TestOAuthClient(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	source := inn.Client("ada")
	tokens := oauthsource.New(t.Context(), source)
	hc := &http.Client{Transport: &oauth2.Transport{Source: tokens}}
	get := func() int {
		t.Helper()
		resp, err := hc.Get(inn.URL + "/auth/me")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if status := get(); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	first, err := tokens.Token()
	if err != nil || first.Type() != "Bearer" || first.RefreshToken != "" || first.Expiry.Sub(inn.Clock.Now()) != 15*time.Minute {
		t.Errorf("%+v %v", first, err)
	}
	inn.Clock.Advance(16 * time.Minute)
	if status := get(); status != http.StatusOK {
		t.Errorf("after the expiry: status %d", status)
	}
	if err := source.Logout(t.Context(), client.LogoutThis); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Token(); !errors.Is(err, client.ErrSignedOut) {
		t.Errorf("after the sign-out: %v", err)
	}
}

// TestContext: the one that the source was made with bounds how long anybody waits.
func TestContext(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/auth/refresh" {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // it never answers
		})
	}})
	inn.AddUser("ada")
	source := inn.Client("ada")
	inn.Clock.Advance(16 * time.Minute)
	cause := errors.New("the program ends")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := oauthsource.New(ctx, source).Token(); !errors.Is(err, cause) {
		t.Errorf("error = %v", err)
	}
}
