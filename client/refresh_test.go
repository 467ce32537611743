package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// once makes a fault happen to the first refresh only.
func once(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
	var happened atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if happened.CompareAndSwap(false, true) {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestLostAnswers: the server has acted or not, and nobody knows.
func TestLostAnswers(t *testing.T) {
	faults := map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"reset before the act": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) },
		"reset after the act": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			act(r, next)
			reset(w)
		},
		"reset within the answer": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			answer := act(r, next)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer.Body.Bytes()[:20])
			_ = http.NewResponseController(w).Flush()
			reset(w)
		},
		"503 after the act": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			act(r, next)
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"twice": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			act(r, next)
			act(r, next)
			reset(w)
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInn(t, nil)
			store := client.NewMemoryStore()
			source := i.signedIn(t, store)
			for generation := uint32(2); generation <= 4; generation++ {
				i.setFault(once(fault))
				i.expire()
				if token := mustToken(t, source); token.Generation != generation {
					t.Errorf("generation %d, want %d", token.Generation, generation)
				}
			}
			if !i.alive(t) || mustLoad(t, store).Generation != 4 {
				t.Error("the session did not survive")
			}
		})
	}
}

// TestDeadConnection: the connection of HTTP/2, to a proxy before the server, has died in
// silence. The next try of a refresh gets another one.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	i := newInn(t, nil)
	target, err := url.Parse(i.URL)
	check(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s, want HTTP/2", r.Proto)
		}
		forward.ServeHTTP(w, r)
	}))
	gateway.EnableHTTP2 = true
	gateway.StartTLS()
	t.Cleanup(gateway.Close)
	line, err := testengine.NewProxy(gateway.Listener.Addr().String())
	check(t, err)
	t.Cleanup(func() { _ = line.Close() })

	source := i.source(t, client.NewMemoryStore(), func(cfg *client.Config) {
		cfg.Server, cfg.RefreshTimeout = "https://"+line.Addr(), time.Minute
	})
	client.Trust(source, gateway.Client().Transport.(*http.Transport).TLSClientConfig)
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
	line.Freeze()
	i.expire()
	mustToken(t, source)
}

// TestCrashAfterTheAct: the program dies when the server has acted and nothing is
// stored. The next run replays with the key that was stored before.
func TestCrashAfterTheAct(t *testing.T) {
	i := newInn(t, nil)
	store, err := client.NewFileStore(t.TempDir() + "/session.json")
	check(t, err)
	first := i.signedIn(t, store)
	i.expire()
	acted := make(chan struct{})
	i.setFault(once(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		act(r, next)
		close(acted)
		<-r.Context().Done()
	}))
	go func() { _, _ = first.Token(context.Background()) }()
	<-acted
	check(t, first.Close()) // as good as dead

	second := i.source(t, store)
	if token := mustToken(t, second); token.Generation != 2 {
		t.Errorf("generation %d", token.Generation)
	}
}

