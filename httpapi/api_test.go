package httpapi_test

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// request is a request in one line: headers are pairs.
func request(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Content-Type" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if len(text) > 0 && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &a.body); err != nil {
			t.Fatalf("%s %s answered %q: %v", method, url, text, err)
		}
	}
	return a
}

func (a answer) want(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || code != "" && a.body["code"] != code {
		t.Fatalf("got %d %s, want %d %s", a.status, a.text, status, code)
	}
}

func (a answer) member(path ...string) any {
	var v any = a.body
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

const credentials = `{"username":"ada","password":"` + innkeepertest.Password + `"`

func bearer(token string) string { return "Bearer " + token }

// TestWalk is the README's walk: sign in, call, refresh, get caught.
func TestWalk(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada", "mail:read")

	login := request(t, "POST", inn.URL+"/auth/login", credentials+`,"delivery":"body","device":"laptop"}`)
	login.want(t, 200, "")
	if login.body["token_type"] != "Bearer" || login.body["expires_in"] != 900.0 || login.body["refresh_expires_in"] != 1209600.0 {
		t.Fatalf("login answered %s", login.text)
	}
	if login.header.Get("Cache-Control") != "no-store" || login.header["Set-Cookie"] != nil {
		t.Fatalf("login answered with headers %v", login.header)
	}
	access, first := login.body["access_token"].(string), login.body["refresh_token"].(string)

	me := request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(access))
	me.want(t, 200, "")
	if me.member("user", "username") != "ada" || me.member("session", "device") != "laptop" || me.member("session", "current") != true {
		t.Fatalf("me answered %s", me.text)
	}

	refreshed := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+first+`"}`)
	refreshed.want(t, 200, "")
	if refreshed.member("session", "generation") != 2.0 {
		t.Fatalf("refresh answered %s", refreshed.text)
	}
	second := refreshed.body["refresh_token"].(string)

	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+first+`"}`).want(t, 401, "refresh_token_reused")
	ended := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+second+`"}`)
	ended.want(t, 401, "session_ended")
	if ended.body["reason"] != "reuse" {
		t.Fatalf("the session ended for %v", ended.body["reason"])
	}
	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(access)).want(t, 401, "access_token_revoked")
}

func TestAccessTokenLife(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	inn.Clock.Advance(innkeeper.RevocationRetention)
	expired := request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(session.AccessToken))
	expired.want(t, 401, "access_token_expired")
	if got := expired.header.Get("WWW-Authenticate"); got != `Bearer realm="innkeeper", error="invalid_token", error_description="access token has expired"` {
		t.Fatalf("challenge %s", got)
	}
	session = inn.Refresh(session)
	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(session.AccessToken)).want(t, 200, "")
}

