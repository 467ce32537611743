package httpapi_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

// janitor looks after the keys of an inn.
type janitor struct {
	t       *testing.T
	inn     *innkeepertest.Inn
	session innkeepertest.Session
}

func newJanitor(t *testing.T, inn *innkeepertest.Inn) *janitor {
	t.Helper()
	root := inn.AddUser("root")
	roles := []string{innkeeper.RoleAdmin}
	if _, err := inn.Authority.UpdateUser(t.Context(), root.ID, innkeeper.UserUpdate{Roles: &roles}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	return &janitor{t: t, inn: inn, session: inn.SignIn("root")}
}

func (j *janitor) call(method, path string) answer {
	j.t.Helper()
	return request(j.t, method, j.inn.URL+path, "", "Authorization", bearer(j.session.AccessToken))
}

// advance moves the clock, and refreshes.
func (j *janitor) advance(d time.Duration) {
	j.t.Helper()
	j.inn.Clock.Advance(d)
	j.session = j.inn.Refresh(j.session)
}

// keys are the keys by their states; of removed ones the last.
func (j *janitor) keys() map[string]map[string]any {
	j.t.Helper()
	a := j.call("GET", "/admin/keys")
	a.want(j.t, 200, "")
	if a.header.Get("Cache-Control") != "no-store" {
		j.t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	keys := make(map[string]map[string]any)
	for _, key := range a.body["keys"].([]any) {
		key := key.(map[string]any)
		keys[key["state"].(string)] = key
	}
	return keys
}

func (j *janitor) kid(state string) string {
	j.t.Helper()
	kid, _ := j.keys()[state]["kid"].(string)
	return kid
}

// published reads the JWKS.
func published(t *testing.T, inn *innkeepertest.Inn) map[string]accesstoken.PublicKey {
	t.Helper()
	a := request(t, "GET", inn.URL+"/.well-known/jwks.json", "")
	a.want(t, 200, "")
	if got := a.header.Get("Cache-Control"); got != "public, max-age=600" {
		t.Errorf("Cache-Control is %q", got)
	}
	keys := make(map[string]accesstoken.PublicKey)
	for _, jwk := range a.body["keys"].([]any) {
		text, err := json.Marshal(jwk)
		if err != nil {
			t.Fatal(err)
		}
		key, err := accesstoken.ParseJWK(text)
		if err != nil {
			t.Fatal(err)
		}
		keys[key.KeyID()] = key
	}
	return keys
}

// verifyWith verifies offline, with keys that were fetched at some time.
func verifyWith(inn *innkeepertest.Inn, keys map[string]accesstoken.PublicKey, token string) error {
	_, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
		key, ok := keys[id]
		return key, ok
	}, accesstoken.Expectation{Issuer: inn.URL, Audience: inn.URL, Now: inn.Clock.Now()})
	return err
}

func TestKeys(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	plain := inn.SignIn("ada").AccessToken
	j := newJanitor(t, inn)
	for _, call := range []string{"GET /admin/keys", "POST /admin/keys/rotate", "DELETE /admin/keys/x", "DELETE /admin/keys/x?emergency=true", "DELETE /admin/keys?emergency=true"} {
		method, path, _ := strings.Cut(call, " ")
		request(t, method, inn.URL+path, "").want(t, 401, "access_token_invalid")
		request(t, method, inn.URL+path, "", "Authorization", bearer(plain)).want(t, 403, "forbidden")
	}

	first := published(t, inn)
	active, next := j.kid("active"), j.kid("published")
	if len(first) != 2 || first[active].KeyID() == "" || first[next].KeyID() == "" {
		t.Fatalf("the JWKS has %d keys", len(first))
	}

	// Too early: and it says when it is not.
	early := j.call("POST", "/admin/keys/rotate")
	early.want(t, 409, "key_too_young")
	wellFormed(t, early)
	wait, err := strconv.Atoi(early.header.Get("Retry-After"))
	if err != nil || time.Duration(wait)*time.Second != keyring.MinPublished {
		t.Errorf("Retry-After is %q", early.header.Get("Retry-After"))
	}
	before := j.session.AccessToken
	j.advance(keyring.MinPublished - time.Second)
	j.call("POST", "/admin/keys/rotate").want(t, 409, "key_too_young")
	last := j.session.AccessToken
	j.advance(time.Second)

	rotated := j.call("POST", "/admin/keys/rotate")
	rotated.want(t, 200, "")
	if j.kid("active") != next || j.kid("retiring") != active || j.kid("published") == "" {
		t.Fatalf("the keys are %s", rotated.text)
	}
	// Whoever knows nothing but the first key set accepts what both keys sign.
	j.session = inn.Refresh(j.session)
	if err := verifyWith(inn, first, j.session.AccessToken); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if err := verifyWith(inn, first, last); err != nil {
		t.Errorf("a token of the old key: %v", err)
	}
	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(last)).want(t, 200, "")
	if err := verifyWith(inn, first, before); !errors.Is(err, accesstoken.ErrExpired) {
		t.Errorf("the first token: %v", err)
	}

	// The old key goes when nothing needs it.
	inUse := j.call("DELETE", "/admin/keys/"+active)
	inUse.want(t, 409, "key_in_use")
	wellFormed(t, inUse)
	j.advance(keyring.RetiredFor)
	j.call("DELETE", "/admin/keys/"+active).want(t, 204, "")
	j.call("DELETE", "/admin/keys/"+active).want(t, 204, "")
	if got := j.kid("removed"); got != active {
		t.Errorf("the removed key is %s", got)
	}
	if _, ok := published(t, inn)[active]; ok {
		t.Error("the removed key is published")
	}

	// The one that is next can be exchanged at any time.
	next = j.kid("published")
	j.call("DELETE", "/admin/keys/"+next).want(t, 204, "")
	if got := j.kid("published"); got == next || got == "" {
		t.Errorf("the next key is %q", got)
	}
	j.call("DELETE", "/admin/keys/nonsense").want(t, 404, "not_found")
	j.call("DELETE", "/admin/keys/nonsense?emergency=true").want(t, 404, "not_found")
	j.call("DELETE", "/admin/keys/nonsense?emergency=maybe").want(t, 400, "invalid_request")
}

