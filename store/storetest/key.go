package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// signingKey is a key that was published at [Start].
func signingKey(id string, state keyring.State) keyring.Record {
	rec := keyring.Record{
		KeyID: id, Algorithm: accesstoken.ES256, State: state,
		Wrapped: []byte{0, 1, 2, 255}, PublicJWK: []byte(`{"kty":"EC"}`), PublishedAt: Start,
	}
	if state == keyring.Active {
		rec.ActivatedAt = Start
	}
	return rec
}

// keys are all signing keys by name.
func (s *suite) keys() []keyring.Record {
	s.t.Helper()
	records, err := s.Keys.SigningKeys(s.ctx())
	s.must(err)
	slices.SortFunc(records, func(a, b keyring.Record) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return records
}

func testSigningKeys(t *testing.T, s *suite) {
	active, standby := signingKey("first", keyring.Active), signingKey("second", keyring.Published)
	gone := signingKey("zero", keyring.Removed)
	gone.Wrapped, gone.RetiredAt, gone.RemovedAt = nil, Start.Add(time.Hour), Start.Add(2*time.Hour)
	all := []keyring.Record{active, standby, gone}
	s.must(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{gone, active, standby}))
	s.wantErr(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{signingKey("third", keyring.Active)}), keyring.ErrInitialized)
	same(t, s.keys(), all)

	// What is returned is shared with nobody.
	clear(s.keys()[0].Wrapped)
	clear(s.keys()[0].PublicJWK)
	same(t, s.keys(), all)
}

// testMoveSigningKeys walks two keys through their lives.
func testMoveSigningKeys(t *testing.T, s *suite) {
	one, two, three := signingKey("1", keyring.Active), signingKey("2", keyring.Published), signingKey("3", keyring.Published)
	s.must(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{one, two}))
	at := func(hours int) time.Time { return Start.Add(time.Duration(hours) * time.Hour) }
	move := func(id string, from, to keyring.State, hours int) keyring.Step {
		return keyring.Step{KeyID: id, From: from, To: to, At: at(hours)}
	}

	// Whoever makes room may come last in the list.
	s.must(s.Keys.MoveSigningKeys(s.ctx(), keyring.Moves{
		Steps: []keyring.Step{move("2", keyring.Published, keyring.Active, 1), move("1", keyring.Active, keyring.Retiring, 1)},
		New:   []keyring.Record{three},
	}))
	one.State, one.RetiredAt = keyring.Retiring, at(1)
	two.State, two.ActivatedAt = keyring.Active, at(1)
	same(t, s.keys(), []keyring.Record{one, two, three})

	// An emergency: the active key goes, and its private half with it. A new key may be
	// active at once.
	four, five := signingKey("4", keyring.Active), signingKey("5", keyring.Published)
	s.must(s.Keys.MoveSigningKeys(s.ctx(), keyring.Moves{
		Steps: []keyring.Step{
			move("1", keyring.Retiring, keyring.Removed, 2), move("2", keyring.Active, keyring.Removed, 2),
			move("3", keyring.Published, keyring.Removed, 2),
		},
		New: []keyring.Record{four, five},
	}))
	for _, rec := range []*keyring.Record{&one, &two, &three} {
		rec.State, rec.RemovedAt, rec.Wrapped = keyring.Removed, at(2), nil
	}
	same(t, s.keys(), []keyring.Record{one, two, three, four, five})

	s.must(s.Keys.MoveSigningKeys(s.ctx(), keyring.Moves{Steps: []keyring.Step{move("5", keyring.Published, keyring.Removed, 3)}}))
	five.State, five.RemovedAt, five.Wrapped = keyring.Removed, at(3), nil
	six := signingKey("6", keyring.Published)
	s.must(s.Keys.MoveSigningKeys(s.ctx(), keyring.Moves{New: []keyring.Record{six}}))
	same(t, s.keys(), []keyring.Record{one, two, three, four, five, six})
}

