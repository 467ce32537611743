package httpapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// The numbers in the names and comments of these tests are those of the checklist in
// docs/oauth.md: T the token endpoint, V revocation, I introspection, D metadata.

const oauthForm = "application/x-www-form-urlencoded"

// post sends a form of pairs. Headers come after an empty name.
func postForm(t *testing.T, target string, pairs ...string) answer {
	t.Helper()
	var body []string
	i := 0
	for ; i < len(pairs) && pairs[i] != ""; i += 2 {
		body = append(body, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	headers := []string{"Content-Type", oauthForm}
	if i < len(pairs) {
		headers = append(headers, pairs[i+1:]...)
	}
	return request(t, "POST", target, strings.Join(body, "&"), headers...)
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// wantError checks a refusal, and what all of them have in common (T6, T8, T10, E1).
func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.body["error"] != code {
		t.Fatalf("got %d %s, want %d %s", a.status, a.text, status, code)
	}
	a.wantOAuth(t)
	for name, value := range a.body {
		text, ok := value.(string)
		if !ok || (name != "error" && name != "error_description") {
			t.Errorf("the error has a member %s", name)
		}
		for _, c := range text {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				t.Errorf("%s has the character %q", name, c)
			}
		}
	}
	// O5: a challenge hides the error from some clients, so it is there where it helps.
	if challenge := a.header.Get("WWW-Authenticate"); (challenge != "") != (status == 401) || challenge != "" && !strings.HasPrefix(challenge, "Basic realm=") {
		t.Errorf("challenge %q", challenge)
	}
}

// wantOAuth checks the headers of every answer (T5, T6, I4, T25).
func (a answer) wantOAuth(t *testing.T) {
	t.Helper()
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", a.header)
	}
}

func addService(t *testing.T, inn *innkeepertest.Inn, name string, scopes ...innkeeper.ServiceScope) (*innkeeper.Service, string) {
	t.Helper()
	service, secret, err := inn.Authority.AddService(t.Context(), name, scopes, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	return service, secret.Reveal()
}

func TestOAuthRefresh(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada", "mail:read")
	_, secret := addService(t, inn, "web")
	session := inn.SignIn("ada")
	token := session.RefreshToken
	for name, headers := range map[string][]string{
		"public, in the form":                {"client_id", "innkeeper"},
		"public, in the header":              {"", "Authorization", basic("innkeeper", "")},
		"public, both":                       {"client_id", "innkeeper", "", "Authorization", basic("innkeeper", "")},
		"nobody in particular":               {},
		"confidential, in the header":        {"", "Authorization", basic("web", secret)},
		"confidential, scheme in lower case": {"", "Authorization", strings.Replace(basic("web", secret), "Basic", "basic", 1)},
		"confidential, in the form":          {"client_id", "web", "client_secret", secret},
		"empty parameters (T3)":              {"scope", "", "client_secret", "", "client_id", ""},
		"unknown parameters (T3)":            {"tea", "yes", "resource", "https://elsewhere.example"},
	} {
		a := postForm(t, inn.URL+"/oauth/token", append([]string{"grant_type", "refresh_token", "refresh_token", token}, headers...)...)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.text)
		}
		a.wantOAuth(t)
		want := map[string]any{"token_type": "Bearer", "expires_in": 900.0, "refresh_expires_in": 1209600.0} // T7: numbers
		for member, value := range want {
			if a.body[member] != value {
				t.Errorf("%s: %s is %v", name, member, a.body[member])
			}
		}
		if _, ok := a.body["scope"]; ok || len(a.body) != 5 { // T16
			t.Errorf("%s: the answer is %s", name, a.text)
		}
		request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(a.body["access_token"].(string))).want(t, 200, "")
		next := a.body["refresh_token"].(string)
		if next == token { // T18
			t.Errorf("%s: the refresh token is the same as before", name)
		}
		token = next
	}
	// T19: a token that was used before ends the session.
	postForm(t, inn.URL+"/oauth/token", "grant_type", "refresh_token", "refresh_token", session.RefreshToken).wantError(t, 400, "invalid_grant")
	postForm(t, inn.URL+"/oauth/token", "grant_type", "refresh_token", "refresh_token", token).wantError(t, 400, "invalid_grant")
}

