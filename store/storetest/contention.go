package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Race runs n copies of f at once and waits for all of them.
func Race(n int, f func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

func testOneRotationWins(t *testing.T, s *suite) {
	const racers = 32
	session := s.session(s.user("ada"))
	for range 10 {
		rotations := make([]innkeeper.Rotation, racers)
		for i := range rotations {
			rotations[i] = rotation(session)
		}
		var winners atomic.Int32
		var winner atomic.Int32
		Race(racers, func(i int) {
			_, _, err := s.Stores.Sessions.RotateSession(s.ctx(), rotations[i])
			switch {
			case err == nil:
				winners.Add(1)
				winner.Store(int32(i))
			case !errors.Is(err, innkeeper.ErrNoMatch):
				t.Errorf("racer %d: %v", i, err)
			}
		})
		if n := winners.Load(); n != 1 {
			t.Fatalf("%d of %d racing rotations won, want exactly 1", n, racers)
		}
		session = rotated(session, rotations[winner.Load()])
		same(t, s.stored(session.ID), session)
	}
}

func testManySessions(t *testing.T, s *suite) {
	const clients, refreshes = 24, 12
	ada := s.user("ada")
	sessions := make([]innkeeper.Session, clients)
	for i := range sessions {
		sessions[i] = s.session(ada)
	}
	Race(clients, func(i int) {
		for range refreshes {
			r := rotation(sessions[i])
			got, _, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			sessions[i] = got
		}
	})
	for _, session := range sessions {
		same(t, s.stored(session.ID), session)
		if session.Generation != refreshes+1 {
			t.Fatalf("a session is at generation %d, want %d", session.Generation, refreshes+1)
		}
	}
}

func testRotateAgainstEnd(t *testing.T, s *suite) {
	ada := s.user("ada")
	for range 20 {
		session := s.session(ada)
		ended := make(chan struct{})
		var lateWins atomic.Int32
		Race(8, func(i int) {
			if i == 0 {
				if err := s.Stores.Sessions.EndSession(s.ctx(), ending(session, innkeeper.ReasonLogout)); err != nil {
					t.Error(err)
				}
				close(ended)
				return
			}
			over := false
			select {
			case <-ended:
				over = true
			default:
			}
			_, _, err := s.Stores.Sessions.RotateSession(s.ctx(), rotation(session))
			if err == nil && over {
				lateWins.Add(1)
			}
		})
		if lateWins.Load() > 0 {
			t.Fatal("a session was rotated after its end had been acknowledged")
		}
		if got := s.stored(session.ID); !got.Ended() {
			t.Fatalf("the session lives on: %+v", got)
		}
		_, _, err := s.Stores.Sessions.RotateSession(s.ctx(), rotation(s.stored(session.ID)))
		s.wantErr(err, innkeeper.ErrNoMatch)
	}
}

// testRotateAgainstCarry lets a refresh and a logout of all others happen at the same
// moment: the calling session lives on, whichever comes first.
func testRotateAgainstCarry(t *testing.T, s *suite) {
	ada := s.user("ada")
	session := s.session(ada)
	for range 30 {
		r := rotation(session)
		change := newEpoch(ada, innkeeper.ReasonLogoutEverywhere)
		change.NewEpoch.Carry = &session.ID
		var rotateErr, changeErr error
		Race(2, func(i int) {
			if i == 0 {
				_, _, rotateErr = s.Stores.Sessions.RotateSession(s.ctx(), r)
				return
			}
			ada, changeErr = s.Users.ChangeUser(s.ctx(), change)
		})
		s.must(changeErr)
		want := session
		if rotateErr == nil {
			want = rotated(session, r)
		} else {
			s.wantErr(rotateErr, innkeeper.ErrNoMatch)
		}
		want.Epoch = ada.Epoch
		session = s.stored(session.ID)
		same(t, session, want)
	}
}

func testEpochMovesOnce(t *testing.T, s *suite) {
	ada := s.user("ada")
	var moved atomic.Int32
	Race(16, func(int) {
		_, err := s.Users.ChangeUser(s.ctx(), newEpoch(ada, innkeeper.ReasonLogoutEverywhere))
		switch {
		case err == nil:
			moved.Add(1)
		case !errors.Is(err, innkeeper.ErrEpochMoved):
			t.Error(err)
		}
	})
	if n := moved.Load(); n != 1 {
		t.Fatalf("%d changes under one epoch succeeded, want 1", n)
	}
}

// testOneRootKeyWins lets servers with different root keys start on a new store,
// two of them with each.
func testOneRootKeyWins(t *testing.T, s *suite) {
	const keys = 6
	var (
		checks [keys]rootkey.Check
		errs   [2 * keys]error
		won    []rootkey.Check
	)
	for i := range checks {
		checks[i] = random[rootkey.Check]()
	}
	Race(len(errs), func(i int) {
		errs[i] = s.RootKeys.AddRootKeyChecks(s.ctx(), []rootkey.Check{checks[i%keys]})
	})
	for i, check := range checks {
		switch first, second := errs[i], errs[i+keys]; {
		case first == nil && second == nil:
			won = append(won, check)
		case !errors.Is(first, innkeeper.ErrWrongRootKey) || !errors.Is(second, innkeeper.ErrWrongRootKey):
			t.Errorf("servers with one key were told %v and %v", first, second)
		}
	}
	stored, err := s.RootKeys.RootKeyChecks(s.ctx())
	s.must(err)
	if len(won) != 1 {
		t.Fatalf("%d root keys won, want 1", len(won))
	}
	same(t, stored, won)
}

// testFeedHasNoHoles follows the feed while sessions end: a follower that has
// seen entry n must never find a smaller one later.
func testFeedHasNoHoles(t *testing.T, s *suite) {
	const writers, ends = 8, 10
	ada := s.user("ada")
	done := make(chan struct{})
	var seen []innkeeper.Revocation
	var follower sync.WaitGroup
	follower.Go(func() {
		var after int64
		for last := false; ; {
			given, err := s.Revocations.LastRevocation(s.ctx())
			if err != nil {
				t.Error(err)
				return
			}
			page, err := s.Revocations.Revocations(s.ctx(), after, 7)
			if err != nil {
				t.Error(err)
				return
			}
			if len(page) == 0 && after < given {
				t.Errorf("the number %d was given, and after %d there is nothing", given, after)
			}
			for _, entry := range page {
				after = entry.Seq
			}
			seen = append(seen, page...)
			if last && len(page) == 0 {
				return
			}
			select {
			case <-done:
				last = true
			default:
			}
		}
	})
	Race(writers, func(int) {
		for range ends {
			session := NewSession(ada)
			if err := s.Stores.Sessions.CreateSession(s.ctx(), birth(session)); err != nil {
				t.Error(err)
			}
			if err := s.Stores.Sessions.EndSession(s.ctx(), ending(session, innkeeper.ReasonLogout)); err != nil {
				t.Error(err)
			}
		}
	})
	close(done)
	follower.Wait()
	if len(seen) != writers*ends {
		t.Fatalf("a follower saw %d entries of %d", len(seen), writers*ends)
	}
	same(t, seen, s.feed())
}

func testRevokeOnce(t *testing.T, s *suite) {
	for i, kind := range []innkeeper.RevocationKind{innkeeper.RevokedSession, innkeeper.RevokedKey} {
		entry := innkeeper.Revocation{At: Start, Kind: kind, ID: random[innkeeper.SessionID]().String()}
		Race(16, func(int) {
			if err := s.Stores.Revocations.Revoke(s.ctx(), entry, event(innkeeper.EventTokenReused, innkeeper.UserID{})); err != nil {
				t.Error(err)
			}
		})
		if feed, events := s.feed(), s.events(); len(feed) != i+1 || len(events) != i+1 {
			t.Fatalf("after 16 that race to revoke a %s there are %d entries and %d events, want %d each", kind, len(feed), len(events), i+1)
		}
		// Nor does it become two when it is revoked again.
		entry.At = Start.Add(time.Hour)
		Race(16, func(int) {
			if err := s.Stores.Revocations.Revoke(s.ctx(), entry, event(innkeeper.EventTokenReused, innkeeper.UserID{})); err != nil {
				t.Error(err)
			}
		})
		if feed, events := s.feed(), s.events(); len(feed) != i+1 || len(events) != i+1 {
			t.Fatalf("after 16 that race to revoke a %s again there are %d entries and %d events, want %d each", kind, len(feed), len(events), i+1)
		}
	}
}