// TestStolenKey revokes the key that signs, at a moment when the next one has just
// been published.
func TestStolenKey(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	j := newJanitor(t, inn)
	stolen, next := j.kid("active"), j.kid("published")
	token := j.session.AccessToken
	j.call("DELETE", "/admin/keys/"+stolen+"?emergency=true").want(t, 204, "")

	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(token)).want(t, 401, "access_token_revoked")
	if _, ok := published(t, inn)[stolen]; ok {
		t.Error("the stolen key is published")
	}
	// Nobody is signed out: a refresh gives a token of the next key.
	j.session = inn.Refresh(j.session)
	if err := verifyWith(inn, published(t, inn), j.session.AccessToken); err != nil {
		t.Error(err)
	}
	if j.kid("active") != next || j.kid("removed") != stolen || j.kid("published") == "" {
		t.Errorf("the keys are %v", j.keys())
	}
	// Doing it again changes nothing.
	j.call("DELETE", "/admin/keys/"+stolen+"?emergency=true").want(t, 204, "")
	if j.kid("active") != next {
		t.Errorf("the keys are %v", j.keys())
	}
	// The feed names it once, before what comes next.
	if err := inn.Authority.EndUserSessions(t.Context(), inn.AddUser("ada").ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	named, users := 0, 0
	for after := int64(0); users < 2; { // root, who was made an administrator, and ada
		feed, err := inn.Authority.Revocations(t.Context(), after, time.Minute)
		if err != nil || len(feed.Entries) == 0 {
			t.Fatalf("the feed ends with %v, %v", feed, err)
		}
		for _, entry := range feed.Entries {
			switch {
			case entry.Kind == innkeeper.RevokedUser:
				users++
			case entry.Kind == innkeeper.RevokedKey && entry.ID == stolen:
				named++
			}
		}
		after = feed.Next
	}
	if named != 1 {
		t.Errorf("the feed names the key %d times", named)
	}
}

// TestLeakedKeys revokes all keys that there are, which takes a word that nobody says by
// mistake.
func TestLeakedKeys(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	j := newJanitor(t, inn)
	active, next := j.kid("active"), j.kid("published")
	for _, query := range []string{"", "?emergency=false", "?emergency=maybe"} {
		j.call("DELETE", "/admin/keys"+query).want(t, 400, "invalid_request")
	}
	if j.kid("active") != active || j.kid("published") != next {
		t.Fatalf("the keys are %v", j.keys())
	}
	token := j.session.AccessToken
	revoked := j.call("DELETE", "/admin/keys?emergency=true")
	revoked.want(t, 200, "")
	states := make(map[string]string)
	for _, key := range revoked.body["keys"].([]any) {
		key := key.(map[string]any)
		states[key["kid"].(string)] = key["state"].(string)
	}
	if states[active] != "removed" || states[next] != "removed" {
		t.Errorf("the keys are %v", states)
	}
	j.call("GET", "/admin/keys").want(t, 401, "access_token_revoked")
	request(t, "GET", inn.URL+"/auth/check", "", "Authorization", bearer(token)).want(t, 401, "access_token_revoked")
	// Nobody is signed out: a refresh gives a token of the new key.
	j.session = inn.Refresh(j.session)
	keys := published(t, inn)
	if err := verifyWith(inn, keys, j.session.AccessToken); err != nil {
		t.Error(err)
	}
	for _, kid := range []string{active, next} {
		if _, ok := keys[kid]; ok {
			t.Errorf("the leaked key %s is published", kid)
		}
	}
	if kid := j.kid("active"); states[kid] == "removed" {
		t.Errorf("the leaked key %s signs", kid)
	}
}
