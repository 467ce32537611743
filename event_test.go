package innkeeper_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

// TestEventsByFilter pages through the log in both directions, by several kinds at once.
func TestEventsByFilter(t *testing.T) {
	i := openInn(t)
	for n := range 25 {
		i.clock.advance(time.Minute)
		kind := []innkeeper.EventKind{innkeeper.EventUserChanged, innkeeper.EventTokenReused, innkeeper.EventRoleSet}[n%3]
		i.must(i.store.AppendEvent(ctx, innkeeper.Event{At: i.clock.Now(), Kind: kind}))
	}
	all := i.events()
	two := []innkeeper.EventKind{innkeeper.EventTokenReused, innkeeper.EventRoleSet, innkeeper.EventTokenReused}
	var want []innkeeper.Event
	for _, event := range all {
		if slices.Contains(two, event.Kind) {
			want = append(want, event)
		}
	}
	for name, newest := range map[string]bool{"oldest first": false, "newest first": true} {
		var got []innkeeper.Event
		for filter := (innkeeper.EventFilter{Kinds: two, NewestFirst: newest, Limit: 3}); ; {
			page, err := i.Events(ctx, filter)
			i.must(err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			if last := page[len(page)-1].Seq; newest {
				filter.Before = last
			} else {
				filter.After = last
			}
		}
		if newest {
			slices.Reverse(got)
		}
		if !slices.EqualFunc(got, want, func(a, b innkeeper.Event) bool { return a.Seq == b.Seq }) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	for _, filter := range []innkeeper.EventFilter{
		{Kinds: []innkeeper.EventKind{"no.such"}}, {Limit: 1001}, {Limit: -1}, {After: -1}, {Before: -1, NewestFirst: true},
		{After: 1, NewestFirst: true}, {Before: 1},
	} {
		var input *innkeeper.InputError
		if _, err := i.Events(ctx, filter); !errors.As(err, &input) {
			t.Errorf("%+v gave %v", filter, err)
		}
	}
	i.tap.once("Events", func() error { return errors.New("disk on fire") })
	_, err := i.Events(ctx, innkeeper.EventFilter{})
	i.want(err, innkeeper.ErrUnavailable)
	i.tap.once("LastEvent", func() error { return errors.New("disk on fire") })
	_, err = i.Events(ctx, innkeeper.EventFilter{})
	i.want(err, innkeeper.ErrUnavailable)
}

// TestNobodyWritesIntoTheLog sends what could begin a line, move a cursor or turn a text
// around (ASVS 16.4.1, L1 of the list of standards).
func TestNobodyWritesIntoTheLog(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	agent := "Mozilla\r\n{\"kind\":\"user.deleted\"}\x1b[2J\x00\u202e\u2028\u0085\ufeff ☎\xff"
	_, err := i.Login(ctx, innkeeper.LoginRequest{
		Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody,
		Client: innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: agent},
	})
	i.must(err)
	events := i.events()
	last := events[len(events)-1]
	if want := `Mozilla{"kind":"user.deleted"}[2J ☎`; last.Client.UserAgent != want {
		t.Errorf("the log tells of %q, want %q", last.Client.UserAgent, want)
	}
}

// TestAdminActsNameTheActor does everything that an administrator can, and looks for who
// it was, from where, whom it concerned, and what.
func TestAdminActsNameTheActor(t *testing.T) {
	i := openInn(t)
	root := innkeeper.Requester{
		Actor: innkeeper.UserActor(i.addUser("root").ID), SessionID: i.login("root").Session.ID,
		Client: innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.9"), UserAgent: "desk\n/1"},
	}
	roles, off, on, mail := []string{innkeeper.RoleAdmin}, true, false, "ada@example.org"
	before := len(i.events())

	i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read"}}, root))
	ada, err := i.CreateUser(ctx, innkeeper.NewUser{Username: "ada", Password: rightPassword, Roles: []string{"clerk"}}, root)
	i.must(err)
	i.must(i.EndSession(ctx, i.login("ada").Session.ID, innkeeper.ReasonAdmin, root))
	_, err = i.UpdateUser(ctx, ada.ID, innkeeper.UserUpdate{Roles: &roles, Email: &mail}, root)
	i.must(err)
	_, err = i.UpdateUser(ctx, ada.ID, innkeeper.UserUpdate{Disabled: &off}, root)
	i.must(err)
	_, err = i.UpdateUser(ctx, ada.ID, innkeeper.UserUpdate{Disabled: &on}, root)
	i.must(err)
	i.must(i.SetPassword(ctx, ada.ID, "another good password", root))
	i.must(i.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, root))
	i.must(i.DeleteUser(ctx, ada.ID, root))
	i.must(i.DeleteRole(ctx, "clerk", root))
	_, err = i.EndAllSessions(ctx, innkeeper.ReasonRestored, root)
	i.must(err)
	hook, _, err := i.AddWebhook(ctx, "https://app.example.com/hook?token=hidden", nil, root)
	i.must(err)
	_, err = i.RotateWebhookSecret(ctx, hook.ID, 0, root)
	i.must(err)
	i.must(i.RemoveWebhook(ctx, hook.ID, root))
	service, _, err := i.AddService(ctx, "web", []innkeeper.ServiceScope{innkeeper.ScopeIntrospect}, root)
	i.must(err)
	i.must(i.RemoveService(ctx, service.ID, root))
	i.clock.advance(2 * keyring.MinPublished)
	rotated, err := i.RotateKeys(ctx, root)
	i.must(err)
	_, err = i.RevokeKey(ctx, rotated.Retired, root)
	i.must(err)
	_, err = i.RetireKey(ctx, rotated.Published, root)
	i.must(err)

	facts := map[innkeeper.EventKind]map[string]string{
		innkeeper.EventRoleSet:      {"role": "clerk", "permissions": "mail:read"},
		innkeeper.EventUserCreated:  {"roles": "clerk"},
		innkeeper.EventUserChanged:  {"roles": "admin", "roles_before": "clerk", "email": "changed"},
		innkeeper.EventUserDeleted:  {"username": "ada"},
		innkeeper.EventRoleDeleted:  {"role": "clerk"},
		innkeeper.EventWebhookAdded: {"host": "app.example.com", "webhook": hook.ID.String()},
	}
	seen := map[innkeeper.EventKind]bool{}
	for _, event := range i.events()[before:] {
		if event.Kind == innkeeper.EventSessionStarted {
			continue // her own act
		}
		seen[event.Kind] = true
		if event.Actor != root.Actor || event.Client != (innkeeper.Client{Addr: root.Client.Addr, UserAgent: "desk/1"}) ||
			event.Detail["by_session"] != root.SessionID.String() || event.SessionID == root.SessionID {
			t.Errorf("%s was done by %q: %+v", event.Kind, event.Actor, event)
		}
		for name, want := range facts[event.Kind] {
			if event.Detail[name] != want {
				t.Errorf("%s says %s=%q, want %q", event.Kind, name, event.Detail[name], want)
			}
		}
		for _, fact := range event.Detail {
			if strings.Contains(fact, "hidden") || strings.Contains(fact, rightPassword) || strings.Contains(fact, mail) {
				t.Errorf("%s tells %q", event.Kind, fact)
			}
		}
	}
	for _, kind := range []innkeeper.EventKind{
		innkeeper.EventRoleSet, innkeeper.EventUserCreated, innkeeper.EventUserChanged, innkeeper.EventSessionEnded,
		innkeeper.EventUserDisabled, innkeeper.EventUserEnabled, innkeeper.EventPasswordChanged, innkeeper.EventSessionsEnded,
		innkeeper.EventUserDeleted, innkeeper.EventRoleDeleted, innkeeper.EventAllSessionsEnded, innkeeper.EventWebhookAdded,
		innkeeper.EventWebhookRotated, innkeeper.EventWebhookRemoved, innkeeper.EventServiceAdded,
		innkeeper.EventServiceRemoved, innkeeper.EventKeyRotated, innkeeper.EventKeyPublished, innkeeper.EventKeyRevoked, innkeeper.EventKeyRemoved,
	} {
		if !seen[kind] {
			t.Errorf("nothing says %s", kind)
		}
	}
	_, err = i.ImportUser(ctx, innkeeper.ImportedUser{Username: "carol"}, root)
	i.must(err)
	all := i.events()
	if last := all[len(all)-1]; last.Actor != root.Actor || last.Client.Addr != root.Client.Addr || last.Detail["by_session"] == "" || last.Detail["imported_hash"] == "" {
		t.Errorf("an import is %+v", last)
	}
}

// TestSweepForgetsEvents keeps the log for as long as it is told to, and the newest
// event for good.
func TestSweepForgetsEvents(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.clock.advance(10 * 24 * time.Hour)
	i.addUser("bob")
	for _, test := range []struct {
		after     time.Duration
		retention time.Duration
		left      int
	}{
		{0, 11 * 24 * time.Hour, 2},
		{389 * 24 * time.Hour, 0, 2},
		{24 * time.Hour, -1, 2},
		{24 * time.Hour, 0, 1},
		{1000 * 24 * time.Hour, 0, 1},
	} {
		i.clock.advance(test.after)
		_, err := i.Sweep(ctx, innkeeper.SweepPolicy{EventRetention: test.retention})
		i.must(err)
		if left := i.events(); len(left) != test.left || left[len(left)-1].Kind != innkeeper.EventUserCreated {
			t.Errorf("after %s more and with %s, %d events are left, want %d", test.after, test.retention, len(left), test.left)
		}
	}
}
