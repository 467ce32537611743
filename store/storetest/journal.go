package storetest

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

func testEvents(t *testing.T, s *suite) {
	ada, bob := random[innkeeper.UserID](), random[innkeeper.UserID]()
	full := innkeeper.Event{
		At: Start, Kind: innkeeper.EventLoginFailed, Actor: innkeeper.UserActor(ada), UserID: ada,
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
	last := func(want int64) {
		t.Helper()
		got, err := s.Revocations.LastRevocation(s.ctx())
		s.must(err)
		if got != want {
			t.Fatalf("the last revocation is %d, want %d", got, want)
		}
	}
	last(0)
	ada := s.user("ada")
	at := func(i int) time.Time { return Start.Add(time.Duration(i) * time.Minute) }
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
	last(feed[2].Seq)
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
	last(feed[2].Seq)
	end := ending(s.session(ada), innkeeper.ReasonLogout)
	end.Revocation.At = at(0)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), end))
	if got := s.feed(); len(got) != 1 || got[0].Seq <= feed[2].Seq {
		t.Fatalf("the feed is %+v, want one entry after %d", got, feed[2].Seq)
	}
}

// testRevoke holds the promise on which a store rests that ends a session in two
// places: whoever tries again tells nobody twice.
func testRevoke(t *testing.T, s *suite) {
	ada := s.user("ada")
	revocation := func(kind innkeeper.RevocationKind, id string, at time.Time) innkeeper.Revocation {
		return innkeeper.Revocation{At: at, Kind: kind, ID: id}
	}
	first := revocation(innkeeper.RevokedSession, random[innkeeper.SessionID]().String(), Start)
	told := event(innkeeper.EventTokenReused, ada.ID)
	told.Detail = map[string]string{"presented_generation": "3"}
	before := len(s.events())
	s.must(s.Stores.Revocations.Revoke(s.ctx(), first, told))

	feed, events := s.feed(), s.events()
	if len(feed) != 1 || len(events) != before+1 {
		t.Fatalf("the feed holds %d entries and the log gained %d events, want one each", len(feed), len(events)-before)
	}
	first.Seq, told.Seq = feed[0].Seq, events[before].Seq
	same(t, feed[0], first)
	same(t, events[before], told)
	if first.Seq < Start.UnixMicro() {
		t.Fatalf("seq is %d, want at least the microseconds of its time", first.Seq)
	}

	// What the feed holds is not written again, whatever else is different.
	again := revocation(first.Kind, first.ID, Start.Add(time.Minute))
	s.must(s.Stores.Revocations.Revoke(s.ctx(), again, event(innkeeper.EventSessionEnded, ada.ID)))
	same(t, s.feed(), feed)
	same(t, s.events(), events)

	// Another kind with the same ID is another entry; an event without a kind is none.
	s.must(s.Stores.Revocations.Revoke(s.ctx(), revocation(innkeeper.RevokedKey, first.ID, Start.Add(-time.Hour)), innkeeper.Event{}))
	session := s.session(ada)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(session, innkeeper.ReasonLogout)))
	late := ending(session, innkeeper.ReasonReuse)
	s.must(s.Stores.Revocations.Revoke(s.ctx(), late.Revocation, late.Event))
	feed = s.feed()
	if len(feed) != 3 || feed[1].Seq != feed[0].Seq+1 || feed[1].Kind != innkeeper.RevokedKey || feed[2].ID != session.ID.String() {
		t.Fatalf("the feed is %+v, want the first, the key and the session", feed)
	}
	for _, logged := range s.events() {
		if logged.Kind == "" || logged.Reason == innkeeper.ReasonReuse {
			t.Fatalf("the log holds %+v", logged)
		}
	}
}

// testRevokeAgain holds the other half of that promise: whoever is told so late that the
// entry would be gone before the tokens are told anew, without a second event.
func testRevokeAgain(t *testing.T, s *suite) {
	revoke := func(kind innkeeper.RevocationKind, id string, at time.Duration) {
		t.Helper()
		entry := innkeeper.Revocation{At: Start.Add(at), Kind: kind, ID: id}
		s.must(s.Stores.Revocations.Revoke(s.ctx(), entry, event(innkeeper.EventSessionEnded, innkeeper.UserID{})))
	}
	kinds := []innkeeper.RevocationKind{innkeeper.RevokedSession, innkeeper.RevokedUser, innkeeper.RevokedKey}
	for _, kind := range kinds {
		revoke(kind, "again", 0)
		revoke(kind, "other", 0)
	}
	feed, events := s.feed(), s.events()
	for _, kind := range kinds {
		revoke(kind, "again", innkeeper.RevocationRenewal) // and not a microsecond more
		revoke(kind, "again", -time.Hour)
	}
	same(t, s.feed(), feed)

	const late = innkeeper.RevocationRenewal + time.Microsecond
	for _, kind := range kinds {
		revoke(kind, "again", late)
	}
	same(t, s.events(), events)
	again := s.feed()
	if len(again) != len(feed) {
		t.Fatalf("the feed is %+v, want one entry for each that was revoked", again)
	}
	// What needs no news stands where it stood; what does comes after all that was read.
	same(t, again[:4], []innkeeper.Revocation{feed[1], feed[3], feed[4], feed[5]})
	for i, renewed := range again[4:] {
		if renewed.Seq <= feed[5].Seq || renewed.Kind != kinds[i] || renewed.ID != "again" || !renewed.At.Equal(Start.Add(late)) {
			t.Fatalf("renewed is %+v, want the %s", renewed, kinds[i])
		}
	}
	last, err := s.Revocations.LastRevocation(s.ctx())
	s.must(err)
	if last != again[5].Seq {
		t.Fatalf("the last revocation is %d, want %d", last, again[5].Seq)
	}

	// It lives as long as any that was written then.
	if _, err := s.Revocations.SweepRevocations(s.ctx(), Start.Add(late), 10); err != nil {
		t.Fatal(err)
	}
	same(t, s.feed(), append(slices.Clone(again[2:4]), again[4:]...))
}

