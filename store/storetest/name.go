package storetest

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/innkeeper-auth/innkeeper"
)

// testNamesOfEveryKind holds that whatever people call themselves, their devices and
// their browsers is kept. Where several values travel as one, no name must be mistaken
// for what separates them.
func testNamesOfEveryKind(t *testing.T, s *suite) {
	clerk := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send"}}
	s.must(s.Roles.SetRole(s.ctx(), clerk, innkeeper.Event{}))
	for _, odd := range []string{
		"", "a", "a b", "a\nb\n", "\n\n\n3\n", "7\nadmin\t", "\t", `\`, `\x00`, `{"a",NULL}`, "@user $1 ?",
		"ünï☎\U0010FFFF", "nul\x00nul", "\xff\xfe", strings.Repeat("x", 300),
	} {
		user := NewUser(odd, innkeeper.RoleAdmin, clerk.Name)
		user.Email = odd + "\n" + odd
		session := NewSession(user)
		session.Device, session.Client.UserAgent = odd, odd
		Create(t, s.Stores, user, session)

		want := user.Subject
		want.Username, want.Email, want.Permissions = s.kept(user.Username), s.kept(user.Email), clerk.Permissions
		r := rotation(session)
		r.Client.UserAgent = odd
		got, subject, err := s.Stores.Sessions.RotateSession(s.ctx(), r)
		s.must(err)
		same(t, subject, want)
		successor := rotated(session, r)
		successor.Device, successor.Client.UserAgent = s.kept(odd), s.kept(odd)
		same(t, got, successor)
		read, reader, err := s.Stores.Sessions.Session(s.ctx(), session.ID)
		s.must(err)
		same(t, read, successor)
		same(t, *reader, want)
		found, err := s.Users.UserByUsername(s.ctx(), user.Username)
		s.must(err)
		same(t, found.Subject, want)
		s.testEventOf(odd)
	}
}

// testEventOf logs an event whose detail is odd. Stores keep details as JSON, which
// knows only Unicode, so what is none may change there.
func (s *suite) testEventOf(odd string) {
	s.t.Helper()
	e := innkeeper.Event{At: Start, Kind: "odd", Actor: innkeeper.Actor(odd), Detail: map[string]string{"k" + odd: odd}}
	s.must(s.Events.AppendEvent(s.ctx(), e))
	events := s.events()
	last := events[len(events)-1]
	if !utf8.ValidString(odd) && !s.has(KeepsOnlyUnicode) {
		return
	}
	e.Seq, e.Actor, e.Detail = last.Seq, innkeeper.Actor(s.kept(odd)), map[string]string{"k" + s.kept(odd): s.kept(odd)}
	same(s.t, last, e)
}

// kept is what the store makes of a text.
func (s *suite) kept(text string) string {
	if !s.has(KeepsOnlyUnicode) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func testNamesWithSpaces(t *testing.T, s *suite) {
	if !s.has(RefusesTornNames) {
		t.Skip("this store tears no names apart")
	}
	for _, role := range []innkeeper.Role{
		{Name: "front desk"},
		{Name: ""},
		{Name: "clerk", Permissions: []string{"read mail"}},
		{Name: "clerk", Permissions: []string{"mail:read\nlog:read"}},
		{Name: "clerk", Permissions: []string{"mail:read\tlog:read"}},
		{Name: "clerk", Permissions: []string{""}},
	} {
		if err := s.Roles.SetRole(s.ctx(), role, innkeeper.Event{}); err == nil {
			t.Errorf("role %+v was stored", role)
		}
	}
	ada := s.user("ada")
	s.session(ada) // whose methods are whole
	session := NewSession(ada)
	session.Methods = []string{"pwd otp"}
	if err := s.Stores.Sessions.CreateSession(s.ctx(), birth(session)); err == nil {
		t.Error("a session with a torn method was stored")
	}
}
