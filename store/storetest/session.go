package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

func testCreateSession(t *testing.T, s *suite) {
	ada := s.user("ada")
	stranger := ada
	stranger.ID = random[innkeeper.UserID]()
	s.wantErr(s.Stores.Sessions.CreateSession(s.ctx(), birth(NewSession(stranger))), innkeeper.ErrEpochMoved)

	moved := ada
	moved.Epoch = random[innkeeper.Epoch]()
	unborn := NewSession(moved)
	s.wantErr(s.Stores.Sessions.CreateSession(s.ctx(), birth(unborn)), innkeeper.ErrEpochMoved)
	if _, _, err := s.Stores.Sessions.Session(s.ctx(), unborn.ID); err == nil {
		t.Fatal("a session was born under an epoch that the user does not have")
	}

	old, next := s.session(ada), NewSession(ada)
	replaced := ending(old, innkeeper.ReasonReplaced)
	b := birth(next)
	b.Replaces = &replaced
	s.must(s.Stores.Sessions.CreateSession(s.ctx(), b))
	if got := s.stored(old.ID); got.Reason != innkeeper.ReasonReplaced {
		t.Fatalf("the replaced session has reason %q", got.Reason)
	}
	if feed := s.feed(); len(feed) != 1 || feed[0].ID != old.ID.String() {
		t.Fatalf("the feed holds %v, want the replaced session", feed)
	}

	// Replacing what has ended, or what never was, is fine and tells nobody again.
	for _, gone := range []innkeeper.Session{old, NewSession(ada)} {
		replaced, b := ending(gone, innkeeper.ReasonReplaced), birth(NewSession(ada))
		b.Replaces = &replaced
		s.must(s.Stores.Sessions.CreateSession(s.ctx(), b))
	}
	if feed := s.feed(); len(feed) != 1 {
		t.Fatalf("the feed has grown to %v", feed)
	}

	disabled := true
	change := newEpoch(ada, innkeeper.ReasonUserDisabled)
	change.Disabled = &disabled
	_, err := s.Users.ChangeUser(s.ctx(), change)
	s.must(err)
	ada.Epoch = change.NewEpoch.Epoch
	s.wantErr(s.Stores.Sessions.CreateSession(s.ctx(), birth(NewSession(ada))), innkeeper.ErrEpochMoved)
}

func testSessionRoundTrip(t *testing.T, s *suite) {
	ada := s.user("ada")
	full := s.session(ada)
	same(t, s.stored(full.ID), full)

	sparse := NewSession(ada)
	sparse.Delivery = innkeeper.DeliverByBody
	sparse.Device, sparse.Client, sparse.Methods = "", innkeeper.Client{}, []string{"pwd"}
	s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(sparse)))
	same(t, s.stored(sparse.ID), sparse)

	_, user, err := s.Stores.Sessions.Session(s.ctx(), full.ID)
	s.must(err)
	same(t, *user, ada.Subject)
	_, _, err = s.Stores.Sessions.Session(s.ctx(), random[innkeeper.SessionID]())
	s.wantErr(err, innkeeper.ErrNotFound)
}

func testRotateSession(t *testing.T, s *suite) {
	s.must(s.Roles.SetRole(s.ctx(), innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send"}}, innkeeper.Event{}))
	s.must(s.Roles.SetRole(s.ctx(), innkeeper.Role{Name: "auditor", Permissions: []string{"log:read", "mail:read"}}, innkeeper.Event{}))
	ada := s.user("ada")
	roles := []string{"auditor", "clerk"}
	_, err := s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: ada.ID, IfEpoch: ada.Epoch, At: Start, Roles: &roles})
	s.must(err)
	session := s.session(ada)
	before := len(s.events())

	r := rotation(session)
	got, user, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
	s.must(err)
	same(t, got, rotated(session, r))
	same(t, s.stored(session.ID), rotated(session, r))
	want := ada.Subject
	want.Roles, want.Permissions = roles, []string{"log:read", "mail:read", "mail:send"}
	same(t, user, want)
	if after := len(s.events()); after != before {
		t.Fatalf("a rotation wrote %d events", after-before)
	}

	// The presented secret is dead now.
	_, _, err = s.Stores.Sessions.RotateSession(s.ctx(), r)
	s.wantErr(err, innkeeper.ErrNoMatch)
	same(t, s.stored(session.ID), rotated(session, r))

	// The absolute end stays where it was, however late the refresh.
	late := rotation(rotated(session, r))
	late.RefreshExpiresAt = session.ExpiresAt.Add(time.Hour)
	got, _, err = s.Stores.Sessions.RotateSession(s.ctx(), late)
	s.must(err)
	if !got.RefreshExpiresAt.Equal(session.ExpiresAt) || !got.ExpiresAt.Equal(session.ExpiresAt) {
		t.Fatalf("the refresh token lives until %s, past the session's end %s", got.RefreshExpiresAt, session.ExpiresAt)
	}
}

