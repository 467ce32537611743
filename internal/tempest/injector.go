package tempest

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	refreshPath = "/auth/refresh"
	// apiPath is the API that everybody calls: it refuses an access token that has expired,
	// with the challenge of RFC 6750.
	apiPath       = "/auth/me"
	refreshCookie = "__Secure-innkeeper-refresh"
	processHeader = "X-Tempest-Process" // says which process sends; goes no further
)

//go:embed pages/*.html
var pages embed.FS

// injector stands in front of the server, as the network does, and is a bad one.
type injector struct {
	upstream *url.URL
	strict   bool // take away idempotency keys, so that rotation is as strict as without them
	seed     uint64
	register *register
	toServer *http.Transport
	web      *http.Server
	url      string

	mu     sync.Mutex
	storm  bool
	drawn  uint64              // requests that faults were drawn for
	seals  map[string]uint32   // by session: generations from here on do not reach the server
	passed map[string]*passage // by session: what waits to be overtaken
	late   sync.WaitGroup      // copies that are still under way
}

// passage is closed when the next refresh of its session has been answered.
type passage struct{ done chan struct{} }

// openInjector starts it on a free port of this machine, in good weather.
func openInjector(upstream string, seed uint64, strict bool, r *register) (*injector, error) {
	to, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &injector{
		upstream: to, strict: strict, seed: seed, register: r, url: "http://" + l.Addr().String(),
		toServer: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		seals:    map[string]uint32{}, passed: map[string]*passage{},
	}
	i.web = &http.Server{Handler: i, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.web.Serve(l) }() // it ends with close
	return i, nil
}

func (i *injector) close() error {
	i.late.Wait()
	defer i.toServer.CloseIdleConnections()
	return i.web.Close()
}

// weather switches the faults on and off.
func (i *injector) weather(storm bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.storm = storm
}

// seal keeps refreshes of a session from the server, from a generation on. A browser
// that is killed loses what its cookie jar has learned in the last half minute: this
// sees to it that that is one rotation and not many, as with a token that lives longer
// than seconds.
func (i *injector) seal(session string, generation uint32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seals[session] = generation
}

func (i *injector) unseal(session string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.seals, session)
}

// request is one that can be sent again.
type request struct {
	method, path, query, host string
	header                    http.Header
	body                      []byte
	byThief                   bool
}

func readRequest(r *http.Request) (*request, error) {
	body, err := io.ReadAll(r.Body)
	header := r.Header.Clone()
	header.Del("Connection")
	return &request{r.Method, r.URL.Path, r.URL.RawQuery, r.Host, header, body, false}, err
}

// refreshToken returns the one that is presented.
func (q *request) refreshToken() string {
	if cookie, err := (&http.Request{Header: q.header}).Cookie(refreshCookie); err == nil {
		return cookie.Value
	}
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	_ = json.Unmarshal(q.body, &body) // then there is none
	return body.RefreshToken
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// refreshToken returns the one that is handed out.
func (a *answer) refreshToken(said tokensAnswer) string {
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		if cookie.Name == refreshCookie {
			return cookie.Value
		}
	}
	return said.RefreshToken
}

// ServeHTTP carries one request, or what becomes of it.
func (i *injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if page, ok := strings.CutPrefix(r.URL.Path, "/tempest/"); ok {
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, pages, "pages/"+page+".html") //nolint:gosec // nothing but our pages is in there
		return
	}
	q, err := readRequest(r)
	if err != nil {
		return // whoever sent it has left
	}
	f := i.draw(q)
	i.register.arrive(q, f)
	q.header.Del(processHeader)
	i.befall(w, r, q, f)
}