// TestOAuthRefusesBeforeItLooks holds T14: whatever is wrong with a request, its
// token is neither consumed nor held against anybody. Clients of OAuth try one way of
// authentication after the other, with the same token.
func TestOAuthRefusesBeforeItLooks(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	_, secret := addService(t, inn, "web")
	removed, old := addService(t, inn, "gone")
	if err := inn.Authority.RemoveService(t.Context(), removed.ID, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	session := inn.SignIn("ada")
	token := session.RefreshToken
	good := []string{"grant_type", "refresh_token", "refresh_token", token}
	form := func(pairs ...string) func() answer {
		return func() answer { return postForm(t, inn.URL+"/oauth/token", pairs...) }
	}
	plus := func(pairs ...string) func() answer { return form(append(append([]string{}, good...), pairs...)...) }
	raw := func(method, path, body string, headers ...string) func() answer {
		return func() answer { return request(t, method, inn.URL+path, body, headers...) }
	}
	encoded := "grant_type=refresh_token&refresh_token=" + token
	for name, test := range map[string]struct {
		send   func() answer
		status int
		code   string
	}{
		"T1 GET":                         {raw("GET", "/oauth/token?"+encoded, ""), 405, "invalid_request"},
		"T1 PUT":                         {raw("PUT", "/oauth/token", encoded, "Content-Type", oauthForm), 405, "invalid_request"},
		"T2 JSON":                        {raw("POST", "/oauth/token", `{"grant_type":"refresh_token","refresh_token":"`+token+`"}`), 400, "invalid_request"},
		"T2 no type":                     {raw("POST", "/oauth/token", encoded, "Content-Type", ""), 400, "invalid_request"},
		"T2 text":                        {raw("POST", "/oauth/token", encoded, "Content-Type", "text/plain"), 400, "invalid_request"},
		"T3 token twice":                 {plus("refresh_token", token), 400, "invalid_request"},
		"T3 token twice, once empty":     {plus("refresh_token", ""), 400, "invalid_request"},
		"T3 unknown parameter twice":     {plus("tea", "1", "tea", "2"), 400, "invalid_request"},
		"T3 broken escape":               {raw("POST", "/oauth/token", encoded+"&x=%zz", "Content-Type", oauthForm), 400, "invalid_request"},
		"T3 semicolons":                  {raw("POST", "/oauth/token", strings.Replace(encoded, "&", ";", 1), "Content-Type", oauthForm), 400, "invalid_request"},
		"T4 token in the query":          {raw("POST", "/oauth/token?refresh_token="+token, "grant_type=refresh_token", "Content-Type", oauthForm), 400, "invalid_request"},
		"T4 all in the query":            {raw("POST", "/oauth/token?"+encoded, "", "Content-Type", oauthForm), 400, "invalid_request"},
		"no grant_type":                  {form("refresh_token", token), 400, "invalid_request"},
		"T24 password":                   {form("grant_type", "password", "username", "ada", "password", innkeepertest.Password), 400, "unsupported_grant_type"},
		"another grant":                  {form("grant_type", "authorization_code", "refresh_token", token), 400, "unsupported_grant_type"},
		"T12 no token":                   {form("grant_type", "refresh_token"), 400, "invalid_request"},
		"T12 an empty token":             {form("grant_type", "refresh_token", "refresh_token", ""), 400, "invalid_request"},
		"T16 a scope":                    {plus("scope", "mail:read"), 400, "invalid_scope"},
		"T9 unknown client, header":      {plus("", "Authorization", basic("nobody", "")), 401, "invalid_client"},
		"T9 wrong secret, header":        {plus("", "Authorization", basic("web", "wrong")), 401, "invalid_client"},
		"T9 removed secret, header":      {plus("", "Authorization", basic("gone", old)), 401, "invalid_client"},
		"T9 another's secret, header":    {plus("", "Authorization", basic("gone", secret)), 401, "invalid_client"},
		"T9 a secret for the apps":       {plus("", "Authorization", basic("innkeeper", secret)), 401, "invalid_client"},
		"T9 no name, header":             {plus("", "Authorization", basic("", "")), 401, "invalid_client"},
		"T9 another scheme":              {plus("", "Authorization", "Bearer "+session.AccessToken), 401, "invalid_client"},
		"T9 not base64":                  {plus("", "Authorization", "Basic ???"), 401, "invalid_client"},
		"T9 broken escape":               {plus("", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("web:%zz"))), 401, "invalid_client"},
		"unknown client, form":           {plus("client_id", "nobody"), 400, "invalid_client"},
		"wrong secret, form":             {plus("client_id", "web", "client_secret", "wrong"), 400, "invalid_client"},
		"a secret without a name":        {plus("client_secret", secret), 400, "invalid_client"},
		"a service without its secret":   {plus("client_id", "web"), 400, "invalid_client"},
		"T13 header and form":            {plus("client_secret", secret, "", "Authorization", basic("web", secret)), 400, "invalid_request"},
		"T13 two headers":                {plus("", "Authorization", basic("web", secret), "Authorization", basic("web", secret)), 400, "invalid_request"},
		"T13 header and an assertion":    {plus("client_assertion", "x", "", "Authorization", basic("web", secret)), 400, "invalid_request"},
		"an assertion":                   {plus("client_assertion", "x.y.z"), 400, "invalid_client"},
		"T13 two names":                  {plus("client_id", "other", "", "Authorization", basic("web", secret)), 400, "invalid_request"},
		"a short Idempotency-Key":        {plus("", "Idempotency-Key", `"short"`), 400, "invalid_request"},
		"two Idempotency-Keys":           {plus("", "Idempotency-Key", `"0123456789abcdef"`, "Idempotency-Key", `"0123456789abcdeg"`), 400, "invalid_request"},
		"row 1b, another generation":     {plus("", "Idempotency-Key", `"0123456789abcdef";generation=7`), 400, "invalid_request"},
		"too large":                      {plus("tea", strings.Repeat("x", 64<<10)), 413, "invalid_request"},
		"T28 a page of another origin":   {plus("", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), 403, "invalid_request"},
		"nothing at this URL":            {raw("POST", "/oauth/authorize", encoded, "Content-Type", oauthForm), 404, "invalid_request"},
		"an access token in its place":   {form("grant_type", "refresh_token", "refresh_token", session.AccessToken), 400, "invalid_grant"},
		"T11 a token that we never made": {form("grant_type", "refresh_token", "refresh_token", "ikr_x"), 400, "invalid_grant"},
	} {
		a := test.send()
		t.Run(name, func(t *testing.T) {
			a.wantError(t, test.status, test.code)
			if strings.Contains(a.text, "mail:read") || strings.Contains(a.text, token[10:30]) || strings.Contains(a.text, "nobody") {
				t.Errorf("the answer repeats what was sent: %s", a.text) // T10
			}
		})
	}
	if next := inn.Refresh(session); next.Generation != 2 {
		t.Errorf("the token was consumed: generation %d", next.Generation)
	}
}

