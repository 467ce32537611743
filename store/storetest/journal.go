package storetest

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

func testEvents(t *testing.T, s *suite) {
	ada, bob := random[innkeeper.UserID](), random[innkeeper.UserID]()
	full := innkeeper.Event{
		At: start, Kind: innkeeper.EventLoginFailed, Actor: innkeeper.UserActor(ada), UserID: ada,
		SessionID: random[innkeeper.SessionID](), Reason: innkeeper.ReasonReuse,
		Client: innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.9"), UserAgent: "curl/8"},
		Detail: map[string]string{"a": "1", "b": "zwei"},
	}
	s.must(s.Events.AppendEvent(s.ctx(), full))
	for range 5 {
		s.must(s.Events.AppendEvent(s.ctx(), event(innkeeper.EventUserChanged, bob)))
	}
	all := s.events()
	if len(all) != 6 {
		t.Fatalf("the log holds %d events, want 6", len(all))
	}
	full.Seq = all[0].Seq
	same(t, all[0], full)
	for i := 1; i < len(all); i++ {
		if all[i].Seq <= all[i-1].Seq {
			t.Fatalf("event %d has seq %d after %d", i, all[i].Seq, all[i-1].Seq)
		}
	}
	mine, err := s.Events.Events(s.ctx(), innkeeper.EventQuery{UserID: bob, After: all[2].Seq, Limit: 2})
	s.must(err)
	same(t, mine, all[3:5])
}

func testRevocations(t *testing.T, s *suite) {
	ada := s.user("ada")
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	// The third comes with a clock that went back: the feed's order must not.
	for _, i := range []int{1, 2, 0} {
		session := s.session(ada)
		end := ending(session, innkeeper.ReasonLogout)
		end.Revocation.At = at(i)
		s.must(s.Stores.Sessions.EndSession(s.ctx(), end))
	}
	feed := s.feed()
	if len(feed) != 3 || feed[0].Seq < at(1).UnixMicro() || feed[1].Seq < at(2).UnixMicro() || feed[2].Seq != feed[1].Seq+1 {
		t.Fatalf("the feed is %+v", feed)
	}
	later, err := s.Revocations.Revocations(s.ctx(), feed[0].Seq, 1)
	s.must(err)
	same(t, later, feed[1:2])

	for _, want := range []int{1, 1, 0} {
		swept, err := s.Revocations.SweepRevocations(s.ctx(), at(2), 1)
		s.must(err)
		if swept != want {
			t.Fatalf("swept %d entries, want %d", swept, want)
		}
	}
	same(t, s.feed(), feed[1:2])

	// An emptied feed goes on counting where it was.
	_, err = s.Revocations.SweepRevocations(s.ctx(), at(3), 10)
	s.must(err)
	end := ending(s.session(ada), innkeeper.ReasonLogout)
	end.Revocation.At = at(0)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), end))
	if got := s.feed(); len(got) != 1 || got[0].Seq <= feed[2].Seq {
		t.Fatalf("the feed is %+v, want one entry after %d", got, feed[2].Seq)
	}
}

func testRootKeyChecks(t *testing.T, s *suite) {
	checks, err := s.RootKeys.RootKeyChecks(s.ctx())
	s.must(err)
	if len(checks) != 0 {
		t.Fatalf("a new store knows %d root keys", len(checks))
	}
	a, b := random[rootkey.Check](), random[rootkey.Check]()
	s.must(s.RootKeys.AddRootKeyChecks(s.ctx(), []rootkey.Check{a}))
	s.must(s.RootKeys.AddRootKeyChecks(s.ctx(), []rootkey.Check{a, b}))
	checks, err = s.RootKeys.RootKeyChecks(s.ctx())
	s.must(err)
	if len(checks) != 2 {
		t.Fatalf("the store knows %d root keys, want 2", len(checks))
	}
}

func testSigningKeys(t *testing.T, s *suite) {
	record := func(id string, state keyring.State) keyring.Record {
		return keyring.Record{
			KeyID: id, Algorithm: accesstoken.ES256, State: state,
			Wrapped: []byte{0, 1, 2, 255}, PublicJWK: []byte(`{"kty":"EC"}`), PublishedAt: start,
		}
	}
	active, standby := record("first", keyring.Active), record("second", keyring.Published)
	active.ActivatedAt = start
	s.must(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{active, standby}))
	s.wantErr(s.Keys.InitSigningKeys(s.ctx(), []keyring.Record{record("third", keyring.Active)}), keyring.ErrInitialized)
	records, err := s.Keys.SigningKeys(s.ctx())
	s.must(err)
	slices.SortFunc(records, func(a, b keyring.Record) int { return cmp.Compare(a.KeyID, b.KeyID) })
	same(t, records, []keyring.Record{active, standby})
}

func testCancelledContext(t *testing.T, s *suite) {
	ada := s.user("ada")
	session := s.session(ada)
	gone, cancel := context.WithCancel(s.ctx())
	cancel()

	_, _, err := s.Stores.Sessions.RotateSession(gone, rotation(session))
	s.wantErr(err, context.Canceled)
	s.wantErr(s.Stores.Sessions.EndSession(gone, ending(session, innkeeper.ReasonLogout)), context.Canceled)
	s.wantErr(s.Stores.Sessions.CreateSession(gone, birth(newSession(ada))), context.Canceled)
	_, _, err = s.Stores.Sessions.Session(gone, session.ID)
	s.wantErr(err, context.Canceled)
	_, err = s.Users.ChangeUser(gone, newEpoch(ada, innkeeper.ReasonAdmin))
	s.wantErr(err, context.Canceled)
	_, err = s.Users.User(gone, ada.ID)
	s.wantErr(err, context.Canceled)
	_, err = s.Revocations.Revocations(gone, 0, 1)
	s.wantErr(err, context.Canceled)
	s.wantErr(s.Events.AppendEvent(gone, event(innkeeper.EventUserChanged, ada.ID)), context.Canceled)

	same(t, s.stored(session.ID), session)
	same(t, s.storedUser(ada.ID), ada)
}

func testClockExtremes(t *testing.T, s *suite) {
	ada := s.user("ada")
	for _, at := range []time.Time{
		time.Unix(0, 0).UTC(),
		time.Unix(1, 999_999_000).UTC(),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		session := newSession(ada)
		session.CreatedAt, session.RotatedAt = at, at
		session.ExpiresAt, session.RefreshExpiresAt = at.Truncate(time.Second), at.Truncate(time.Second)
		s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(session)))
		same(t, s.stored(session.ID), session)

		r := rotation(session)
		r.At = at
		got, _, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
		s.must(err)
		same(t, got, rotated(session, r))

		end := ending(session, innkeeper.ReasonLogout)
		end.At = at.Add(time.Microsecond)
		s.must(s.Stores.Sessions.EndSession(s.ctx(), end))
		if got := s.stored(session.ID); !got.EndedAt.Equal(end.At) {
			t.Fatalf("ended at %s, want %s", got.EndedAt, end.At)
		}
	}
}