func testMoveSigningKeysRefuses(t *testing.T, s *suite) {
	active, standby := signingKey("1", keyring.Active), signingKey("2", keyring.Published)
	before := []keyring.Record{active, standby}
	s.must(s.Keys.InitSigningKeys(s.ctx(), before))
	step := func(id string, from, to keyring.State) keyring.Step {
		return keyring.Step{KeyID: id, From: from, To: to, At: Start.Add(time.Hour)}
	}
	retires, activates := step("1", keyring.Active, keyring.Retiring), step("2", keyring.Published, keyring.Active)
	for name, moves := range map[string]keyring.Moves{
		"another state":          {Steps: []keyring.Step{retires, step("2", keyring.Retiring, keyring.Active)}},
		"no such key":            {Steps: []keyring.Step{retires, activates, step("3", keyring.Retiring, keyring.Removed)}},
		"two active":             {Steps: []keyring.Step{activates}},
		"a new active beside it": {New: []keyring.Record{signingKey("3", keyring.Active)}},
		"two published":          {New: []keyring.Record{signingKey("3", keyring.Published)}},
		"two new published":      {Steps: []keyring.Step{retires, activates}, New: []keyring.Record{signingKey("3", keyring.Published), signingKey("4", keyring.Published)}},
		"a name that is taken":   {Steps: []keyring.Step{retires, activates}, New: []keyring.Record{signingKey("1", keyring.Published)}},
	} {
		if err := s.Keys.MoveSigningKeys(s.ctx(), moves); !errors.Is(err, keyring.ErrMoved) {
			t.Errorf("%s: got error %v, want ErrMoved", name, err)
		}
		same(t, s.keys(), before)
	}
	gone, cancel := context.WithCancel(s.ctx())
	cancel()
	s.wantErr(s.Keys.MoveSigningKeys(gone, keyring.Moves{Steps: []keyring.Step{retires, activates}}), context.Canceled)
	same(t, s.keys(), before)
}

func testRewrapSigningKey(t *testing.T, s *suite) {
	active, standby := signingKey("1", keyring.Active), signingKey("2", keyring.Published)
	s.must(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{active, standby}))
	old, fresh := active.Wrapped, []byte{7, 0, 7}
	s.must(s.Keys.RewrapSigningKey(s.ctx(), "1", old, fresh))
	s.wantErr(s.Keys.RewrapSigningKey(s.ctx(), "1", old, []byte{8}), keyring.ErrMoved)
	s.wantErr(s.Keys.RewrapSigningKey(s.ctx(), "3", old, []byte{8}), keyring.ErrMoved)
	active.Wrapped = fresh
	same(t, s.keys(), []keyring.Record{active, standby})

	var won atomic.Int32
	Race(8, func(i int) {
		switch err := s.Keys.RewrapSigningKey(s.ctx(), "2", old, []byte{byte(i)}); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, keyring.ErrMoved):
			t.Error(err)
		}
	})
	if won.Load() != 1 {
		t.Fatalf("%d of 8 that rewrap one key succeeded, want 1", won.Load())
	}
}

