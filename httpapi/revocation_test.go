package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// feed asks for a page of the feed, which must come.
func feed(t *testing.T, url, query string) answer {
	t.Helper()
	a := request(t, "GET", url+"/auth/revocations"+query, "")
	a.want(t, 200, "")
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header["Set-Cookie"] != nil {
		t.Errorf("the feed answered with headers %v", a.header)
	}
	for _, member := range []string{"snapshot", "entries", "next", "more", "lag_ms", "waited_ms"} {
		if _, ok := a.body[member]; !ok {
			t.Errorf("the feed answered without %s: %s", member, a.text)
		}
	}
	return a
}

func (a answer) next() string { return fmt.Sprintf("%.0f", a.body["next"]) }

// entries are those of a page as text.
func (a answer) entries() string {
	var text []string
	list, _ := a.body["entries"].([]any)
	for _, entry := range list {
		members, _ := entry.(map[string]any)
		text = append(text, fmt.Sprint(members["kind"], " ", members["id"]))
	}
	return strings.Join(text, ", ")
}

func TestRevocations(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	first := feed(t, inn.URL, "")
	if first.body["snapshot"] != true || first.entries() != "" || first.body["more"] != false || first.next() == "0" {
		t.Fatalf("an empty feed is %s", first.text)
	}
	nothing := feed(t, inn.URL, "?wait=20ms&after="+first.next())
	if nothing.body["snapshot"] != false || nothing.entries() != "" || nothing.next() != first.next() {
		t.Fatalf("without news it is %s", nothing.text)
	}
	laptop, phone := inn.SignIn("ada"), inn.SignIn("ada")
	var follower sync.WaitGroup
	follower.Go(func() {
		news := feed(t, inn.URL, "?wait=60s&after="+first.next())
		if news.entries() != "session "+laptop.ID || news.body["snapshot"] != false {
			t.Errorf("the news is %s", news.text)
		}
		if news.header.Get("X-Content-Type-Options") != "nosniff" || news.header.Get("Date") == "" {
			t.Errorf("the news came with headers %v", news.header)
		}
	})
	request(t, "POST", inn.URL+"/auth/logout", `{"refresh_token":"`+laptop.RefreshToken+`"}`).want(t, 204, "")
	follower.Wait()

	claims := claimsOf(t, phone.AccessToken)
	before := feed(t, inn.URL, "?after=0").next()
	request(t, "POST", inn.URL+"/auth/logout", `{"scope":"everywhere"}`, "Authorization", bearer(phone.AccessToken)).want(t, 204, "")
	userID, err := innkeeper.ParseUserID(claims["sub"].(string))
	if err != nil {
		t.Fatal(err)
	}
	news := feed(t, inn.URL, "?wait=60s&after="+before)
	want := "user " + revokedUserID(t, inn.URL, userID, claims["epoch"].(string))
	if news.entries() != want {
		t.Errorf("the news is %s, want %s", news.text, want)
	}
	for _, unknown := range []string{"1", fmt.Sprint(int64(1) << 62)} {
		all := feed(t, inn.URL, "?wait=60s&after="+unknown)
		if all.entries() != "session "+laptop.ID+", "+want || all.body["snapshot"] != (unknown != "1") || all.next() != news.next() {
			t.Errorf("after %s the feed is %s", unknown, all.text)
		}
	}
}

// What one server writes, the followers of another learn from the store.
func TestRevocationsOfAnotherServer(t *testing.T) {
	stores := memory.New().Stores()
	ring, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	here := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores, RootKeys: ring})
	there := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores, RootKeys: ring})
	here.AddUser("ada")
	session := here.SignIn("ada")
	after := feed(t, there.URL, "").next()
	request(t, "POST", here.URL+"/auth/logout", `{"refresh_token":"`+session.RefreshToken+`"}`).want(t, 204, "")
	if news := feed(t, there.URL, "?wait=60s&after="+after); news.entries() != "session "+session.ID {
		t.Errorf("the other server's news is %s", news.text)
	}
}

func TestRevocationsInPages(t *testing.T) {
	stores := memory.New().Stores()
	const n = 10_001
	for i := range n {
		entry := innkeeper.Revocation{At: time.Now(), Kind: innkeeper.RevokedSession, ID: fmt.Sprintf("%022d", i)}
		if err := stores.Revocations.Revoke(t.Context(), entry, innkeeper.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores})
	first := feed(t, inn.URL, "?wait=60s")
	if got := len(first.body["entries"].([]any)); got != 10_000 || first.body["more"] != true || first.body["snapshot"] != true {
		t.Fatalf("the first page has %d entries, more %v, snapshot %v", got, first.body["more"], first.body["snapshot"])
	}
	second := feed(t, inn.URL, "?wait=60s&after="+first.next())
	if second.entries() != fmt.Sprintf("session %022d", n-1) || second.body["more"] != false || second.body["snapshot"] != false {
		t.Fatalf("the second page is %s", second.text)
	}
}

