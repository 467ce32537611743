package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

func testUsers(t *testing.T, s *suite) {
	ada := s.user("ada")
	same(t, s.storedUser(ada.ID), ada)
	byName, err := s.Users.UserByUsername(s.ctx(), "ada")
	s.must(err)
	same(t, byName, ada)
	_, err = s.Users.UserByUsername(s.ctx(), "nobody")
	s.wantErr(err, innkeeper.ErrNotFound)
	_, err = s.Users.User(s.ctx(), random[innkeeper.UserID]())
	s.wantErr(err, innkeeper.ErrNotFound)

	twin := ada
	twin.ID = random[innkeeper.UserID]()
	s.wantErr(s.Users.CreateUser(s.ctx(), twin, event(innkeeper.EventUserCreated, twin.ID)), innkeeper.ErrUsernameTaken)
	ghost := ada
	ghost.ID, ghost.Username, ghost.Roles = random[innkeeper.UserID](), "ghost", []string{"never-defined"}
	s.wantErr(s.Users.CreateUser(s.ctx(), ghost, event(innkeeper.EventUserCreated, ghost.ID)), innkeeper.ErrRoleUnknown)
	if n := len(s.events()); n != 1 {
		t.Fatalf("refused users wrote %d events", n-1)
	}

	want := []string{"ada"}
	for i := range 6 {
		name := fmt.Sprintf("user%d", i)
		s.user(name)
		want = append(want, name)
	}
	var got []string
	for after := ""; ; {
		page, err := s.Users.Users(s.ctx(), innkeeper.UserQuery{After: after, Limit: 3})
		s.must(err)
		if len(page) == 0 {
			break
		}
		for _, user := range page {
			got = append(got, user.Username)
			after = user.Username
		}
	}
	same(t, got, want)
}

func testChangeUser(t *testing.T, s *suite) {
	ada := s.user("ada")
	session := s.session(ada)
	email, hash, roles, disabled := "new@example.com", "$argon2id$new", []string{innkeeper.RoleAdmin}, true
	at := Start.Add(time.Hour)
	changed, err := s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{
		ID: ada.ID, IfEpoch: ada.Epoch, At: at,
		Email: &email, PasswordHash: &hash, Roles: &roles, Disabled: &disabled,
		Event: event(innkeeper.EventUserChanged, ada.ID),
	})
	s.must(err)
	want := ada
	want.Email, want.PasswordHash, want.Roles, want.Disabled, want.UpdatedAt = email, hash, roles, true, at
	same(t, changed, want)
	same(t, s.storedUser(ada.ID), want)
	same(t, s.stored(session.ID), session)

	before := s.events()
	unknown := []string{"never-defined"}
	_, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: ada.ID, IfEpoch: ada.Epoch, At: at, Email: &unknown[0], Roles: &unknown, Event: event(innkeeper.EventUserChanged, ada.ID)})
	s.wantErr(err, innkeeper.ErrRoleUnknown)
	_, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: ada.ID, IfEpoch: random[innkeeper.Epoch](), At: at, Email: &unknown[0], Event: event(innkeeper.EventUserChanged, ada.ID)})
	s.wantErr(err, innkeeper.ErrEpochMoved)
	stranger := random[innkeeper.UserID]()
	_, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: stranger, At: at, Event: event(innkeeper.EventUserChanged, stranger)})
	s.wantErr(err, innkeeper.ErrNotFound)
	same(t, s.storedUser(ada.ID), want)
	same(t, s.events(), before)

	// A change without an event, such as a rehash, logs nothing.
	none := []string{}
	changed, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: ada.ID, IfEpoch: ada.Epoch, At: at, Roles: &none})
	s.must(err)
	if len(changed.Roles) != 0 {
		t.Fatalf("roles are %v, want none", changed.Roles)
	}
	same(t, s.events(), before)
}

