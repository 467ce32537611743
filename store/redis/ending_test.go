package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// later lets the clock of a server run ahead.
func (s *stage) later(d time.Duration) {
	s.store.SetClock(func() time.Time { return time.Now().Add(d) })
}

// forget sweeps the feed and the log, but for an event that has to stay behind.
func (s *stage) forget(t *testing.T) {
	t.Helper()
	long := start.Add(1000 * time.Hour)
	check(t, s.Events.AppendEvent(t.Context(), innkeeper.Event{At: long, Kind: innkeeper.EventRoleSet}))
	_, err := s.Revocations.SweepRevocations(t.Context(), long, 1000)
	check(t, err)
	_, err = s.Events.SweepEvents(t.Context(), long, 1000)
	check(t, err)
	if told := s.told(t); told != [2]int{0, 1} {
		t.Fatalf("the feed and the log hold %v", told)
	}
}

// over checks that a session has ended, for everybody who asks.
func (s *stage) over(t *testing.T, session innkeeper.Session, reason innkeeper.Reason) {
	t.Helper()
	s.dead(t, session)
	read, _, err := s.Sessions.Session(t.Context(), session.ID)
	check(t, err)
	if !read.Ended() || read.Reason != reason || read.SecretHash != (innkeeper.SecretHash{}) {
		t.Fatalf("the session ended at %s for the reason %q, want %q", read.EndedAt, read.Reason, reason)
	}
	for _, listed := range s.list(t, innkeeper.User{Subject: innkeeper.Subject{ID: session.UserID}}, start) {
		if listed.ID == session.ID {
			t.Fatal("the session is listed")
		}
	}
}

// What SQL was told and Redis was not stays so, though nobody tries again and SQL
// forgets it. Another server knows it too, and so does one that starts later.
func TestAnEndingThatRedisHasMissedStands(t *testing.T) {
	t.Parallel()
	server := testengine.SharedRedis(t)
	proxy := newProxy(t, server)
	prefix, below := rand.Text()+":", memory.New().Stores()
	s := newStageOn(t, "redis://"+proxy.Addr(), prefix, below)
	other := newStageOn(t, server.URL(), prefix, below)
	ada := s.user(t, "ada")
	session, bystander := s.session(t, ada), s.session(t, ada)
	s.faults["Revoke"] = func(write func() error) error {
		err := errors.Join(write(), proxy.Refuse())
		proxy.Cut()
		return err
	}
	unknown(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)))
	delete(s.faults, "Revoke")
	check(t, proxy.Pass())

	third := newStageOn(t, server.URL(), prefix, below)
	for _, server := range []*stage{s, other, third} {
		server.over(t, session, innkeeper.ReasonReuse)
		bystander = server.lives(t, bystander)
	}
	s.forget(t)
	for _, server := range []*stage{s, other, third} {
		server.later(innkeeper.RevocationRetention)
		server.over(t, session, innkeeper.ReasonReuse)
		bystander = server.lives(t, bystander)
	}
	check(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)))
	s.over(t, session, innkeeper.ReasonLogout)
}

// A server that is killed once SQL has committed leaves the session ended.
func TestAnEndingWhoseServerDied(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	session := s.session(t, s.user(t, "ada"))
	s.faults["Revoke"] = after
	unknown(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)))

	// Nobody may use it, or is told that it has ended, on a guess.
	s.faults["Events"] = before
	_, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, start))
	wantErr(t, err, errSQL)
	unknown(t, err)
	_, _, err = s.Sessions.Session(t.Context(), session.ID)
	wantErr(t, err, errSQL)
	_, err = s.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: session.UserID, Limit: 1})
	wantErr(t, err, errSQL)
	delete(s.faults, "Events")
	s.over(t, session, innkeeper.ReasonLogout)
}

