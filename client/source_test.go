package client_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestFreshStaleExpired is the life of a token.
func TestFreshStaleExpired(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	first := mustToken(t, source)
	if first.Generation != 1 || first.Access.Reveal() == "" || i.refreshes.Load() != 0 {
		t.Fatalf("after the sign-in: generation %d, %d refreshes", first.Generation, i.refreshes.Load())
	}

	i.Clock.Advance(14*time.Minute + 30*time.Second) // within the margin of a minute at least
	if stale := mustToken(t, source); stale != first {
		t.Errorf("a stale token is handed out at once: got generation %d", stale.Generation)
	}
	eventually(t, "a refresh in the background", func() bool { return mustToken(t, source).Generation == 2 })

	i.expire()
	if got := mustToken(t, source); got.Generation != 3 || i.refreshes.Load() != 2 {
		t.Errorf("after the expiry: generation %d, %d refreshes", got.Generation, i.refreshes.Load())
	}
	stats := source.Stats()
	if stats.Refreshed != 2 || stats.Requests != 2 || stats.Retries != 0 {
		t.Errorf("stats = %+v", stats)
	}
}

// TestFastPathAllocatesNothing holds the promise of the hot path.
func TestFastPathAllocatesNothing(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = source.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkToken(b *testing.B) {
	i := newInn(b, nil)
	source := i.signedIn(b, client.NewMemoryStore())
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = source.Token(ctx)
		}
	})
}

// TestOneRefreshForAll: many goroutines find the token expired at the same time.
func TestOneRefreshForAll(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	i.expire()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if token := mustToken(t, source); token.Generation != 2 {
				t.Errorf("generation %d", token.Generation)
			}
		})
	}
	wg.Wait()
	if got := i.refreshes.Load(); got != 1 {
		t.Errorf("%d refreshes", got)
	}
}

// TestLeaderLeaves: whoever has started a refresh gives up, and nobody else notices.
// When all have given up it is finished and stored all the same.
func TestLeaderLeaves(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	i.expire()
	arrived, proceed := make(chan struct{}), make(chan struct{})
	i.setFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		arrived <- struct{}{}
		<-proceed
		next.ServeHTTP(w, r)
	})
	cause := errors.New("the person closed the window")
	leading, leave := context.WithCancelCause(t.Context())
	left := make(chan error)
	go func() {
		_, err := source.Token(leading)
		left <- err
	}()
	<-arrived
	following := make(chan error)
	go func() {
		_, err := source.Token(t.Context())
		following <- err
	}()
	leave(cause)
	if err := <-left; !errors.Is(err, cause) {
		t.Errorf("the leader: %v", err)
	}
	proceed <- struct{}{}
	check(t, <-following)
	if got := mustLoad(t, store).Generation; got != 2 {
		t.Errorf("generation %d is stored", got)
	}

	i.expire()
	alone, leave := context.WithCancelCause(t.Context())
	go func() {
		_, err := source.Token(alone)
		left <- err
	}()
	<-arrived
	leave(cause)
	<-left
	proceed <- struct{}{}
	eventually(t, "a refresh that nobody waits for", func() bool { return mustLoad(t, store).Generation == 3 })
}

// TestClose waits for an answer to be stored, and refreshes nothing any more.
func TestClose(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	check(t, source.Close())
	check(t, source.Close())
	if _, err := source.Token(t.Context()); err != nil {
		t.Errorf("a good token: %v", err)
	}
	i.expire()
	if _, err := source.Token(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("error = %v", err)
	}
	if err := source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}); !errors.Is(err, client.ErrClosed) || i.live(t) != 1 {
		t.Errorf("login: %v, and %d live sessions", err, i.live(t))
	}

	source = i.source(t, store)
	arrived := make(chan struct{})
	i.setFault(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		close(arrived)
		<-r.Context().Done()
	})
	waiting := make(chan error)
	go func() {
		_, err := source.Token(t.Context())
		waiting <- err
	}()
	<-arrived
	check(t, source.Close())
	if err := <-waiting; !errors.Is(err, client.ErrClosed) {
		t.Errorf("who waited: %v", err)
	}
}

