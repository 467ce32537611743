package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// TestNoSecretIsWritten walks through everything that knows a secret, good and
// bad, with the most talkative log, and then looks for those secrets in all that
// was printed, in the audit log, and in the bytes of the database.
func TestNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--log-level", "debug", "--signup", "open", "--refresh-leeway", "5s")
	secrets := walkWithSecrets(t, s)
	if len(secrets) < 20 {
		t.Fatalf("the walk knows only %d secrets", len(secrets))
	}

	written := map[string]string{"stdout and stderr": s.out.String(), "events": eventsOf(t, s)}
	for name, text := range written {
		if found := innkeepertest.FindSecrets(text); found != nil {
			t.Errorf("%s: %q", name, found)
		}
	}
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		if bytes, err := os.ReadFile(s.data(name)); err == nil {
			written[name] = string(bytes)
		}
	}
	for name, text := range written {
		if len(text) < 1000 {
			t.Errorf("%s: hardly anything was written: %q", name, text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s contains %q", name, secret)
			}
		}
	}
	for _, kind := range []innkeeper.EventKind{innkeeper.EventTokenReused, innkeeper.EventLoginFailed, innkeeper.EventPasswordChanged} {
		if !strings.Contains(s.out.String(), `"kind":"`+string(kind)+`"`) {
			t.Errorf("the walk did not come past %s", kind)
		}
	}
}

// walkWithSecrets returns every secret that it has met.
func walkWithSecrets(t *testing.T, s *server) []string {
	const guess, newPassword, thirdPassword = "a wrong guess of mine", "analytical engine no 2", "difference engine no 1"
	secrets := []string{testPassword, guess, newPassword, thirdPassword}
	call := func(want int, method, path string, body any, headers ...string) *answer {
		t.Helper()
		a, err := s.call(http.DefaultClient, method, path, body, headers...)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != want {
			t.Fatalf("%s %s: got %v, want %d", method, path, a, want)
		}
		for _, secret := range []string{a.AccessToken, a.RefreshToken} {
			if secret != "" {
				secrets = append(secrets, secret)
			}
		}
		for _, cookie := range a.cookies {
			if strings.HasPrefix(cookie.Value, "ikr_") {
				secrets = append(secrets, cookie.Value)
			}
		}
		return a
	}
	type object map[string]string
	key := func(text string) []string { secrets = append(secrets, text); return []string{"Idempotency-Key", text} }

	s.run(testPassword+"\n", "user", "add", "ada", "--password-stdin")
	s.start()
	root, err := os.ReadFile(s.data(rootKeyName))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(root)) {
		if len(line) == 43 {
			secrets = append(secrets, line)
		}
	}

	// Sign in and fail to, in every way; with mistakes that one might repeat in a log.
	call(401, "POST", "/auth/login", object{"username": "ada", "password": guess})
	call(401, "POST", "/auth/login", object{"username": "nobody", "password": guess})
	call(400, "POST", "/auth/login", []string{testPassword})
	call(400, "POST", "/auth/login", object{"username": "ada", "password": testPassword, "delivery": testPassword})
	call(409, "POST", "/auth/signup", object{"username": "ada", "password": newPassword})
	body := call(200, "POST", "/auth/login", object{"username": "ada", "password": testPassword, "delivery": "body"})
	cookie := call(200, "POST", "/auth/login", object{"username": "ada", "password": testPassword})

	// Refresh: with a key, again, with another one, too late, mangled, the wrong way.
	first := object{"refresh_token": body.RefreshToken}
	second := object{"refresh_token": call(200, "POST", "/auth/refresh", first, key("a key of sixteen or more")...).RefreshToken}
	call(200, "POST", "/auth/refresh", first, "Idempotency-Key", "a key of sixteen or more")
	call(409, "POST", "/auth/refresh", second, key(`"another key that is wrong";generation=7`)...)
	call(401, "POST", "/auth/refresh", object{"refresh_token": body.RefreshToken + "A"})
	call(401, "POST", "/auth/refresh", nil, "Cookie", "__Secure-innkeeper-refresh="+body.RefreshToken, "Content-Type", "application/json")
	call(400, "POST", "/auth/refresh", first, "Cookie", cookie.cookies[0].String())
	call(200, "POST", "/auth/refresh", nil, "Cookie", cookie.cookies[0].Name+"="+cookie.cookies[0].Value, "Content-Type", "application/json")
	call(404, "GET", "/auth/nothing", nil)

	// Access tokens: good, mangled, as a session's name.
	bearer := []string{"Authorization", "Bearer " + body.AccessToken}
	call(200, "GET", "/auth/me", nil, bearer...)
	call(401, "GET", "/auth/me", nil, "Authorization", "Bearer "+body.AccessToken+"A")
	call(403, "GET", "/admin/users", nil, bearer...)
	call(400, "GET", "/auth/sessions?after="+body.RefreshToken, nil, bearer...)
	changed := call(200, "POST", "/auth/password", object{"current_password": testPassword, "new_password": newPassword}, bearer...)

	// A theft, a logout, and what the operator does.
	third := object{"refresh_token": changed.RefreshToken}
	call(200, "POST", "/auth/refresh", third, key("the honest client's key")...)
	call(401, "POST", "/auth/refresh", third, key("the key of a thief, no less")...)
	last := call(200, "POST", "/auth/login", object{"username": "ada", "password": newPassword, "delivery": "body"})
	call(204, "POST", "/auth/logout", object{"refresh_token": last.RefreshToken})
	s.run(thirdPassword, "user", "password", "ada", "--password-stdin")
	s.run("", "session", "end", "--all")
	s.stop()
	return secrets
}

// eventsOf returns the audit log as text.
func eventsOf(t *testing.T, s *server) string {
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: s.data(databaseName), BusyTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	events, err := store.Stores().Events.Events(t.Context(), innkeeper.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
