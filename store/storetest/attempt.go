package storetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// attempts is what is stored under a key.
func (s *suite) attempts(key innkeeper.AttemptKey) innkeeper.Attempts {
	s.t.Helper()
	got, err := s.Attempts.Attempts(s.ctx(), key)
	s.must(err)
	return got
}

// swap swaps, and checks whether that was done.
func (s *suite) swap(key innkeeper.AttemptKey, old, next innkeeper.Attempts, want bool) {
	s.t.Helper()
	swapped, err := s.Attempts.SwapAttempts(s.ctx(), key, old, next)
	s.must(err)
	if swapped != want {
		s.t.Fatalf("swap %v for %v: got %t, want %t", old, next, swapped, want)
	}
}

func tries(count int, after time.Duration) innkeeper.Attempts {
	return innkeeper.Attempts{Count: count, LastAt: Start.Add(after)}
}

func testSwapAttempts(t *testing.T, s *suite) {
	key, other := random[innkeeper.AttemptKey](), random[innkeeper.AttemptKey]()
	none := innkeeper.Attempts{}
	same(t, s.attempts(key), none)

	s.swap(key, tries(1, 0), tries(2, 0), false) // there is nothing to change
	s.swap(key, tries(1, 0), none, false)        // nor to delete
	same(t, s.attempts(key), none)
	s.swap(key, none, tries(1, 0), true)
	s.swap(key, none, tries(2, 0), false)
	same(t, s.attempts(key), tries(1, 0))
	same(t, s.attempts(other), none)

	// Both the count and the time, to the microsecond, have to be what was seen.
	s.swap(key, tries(2, 0), tries(3, 0), false)
	s.swap(key, tries(1, time.Microsecond), tries(3, 0), false)
	s.swap(key, tries(1, 0), tries(1, time.Microsecond), true)
	s.swap(key, tries(1, time.Microsecond), tries(1_000_000, time.Hour), true)
	same(t, s.attempts(key), tries(1_000_000, time.Hour))

	s.swap(key, tries(1_000_000, 0), none, false)
	s.swap(key, tries(1_000_000, time.Hour), none, true)
	same(t, s.attempts(key), none)
	s.swap(key, none, tries(1, -time.Hour), true) // and again

	gone, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err := s.Attempts.Attempts(gone, key)
	s.wantErr(err, context.Canceled)
	_, err = s.Attempts.SwapAttempts(gone, key, tries(1, -time.Hour), none)
	s.wantErr(err, context.Canceled)
	_, err = s.Attempts.SweepAttempts(gone, Start, 9)
	s.wantErr(err, context.Canceled)
	same(t, s.attempts(key), tries(1, -time.Hour))
}

func testSweepAttempts(t *testing.T, s *suite) {
	keys := make([]innkeeper.AttemptKey, 6)
	for i := range keys {
		keys[i] = random[innkeeper.AttemptKey]()
		s.swap(keys[i], innkeeper.Attempts{}, tries(i+1, time.Duration(i)*time.Minute), true)
	}
	sweep := func(before time.Duration, limit, want int) {
		t.Helper()
		swept, err := s.Attempts.SweepAttempts(s.ctx(), Start.Add(before), limit)
		s.must(err)
		if swept != want {
			t.Fatalf("swept %d, want %d", swept, want)
		}
	}
	sweep(0, 10, 0)
	sweep(4*time.Minute, 3, 3)
	sweep(4*time.Minute, 3, 1)
	sweep(4*time.Minute, 3, 0) // the fifth was at that very time
	for i, key := range keys {
		want := tries(i+1, time.Duration(i)*time.Minute)
		if i < 4 {
			want = innkeeper.Attempts{}
		}
		same(t, s.attempts(key), want)
	}
}

// testAttemptsUnderFire lets many count the same key up to a bound at the same moment:
// exactly so many get through.
func testAttemptsUnderFire(t *testing.T, s *suite) {
	const racers, allowed = 32, 5
	for round := range 5 {
		key := random[innkeeper.AttemptKey]()
		var through atomic.Int32
		Race(racers, func(i int) {
			for {
				seen, err := s.Attempts.Attempts(s.ctx(), key)
				if err != nil {
					t.Error(err)
					return
				}
				if seen.Count >= allowed {
					return
				}
				next := tries(seen.Count+1, time.Duration(i)*time.Second)
				switch swapped, err := s.Attempts.SwapAttempts(s.ctx(), key, seen, next); {
				case err != nil:
					t.Error(err)
					return
				case swapped:
					through.Add(1)
				}
			}
		})
		if n := through.Load(); n != allowed || s.attempts(key).Count != allowed {
			t.Fatalf("round %d: %d of %d got through, and %d are counted, want %d", round, n, racers, s.attempts(key).Count, allowed)
		}
		// As many take it back, and only one deletes it.
		var deleted atomic.Int32
		last := s.attempts(key)
		Race(racers, func(int) {
			swapped, err := s.Attempts.SwapAttempts(s.ctx(), key, last, innkeeper.Attempts{})
			if err != nil {
				t.Error(err)
			}
			if swapped {
				deleted.Add(1)
			}
		})
		if n := deleted.Load(); n != 1 {
			t.Fatalf("round %d: %d have deleted it", round, n)
		}
	}
}