// TestOAuthTellsNoReason holds T11: to a client all tokens that are good for nothing
// are alike.
func TestOAuthTellsNoReason(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada")
	expired := inn.SignIn("ada").RefreshToken
	inn.Clock.Advance(15 * 24 * time.Hour)
	reused, loggedOut := inn.SignIn("ada"), inn.SignIn("ada")
	inn.Refresh(reused)
	request(t, "POST", inn.URL+"/auth/logout", `{"refresh_token":"`+loggedOut.RefreshToken+`"}`).want(t, 204, "")
	cookie := request(t, "POST", inn.URL+"/auth/login", credentials+`}`)
	browser, _, _ := strings.Cut(strings.TrimPrefix(cookie.header["Set-Cookie"][0], "__Secure-innkeeper-refresh="), ";")
	disabled := inn.SignIn("ada").RefreshToken
	grant := func(token string) answer {
		return postForm(t, inn.URL+"/oauth/token", "grant_type", "refresh_token", "refresh_token", token)
	}
	answers := map[string]answer{
		"malformed": grant("x"), "forged": grant(disabled[:50] + strings.Repeat("A", 10) + disabled[60:]), "expired": grant(expired), "reused": grant(reused.RefreshToken),
		"logged out": grant(loggedOut.RefreshToken), "of a cookie session": grant(browser),
	}
	yes := true
	if _, err := inn.Authority.UpdateUser(t.Context(), ada.ID, innkeeper.UserUpdate{Disabled: &yes}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	answers["disabled (T23)"] = grant(disabled)
	for name, a := range answers {
		t.Run(name, func(t *testing.T) {
			a.wantError(t, 400, "invalid_grant")
			if a.text != answers["malformed"].text {
				t.Errorf("got %s", a.text)
			}
		})
	}
	// The cookie session did not notice.
	request(t, "POST", inn.URL+"/auth/refresh", "{}", "Cookie", "__Secure-innkeeper-refresh="+browser).want(t, 401, "session_ended")
}

// TestOAuthRepeats holds C5 and 7.2 (b): what a repeated request gets, with a key,
// with a leeway and with neither.
func TestOAuthRepeats(t *testing.T) {
	const key = `"k3vT0c8mZ1q9fWxY"`
	open := func(leeway time.Duration) (*innkeepertest.Inn, func(token string, headers ...string) answer) {
		inn := innkeepertest.New(t, &innkeepertest.Options{Policy: innkeeper.Policy{RefreshLeeway: leeway}})
		inn.AddUser("ada")
		return inn, func(token string, headers ...string) answer {
			return postForm(t, inn.URL+"/oauth/token",
				append([]string{"grant_type", "refresh_token", "refresh_token", token, "client_id", "innkeeper", ""}, headers...)...)
		}
	}
	same := func(t *testing.T, a, b answer) {
		t.Helper()
		if a.status != 200 || b.status != 200 || a.body["refresh_token"] != b.body["refresh_token"] {
			t.Fatalf("got %s and %s", a.text, b.text)
		}
	}
	t.Run("with a key", func(t *testing.T) {
		inn, refresh := open(0)
		token := inn.SignIn("ada").RefreshToken
		first := refresh(token, "Idempotency-Key", key)
		inn.Clock.Advance(time.Hour)
		same(t, first, refresh(token, "Idempotency-Key", key))
		next := refresh(first.body["refresh_token"].(string))
		// Row 8: a late duplicate of an honest request signs nobody out.
		late := refresh(token, "Idempotency-Key", key)
		late.wantError(t, 503, "temporarily_unavailable")
		if late.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", late.header.Get("Retry-After"))
		}
		refresh(next.body["refresh_token"].(string)).want(t, 200, "")
	})
	t.Run("with a leeway", func(t *testing.T) {
		inn, refresh := open(10 * time.Second)
		token := inn.SignIn("ada").RefreshToken
		first := refresh(token)
		inn.Clock.Advance(9 * time.Second)
		again := refresh(token)
		same(t, first, again)
		if again.body["expires_in"] != 891.0 { // as long as the first one, no longer
			t.Errorf("expires_in is %v", again.body["expires_in"])
		}
		inn.Clock.Advance(time.Second) // it is not renewed
		refresh(token).wantError(t, 400, "invalid_grant")
		refresh(first.body["refresh_token"].(string)).wantError(t, 400, "invalid_grant")
	})
	t.Run("with neither", func(t *testing.T) {
		inn, refresh := open(0)
		token := inn.SignIn("ada").RefreshToken
		first := refresh(token)
		refresh(token).wantError(t, 400, "invalid_grant")
		refresh(first.body["refresh_token"].(string)).wantError(t, 400, "invalid_grant")
	})
}

