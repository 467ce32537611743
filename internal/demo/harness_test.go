package demo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/demo"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// stage is a running demo.
type stage struct {
	url    string
	clock  *innkeepertest.Clock
	stores innkeeper.Stores
	roots  rootkey.Ring
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ring, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	s := &stage{
		url: "http://" + server.Listener.Addr().String(), clock: innkeepertest.NewClock(),
		stores: memory.New().Stores(), roots: ring,
	}
	t.Cleanup(server.Close)
	server.Config.Handler = s.handler(t)
	server.Start()
	return s
}

// handler is the demo, whose authority runs until the test ends, but not until the
// server has been closed.
func (s *stage) handler(t *testing.T) http.Handler {
	t.Helper()
	handler, authority, err := demo.New(t.Context(), demo.Config{
		Issuer: s.url, Stores: s.stores, RootKeys: s.roots, Clock: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var over sync.WaitGroup
	over.Go(func() { authority.Run(ctx) })
	t.Cleanup(func() { cancel(); over.Wait() })
	return handler
}

// browser keeps cookies as a browser does on localhost, where Secure needs no
// TLS: the standard cookie jar would not send them.
type browser struct {
	t      *testing.T
	stage  *stage
	client *http.Client
	jar    map[string]*http.Cookie
	access string
}

func (s *stage) browser(t *testing.T) *browser {
	t.Helper()
	// A client that reuses connections would repeat a request by itself when one
	// breaks, and hide what is to be seen.
	transport := &http.Transport{DisableKeepAlives: true}
	return &browser{t: t, stage: s, client: &http.Client{Transport: transport}, jar: make(map[string]*http.Cookie)}
}

// answer is a response with its JSON.
type answer struct {
	status int
	header http.Header
	text   string
	body   struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
		User         struct {
			Permissions []string `json:"permissions"`
		} `json:"user"`
		Code       string `json:"code"`
		Reason     string `json:"reason"`
		Account    string `json:"account"`
		Thief      string `json:"thief"`
		Generation uint32 `json:"generation"`
		Deeds      []struct {
			Path     string `json:"path"`
			Status   int    `json:"status"`
			Code     string `json:"code"`
			Reason   string `json:"reason"`
			Obtained uint32 `json:"obtained"`
		} `json:"deeds"`
	}
}

// try sends a request. It returns an error where no answer came.
func (b *browser) try(method, path, body string, header ...string) (answer, error) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.stage.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	for _, cookie := range b.jar {
		if strings.HasPrefix(path, cookie.Path) {
			req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	for _, cookie := range resp.Cookies() {
		b.jar[cookie.Name] = cookie
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &a.body); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
	if a.body.AccessToken != "" {
		b.access = a.body.AccessToken
	}
	return a, nil
}

func (b *browser) send(method, path, body string, header ...string) answer {
	b.t.Helper()
	a, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *browser) signIn() answer {
	b.t.Helper()
	a := b.send("POST", "/auth/login", `{"username":"`+demo.Username+`","password":"`+demo.Password+`"}`)
	a.want(b.t, 200, "")
	return a
}

func (b *browser) refresh(key string) answer {
	b.t.Helper()
	return b.send("POST", "/auth/refresh", "{}", "Idempotency-Key", key)
}

func (b *browser) mail() answer {
	b.t.Helper()
	return b.send("GET", "/api/mail", "", "Authorization", "Bearer "+b.access)
}

// cookie returns the refresh token that the jar holds, which no page sees.
func (b *browser) cookie() string {
	b.t.Helper()
	for _, cookie := range b.jar {
		if strings.HasPrefix(cookie.Value, innkeeper.RefreshTokenPrefix) {
			return cookie.Value
		}
	}
	b.t.Fatal("the jar holds no refresh token")
	return ""
}

func (a answer) want(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.body.Code != code {
		t.Fatalf("answer %d %s, want %d %s", a.status, a.text, status, code)
	}
}
