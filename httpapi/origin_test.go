package httpapi_test

import (
	"testing"

	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

const app = "https://app.example.com"

func TestCrossOrigin(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{SignupOpen: true, API: httpapi.Config{AllowedOrigins: []string{app}}})
	inn.AddUser("ada")
	for name, test := range map[string]struct {
		headers []string
		allowed bool
	}{
		"no browser":                       {nil, true},
		"same origin":                      {[]string{"Sec-Fetch-Site", "same-origin"}, true},
		"typed by the user":                {[]string{"Sec-Fetch-Site", "none"}, true},
		"sibling subdomain":                {[]string{"Sec-Fetch-Site", "same-site"}, false},
		"another site":                     {[]string{"Sec-Fetch-Site", "cross-site"}, false},
		"another site, named":              {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		"allowed origin":                   {[]string{"Sec-Fetch-Site", "cross-site", "Origin", app}, true},
		"allowed origin with a port":       {[]string{"Sec-Fetch-Site", "cross-site", "Origin", app + ":8443"}, false},
		"allowed origin over http":         {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://app.example.com"}, false},
		"allowed origin as a prefix":       {[]string{"Sec-Fetch-Site", "cross-site", "Origin", app + ".evil.example"}, false},
		"null origin":                      {[]string{"Origin", "null"}, false},
		"old browser, another origin":      {[]string{"Origin", "https://evil.example"}, false},
		"old browser, own origin":          {[]string{"Origin", inn.URL}, true},
		"old browser, allowed origin":      {[]string{"Origin", app}, true},
		"sandboxed frame, null, same-site": {[]string{"Origin", "null", "Sec-Fetch-Site", "same-site"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for path, body := range map[string]string{
				"/auth/login":    credentials + `}`,
				"/auth/signup":   `{"username":"x y","password":"long enough"}`,
				"/auth/refresh":  `{}`,
				"/auth/logout":   `{}`,
				"/auth/password": `{"current_password":"a","new_password":"b"}`,
			} {
				a := request(t, "POST", inn.URL+path, body, test.headers...)
				if refused := a.body["code"] == "cross_site_request"; refused == test.allowed {
					t.Errorf("%s answered %d %s", path, a.status, a.text)
				}
			}
		})
	}
}

func TestCORS(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{AllowedOrigins: []string{app}}})
	inn.AddUser("ada")
	preflight := func(origin string) answer {
		t.Helper()
		return request(t, "OPTIONS", inn.URL+"/auth/refresh", "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,idempotency-key")
	}
	a := preflight(app)
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != app || a.header.Get("Access-Control-Allow-Credentials") != "true" ||
		a.header.Get("Access-Control-Allow-Headers") != "content-type,idempotency-key" {
		t.Fatalf("the preflight answered %d %v", a.status, a.header)
	}
	for _, origin := range []string{"https://evil.example", app + ".evil.example", "null", "*"} {
		if got := preflight(origin).header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Fatalf("the preflight of %s was answered with %q", origin, got)
		}
	}
	login := request(t, "POST", inn.URL+"/auth/login", credentials+`}`, "Origin", app)
	login.want(t, 200, "")
	if login.header.Get("Access-Control-Allow-Origin") != app || login.header.Get("Access-Control-Expose-Headers") != "Retry-After, Www-Authenticate, Date" {
		t.Fatalf("login answered with %v", login.header)
	}
	if got := login.header.Values("Vary"); len(got) == 0 {
		t.Fatal("the answer depends on the origin and does not say so")
	}
}

func TestAllowedOriginsAreChecked(t *testing.T) {
	for _, origin := range []string{"*", "app.example.com", app + "/", app + "/path", "null"} {
		inn := innkeepertest.New(t, nil)
		if _, err := httpapi.New(httpapi.Config{Authority: inn.Authority, AllowedOrigins: []string{origin}}); err == nil {
			t.Errorf("origin %q was accepted", origin)
		}
	}
}
