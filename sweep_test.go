package innkeeper_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// fillForSweep stores sessions that are over for longer than a week, sessions
// that are not, and an old and a young revocation, all as of now.
func fillForSweep(t *testing.T, stores innkeeper.Stores, now time.Time, dead int) (kept []innkeeper.SessionID) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := innkeeper.User{Subject: innkeeper.Subject{Username: "ada"}, CreatedAt: now, UpdatedAt: now}
	must(stores.Users.CreateUser(t.Context(), user, innkeeper.Event{}))
	const week = 7 * 24 * time.Hour
	var queue sync.WaitGroup // SQLite commits together what comes together
	add := func(number int, expires, ended time.Time) innkeeper.SessionID {
		var id innkeeper.SessionID
		copy(id[:], fmt.Sprintf("%016d", number))
		queue.Go(func() {
			err := stores.Sessions.CreateSession(t.Context(), innkeeper.Birth{Session: innkeeper.Session{
				ID: id, Delivery: innkeeper.DeliverByBody, Generation: 1, CreatedAt: now.Add(-30 * 24 * time.Hour),
				RotatedAt: now.Add(-30 * 24 * time.Hour), RefreshExpiresAt: expires, ExpiresAt: expires,
			}})
			if err == nil && !ended.IsZero() {
				err = stores.Sessions.EndSession(t.Context(), innkeeper.Ending{
					SessionID: id, At: ended, Reason: innkeeper.ReasonLogout,
					Revocation: innkeeper.Revocation{At: ended, Kind: innkeeper.RevokedSession, ID: id.String()},
				})
			}
			if err != nil {
				t.Error(err)
			}
		})
		return id
	}
	for n := range dead {
		if n%2 == 0 {
			add(n, now.Add(-week-time.Second), time.Time{})
		} else {
			add(n, now.Add(time.Hour), now.Add(-week-time.Second))
		}
	}
	kept = append(kept,
		add(dead, now.Add(time.Hour), time.Time{}),
		add(dead+1, now.Add(-week+time.Minute), time.Time{}),
		add(dead+2, now.Add(time.Hour), now.Add(-week+time.Minute)))
	queue.Wait()
	must(stores.Revocations.Revoke(t.Context(), innkeeper.Revocation{At: now, Kind: innkeeper.RevokedSession, ID: "young"}, innkeeper.Event{}))
	must(stores.Revocations.Revoke(t.Context(), innkeeper.Revocation{At: now.Add(-week), Kind: innkeeper.RevokedKey, ID: "for good"}, innkeeper.Event{}))
	return kept
}

func openForSweep(t *testing.T, stores innkeeper.Stores, clock func() time.Time) *innkeeper.Authority {
	t.Helper()
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: stores, RootKeys: ringOf(t, rootkey.Generate()), Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// Two servers sweep the same store at the same time: each row goes once, and
// nothing that is needed goes at all.
func TestSweepTogether(t *testing.T) {
	file, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "innkeeper.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, stores := range map[string]innkeeper.Stores{"memory": memory.New().Stores(), "sqlite": file.Stores()} {
		t.Run(name, func(t *testing.T) {
			const dead = 601
			now := time.Now().UTC()
			kept := fillForSweep(t, stores, now, dead)
			authority := openForSweep(t, stores, func() time.Time { return now })
			var (
				wg    sync.WaitGroup
				mu    sync.Mutex
				total innkeeper.Swept
			)
			for range 2 {
				wg.Go(func() {
					swept, err := authority.Sweep(t.Context(), innkeeper.SweepPolicy{Batch: 100})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					total.Sessions += swept.Sessions
					total.Revocations += swept.Revocations
				})
			}
			wg.Wait()
			if want := (innkeeper.Swept{Sessions: dead, Revocations: dead/2 + 1}); total != want {
				t.Errorf("swept %+v, want %+v", total, want)
			}
			for _, id := range kept {
				if _, _, err := stores.Sessions.Session(t.Context(), id); err != nil {
					t.Errorf("session %s: %v", id, err)
				}
			}
			feed, err := stores.Revocations.Revocations(t.Context(), 0, 10)
			if err != nil || len(feed) != 2 || feed[0].ID != "young" || feed[1].ID != "for good" {
				t.Errorf("the feed is %v, %v", feed, err)
			}
		})
	}
}

// slow is a store of which each batch takes a second.
type slow struct {
	innkeeper.SessionStore
	batches int
}

func (s *slow) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	s.batches++
	time.Sleep(time.Second)
	return s.SessionStore.SweepSessions(ctx, before, limit)
}

// However much there is to sweep, half of the time belongs to others. A sweep
// that is told to stop does so in the middle.
func TestSweepLeavesHalfOfTheTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		stores := memory.New().Stores()
		fillForSweep(t, stores, time.Now(), 50)
		store := &slow{SessionStore: stores.Sessions}
		stores.Sessions = store
		authority := openForSweep(t, stores, time.Now)

		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		swept, err := authority.Sweep(ctx, innkeeper.SweepPolicy{Batch: 10})
		if !errors.Is(err, context.DeadlineExceeded) || swept.Sessions != 20 {
			t.Errorf("swept %+v, %v, want 20 sessions and a deadline", swept, err)
		}

		began := time.Now()
		store.batches = 0
		swept, err = authority.Sweep(t.Context(), innkeeper.SweepPolicy{Batch: 10})
		if err != nil || swept.Sessions != 30 || store.batches != 4 {
			t.Errorf("swept %+v in %d batches, %v", swept, store.batches, err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("it took %v, want a second of rest between each of 4", took)
		}
	})
}

// failing is a store that does not answer.
type failing struct{ innkeeper.SessionStore }

func (failing) SweepSessions(context.Context, time.Time, int) (int, error) {
	return 0, errors.New("the network is down")
}

func TestSweepFails(t *testing.T) {
	stores := memory.New().Stores()
	stores.Sessions = failing{stores.Sessions}
	authority := openForSweep(t, stores, time.Now)
	if _, err := authority.Sweep(t.Context(), innkeeper.SweepPolicy{}); !errors.Is(err, innkeeper.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	var input *innkeeper.InputError
	if _, err := authority.Sweep(t.Context(), innkeeper.SweepPolicy{SessionRetention: -time.Hour}); !errors.As(err, &input) {
		t.Errorf("a retention that would delete what lives: %v", err)
	}
}
