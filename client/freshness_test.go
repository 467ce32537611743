package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

const quietInnURL = "https://auth.example.com"

// quietInn is a real server without a socket, for tests in a bubble of synctest: there
// time passes only while nobody does anything, and a socket looks like doing something.
type quietInn struct {
	handler   http.Handler
	refreshes atomic.Int64
	fault     func(w http.ResponseWriter, r *http.Request) bool // true: it was answered
}

func newQuietInn(t *testing.T) *quietInn {
	t.Helper()
	ring, err := rootkey.NewRing(rootkey.Generate())
	check(t, err)
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: quietInnURL, Stores: memory.New().Stores(), RootKeys: ring, Clock: time.Now,
		Passwords: password.Config{InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1}},
	})
	check(t, err)
	_, err = authority.CreateUser(t.Context(), innkeeper.NewUser{Username: "ada", Password: testPassword}, innkeeper.ActorOperator)
	check(t, err)
	api, err := httpapi.New(httpapi.Config{Authority: authority})
	check(t, err)
	return &quietInn{handler: api}
}

const testPassword = "correct horse battery staple"

// RoundTrip implements [http.RoundTripper]. It gives up with its request, as a network
// does.
func (q *quietInn) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.URL.Path == "/auth/refresh" {
		q.refreshes.Add(1)
	}
	if r.URL.Path != "/auth/refresh" || q.fault == nil || !q.fault(w, r) {
		q.handler.ServeHTTP(w, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (q *quietInn) signedIn(t *testing.T) *client.Source {
	t.Helper()
	source, err := client.New(client.Config{Server: quietInnURL, Store: client.NewMemoryStore(), Transport: q})
	check(t, err)
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: testPassword}))
	return source
}

// TestADayOfTokens: somebody asks every second, and waits never.
func TestADayOfTokens(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := newQuietInn(t)
		source := q.signedIn(t)
		for range 24 * 60 * 60 / 5 {
			before := time.Now()
			mustToken(t, source)
			if time.Since(before) > 0 {
				t.Fatal("somebody has waited")
			}
			time.Sleep(5 * time.Second)
		}
		// Every 15 minutes, but for a margin of 1 to 2.5 minutes.
		if n := q.refreshes.Load(); n < 96 || n > 120 {
			t.Errorf("%d refreshes in a day", n)
		}
		check(t, source.Close())
	})
}

// TestAnHourWithoutServer: many ask all the time, and few requests leave. The token
// serves as long as it lives; then everybody is told when to come back.
func TestAnHourWithoutServer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := newQuietInn(t)
		source := q.signedIn(t)
		q.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		signedInAt := time.Now()
		for time.Since(signedInAt) < time.Hour {
			_, err := source.Token(t.Context())
			var unavailable *client.UnavailableError
			switch expired := time.Since(signedInAt) >= 15*time.Minute; {
			case !expired && err != nil:
				t.Fatalf("after %v: %v", time.Since(signedInAt), err)
			case expired && (!errors.As(err, &unavailable) || unavailable.RetryAfter > 30*time.Second):
				t.Fatalf("after %v: %v", time.Since(signedInAt), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := q.refreshes.Load(); n < 100 || n > 47*60/10 { // a pause takes 15 s on average
			t.Errorf("%d requests", n)
		}
		t.Logf("%d requests in an hour", q.refreshes.Load())
		q.fault = nil
		time.Sleep(30 * time.Second)
		mustToken(t, source)
		check(t, source.Close())
	})
}

// TestRetryAfterIsHonored, also where it says a date, of a server with another clock.
func TestRetryAfterIsHonored(t *testing.T) {
	for name, header := range map[string]map[string]string{
		"seconds": {"Retry-After": "120"},
		"date":    {"Retry-After": "Mon, 02 Jan 2040 00:02:00 GMT", "Date": "Mon, 02 Jan 2040 00:00:00 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				q := newQuietInn(t)
				source := q.signedIn(t)
				q.fault = func(w http.ResponseWriter, _ *http.Request) bool {
					for name, value := range header {
						w.Header().Set(name, value)
					}
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				time.Sleep(20 * time.Minute)
				for range 119 {
					var unavailable *client.UnavailableError
					if _, err := source.Token(t.Context()); !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 {
						t.Fatalf("error = %v", err)
					}
					time.Sleep(time.Second)
				}
				if n := q.refreshes.Load(); n != 1 {
					t.Errorf("%d requests", n)
				}
				q.fault = nil
				time.Sleep(2 * time.Second)
				mustToken(t, source)
				check(t, source.Close())
			})
		})
	}
}

