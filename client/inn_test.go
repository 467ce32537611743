package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// inn is a real server with one user, and what went on at its door.
type inn struct {
	*innkeepertest.Inn
	user *innkeeper.User

	refreshes atomic.Int64 // requests for one
	visits    atomic.Int64 // all other requests
	alarms    atomic.Int64 // thefts that it believes to have seen

	mu         sync.Mutex
	fault      func(w http.ResponseWriter, r *http.Request, next http.Handler) // of refreshes; nil: none
	successors map[string]string                                               // by parent
	forks      int                                                             // parents with two of them
}

func newInn(t testing.TB, options *innkeepertest.Options) *inn {
	t.Helper()
	if options == nil {
		options = &innkeepertest.Options{}
	}
	i := &inn{successors: make(map[string]string)}
	options.Wrap = i.door
	options.Observe = func(event innkeeper.Event) {
		if event.Kind == innkeeper.EventTokenReused {
			i.alarms.Add(1)
		}
	}
	i.Inn = innkeepertest.New(t, options)
	i.user = i.AddUser("ada", "mail:read")
	t.Cleanup(func() {
		if i.alarms.Load() > 0 || i.forks > 0 {
			t.Errorf("the server has seen %d thefts, and %d tokens with two successors; there was no thief", i.alarms.Load(), i.forks)
		}
	})
	return i
}

// setFault says what happens to refreshes; nil: nothing does.
func (i *inn) setFault(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = fault
}

func (i *inn) door(next http.Handler) http.Handler {
	watched := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		i.note(body, answer.Body.Bytes())
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth/refresh" {
			i.visits.Add(1)
			next.ServeHTTP(w, r)
			return
		}
		i.refreshes.Add(1)
		body, _ := io.ReadAll(r.Body) // or nobody would notice that the client has gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		i.mu.Lock()
		fault := i.fault
		i.mu.Unlock()
		if fault != nil {
			fault(w, r, watched)
			return
		}
		watched.ServeHTTP(w, r)
	})
}

// note remembers which token came for which, whether or not the answer arrives.
func (i *inn) note(request, answer []byte) {
	var parent, successor struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(request, &parent) != nil || json.Unmarshal(answer, &successor) != nil || successor.RefreshToken == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if other, ok := i.successors[parent.RefreshToken]; ok && other != successor.RefreshToken {
		i.forks++
	}
	i.successors[parent.RefreshToken] = successor.RefreshToken
}

// reset cuts the connection off, with a RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// act lets the server do what it is asked, and keeps the answer from the client.
func act(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	return answer
}

// source returns a token source that ages with the server's clock, without a session.
func (i *inn) source(t testing.TB, store client.Store, changes ...func(*client.Config)) *client.Source {
	t.Helper()
	cfg := client.Config{Server: i.URL, Store: store, Now: i.Clock.Now}
	for _, change := range changes {
		change(&cfg)
	}
	source, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

// signedIn returns a token source with a session.
func (i *inn) signedIn(t testing.TB, store client.Store, changes ...func(*client.Config)) *client.Source {
	t.Helper()
	source := i.source(t, store, changes...)
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password, Device: "a test"}))
	return source
}

// expire lets all access tokens expire.
func (i *inn) expire() { i.Clock.Advance(16 * time.Minute) }

// live counts the user's live sessions at the server.
func (i *inn) live(t testing.TB) int {
	t.Helper()
	sessions, err := i.Authority.Sessions(t.Context(), i.user.ID, innkeeper.SessionID{})
	check(t, err)
	return len(sessions)
}

// alive reports whether there is one.
func (i *inn) alive(t testing.TB) bool {
	t.Helper()
	return i.live(t) > 0
}

func mustToken(t testing.TB, source *client.Source) client.Token {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	token, err := source.Token(ctx)
	check(t, err)
	return token
}

func mustLoad(t testing.TB, store client.Store) *client.Session {
	t.Helper()
	session, err := store.Load(t.Context())
	check(t, err)
	return session
}

// eventually waits for something that happens in the background.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantSignedOut(t testing.TB, err error, code, reason string) {
	t.Helper()
	var over *client.SignedOutError
	if !errors.As(err, &over) || !errors.Is(err, client.ErrSignedOut) {
		t.Fatalf("error = %v, want a sign-out", err)
	}
	if over.Code != code || over.Reason != reason {
		t.Errorf("signed out with %q for %q, want %q for %q", over.Code, over.Reason, code, reason)
	}
}