func TestBearerChallenges(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	token := inn.SignIn("ada").AccessToken
	const invalid = `Bearer realm="innkeeper", error="invalid_token", error_description="access token is invalid"`
	const malformed = `Bearer realm="innkeeper", error="invalid_request", ` +
		`error_description="the Authorization header must be sent once, as Bearer, one space and the access token"`
	for name, test := range map[string]struct {
		headers   []string
		status    int
		challenge string
	}{
		"none sent":           {nil, 401, `Bearer realm="innkeeper"`},
		"another scheme":      {[]string{"Authorization", "Basic YTpi"}, 401, `Bearer realm="innkeeper"`},
		"lower-case scheme":   {[]string{"Authorization", "bearer " + token}, 200, ""},
		"two spaces":          {[]string{"Authorization", "Bearer  " + token}, 400, malformed},
		"list":                {[]string{"Authorization", "Bearer " + token + ", Basic YTpi"}, 400, malformed},
		"empty":               {[]string{"Authorization", "Bearer "}, 400, malformed},
		"two headers":         {[]string{"Authorization", bearer(token), "Authorization", bearer(token)}, 400, malformed},
		"altered":             {[]string{"Authorization", bearer(token[:len(token)-4] + "AAAA")}, 401, invalid},
		"in the query string": {nil, 401, `Bearer realm="innkeeper"`},
	} {
		t.Run(name, func(t *testing.T) {
			url := inn.URL + "/auth/me"
			if name == "in the query string" {
				url += "?access_token=" + token
			}
			a := request(t, "GET", url, "", test.headers...)
			if a.status != test.status || a.header.Get("WWW-Authenticate") != test.challenge {
				t.Fatalf("got %d %q, want %d %q", a.status, a.header.Get("WWW-Authenticate"), test.status, test.challenge)
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{SignupOpen: true})
	inn.AddUser("ada")
	for name, test := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		"no such URL":              {"GET", "/nothing", "", nil, 404, "not_found"},
		"another method":           {"GET", "/auth/refresh", "", nil, 405, "invalid_request"},
		"unknown members":          {"POST", "/auth/login", credentials + `,"delivery":"body","tea":true}`, nil, 200, ""},
		"duplicate members":        {"POST", "/auth/login", credentials + `,"username":"eve"}`, nil, 400, "invalid_request"},
		"members in other case":    {"POST", "/auth/login", `{"USERNAME":"ada","password":"` + innkeepertest.Password + `"}`, nil, 401, "invalid_credentials"},
		"missing members":          {"POST", "/auth/login", `{"username":"ada"}`, nil, 400, "invalid_request"},
		"wrong type":               {"POST", "/auth/login", `{"username":1,"password":[]}`, nil, 400, "invalid_request"},
		"unknown delivery":         {"POST", "/auth/login", credentials + `,"delivery":"pigeon"}`, nil, 400, "invalid_request"},
		"no body":                  {"POST", "/auth/login", "", []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"not JSON":                 {"POST", "/auth/login", "username=ada", nil, 400, "invalid_request"},
		"trailing data":            {"POST", "/auth/login", credentials + `}{}`, nil, 400, "invalid_request"},
		"invalid UTF-8":            {"POST", "/auth/login", "{\"username\":\"ada\xff\",\"password\":\"x\"}", nil, 400, "invalid_request"},
		"JSON as text":             {"POST", "/auth/login", credentials + `}`, []string{"Content-Type", "text/plain"}, 415, "invalid_request"},
		"form":                     {"POST", "/auth/login", "username=ada", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "invalid_request"},
		"no type":                  {"POST", "/auth/login", credentials + `}`, []string{"Content-Type", ""}, 415, "invalid_request"},
		"too large":                {"POST", "/auth/login", `{"username":"` + strings.Repeat("a", 64<<10) + `"}`, nil, 413, "invalid_request"},
		"too deep":                 {"POST", "/auth/login", strings.Repeat("[", 10_000), nil, 400, "invalid_request"},
		"wrong password":           {"POST", "/auth/login", `{"username":"ada","password":"nonsense"}`, nil, 401, "invalid_credentials"},
		"unknown user":             {"POST", "/auth/login", `{"username":"eve","password":"nonsense"}`, nil, 401, "invalid_credentials"},
		"short password":           {"POST", "/auth/signup", `{"username":"eve","password":"short"}`, nil, 422, "password_rejected"},
		"taken username":           {"POST", "/auth/signup", `{"username":"ADA","password":"long enough"}`, nil, 409, "username_taken"},
		"odd username":             {"POST", "/auth/signup", `{"username":"a b","password":"long enough"}`, nil, 400, "invalid_request"},
		"odd email":                {"POST", "/auth/signup", `{"username":"eve","password":"long enough","email":"eve"}`, nil, 400, "invalid_request"},
		"refresh without token":    {"POST", "/auth/refresh", `{}`, nil, 401, "refresh_token_missing"},
		"refresh with garbage":     {"POST", "/auth/refresh", `{"refresh_token":"ikr_x"}`, nil, 401, "refresh_token_invalid"},
		"logout without anything":  {"POST", "/auth/logout", `{}`, nil, 401, "refresh_token_missing"},
		"logout with garbage":      {"POST", "/auth/logout", `{"refresh_token":"ikr_x"}`, nil, 401, "refresh_token_invalid"},
		"logout of unknown scope":  {"POST", "/auth/logout", `{"scope":"universe"}`, nil, 400, "invalid_request"},
		"short idempotency key":    {"POST", "/auth/refresh", `{"refresh_token":"ikr_x"}`, []string{"Idempotency-Key", `"short"`}, 400, "invalid_request"},
		"numeric idempotency key":  {"POST", "/auth/refresh", `{"refresh_token":"ikr_x"}`, []string{"Idempotency-Key", `"0123456789abcdef";generation=two`}, 400, "invalid_request"},
		"access token in the body": {"GET", "/auth/me", "", nil, 401, "access_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			a := request(t, test.method, inn.URL+test.path, test.body, test.headers...)
			a.want(t, test.status, test.code)
			if test.status >= 400 {
				wellFormed(t, a)
			}
			if strings.Contains(a.text, "nonsense") || strings.Contains(a.text, innkeepertest.Password) {
				t.Fatalf("the answer repeats a password: %s", a.text)
			}
		})
	}
}

// wellFormed checks what every refusal has in common.
func wellFormed(t *testing.T, a answer) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	if a.body["status"] != float64(a.status) || a.body["type"] != "about:blank" || a.body["detail"] == "" || a.body["title"] == "" {
		t.Errorf("the problem is %s", a.text)
	}
}

func TestAdmin(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	root := inn.AddUser("root")
	roles := []string{innkeeper.RoleAdmin}
	if _, err := inn.Authority.UpdateUser(t.Context(), root.ID, innkeeper.UserUpdate{Roles: &roles}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	inn.AddUser("ada")
	admin, plain := bearer(inn.SignIn("root").AccessToken), bearer(inn.SignIn("ada").AccessToken)
	as := func(authorization, method, path, body string) answer {
		t.Helper()
		return request(t, method, inn.URL+path, body, "Authorization", authorization)
	}

	refused := as(plain, "GET", "/admin/users", "")
	refused.want(t, 403, "forbidden")
	if !strings.Contains(refused.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
		t.Fatalf("challenge %q", refused.header.Get("WWW-Authenticate"))
	}
	as(admin, "PUT", "/admin/roles/clerk", `{"permissions":["mail:send","mail:read","mail:read"]}`).want(t, 204, "")
	created := as(admin, "POST", "/admin/users", `{"username":"Bob","password":"long enough","email":"bob@example.com","roles":["clerk"]}`)
	created.want(t, 201, "")
	if created.body["username"] != "bob" || len(created.body["permissions"].([]any)) != 2 {
		t.Fatalf("created %s", created.text)
	}
	bob := "/admin/users/" + created.body["id"].(string)
	as(admin, "POST", "/admin/users", `{"username":"joe","password":"long enough","roles":["nobody"]}`).want(t, 400, "invalid_request")

	login := request(t, "POST", inn.URL+"/auth/login", `{"username":"bob","password":"long enough","delivery":"body"}`)
	login.want(t, 200, "")
	sessions := as(admin, "GET", bob+"/sessions", "")
	sessions.want(t, 200, "")
	if n := len(sessions.body["sessions"].([]any)); n != 1 {
		t.Fatalf("bob has %d sessions", n)
	}
	as(admin, "PATCH", bob, `{"disabled":true}`).want(t, 200, "")
	request(t, "POST", inn.URL+"/auth/login", `{"username":"bob","password":"long enough"}`).want(t, 401, "invalid_credentials")
	ended := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+login.body["refresh_token"].(string)+`"}`)
	ended.want(t, 401, "session_ended")
	if ended.body["reason"] != "user_disabled" {
		t.Fatalf("reason %v", ended.body["reason"])
	}
	enabled := as(admin, "PATCH", bob, `{"disabled":false,"email":"","roles":[]}`)
	enabled.want(t, 200, "")
	if enabled.body["disabled"] != false || enabled.body["email"] != nil || len(enabled.body["roles"].([]any)) != 0 {
		t.Fatalf("enabled %s", enabled.text)
	}
	as(admin, "PUT", bob+"/password", `{"password":"even longer"}`).want(t, 204, "")
	request(t, "POST", inn.URL+"/auth/login", `{"username":"bob","password":"even longer"}`).want(t, 200, "")
	as(admin, "DELETE", bob+"/sessions", "").want(t, 204, "")
	as(admin, "DELETE", bob, "").want(t, 204, "")
	as(admin, "GET", bob, "").want(t, 404, "not_found")
	as(admin, "GET", "/admin/users/x", "").want(t, 404, "not_found")
	as(admin, "DELETE", "/admin/roles/clerk", "").want(t, 204, "")
	as(admin, "DELETE", "/admin/roles/admin", "").want(t, 403, "forbidden")
	users := as(admin, "GET", "/admin/users", "")
	if n := len(users.body["users"].([]any)); n != 2 {
		t.Fatalf("there are %d users: %s", n, users.text)
	}
	rest := as(admin, "GET", "/admin/users?after=ada", "")
	if n := len(rest.body["users"].([]any)); n != 1 {
		t.Fatalf("after ada come %d users", n)
	}
	mine := as(plain, "GET", "/auth/sessions", "").body["sessions"].([]any)[0].(map[string]any)
	as(admin, "DELETE", "/admin/sessions/"+mine["id"].(string), "").want(t, 204, "")
	as(plain, "GET", "/auth/me", "").want(t, 401, "access_token_revoked")

	// The role is the store's: taking it away is felt at once.
	none := []string{}
	if _, err := inn.Authority.UpdateUser(t.Context(), root.ID, innkeeper.UserUpdate{Roles: &none}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	as(admin, "GET", "/admin/users", "").want(t, 403, "forbidden")
}

func TestSessions(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	inn.AddUser("eve")
	laptop, phone, other := inn.SignIn("ada"), inn.SignIn("ada"), inn.SignIn("eve")
	auth := bearer(laptop.AccessToken)
	list := request(t, "GET", inn.URL+"/auth/sessions", "", "Authorization", auth)
	list.want(t, 200, "")
	if n := len(list.body["sessions"].([]any)); n != 2 {
		t.Fatalf("ada has %d sessions: %s", n, list.text)
	}
	request(t, "GET", inn.URL+"/auth/sessions?after=nonsense", "", "Authorization", auth).want(t, 400, "invalid_request")
	request(t, "DELETE", inn.URL+"/auth/sessions/"+other.ID, "", "Authorization", auth).want(t, 404, "not_found")
	for range 2 { // ending what has ended is fine
		request(t, "DELETE", inn.URL+"/auth/sessions/"+phone.ID, "", "Authorization", auth).want(t, 204, "")
	}
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+phone.RefreshToken+`"}`).want(t, 401, "session_ended")
	inn.Refresh(laptop)
}

func TestChangePassword(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	laptop, phone := inn.SignIn("ada"), inn.SignIn("ada")
	change := func(current, next string) answer {
		t.Helper()
		return request(t, "POST", inn.URL+"/auth/password", `{"current_password":"`+current+`","new_password":"`+next+`"}`, "Authorization", bearer(laptop.AccessToken))
	}
	change("wrong", "long enough").want(t, 401, "invalid_credentials")
	change(innkeepertest.Password, "short").want(t, 422, "password_rejected")
	changed := change(innkeepertest.Password, "long enough")
	changed.want(t, 200, "")
	for _, dead := range []innkeepertest.Session{laptop, phone} {
		ended := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+dead.RefreshToken+`"}`)
		ended.want(t, 401, "session_ended")
		if ended.body["reason"] != "password_changed" {
			t.Fatalf("reason %v", ended.body["reason"])
		}
	}
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+changed.body["refresh_token"].(string)+`"}`).want(t, 200, "")
	change("long enough", "longer still").want(t, 401, "access_token_revoked")
}

