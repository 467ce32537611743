package tempest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// evening is a tempest that is over, in which all went well: ada was robbed, and bea
// was not.
func evening(t *testing.T) *tempest {
	t.Helper()
	s := &tempest{
		Config:   Config{Client: Ours, Rotation: Keys, Out: io.Discard},
		register: newRegister(), robbed: map[string]string{}, reported: map[string]bool{}, innocent: map[string]string{},
		kills: map[string]int{"processes": 1}, living: t.Context(),
		events: &eventLog{path: filepath.Join(t.TempDir(), "log"), ends: map[string]string{}},
	}
	for name, session := range map[string]string{"ada": "session-of-ada", "bea": "session-of-bea"} {
		s.people = append(s.people, &member{called: name})
		s.grant(session, name, "/auth/login", "", "first token of "+name)
		s.grant(session, name, refreshPath, "first token of "+name, "second token of "+name)
		s.grant(session, name, refreshPath, "first token of "+name, "second token of "+name)
	}
	s.register.faults[slowAnswer] = 1
	s.robbed["session-of-ada"] = "ada"
	s.log(t, `{"msg":"event","kind":"refresh_token.reused","session":"session-of-ada","reason":"reuse"}`)
	return s
}

// grant is an answer with tokens, as the injector sees it.
func (s *tempest) grant(session, person, path, parent, successor string) {
	q := ask(parent, "")
	q.path = path
	s.register.note(q, &answer{
		status: http.StatusOK, header: http.Header{"Set-Cookie": {refreshCookie + "=" + fmt.Sprintf("%q", successor)}},
		body: fmt.Appendf(nil, `{"session":{"id":%q,"generation":2},"user":{"username":%q}}`, session, person),
	})
}

func (s *tempest) log(t *testing.T, line string) {
	t.Helper()
	f, err := os.OpenFile(s.events.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestJudge finds what is wrong, one thing at a time.
func TestJudge(t *testing.T) {
	cases := map[string]struct {
		happens func(*testing.T, *tempest)
		problem string // empty: none
	}{
		"all is well": {func(*testing.T, *tempest) {}, ""},
		"the server ends an honest session": {func(t *testing.T, s *tempest) {
			s.log(t, `{"msg":"event","kind":"refresh_token.reused","session":"session-of-bea","reason":"reuse"}`)
		}, "1 honest sign-outs"},
		"a client gives an honest session up": {func(_ *testing.T, s *tempest) {
			s.over = true
			s.signedOut(s.people[0], "session-of-bea", "for no reason")
			s.signedOut(s.people[0], "session-of-bea", "another tab says so too")
		}, "1 honest sign-outs"},
		"a client that was robbed signs out": {func(_ *testing.T, s *tempest) {
			s.over = true
			s.signedOut(s.people[0], "session-of-ada", "theft")
		}, ""},
		"a thief goes unseen": {func(_ *testing.T, s *tempest) {
			s.robbed["session-of-bea"] = "bea"
		}, "2 thefts were planted, 1 detected"},
		"a theft ends for another reason": {func(t *testing.T, s *tempest) {
			s.robbed["session-of-bea"] = "bea"
			s.log(t, `{"msg":"event","kind":"session.ended","session":"session-of-bea","reason":"logout"}`)
		}, "2 thefts were planted, 2 detected, 1 of them as such"},
		"a second successor": {func(_ *testing.T, s *tempest) {
			s.grant("session-of-bea", "bea", refreshPath, "first token of bea", "another second token of bea")
		}, "1 tokens have two different successors"},
		"nobody was killed": {func(_ *testing.T, s *tempest) { clear(s.kills) }, "not one kill"},
		"nobody was robbed": {func(_ *testing.T, s *tempest) {
			clear(s.robbed)
			s.events.ends, s.events.at = map[string]string{}, 1<<20
		}, "not one theft"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := evening(t)
			c.happens(t, s)
			o := s.judge()
			if got := strings.Join(o.Problems, "; "); c.problem == "" && got != "" || !strings.Contains(got, c.problem) {
				t.Errorf("problems %q, want %q", got, c.problem)
			}
		})
	}
}

// TestBaseline is only counted.
func TestBaseline(t *testing.T) {
	s := evening(t)
	s.Client = Tutorial
	s.log(t, `{"msg":"event","kind":"refresh_token.reused","session":"session-of-bea","reason":"reuse"}`)
	o := s.judge()
	if len(o.Problems) > 0 || o.SignOuts != 1 || o.Who != 1 || o.Outcomes["replayed"] != 2 {
		t.Errorf("%+v", o)
	}
	if want := "| tutorial | keys | 2 | 4 | 1 | 1 | 1 | 1 |"; o.Row() != want {
		t.Errorf("the row is %s, want %s", o.Row(), want)
	}
}

// TestSameSeedSameFaults draws the same faults again, and all kinds of them.
func TestSameSeedSameFaults(t *testing.T) {
	seen := map[kind]bool{}
	for n := range uint64(2_000) {
		s := &tempest{Config: Config{Seed: 7}}
		f, again := oddsOf(refreshPath).draw(s.rng(n)), oddsOf(refreshPath).draw(s.rng(n))
		if f != again || f.pause > longestPause || f.pause > 4*time.Second {
			t.Fatalf("%v, and then %v", f, again)
		}
		seen[f.kind] = true
	}
	for _, one := range oddsOf(refreshPath) {
		if !seen[one.kind] {
			t.Errorf("%q never happens", one.kind)
		}
	}
	if oddsOf("/auth/login") != nil {
		t.Error("signing in is spared")
	}
}