func testRotateRefusesTheDead(t *testing.T, s *suite) {
	refused := func(session innkeeper.Session) {
		t.Helper()
		before := s.stored(session.ID)
		_, _, err := s.Stores.Sessions.RotateSession(s.ctx(), rotation(session))
		s.wantErr(err, innkeeper.ErrNoMatch)
		same(t, s.stored(session.ID), before)
	}
	ada := s.user("ada")

	_, _, err := s.Stores.Sessions.RotateSession(s.ctx(), rotation(NewSession(ada)))
	s.wantErr(err, innkeeper.ErrNoMatch)

	ended := s.session(ada)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(ended, innkeeper.ReasonLogout)))
	refused(ended)

	// An ended session has no secret, so the hash of none must not match it.
	zero := ended
	zero.SecretHash = innkeeper.SecretHash{}
	refused(zero)

	elsewhere := s.session(ada)
	elsewhere.SecretHash = random[innkeeper.SecretHash]()
	refused(elsewhere)

	orphan := s.session(ada)
	change := newEpoch(ada, innkeeper.ReasonLogoutEverywhere)
	_, err = s.Users.ChangeUser(s.ctx(), change)
	s.must(err)
	refused(orphan)

	// Disabled without a new epoch, which no authority does, is refused too.
	bob, disabled := s.user("bob"), true
	idle := s.session(bob)
	_, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: bob.ID, IfEpoch: bob.Epoch, At: Start, Disabled: &disabled})
	s.must(err)
	refused(idle)

	eve := s.user("eve")
	left := s.session(eve)
	gone := newEpoch(eve, innkeeper.ReasonAdmin)
	gone.Delete = true
	_, err = s.Users.ChangeUser(s.ctx(), gone)
	s.must(err)
	refused(left)
}

func testRotateRecentKeys(t *testing.T, s *suite) {
	session := s.session(s.user("ada"))
	for i := range 12 {
		r := rotation(session)
		switch i % 4 {
		case 1:
			r.Key = innkeeper.KeyHash{} // no key was sent
		case 2:
			r.Key[0], r.Key[15] = 0, 0 // bytes that end strings in many places
		case 3:
			r.Key[7] = 0xff // bytes that are no UTF-8
		}
		got, _, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
		s.must(err)
		session = rotated(session, r)
		same(t, got, session)
	}
	same(t, s.stored(session.ID), session)
}

// testRotateReturnsWhatIsStored holds that what a rotation returns, which was not
// read back, is what a read would find; and that it belongs to the caller.
func testRotateReturnsWhatIsStored(t *testing.T, s *suite) {
	session := s.session(s.user("ada"))
	methods := slices.Clone(session.Methods)
	for _, at := range []time.Time{
		time.Date(2026, 4, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600)),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		for _, expires := range []time.Time{at.Truncate(time.Second).Add(14 * 24 * time.Hour), at.Add(time.Hour)} {
			r := Successor(session, at)
			r.RefreshExpiresAt = expires
			got, _, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
			s.must(err)
			same(t, got.Methods, methods)
			got.Methods[0] = "mine"
			session = s.stored(session.ID)
			same(t, session.Methods, methods)
			got.Methods[0] = methods[0]
			same(t, got, session)
		}
	}
}

func testEndSession(t *testing.T, s *suite) {
	session := s.session(s.user("ada"))
	end := ending(session, innkeeper.ReasonReuse)
	end.Event.Kind = innkeeper.EventTokenReused
	end.Event.Detail = map[string]string{"presented_generation": "3"}
	s.must(s.Stores.Sessions.EndSession(s.ctx(), end))

	got := s.stored(session.ID)
	if !got.Ended() || !got.EndedAt.Equal(end.At) || got.Reason != innkeeper.ReasonReuse {
		t.Fatalf("the session is %+v, want it ended at %s for reuse", got, end.At)
	}
	events := s.events()
	last := events[len(events)-1]
	end.Event.Seq = last.Seq
	same(t, last, end.Event)
	feed := s.feed()
	end.Revocation.Seq = feed[0].Seq
	same(t, feed, []innkeeper.Revocation{end.Revocation})

	// The first end is the one that counts.
	again := ending(session, innkeeper.ReasonLogout)
	s.wantErr(s.Stores.Sessions.EndSession(s.ctx(), again), innkeeper.ErrNoMatch)
	s.wantErr(s.Stores.Sessions.EndSession(s.ctx(), ending(NewSession(s.user("bob")), innkeeper.ReasonLogout)), innkeeper.ErrNoMatch)
	same(t, s.stored(session.ID), got)
	if n := len(s.feed()); n != 1 {
		t.Fatalf("the feed holds %d entries, want 1", n)
	}
}