// draw decides what befalls a request. The same seed gives the nth request the same
// fate; which one is the nth is up to the clients.
func (i *injector) draw(q *request) fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	session, generation := readToken(q.refreshToken())
	if limit, ok := i.seals[session]; ok && q.path == refreshPath && generation >= limit {
		return fault{kind: sealed}
	}
	odds := oddsOf(q.path)
	if !i.storm || odds == nil {
		return fault{}
	}
	i.drawn++
	return odds.draw(rand.New(rand.NewPCG(i.seed, i.drawn))) //nolint:gosec // it has to be the same again
}

func (i *injector) befall(w http.ResponseWriter, r *http.Request, q *request, f fault) {
	switch f.kind {
	case resetRequest, sealed:
		reset(w)
		return
	case lostRequest:
		hangUp(w, r)
		return
	case unavailable:
		problem(w, http.StatusServiceUnavailable, "unavailable")
		return
	case tooMany:
		problem(w, http.StatusTooManyRequests, "too_many_attempts")
		return
	case captivePortal:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Welcome to the Grand Hotel</title>")
		return
	case slowRequest:
		time.Sleep(f.pause)
	case lateRequest:
		i.waitForNext(q)
	}
	a, err := i.act(q)
	if err != nil {
		reset(w)
		return
	}
	i.overtake(q)
	switch f.kind {
	case resetAnswer:
		reset(w)
		return
	case resetInHeaders, resetInBody:
		a.cutShort(w, f.kind)
		return
	case lostAnswer:
		hangUp(w, r)
		return
	case slowAnswer:
		time.Sleep(f.pause)
	case lateAnswer:
		i.waitForNext(q)
	case duplicated:
		i.late.Go(func() {
			time.Sleep(f.pause)
			_, _ = i.act(q) // the answer is nobody's
		})
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // whoever has left cannot be told so
}

// act lets the server do what is asked. It does so even when the client has left
// meanwhile: a server at the far end of a bad network has not heard of that.
func (i *injector) act(q *request) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	to := *i.upstream
	to.Path, to.RawQuery = q.path, q.query
	r, err := http.NewRequestWithContext(ctx, q.method, to.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	r.Header, r.Host = q.header.Clone(), q.host
	r.GetBody = nil // no second try of the transport's own
	if i.strict {
		r.Header.Del("Idempotency-Key")
	}
	resp, err := i.toServer.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{resp.StatusCode, resp.Header, body}
	i.register.note(q, a)
	return a, nil
}

// waitForNext waits until another refresh of the same session has been answered.
func (i *injector) waitForNext(q *request) {
	session, _ := readToken(q.refreshToken())
	i.mu.Lock()
	p := i.passed[session]
	if p == nil {
		p = &passage{make(chan struct{})}
		i.passed[session] = p
	}
	i.mu.Unlock()
	select {
	case <-p.done:
		time.Sleep(100 * time.Millisecond) // for that one to arrive
	case <-time.After(longestHold):
	}
}

// overtake lets go of what waits for this one.
func (i *injector) overtake(q *request) {
	if q.path != refreshPath {
		return
	}
	session, _ := readToken(q.refreshToken())
	i.mu.Lock()
	defer i.mu.Unlock()
	if p := i.passed[session]; p != nil {
		close(p.done)
		delete(i.passed, session)
	}
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q}`, status, code)
}

// hangUp says nothing until the client has had enough.
func hangUp(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(longestHold):
	}
	reset(w)
}

// cutShort sends the beginning of an answer, and resets the connection a moment later:
// a reset overtakes what has not been read yet.
func (a *answer) cutShort(w http.ResponseWriter, f kind) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", a.status, http.StatusText(a.status), len(a.body))
	_ = a.header.WriteSubset(&head, map[string]bool{"Content-Length": true, "Connection": true}) // a buffer takes all
	text := head.Bytes()
	if f == resetInHeaders {
		text = text[:len(text)*2/3]
	} else {
		text = append(append(text, "\r\n"...), a.body[:len(a.body)/2]...)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write(text)
	time.Sleep(30 * time.Millisecond)
	resetConn(conn)
}

// reset ends the connection with RST.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		resetConn(conn)
	}
}

func resetConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