func TestRevocationsRefuse(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	for _, query := range []string{
		"?after=", "?after=x", "?after=-1", "?after=1.5", "?after=99999999999999999999", "?after=1&after=2",
		"?wait=", "?wait=30", "?wait=-1s", "?wait=61s", "?wait=1s&wait=2s", "?wait=forever", "?after=%zz", "?after=1;wait=1s",
	} {
		a := request(t, "GET", inn.URL+"/auth/revocations"+query, "")
		a.want(t, 400, "invalid_request")
		wellFormed(t, a)
	}
	request(t, "POST", inn.URL+"/auth/revocations", `{}`).want(t, 405, "invalid_request")
	if head := request(t, "HEAD", inn.URL+"/auth/revocations", ""); head.status != 200 || head.text != "" {
		t.Errorf("HEAD: got %d %q", head.status, head.text)
	}
}

// openAPI is an API whose authority does not run yet.
func openAPI(t *testing.T) (*innkeeper.Authority, *httpapi.API) {
	t.Helper()
	return openAPIOn(t, memory.New().Stores())
}

func openAPIOn(t *testing.T, stores innkeeper.Stores) (*innkeeper.Authority, *httpapi.API) {
	t.Helper()
	ring, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "http://localhost", Stores: stores, RootKeys: ring, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	return authority, api
}

// runAPI is openAPI whose authority runs. Its end may be called again.
func runAPI(t *testing.T) (api *httpapi.API, end func()) {
	t.Helper()
	return runAPIOn(t, memory.New().Stores())
}

func runAPIOn(t *testing.T, stores innkeeper.Stores) (api *httpapi.API, end func()) {
	t.Helper()
	authority, api := openAPIOn(t, stores)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var over sync.WaitGroup
	over.Go(func() { authority.Run(ctx) })
	t.Cleanup(func() { cancel(); over.Wait() })
	if _, err := authority.Revocations(ctx, 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	return api, cancel
}

func serve(t *testing.T, server *http.Server) (url string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var over sync.WaitGroup
	t.Cleanup(func() { _ = server.Close(); over.Wait() })
	over.Go(func() { _ = server.Serve(listener) })
	return "http://" + listener.Addr().String()
}

// A server that has never read the feed knows of no revocation, and says so.
func TestRevocationsBeforeTheStoreWasRead(t *testing.T) {
	authority, api := openAPI(t)
	url := serve(t, httpapi.NewServer("", api))
	for _, path := range []string{"/auth/revocations", "/auth/revocations?wait=10ms", "/readyz"} {
		a := request(t, "GET", url+path, "")
		a.want(t, 503, "unavailable")
		wellFormed(t, a)
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	request(t, "GET", url+"/auth/check", "", "Authorization", "Bearer x").want(t, 503, "unavailable")

	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { authority.Run(ctx) })
	if _, err := authority.Revocations(ctx, 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	feed(t, url, "")
	request(t, "GET", url+"/readyz", "").want(t, 200, "")
	cancel()
	over.Wait()
}

// A follower may wait for longer than any other answer may take: on a connection that
// is taken over, and where that cannot be.
func TestRevocationsOutlastTheWriteTimeout(t *testing.T) {
	t.Parallel()
	const timeout, wait = 3 * time.Second, "wait=3200ms&after="
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		api, _ := runAPI(t)
		server := httpapi.NewServer("", api)
		server.WriteTimeout, server.ReadTimeout = timeout, timeout
		url := serve(t, server)
		after := feed(t, url, "").next()
		if page := feed(t, url, "?"+wait+after); page.next() != after {
			t.Errorf("without news the feed is %s", page.text)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		t.Parallel()
		api, _ := runAPI(t)
		after := feed(t, serve(t, httpapi.NewServer("", api)), "").next()
		http2 := httptest.NewUnstartedServer(api)
		http2.EnableHTTP2 = true
		http2.Config.WriteTimeout, http2.Config.ReadTimeout = timeout, timeout
		http2.StartTLS()
		defer http2.Close()
		resp, err := http2.Client().Get(http2.URL + "/auth/revocations?" + wait + after)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != 200 || !strings.Contains(string(text), `"next":`+after) {
			t.Errorf("over %s it answered %s %s, %v", resp.Proto, resp.Status, text, err)
		}
	})
}

// arriving counts those who have come to a handler.
func arriving(next http.Handler) (handler http.Handler, arrived <-chan struct{}) {
	arrivals := make(chan struct{}, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrivals <- struct{}{}
		next.ServeHTTP(w, r)
	}), arrivals
}

// Followers do not hold up a server that stops, if Run ends with its shutdown.
func TestRevocationsEndWithShutdown(t *testing.T) {
	api, end := runAPI(t)
	handler, arrived := arriving(api)
	server := httpapi.NewServer("", handler)
	server.RegisterOnShutdown(end)
	url := serve(t, server)
	after := feed(t, url, "").next()
	<-arrived
	const followers = 50
	var waiting sync.WaitGroup
	for range followers {
		waiting.Go(func() {
			page := feed(t, url, "?wait=60s&after="+after)
			if page.next() != after || page.entries() != "" {
				t.Errorf("it was let go with %s", page.text)
			}
		})
	}
	for range followers {
		<-arrived
	}
	limited, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := errors.Join(server.Shutdown(limited), api.Wait(limited)); err != nil {
		t.Error(err)
	}
	waiting.Wait()
}

