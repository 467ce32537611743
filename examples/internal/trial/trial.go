// Package trial tries what every API of these examples must do, against a running
// Innkeeper.
package trial

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// Patience is how long a trial waits for what should take a second at most. It only
// matters when something is broken.
const Patience = 30 * time.Second

// API tries the handler that newHandler returns: GET /me for everybody who is signed
// in, GET /mail with the permission mail:read, GET /admin for the role admin, POST
// /transfer after a sign-in within ten minutes.
func API(t *testing.T, newHandler func(*verify.Verifier) http.Handler) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada", "mail:read")
	inn.AddUser("bob")
	AddAdmin(t, inn, "eve")
	inn.Clock.Advance(-12 * time.Minute)
	old := inn.SignIn("ada")
	inn.Clock.Advance(12 * time.Minute)
	v, err := verify.New(verify.Config{Issuer: inn.URL, FollowRevocations: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	api := httptest.NewServer(newHandler(v))
	t.Cleanup(api.Close)

	t.Run("refused", func(t *testing.T) {
		session := inn.SignIn("ada")
		for name, token := range map[string]string{
			"none": "", "garbage": "x", "refresh token": session.RefreshToken,
			"altered": session.AccessToken[:len(session.AccessToken)-6] + "AAAAAA",
		} {
			Call(t, "GET", api.URL+"/me", token).Want(t, http.StatusUnauthorized, "access_token_invalid")
			if t.Failed() {
				t.Fatal(name)
			}
		}
	})
	t.Run("allowed", func(t *testing.T) {
		token := inn.SignIn("ada").AccessToken
		// On a busy machine the verifier may not have the keys and the feed yet.
		got := Await(t, http.StatusOK, func() Answer { return Call(t, "GET", api.URL+"/me", token) })
		got.Want(t, http.StatusOK, "")
		if !strings.Contains(got.Body, ada.ID.String()) || !strings.Contains(got.Body, `"ada"`) {
			t.Errorf("it does not know who is calling: %s", got.Body)
		}
		Call(t, "GET", api.URL+"/mail", token).Want(t, http.StatusOK, "")
		Call(t, "POST", api.URL+"/transfer", token).Want(t, http.StatusOK, "")
		Call(t, "GET", api.URL+"/admin", inn.SignIn("eve").AccessToken).Want(t, http.StatusOK, "")
	})
	t.Run("forbidden", func(t *testing.T) {
		Call(t, "GET", api.URL+"/admin", inn.SignIn("ada").AccessToken).Want(t, http.StatusForbidden, "forbidden")
		Call(t, "GET", api.URL+"/mail", inn.SignIn("bob").AccessToken).Want(t, http.StatusForbidden, "forbidden")
	})
	t.Run("revoked", func(t *testing.T) {
		session, other := inn.SignIn("ada"), inn.SignIn("ada")
		Call(t, "GET", api.URL+"/me", session.AccessToken).Want(t, http.StatusOK, "")
		Logout(t, inn, session)
		refused := Await(t, http.StatusUnauthorized, func() Answer { return Call(t, "GET", api.URL+"/me", session.AccessToken) })
		refused.Want(t, http.StatusUnauthorized, "access_token_revoked")
		Call(t, "GET", api.URL+"/me", other.AccessToken).Want(t, http.StatusOK, "")
	})
	t.Run("step up", func(t *testing.T) {
		Call(t, "GET", api.URL+"/me", old.AccessToken).Want(t, http.StatusOK, "")
		Call(t, "POST", api.URL+"/transfer", old.AccessToken).Want(t, http.StatusUnauthorized, "recent_auth_required")
		// A refresh proves nothing about who sits there, a sign-in does.
		Call(t, "POST", api.URL+"/transfer", inn.Refresh(old).AccessToken).Want(t, http.StatusUnauthorized, "recent_auth_required")
		Call(t, "POST", api.URL+"/transfer", inn.SignIn("ada").AccessToken).Want(t, http.StatusOK, "")
	})
}

// AddAdmin creates a user with the role admin.
func AddAdmin(t testing.TB, inn *innkeepertest.Inn, name string) {
	t.Helper()
	_, err := inn.Authority.CreateUser(t.Context(), innkeeper.NewUser{
		Username: name, Password: innkeepertest.Password, Roles: []string{innkeeper.RoleAdmin},
	}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
}

// Logout ends a session over HTTP.
func Logout(t testing.TB, inn *innkeepertest.Inn, session innkeepertest.Session) {
	t.Helper()
	Call(t, "POST", inn.URL+"/auth/logout", session.AccessToken).Want(t, http.StatusNoContent, "")
}

// Everywhere ends all sessions of the user of a session, over HTTP.
func Everywhere(t testing.TB, inn *innkeepertest.Inn, session innkeepertest.Session) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", inn.URL+"/auth/logout", strings.NewReader(`{"scope":"everywhere"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+session.AccessToken)
	Send(t, r).Want(t, http.StatusNoContent, "")
}

// Answer is an answer that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Call sends a request with an access token, or without one if it is empty.
func Call(t testing.TB, method, url, token string) Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return Send(t, r)
}

// Send sends a request.
func Send(t testing.TB, r *http.Request) Answer {
	t.Helper()
	response, err := http.DefaultClient.Do(r) //nolint:gosec // G704: to a server that the test has started
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}
}

// Want fails the test if the answer has another status, or not this code. A 401 must
// have a Bearer challenge.
func (a Answer) Want(t testing.TB, status int, code string) {
	t.Helper()
	var problem struct{ Code string }
	if code != "" {
		if err := json.Unmarshal([]byte(a.Body), &problem); err != nil {
			t.Errorf("%v in %q", err, a.Body)
		}
	}
	if a.Status != status || problem.Code != code {
		t.Errorf("got %d %q, want %d %q: %s", a.Status, problem.Code, status, code, a.Body)
	}
	if status == http.StatusUnauthorized && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("the challenge is %q", a.Header.Get("WWW-Authenticate"))
	}
}

// Await calls until the answer has this status, and logs how long that took.
func Await(t testing.TB, status int, call func() Answer) Answer {
	t.Helper()
	for began := time.Now(); ; {
		got := call()
		if got.Status == status {
			t.Logf("%d after %v", status, time.Since(began).Round(time.Millisecond))
			return got
		}
		if time.Since(began) > Patience {
			t.Fatalf("still %d after %v: %s", got.Status, Patience, got.Body)
		}
		time.Sleep(time.Millisecond)
	}
}