// awaySessions is a store that does not answer, for a while.
type awaySessions struct {
	innkeeper.SessionStore
	away *bool
}

func (s awaySessions) gone() error {
	if *s.away {
		return errors.New("the store is away")
	}
	return nil
}

func (s awaySessions) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	if err := s.gone(); err != nil {
		return innkeeper.Session{}, nil, err
	}
	return s.SessionStore.Session(ctx, id)
}

func (s awaySessions) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	if err := s.gone(); err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, err
	}
	return s.SessionStore.RotateSession(ctx, r)
}

// TestOAuthOutage holds V6: silence is no verdict, neither on a token nor on a
// client.
func TestOAuthOutage(t *testing.T) {
	stores, away := memory.New().Stores(), false
	stores.Sessions = awaySessions{stores.Sessions, &away}
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores})
	inn.AddUser("ada")
	_, secret := addService(t, inn, "web", innkeeper.ScopeIntrospect)
	session := inn.SignIn("ada")
	away = true
	for _, a := range []answer{
		postForm(t, inn.URL+"/oauth/token", "grant_type", "refresh_token", "refresh_token", session.RefreshToken),
		postForm(t, inn.URL+"/oauth/revoke", "token", session.RefreshToken),
		postForm(t, inn.URL+"/oauth/revoke", "token", session.AccessToken),
		postForm(t, inn.URL+"/oauth/introspect", "token", session.RefreshToken, "client_id", "web", "client_secret", secret),
		postForm(t, inn.URL+"/oauth/introspect", "token", session.AccessToken, "client_id", "web", "client_secret", secret),
	} {
		a.wantError(t, 503, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
	}
	away = false
	if next := inn.Refresh(session); next.Generation != 2 {
		t.Errorf("generation %d", next.Generation)
	}
}

