package main

import (
	"slices"
	"testing"
	"time"
)

// TestCheckerBites feeds the checker histories that no correct server can produce,
// each beside the honest one that it was made from. A checker that cannot fail
// proves nothing.
func TestCheckerBites(t *testing.T) {
	cases := []struct {
		name string
		tell func(*story)
	}{
		{"lost write", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t1", 1, "k1").wrongly().rotates("another", 2)
		}},
		{"lost write seen by the next refresh", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t2", 2, "k2").wrongly().refused(401, "session_ended", "restored")
		}},
		{"two successors in a race", func(s *story) {
			s.refresh("t1", 1, "k1").during(0, 20).rotates("t2", 2)
			s.refresh("t1", 1, "k1").during(10, 30).wrongly().rotates("t2b", 2)
		}},
		{"replay with other bytes, after an unknown outcome", func(s *story) {
			s.refresh("t1", 1, "k1").unanswered()
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t1", 1, "k1").wrongly().rotates("t2b", 2)
		}},
		{"rotated twice", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t2", 2, "k2").wrongly().rotates("t4", 4)
		}},
		{"superseded although it is the parent", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t1", 1, "k1").wrongly().refused(409, "refresh_superseded", "")
		}},
		{"superseded with the key of another generation", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t2", 2, "k2").rotates("t3", 3)
			s.refresh("t3", 3, "k3").rotates("t4", 4)
			s.refresh("t1", 1, "k2").wrongly().refused(409, "refresh_superseded", "")
		}},
		{"a theft that goes unseen", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t1", 1, "of a thief").wrongly().rotates("t2", 2)
		}},
		{"a theft that does not end the session", func(s *story) {
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t1", 1, "of a thief").refused(401, "refresh_token_reused", "")
			s.refresh("t2", 2, "k2").wrongly().rotates("t3", 3)
		}},
		{"a false alarm", func(s *story) {
			s.refresh("t1", 1, "k1").unanswered()
			s.refresh("t1", 1, "k1").wrongly().refused(401, "refresh_token_reused", "")
		}},
		{"alive after a logout", func(s *story) {
			s.logOut("t1", 1).succeeds(204)
			s.me("e1").wrongly().sees()
		}},
		{"rotated after a logout", func(s *story) {
			s.logOut("t1", 1).succeeds(204)
			s.refresh("t1", 1, "k1").wrongly().rotates("t2", 2)
		}},
		{"alive, dead, alive", func(s *story) {
			s.logOut("t1", 1).during(0, 100).succeeds(204)
			s.me("e1").during(10, 20).sees()
			s.me("e1").during(30, 40).refused(401, "access_token_revoked", "")
			s.me("e1").during(50, 60).wrongly().sees()
		}},
		{"a false 401 of an access token", func(s *story) {
			s.me("e1").wrongly().refused(401, "access_token_revoked", "")
		}},
		{"a 401 that no session deserves", func(s *story) {
			s.me("e1").wrongly().refused(401, "access_token_invalid", "")
		}},
		{"a false end of a session", func(s *story) {
			s.refresh("t1", 1, "k1").wrongly().refused(401, "session_ended", "expired")
		}},
		{"ended for another reason", func(s *story) {
			s.logOut("t1", 1).succeeds(204)
			s.refresh("t1", 1, "k1").wrongly().refused(401, "session_ended", "reuse")
		}},
		{"another reason, long after the end", func(s *story) {
			s.admin(Disable).succeeds(200)
			s.logOut("t1", 1).succeeds(204)
			s.refresh("t1", 1, "k1").wrongly().refused(401, "session_ended", "logout")
		}},
		{"everywhere that forgets a session", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.wide(Everywhere, "e1").succeeds(204)
			s.wrongly().present("other", "u1", 1, "k9").answers(Outcome{Status: 200, Session: "other", Generation: 2, Token: "u2", Epoch: "e2"})
		}},
		{"an access token of an epoch that is over", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.wide(Others, "e1").succeeds(204)
			s.refresh("t1", 1, "k1").wrongly().rotates("t2", 2)
		}},
		{"others that ends the one that asked", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.wide(Others, "e1").succeeds(204)
			s.refresh("t1", 1, "k1").wrongly().refused(401, "session_ended", "logout_everywhere")
		}},
		{"a list that lacks a session", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.list("e1").wrongly().lists("mine")
		}},
		{"a list with one that is over", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.logOut("t1", 1).succeeds(204)
			s.me("e1").wrongly().lists("mine", "other")
		}},
		{"a list with a stranger", func(s *story) {
			s.list("e1").wrongly().lists("mine", "stranger")
		}},
		{"a sign-in while locked out", func(s *story) {
			s.admin(Disable).succeeds(200)
			s.wrongly().signIn("other", "u1", "e2")
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			if s.lie < 0 {
				t.Fatal("the story does not say what is wrong with it")
			}
			for _, s.Store = range []string{onPostgres, onRedis} {
				if got := check(&s.History); got != violated {
					t.Errorf("%s: got %s, want violated", s.Store, got)
				}
			}
			s.Operations = slices.Delete(s.Operations, s.lie, s.lie+1)
			if got := check(&s.History); got != linearizable {
				t.Errorf("without the lie: got %s, want linearizable", got)
			}
		})
	}
}

