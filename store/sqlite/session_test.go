package sqlite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestRotationsGrowNothing(t *testing.T) {
	store := open(t, newPath(t))
	user := storetest.NewUser("ada", innkeeper.RoleAdmin)
	session := storetest.NewSession(user)
	storetest.Create(t, store.Stores(), user, session)
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
			storetest.Successor(session, start.Add(time.Duration(i)*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		session = rotated
	}
	if after := size(); after != before {
		t.Fatalf("rows and pages grew from %q to %q", before, after)
	}
}

func TestRecentKeysAreBytes(t *testing.T) {
	store := open(t, newPath(t))
	user := storetest.NewUser("ada")
	session := storetest.NewSession(user)
	storetest.Create(t, store.Stores(), user, session)
	for i := range 20 {
		rotation := storetest.Successor(session, start)
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

// Statements find their rows by an index, however many there are, and a rotation
// leaves all indexes alone.
func TestPlans(t *testing.T) {
	store := open(t, newPath(t))
	stores := store.Stores()
	ctx := t.Context()
	user := storetest.NewUser("ada", innkeeper.RoleAdmin)
	session := storetest.NewSession(user)
	storetest.Create(t, stores, user, session)
	revoked := func(id string) innkeeper.Revocation {
		return innkeeper.Revocation{At: start, Kind: innkeeper.RevokedSession, ID: id}
	}
	end := innkeeper.Ending{SessionID: session.ID, At: start, Reason: innkeeper.ReasonLogout, Revocation: revoked("end")}
	change := innkeeper.UserChange{ID: user.ID, IfEpoch: user.Epoch, At: start, NewEpoch: &innkeeper.EpochReplacement{
		Carry: &session.ID, Revocation: revoked("change"),
	}}
	for name, do := range map[string]func() error{
		"rotate": func() error {
			_, _, err := stores.Sessions.RotateSession(ctx, storetest.Successor(session, start))
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
		"attempts":          func() error { _, err := stores.Attempts.Attempts(ctx, innkeeper.AttemptKey{1}); return err },
		"count attempt": func() error {
			_, err := stores.Attempts.SwapAttempts(ctx, innkeeper.AttemptKey{1}, innkeeper.Attempts{Count: 1, LastAt: start}, innkeeper.Attempts{Count: 2, LastAt: start})
			return err
		},
		"sweep attempts": func() error { _, err := stores.Attempts.SweepAttempts(ctx, start, 9); return err },
		"delete role":    func() error { _ = stores.Roles.DeleteRole(ctx, "clerk", innkeeper.Event{}); return nil },
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