// TestServerThatHangs is given up after 8 seconds a try and 15 in all, and waiters leave
// when they want to.
func TestServerThatHangs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := newQuietInn(t)
		source := q.signedIn(t)
		q.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}
		time.Sleep(20 * time.Minute)
		begun := time.Now()
		impatient := make(chan error)
		cause := errors.New("no time")
		go func() {
			ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
			defer cancel()
			_, err := source.Token(ctx)
			impatient <- err
		}()
		if err := <-impatient; !errors.Is(err, cause) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		_, err := source.Token(context.Background())
		if took := time.Since(begun); !errors.Is(err, client.ErrUnavailable) || took < 8*time.Second || took > 15*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		q.fault = nil
		time.Sleep(30 * time.Second)
		mustToken(t, source)
		check(t, source.Close())
	})
}

// TestTwoClocks: a token is over when either clock says so. One stands still while the
// machine sleeps, the other is set.
func TestTwoClocks(t *testing.T) {
	cases := map[string]struct {
		wall, mono time.Duration // what passes
		refreshes  int64
	}{
		"nothing":                   {0, 0, 0},
		"suspended for two hours":   {2 * time.Hour, 0, 1},
		"the clock was set back":    {-time.Hour, 16 * time.Minute, 1},
		"set back, and still good":  {-time.Hour, 5 * time.Minute, 0},
		"both":                      {16 * time.Minute, 16 * time.Minute, 1},
		"set forward within a life": {10 * time.Minute, time.Second, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i := newInn(t, nil)
			var wall, mono atomic.Int64
			source := i.source(t, client.NewMemoryStore())
			begin := time.Now()
			client.SetClocks(source,
				func() time.Time { return begin.Add(time.Duration(wall.Load())).Round(0) },
				func() time.Duration { return time.Duration(mono.Load()) })
			check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: testPassword}))
			wall.Store(int64(c.wall))
			mono.Store(int64(c.mono))
			mustToken(t, source)
			if got := i.refreshes.Load(); got != c.refreshes {
				t.Errorf("%d refreshes", got)
			}
		})
	}
}

// TestStoredTimesAreHints: another run of the program finds a session whose times cannot
// be right. Its token is used, and another one fetched.
func TestStoredTimesAreHints(t *testing.T) {
	cases := map[string]struct {
		change func(*client.Session)
		atOnce uint32 // the generation handed out at once
	}{
		"from the future":  {func(s *client.Session) { s.RequestedAt = s.RequestedAt.Add(time.Hour) }, 1},
		"for a year":       {func(s *client.Session) { s.Lifetime = 365 * 24 * time.Hour }, 1},
		"for no time":      {func(s *client.Session) { s.Lifetime = 0 }, 1},
		"long ago":         {func(s *client.Session) { s.RequestedAt = s.RequestedAt.Add(-time.Hour) }, 2},
		"no access token":  {func(s *client.Session) { s.AccessToken = client.Secret{} }, 2},
		"as they should":   {func(*client.Session) {}, 1},
		"the clock is new": {func(s *client.Session) { s.RequestedAt = time.Unix(0, 0) }, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i := newInn(t, nil)
			store := client.NewMemoryStore()
			check(t, i.signedIn(t, store).Close())
			session := mustLoad(t, store)
			c.change(session)
			check(t, store.Save(t.Context(), session))
			source := i.source(t, store)
			if got := mustToken(t, source).Generation; got != c.atOnce {
				t.Errorf("generation %d, want %d", got, c.atOnce)
			}
			if name == "as they should" {
				return
			}
			eventually(t, "another token", func() bool { return mustToken(t, source).Generation == 2 })
		})
	}
}
