package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// behind opens a store behind a proxy. While that hangs or is slow, what arrives has
// to wait for the lanes. It returns the URL without the proxy, too.
func behind(t *testing.T) (store *postgres.Store, database string, proxy *testengine.Proxy) {
	t.Helper()
	server := testengine.SharedPostgres(t)
	proxy, err := testengine.NewProxy(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	database = newDatabase(t)
	store = open(t, strings.Replace(database, server.Addr(), proxy.Addr(), 1))
	// Connections are opened and statements prepared before that.
	warm := storetest.NewSession(storetest.NewUser("nobody"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				_, _, _ = store.Stores().Sessions.RotateSession(t.Context(), storetest.Successor(warm, start))
			}
		})
	}
	wg.Wait()
	return store, database, proxy
}

func pass(t *testing.T, proxy *testengine.Proxy) {
	t.Helper()
	if err := proxy.Pass(); err != nil {
		t.Fatal(err)
	}
}

// crew creates a user with some sessions.
func crew(t *testing.T, stores innkeeper.Stores, n int) []innkeeper.Session {
	t.Helper()
	user := storetest.NewUser(fmt.Sprintf("user%d", rand.Int()))
	if err := stores.Users.CreateUser(t.Context(), user, innkeeper.Event{}); err != nil {
		t.Fatal(err)
	}
	sessions := make([]innkeeper.Session, n)
	var wg sync.WaitGroup
	for i := range sessions {
		sessions[i] = storetest.NewSession(user)
		wg.Go(func() {
			if err := stores.Sessions.CreateSession(t.Context(), innkeeper.Birth{Session: sessions[i]}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return sessions
}

// rotation is a call that is under way.
type rotation struct {
	asked   innkeeper.Rotation
	session innkeeper.Session
	err     error
	done    chan struct{}
}

func begin(ctx context.Context, store *postgres.Store, r innkeeper.Rotation) *rotation {
	call := &rotation{asked: r, done: make(chan struct{})}
	go func() {
		defer close(call.done)
		call.session, _, call.err = store.Stores().Sessions.RotateSession(ctx, r)
	}()
	return call
}

func (r *rotation) wait() error {
	<-r.done
	return r.err
}

// busy occupies the lanes of a store with rotations, and returns when these have
// been sent.
func busy(t *testing.T, store *postgres.Store, sessions []innkeeper.Session) []*rotation {
	t.Helper()
	var calls []*rotation
	for i := range postgres.MaxLanes {
		before := store.Batches()
		calls = append(calls, begin(t.Context(), store, storetest.Successor(sessions[i], start)))
		eventually(t, "a rotation is sent at once", func() bool { return store.Batches() > before })
	}
	return calls
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

func TestWhatArrivesMeanwhileIsSentTogether(t *testing.T) {
	t.Parallel()
	store, database, proxy := behind(t)
	sessions := crew(t, open(t, database).Stores(), 40)
	proxy.Hang()
	calls := busy(t, store, sessions)
	before := store.Batches()
	for i := postgres.MaxLanes; i < len(sessions); i++ {
		calls = append(calls, begin(t.Context(), store, storetest.Successor(sessions[i], start)))
	}
	eventually(t, "all are in line", func() bool { return store.Queued() == len(sessions)-postgres.MaxLanes })
	pass(t, proxy)
	for i, call := range calls {
		if err := call.wait(); err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
		if call.session.ID != call.asked.SessionID || call.session.SecretHash != call.asked.SecretHash {
			t.Errorf("rotation %d got the answer of another", i)
		}
	}
	if sent := store.Batches() - before; sent > postgres.MaxLanes {
		t.Errorf("%d statements were sent for what was in the queue", sent)
	}
}

// However many rotations of one session stand in line, and whatever the order, one
// wins, and nobody of another session notices.
func TestOneSessionManyTimesInTheQueue(t *testing.T) {
	t.Parallel()
	store, database, proxy := behind(t)
	proxy.Delay(20 * time.Millisecond)
	sessions := crew(t, open(t, database).Stores(), 10)
	calls := make(map[innkeeper.SessionID][]*rotation)
	for i := range 100 {
		session := &sessions[i%len(sessions)]
		calls[session.ID] = append(calls[session.ID], begin(t.Context(), store, storetest.Successor(*session, start)))
	}
	for _, racers := range calls {
		won := 0
		for _, call := range racers {
			switch err := call.wait(); {
			case err == nil:
				won++
			case !errors.Is(err, innkeeper.ErrNoMatch):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d rotations of one session won", won, len(racers))
		}
	}
}

func TestABadRotationFailsAlone(t *testing.T) {
	t.Parallel()
	store, database, proxy := behind(t)
	stores := open(t, database).Stores()
	sessions := crew(t, stores, 20)
	proxy.Hang()
	calls := busy(t, store, sessions)
	for i := postgres.MaxLanes; i < len(sessions); i++ {
		r := storetest.Successor(sessions[i], start)
		switch i {
		case 7: // PostgreSQL knows no such time, and refuses the statement
			r.At = time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC)
		case 8: // it would refuse these, if they came to it like that
			r.Client.UserAgent = "curl\x00/8 \xff"
		}
		calls = append(calls, begin(t.Context(), store, r))
	}
	pass(t, proxy)
	for i, call := range calls {
		err := call.wait()
		if (err != nil) != (i == 7) {
			t.Errorf("rotation %d: got error %v", i, err)
		}
		stored, _, readErr := stores.Sessions.Session(t.Context(), sessions[i].ID)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if rotated := stored.SecretHash == call.asked.SecretHash; rotated != (err == nil) {
			t.Errorf("rotation %d: got error %v, but it is %t that it was written", i, err, rotated)
		}
	}
	if got, want := calls[8].session.Client.UserAgent, "curl\uFFFD/8 \uFFFD"; got != want {
		t.Errorf("the user agent is %q, want %q", got, want)
	}
}

func TestCallerLeavesBeforeItsTurnOrNotAtAll(t *testing.T) {
	t.Parallel()
	store, database, proxy := behind(t)
	stores := open(t, database).Stores()
	sessions := crew(t, stores, 10)
	proxy.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	var under []*rotation
	for i := range postgres.MaxLanes {
		before := store.Batches()
		under = append(under, begin(ctx, store, storetest.Successor(sessions[i], start)))
		eventually(t, "a rotation is sent at once", func() bool { return store.Batches() > before })
	}
	var queued []*rotation
	for i := postgres.MaxLanes; i < len(sessions); i++ {
		caller := t.Context()
		if i%2 == 0 {
			caller = ctx
		}
		queued = append(queued, begin(caller, store, storetest.Successor(sessions[i], start)))
	}
	eventually(t, "all are in line", func() bool { return store.Queued() == len(queued) })
	cancel()

	for i, call := range queued {
		if i%2 == 0 {
			if err := call.wait(); !errors.Is(err, context.Canceled) {
				t.Errorf("queued %d: got error %v, want %v", i, err, context.Canceled)
			}
		}
	}
	for i, call := range under {
		select {
		case <-call.done:
			t.Errorf("caller %d left in the middle of its rotation", i)
		default:
		}
	}
	pass(t, proxy)
	for i, call := range append(under, queued...) {
		err := call.wait()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("rotation %d: %v", i, err)
		}
		stored, _, readErr := stores.Sessions.Session(t.Context(), call.asked.SessionID)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if rotated := stored.SecretHash == call.asked.SecretHash; rotated != (err == nil) {
			t.Errorf("rotation %d: got error %v, but it is %t that it was written", i, err, rotated)
		}
	}
}

func TestCloseFinishesTheQueue(t *testing.T) {
	t.Parallel()
	store, database, proxy := behind(t)
	sessions := crew(t, open(t, database).Stores(), 10)
	proxy.Hang()
	calls := busy(t, store, sessions)
	for i := postgres.MaxLanes; i < len(sessions); i++ {
		calls = append(calls, begin(t.Context(), store, storetest.Successor(sessions[i], start)))
	}
	eventually(t, "all are in line", func() bool { return store.Queued() == len(sessions)-postgres.MaxLanes })
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	pass(t, proxy)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for i, call := range calls {
		select {
		case <-call.done:
		default:
			// Close may return a moment before the caller does.
			eventually(t, "the caller is answered", func() bool {
				select {
				case <-call.done:
					return true
				default:
					return false
				}
			})
		}
		if call.err != nil {
			t.Errorf("rotation %d was queued before Close: %v", i, call.err)
		}
	}
}

// Servers that rotate the same sessions in different orders neither deadlock nor
// lose a rotation.
func TestTwoStoresDoNotDeadlock(t *testing.T) {
	database := newDatabase(t)
	nodes := []*postgres.Store{open(t, database), open(t, database)}
	sessions := crew(t, nodes[0].Stores(), 32)
	var mu sync.Mutex // guards sessions, as they are known to clients
	var won atomic.Int32
	var wg sync.WaitGroup
	for client := range 48 {
		wg.Go(func() {
			store := nodes[client%len(nodes)].Stores().Sessions
			for _, i := range rand.Perm(len(sessions))[:16] {
				mu.Lock()
				session := sessions[i]
				mu.Unlock()
				rotated, _, err := store.RotateSession(t.Context(), storetest.Successor(session, start))
				switch {
				case err == nil:
					won.Add(1)
					mu.Lock()
					if sessions[i].Generation < rotated.Generation {
						sessions[i] = rotated
					}
					mu.Unlock()
				case !errors.Is(err, innkeeper.ErrNoMatch):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	total := int32(0)
	for _, session := range sessions {
		stored, _, err := nodes[1].Stores().Sessions.Session(t.Context(), session.ID)
		if err != nil {
			t.Fatal(err)
		}
		total += int32(stored.Generation) - 1
	}
	if total != won.Load() {
		t.Errorf("%d rotations were answered, %d written", won.Load(), total)
	}
	var deadlocks int64
	err := connect(t, database).QueryRow(t.Context(),
		`select deadlocks from pg_stat_database where datname = current_database()`).Scan(&deadlocks)
	if err != nil || deadlocks != 0 {
		t.Errorf("there were %d deadlocks, %v", deadlocks, err)
	}
}

// A row that somebody holds is waited for as long as a call may wait, and nobody
// else waits for it.
func TestALockedRowHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	const timeout = 10 * time.Second // a busy machine stands still for one or two
	store := openWith(t, postgres.Config{URL: database, StatementTimeout: timeout})
	sessions := crew(t, store.Stores(), 20)
	admin := connect(t, database)
	exec(t, admin, fmt.Sprintf(`begin; select from session where id in ('\x%x', '\x%x') for update`,
		sessions[0].ID[:], sessions[1].ID[:]))
	began := time.Now()
	var calls []*rotation
	for i := range sessions {
		calls = append(calls, begin(t.Context(), store, storetest.Successor(sessions[i], start)))
	}
	for i, call := range calls[2:] {
		if err := call.wait(); err != nil {
			t.Errorf("rotation %d: %v", i+2, err)
		}
	}
	if waited := time.Since(began); waited > timeout*8/10 {
		t.Errorf("the neighbors waited %s", waited)
	}
	for _, call := range calls[:2] {
		if err := call.wait(); err == nil || !strings.Contains(err.Error(), "lock timeout") {
			t.Errorf("got error %v, want that of the lock", err)
		}
	}
	if waited := time.Since(began); waited < timeout*8/10 || waited > 2*timeout {
		t.Errorf("those that were locked waited %s", waited)
	}
	again := begin(t.Context(), store, calls[0].asked)
	time.Sleep(50 * time.Millisecond) // let it find the lock taken
	exec(t, admin, `rollback`)
	if err := again.wait(); err != nil {
		t.Errorf("the lock is free again: %v", err)
	}
}