// TestOAuthCORS holds T28.
func TestOAuthCORS(t *testing.T) {
	const app = "https://app.example"
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{AllowedOrigins: []string{app}}})
	inn.AddUser("ada")
	token := inn.SignIn("ada").RefreshToken
	a := postForm(t, inn.URL+"/oauth/token", "grant_type", "refresh_token", "refresh_token", token, "", "Origin", app, "Sec-Fetch-Site", "cross-site")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("got %d %v", a.status, a.header)
	}
	preflight := func(origin string) answer {
		return request(t, "OPTIONS", inn.URL+"/oauth/token", "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
	}
	if got := preflight(app).header.Get("Access-Control-Allow-Origin"); got != app {
		t.Errorf("allowed %q", got)
	}
	if got := preflight("https://evil.example").header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("allowed %q", got)
	}
}

func TestOAuthRevoke(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	_, secret := addService(t, inn, "web")
	revoke := func(pairs ...string) answer { return postForm(t, inn.URL+"/oauth/revoke", pairs...) }
	ended := func(session innkeepertest.Session) bool {
		return request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(session.AccessToken)).status == 401
	}
	// V2, V8: what is no token, or none any more, is as good as revoked.
	for _, token := range []string{"garbage", "ikr_x", "x.y.z"} {
		a := revoke("token", token)
		a.want(t, 200, "")
		a.wantOAuth(t)
	}
	// V1: hints are not needed, and wrong ones do no harm. V4: all tokens of the session end.
	for _, hint := range []string{"", "refresh_token", "access_token", "pigeon"} {
		for name, pick := range map[string]func(innkeepertest.Session) string{
			"refresh token": func(s innkeepertest.Session) string { return s.RefreshToken },
			"access token":  func(s innkeepertest.Session) string { return s.AccessToken },
		} {
			session, beside := inn.SignIn("ada"), inn.SignIn("ada")
			revoke("token", pick(session), "token_type_hint", hint, "client_id", "innkeeper").want(t, 200, "")
			if !ended(session) || ended(beside) {
				t.Errorf("%s with hint %q: ended %v, another one %v", name, hint, ended(session), ended(beside))
			}
			revoke("token", pick(session)).want(t, 200, "")
		}
	}
	session := inn.SignIn("ada")
	for name, test := range map[string]struct {
		a      answer
		status int
		code   string
	}{
		"V3 no token":        {revoke("token_type_hint", "refresh_token"), 400, "invalid_request"},
		"V7 wrong secret":    {revoke("token", session.RefreshToken, "", "Authorization", basic("web", "wrong")), 401, "invalid_client"},
		"V7 unknown client":  {revoke("token", session.RefreshToken, "client_id", "nobody"), 400, "invalid_client"},
		"T3 token twice":     {revoke("token", session.RefreshToken, "token", "x"), 400, "invalid_request"},
		"T4 in the query":    {request(t, "POST", inn.URL+"/oauth/revoke?token="+session.RefreshToken, "", "Content-Type", oauthForm), 400, "invalid_request"},
		"T2 JSON":            {request(t, "POST", inn.URL+"/oauth/revoke", `{"token":"`+session.RefreshToken+`"}`), 400, "invalid_request"},
		"V8 JSONP, with GET": {request(t, "GET", inn.URL+"/oauth/revoke?callback=x&token="+session.RefreshToken, ""), 405, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { test.a.wantError(t, test.status, test.code) })
	}
	if ended(session) {
		t.Error("a refused revocation has ended the session")
	}
	// V5: there is one client, and so no token of another one. A service revokes what an app
	// was given.
	revoke("token", session.RefreshToken, "", "Authorization", basic("web", secret)).want(t, 200, "")
	events, err := inn.Authority.Events(t.Context(), innkeeper.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; !ended(session) || last.Actor != "service:web" || last.Reason != innkeeper.ReasonLogout {
		t.Errorf("the last event is %+v", last)
	}
}