// TestStoreSetBack: a crash or a backup brings an old session back.
func TestStoreSetBack(t *testing.T) {
	setUp := func(t *testing.T, generations int) (*inn, *client.FileStore, *client.Session) {
		i := newInn(t, nil)
		store, err := client.NewFileStore(t.TempDir() + "/session.json")
		check(t, err)
		source := i.signedIn(t, store)
		old := mustLoad(t, store)
		for range generations {
			i.expire()
			mustToken(t, source)
		}
		check(t, source.Close())
		i.expire()
		return i, store, old
	}
	t.Run("by one generation", func(t *testing.T) {
		i, store, old := setUp(t, 1)
		check(t, store.Save(t.Context(), old))
		if token := mustToken(t, i.source(t, store)); token.Generation != 2 {
			t.Errorf("generation %d", token.Generation)
		}
	})
	t.Run("but for its number", func(t *testing.T) {
		i, store, _ := setUp(t, 1)
		wrong := mustLoad(t, store)
		wrong.Generation = 7
		check(t, store.Save(t.Context(), wrong))
		if token := mustToken(t, i.source(t, store)); token.Generation != 3 || i.refreshes.Load() != 3 {
			t.Errorf("generation %d after %d requests", token.Generation, i.refreshes.Load())
		}
	})
	t.Run("by two generations", func(t *testing.T) {
		i, store, old := setUp(t, 2)
		check(t, store.Save(t.Context(), old))
		var told atomic.Pointer[client.SignedOutError]
		source := i.source(t, store, func(cfg *client.Config) { cfg.OnSignedOut = func(over *client.SignedOutError) { told.Store(over) } })
		_, err := source.Token(t.Context())
		wantSignedOut(t, err, "refresh_superseded", "")
		if i.alive(t) {
			t.Error("whoever has the newer token still does")
		}
		if _, err := store.Load(t.Context()); !errors.Is(err, client.ErrNoSession) {
			t.Errorf("stored: %v", err)
		}
		if got := i.refreshes.Load(); got != 2+2 {
			t.Errorf("%d requests", got)
		}
		eventually(t, "the hook", func() bool { return told.Load() != nil })
	})
	t.Run("by two generations, with a restart in between", func(t *testing.T) {
		i, store, old := setUp(t, 2)
		check(t, store.Save(t.Context(), old))
		i.setFault(once(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(w, r) // superseded; and from now on nothing arrives
			i.setFault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) })
		}))
		first := i.source(t, store)
		if _, err := first.Token(t.Context()); !errors.Is(err, client.ErrUnavailable) {
			t.Fatalf("error = %v", err)
		}
		check(t, first.Close())
		i.setFault(nil)
		before := i.refreshes.Load()
		_, err := i.source(t, store).Token(t.Context())
		wantSignedOut(t, err, "refresh_superseded", "")
		if got := i.refreshes.Load() - before; got != 1 {
			t.Errorf("%d requests after the restart", got)
		}
	})
	t.Run("for a moment", func(t *testing.T) {
		i, store, old := setUp(t, 2)
		current := mustLoad(t, store)
		check(t, store.Save(t.Context(), old))
		i.setFault(once(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			check(t, store.Save(t.Context(), current))
			next.ServeHTTP(w, r)
		}))
		if token := mustToken(t, i.source(t, store)); token.Generation != 4 || !i.alive(t) {
			t.Errorf("generation %d", token.Generation)
		}
	})
}

// TestOverMeansOver: the answers by which the server ends a session, from the real one.
func TestOverMeansOver(t *testing.T) {
	cases := map[string]struct {
		end          func(t *testing.T, i *inn, store client.Store)
		code, reason string
	}{
		"by an administrator": {func(t *testing.T, i *inn, _ client.Store) {
			check(t, i.Authority.EndUserSessions(t.Context(), i.user.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		}, "session_ended", "admin"},
		"by time": {func(_ *testing.T, i *inn, _ client.Store) {
			i.Clock.Advance(31 * 24 * time.Hour)
		}, "refresh_token_expired", "expired"},
		"by another server": {func(t *testing.T, i *inn, store client.Store) {
			session := mustLoad(t, store)
			session.RefreshToken = client.NewSecret("ikr_of-somebody-else")
			check(t, store.Save(t.Context(), session))
		}, "refresh_token_invalid", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInn(t, nil)
			store := client.NewMemoryStore()
			source := i.signedIn(t, store)
			c.end(t, i, store)
			i.expire()
			_, err := source.Token(t.Context())
			wantSignedOut(t, err, c.code, c.reason)
			if _, err := store.Load(t.Context()); !errors.Is(err, client.ErrNoSession) {
				t.Errorf("stored: %v", err)
			}
			_, err = source.Token(t.Context())
			wantSignedOut(t, err, "no_session", "")
			if got := i.refreshes.Load(); got != 1 {
				t.Errorf("%d refreshes", got)
			}
			if source.Stats().SignedOut != 1 {
				t.Errorf("stats = %+v", source.Stats())
			}
		})
	}
}

// TestTheftIsDetected: somebody has copied the token and uses it first. The owner is
// told, and so is the server's log.
func TestTheftIsDetected(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	stolen := mustLoad(t, store)
	i.Refresh(innkeepertest.Session{ID: stolen.ID, Generation: 1, RefreshToken: stolen.RefreshToken.Reveal()})
	i.expire()
	_, err := source.Token(t.Context())
	wantSignedOut(t, err, "refresh_token_reused", "reuse")
	if i.alarms.Swap(0) != 1 || i.alive(t) {
		t.Error("the thief goes on")
	}
}

// TestSilenceIsNoVerdict: nothing that a network, a proxy or a hotel answers ends a
// session.
func TestSilenceIsNoVerdict(t *testing.T) {
	answer := func(status int, body string, header ...string) func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			for n := 0; n < len(header); n += 2 {
				w.Header().Set(header[n], header[n+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	faults := map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"401 of a proxy":           answer(401, "<html>sign in</html>"),
		"401 with an unknown code": answer(401, `{"code":"something_new"}`),
		"401 without a code":       answer(401, `{}`),
		"200 of a hotel":           answer(200, "<html>welcome</html>"),
		"200 of nobody":            answer(200, `{"access_token":""}`),
		"200 with two of a kind":   answer(200, `{"access_token":"a","access_token":"b"}`),
		"a redirect":               answer(302, "", "Location", "/elsewhere"),
		"a dead code with 403":     answer(403, `{"code":"session_ended"}`),
		"429":                      answer(429, `{"code":"too_many_attempts"}`),
		"408":                      answer(408, ""),
		"500 with a dead code":     answer(500, `{"code":"session_ended"}`),
		"503":                      answer(503, `{"code":"unavailable"}`, "Retry-After", "30"),
		"404":                      answer(404, `{"code":"not_found"}`),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInn(t, nil)
			store := client.NewMemoryStore()
			source := i.signedIn(t, store)
			before := mustLoad(t, store)
			i.setFault(fault)
			i.expire()
			_, err := source.Token(t.Context())
			var unavailable *client.UnavailableError
			if !errors.As(err, &unavailable) || !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrSignedOut) || !unavailable.Temporary() {
				t.Fatalf("error = %v", err)
			}
			if name == "503" && unavailable.RetryAfter != 30*time.Second {
				t.Errorf("retry after %v", unavailable.RetryAfter)
			}
			if after := mustLoad(t, store); !after.RefreshToken.Equal(before.RefreshToken) || after.Superseded != 0 {
				t.Error("the store was touched")
			}
			i.setFault(nil)
			check(t, source.Close())
			if token := mustToken(t, i.source(t, store)); token.Generation != 2 {
				t.Errorf("generation %d", token.Generation)
			}
		})
	}
}

