package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// claimsOf reads an access token.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func revokedUserID(t *testing.T, issuer string, user innkeeper.UserID, epoch string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(epoch)
	if err != nil || len(raw) != len(innkeeper.Epoch{}) {
		t.Fatalf("epoch %q: %v", epoch, err)
	}
	return innkeeper.UserRevocationID(issuer, user, innkeeper.Epoch(raw))
}

// authHeaders are those that a gateway passes on to an application.
func authHeaders(h http.Header) map[string]string {
	headers := make(map[string]string)
	for name := range h {
		if strings.HasPrefix(name, "X-Auth-") {
			headers[strings.TrimPrefix(name, "X-Auth-")] = strings.Join(h[name], "|")
		}
	}
	return headers
}

func TestCheck(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	for name, permissions := range map[string][]string{"mail": {"mail:send", "mail:read"}, "clerk": {"office:open"}} {
		if err := inn.Authority.SetRole(t.Context(), innkeeper.Role{Name: name, Permissions: permissions}, innkeeper.ActorOperator); err != nil {
			t.Fatal(err)
		}
	}
	ada, err := inn.Authority.CreateUser(t.Context(), innkeeper.NewUser{
		Username: "Jörg", Password: innkeepertest.Password, Email: "jörg@example.com", Roles: []string{"mail", "clerk"},
	}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	inn.AddUser("bare")
	session := inn.SignIn("jörg")
	check := func(query, token string, headers ...string) answer {
		t.Helper()
		return request(t, "GET", inn.URL+"/auth/check"+query, "", append(headers, "Authorization", bearer(token))...)
	}

	good := check("", session.AccessToken)
	good.want(t, 200, "")
	want := map[string]string{
		"Subject": ada.ID.String(), "Session": session.ID, "Username": "j%C3%B6rg", "Email": "j%C3%B6rg@example.com",
		"Roles": "clerk mail", "Permissions": "mail:read mail:send office:open",
		"Time": number(claimsOf(t, session.AccessToken)["auth_time"]),
	}
	if got := authHeaders(good.header); !equal(got, want) {
		t.Errorf("the headers are\n%v\nwant\n%v", got, want)
	}
	if good.text != "" || good.header.Get("Cache-Control") != "no-store" || good.header["Set-Cookie"] != nil || good.header.Get("Content-Length") != "0" {
		t.Errorf("it answered %q with %v", good.text, good.header)
	}

	for query, status := range map[string]int{
		"?role=mail": 200, "?role=mail&role=clerk": 200, "?permission=mail:read&permission=mail:send&role=mail": 200,
		"?role=admin": 403, "?role=mail&role=admin": 403, "?permission=mail": 403, "?role=mail:read": 403,
		"?role=": 403, "?role=MAIL": 403, "?role=mail,admin": 403,
		// A mistake in the configuration of a gateway must not open doors.
		"?roles=mail": 403, "?role=mail&x=1": 403, "?role=%zz": 403, "?role=mail;role=admin": 403,
		"?fresh=1h": 200, "?fresh=1h&role=mail": 200, "?fresh=1h&role=admin": 403,
		"?fresh=": 403, "?fresh=5": 403, "?fresh=0s": 403, "?fresh=-5s": 403, "?fresh=999ms": 403, "?fresh=1h&fresh=1h": 403,
	} {
		a := check(query, session.AccessToken)
		if a.status != status {
			t.Errorf("%s: got %d %s, want %d", query, a.status, a.text, status)
		}
		if status == 403 {
			a.want(t, 403, "forbidden")
			wellFormed(t, a)
			if !strings.Contains(a.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) || len(authHeaders(a.header)) > 0 {
				t.Errorf("%s: headers %v", query, a.header)
			}
		}
	}

	// What the caller claims of itself counts for nothing.
	liar := check("?role=admin", session.AccessToken, "X-Auth-Roles", "admin", "X-Auth-Subject", "root")
	liar.want(t, 403, "forbidden")
	bare := check("", inn.SignIn("bare").AccessToken, "X-Auth-Roles", "admin", "X-Auth-Permissions", "all")
	bare.want(t, 200, "")
	for _, name := range []string{"X-Auth-Roles", "X-Auth-Permissions"} {
		if got, ok := bare.header[name]; !ok || len(got) != 1 || got[0] != "" {
			t.Errorf("%s is %q, want an empty one, which replaces the caller's own", name, got)
		}
	}

	head := request(t, "HEAD", inn.URL+"/auth/check", "", "Authorization", bearer(session.AccessToken))
	if head.status != 200 || head.header.Get("X-Auth-Username") != "j%C3%B6rg" {
		t.Errorf("HEAD: got %d %v", head.status, head.header)
	}
	request(t, "POST", inn.URL+"/auth/check", `{}`, "Authorization", bearer(session.AccessToken)).want(t, 405, "invalid_request")
}

func number(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if b[name] != value {
			return false
		}
	}
	return true
}