func testNewEpoch(t *testing.T, s *suite) {
	ada := s.user("ada")
	carried, left, over := s.session(ada), s.session(ada), s.session(ada)
	s.must(s.Stores.Sessions.EndSession(s.ctx(), ending(over, innkeeper.ReasonLogout)))
	feed := len(s.feed())

	change := newEpoch(ada, innkeeper.ReasonLogoutEverywhere)
	change.NewEpoch.Carry = &carried.ID
	changed, err := s.Users.ChangeUser(s.ctx(), change)
	s.must(err)
	if changed.Epoch != change.NewEpoch.Epoch || changed.EpochReason != innkeeper.ReasonLogoutEverywhere {
		t.Fatalf("the user has epoch %s for %q", changed.Epoch, changed.EpochReason)
	}
	if got := s.feed()[feed:]; len(got) != 1 || got[0].ID != change.NewEpoch.Revocation.ID || got[0].Kind != innkeeper.RevokedUser {
		t.Fatalf("the feed gained %v, want one user entry", got)
	}
	want := carried
	want.Epoch = changed.Epoch
	same(t, s.stored(carried.ID), want)
	same(t, s.stored(left.ID), left)
	_, _, err = s.Stores.Sessions.RotateSession(s.ctx(), rotation(carried))
	s.must(err)
	_, _, err = s.Stores.Sessions.RotateSession(s.ctx(), rotation(left))
	s.wantErr(err, innkeeper.ErrNoMatch)

	// What has ended, or belongs to an older epoch or to somebody else, is not
	// carried back to life.
	for _, dead := range []innkeeper.Session{over, left, s.session(s.user("bob"))} {
		before := s.stored(dead.ID)
		change := newEpoch(changed, innkeeper.ReasonLogoutEverywhere)
		change.NewEpoch.Carry = &dead.ID
		changed, err = s.Users.ChangeUser(s.ctx(), change)
		s.must(err)
		same(t, s.stored(dead.ID), before)
	}

	opened := NewSession(changed)
	change = newEpoch(changed, innkeeper.ReasonPasswordChanged)
	opened.Epoch = change.NewEpoch.Epoch
	change.NewEpoch.Open = &opened
	_, err = s.Users.ChangeUser(s.ctx(), change)
	s.must(err)
	same(t, s.stored(opened.ID), opened)
	_, _, err = s.Stores.Sessions.RotateSession(s.ctx(), rotation(opened))
	s.must(err)
}

func testDeleteUser(t *testing.T, s *suite) {
	ada := s.user("ada")
	session := s.session(ada)
	change := newEpoch(ada, innkeeper.ReasonAdmin)
	change.Delete = true
	change.Event.Kind = innkeeper.EventUserDeleted
	deleted, err := s.Users.ChangeUser(s.ctx(), change)
	s.must(err)
	same(t, deleted, ada)
	_, err = s.Users.User(s.ctx(), ada.ID)
	s.wantErr(err, innkeeper.ErrNotFound)
	if len(s.feed()) != 1 {
		t.Fatal("verifiers were not told")
	}
	_, user, err := s.Stores.Sessions.Session(s.ctx(), session.ID)
	s.must(err)
	if user != nil {
		t.Fatalf("the session still belongs to %+v", user)
	}
	s.user("ada") // the name is free again, for another person
}

func testRoles(t *testing.T, s *suite) {
	roles, err := s.Roles.Roles(s.ctx())
	s.must(err)
	if len(roles) != 1 || roles[0].Name != innkeeper.RoleAdmin {
		t.Fatalf("a new store has roles %v, want admin", roles)
	}
	clerk := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read"}}
	s.must(s.Roles.SetRole(s.ctx(), clerk, event(innkeeper.EventRoleSet, innkeeper.UserID{})))
	ada := s.user("ada")
	_, err = s.Users.ChangeUser(s.ctx(), innkeeper.UserChange{ID: ada.ID, IfEpoch: ada.Epoch, At: Start, Roles: &[]string{"clerk"}})
	s.must(err)
	same(t, s.storedUser(ada.ID).Permissions, []string{"mail:read"})

	clerk.Permissions = []string{"log:read", "mail:send"}
	s.must(s.Roles.SetRole(s.ctx(), clerk, event(innkeeper.EventRoleSet, innkeeper.UserID{})))
	same(t, s.storedUser(ada.ID).Permissions, clerk.Permissions)
	same(t, s.storedUser(ada.ID).Roles, []string{"clerk"})
	roles, err = s.Roles.Roles(s.ctx())
	s.must(err)
	same(t, roles[1], clerk)

	s.must(s.Roles.DeleteRole(s.ctx(), "clerk", event(innkeeper.EventRoleDeleted, innkeeper.UserID{})))
	if left := s.storedUser(ada.ID); len(left.Roles) != 0 || len(left.Permissions) != 0 {
		t.Fatalf("the deleted role left %v %v", left.Roles, left.Permissions)
	}
	s.wantErr(s.Roles.DeleteRole(s.ctx(), "clerk", event(innkeeper.EventRoleDeleted, innkeeper.UserID{})), innkeeper.ErrNotFound)
}

// testDeletedRole holds that whoever had a role that was deleted does not have the
// next one of that name.
func testDeletedRole(t *testing.T, s *suite) {
	clerk := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read"}}
	for range 2 {
		s.must(s.Roles.SetRole(s.ctx(), clerk, innkeeper.Event{}))
	}
	ada := s.user("ada", clerk.Name)
	s.must(s.Roles.DeleteRole(s.ctx(), clerk.Name, innkeeper.Event{}))
	s.must(s.Roles.SetRole(s.ctx(), clerk, innkeeper.Event{}))
	if got := s.storedUser(ada.ID); got.Roles != nil || got.Permissions != nil {
		t.Fatalf("the user has %v %v", got.Roles, got.Permissions)
	}
}