// TestAnotherProcess: the store has moved while a refusal was on its way, or before
// the request left.
func TestAnotherProcess(t *testing.T) {
	t.Run("has refreshed", func(t *testing.T) {
		i := newInn(t, nil)
		store := client.NewMemoryStore()
		one, two := i.signedIn(t, store), i.source(t, store)
		i.expire()
		if a, b := mustToken(t, one), mustToken(t, two); a.Access.Reveal() != b.Access.Reveal() || i.refreshes.Load() != 1 {
			t.Errorf("%d refreshes", i.refreshes.Load())
		}
		if two.Stats().Adopted != 1 {
			t.Errorf("stats = %+v", two.Stats())
		}
	})
	t.Run("has signed in while we were told that all is over", func(t *testing.T) {
		i := newInn(t, nil)
		store := client.NewMemoryStore()
		source := i.signedIn(t, store)
		old := mustLoad(t, store)
		check(t, i.Authority.EndUserSessions(t.Context(), i.user.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		i.expire()
		i.setFault(once(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			session := i.SignIn("ada")
			other := *old
			other.ID, other.Generation, other.RefreshToken = session.ID, 1, client.NewSecret(session.RefreshToken)
			other.AccessToken = client.Secret{}
			check(t, store.Save(t.Context(), &other))
			next.ServeHTTP(w, r)
		}))
		if token := mustToken(t, source); token.Generation != 2 || token.SessionID == old.ID {
			t.Errorf("token = %+v", token)
		}
	})
	t.Run("has signed out", func(t *testing.T) {
		i := newInn(t, nil)
		store := client.NewMemoryStore()
		one, two := i.signedIn(t, store), i.source(t, store)
		mustToken(t, two)
		check(t, one.Logout(t.Context(), client.LogoutThis))
		i.expire()
		_, err := two.Token(t.Context())
		wantSignedOut(t, err, "no_session", "")
	})
	t.Run("has signed in as somebody else", func(t *testing.T) {
		i := newInn(t, nil)
		i.AddUser("bob")
		store := client.NewMemoryStore()
		one, two := i.signedIn(t, store), i.source(t, store)
		mustToken(t, two)
		check(t, one.Login(t.Context(), client.Credentials{Username: "bob", Password: innkeepertest.Password}))
		i.expire()
		if _, err := two.Token(t.Context()); !errors.Is(err, client.ErrUserChanged) {
			t.Errorf("error = %v", err)
		}
		if token := mustToken(t, one); token.Generation != 2 {
			t.Errorf("who has signed in: generation %d", token.Generation)
		}
	})
	t.Run("is of another server", func(t *testing.T) {
		i, j := newInn(t, nil), newInn(t, nil)
		store := client.NewMemoryStore()
		i.signedIn(t, store)
		if _, err := j.source(t, store).Token(t.Context()); err == nil || j.refreshes.Load() != 0 {
			t.Errorf("error = %v after %d requests with another server's token", err, j.refreshes.Load())
		}
	})
}

// TestIdentityIsNotSwapped: tokens of somebody else, of a cache that has gone wrong.
func TestIdentityIsNotSwapped(t *testing.T) {
	i := newInn(t, nil)
	i.AddUser("bob")
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	i.expire()
	i.setFault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		other := i.SignIn("bob")
		_, _ = io.WriteString(w, `{"access_token":"`+other.AccessToken+`","expires_in":900,"session":{"id":"`+other.ID+
			`","generation":2},"user":{"id":"somebody-else"},"refresh_token":"`+other.RefreshToken+`"}`)
	})
	if token, err := source.Token(t.Context()); err == nil || errors.Is(err, client.ErrSignedOut) {
		t.Errorf("%+v %v", token, err)
	}
	if mustLoad(t, store).Generation != 1 {
		t.Error("the tokens were stored")
	}
}