// testEndSessionOnce ends sessions that are over already, because their users
// have been changed.
func testEndSessionOnce(t *testing.T, s *suite) {
	yes := true
	for name, change := range map[string]func(*innkeeper.UserChange){
		"moved":    func(c *innkeeper.UserChange) {},
		"disabled": func(c *innkeeper.UserChange) { c.NewEpoch, c.Disabled = nil, &yes },
		"deleted":  func(c *innkeeper.UserChange) { c.Delete = true },
	} {
		user := s.user(name)
		session := s.session(user)
		c := newEpoch(user, innkeeper.ReasonAdmin)
		change(&c)
		_, err := s.Users.ChangeUser(s.ctx(), c)
		s.must(err)
		events, feed := len(s.events()), len(s.feed())
		s.wantErr(s.Stores.Sessions.EndSession(s.ctx(), ending(session, innkeeper.ReasonLogout)), innkeeper.ErrNoMatch)
		if got := s.stored(session.ID); got.Ended() {
			t.Errorf("%s: the session has ended twice", name)
		}
		if len(s.events()) != events || len(s.feed()) != feed {
			t.Errorf("%s: an end was told that was none", name)
		}
	}
	// Carried over, it lives.
	user := s.user("carried")
	session := s.session(user)
	c := newEpoch(user, innkeeper.ReasonLogoutEverywhere)
	c.NewEpoch.Carry = &session.ID
	_, err := s.Users.ChangeUser(s.ctx(), c)
	s.must(err)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(session, innkeeper.ReasonLogout)))
}

func testSessions(t *testing.T, s *suite) {
	ada, bob := s.user("ada"), s.user("bob")
	s.session(bob)
	var want []innkeeper.Session // newest first
	for i := range 7 {
		session := NewSession(ada)
		session.CreatedAt = Start.Add(time.Duration(i) * time.Second)
		s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(session)))
		want = append([]innkeeper.Session{session}, want...)
	}
	ended := s.session(ada)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(ended, innkeeper.ReasonLogout)))
	idle := NewSession(ada)
	idle.RefreshExpiresAt = Start.Truncate(time.Second).Add(time.Minute)
	s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(idle)))

	query := innkeeper.SessionQuery{UserID: ada.ID, AliveAt: Start.Add(time.Hour), Limit: 3}
	var got []innkeeper.Session
	for page := 0; ; page++ {
		sessions, err := s.Stores.Sessions.Sessions(s.ctx(), query)
		s.must(err)
		if len(sessions) == 0 {
			break
		}
		if page > 3 || len(sessions) > 3 {
			t.Fatalf("page %d holds %d sessions", page, len(sessions))
		}
		got = append(got, sessions...)
		query.After = sessions[len(sessions)-1].ID
	}
	same(t, got, want)

	_, err := s.Users.ChangeUser(s.ctx(), newEpoch(ada, innkeeper.ReasonLogoutEverywhere))
	s.must(err)
	query.After = innkeeper.SessionID{}
	sessions, err := s.Stores.Sessions.Sessions(s.ctx(), query)
	s.must(err)
	if len(sessions) != 0 {
		t.Fatalf("%d sessions outlived their epoch", len(sessions))
	}
}

func testSweepSessions(t *testing.T, s *suite) {
	ada := s.user("ada")
	live := s.session(ada)
	for range 5 {
		ended := s.session(ada)
		s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(ended, innkeeper.ReasonLogout)))
		expired := NewSession(ada)
		expired.ExpiresAt = Start.Truncate(time.Second)
		expired.RefreshExpiresAt = expired.ExpiresAt
		s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(expired)))
	}
	fresh := s.session(ada)
	late := ending(fresh, innkeeper.ReasonLogout)
	late.At = Start.Add(48 * time.Hour)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), late))

	before := Start.Add(24 * time.Hour)
	counts := []int{4, 4, 2, 0}
	if s.has(LetsGoByItself) {
		counts = []int{0}
	}
	for _, want := range counts {
		got, err := s.Stores.Sessions.SweepSessions(s.ctx(), before, 4)
		s.must(err)
		if got != want {
			t.Fatalf("swept %d sessions, want %d", got, want)
		}
	}
	same(t, s.stored(live.ID), live)
	s.stored(fresh.ID)
}
