// Command server is what the browser tests run against: Innkeeper, a page and an
// API under one host, and switches for the faults that only a server can make.
//
// It prints its URL on standard output and serves until standard input closes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/verify"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "innkeeper-e2e-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	url := "http://localhost:" + port
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "innkeeper.db")})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()

	s := &server{}
	handler, err := s.handler(ctx, url, store.Stores())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { s.authority.Run(ctx) })
	defer over.Wait()
	defer cancel()
	if _, err := s.authority.Revocations(ctx, 0, 10*time.Second); err != nil { // the first reading
		return err
	}
	web := httpapi.NewServer("", handler)
	go func() {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "server:", err)
		}
	}()
	fmt.Println(url)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return web.Close()
}

// server counts what reaches it and cuts connections on demand.
type server struct {
	authority *innkeeper.Authority
	api       http.Handler

	mu   sync.Mutex
	cuts int // refreshes still to be acted on and then cut off
	seen counters
}

// counters is what the tests assert on.
type counters struct {
	Refreshes  []refresh `json:"refreshes"`   // in order of arrival
	APICookies []string  `json:"api_cookies"` // Cookie headers that reached the API
	Events     []string  `json:"events"`
}

// refresh is one request to /auth/refresh.
type refresh struct {
	Key    string `json:"key"`
	Status int    `json:"status"`
	Cut    bool   `json:"cut"`
}

func (s *server) handler(ctx context.Context, url string, stores innkeeper.Stores) (http.Handler, error) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	authority, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer: url, Stores: stores, RootKeys: roots, Clock: time.Now, SignupOpen: true,
		Observe: func(_ context.Context, event innkeeper.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen.Events = append(s.seen.Events, string(event.Kind))
		},
	})
	if err != nil {
		return nil, err
	}
	s.authority = authority
	s.api, err = httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		return nil, err
	}
	verifier, err := verify.New(verify.Config{Issuer: url})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.api)
	mux.HandleFunc("POST /auth/refresh", s.refresh)
	mux.Handle("GET /api/mail", s.countCookies(verifier.RequireAuth(http.HandlerFunc(mail))))
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /test/counters", s.counters)
	mux.HandleFunc("POST /test/cut", s.cut)
	return mux, nil
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><title>app</title>")
}

func mail(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"mail":["hello"]}`)
}

// countCookies notes which cookies an API on the same host is sent.
func (s *server) countCookies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen.APICookies = append(s.seen.APICookies, r.Header.Get("Cookie"))
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// refresh lets the API act and then, if told so, resets the connection before a
// byte of the answer has left: the faithful lost response.
func (s *server) refresh(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	cut := s.cuts > 0
	if cut {
		s.cuts--
	}
	s.mu.Unlock()

	recorder := httptest.NewRecorder()
	s.api.ServeHTTP(recorder, r)
	s.mu.Lock()
	s.seen.Refreshes = append(s.seen.Refreshes, refresh{Key: r.Header.Get("Idempotency-Key"), Status: recorder.Code, Cut: cut})
	s.mu.Unlock()

	if cut {
		reset(w)
		return
	}
	for name, values := range recorder.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorder.Code)
	_, _ = recorder.Body.WriteTo(w)
}

// reset closes the connection with RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (s *server) counters(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.seen)
	s.seen = counters{}
}

// cut makes the next n refreshes be acted on and then cut off.
func (s *server) cut(w http.ResponseWriter, r *http.Request) {
	var n int
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.cuts = n
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