// A follower that hangs up leaves its place at once.
func TestRevocationsWhoGoesAway(t *testing.T) {
	api, _ := runAPI(t)
	handler, arrived := arriving(api)
	server := httpapi.NewServer("", handler)
	url := serve(t, server)
	after := feed(t, url, "").next()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	var follower sync.WaitGroup
	follower.Go(func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/auth/revocations?wait=60s&after="+after, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("it was answered %s", resp.Status)
		}
	})
	<-arrived
	cancel()
	follower.Wait()
	limited, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := errors.Join(server.Shutdown(limited), api.Wait(limited)); err != nil { // Run goes on
		t.Error(err)
	}
}

// Pages of allowed origins may follow the feed; it is public, and holds no secret.
func TestRevocationsForBrowsers(t *testing.T) {
	const app = "https://app.example.com"
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{AllowedOrigins: []string{app}}})
	for origin, want := range map[string]string{app: app, "https://evil.example.com": ""} {
		for _, query := range []string{"", "?after=1&wait=10ms"} { // at once, and after a while
			a := request(t, "GET", inn.URL+"/auth/revocations"+query, "", "Origin", origin)
			if got := a.header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%s: allowed is %q", origin, got)
			}
		}
	}
}

// gated hides what is in a feed until it is opened.
type gated struct {
	innkeeper.RevocationStore
	opened atomic.Bool
}

func (g *gated) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	if !g.opened.Load() {
		return nil, nil
	}
	return g.RevocationStore.Revocations(ctx, after, limit)
}

func (g *gated) LastRevocation(ctx context.Context) (int64, error) {
	if !g.opened.Load() {
		return 0, nil
	}
	return g.RevocationStore.LastRevocation(ctx)
}

// piped accepts connections that hold nothing: what one end writes waits for the other
// one to read it.
type piped struct {
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newPiped() *piped {
	p := &piped{conns: make(chan net.Conn), over: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.over) })
	return p
}

func (p *piped) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *piped) Close() error   { p.close(); return nil }
func (p *piped) Addr() net.Addr { return &net.UnixAddr{} }

// ask sends a request on a connection of its own.
func (p *piped) ask(t *testing.T, path string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p.conns <- server
	if _, err := fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return client
}

// Many who ask for the whole feed and do not read it hold one text of it together,
// whether they are answered at once or have waited, and wherever they begin.
func TestRevocationsForThoseWhoDoNotRead(t *testing.T) {
	const entries, mostEach = 5_000, 100 << 10 // an answer is 350 KB
	full := memory.New().Stores().Revocations
	began := time.Now().Add(-time.Minute)
	for i := range entries {
		entry := innkeeper.Revocation{At: began.Add(time.Duration(i) * time.Microsecond), Kind: innkeeper.RevokedSession, ID: fmt.Sprintf("%022d", i)}
		if err := full.Revoke(t.Context(), entry, innkeeper.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, query := range map[string]func(i int) string{
		"waiting":   func(int) string { return "?wait=60s&after=1" },
		"at once":   func(int) string { return "" },
		"elsewhere": func(i int) string { return fmt.Sprint("?after=", began.UnixMicro()+int64(i)) },
	} {
		t.Run(name, func(t *testing.T) {
			stores := memory.New().Stores()
			gate := &gated{RevocationStore: full}
			gate.opened.Store(name != "waiting")
			stores.Revocations = gate
			each := unreadAnswer(t, stores, query, func() { gate.opened.Store(true) })
			t.Logf("%d KiB each", each>>10)
			if each > mostEach {
				t.Errorf("each takes %d KiB", each>>10)
			}
		})
	}
}

// unreadAnswer returns how much memory an answer takes that nobody reads.
func unreadAnswer(t *testing.T, stores innkeeper.Stores, query func(i int) string, open func()) int64 {
	t.Helper()
	const deaf = 100
	api, end := runAPIOn(t, stores)
	listener := newPiped()
	server := httpapi.NewServer("", api)
	var over sync.WaitGroup
	over.Go(func() { _ = server.Serve(listener) })
	before := heap()
	var conns []net.Conn
	for i := range deaf {
		conns = append(conns, listener.ask(t, "/auth/revocations"+query(i)))
	}
	open()
	for _, conn := range conns { // an answer that has begun is all there, and waits to be read
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / deaf
	for _, conn := range conns {
		conn.Close()
	}
	end()
	limited, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := errors.Join(server.Shutdown(limited), api.Wait(limited)); err != nil {
		t.Error(err)
	}
	over.Wait()
	return each
}

// heap is how much memory is in use.
func heap() int64 {
	for range 3 { // what lies in pools is let go by the second
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