// What SQL has refused came to nothing, and the first refresh that can be sure of that
// forgets it. Where there was none for so long that nobody can be sure, the session is
// over.
func TestAnEndingThatSQLHasMissed(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	ada := s.user(t, "ada")
	begin := func() innkeeper.Session {
		t.Helper()
		session := s.session(t, ada)
		s.faults["Revoke"] = before
		wantErr(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)), errSQL)
		delete(s.faults, "Revoke")
		return session
	}
	refreshed, idle := begin(), begin()
	refreshed = s.lives(t, refreshed)
	s.later(redis.InFlight)
	refreshed = s.lives(t, refreshed)
	s.later(redis.InDoubt - time.Minute)
	if sessions := s.list(t, ada, start); len(sessions) != 2 {
		t.Fatalf("%d sessions are listed, want both", len(sessions))
	}
	s.later(redis.InDoubt)
	s.lives(t, refreshed)
	s.over(t, idle, innkeeper.ReasonLogout)
}

// A rotation in the midst of an ending comes before it or after it, and takes nothing
// from whoever ends the session.
func TestARotationInTheMidstOfAnEnding(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	session := s.session(t, s.user(t, "ada"))
	s.faults["Revoke"] = func(write func() error) error {
		session = s.lives(t, session)
		if err := write(); err != nil {
			return err
		}
		s.over(t, session, innkeeper.ReasonReuse)
		return nil
	}
	check(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonReuse)))
	s.over(t, session, innkeeper.ReasonReuse)
}

// A theft is answered with 503 because Redis fails in the midst of it. The thief does not
// come back, nor does anybody else for longer than the feed remembers.
func TestATheftThatRedisHasMissed(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, testengine.SharedRedis(t))
	s := newStage(t, "redis://"+proxy.Addr())
	now := start
	roots, err := rootkey.NewRing(rootkey.Generate())
	check(t, err)
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "http://localhost:8080", Stores: s.Stores, RootKeys: roots, Clock: func() time.Time { return now },
	})
	check(t, err)
	ada := innkeeper.NewUser{Username: "ada", Password: "correct horse battery staple"}
	_, err = authority.CreateUser(t.Context(), ada, innkeeper.ActorOperator)
	check(t, err)
	grant, err := authority.Login(t.Context(), innkeeper.LoginRequest{
		Username: ada.Username, Password: ada.Password, Delivery: innkeeper.DeliverByBody,
	})
	check(t, err)
	refresh := func(token innkeeper.RefreshToken) (*innkeeper.Grant, error) {
		return authority.Refresh(context.WithoutCancel(t.Context()), innkeeper.RefreshRequest{
			RefreshTokens: []string{token.Reveal()}, Delivery: innkeeper.DeliverByBody,
		})
	}
	stolen := grant.RefreshToken
	for range 3 {
		now = now.Add(time.Minute)
		grant, err = refresh(grant.RefreshToken)
		check(t, err)
	}
	s.faults["Revoke"] = func(write func() error) error {
		err := errors.Join(write(), proxy.Refuse())
		proxy.Cut()
		return err
	}
	_, err = refresh(stolen)
	wantErr(t, err, innkeeper.ErrUnavailable)
	check(t, proxy.Pass())

	for range 2 {
		var ended *innkeeper.SessionEndedError
		if _, err = refresh(grant.RefreshToken); !errors.As(err, &ended) || ended.Reason != innkeeper.ReasonReuse {
			t.Fatalf("the successor is answered with %v, want the end of the session", err)
		}
		now = now.Add(innkeeper.RevocationRetention + time.Minute)
		_, err = authority.Sweep(t.Context(), innkeeper.SweepPolicy{})
		check(t, err)
	}
	alarms, err := s.Events.Events(t.Context(), innkeeper.EventQuery{Kind: innkeeper.EventTokenReused, Limit: 9})
	check(t, err)
	if len(alarms) != 1 {
		t.Fatalf("the log holds %d alarms, want one", len(alarms))
	}
}
