package httpapi_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

const mistaken = `","password":"incorrect horse battery staple","delivery":"body"}`

// behindProxy is an inn whose clients are whoever X-Forwarded-For names.
func behindProxy(t *testing.T) *innkeepertest.Inn {
	t.Helper()
	return innkeepertest.New(t, &innkeepertest.Options{
		SignupOpen: true,
		API:        httpapi.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
}

// TestTooManyAttempts is a refusal as clients see it (STANDARDS E1, E3, W3, W4): the
// same, byte for byte, for a name that somebody has and for one that nobody has.
func TestTooManyAttempts(t *testing.T) {
	inn := behindProxy(t)
	inn.AddUser("ada")
	var refusals []string
	for user, name := range []string{"ada", "nobody"} {
		login := func(n int, body string) answer {
			return request(t, "POST", inn.URL+"/auth/login", body, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", 100*user+n))
		}
		for n := range 5 {
			login(n, `{"username":"`+name+mistaken).want(t, 401, "invalid_credentials")
		}
		refused := login(9, `{"username":"`+name+mistaken)
		refused.want(t, 429, "too_many_attempts")
		if refused.header.Get("Content-Type") != "application/problem+json" || refused.header.Get("Cache-Control") != "no-store" ||
			refused.header.Get("Retry-After") != "1" || refused.body["status"] != 429.0 {
			t.Errorf("it is refused with %v %s", refused.header, refused.text)
		}
		refusals = append(refusals, refused.text)
	}
	if refusals[0] != refusals[1] {
		t.Errorf("there is a difference:\n%s\n%s", refusals[0], refusals[1])
	}

	// Retry-After is in whole seconds, and never too early (E3).
	inn.Clock.Advance(time.Second)
	request(t, "POST", inn.URL+"/auth/login", `{"username":"ada`+mistaken, "X-Forwarded-For", "192.0.2.50").want(t, 401, "invalid_credentials")
	inn.Clock.Advance(500 * time.Millisecond)
	refused := request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "X-Forwarded-For", "192.0.2.51")
	refused.want(t, 429, "too_many_attempts")
	if got := refused.header.Get("Retry-After"); got != "2" { // 1.5 s are left
		t.Errorf("Retry-After: %s", got)
	}
	inn.Clock.Advance(2 * time.Second)
	request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "X-Forwarded-For", "192.0.2.51").want(t, 200, "")
}

// TestDeviceCookie follows a browser that is known (OWASP: device cookies): it signs in
// while strangers guess, in both scopes.
func TestDeviceCookie(t *testing.T) {
	for scope, want := range map[httpapi.CookieScope][2]string{
		httpapi.CookieScopePath: {"__Secure-innkeeper-device", "/auth"},
		httpapi.CookieScopeHost: {"__Host-innkeeper-device", "/"},
	} {
		inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{CookieScope: scope}})
		inn.AddUser("ada")
		login := request(t, "POST", inn.URL+"/auth/login", credentials+`}`)
		login.want(t, 200, "")
		if strings.Contains(login.text, "device_token") {
			t.Errorf("the token of the device is in the body: %s", login.text)
		}
		var device *http.Cookie
		for _, cookie := range (&http.Response{Header: login.header}).Cookies() {
			if cookie.Name == want[0] {
				device = cookie
			}
		}
		// K1: a year, of the 400 days that browsers allow.
		if device == nil || !device.HttpOnly || !device.Secure || device.SameSite != http.SameSiteStrictMode ||
			device.Path != want[1] || device.Domain != "" || device.MaxAge != 365*24*60*60 {
			t.Fatalf("the cookie of the device is %v among %v", device, login.header["Set-Cookie"])
		}
		for range 5 {
			request(t, "POST", inn.URL+"/auth/login", `{"username":"ada`+mistaken).want(t, 401, "invalid_credentials")
		}
		request(t, "POST", inn.URL+"/auth/login", credentials+`}`).want(t, 429, "too_many_attempts")
		for _, tossed := range []string{"", device.Name + "=ikd_tossed; ", "theme=dark; "} {
			again := request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "Cookie", tossed+device.Name+"="+device.Value)
			again.want(t, 200, "")
		}
		lookalike := strings.ToLower(device.Name) + "=" + device.Value // K2
		request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "Cookie", lookalike).want(t, 429, "too_many_attempts")

		// A logout takes the session back, and not the device.
		refresh := (&http.Response{Header: login.header}).Cookies()[0]
		logout := request(t, "POST", inn.URL+"/auth/logout", `{}`, "Cookie", refresh.Name+"="+refresh.Value)
		logout.want(t, 204, "")
		for _, line := range logout.header["Set-Cookie"] {
			if strings.HasPrefix(line, device.Name) {
				t.Errorf("a logout sets %s", line)
			}
		}
		// It is no refresh token, and refreshing does not touch it.
		request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", refresh.Name+"="+device.Value).want(t, 401, "refresh_token_invalid")
	}
}

