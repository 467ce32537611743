package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// api is an API behind package verify, that says what it was sent.
type api struct {
	*httptest.Server
	calls atomic.Int64
}

func newAPI(t testing.TB, i *inn) *api {
	t.Helper()
	verifier, err := verify.New(verify.Config{Issuer: i.URL, Now: i.Clock.Now, Skew: verify.NoSkew})
	check(t, err)
	a := &api{}
	echo := verifier.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := verify.FromContext(r.Context())
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s by %s: %s", r.Method, r.URL.Path, id.Username, body)
	}))
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		echo.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// lagging makes a source believe that its tokens live longer than the server does, so
// that the API is the first to notice. The clocks of two machines do that.
func lagging(i *inn) func(*client.Config) {
	start := i.Clock.Now()
	return func(cfg *client.Config) {
		cfg.Now = func() time.Time { return start.Add(i.Clock.Now().Sub(start) / 20) }
	}
}

func answerOf(t testing.TB, resp *http.Response, err error) (int, string) {
	t.Helper()
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(text)
}

// TestReplay: the API refuses an expired token, and every request arrives all the same,
// with its body.
func TestReplay(t *testing.T) {
	i := newInn(t, nil)
	api := newAPI(t, i)
	source := i.signedIn(t, client.NewMemoryStore(), lagging(i))
	hc, err := source.HTTPClient(api.URL)
	check(t, err)
	cases := []struct {
		method string
		body   io.Reader
		want   string // after the name
	}{
		{"GET", nil, ""},
		{"HEAD", nil, ""},
		{"DELETE", http.NoBody, ""},
		{"POST", strings.NewReader("a string"), "a string"},
		{"PUT", bytes.NewReader([]byte("some bytes")), "some bytes"},
		{"PATCH", bytes.NewBufferString("a buffer"), "a buffer"},
	}
	for _, c := range cases {
		t.Run(c.method, func(t *testing.T) {
			before, refreshes := api.calls.Load(), i.refreshes.Load()
			i.expire()
			req, err := http.NewRequestWithContext(t.Context(), c.method, api.URL+"/mail", c.body)
			check(t, err)
			resp, err := hc.Do(req)
			status, text := answerOf(t, resp, err)
			if want := c.method + " /mail by ada: " + c.want; status != 200 || c.method != "HEAD" && text != want {
				t.Errorf("%d %q, want %q", status, text, want)
			}
			if calls := api.calls.Load() - before; calls != 2 || i.refreshes.Load() != refreshes+1 {
				t.Errorf("%d calls and %d refreshes", calls, i.refreshes.Load()-refreshes)
			}
			if resp.Request.Header.Get("Authorization") != "" || req.Header.Get("Authorization") != "" {
				t.Error("the request of the caller holds the token")
			}
		})
	}
}

// TestStreamIsNotReplayed: its refusal is the caller's, and the next one has a new token.
func TestStreamIsNotReplayed(t *testing.T) {
	i := newInn(t, nil)
	api := newAPI(t, i)
	source := i.signedIn(t, client.NewMemoryStore(), lagging(i))
	hc, err := source.HTTPClient(api.URL)
	check(t, err)
	i.expire()
	upload := func() (int, string) {
		resp, err := hc.Post(api.URL+"/mail", "text/plain", io.NopCloser(strings.NewReader("a stream")))
		return answerOf(t, resp, err)
	}
	status, text := upload()
	if status != 401 || !strings.Contains(text, "access_token_expired") {
		t.Errorf("%d %q", status, text)
	}
	eventually(t, "a new token", func() bool { return mustToken(t, source).Generation == 2 })
	if status, text := upload(); status != 200 || !strings.HasSuffix(text, "a stream") {
		t.Errorf("%d %q", status, text)
	}
}

// TestManyRefusals: 50 requests are refused at the same time, and one refresh serves all.
func TestManyRefusals(t *testing.T) {
	i := newInn(t, nil)
	api := newAPI(t, i)
	source := i.signedIn(t, client.NewMemoryStore(), lagging(i))
	hc, err := source.HTTPClient(api.URL)
	check(t, err)
	i.expire()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			resp, err := hc.Post(api.URL+"/mail", "text/plain", strings.NewReader("hello"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.HasSuffix(string(text), "hello") {
				t.Errorf("%d %q", resp.StatusCode, text)
			}
		})
	}
	wg.Wait()
	if i.refreshes.Load() != 1 {
		t.Errorf("%d refreshes", i.refreshes.Load())
	}
}

