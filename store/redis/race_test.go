package redis_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Of many who sign the others out at once, each carrying their own session, one
// succeeds and their session lives. Nobody else's does, and it does not matter whose
// note came last.
func TestRacingCarries(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	for range 20 {
		session, other := s.session(t, ada), s.session(t, ada)
		var won atomic.Pointer[innkeeper.User]
		storetest.Race(24, func(i int) {
			change := newEpoch(ada)
			change.NewEpoch.Carry = &session.ID
			user, err := s.Users.ChangeUser(t.Context(), change)
			switch {
			case err == nil:
				if !won.CompareAndSwap(nil, &user) {
					t.Error("two changes under one epoch succeeded")
				}
			case !errors.Is(err, innkeeper.ErrEpochMoved):
				t.Error(err)
			}
		})
		if won.Load() == nil {
			t.Fatal("nobody succeeded")
		}
		ada = *won.Load()
		s.dead(t, other)
		if session = s.lives(t, session); session.Epoch != ada.Epoch {
			t.Fatalf("the session has epoch %s, want %s", session.Epoch, ada.Epoch)
		}
	}
}

// Whoever looks while a session is carried sees it alive, before or after; and it can
// be refreshed all the while. A look between the two writes would sign an honest
// client out.
func TestLooksWhileCarried(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	id := session.ID
	done := make(chan struct{})
	var watchers sync.WaitGroup
	var looks atomic.Int32
	restless := func(err error) bool { return err != nil && strings.Contains(err.Error(), "keeps changing") }
	for range 2 {
		watchers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				found, user, err := s.Sessions.Session(t.Context(), id)
				switch {
				case restless(err):
				case err != nil:
					t.Error(err)
				case found.Epoch != user.Epoch:
					t.Errorf("the session has epoch %s, its user %s", found.Epoch, user.Epoch)
				default:
					looks.Add(1)
				}
				list, err := s.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: ada.ID, AliveAt: start, Limit: 9})
				if !restless(err) && (err != nil || len(list) != 1) {
					t.Errorf("listed are %d sessions, error %v", len(list), err)
				}
			}
		})
	}
	watchers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			rotated, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, session.RotatedAt.Add(time.Second)))
			switch {
			case err == nil:
				session = rotated
			case !errors.Is(err, innkeeper.ErrNoMatch): // the epoch moved between the read and the swap
				t.Error(err)
			}
		}
	})
	user := ada
	for range 300 {
		change := newEpoch(user)
		change.NewEpoch.Carry = &id
		var err error
		user, err = s.Users.ChangeUser(t.Context(), change)
		check(t, err)
		time.Sleep(time.Millisecond)
	}
	close(done)
	watchers.Wait()
	if looks.Load() < 50 {
		t.Errorf("only %d looks saw the session", looks.Load())
	}
	s.lives(t, session)
}

// Of many who end a session at once, one is told that they did; the feed and the log
// know it once.
func TestRacingEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	for range 20 {
		session := s.session(t, ada)
		told := s.told(t)
		var ended atomic.Int32
		storetest.Race(16, func(int) {
			err := s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse))
			switch {
			case err == nil:
				ended.Add(1)
			case !errors.Is(err, innkeeper.ErrNoMatch):
				t.Error(err)
			}
		})
		if n := ended.Load(); n != 1 {
			t.Fatalf("%d were told that they ended the session", n)
		}
		if now := s.told(t); now != [2]int{told[0] + 1, told[1] + 1} {
			t.Fatalf("the feed and the log grew from %v to %v, want one each", told, now)
		}
		s.dead(t, session)
	}
}

// Stores of two servers that share Redis and SQL see each other's rotations, whatever
// either remembers.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	url := testengine.SharedRedis(t).URL()
	s := newShelf(t)
	other := &stage{Stores: open(t, configOf(url, s.prefix), s.below).Stores()}
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	for range 20 {
		session = other.lives(t, s.lives(t, session))
	}
	check(t, other.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)))
	s.dead(t, session)
}

func configOf(url, prefix string) redis.Config { return redis.Config{URL: url, KeyPrefix: prefix} }
