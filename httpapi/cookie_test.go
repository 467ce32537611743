package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

const refreshCookie = "__Secure-innkeeper-refresh"

// setCookies returns the cookies that an answer sets, by name.
func setCookies(t *testing.T, a answer) map[string]*http.Cookie {
	t.Helper()
	cookies := map[string]*http.Cookie{}
	for _, line := range a.header["Set-Cookie"] {
		cookie, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		cookies[cookie.Name] = cookie
	}
	return cookies
}

// showsRefreshToken says whether a refresh token stands in text, whose ever it is.
func showsRefreshToken(text string) bool {
	return slices.ContainsFunc(innkeepertest.FindSecrets(text), func(secret string) bool {
		return strings.HasPrefix(secret, innkeeper.RefreshTokenPrefix)
	})
}

// cookieLogin signs in as a browser would and returns the refresh cookie's value.
func cookieLogin(t *testing.T, inn *innkeepertest.Inn, headers ...string) string {
	t.Helper()
	login := request(t, "POST", inn.URL+"/auth/login", credentials+`}`, headers...)
	login.want(t, 200, "")
	if login.body["refresh_token"] != nil || showsRefreshToken(login.text) {
		t.Fatalf("a cookie session shows its refresh token: %s", login.text)
	}
	return setCookies(t, login)[refreshCookie].Value
}

func TestCookieAttributes(t *testing.T) {
	for scope, want := range map[httpapi.CookieScope]struct{ name, path string }{
		"":                      {"__Secure-innkeeper-refresh", "/auth"},
		httpapi.CookieScopePath: {"__Secure-innkeeper-refresh", "/auth"},
		httpapi.CookieScopeHost: {"__Host-innkeeper-refresh", "/"},
	} {
		inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{CookieScope: scope}})
		inn.AddUser("ada")
		cookies := setCookies(t, request(t, "POST", inn.URL+"/auth/login", credentials+`}`))
		refresh, hint := cookies[want.name], cookies[httpapi.HintCookie]
		if refresh == nil || !refresh.HttpOnly || !refresh.Secure || refresh.SameSite != http.SameSiteStrictMode ||
			refresh.Path != want.path || refresh.Domain != "" || refresh.MaxAge != 1209600 {
			t.Fatalf("scope %q: the refresh cookie is %v", scope, refresh)
		}
		if hint == nil || hint.HttpOnly || !hint.Secure || hint.SameSite != http.SameSiteStrictMode ||
			hint.Path != "/" || hint.Domain != "" || hint.MaxAge != refresh.MaxAge {
			t.Fatalf("scope %q: the hint is %v", scope, hint)
		}
		if parts := strings.Split(hint.Value, "."); len(parts) != 3 || len(parts[0]) != 11 || parts[1] != "1" {
			t.Fatalf("the hint says %q", hint.Value)
		}
	}
}

func TestCookieSession(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	token := cookieLogin(t, inn)
	cookie := refreshCookie + "=" + token

	// A script that asks for its token in a body does not get it, and consumes
	// nothing.
	for _, body := range []string{`{}`, `{"delivery":"body"}`, `{"refresh_token":""}`} {
		a := request(t, "POST", inn.URL+"/auth/refresh", body, "Cookie", cookie, "Idempotency-Key", `"key-of-generation-1"`)
		a.want(t, 200, "")
		if showsRefreshToken(a.text) {
			t.Fatalf("the refresh token stands in a body: %s", a.text)
		}
	}
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+token+`"}`).want(t, 401, "refresh_token_invalid")
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+token+`"}`, "Cookie", cookie).want(t, 400, "invalid_request")

	// A body session in a cookie is refused as well.
	body := inn.SignIn("ada")
	request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", refreshCookie+"="+body.RefreshToken).want(t, 401, "refresh_token_invalid")
}

func TestFailedRefreshLeavesCookiesAlone(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	cookie := refreshCookie + "=" + cookieLogin(t, inn)
	request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", cookie).want(t, 200, "")
	for _, code := range []string{"refresh_token_reused", "session_ended"} {
		a := request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", cookie)
		a.want(t, 401, code)
		if a.header["Set-Cookie"] != nil {
			t.Fatalf("%s set cookies: %v", code, a.header["Set-Cookie"])
		}
	}
}

func TestLogoutTakesCookiesBack(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	cleared := func(a answer) {
		t.Helper()
		a.want(t, 204, "")
		cookies := setCookies(t, a)
		if cookies[refreshCookie].MaxAge != -1 || cookies[refreshCookie].Path != "/auth" || cookies[httpapi.HintCookie].MaxAge != -1 {
			t.Fatalf("the cookies are %v", a.header["Set-Cookie"])
		}
	}
	first := refreshCookie + "=" + cookieLogin(t, inn)
	second := refreshCookie + "=" + cookieLogin(t, inn)
	cleared(request(t, "POST", inn.URL+"/auth/logout", `{}`, "Cookie", first))
	cleared(request(t, "POST", inn.URL+"/auth/logout", `{}`, "Cookie", refreshCookie+"=garbage"))
	// "others" keeps this session, and with it the cookie.
	others := request(t, "POST", inn.URL+"/auth/logout", `{"scope":"others"}`, "Cookie", second)
	others.want(t, 204, "")
	if others.header["Set-Cookie"] != nil {
		t.Fatalf("the cookies are %v", others.header["Set-Cookie"])
	}
	// An access token that has expired does not stand in the way.
	cleared(request(t, "POST", inn.URL+"/auth/logout", `{"scope":"everywhere"}`, "Cookie", second, "Authorization", "Bearer old"))
	request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", second).want(t, 401, "session_ended")
}

func TestLoginReplacesTheCookieSession(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	old := refreshCookie + "=" + cookieLogin(t, inn)
	request(t, "POST", inn.URL+"/auth/login", `{"username":"ada","password":"wrong"}`, "Cookie", old).want(t, 401, "invalid_credentials")
	request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", old, "Idempotency-Key", `"key-of-generation-1"`).want(t, 200, "")
	cookieLogin(t, inn, "Cookie", old)
	ended := request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", old, "Idempotency-Key", `"key-of-generation-1"`)
	ended.want(t, 401, "session_ended")
	if ended.body["reason"] != "replaced" {
		t.Fatalf("reason %v", ended.body["reason"])
	}
}

func TestSeveralCookies(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	token := cookieLogin(t, inn)
	next := setCookies(t, request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", refreshCookie+"="+token))[refreshCookie].Value
	other := cookieLogin(t, inn)
	for name, test := range map[string]struct {
		cookies []string
		status  int
		code    string
	}{
		"tossed garbage first":           {[]string{"garbage", next}, 200, ""},
		"tossed garbage last":            {[]string{next, "ikr_garbage"}, 200, ""},
		"two of one session, older last": {[]string{next, token}, 200, ""},
		"two sessions":                   {[]string{next, other}, 400, "invalid_request"},
		"garbage only":                   {[]string{"a", "b"}, 401, "refresh_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			header := refreshCookie + "=" + strings.Join(test.cookies, "; "+refreshCookie+"=")
			request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", header, "Idempotency-Key", `"key-of-generation-2"`).want(t, test.status, test.code)
		})
	}
	for _, lookalike := range []string{"__secure-innkeeper-refresh", "innkeeper-refresh", "=" + refreshCookie} {
		request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", lookalike+"="+next).want(t, 401, "refresh_token_missing")
	}
}