// TestCheckerIsFair feeds the checker what a correct server may well answer when
// requests race, or go unanswered.
func TestCheckerIsFair(t *testing.T) {
	cases := []struct {
		name string
		tell func(*story)
	}{
		{"a race with one key", func(s *story) {
			s.refresh("t1", 1, "k1").during(0, 20).rotates("t2", 2)
			s.refresh("t1", 1, "k1").during(10, 30).rotates("t2", 2)
		}},
		{"an unanswered refresh that was carried out", func(s *story) {
			s.refresh("t1", 1, "k1").unanswered()
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.refresh("t2", 2, "k2").rotates("t3", 3)
		}},
		{"an unanswered refresh that was carried out late", func(s *story) {
			s.refresh("t1", 1, "stolen").unanswered()
			s.me("e1").sees()
			s.refresh("t1", 1, "k1").refused(401, "refresh_token_reused", "")
		}},
		{"an unanswered logout that was carried out much later", func(s *story) {
			s.logOut("t1", 1).unanswered()
			s.refresh("t1", 1, "k1").rotates("t2", 2)
			s.me("e1").sees()
			s.refresh("t2", 2, "k2").refused(401, "session_ended", "logout")
		}},
		{"a duplicate of nine generations ago", func(s *story) {
			s.refresh("t1", 1, "k1").unanswered()
			for g := 1; g <= 9; g++ {
				name := func(letter string, g int) string { return letter + string(rune('0'+g)) }
				token := name("t", g+1)
				s.refresh(name("t", g), g, name("k", g)).rotates(token, g+1)
			}
			s.me("e1").refused(401, "access_token_revoked", "")
		}},
		{"an administrator who tries again and again", func(s *story) {
			for range 3 {
				s.admin(Disable).unanswered()
			}
			s.me("e1").sees()
			s.admin(Disable).succeeds(200)
			for range 3 {
				s.admin(Enable).unanswered()
			}
			s.admin(Enable).succeeds(200)
			s.refresh("t1", 1, "k1").refused(401, "session_ended", "user_disabled")
			s.signIn("other", "u1", "e2")
			s.list("e1").refused(401, "access_token_revoked", "")
		}},
		{"others, and a refresh that renews", func(s *story) {
			s.signIn("other", "u1", "e1")
			s.wide(Others, "e1").succeeds(204)
			s.me("e1").refused(401, "access_token_revoked", "")
			s.refresh("t1", 1, "k1").answers(Outcome{Status: 200, Session: "mine", Generation: 2, Token: "t2", Epoch: "e2"})
			s.me("e2").sees()
			s.list("e2").lists("mine")
		}},
		{"an unanswered sign-in that a list shows", func(s *story) {
			s.present("", "", 0, "").as(SignIn).unanswered()
			s.list("e1").lists("mine")
			s.list("e1").lists("mine", "unheard of")
			s.list("e1").lists("mine", "unheard of")
		}},
		{"a logout between the look at the token and the work", func(s *story) {
			s.list("e1").during(0, 30).lists()
			s.logOut("t1", 1).during(10, 20).succeeds(204)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			if got := check(&s.History); got != linearizable {
				t.Errorf("got %s, want linearizable", got)
			}
		})
	}
}