func TestOAuthIntrospect(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada", "mail:read")
	_, secret := addService(t, inn, "api", innkeeper.ScopeIntrospect)
	_, other := addService(t, inn, "other", innkeeper.ScopeUsersRead)
	_, admin := addService(t, inn, "root", innkeeper.ScopeAdmin)
	ask := func(token string) answer {
		t.Helper()
		a := postForm(t, inn.URL+"/oauth/introspect", "token", token, "token_type_hint", "pigeon", "", "Authorization", basic("api", secret))
		a.want(t, 200, "")
		a.wantOAuth(t)
		return a
	}
	session := inn.SignIn("ada")
	access := ask(session.AccessToken)
	now := float64(inn.Clock.Now().Unix())
	for member, want := range map[string]any{
		"active": true, "token_type": "Bearer", "client_id": "innkeeper", "iss": inn.URL, "sub": ada.ID.String(), "sid": session.ID,
		"username": "ada", "iat": now, "exp": now + 900, "auth_time": now,
		"aud": []any{inn.URL}, "amr": []any{"pwd"}, "roles": []any{"ada"}, "permissions": []any{"mail:read"},
	} {
		if !reflect.DeepEqual(access.body[member], want) {
			t.Errorf("%s is %v, want %v", member, access.body[member], want)
		}
	}
	refresh := ask(session.RefreshToken)
	if refresh.body["active"] != true || refresh.body["token_type"] != nil || refresh.body["sub"] != ada.ID.String() || refresh.body["exp"] != now+1209600 {
		t.Errorf("the refresh token is %s", refresh.text)
	}
	if strings.Contains(access.text+refresh.text, "@example.com") { // A22: as little about people as will do
		t.Error("the answer holds an address")
	}

	// I2, I3, I5: exactly this, whatever the reason. I6: and nothing happens.
	next := inn.Refresh(session)
	for name, token := range map[string]string{
		"garbage": "x", "another prefix": "ikr_x", "an altered token": next.AccessToken + "A", "a token that was used": session.RefreshToken, "a secret": secret,
	} {
		if a := ask(token); strings.TrimSpace(a.text) != `{"active":false}` {
			t.Errorf("%s: %s", name, a.text)
		}
	}
	if a := ask(next.RefreshToken); a.body["active"] != true {
		t.Errorf("being asked about a token that was used has ended the session: %s", a.text)
	}
	// The user is as the store has them: what was taken away is gone at once.
	none := []string{}
	if _, err := inn.Authority.UpdateUser(t.Context(), ada.ID, innkeeper.UserUpdate{Roles: &none}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	if a := ask(next.AccessToken); a.body["active"] != true || a.body["roles"] != nil || a.body["permissions"] != nil {
		t.Errorf("got %s", a.text)
	}
	inn.Clock.Advance(innkeeper.RevocationRetention)
	if a := ask(next.AccessToken); strings.TrimSpace(a.text) != `{"active":false}` {
		t.Errorf("expired: %s", a.text)
	}

	for name, test := range map[string]struct {
		pairs  []string
		status int
		code   string
	}{
		"I1 nobody":          {nil, 401, "invalid_client"},
		"I1 the apps":        {[]string{"client_id", "innkeeper"}, 401, "invalid_client"},
		"I1 wrong secret":    {[]string{"", "Authorization", basic("api", other)}, 401, "invalid_client"},
		"I1 another's token": {[]string{"", "Authorization", bearer(next.AccessToken)}, 401, "invalid_client"},
		"I1 another scope":   {[]string{"", "Authorization", basic("other", other)}, 403, "unauthorized_client"},
		"T13 two ways":       {[]string{"client_secret", secret, "", "Authorization", basic("api", secret)}, 400, "invalid_request"},
		"T3 twice":           {[]string{"token", "x", "", "Authorization", basic("api", secret)}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			postForm(t, inn.URL+"/oauth/introspect", append([]string{"token", next.RefreshToken}, test.pairs...)...).wantError(t, test.status, test.code)
		})
	}
	postForm(t, inn.URL+"/oauth/introspect", "", "Authorization", basic("api", secret)).wantError(t, 400, "invalid_request")
	postForm(t, inn.URL+"/oauth/introspect", "token", next.RefreshToken, "client_id", "root", "client_secret", admin).want(t, 200, "")
}

// panicking is a store with a fault.
type panicking struct{ innkeeper.ServiceStore }

func (panicking) Service(context.Context, innkeeper.ServiceID) (innkeeper.Service, error) {
	panic("a fault of ours")
}

// TestOAuthPanic holds L2: a fault of ours speaks the language of its endpoint, lets nobody
// in, and does not say what it was.
func TestOAuthPanic(t *testing.T) {
	stores := memory.New().Stores()
	services := stores.Services
	stores.Services = panicking{services}
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores})
	_, secret := addService(t, inn, "web")
	for _, a := range []answer{
		postForm(t, inn.URL+"/oauth/revoke", "token", "x", "client_id", "web", "client_secret", secret),
		request(t, "GET", inn.URL+"/admin/users", "", "Authorization", bearer(secret)),
	} {
		if strings.Contains(a.text, "fault") || a.status != 503 {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	postForm(t, inn.URL+"/oauth/revoke", "token", "x", "client_id", "web", "client_secret", secret).wantError(t, 503, "temporarily_unavailable")
	request(t, "GET", inn.URL+"/admin/users", "", "Authorization", bearer(secret)).want(t, 503, "unavailable")
}
