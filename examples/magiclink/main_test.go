package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestMagicLink signs in by a link, and refreshes with the cookie that came of it.
func TestMagicLink(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	_, secret, err := inn.Authority.AddService(t.Context(), "web", []innkeeper.ServiceScope{innkeeper.ScopeSessionsCreate}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	mails := make(map[string]string)
	a := &app{innkeeper: inn.URL, secret: secret.Reveal(), mail: func(username, link string) { mails[username] = link }}
	server := httptest.NewServer(a.handler())
	t.Cleanup(server.Close)
	post := func(path, name, value string) *http.Response {
		t.Helper()
		resp, err := http.PostForm(server.URL+path, url.Values{name: {value}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for _, username := range []string{"ada", "eve"} {
		if resp := post("/login/request", "username", username); resp.StatusCode != http.StatusNoContent {
			t.Fatal(resp.Status)
		}
	}
	followed := post("/login/link", "link", mails["ada"])
	if followed.StatusCode != http.StatusOK || followed.Header.Get("Cache-Control") != "no-store" {
		t.Fatal(followed.Status, followed.Header)
	}
	var tokens struct {
		AccessToken string `json:"access_token"`
		User        struct{ Username string }
	}
	if err := json.NewDecoder(followed.Body).Decode(&tokens); err != nil || tokens.User.Username != "ada" || tokens.AccessToken == "" {
		t.Fatalf("got %+v, %v", tokens, err)
	}
	// As a browser would, once both are served under one host.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, inn.URL+"/auth/refresh", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, cookie := range followed.Cookies() {
		req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	refreshed, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = refreshed.Body.Close()
	if refreshed.StatusCode != http.StatusOK || len(followed.Cookies()) != 2 {
		t.Errorf("refreshing with %v: %s", followed.Cookies(), refreshed.Status)
	}

	for link, want := range map[string]int{mails["ada"]: http.StatusUnauthorized, "guess": http.StatusUnauthorized, mails["eve"]: http.StatusBadGateway} {
		if resp := post("/login/link", "link", link); resp.StatusCode != want || len(resp.Cookies()) > 0 {
			t.Errorf("got %s, want %d", resp.Status, want)
		}
	}
}
