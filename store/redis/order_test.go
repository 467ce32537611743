package redis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// These tests stop a write between two of its steps: SQL fails before or after it
// has committed, or Redis is gone when its turn comes. Redis is the real one.

var errSQL = errors.New("sql: connection lost")

// stage is a store whose lower half can be made to fail.
type stage struct {
	innkeeper.Stores
	store *redis.Store
	below innkeeper.Stores
	// faults are called in the place of the write below, by its name, with what does it.
	faults map[string]func(write func() error) error
}

// newStage opens a store that waits longer than a busy machine stands still.
func newStage(t *testing.T, url string) *stage {
	t.Helper()
	return newStageOn(t, url, "", memory.New().Stores())
}

// newStageOn is one of several servers of the same stores.
func newStageOn(t *testing.T, url, prefix string, below innkeeper.Stores) *stage {
	t.Helper()
	return newStageOf(t, redis.Config{URL: url, KeyPrefix: prefix, Timeout: 30 * time.Second, DialTimeout: 30 * time.Second}, below)
}

func newStageOf(t *testing.T, cfg redis.Config, below innkeeper.Stores) *stage {
	t.Helper()
	s := &stage{below: below, faults: make(map[string]func(func() error) error)}
	base := s.below
	base.Users = faultyUsers{base.Users, s}
	base.Events = faultyEvents{base.Events, s}
	base.Revocations = faultyRevocations{base.Revocations, s}
	s.store = open(t, cfg, base)
	s.Stores = s.store.Stores()
	return s
}

func (s *stage) do(name string, write func() error) error {
	if fault, ok := s.faults[name]; ok {
		return fault(write)
	}
	return write()
}

// before fails instead of writing, after although it has written.
func before(func() error) error      { return errSQL }
func after(write func() error) error { return errors.Join(write(), errSQL) }

type faultyUsers struct {
	innkeeper.UserStore
	stage *stage
}

func (f faultyUsers) User(ctx context.Context, id innkeeper.UserID) (user innkeeper.User, err error) {
	err = f.stage.do("User", func() error {
		user, err = f.UserStore.User(ctx, id)
		return err
	})
	return user, err
}

func (f faultyUsers) ChangeUser(ctx context.Context, change innkeeper.UserChange) (user innkeeper.User, err error) {
	err = f.stage.do("ChangeUser", func() error {
		user, err = f.UserStore.ChangeUser(ctx, change)
		return err
	})
	return user, err
}

type faultyEvents struct {
	innkeeper.EventStore
	stage *stage
}

func (f faultyEvents) AppendEvent(ctx context.Context, event innkeeper.Event) error {
	return f.stage.do("AppendEvent", func() error { return f.EventStore.AppendEvent(ctx, event) })
}

func (f faultyEvents) Events(ctx context.Context, query innkeeper.EventQuery) (events []innkeeper.Event, err error) {
	err = f.stage.do("Events", func() error {
		events, err = f.EventStore.Events(ctx, query)
		return err
	})
	return events, err
}

type faultyRevocations struct {
	innkeeper.RevocationStore
	stage *stage
}

func (f faultyRevocations) Revoke(ctx context.Context, entry innkeeper.Revocation, event innkeeper.Event) error {
	return f.stage.do("Revoke", func() error { return f.RevocationStore.Revoke(ctx, entry, event) })
}

func (s *stage) user(t *testing.T, name string) innkeeper.User {
	t.Helper()
	user := storetest.NewUser(name)
	check(t, s.Users.CreateUser(t.Context(), user, innkeeper.Event{}))
	return user
}

func (s *stage) session(t *testing.T, user innkeeper.User) innkeeper.Session {
	t.Helper()
	session := storetest.NewSession(user)
	check(t, s.Sessions.CreateSession(t.Context(), birth(session)))
	return session
}

func birth(session innkeeper.Session) innkeeper.Birth {
	return innkeeper.Birth{Session: session, Event: innkeeper.Event{
		At: session.CreatedAt, Kind: innkeeper.EventSessionStarted, UserID: session.UserID, SessionID: session.ID,
	}}
}

func ending(session innkeeper.Session, reason innkeeper.Reason) innkeeper.Ending {
	at := session.RotatedAt.Add(time.Minute)
	return innkeeper.Ending{
		SessionID: session.ID, At: at, Reason: reason,
		Event:      innkeeper.Event{At: at, Kind: innkeeper.EventTokenReused, UserID: session.UserID, SessionID: session.ID, Reason: reason},
		Revocation: innkeeper.Revocation{At: at, Kind: innkeeper.RevokedSession, ID: session.ID.String()},
	}
}