// TestRefusalIsReturned as it is where another token would not help or is not to be had.
func TestRefusalIsReturned(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	var header http.Header
	var status int
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "no")
	}))
	t.Cleanup(server.Close)
	hc, err := source.HTTPClient(server.URL)
	check(t, err)
	challenge := func(values ...string) http.Header { return http.Header{"Www-Authenticate": values} }
	cases := []struct {
		name      string
		status    int
		header    http.Header
		calls     int64
		refreshes int64
	}{
		{"403", 403, challenge(`Bearer error="invalid_token"`), 1, 0},
		{"no challenge", 401, nil, 1, 0},
		{"no error", 401, challenge(`Bearer realm="x"`), 1, 0},
		{"step-up (RFC 9470)", 401, challenge(`Bearer error="insufficient_user_authentication", max_age=600`), 1, 0},
		{"a missing permission", 401, challenge(`Bearer error="insufficient_scope"`), 1, 0},
		{"another scheme", 401, challenge(`DPoP error="invalid_token"`), 1, 0},
		{"in a description", 401, challenge(`Bearer error_description="not error=\"invalid_token\", really"`), 1, 0},
		{"of another challenge", 401, challenge(`Basic realm="error=invalid_token", Bearer realm="y"`), 1, 0},
		{"always", 401, challenge(`Bearer realm="x", error="invalid_token"`), 2, 1},
		{"still always", 401, challenge(`Negotiate`, `Basic realm="a, b" , bearer realm=x , ERROR = invalid_token`), 1, 0}, // a refresh a moment ago
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, header = c.status, c.header
			before, refreshes := calls.Load(), i.refreshes.Load()
			resp, err := hc.Get(server.URL)
			if got, text := answerOf(t, resp, err); got != c.status || text != "no" {
				t.Errorf("%d %q", got, text)
			}
			if got := calls.Load() - before; got != c.calls || i.refreshes.Load()-refreshes != c.refreshes {
				t.Errorf("%d calls, %d refreshes", got, i.refreshes.Load()-refreshes)
			}
			if !i.alive(t) {
				t.Error("an API has signed somebody out")
			}
		})
	}
	t.Run("when the refresh fails", func(t *testing.T) {
		i.Clock.Advance(11 * time.Second)
		status, header = 401, challenge(`Bearer error="invalid_token"`)
		i.setFault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(503)
		})
		resp, err := hc.Get(server.URL)
		if got, text := answerOf(t, resp, err); got != 401 || text != "no" {
			t.Errorf("%d %q: the refusal must be whole", got, text)
		}
	})
}

// TestNoTokenNoRequest: what cannot be signed is not sent, and its body is closed.
func TestNoTokenNoRequest(t *testing.T) {
	i := newInn(t, nil)
	api := newAPI(t, i)
	hc, err := i.source(t, client.NewMemoryStore()).HTTPClient(api.URL)
	check(t, err)
	body := &closedBody{Reader: strings.NewReader("hello")}
	req, err := http.NewRequestWithContext(t.Context(), "POST", api.URL, body)
	check(t, err)
	_, err = hc.Do(req) //nolint:bodyclose // there is none
	if !errors.Is(err, client.ErrSignedOut) || !body.closed.Load() || api.calls.Load() != 0 {
		t.Errorf("error = %v, closed: %v, %d calls", err, body.closed.Load(), api.calls.Load())
	}
}

type closedBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *closedBody) Close() error {
	b.closed.Store(true)
	return nil
}