// TestSessionsApart feeds the checker what may be seen where sessions are kept apart
// from users, and nowhere else.
func TestSessionsApart(t *testing.T) {
	cases := []struct {
		name string
		tell func(*story)
	}{
		{"a list that is read in two steps", func(s *story) {
			s.list("e1").during(20, 100).lists("mine", "other")
			s.logOut("t1", 1).during(30, 40).succeeds(204)
			s.signIn("other", "u1", "e1")
			s.op().Call, s.op().Return = 50, 60
		}},
		{"a sign-in that is taken back", func(s *story) {
			s.present("", "", 0, "").as(SignIn).unanswered()
			s.list("e1").lists("mine", "unheard of")
			s.list("e1").lists("mine")
		}},
		{"a logout that ends what somebody else has just ended", func(s *story) {
			s.logOut("t1", 1).during(0, 30).succeeds(204)
			s.admin(Disable).during(5, 10).succeeds(200)
			s.refresh("t1", 1, "k1").during(15, 20).refused(401, "session_ended", "user_disabled")
			s.refresh("t1", 1, "k1").during(40, 50).refused(401, "session_ended", "logout")
		}},
		{"an access token of the epoch before", func(s *story) {
			s.wide(Others, "e1").during(0, 50).succeeds(204)
			s.me("e1").during(30, 40).refused(401, "access_token_revoked", "")
			s.refresh("t1", 1, "k1").during(45, 60).answers(
				Outcome{Status: 200, Session: "mine", Generation: 2, Token: "t2", Epoch: "e1"})
			s.refresh("t2", 2, "k2").during(70, 80).answers(
				Outcome{Status: 200, Session: "mine", Generation: 3, Token: "t3", Epoch: "e2"})
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			if s.Store = onRedis; check(&s.History) != linearizable {
				t.Error("redis: got violated, want linearizable")
			}
			if s.Store = onPostgres; check(&s.History) != violated {
				t.Error("postgres: got linearizable, want violated")
			}
		})
	}
}

// story is a history told by hand. One thing happens after the other, unless it
// says when.
type story struct {
	History
	clock time.Duration
	lie   int // the operation that is wrong; negative: none
}

// newStory begins with a sign-in: session "mine", token t1, epoch e1.
func newStory() *story {
	s := &story{lie: -1}
	s.signIn("mine", "t1", "e1")
	s.clock = 0
	s.Operations[0].Call, s.Operations[0].Return = -2, -1
	return s
}

// event is the latest operation of a story.
type event struct{ *story }

func (s *story) op() *Operation { return &s.Operations[len(s.Operations)-1] }

func (s *story) begin(kind Kind, in Input) event {
	s.Operations = append(s.Operations, Operation{
		Client: len(s.Operations), User: "ada", Kind: kind, Input: in, Call: s.clock, Return: s.clock + 5,
	})
	s.clock += 10
	return event{s}
}

func (s *story) signIn(session, token, epoch string) {
	s.begin(SignIn, Input{}).answers(Outcome{Status: 200, Session: session, Generation: 1, Token: token, Epoch: epoch})
}

func (s *story) present(session, token string, generation int, key string) event {
	return s.begin(Refresh, Input{Session: session, Token: token, Generation: generation, Key: key, Label: generation})
}

func (s *story) refresh(token string, generation int, key string) event {
	return s.present("mine", token, generation, key)
}

func (s *story) logOut(token string, generation int) event {
	return s.begin(Logout, Input{Session: "mine", Token: token, Generation: generation})
}

func (s *story) me(epoch string) event { return s.begin(Me, Input{Session: "mine", Epoch: epoch}) }

func (s *story) list(epoch string) event {
	return s.begin(Sessions, Input{Session: "mine", Epoch: epoch})
}

func (s *story) wide(scope Kind, epoch string) event {
	return s.begin(scope, Input{Session: "mine", Epoch: epoch})
}

func (s *story) admin(kind Kind) event { return s.begin(kind, Input{}) }

// wrongly says that the next operation is the one that is wrong.
func (s *story) wrongly() *story {
	s.lie = len(s.Operations)
	return s
}

// wrongly says that this operation is the one that is wrong.
func (e event) wrongly() event {
	e.lie = len(e.Operations) - 1
	return e
}

func (e event) as(kind Kind) event {
	e.op().Kind = kind
	return e
}

func (e event) during(from, to time.Duration) event {
	e.op().Call, e.op().Return = from, to
	return e
}

func (e event) answers(out Outcome) { e.op().Outcome = out }
func (e event) unanswered()         { e.answers(Outcome{Unknown: true}) }
func (e event) succeeds(status int) { e.answers(Outcome{Status: status}) }
func (e event) sees()               { e.answers(Outcome{Status: 200, Session: e.op().Session}) }
func (e event) lists(all ...string) {
	e.op().Kind = Sessions
	e.answers(Outcome{Status: 200, Sessions: all})
}
func (e event) rotates(token string, generation int) {
	e.answers(Outcome{Status: 200, Session: e.op().Session, Generation: generation, Token: token, Epoch: "e1"})
}

func (e event) refused(status int, code, reason string) {
	e.answers(Outcome{Status: status, Code: code, Reason: reason})
}
