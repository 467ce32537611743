package sqlite_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// create stores a user and a session of theirs.
func create(t *testing.T, stores innkeeper.Stores, user innkeeper.User, session innkeeper.Session) {
	t.Helper()
	if err := stores.Users.CreateUser(t.Context(), user, innkeeper.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := stores.Sessions.CreateSession(t.Context(), innkeeper.Birth{Session: session}); err != nil {
		t.Fatal(err)
	}
}

func TestRotationsGrowNothing(t *testing.T) {
	store := open(t, newPath(t))
	user := newUser("ada", innkeeper.RoleAdmin)
	session := newSession(user)
	create(t, store.Stores(), user, session)
	size := func() string {
		t.Helper()
		count := `select (select count(*) from user) || ' ' || (select count(*) from session) || ' ' ||
    (select count(*) from event) || ' ' || (select count(*) from revocation) || ' ' ||
    (select count(*) from user_role) || ' ' || (select page_count from pragma_page_count)`
		return store.Text(t, count)
	}
	before := size()
	for i := range 1000 {
		rotated, _, err := store.Stores().Sessions.RotateSession(t.Context(),
			successor(&session, start.Add(time.Duration(i)*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		session = rotated
	}
	if after := size(); after != before {
		t.Fatalf("rows and pages grew from %q to %q", before, after)
	}
}

// What a rotation returns was not read back, but must be what a read would find.
func TestRotationReturnsWhatIsStored(t *testing.T) {
	stores := open(t, newPath(t)).Stores()
	user := newUser("ada")
	session := newSession(user)
	create(t, stores, user, session)
	elsewhere := time.Date(2026, 4, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	rotated, _, err := stores.Sessions.RotateSession(t.Context(), successor(&session, elsewhere))
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := stores.Sessions.Session(t.Context(), session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(rotated, read) {
		t.Fatalf("rotated %+v\nread    %+v", rotated, read)
	}
}

func TestRecentKeysAreBytes(t *testing.T) {
	store := open(t, newPath(t))
	user := newUser("ada")
	session := newSession(user)
	create(t, store.Stores(), user, session)
	for i := range 20 {
		rotation := successor(&session, start)
		// What ends a string, what is no UTF-8, and no key at all.
		rotation.Key = [...]innkeeper.KeyHash{{}, {0: 1}, {15: 1}, {0xff, 0, 0xc3}, {7: 0xed, 8: 0xa0}}[i%5]
		want := session.RecentKeys.Push(rotation.Key)
		rotated, _, err := store.Stores().Sessions.RotateSession(t.Context(), rotation)
		if err != nil {
			t.Fatal(err)
		}
		if rotated.RecentKeys != want {
			t.Fatalf("rotation %d: recent keys are %x, want %x", i, rotated.RecentKeys, want)
		}
		var flat strings.Builder
		for _, key := range want {
			fmt.Fprintf(&flat, "%X", key[:])
		}
		got := store.Text(t, `select typeof(recent_keys) || ' ' || hex(recent_keys) from session`)
		if got != "blob "+flat.String() {
			t.Fatalf("rotation %d: stored is %s, want %s", i, got, flat.String())
		}
		session = rotated
	}
}

// Several values travel as one column. Whatever people call themselves and their
// devices must not be mistaken for what separates them.
func TestNamesOfEveryKind(t *testing.T) {
	for _, odd := range []string{
		"", "a", "a\nb\n", "\n\n\n3\n", "\t", "a b", "ünï☎", "nul\x00nul", "\xff\xfe", "7\nadmin\t", strings.Repeat("x", 300),
	} {
		store := open(t, newPath(t))
		stores := store.Stores()
		role := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send"}}
		if err := stores.Roles.SetRole(t.Context(), role, innkeeper.Event{}); err != nil {
			t.Fatal(err)
		}
		user := newUser(odd, innkeeper.RoleAdmin, "clerk")
		user.Email = odd + "\n" + odd
		session := newSession(user)
		session.Device, session.Client.UserAgent = odd, odd
		create(t, stores, user, session)

		want := user.Subject
		want.Permissions = role.Permissions
		rotation := successor(&session, start)
		rotation.Client.UserAgent = odd
		rotated, subject, err := stores.Sessions.RotateSession(t.Context(), rotation)
		if err != nil {
			t.Fatalf("%q: %v", odd, err)
		}
		if !reflect.DeepEqual(subject, want) || rotated.Device != odd {
			t.Errorf("%q: rotated %+v of %+v, want %+v", odd, rotated, subject, want)
		}
		read, reader, err := stores.Sessions.Session(t.Context(), session.ID)
		if err != nil {
			t.Fatalf("%q: %v", odd, err)
		}
		if !reflect.DeepEqual(read, rotated) || !reflect.DeepEqual(*reader, want) {
			t.Errorf("%q: read %+v of %+v, want %+v of %+v", odd, read, *reader, rotated, want)
		}
	}
}

// Names of roles, permissions and methods are joined by spaces, so one with a
// space in it is refused, not torn apart.
func TestNamesWithSpacesAreRefused(t *testing.T) {
	stores := open(t, newPath(t)).Stores()
	for _, role := range []innkeeper.Role{
		{Name: "front desk"},
		{Name: ""},
		{Name: "clerk", Permissions: []string{"read mail"}},
		{Name: "clerk", Permissions: []string{"mail:read\tlog:read"}},
		{Name: "clerk", Permissions: []string{""}},
	} {
		if err := stores.Roles.SetRole(t.Context(), role, innkeeper.Event{}); err == nil {
			t.Errorf("role %+v was stored", role)
		}
	}
	user := newUser("ada")
	session := newSession(user)
	create(t, stores, user, session)
	session = newSession(user)
	session.Methods = []string{"pwd otp"}
	if err := stores.Sessions.CreateSession(t.Context(), innkeeper.Birth{Session: session}); err == nil {
		t.Error("a session with a torn method was stored")
	}
}

// Statements find their rows by an index, however many there are, and a rotation
// leaves all indexes alone.
func TestPlans(t *testing.T) {
	store := open(t, newPath(t))
	stores := store.Stores()
	ctx := t.Context()
	user := newUser("ada", innkeeper.RoleAdmin)
	session := newSession(user)
	create(t, stores, user, session)
	revoked := func(id string) innkeeper.Revocation {
		return innkeeper.Revocation{At: start, Kind: innkeeper.RevokedSession, ID: id}
	}
	end := innkeeper.Ending{SessionID: session.ID, At: start, Reason: innkeeper.ReasonLogout, Revocation: revoked("end")}
	change := innkeeper.UserChange{ID: user.ID, IfEpoch: user.Epoch, At: start, NewEpoch: &innkeeper.EpochReplacement{
		Carry: &session.ID, Revocation: revoked("change"),
	}}
	for name, do := range map[string]func() error{
		"rotate": func() error {
			_, _, err := stores.Sessions.RotateSession(ctx, successor(&session, start))
			return err
		},
		"session": func() error { _, _, err := stores.Sessions.Session(ctx, session.ID); return err },
		"sessions": func() error {
			_, err := stores.Sessions.Sessions(ctx, innkeeper.SessionQuery{UserID: user.ID, Limit: 9})
			return err
		},
		"sweep sessions": func() error { _, err := stores.Sessions.SweepSessions(ctx, start, 9); return err },
		"user":           func() error { _, err := stores.Users.User(ctx, user.ID); return err },
		"username":       func() error { _, err := stores.Users.UserByUsername(ctx, "ada"); return err },
		"users":          func() error { _, err := stores.Users.Users(ctx, innkeeper.UserQuery{Limit: 9}); return err },
		"events":         func() error { _, err := stores.Events.Events(ctx, innkeeper.EventQuery{Limit: 9}); return err },
		"events of": func() error {
			_, err := stores.Events.Events(ctx, innkeeper.EventQuery{UserID: user.ID, Limit: 9})
			return err
		},
		"revocations":       func() error { _, err := stores.Revocations.Revocations(ctx, 0, 9); return err },
		"revoke":            func() error { return stores.Revocations.Revoke(ctx, revoked("revoke"), innkeeper.Event{}) },
		"issuer":            func() error { _, err := stores.Issuer.Issuer(ctx); return err },
		"sweep revocations": func() error { _, err := stores.Revocations.SweepRevocations(ctx, start, 9); return err },
		"delete role":       func() error { _ = stores.Roles.DeleteRole(ctx, "clerk", innkeeper.Event{}); return nil },
	} {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := stores.Sessions.EndSession(ctx, end); err != nil {
		t.Fatal(err)
	}
	if _, err := stores.Users.ChangeUser(ctx, change); err != nil {
		t.Fatal(err)
	}
	plans := store.Plans(t)
	if len(plans) < 15 {
		t.Errorf("only %d statements were looked at", len(plans))
	}
	for statement, plan := range plans {
		if strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\n%s", statement, plan)
		}
	}
	for _, op := range store.RotationCode(t) {
		if op == "IdxInsert" || op == "IdxDelete" {
			t.Errorf("a rotation changes an index: %s", op)
		}
	}
}
