package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestCheckerFindsBrokenStores lets guests loose on real servers over stores that
// are broken on purpose, each in the way in which a store may well be: the checker
// has to see it in what the guests were told.
func TestCheckerFindsBrokenStores(t *testing.T) {
	cases := []struct {
		name    string
		breakIt func(*brokenStore)
	}{
		{"compare and swap in two steps", func(s *brokenStore) { s.rotate = s.rotateInTwoSteps }},
		{"a rotation in twenty is lost", func(s *brokenStore) { s.rotate = s.rotateAndForget }},
		{"keys are not kept", func(s *brokenStore) { s.rotate = s.rotateWithoutKey }},
		{"a rotation is written late", func(s *brokenStore) { s.rotate = s.rotateLate }},
		{"reads from a replica that lags", func(s *brokenStore) { s.lag = 20 * time.Millisecond }},
		{"an end in two is lost", func(s *brokenStore) { s.forgetEnds = 2 }},
		{"everywhere forgets to replace the epoch", func(s *brokenStore) { s.forgetEpochs = 2 }},
		{"the list lacks one", func(s *brokenStore) { s.shortLists = 10 }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// What is broken is a race: on a busy machine it may take more than one try.
			for seed := range uint64(5) {
				store := newBrokenStore()
				c.breakIt(store)
				failures := t.TempDir()
				if tryInProcess(t, store.stores(), seed, failures).verdicts[violated] > 0 {
					isWrittenDown(t, failures)
					return
				}
			}
			t.Error("found nothing")
		})
	}
}

// TestCheckerAcceptsMemory is the same with the store as it should be.
func TestCheckerAcceptsMemory(t *testing.T) {
	f := tryInProcess(t, newBrokenStore().stores(), 1, t.TempDir())
	if f.bad() {
		t.Errorf("got %s", f)
	}
	t.Logf("%s\n%s", f, tally(f.answers))
}