// testHintRevocations listens for hints, if a store gives any: for each write that
// appends to the feed there must come one, sooner or later, once that entry can be
// read.
func testHintRevocations(t *testing.T, s *suite) {
	hinter, ok := s.Revocations.(innkeeper.RevocationHinter)
	if !ok {
		return // polling is the guarantee
	}
	ctx, cancel := context.WithCancel(s.ctx())
	hints := make(chan struct{}, 1)
	over := make(chan error, 1)
	go func() {
		over <- hinter.HintRevocations(ctx, func() {
			select {
			case hints <- struct{}{}:
			default:
			}
		})
	}()
	hinted := func(what string, entries int) {
		t.Helper()
		timeout := time.After(30 * time.Second)
		for {
			select {
			case err := <-over:
				t.Fatalf("%s: it stopped listening: %v", what, err)
			case <-timeout:
				t.Fatalf("%s: no hint came", what)
			case <-hints:
			}
			if len(s.feed()) == entries {
				return // and otherwise it was for what came before
			}
		}
	}
	hinted("begin to listen", 0)

	ada := s.user("ada")
	first, second := s.session(ada), s.session(ada)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(first, innkeeper.ReasonLogout)))
	hinted("end a session", 1)
	next := birth(NewSession(ada))
	replaced := ending(second, innkeeper.ReasonReplaced)
	next.Replaces = &replaced
	s.must(s.Stores.Sessions.CreateSession(s.ctx(), next))
	hinted("replace a session", 2)
	_, err := s.Users.ChangeUser(s.ctx(), newEpoch(ada, innkeeper.ReasonLogoutEverywhere))
	s.must(err)
	hinted("replace an epoch", 3)
	key := innkeeper.Revocation{At: Start, Kind: innkeeper.RevokedKey, ID: "key"}
	s.must(s.Stores.Revocations.Revoke(s.ctx(), key, innkeeper.Event{}))
	hinted("revoke a key", 4)

	cancel()
	if err := <-over; err != nil {
		t.Errorf("with its context it ended with %v", err)
	}
}

func testIssuer(t *testing.T, s *suite) {
	for _, want := range []string{"", "https://auth.example", "https://other.example/auth"} {
		if want != "" {
			s.must(s.Stores.Issuer.SetIssuer(s.ctx(), want))
		}
		got, err := s.Stores.Issuer.Issuer(s.ctx())
		s.must(err)
		if got != want {
			t.Fatalf("the issuer is %q, want %q", got, want)
		}
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
	foreign := random[rootkey.Check]()
	s.wantErr(s.RootKeys.AddRootKeyChecks(s.ctx(), []rootkey.Check{foreign}), innkeeper.ErrWrongRootKey)
	checks, err = s.RootKeys.RootKeyChecks(s.ctx())
	s.must(err)
	if len(checks) != 2 || slices.Contains(checks, foreign) {
		t.Fatal("the root key of others was added")
	}
}

func testCancelledContext(t *testing.T, s *suite) {
	ada := s.user("ada")
	session := s.session(ada)
	gone, cancel := context.WithCancel(s.ctx())
	cancel()

	_, _, err := s.Stores.Sessions.RotateSession(gone, rotation(session))
	s.wantErr(err, context.Canceled)
	s.wantErr(s.Stores.Sessions.EndSession(gone, ending(session, innkeeper.ReasonLogout)), context.Canceled)
	s.wantErr(s.Stores.Sessions.CreateSession(gone, birth(NewSession(ada))), context.Canceled)
	_, _, err = s.Stores.Sessions.Session(gone, session.ID)
	s.wantErr(err, context.Canceled)
	_, err = s.Users.ChangeUser(gone, newEpoch(ada, innkeeper.ReasonAdmin))
	s.wantErr(err, context.Canceled)
	_, err = s.Users.User(gone, ada.ID)
	s.wantErr(err, context.Canceled)
	_, err = s.Revocations.Revocations(gone, 0, 1)
	s.wantErr(err, context.Canceled)
	_, err = s.Revocations.LastRevocation(gone)
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
		session := NewSession(ada)
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