func newEpoch(user innkeeper.User) innkeeper.UserChange {
	at := start.Add(time.Hour)
	next := storetest.NewUser("").Epoch
	return innkeeper.UserChange{ID: user.ID, IfEpoch: user.Epoch, At: at, NewEpoch: &innkeeper.EpochReplacement{
		Epoch: next, Reason: innkeeper.ReasonLogoutEverywhere,
		Revocation: innkeeper.Revocation{At: at, Kind: innkeeper.RevokedUser, ID: user.Epoch.String()},
	}}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// unknown checks that an error leaves the outcome open: no sentinel, and not the
// context's either.
func unknown(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, sentinel := range []error{
		innkeeper.ErrNoMatch, innkeeper.ErrNotFound, innkeeper.ErrEpochMoved, innkeeper.ErrRoleUnknown,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, sentinel) {
			t.Fatalf("got error %v, which says that nothing was written", err)
		}
	}
}

// lives rotates a session, and returns it as it is then.
func (s *stage) lives(t *testing.T, session innkeeper.Session) innkeeper.Session {
	t.Helper()
	rotated, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, session.RotatedAt.Add(time.Minute)))
	if err != nil {
		t.Fatalf("the session is dead: %v", err)
	}
	read, user, err := s.Sessions.Session(t.Context(), session.ID)
	check(t, err)
	if read.Epoch != rotated.Epoch || user.Epoch != rotated.Epoch || read.SecretHash != rotated.SecretHash {
		t.Fatalf("rotated %+v\nread    %+v", rotated, read)
	}
	return rotated
}

func (s *stage) dead(t *testing.T, session innkeeper.Session) {
	t.Helper()
	_, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, session.RotatedAt.Add(time.Minute)))
	wantErr(t, err, innkeeper.ErrNoMatch)
}

// told returns how many entries the feed has and how many events the log.
func (s *stage) told(t *testing.T) [2]int {
	t.Helper()
	feed, err := s.Revocations.Revocations(t.Context(), 0, 1000)
	check(t, err)
	events, err := s.Events.Events(t.Context(), innkeeper.EventQuery{Limit: 1000})
	check(t, err)
	return [2]int{len(feed), len(events)}
}

func (s *stage) list(t *testing.T, user innkeeper.User, at time.Time) []innkeeper.Session {
	t.Helper()
	sessions, err := s.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: user.ID, AliveAt: at, Limit: 100})
	check(t, err)
	return sessions
}

func TestRotationConsumesNothingWithoutSQL(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	session := s.session(t, s.user(t, "ada"))
	s.faults["User"] = before
	_, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, start))
	wantErr(t, err, errSQL)
	unknown(t, err)
	delete(s.faults, "User")
	s.lives(t, session)
}

func TestCreateSessionWithoutSQL(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	old := s.session(t, ada)
	told := s.told(t)
	for _, step := range []string{"User", "AppendEvent", "Revoke"} {
		next, replaced := storetest.NewSession(ada), ending(old, innkeeper.ReasonReplaced)
		b := birth(next)
		b.Replaces = &replaced
		s.faults[step] = before
		err := s.Sessions.CreateSession(t.Context(), b)
		wantErr(t, err, errSQL)
		delete(s.faults, step)

		// Whoever was told of a failure still has what they came with, and no more.
		old = s.lives(t, old)
		_, _, err = s.Sessions.Session(t.Context(), next.ID)
		wantErr(t, err, innkeeper.ErrNotFound)
		if sessions := s.list(t, ada, start); len(sessions) != 1 {
			t.Fatalf("%s: %d sessions are listed, want the old one", step, len(sessions))
		}
	}
	if now := s.told(t); now[0] != told[0] {
		t.Fatalf("the feed and the log grew from %v to %v", told, now)
	}
}

func TestEndSessionWithoutSQL(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	session := s.session(t, s.user(t, "ada"))
	s.faults["Revoke"] = before
	err := s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse))
	wantErr(t, err, errSQL)
	session = s.lives(t, session)

	// Committed, and the answer lost: whoever tries again raises no second alarm.
	told := s.told(t)
	s.faults["Revoke"] = after
	err = s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse))
	unknown(t, err)
	delete(s.faults, "Revoke")
	check(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)))
	s.dead(t, session)
	if now := s.told(t); now != [2]int{told[0] + 1, told[1] + 1} {
		t.Fatalf("the feed and the log grew from %v to %v, want one each", told, now)
	}
}

func TestEndSessionWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testengine.SharedRedis(t)
	proxy := newProxy(t, server)
	s := newStage(t, "redis://"+proxy.Addr())
	session := s.session(t, s.user(t, "ada"))
	told := s.told(t)
	s.faults["Revoke"] = func(write func() error) error {
		err := errors.Join(write(), proxy.Refuse())
		proxy.Cut()
		return err
	}
	unknown(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)))
	delete(s.faults, "Revoke")
	check(t, proxy.Pass())

	s.dead(t, session)
	check(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)))
	s.dead(t, session)
	wantErr(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)), innkeeper.ErrNoMatch)
	if now := s.told(t); now != [2]int{told[0] + 1, told[1] + 1} {
		t.Fatalf("the feed and the log grew from %v to %v, want one each", told, now)
	}
}