// TestOrigins is the matrix of who gets the token.
func TestOrigins(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	var sent string
	base := transportFunc(func(r *http.Request) (*http.Response, error) {
		sent = r.Header.Get("Authorization")
		return &http.Response{StatusCode: 204, Body: http.NoBody, Request: r}, nil
	})
	transport, err := client.NewTransport(source, client.TransportConfig{
		Origins: []string{"https://api.example.com", "https://other.example.com:8443/", "http://localhost:8080", "https://bücher.example", "https://[2001:db8::1]"},
		Base:    base,
	})
	check(t, err)
	if transport.Unwrap() == nil {
		t.Error("nothing below")
	}
	cases := map[string]bool{
		"https://api.example.com/mail":              true,
		"https://API.Example.COM/mail":              true,
		"https://api.example.com:443/":              true,
		"HTTPS://api.example.com":                   true,
		"https://other.example.com:8443/x":          true,
		"http://localhost:8080/x":                   true,
		"https://bücher.example/":                   true,
		"https://BÜCHER.example/":                   true,
		"https://xn--bcher-kva.example/":            true,
		"https://[2001:db8::1]/":                    true,
		"https://[2001:0db8:0:0::1]:443/":           true,
		"http://api.example.com/mail":               false,
		"http://api.example.com:443/":               false,
		"https://api.example.com:8443/":             false,
		"https://other.example.com/":                false,
		"https://localhost:8080/":                   false,
		"http://127.0.0.1:8080/":                    false,
		"http://localhost/":                         false,
		"https://example.com/":                      false,
		"https://api.example.com.evil.example/":     false,
		"https://api.example.com@evil.example/":     false,
		"https://evil.example/api.example.com":      false,
		"https://evil.example#api.example.com":      false,
		"https://evilapi.example.com/":              false,
		"https://api.example.com./":                 false,
		"https://bucher.example/":                   false,
		"https://[2001:db8::2]/":                    false,
		"https://sub.api.example.com/":              false,
		"wss://api.example.com/":                    false,
		"https://api.example.com%2eevil.example:1/": false,
	}
	for text, want := range cases {
		u, err := url.Parse(text)
		if err != nil {
			continue // net/http would not come this far either
		}
		sent = ""
		_, err = transport.RoundTrip((&http.Request{Method: "GET", URL: u}).WithContext(t.Context())) //nolint:bodyclose // none
		check(t, err)
		if got := strings.HasPrefix(sent, "Bearer ey"); got != want {
			t.Errorf("%s: token sent: %v, want %v", text, got, want)
		}
	}

	get := func(change func(*http.Request)) string {
		sent = ""
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
		check(t, err)
		change(req)
		_, err = transport.RoundTrip(req) //nolint:bodyclose // none
		check(t, err)
		return sent
	}
	if got := get(func(r *http.Request) { r.Header.Set("Authorization", "Basic abc") }); got != "Basic abc" {
		t.Errorf("the caller's own: %q", got)
	}
	if got := get(func(r *http.Request) { r.Host = "evil.example" }); got != "" {
		t.Error("a Host header outside gets the token")
	}
	if got := get(func(r *http.Request) { r.Header = nil }); got == "" {
		t.Error("no headers at all")
	}
	for name, origins := range map[string][]string{
		"none": nil, "http": {"http://api.example.com"}, "a path": {"https://api.example.com/v1"}, "no host": {"https://"},
		"all": {"*"}, "a password": {"https://a:b@api.example.com"}, "a zone": {"https://[fe80::1%25eth0]"},
	} {
		if _, err := client.NewTransport(source, client.TransportConfig{Origins: origins}); err == nil {
			t.Errorf("origins %s: no error", name)
		}
	}
}

// TestRedirects is the matrix of hops. Origins a and b are ours, x is not.
func TestRedirects(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	servers := make(map[byte]*httptest.Server)
	var mu sync.Mutex
	var seen []string // "a+" with a token, "a-" without
	for _, name := range []byte("abx") {
		servers[name] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mark := "-"
			if r.Header.Get("Authorization") != "" {
				mark = "+"
			}
			mu.Lock()
			seen = append(seen, string(name)+mark)
			mu.Unlock()
			status, rest := r.URL.Query().Get("status"), r.URL.Query().Get("path")
			if rest == "" {
				return
			}
			code := map[string]int{"302": 302, "307": 307, "308": 308}[status]
			http.Redirect(w, r, servers[rest[0]].URL+"/?status="+status+"&path="+rest[1:], code)
		}))
		t.Cleanup(servers[name].Close)
	}
	hc, err := source.HTTPClient(servers['a'].URL, servers['b'].URL)
	check(t, err)
	for path, want := range map[string]string{
		"a": "a+", "ab": "a+ b+", "aba": "a+ b+ a+", "x": "x-",
		"ax": "a+ x-", "xa": "x- a-", "axa": "a+ x- a-", "abxb": "a+ b+ x- b-", "axab": "a+ x- a- b-", "xab": "x- a- b-",
	} {
		for _, status := range []string{"302", "307", "308"} {
			for _, method := range []string{"GET", "POST"} {
				seen = nil
				req, err := http.NewRequestWithContext(t.Context(), method, servers[path[0]].URL+"/?status="+status+"&path="+path[1:], strings.NewReader("x"))
				check(t, err)
				resp, err := hc.Do(req)
				answerOf(t, resp, err)
				if got := strings.Join(seen, " "); got != want {
					t.Errorf("%s %s %s: %s, want %s", method, status, path, got, want)
				}
			}
		}
	}
}

// TestRefreshTokenFollowsNoRedirect: the token endpoint of a server that was moved, or
// of somebody in between.
func TestRefreshTokenFollowsNoRedirect(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	var arrived atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	t.Cleanup(thief.Close)
	i.setFault(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	i.expire()
	if _, err := source.Token(t.Context()); !errors.Is(err, client.ErrUnavailable) || arrived.Load() != 0 {
		t.Errorf("error = %v; the redirect was followed %d times", err, arrived.Load())
	}
}