// TestNewRefuses what would be found out too late.
func TestNewRefuses(t *testing.T) {
	i := newInn(t, nil)
	source := i.source(t, client.NewMemoryStore())
	transport, err := client.NewTransport(source, client.TransportConfig{Origins: []string{"https://api.example.com"}})
	check(t, err)
	for name, cfg := range map[string]client.Config{
		"no store":         {Server: "https://auth.example.com"},
		"no server":        {Store: client.NewMemoryStore()},
		"plain http":       {Server: "http://auth.example.com", Store: client.NewMemoryStore()},
		"with a password":  {Server: "https://ada:secret@auth.example.com", Store: client.NewMemoryStore()},
		"with a query":     {Server: "https://auth.example.com?a=b", Store: client.NewMemoryStore()},
		"a loop of tokens": {Server: "https://auth.example.com", Store: client.NewMemoryStore(), Transport: transport},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, server := range []string{"https://auth.example.com/", "https://auth.example.com/id", "http://localhost:8080", "http://[::1]:8080"} {
		if _, err := client.New(client.Config{Server: server, Store: client.NewMemoryStore()}); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
}

// TestRefresh is what an API's refusal leads to.
func TestRefresh(t *testing.T) {
	i := newInn(t, nil)
	source := i.signedIn(t, client.NewMemoryStore())
	first := mustToken(t, source)
	second, err := source.Refresh(t.Context(), first)
	check(t, err)
	if second.Generation != 2 {
		t.Errorf("generation %d", second.Generation)
	}
	if again, err := source.Refresh(t.Context(), first); err != nil || again != second {
		t.Errorf("for a token that is old already: %+v %v", again, err)
	}
	if _, err := source.Refresh(t.Context(), second); !errors.Is(err, client.ErrUnavailable) || i.refreshes.Load() != 1 {
		t.Errorf("of an API that refuses everything: %v, %d refreshes", err, i.refreshes.Load())
	}
	i.Clock.Advance(11 * time.Second)
	if third, err := source.Refresh(t.Context(), second); err != nil || third.Generation != 3 {
		t.Errorf("later: %+v %v", third, err)
	}
}

// TestHooksAreCalledWithoutLocks: they may use the source, sign in and out, and panic.
func TestHooksAreCalledWithoutLocks(t *testing.T) {
	i := newInn(t, nil)
	var source *client.Source
	var refreshed, signedOut atomic.Int64
	source = i.signedIn(t, client.NewMemoryStore(), func(cfg *client.Config) {
		cfg.OnRefresh = func(token client.Token) {
			refreshed.Add(1)
			if token.Generation == 2 {
				_, err := source.Token(context.Background())
				if err == nil {
					err = source.Logout(context.Background(), client.LogoutThis)
				}
				if err != nil {
					t.Error(err)
				}
				panic("a hook of somebody else")
			}
		}
		cfg.OnSignedOut = func(over *client.SignedOutError) {
			signedOut.Add(1)
			if over.Reason != "logout" {
				t.Errorf("reason %q", over.Reason)
			}
		}
	})
	i.expire()
	mustToken(t, source)
	eventually(t, "the hooks", func() bool { return signedOut.Load() == 1 })
	if refreshed.Load() != 2 || i.alive(t) {
		t.Errorf("%d tokens were told of; the session is alive: %v", refreshed.Load(), i.alive(t))
	}
	_, err := source.Token(t.Context())
	wantSignedOut(t, err, "no_session", "")
}

// TestPanicReachesEveryWaiter, and the next refresh works.
func TestPanicReachesEveryWaiter(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	source := i.signedIn(t, store)
	i.expire()
	store.set(func(step string) error {
		if step == "lock" {
			panic("a store of somebody else")
		}
		return nil
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := source.Token(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
	wg.Wait()
	store.set(nil)
	mustToken(t, source)
}

// faultyStore fails at the steps that a test names.
type faultyStore struct {
	client.Store
	mu   sync.Mutex
	fail func(step string) error
}

func (f *faultyStore) set(fail func(step string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faultyStore) at(step string) error {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(step)
}

func (f *faultyStore) Load(ctx context.Context) (*client.Session, error) {
	if err := f.at("load"); err != nil {
		return nil, err
	}
	return f.Store.Load(ctx)
}

func (f *faultyStore) Save(ctx context.Context, session *client.Session) error {
	if err := f.at("save"); err != nil {
		return err
	}
	return f.Store.Save(ctx, session)
}

func (f *faultyStore) Delete(ctx context.Context) error {
	if err := f.at("delete"); err != nil {
		return err
	}
	return f.Store.Delete(ctx)
}

func (f *faultyStore) Key(ctx context.Context, sessionID string, generation uint32) (string, error) {
	if err := f.at("key"); err != nil {
		return "", err
	}
	return f.Store.Key(ctx, sessionID, generation)
}

func (f *faultyStore) Lock(ctx context.Context) (func(), error) {
	if err := f.at("lock"); err != nil {
		return nil, err
	}
	return f.Store.Lock(ctx)
}