func TestCarryWithoutSQL(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	session, other := s.session(t, ada), s.session(t, ada)

	// Not committed, whether or not that is known: both live on as they did.
	for _, fault := range []func(func() error) error{
		before,
		func(func() error) error { return innkeeper.ErrEpochMoved },
	} {
		change := newEpoch(ada)
		change.NewEpoch.Carry = &session.ID
		s.faults["ChangeUser"] = fault
		if _, err := s.Users.ChangeUser(t.Context(), change); err == nil {
			t.Fatal("the change succeeded")
		}
		session, other = s.lives(t, session), s.lives(t, other)
		if session.Epoch != ada.Epoch {
			t.Fatalf("the session is carried to %s", session.Epoch)
		}
	}

	// Committed, and the answer lost.
	change := newEpoch(ada)
	change.NewEpoch.Carry = &session.ID
	s.faults["ChangeUser"] = after
	_, err := s.Users.ChangeUser(t.Context(), change)
	unknown(t, err)
	delete(s.faults, "ChangeUser")
	s.dead(t, other)
	if got := s.list(t, ada, start); len(got) != 1 || got[0].ID != session.ID || got[0].Epoch != change.NewEpoch.Epoch {
		t.Fatalf("listed are %+v, want the carried session", got)
	}
	if session = s.lives(t, session); session.Epoch != change.NewEpoch.Epoch {
		t.Fatalf("the session has epoch %s, want %s", session.Epoch, change.NewEpoch.Epoch)
	}

	// The epoch that it came from is gone for good.
	again := newEpoch(innkeeper.User{Subject: innkeeper.Subject{ID: ada.ID, Epoch: ada.Epoch}})
	again.NewEpoch.Carry = &session.ID
	_, err = s.Users.ChangeUser(t.Context(), again)
	wantErr(t, err, innkeeper.ErrEpochMoved)
	s.lives(t, session)
}

func TestOpenWithoutSQL(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	for _, fault := range []error{errSQL, innkeeper.ErrEpochMoved, innkeeper.ErrNotFound, innkeeper.ErrRoleUnknown} {
		change := newEpoch(ada)
		opened := storetest.NewSession(ada)
		opened.Epoch = change.NewEpoch.Epoch
		change.NewEpoch.Open = &opened
		s.faults["ChangeUser"] = func(func() error) error { return fault }
		_, err := s.Users.ChangeUser(t.Context(), change)
		wantErr(t, err, fault)
		delete(s.faults, "ChangeUser")
		s.dead(t, opened)
		if sessions := s.list(t, ada, start); len(sessions) != 0 {
			t.Fatalf("%d sessions are listed", len(sessions))
		}
		// What SQL refused is gone. Where nobody knows, it waits for its user in vain.
		_, _, err = s.Sessions.Session(t.Context(), opened.ID)
		if gone := errors.Is(err, innkeeper.ErrNotFound); gone == errors.Is(fault, errSQL) {
			t.Fatalf("after %v: the session is gone: %v", fault, gone)
		}
	}
	// Nor is one opened that could not live.
	for _, spoil := range []func(*innkeeper.UserChange){
		func(c *innkeeper.UserChange) { c.NewEpoch.Open.Epoch = ada.Epoch },
		func(c *innkeeper.UserChange) { c.NewEpoch.Open.UserID = storetest.NewUser("").ID },
		func(c *innkeeper.UserChange) { c.Disabled = new(true) },
	} {
		change := newEpoch(ada)
		opened := storetest.NewSession(ada)
		opened.Epoch = change.NewEpoch.Epoch
		change.NewEpoch.Open = &opened
		spoil(&change)
		_, err := s.Users.ChangeUser(t.Context(), change)
		wantErr(t, err, innkeeper.ErrEpochMoved)
	}
}

// A refresh between the note and the change in SQL must not lose the note, however the
// session came to its present epoch.
func TestRefreshWhileCarried(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	for i := range 6 {
		change := newEpoch(ada)
		change.NewEpoch.Carry = &session.ID
		s.faults["ChangeUser"] = func(write func() error) error {
			if i%2 == 0 {
				session = s.lives(t, session)
			}
			return write()
		}
		var err error
		ada, err = s.Users.ChangeUser(t.Context(), change)
		check(t, err)
		if i > 2 {
			session = s.lives(t, session)
		}
	}
	if session = s.lives(t, session); session.Epoch != ada.Epoch {
		t.Fatalf("the session has epoch %s, want %s", session.Epoch, ada.Epoch)
	}
}