// TestDeviceToken is the same for those who keep no cookies.
func TestDeviceToken(t *testing.T) {
	inn := behindProxy(t)
	signup := request(t, "POST", inn.URL+"/auth/signup", `{"username":"ada","password":"`+innkeepertest.Password+`","delivery":"body"}`)
	signup.want(t, 201, "")
	device, _ := signup.body["device_token"].(string)
	if !strings.HasPrefix(device, "ikd_") || signup.header["Set-Cookie"] != nil {
		t.Fatalf("sign-up answered %v %s", signup.header, signup.text)
	}
	for n := range 5 {
		request(t, "POST", inn.URL+"/auth/login", `{"username":"ada`+mistaken, "X-Forwarded-For", fmt.Sprintf("2001:db8:%x::1", n)).want(t, 401, "")
	}
	request(t, "POST", inn.URL+"/auth/login", credentials+`,"delivery":"body"}`).want(t, 429, "too_many_attempts")
	known := request(t, "POST", inn.URL+"/auth/login", credentials+`,"delivery":"body","device_token":"`+device+`"}`)
	known.want(t, 200, "")
	if again, _ := known.body["device_token"].(string); !strings.HasPrefix(again, "ikd_") {
		t.Errorf("a known device is not told so again: %s", known.text)
	}
	refreshed := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+known.body["refresh_token"].(string)+`"}`)
	refreshed.want(t, 200, "")
	if _, told := refreshed.body["device_token"]; told {
		t.Error("a refresh makes a device known")
	}
}

// TestRefreshesThatAreTooMany: a session that refreshes without a rest is asked to wait,
// here and at the endpoint of OAuth, and is not signed out. Another one at the same
// address is not.
func TestRefreshesThatAreTooMany(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{RefreshLimit: 3})
	inn.AddUser("ada")
	wild, calm := inn.SignIn("ada"), inn.SignIn("ada")
	for range 3 {
		wild = inn.Refresh(wild)
	}
	refused := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+wild.RefreshToken+`"}`)
	refused.want(t, 429, "too_many_attempts")
	if refused.header.Get("Retry-After") != "20" || refused.header["Set-Cookie"] != nil {
		t.Errorf("it is refused with %v", refused.header)
	}
	form := request(t, "POST", inn.URL+"/oauth/token", "grant_type=refresh_token&refresh_token="+wild.RefreshToken,
		"Content-Type", "application/x-www-form-urlencoded")
	if form.status != 429 || form.body["error"] != "temporarily_unavailable" || form.header.Get("Retry-After") != "20" {
		t.Errorf("at /oauth/token it is refused with %d %v %s", form.status, form.header, form.text)
	}
	inn.Refresh(calm)
	inn.Clock.Advance(20 * time.Second)
	inn.Refresh(wild)
}

// TestPasswordChangeTooMany: an access token is no means to guess the password (W3).
func TestPasswordChangeTooMany(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	change := func(current string) answer {
		return request(t, "POST", inn.URL+"/auth/password",
			`{"current_password":"`+current+`","new_password":"a brand new horse battery"}`, "Authorization", bearer(session.AccessToken))
	}
	for range 5 {
		change("incorrect horse battery staple").want(t, 401, "invalid_credentials")
	}
	change(innkeepertest.Password).want(t, 429, "too_many_attempts")
	inn.Clock.Advance(time.Second)
	change(innkeepertest.Password).want(t, 200, "")
}

// TestProxyThatNobodyHasNamed fails closed: what it forwards is not believed, so that all
// who come through it share one budget; and the log says so, once.
func TestProxyThatNobodyHasNamed(t *testing.T) {
	var log bytes.Buffer
	inn := innkeepertest.New(t, &innkeepertest.Options{
		API: httpapi.Config{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Logger:         slog.New(slog.NewTextHandler(&log, nil)),
		},
	})
	inn.AddUser("ada")
	for n := range 10 {
		request(t, "POST", inn.URL+"/auth/login", fmt.Sprintf(`{"username":"user%d`, n)+mistaken, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", n)).want(t, 401, "")
	}
	request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "X-Forwarded-For", "198.51.100.1").want(t, 429, "too_many_attempts")
	if n := strings.Count(log.String(), "--trusted-proxy"); n != 1 || !strings.Contains(log.String(), "peer=127.0.0.1") || strings.Contains(log.String(), "192.0.2") {
		t.Errorf("the log says:\n%s", log.String())
	}
	inn.Clock.Advance(time.Hour)

	var quiet bytes.Buffer
	trusting := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.NewTextHandler(&quiet, nil)),
	}})
	for n := range 12 { // garbage counts for the proxy that let it pass, and for nobody else
		from, want := "unknown", 401
		if n >= 10 {
			want = 429
		}
		request(t, "POST", trusting.URL+"/auth/login", fmt.Sprintf(`{"username":"user%d`, n)+mistaken, "X-Forwarded-For", "203.0.113.9, "+from).want(t, want, "")
	}
	request(t, "POST", trusting.URL+"/auth/login", `{"username":"user`+mistaken, "X-Forwarded-For", "unknown, 203.0.113.9").want(t, 401, "")
	if quiet.Len() > 0 {
		t.Errorf("with a proxy that is trusted the log says:\n%s", quiet.String())
	}
}

// TestLimitsCanBeLeftToSomethingInFront: only networks, by name.
func TestLimitsCanBeLeftToSomethingInFront(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{SignInLimits: innkeeper.LimitAccounts})
	for n := range 20 {
		request(t, "POST", inn.URL+"/auth/login", fmt.Sprintf(`{"username":"user%d`, n)+mistaken).want(t, 401, "")
	}
}
