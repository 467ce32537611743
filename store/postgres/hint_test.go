package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// listen counts hints until it fails.
func listen(ctx context.Context, store *postgres.Store) (hints <-chan struct{}, over <-chan error) {
	h, o := make(chan struct{}, 1000), make(chan error, 1)
	go func() { o <- store.HintRevocations(ctx, func() { h <- struct{}{} }) }()
	return h, o
}

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case value := <-c:
		return value
	case <-time.After(30 * time.Second):
		t.Fatal(what)
		panic("unreachable")
	}
}

func revoke(t *testing.T, store *postgres.Store, id string) {
	t.Helper()
	entry := innkeeper.Revocation{At: start, Kind: innkeeper.RevokedSession, ID: id}
	if err := store.Stores().Revocations.Revoke(t.Context(), entry, innkeeper.Event{}); err != nil {
		t.Fatal(err)
	}
}

// What one server writes, the other is told of; and again after it has lost its
// connection.
func TestHintsBetweenServers(t *testing.T) {
	t.Parallel()
	_, proxy, url := ownServer(t)
	here, there := open(t, url), open(t, url)
	for _, id := range []string{"a", "b"} {
		hints, over := listen(t.Context(), there)
		await(t, "it does not listen", hints)
		revoke(t, here, id)
		await(t, "no hint came", hints)
		proxy.Cut()
		if err := await(t, "it still listens", over); err == nil {
			t.Error("listening ended without an error when the connection was lost")
		}
	}
	here.Close()
	hints, over := listen(t.Context(), there)
	await(t, "it does not listen", hints)
	there.Close()
	if err := await(t, "it still listens", over); !errors.Is(err, postgres.ErrClosed) {
		t.Errorf("listening ended with %v, want %v", err, postgres.ErrClosed)
	}
	if err := there.HintRevocations(t.Context(), func() {}); !errors.Is(err, postgres.ErrClosed) {
		t.Errorf("listening on a closed store gave %v, want %v", err, postgres.ErrClosed)
	}
}

// A server that does not answer keeps nobody.
func TestHintsDuringAnOutage(t *testing.T) {
	t.Parallel()
	_, proxy, url := ownServer(t)
	store := openWith(t, postgres.Config{URL: url, StatementTimeout: outageTimeout})
	ctx, cancel := context.WithCancel(t.Context())
	hints, over := listen(ctx, store)
	await(t, "it does not listen", hints)
	revoke(t, store, "a")
	await(t, "no hint came", hints)
	proxy.Hang()
	cancel()
	err := promptly(t, "to stop listening", func() error { return await(t, "it still listens", over) })
	if err != nil {
		t.Errorf("listening ended with %v", err)
	}
	err = promptly(t, "to begin", func() error { return store.HintRevocations(t.Context(), func() {}) })
	if err == nil {
		t.Error("it listens to a black hole")
	}
	if err := proxy.Pass(); err != nil {
		t.Error(err)
	}
}

// A burst is told in a few notifications, and the last of them comes after the last
// entry.
func TestHintsCoalesce(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	here, there := open(t, database), open(t, database)
	hints, _ := listen(t.Context(), there)
	await(t, "it does not listen", hints)
	const writers, each = 8, 25
	storetest.Race(writers, func(i int) {
		for n := range each {
			revoke(t, here, string(rune('a'+i))+string(rune('a'+n)))
		}
	})
	told := 0
	for {
		await(t, "the last entries were not told of", hints)
		told++
		feed, err := there.Stores().Revocations.Revocations(t.Context(), 0, writers*each+1)
		if err != nil {
			t.Fatal(err)
		}
		if len(feed) == writers*each {
			break
		}
	}
	t.Logf("%d notifications told of %d entries", told+len(hints), writers*each)
}

// Whoever follows the feed by its numbers misses nothing, however many servers write
// at the same moment.
func TestFollowersMissNothing(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	const servers, writers, each = 3, 6, 20
	var stores [servers]*postgres.Store
	for i := range stores {
		stores[i] = open(t, database)
	}
	sessions := crew(t, stores[0].Stores(), servers*writers*each)
	done := make(chan struct{})
	var followers sync.WaitGroup
	for i := range stores {
		followers.Go(func() {
			seen := make(map[string]bool)
			var after int64
			for last := false; ; {
				page, err := stores[i].Stores().Revocations.Revocations(t.Context(), after, 5)
				if err != nil {
					t.Error(err)
					return
				}
				for _, entry := range page {
					if entry.Seq <= after {
						t.Errorf("entry %d came after %d", entry.Seq, after)
					}
					after = entry.Seq
					seen[entry.ID] = true
				}
				if last && len(page) == 0 {
					break
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
			for _, session := range sessions {
				if !seen[session.ID.String()] {
					t.Errorf("follower %d missed a session", i)
				}
			}
		})
	}
	storetest.Race(servers*writers, func(i int) {
		for _, session := range sessions[i*each : (i+1)*each] {
			err := stores[i%servers].Stores().Sessions.EndSession(t.Context(), innkeeper.Ending{
				SessionID: session.ID, At: start, Reason: innkeeper.ReasonLogout,
				Revocation: innkeeper.Revocation{At: start, Kind: innkeeper.RevokedSession, ID: session.ID.String()},
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	close(done)
	followers.Wait()
}