// testOneMoveWins lets servers rotate the same keys, each with another key to be
// next.
func testOneMoveWins(t *testing.T, s *suite) {
	const racers = 16
	s.must(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{signingKey("0", keyring.Active), signingKey("1-a", keyring.Published)}))
	active, standby := "0", "1-a"
	for round := 2; round < 8; round++ {
		var won atomic.Int32
		var winner atomic.Value
		Race(racers, func(i int) {
			name := fmt.Sprintf("%d-%d", round, i)
			err := s.Keys.MoveSigningKeys(s.ctx(), keyring.Moves{
				Steps: []keyring.Step{
					{KeyID: active, From: keyring.Active, To: keyring.Retiring, At: Start},
					{KeyID: standby, From: keyring.Published, To: keyring.Active, At: Start},
				},
				New: []keyring.Record{signingKey(name, keyring.Published)},
			})
			switch {
			case err == nil:
				won.Add(1)
				winner.Store(name)
			case !errors.Is(err, keyring.ErrMoved):
				t.Errorf("racer %d: %v", i, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d of %d servers rotated the same keys, want 1", won.Load(), racers)
		}
		active, standby = standby, winner.Load().(string) //nolint:errcheck // nothing else is stored
		states := make(map[keyring.State][]string)
		for _, rec := range s.keys() {
			states[rec.State] = append(states[rec.State], rec.KeyID)
		}
		if len(states[keyring.Retiring]) != round-1 || !slices.Equal(states[keyring.Active], []string{active}) ||
			!slices.Equal(states[keyring.Published], []string{standby}) {
			t.Fatalf("after round %d the keys are %v", round, states)
		}
	}
}

// rings opens several servers' key rings on the store.
func (s *suite) rings(n int) []*keyring.Ring {
	s.t.Helper()
	roots, err := rootkey.NewRing(rootkey.Generate())
	s.must(err)
	rings := make([]*keyring.Ring, n)
	Race(n, func(i int) {
		ring, err := keyring.Open(s.ctx(), keyring.Config{Store: s.Keys, RootKeys: roots, RotationPeriod: 24 * time.Hour}, Start)
		if err != nil {
			s.t.Error(err)
		}
		rings[i] = ring
	})
	if s.t.Failed() {
		s.t.FailNow()
	}
	return rings
}

// testKeysRotateOnce lets real key rings rotate at the same moment: when it is due,
// and when somebody asks each of them.
func testKeysRotateOnce(t *testing.T, s *suite) {
	rings := s.rings(8)
	for round, rotate := range []func(*keyring.Ring, time.Time) (keyring.Change, error){
		func(r *keyring.Ring, now time.Time) (keyring.Change, error) { return r.Upkeep(s.ctx(), now) },
		func(r *keyring.Ring, now time.Time) (keyring.Change, error) { return r.Rotate(s.ctx(), now) },
	} {
		now := Start.Add(time.Duration(round+1) * 25 * time.Hour)
		var rotated atomic.Int32
		Race(len(rings), func(i int) {
			change, err := rotate(rings[i], now)
			var early *keyring.TooEarlyError
			if err != nil && !errors.As(err, &early) {
				t.Errorf("server %d: %v", i, err)
			}
			if change.Activated != "" {
				rotated.Add(1)
			}
		})
		states := make(map[keyring.State]int)
		for _, rec := range s.keys() {
			states[rec.State]++
		}
		if rotated.Load() != 1 || states[keyring.Active] != 1 || states[keyring.Published] != 1 {
			t.Fatalf("round %d: %d servers rotated, and the keys are %v", round, rotated.Load(), states)
		}
	}
}

// testKeysUnderFire revokes the active key from many servers at once, while others
// do what is due: one key is left that signs, another in reserve, and none that was
// revoked.
func testKeysUnderFire(t *testing.T, s *suite) {
	underFire(t, s, func(state keyring.State) bool { return state == keyring.Active })
}

// testAllKeysUnderFire is a leak of the store: every key that there is goes, from many
// servers at once, and none of them is found signing.
func testAllKeysUnderFire(t *testing.T, s *suite) {
	underFire(t, s, func(state keyring.State) bool { return state != keyring.Removed })
}

func underFire(t *testing.T, s *suite, leaked func(keyring.State) bool) {
	t.Helper()
	rings, gone := s.rings(8), 0
	for round := range 4 {
		now := Start.Add(time.Duration(round) * time.Minute)
		var revoked []string
		for _, rec := range s.keys() {
			if leaked(rec.State) {
				revoked = append(revoked, rec.KeyID)
			}
		}
		gone += len(revoked)
		Race(len(rings), func(i int) {
			if _, err := rings[i].RevokeAll(s.ctx(), revoked, now); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
			if _, err := rings[i].Upkeep(s.ctx(), now); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		})
		states := make(map[keyring.State]int)
		for _, rec := range s.keys() {
			states[rec.State]++
			if rec.State != keyring.Removed && slices.Contains(revoked, rec.KeyID) {
				t.Errorf("a revoked key is %s", rec.State)
			}
			if rec.State == keyring.Removed && rec.Wrapped != nil {
				t.Errorf("the private half of a removed key is still there")
			}
		}
		if states[keyring.Active] != 1 || states[keyring.Published] != 1 || states[keyring.Removed] != gone {
			t.Fatalf("round %d: the keys are %v", round, states)
		}
	}
}
