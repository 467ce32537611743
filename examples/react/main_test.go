package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// TestHost tries the host as a browser sees it: API, Innkeeper and pages.
func TestHost(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	inn.AddUser("bob")
	v, err := verify.New(verify.Config{Issuer: inn.URL, FollowRevocations: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	desk, err := url.Parse(inn.URL)
	if err != nil {
		t.Fatal(err)
	}
	app := fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}}
	host := httptest.NewServer(newHandler(v, desk, app))
	t.Cleanup(host.Close)

	t.Run("mail", func(t *testing.T) {
		trial.Call(t, "GET", host.URL+"/api/mails", "").Want(t, http.StatusUnauthorized, "access_token_invalid")
		ada, bob := inn.SignIn("ada"), inn.SignIn("bob")
		for name, token := range map[string]string{"ada": ada.AccessToken, "bob": bob.AccessToken} {
			got := trial.Call(t, "GET", host.URL+"/api/mails", token)
			got.Want(t, http.StatusOK, "")
			if !strings.Contains(got.Body, "Welcome, "+name+`"`) {
				t.Errorf("%s got %s", name, got.Body)
			}
		}
		trial.Logout(t, inn, ada)
		trial.Await(t, http.StatusUnauthorized, func() trial.Answer { return trial.Call(t, "GET", host.URL+"/api/mails", ada.AccessToken) })
		trial.Call(t, "GET", host.URL+"/api/mails", bob.AccessToken).Want(t, http.StatusOK, "")
	})
	t.Run("front desk", func(t *testing.T) {
		for site, want := range map[string]int{"same-origin": http.StatusOK, "cross-site": http.StatusForbidden} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", host.URL+"/auth/login",
				strings.NewReader(`{"username":"ada","password":"`+innkeepertest.Password+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Sec-Fetch-Site", site)
			got := trial.Send(t, r)
			cookies := strings.Join(got.Header.Values("Set-Cookie"), "\n")
			if got.Status != want || strings.Contains(cookies, "innkeeper-refresh=") != (want == http.StatusOK) {
				t.Errorf("%s: got %d with cookies %q", site, got.Status, cookies)
			}
		}
		// Innkeeper's other endpoints stay inside.
		for _, path := range []string{"/admin/users", "/metrics", "/oauth/token"} {
			trial.Call(t, "GET", host.URL+path, inn.SignIn("ada").AccessToken).Want(t, http.StatusNotFound, "")
		}
	})
	t.Run("pages", func(t *testing.T) {
		got := trial.Call(t, "GET", host.URL+"/", "")
		got.Want(t, http.StatusOK, "")
		if policy := got.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'self';") {
			t.Errorf("the policy is %q", policy)
		}
		trial.Call(t, "GET", host.URL+"/api/other", "").Want(t, http.StatusNotFound, "")
	})
}
