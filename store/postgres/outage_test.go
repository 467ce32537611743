package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// ownServer starts a server that a test may break, with a proxy in front of it.
func ownServer(t *testing.T) (server *testengine.Postgres, proxy *testengine.Proxy, url string) {
	t.Helper()
	server, err := testengine.StartPostgres(t.Context(), testengine.PostgresConfig{Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	proxy, err = testengine.NewProxy(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	return server, proxy, strings.Replace(createDatabase(t, server), server.Addr(), proxy.Addr(), 1)
}

// outageTimeout is short, but longer than a busy machine needs for a statement.
const outageTimeout = 2 * time.Second

// inTime is when a call must be over, however the database behaves: it may wait for
// those before it, and then for itself. A busy machine may stand still meanwhile.
const inTime = 2*(outageTimeout+time.Second) + 10*time.Second

// promptly returns the error of a call, which must come in time.
func promptly(t *testing.T, what string, call func() error) error {
	t.Helper()
	began := time.Now()
	err := call()
	if waited := time.Since(began); waited > inTime {
		t.Errorf("%s took %s", what, waited)
	}
	return err
}

// every calls a method of each kind: a read, a rotation, another write.
func every(t *testing.T, store *postgres.Store, session *innkeeper.Session) []error {
	t.Helper()
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			stores := store.Stores()
			errs[i] = promptly(t, "a call", func() error {
				switch i % 3 {
				case 0:
					_, _, err := stores.Sessions.Session(context.Background(), session.ID)
					return err
				case 1:
					_, _, err := stores.Sessions.RotateSession(context.Background(), storetest.Successor(*session, start))
					if errors.Is(err, innkeeper.ErrNoMatch) { // another of these was first
						return nil
					}
					return err
				default:
					return stores.Issuer.SetIssuer(context.Background(), "https://auth.example")
				}
			})
		})
	}
	wg.Wait()
	return errs
}

// A server that is stopped, or a network that swallows everything, gives errors in
// time, and when it comes back the store works without being opened again.
func TestOutages(t *testing.T) {
	t.Parallel()
	server, proxy, url := ownServer(t)
	patient := open(t, url)
	for _, outage := range []struct {
		name       string
		begin, end func() error
	}{
		{"frozen server", server.Freeze, server.Thaw},
		{"black hole", func() error { proxy.Hang(); return nil }, proxy.Pass},
		{"network down", func() error { defer proxy.Cut(); return proxy.Refuse() }, proxy.Pass},
		{"killed server", server.Kill, func() error { return server.Start(context.Background()) }},
	} {
		t.Run(outage.name, func(t *testing.T) {
			session := crew(t, patient.Stores(), 1)[0]
			store := openWith(t, postgres.Config{URL: url, StatementTimeout: outageTimeout})
			works := func() bool {
				for _, err := range every(t, store, &session) {
					if err != nil {
						return false
					}
				}
				return true
			}
			eventually(t, "the store works", works)
			if err := outage.begin(); err != nil {
				t.Fatal(err)
			}
			for i, err := range every(t, store, &session) {
				if err == nil || errors.Is(err, innkeeper.ErrNoMatch) || errors.Is(err, innkeeper.ErrNotFound) {
					t.Errorf("call %d: got error %v during the outage", i, err)
				}
			}
			if err := outage.end(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the store works again", works)
		})
	}
}

// A server that is killed and started again while many sessions are refreshed loses
// no rotation that was answered, and costs those that were under way and those that
// came while it was away, but none after.
func TestRestartUnderLoad(t *testing.T) {
	server, _, url := ownServer(t)
	// Who is killed hangs up, which takes no time. What comes late must not fail because
	// the machine stood still.
	store := openWith(t, postgres.Config{URL: url, StatementTimeout: 30 * time.Second})
	sessions := crew(t, store.Stores(), 32)
	var answered, failedLate atomic.Int64
	var back atomic.Bool
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range sessions {
		wg.Go(func() {
			session := &sessions[i]
			for {
				select {
				case <-stop:
					return
				default:
				}
				late := back.Load()
				asked := storetest.Successor(*session, start)
				rotated, _, err := store.Stores().Sessions.RotateSession(context.Background(), asked)
				switch {
				case err == nil:
					answered.Add(1)
					*session = rotated
					continue
				case late:
					failedLate.Add(1)
				}
				// Nobody knows what became of it. Look, as the domain does.
				stored, _, err := store.Stores().Sessions.Session(context.Background(), session.ID)
				switch {
				case err != nil:
					time.Sleep(5 * time.Millisecond)
				case stored.SecretHash == asked.SecretHash:
					*session = stored
				case stored.SecretHash != session.SecretHash:
					t.Errorf("session %d has lost a rotation: generation %d is stored, %d was answered",
						i, stored.Generation, session.Generation)
					return
				}
			}
		})
	}
	more := func() {
		t.Helper()
		before := answered.Load()
		eventually(t, "sessions are refreshed", func() bool { return answered.Load() > before+200 })
	}
	for range 2 {
		more()
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		more()
		back.Store(true)
		more()
		back.Store(false)
	}
	close(stop)
	wg.Wait()
	if n := failedLate.Load(); n > 0 {
		t.Errorf("%d rotations failed after the server was back", n)
	}
}

// Connections that died while nothing happened are replaced before they are used.
func TestRestartWhileIdle(t *testing.T) {
	t.Parallel()
	server, proxy, url := ownServer(t)
	store := openWith(t, postgres.Config{URL: url})
	session := crew(t, store.Stores(), 1)[0]
	for name, restart := range map[string]func() error{
		"kill": func() error { return errors.Join(server.Kill(), server.Start(t.Context())) },
		"stop": func() error { return errors.Join(server.Stop(t.Context()), server.Start(t.Context())) },
		"cut":  func() error { proxy.Cut(); return nil },
	} {
		for range 2 {
			every(t, store, &session) // opens connections
			if err := restart(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // a proxy stands between
			for i, err := range every(t, store, &session) {
				if err != nil {
					t.Errorf("%s: call %d: %v", name, i, err)
				}
			}
		}
	}
}

// Somebody changes the schema, a little, while servers run: what they have prepared
// is of no use any more, and nobody notices.
func TestSchemaChangesUnderneath(t *testing.T) {
	database := newDatabase(t)
	store := open(t, database)
	session := crew(t, store.Stores(), 1)[0]
	admin := connect(t, database)
	for _, change := range []string{
		`alter table users alter email type varchar(400)`,
		`alter table session alter device type varchar(400), add column note text`,
		`alter table users alter email type text`,
	} {
		every(t, store, &session) // prepares statements on several connections
		exec(t, admin, change)
		for i, err := range every(t, store, &session) {
			if err != nil {
				t.Errorf("%s: call %d: %v", change, i, err)
			}
		}
	}
}
