package main

import (
	"encoding/json"
	"io"
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
	type answer struct {
		status  int
		header  http.Header
		cookies []*http.Cookie
		body    []byte
	}
	post := func(path, name, value string) answer {
		t.Helper()
		resp, err := http.PostForm(server.URL+path, url.Values{name: {value}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{resp.StatusCode, resp.Header, resp.Cookies(), body}
	}
	for _, username := range []string{"ada", "eve"} {
		if a := post("/login/request", "username", username); a.status != http.StatusNoContent {
			t.Fatal(a.status)
		}
	}
	followed := post("/login/link", "link", mails["ada"])
	if followed.status != http.StatusOK || followed.header.Get("Cache-Control") != "no-store" {
		t.Fatal(followed.status, followed.header)
	}
	var tokens struct {
		AccessToken string `json:"access_token"`
		User        struct{ Username string }
	}
	if err := json.Unmarshal(followed.body, &tokens); err != nil || tokens.User.Username != "ada" || tokens.AccessToken == "" {
		t.Fatalf("got %+v, %v", tokens, err)
	}
	// As a browser would, once both are served under one host.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, inn.URL+"/auth/refresh", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, cookie := range followed.cookies {
		req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	refreshed, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = refreshed.Body.Close()
	if refreshed.StatusCode != http.StatusOK || len(followed.cookies) != 2 {
		t.Errorf("refreshing with %v: %s", followed.cookies, refreshed.Status)
	}

	for link, want := range map[string]int{mails["ada"]: http.StatusUnauthorized, "guess": http.StatusUnauthorized, mails["eve"]: http.StatusBadGateway} {
		if a := post("/login/link", "link", link); a.status != want || len(a.cookies) > 0 {
			t.Errorf("got %d, want %d", a.status, want)
		}
	}
}