// A gateway understands 200, 401 and 403: anything else it takes for a failure.
func TestCheckRefuses(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	const (
		challenge = `Bearer realm="innkeeper"`
		invalid   = challenge + `, error="invalid_token", error_description="access token is invalid"`
	)
	for name, test := range map[string]struct {
		headers   []string
		challenge string
	}{
		"none sent":          {nil, challenge},
		"another scheme":     {[]string{"Authorization", "Basic YTpi"}, challenge},
		"the refresh cookie": {[]string{"Cookie", "__Secure-innkeeper-refresh=" + session.RefreshToken}, challenge},
		"not a token":        {[]string{"Authorization", "Bearer x"}, invalid},
		"a refresh token":    {[]string{"Authorization", bearer(session.RefreshToken)}, invalid},
		"two spaces":         {[]string{"Authorization", "Bearer  " + session.AccessToken}, invalid},
		"two headers":        {[]string{"Authorization", bearer(session.AccessToken), "Authorization", bearer(session.AccessToken)}, invalid},
		"altered":            {[]string{"Authorization", bearer(session.AccessToken[:len(session.AccessToken)-4] + "AAAA")}, invalid},
	} {
		a := request(t, "GET", inn.URL+"/auth/check?role=admin", "", test.headers...)
		a.want(t, 401, "access_token_invalid")
		wellFormed(t, a)
		if got := a.header.Get("WWW-Authenticate"); got != test.challenge {
			t.Errorf("%s: challenge %q, want %q", name, got, test.challenge)
		}
		if a.header["Set-Cookie"] != nil || a.header.Get("Location") != "" {
			t.Errorf("%s: headers %v", name, a.header)
		}
	}

	after := feed(t, inn.URL, "").next()
	auth := []string{"Authorization", bearer(session.AccessToken)}
	request(t, "GET", inn.URL+"/auth/check", "", auth...).want(t, 200, "")
	request(t, "POST", inn.URL+"/auth/logout", `{}`, auth...).want(t, 204, "")
	feed(t, inn.URL, "?wait=60s&after="+after)
	revoked := request(t, "GET", inn.URL+"/auth/check", "", auth...)
	revoked.want(t, 401, "access_token_revoked")
	if !strings.Contains(revoked.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("challenge %q", revoked.header.Get("WWW-Authenticate"))
	}
	inn.Clock.Advance(16 * time.Minute)
	request(t, "GET", inn.URL+"/auth/check", "", auth...).want(t, 401, "access_token_expired")
}

// cutOff is a store that does not answer any more who asks for revocations.
type cutOff struct {
	innkeeper.RevocationStore
	cut atomic.Bool
}

func (c *cutOff) LastRevocation(ctx context.Context) (int64, error) {
	if c.cut.Load() {
		return 0, errors.New("no route to host")
	}
	return c.RevocationStore.LastRevocation(ctx)
}

// TestCheckFresh cuts a server off from its store. It cannot know what others revoke, and
// says so to gateways that want to know.
func TestCheckFresh(t *testing.T) {
	stores := memory.New().Stores()
	line := &cutOff{RevocationStore: stores.Revocations}
	stores.Revocations = line
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores})
	inn.AddUser("ada")
	session, ended := inn.SignIn("ada"), inn.SignIn("ada")
	check := func(query, token string) answer {
		t.Helper()
		return request(t, "GET", inn.URL+"/auth/check"+query, "", "Authorization", bearer(token))
	}
	request(t, "POST", inn.URL+"/auth/logout", `{}`, "Authorization", bearer(ended.AccessToken)).want(t, 204, "")
	check("?fresh=5s", session.AccessToken).want(t, 200, "") // its clock stands still

	line.cut.Store(true)
	inn.Clock.Advance(6 * time.Second)
	for _, query := range []string{"", "?fresh=1h", "?role=ada"} {
		if a := check(query, session.AccessToken); a.status == 503 {
			t.Errorf("%s: got %s", query, a.text)
		}
	}
	stale := check("?fresh=5s", session.AccessToken)
	stale.want(t, 503, "unavailable")
	wellFormed(t, stale)
	if stale.header.Get("Retry-After") != "1" || stale.header.Get("WWW-Authenticate") != "" || len(authHeaders(stale.header)) > 0 {
		t.Errorf("headers %v", stale.header)
	}
	// What is refused anyway is refused.
	check("?fresh=5s", "x").want(t, 401, "access_token_invalid")
	check("?fresh=5s", ended.AccessToken).want(t, 401, "access_token_revoked")
	check("?fresh=5s&role=admin", session.AccessToken).want(t, 403, "forbidden")

	line.cut.Store(false)
	for check("?fresh=5s", session.AccessToken).status != 200 {
		time.Sleep(10 * time.Millisecond)
	}
}