// TestUnsavedTokenIsNeverShown: the disk is full. The access token serves; what is shown
// to the server is the parent, with its key, until the successor is stored.
func TestUnsavedTokenIsNeverShown(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	var mu sync.Mutex
	var reported []error
	source := i.signedIn(t, store, func(cfg *client.Config) {
		cfg.OnError = func(err error) {
			mu.Lock()
			defer mu.Unlock()
			reported = append(reported, err)
		}
	})
	parent := mustLoad(t, store).RefreshToken.Reveal()
	full := errors.New("no space left on device")
	store.set(func(step string) error {
		if step == "save" {
			return full
		}
		return nil
	})
	for range 3 {
		i.expire()
		if token := mustToken(t, source); token.Generation != 2 {
			t.Errorf("generation %d", token.Generation)
		}
	}
	i.mu.Lock()
	shown := len(i.successors)
	_, ok := i.successors[parent]
	i.mu.Unlock()
	if shown != 1 || !ok {
		t.Errorf("%d tokens were shown", shown)
	}
	eventually(t, "the hook", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(reported, func(err error) bool { return errors.Is(err, full) })
	})

	store.set(nil)
	eventually(t, "the token is stored, in the background", func() bool { return mustLoad(t, store).Generation == 2 })
	i.expire()
	if token := mustToken(t, source); token.Generation != 3 {
		t.Errorf("generation %d", token.Generation)
	}
}

// TestUnsavedTokenIsStoredByClose is the last chance.
func TestUnsavedTokenIsStoredByClose(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	source := i.signedIn(t, store)
	store.set(func(step string) error {
		if step == "save" {
			return errors.New("no space left on device")
		}
		return nil
	})
	i.expire()
	mustToken(t, source)
	store.set(nil)
	check(t, source.Close())
	if got := mustLoad(t, store).Generation; got != 2 {
		t.Errorf("generation %d is stored", got)
	}
}

// TestNothingLeavesWithoutAKey: a store that cannot keep the key keeps the request.
func TestNothingLeavesWithoutAKey(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	source := i.signedIn(t, store)
	i.expire()
	for _, broken := range []string{"load", "lock", "key"} {
		store.set(func(step string) error {
			if step == broken {
				return errors.New("input/output error")
			}
			return nil
		})
		if _, err := source.Token(t.Context()); !errors.Is(err, client.ErrUnavailable) || i.refreshes.Load() != 0 {
			t.Errorf("%s: error = %v after %d requests", broken, err, i.refreshes.Load())
		}
	}
	store.set(nil)
	mustToken(t, source)
}

// TestWithoutALock: processes share nothing but the keys, and nobody is signed out.
func TestWithoutALock(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	store.set(func(step string) error {
		if step == "lock" {
			return client.ErrNoLock
		}
		return nil
	})
	sources := []*client.Source{i.signedIn(t, store)}
	for range 7 {
		sources = append(sources, i.source(t, store))
	}
	for range 10 {
		i.expire()
		var wg sync.WaitGroup
		for _, source := range sources {
			wg.Go(func() { mustToken(t, source) })
		}
		wg.Wait()
	}
	if !i.alive(t) {
		t.Error("the session is over")
	}
	t.Logf("%d requests for %d rotations", i.refreshes.Load(), mustLoad(t, store).Generation-1)
}
