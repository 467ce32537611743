package httpapi_test

import (
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// imports are what a module loads.
var imports = regexp.MustCompile(`(?m)^(?:import|export) .*from '(\.[^']+)'`)

// TestBrowserClient loads the client as a page does: the entry, and whatever each
// module imports.
func TestBrowserClient(t *testing.T) {
	const app = "https://app.example.com"
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{AllowedOrigins: []string{app}}})
	seen := map[string]bool{}
	var load func(url string)
	load = func(url string) {
		if seen[url] {
			return
		}
		seen[url] = true
		a := request(t, "GET", inn.URL+url, "", "Origin", app, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", url, a.status, a.text)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/javascript; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache",
			"Access-Control-Allow-Origin": app, "Cross-Origin-Resource-Policy": "cross-origin",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", url, name, got, want)
			}
		}
		unchanged := request(t, "GET", inn.URL+url, "", "If-None-Match", a.header.Get("ETag"))
		if unchanged.status != http.StatusNotModified || unchanged.text != "" {
			t.Errorf("%s has not changed, but: %d, %d bytes", url, unchanged.status, len(unchanged.text))
		}
		for _, match := range imports.FindAllStringSubmatch(a.text, -1) {
			load(path.Join(path.Dir(url), match[1]))
		}
	}
	load("/auth/client.js")
	if len(seen) < 10 || !seen["/auth/client/core.js"] {
		t.Fatalf("loaded only %v", seen)
	}

	stranger := request(t, "GET", inn.URL+"/auth/client.js", "", "Origin", "https://evil.example")
	if got := stranger.header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("%q may import it", got)
	}
	for _, url := range []string{"/auth/client/embed.go", "/auth/client/", "/auth/client/core.js/", "/auth/client/nothing.js"} {
		request(t, "GET", inn.URL+url, "").want(t, http.StatusNotFound, "not_found")
	}
	request(t, "POST", inn.URL+"/auth/client.js", `{}`).want(t, http.StatusMethodNotAllowed, "invalid_request")
	if description := request(t, "GET", inn.URL+"/openapi.json", "").text; strings.Contains(description, "client.js") {
		t.Error("the description of the API lists files")
	}
}