func TestSignup(t *testing.T) {
	closed := innkeepertest.New(t, nil)
	request(t, "POST", closed.URL+"/auth/signup", credentials+`}`).want(t, 403, "forbidden")
	open := innkeepertest.New(t, &innkeepertest.Options{SignupOpen: true})
	created := request(t, "POST", open.URL+"/auth/signup", credentials+`,"delivery":"body"}`)
	created.want(t, 201, "")
	request(t, "GET", open.URL+"/auth/me", "", "Authorization", bearer(created.body["access_token"].(string))).want(t, 200, "")
}

func TestHealth(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		request(t, "GET", inn.URL+path, "").want(t, 200, "")
	}
	jwks := request(t, "GET", inn.URL+"/.well-known/jwks.json", "")
	if jwks.header.Get("Cache-Control") != "public, max-age=600" || len(jwks.body["keys"].([]any)) != 2 {
		t.Fatalf("the key set is %v %s", jwks.header, jwks.text)
	}
	if strings.Contains(jwks.text, `"d"`) {
		t.Fatal("the key set holds a private member")
	}
}

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

// TestOpenAPI keeps docs/openapi.json equal to what the server answers, so that
// a change of the contract shows in every review.
func TestOpenAPI(t *testing.T) {
	const path = "../docs/openapi.json"
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{Version: "1"}})
	a := request(t, "GET", inn.URL+"/openapi.json", "")
	a.want(t, 200, "")
	if strings.Contains(a.text, "ErrorModel") {
		t.Error("the description refers to errors that the API never sends")
	}
	got, err := json.MarshalIndent(a.body, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != string(got) {
		t.Fatal("docs/openapi.json is out of date: go test ./httpapi -run TestOpenAPI -update")
	}
}