// tryInProcess plays one short history without faults, in this process.
func tryInProcess(t *testing.T, stores innkeeper.Stores, seed uint64, failures string) *figures {
	t.Helper()
	i := innkeepertest.New(t, &innkeepertest.Options{
		Stores: &stores, SignupOpen: true, SignInLimits: innkeeper.InsecureLimitNothing, RefreshLimit: -1, // as the servers of the other tests
	})
	_, err := i.Authority.CreateUser(t.Context(), innkeeper.NewUser{
		Username: administrator, Password: testPassword, Roles: []string{innkeeper.RoleAdmin},
	}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	trial := trial{
		store: "memory", nodes: []string{i.URL, i.URL, i.URL}, seed: seed, histories: 1, failures: failures, out: io.Discard,
		strike: func(context.Context, *recorder, uint64) error {
			time.Sleep(time.Second)
			return nil
		},
	}
	f, err := trial.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// isWrittenDown reads a history that cannot be explained, which has to have the
// same fault as when it happened, and looks for its picture.
func isWrittenDown(t *testing.T, failures string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(failures, "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Ext(b), filepath.Ext(a)) })
	if len(files) < 2 || filepath.Ext(files[0]) != ".json" || filepath.Ext(files[1]) != ".html" {
		t.Fatalf("found %v, want a history and a picture", files)
	}
	h, err := readHistory(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := check(h); got != violated {
		t.Errorf("read again: got %s, want violated", got)
	}
}

// brokenStore is the memory store, but for what was broken.
type brokenStore struct {
	innkeeper.SessionStore
	users innkeeper.UserStore
	base  innkeeper.Stores

	rotate       func(context.Context, innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error)
	lag          time.Duration
	forgetEnds   int // one in so many; 0: none
	forgetEpochs int
	shortLists   int

	mu     sync.Mutex
	counts map[string]int
	past   map[innkeeper.SessionID][]snapshot
}

// snapshot is what a replica has seen of a session.
type snapshot struct {
	at      time.Time
	session innkeeper.Session
	user    *innkeeper.Subject
}

func newBrokenStore() *brokenStore {
	base := memory.New().Stores()
	s := &brokenStore{
		SessionStore: base.Sessions, users: base.Users, base: base,
		counts: map[string]int{}, past: map[innkeeper.SessionID][]snapshot{},
	}
	s.rotate = s.SessionStore.RotateSession
	return s
}

func (s *brokenStore) stores() innkeeper.Stores {
	stores := s.base
	stores.Sessions, stores.Users = s, brokenUsers{s.users, s}
	return stores
}

// every says true once in so many times.
func (s *brokenStore) every(n int, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
	return n > 0 && s.counts[what]%n == 0
}

func (s *brokenStore) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	return s.rotate(ctx, r)
}

// rotateInTwoSteps looks first, and writes whatever has happened since.
func (s *brokenStore) rotateInTwoSteps(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	before, _, err := s.SessionStore.Session(ctx, r.SessionID)
	if err != nil || before.Ended() || before.SecretHash != r.Presented {
		return innkeeper.Session{}, innkeeper.Subject{}, innkeeper.ErrNoMatch
	}
	time.Sleep(time.Millisecond)
	if now, _, err := s.SessionStore.Session(ctx, r.SessionID); err == nil {
		r.Presented = now.SecretHash
	}
	return s.SessionStore.RotateSession(ctx, r)
}

// rotateAndForget answers, now and then, without having written.
func (s *brokenStore) rotateAndForget(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	if s.every(20, "rotations") {
		session, user, err := s.SessionStore.Session(ctx, r.SessionID)
		if err == nil && user != nil && !session.Ended() && session.SecretHash == r.Presented && user.Epoch == session.Epoch {
			session.Generation, session.SecretHash, session.Salt = r.Generation, r.SecretHash, r.Salt
			return session, *user, nil
		}
	}
	return s.SessionStore.RotateSession(ctx, r)
}

func (s *brokenStore) rotateWithoutKey(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	r.Key = innkeeper.KeyHash{}
	return s.SessionStore.RotateSession(ctx, r)
}

// rotateLate answers, now and then, before it writes.
func (s *brokenStore) rotateLate(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	session, user, err := s.SessionStore.Session(ctx, r.SessionID)
	alive := err == nil && user != nil && !user.Disabled && !session.Ended() && session.SecretHash == r.Presented && user.Epoch == session.Epoch
	if !alive || !s.every(5, "rotations") {
		return s.SessionStore.RotateSession(ctx, r)
	}
	time.AfterFunc(10*time.Millisecond, func() {
		_, _, _ = s.SessionStore.RotateSession(context.WithoutCancel(ctx), r)
	})
	session.Generation, session.SecretHash, session.Salt, session.RecentKeys = r.Generation, r.SecretHash, r.Salt, session.RecentKeys.Push(r.Key)
	return session, *user, nil
}

// Session reads what was true a while ago, if the replica lags.
func (s *brokenStore) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	session, user, err := s.SessionStore.Session(ctx, id)
	if err != nil || s.lag == 0 {
		return session, user, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.past[id] = append(s.past[id], snapshot{now, session, user})
	for _, old := range slices.Backward(s.past[id]) {
		if now.Sub(old.at) >= s.lag {
			return old.session, old.user, nil
		}
	}
	return s.past[id][0].session, s.past[id][0].user, nil
}

func (s *brokenStore) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	if s.every(s.forgetEnds, "ends") {
		return nil
	}
	return s.SessionStore.EndSession(ctx, ending)
}

func (s *brokenStore) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	sessions, err := s.SessionStore.Sessions(ctx, query)
	if len(sessions) > 1 && s.every(s.shortLists, "lists") {
		sessions = sessions[1:]
	}
	return sessions, err
}

// brokenUsers are the users of a broken store.
type brokenUsers struct {
	innkeeper.UserStore
	store *brokenStore
}

func (u brokenUsers) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	if change.NewEpoch != nil && u.store.every(u.store.forgetEpochs, "epochs") {
		change.NewEpoch = nil
	}
	return u.UserStore.ChangeUser(ctx, change)
}
