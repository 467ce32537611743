package innkeeper_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// --- opening -----------------------------------------------------------------

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*innkeeper.Config){
		"clock":            func(c *innkeeper.Config) { c.Clock = nil },
		"issuer":           func(c *innkeeper.Config) { c.Issuer = "" },
		"access-ttl":       withPolicy(innkeeper.Policy{AccessTTL: 4 * time.Second}),
		"refresh-idle-ttl": withPolicy(innkeeper.Policy{AccessTTL: time.Hour, IdleTTL: time.Minute}),
		"session-ttl":      withPolicy(innkeeper.Policy{IdleTTL: 2 * time.Hour, SessionTTL: time.Hour}),
		"refresh-leeway":   withPolicy(innkeeper.Policy{RefreshLeeway: time.Minute + 1}),
	} {
		config := openInn(t).config
		change(&config)
		_, err := innkeeper.Open(ctx, config)
		var input *innkeeper.InputError
		if !errors.As(err, &input) || input.Field != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, issuer := range []string{
		"auth.example.com", "ftp://auth.example.com", "https://auth.example.com/", "https://auth.example.com?a=b",
		"https://auth.example.com#a", "https://ada@auth.example.com", "https://", "://",
	} {
		config := openInn(t).config
		config.Issuer = issuer
		if _, err := innkeeper.Open(ctx, config); err == nil {
			t.Errorf("issuer %q was accepted", issuer)
		}
	}
}

func TestOpenRefusesTheWrongRootKey(t *testing.T) {
	i := openInn(t)
	config := i.config
	config.RootKeys = ringOf(t, rootkey.Generate())
	_, err := innkeeper.Open(ctx, config)
	i.want(err, innkeeper.ErrWrongRootKey)

	config.RootKeys = rootkey.Ring{}
	if _, err := innkeeper.Open(ctx, config); err == nil {
		t.Error("no root key at all was accepted")
	}
	checks, err := i.store.RootKeyChecks(ctx)
	i.must(err)
	if len(checks) != 1 {
		t.Errorf("the store knows %d root keys: a refused one was remembered", len(checks))
	}
	_, err = innkeeper.Open(ctx, i.config)
	i.must(err)
}

// A root key is replaced in two steps, so that each server verifies before any
// mints: [old, new] everywhere, then [new, old]. Nobody is signed out on the way,
// and a retry that spans the change gets the very bytes that were lost.
func TestRootKeyIsReplacedWithoutSigningAnyoneOut(t *testing.T) {
	old := rootkey.Generate()
	fresh := generateBeside(old)
	before := openInn(t, withRoots(ringOf(t, old)))
	verifies := openInnOn(t, before.store, before.clock, withRoots(ringOf(t, old, fresh)))
	mints := openInnOn(t, before.store, before.clock, withRoots(ringOf(t, fresh, old)))
	before.addUser("ada")

	first := before.login("ada")
	second := before.refresh(first, ownKey(first))
	for name, server := range map[string]*inn{"[old, new]": verifies, "[new, old]": mints} {
		if again := server.refresh(first, ownKey(first)); again.RefreshToken.Reveal() != second.RefreshToken.Reveal() {
			t.Errorf("%s replays what [old] minted with other bytes", name)
		}
	}
	third := mints.refresh(second, ownKey(second))
	for name, server := range map[string]*inn{"[old, new]": verifies, "[new, old]": mints} {
		if again := server.refresh(second, ownKey(second)); again.RefreshToken.Reveal() != third.RefreshToken.Reveal() {
			t.Errorf("%s replays what [new, old] minted with other bytes", name)
		}
	}
	if third.RefreshToken.Reveal()[:8] == second.RefreshToken.Reveal()[:8] {
		t.Error("the new root key does not mint")
	}
	// A server that was forgotten on the way knows nothing of the new key. It cannot
	// judge, so it must not end anything.
	_, err := before.try(second, ownKey(second))
	before.want(err, innkeeper.ErrUnavailable)
	_, err = before.try(third, ownKey(third))
	before.want(err, innkeeper.ErrRefreshTokenInvalid)
	if row := before.row(first.Session.ID); row.Ended() {
		t.Errorf("the session was ended: %s", row.Reason)
	}
	fourth := verifies.refresh(third, ownKey(third))
	mints.refresh(fourth, ownKey(fourth))
}

// --- signing in ----------------------------------------------------------------

func TestLoginOpensASession(t *testing.T) {
	i := openInn(t)
	i.must(i.SetRole(ctx, innkeeper.Role{Name: "mail", Permissions: []string{"mail:read"}}, innkeeper.ActorOperator))
	user, err := i.CreateUser(ctx, innkeeper.NewUser{
		Username: "Ada", Password: rightPassword, Email: "ada@example.com", Roles: []string{"mail"},
	}, innkeeper.ActorOperator)
	i.must(err)
	client := innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.7"), UserAgent: "Mosaic"}
	grant, err := i.Login(ctx, innkeeper.LoginRequest{
		Username: "aDA", Password: rightPassword, Delivery: innkeeper.DeliverByCookie, Device: "desk", Client: client,
	})
	i.must(err)

	row := i.row(grant.Session.ID)
	if !reflect.DeepEqual(*row, grant.Session) {
		t.Errorf("the grant tells of\n%+v\nthe store keeps\n%+v", grant.Session, *row)
	}
	if row.Generation != 1 || row.UserID != user.ID || row.Device != "desk" || row.Client != client || row.Ended() {
		t.Errorf("the row is %+v", row)
	}
	if !row.CreatedAt.Equal(opening) || !row.ExpiresAt.Equal(opening.Add(30*24*time.Hour).Truncate(time.Second)) {
		t.Errorf("the session lives from %s to %s", row.CreatedAt, row.ExpiresAt)
	}
	token := grant.RefreshToken
	if token.SessionID() != row.ID || token.Generation() != 1 || token.Delivery() != innkeeper.DeliverByCookie ||
		!token.ExpiresAt().Equal(row.RefreshExpiresAt) {
		t.Errorf("the token is of session %s, generation %d, by %s, until %s",
			token.SessionID(), token.Generation(), token.Delivery(), token.ExpiresAt())
	}
	got := claims(t, grant.AccessToken)
	for claim, want := range map[string]any{
		"iss": "https://auth.example.com", "sub": user.ID.String(), "sid": row.ID.String(), "username": "ada",
		"email": "ada@example.com", "epoch": user.Epoch.String(), "auth_time": float64(opening.Unix()),
		"iat": float64(opening.Unix()), "exp": float64(opening.Unix() + 900),
		"roles": []any{"mail"}, "permissions": []any{"mail:read"}, "amr": []any{"pwd"},
	} {
		if !reflect.DeepEqual(got[claim], want) {
			t.Errorf("claim %s is %v, want %v", claim, got[claim], want)
		}
	}
	if caller := i.caller(grant); caller.Session.ID != row.ID || caller.Subject.ID != user.ID {
		t.Errorf("the access token authenticates %+v", caller)
	}
}

// A stranger learns nothing from the answer: it is one error for all.
func TestLoginTellsNobodyWhoExists(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	bob := i.addUser("bob")
	disable := true
	_, err := i.UpdateUser(ctx, bob.ID, innkeeper.UserUpdate{Disabled: &disable}, innkeeper.ActorOperator)
	i.must(err)
	for name, credentials := range map[string][2]string{
		"wrong password":                 {"ada", wrongPassword},
		"no password":                    {"ada", ""},
		"unknown user":                   {"eve", rightPassword},
		"a name that cannot be one":      {"no spaces allowed", rightPassword},
		"no name":                        {"", rightPassword},
		"disabled user, right password":  {"bob", rightPassword},
		"disabled user, wrong password":  {"bob", wrongPassword},
		"a password that is not UTF-8":   {"ada", "\xff\xff\xff\xff\xff\xff\xff\xff"},
		"a password of another spelling": {"ada", strings.ToUpper(rightPassword)},
	} {
		i.tap.forget()
		logged, observed := len(i.events()), len(i.observed.events)
		grant, err := i.Login(ctx, innkeeper.LoginRequest{
			Username: credentials[0], Password: credentials[1], Delivery: innkeeper.DeliverByBody,
		})
		if err != innkeeper.ErrInvalidCredentials || grant != nil { //nolint:errorlint // the very same error, not one that wraps it
			t.Errorf("%s: got %v", name, err)
		}
		// Nor does the time that it takes: the same is written for those who do not exist.
		calls := i.tap.forget()
		delete(calls, "UserByUsername")
		if !maps.Equal(calls, map[string]int{"Attempts": 2, "SwapAttempts": 2}) || len(i.events()) != logged {
			t.Errorf("%s: the store was asked %v, and %d events logged", name, calls, len(i.events())-logged)
		}
		if got := kinds(i.observed.events[observed:]); !slices.Equal(got, []innkeeper.EventKind{innkeeper.EventLoginFailed}) {
			t.Errorf("%s: observed %v", name, got)
		}
	}
}

func TestLoginRefusesWhatItCannotKeep(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	for field, change := range map[string]func(*innkeeper.LoginRequest){
		"delivery": func(r *innkeeper.LoginRequest) { r.Delivery = "" },
		"device":   func(r *innkeeper.LoginRequest) { r.Device = strings.Repeat("x", 101) },
	} {
		req := innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody}
		change(&req)
		_, err := i.Login(ctx, req)
		var input *innkeeper.InputError
		if !errors.As(err, &input) || input.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

// A session is born under the epoch that was read together with the password, or
// not at all.
func TestLoginWhileTheUserChanges(t *testing.T) {
	login := innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody}
	t.Run("the password is changed after it was checked", func(t *testing.T) {
		i := openInn(t)
		ada := i.addUser("ada")
		i.tap.once("CreateSession", func() error {
			return i.SetPassword(ctx, ada.ID, otherPassword, innkeeper.ActorOperator)
		})
		_, err := i.Login(ctx, login)
		i.want(err, innkeeper.ErrInvalidCredentials)
	})
	t.Run("the user is disabled after it was checked", func(t *testing.T) {
		i := openInn(t)
		ada := i.addUser("ada")
		i.tap.once("CreateSession", func() error { return i.disable(ada.ID) })
		_, err := i.Login(ctx, login)
		i.want(err, innkeeper.ErrInvalidCredentials)
	})
	t.Run("all are logged out after it was checked: the password is proven again", func(t *testing.T) {
		i := openInn(t)
		ada := i.addUser("ada")
		i.tap.once("CreateSession", func() error {
			return i.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
		})
		grant, err := i.Login(ctx, login)
		i.must(err)
		i.refresh(grant, noKey)
	})
	t.Run("it never stands still: no verdict", func(t *testing.T) {
		i := openInn(t)
		ada := i.addUser("ada")
		i.tap.always("CreateSession", func() error {
			return i.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
		})
		_, err := i.Login(ctx, login)
		i.want(err, innkeeper.ErrUnavailable)
	})
}

func (i *inn) disable(id innkeeper.UserID) error {
	yes := true
	_, err := i.UpdateUser(ctx, id, innkeeper.UserUpdate{Disabled: &yes}, innkeeper.ActorOperator)
	return err
}

func (i *inn) enable(id innkeeper.UserID) error {
	no := false
	_, err := i.UpdateUser(ctx, id, innkeeper.UserUpdate{Disabled: &no}, innkeeper.ActorOperator)
	return err
}

// S1: a browser that signs in again leaves no live session behind.
func TestLoginReplacesTheSessionThatItArrivesWith(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.addUser("bob")
	old := i.login("ada")
	moved := i.refresh(old, ownKey(old))
	replace := func(who, pw, with string) (*innkeeper.Grant, error) {
		return i.Login(ctx, innkeeper.LoginRequest{
			Username: who, Password: pw, Delivery: innkeeper.DeliverByBody, Replaces: with,
		})
	}

	_, err := replace("ada", wrongPassword, moved.RefreshToken.Reveal())
	i.want(err, innkeeper.ErrInvalidCredentials)
	if i.row(old.Session.ID).Ended() {
		t.Fatal("a sign-in that failed has ended the session")
	}
	// Any token of the session names it, a dead one too, and whoever signs in: it is
	// the browser that changes hands.
	grant, err := replace("bob", rightPassword, old.RefreshToken.Reveal())
	i.must(err)
	_, err = i.try(moved, ownKey(moved))
	i.wantEnded(err, innkeeper.ReasonReplaced)
	if feed := i.feed(); len(feed) != 1 || feed[0].ID != old.Session.ID.String() {
		t.Errorf("the feed is %+v, want the replaced session", feed)
	}

	// What has ended already, or was never ours, is no obstacle.
	for _, with := range []string{old.RefreshToken.Reveal(), "ikr_forged", ""} {
		other, err := replace("ada", rightPassword, with)
		i.must(err)
		if other.Session.ID == grant.Session.ID {
			t.Error("an old session was revived")
		}
	}
	i.refresh(grant, noKey)
}

// Every event that is written is observed, that of a replaced session too.
func TestLoginObservesTheEndOfTheReplacedSession(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	old := i.login("ada")
	_, err := i.Login(ctx, innkeeper.LoginRequest{
		Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody, Replaces: old.RefreshToken.Reveal(),
	})
	i.must(err)
	if got, want := kinds(i.observed.events), kinds(i.events()); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("observed %v\nwritten  %v", got, want)
	}
}

func kinds(events []innkeeper.Event) []innkeeper.EventKind {
	var kinds []innkeeper.EventKind
	for _, event := range events {
		kinds = append(kinds, event.Kind)
	}
	return kinds
}

func sorted(kinds []innkeeper.EventKind) []innkeeper.EventKind {
	return slices.Sorted(slices.Values(kinds))
}

func TestSignUp(t *testing.T) {
	signup := innkeeper.SignupRequest{
		LoginRequest: innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody},
		Email:        "ada@example.com",
	}
	closed := openInn(t)
	_, err := closed.SignUp(ctx, signup)
	closed.want(err, innkeeper.ErrSignupClosed)
	if calls := closed.tap.forget(); len(calls) != 0 {
		t.Errorf("a closed sign-up asked the store: %v", calls)
	}

	i := openInn(t, withSignupOpen)
	grant, err := i.SignUp(ctx, signup)
	i.must(err)
	if grant.Subject.Username != "ada" || grant.Subject.Email != "ada@example.com" || len(grant.Subject.Roles) != 0 {
		t.Errorf("signed up as %+v", grant.Subject)
	}
	i.refresh(grant, ownKey(grant))
	signup.Username = "ADA"
	_, err = i.SignUp(ctx, signup)
	i.want(err, innkeeper.ErrUsernameTaken)
	signup.Username, signup.Password = "bob", "short"
	_, err = i.SignUp(ctx, signup)
	var rejected *password.RejectedError
	if !errors.As(err, &rejected) {
		t.Errorf("a short password: got %v", err)
	}
	if _, err := i.UserByUsername(ctx, "bob"); !errors.Is(err, innkeeper.ErrNotFound) {
		t.Errorf("a rejected sign-up left a user: %v", err)
	}
}

// Whoever disables a new user before their first session is stored makes the
// sign-up a failed sign-in, and no internal error comes out.
func TestSignUpWhileTheUserChanges(t *testing.T) {
	i := openInn(t, withSignupOpen)
	i.tap.once("CreateSession", func() error {
		user, err := i.UserByUsername(ctx, "ada")
		i.must(err)
		return i.disable(user.ID)
	})
	_, err := i.SignUp(ctx, innkeeper.SignupRequest{LoginRequest: innkeeper.LoginRequest{
		Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody,
	}})
	if err == nil || errors.Is(err, innkeeper.ErrEpochMoved) || errors.Is(err, innkeeper.ErrNoMatch) {
		t.Errorf("got %v, want an error that is made for callers", err)
	}
}

// --- refreshing ------------------------------------------------------------------

// Each row of the decision table, through the front door.
func TestRefreshRows(t *testing.T) {
	// The scene: ada has refreshed nine times, each time with a key. chain[g] is what
	// she held at generation g.
	type stay struct {
		*inn
		user  *innkeeper.User
		chain []*innkeeper.Grant
	}
	open := func(t *testing.T) stay {
		s := stay{inn: openInn(t), chain: make([]*innkeeper.Grant, 11)}
		s.user = s.addUser("ada")
		s.chain[1] = s.login("ada")
		for g := 1; g < 10; g++ {
			s.chain[g+1] = s.refresh(s.chain[g], ownKey(s.chain[g]))
		}
		return s
	}
	const current, parent = 10, 9
	reused := func(s stay, err error) {
		s.t.Helper()
		s.want(err, innkeeper.ErrRefreshTokenReused)
		if row := s.row(s.chain[1].Session.ID); row.Reason != innkeeper.ReasonReuse || s.count(innkeeper.EventTokenReused) != 1 {
			s.t.Errorf("the row says %q, and there are %d alarms", row.Reason, s.count(innkeeper.EventTokenReused))
		}
		_, err = s.try(s.chain[current], ownKey(s.chain[current]))
		s.wantEnded(err, innkeeper.ReasonReuse)
	}
	unchanged := func(s stay, before *innkeeper.Session) {
		s.t.Helper()
		if after := s.row(before.ID); !reflect.DeepEqual(after, before) {
			s.t.Errorf("the row was\n%+v\nand is\n%+v", *before, *after)
		}
	}
	for name, test := range map[string]func(t *testing.T, s stay){
		"1 malformed": func(_ *testing.T, s stay) {
			_, err := s.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{"ikr_"}, Delivery: innkeeper.DeliverByBody})
			s.want(err, innkeeper.ErrRefreshTokenInvalid)
		},
		"1 wrong delivery": func(t *testing.T, s stay) {
			before := s.row(s.chain[1].Session.ID)
			for _, way := range []innkeeper.Delivery{innkeeper.DeliverByCookie, "", "carrier pigeon"} {
				_, err := s.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{s.chain[current].RefreshToken.Reveal()}, Delivery: way})
				s.want(err, innkeeper.ErrRefreshTokenInvalid)
			}
			unchanged(s, before)
		},
		"1b mislabeled": func(t *testing.T, s stay) {
			before := s.row(s.chain[1].Session.ID)
			_, err := s.try(s.chain[parent], ownKey(s.chain[current]))
			var mismatch *innkeeper.GenerationMismatchError
			if !errors.As(err, &mismatch) || mismatch.Generation != parent {
				t.Fatalf("got %v, want to be told of generation %d", err, parent)
			}
			unchanged(s, before)
			// What the client does next: it sends the key of the generation it was told.
			if again := s.refresh(s.chain[parent], ownKey(s.chain[parent])); again.RefreshToken.Reveal() != s.chain[current].RefreshToken.Reveal() {
				t.Error("the jar that was rolled back was not brought forward")
			}
		},
		"2 expired": func(_ *testing.T, s stay) {
			before := s.row(s.chain[1].Session.ID)
			s.clock.advance(14 * 24 * time.Hour)
			_, err := s.try(s.chain[current], ownKey(s.chain[current]))
			s.want(err, innkeeper.ErrRefreshTokenExpired)
			unchanged(s, before)
		},
		"3 ended": func(t *testing.T, s stay) {
			s.must(s.EndSession(ctx, s.chain[1].Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
			for g := 1; g <= current; g++ {
				_, err := s.try(s.chain[g], noKey)
				s.wantEnded(err, innkeeper.ReasonAdmin)
			}
			if s.count(innkeeper.EventTokenReused) != 0 {
				t.Error("dead tokens of an ended session raised an alarm")
			}
		},
		"3 disabled": func(_ *testing.T, s stay) {
			s.must(s.disable(s.user.ID))
			_, err := s.try(s.chain[current], ownKey(s.chain[current]))
			s.wantEnded(err, innkeeper.ReasonUserDisabled)
		},
		"3 deleted": func(_ *testing.T, s stay) {
			s.must(s.DeleteUser(ctx, s.user.ID, innkeeper.ActorOperator))
			_, err := s.try(s.chain[current], ownKey(s.chain[current]))
			s.wantEnded(err, innkeeper.ReasonAdmin)
		},
		"4 swept": func(_ *testing.T, s stay) {
			s.must(s.EndSession(ctx, s.chain[1].Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
			_, err := s.store.SweepSessions(ctx, s.clock.Now().Add(time.Hour), 100)
			s.must(err)
			_, err = s.try(s.chain[current], ownKey(s.chain[current]))
			s.wantEnded(err, innkeeper.ReasonExpired)
		},
		"5 rotated": func(t *testing.T, s stay) {
			s.clock.advance(time.Hour)
			next := s.refresh(s.chain[current], ownKey(s.chain[current]))
			row := s.row(next.Session.ID)
			if row.Generation != current+1 || next.RefreshToken.Generation() != current+1 || !row.RotatedAt.Equal(s.clock.Now()) {
				t.Errorf("the row is %+v", row)
			}
			if calls := s.tap.calls; calls["RotateSession"] != 10 || calls["Session"] != 0 {
				t.Errorf("ten refreshes took %v: the hot path is one write and no read", calls)
			}
		},
		"6 replayed": func(t *testing.T, s stay) {
			s.clock.advance(time.Hour)
			before := s.row(s.chain[1].Session.ID)
			again := s.refresh(s.chain[parent], ownKey(s.chain[parent]))
			if again.RefreshToken.Reveal() != s.chain[current].RefreshToken.Reveal() {
				t.Error("the replay has another successor")
			}
			if exp := expiryOf(t, again.AccessToken); !exp.Equal(s.clock.Now().Add(15 * time.Minute).Truncate(time.Second)) {
				t.Errorf("the access token is not a fresh one: it ends at %s", exp)
			}
			unchanged(s, before)
			s.refresh(again, ownKey(again))
		},
		"8 superseded": func(t *testing.T, s stay) {
			before := s.row(s.chain[1].Session.ID)
			for g := 2; g <= 8; g++ {
				_, err := s.try(s.chain[g], ownKey(s.chain[g]))
				s.want(err, innkeeper.ErrRefreshSuperseded)
			}
			unchanged(s, before)
			s.refresh(s.chain[current], ownKey(s.chain[current]))
		},
		"9 parent without its key":      func(_ *testing.T, s stay) { _, err := s.try(s.chain[parent], noKey); reused(s, err) },
		"9 parent with another key":     func(_ *testing.T, s stay) { _, err := s.try(s.chain[parent], keyFor("thief", parent)); reused(s, err) },
		"9 ancestor without its key":    func(_ *testing.T, s stay) { _, err := s.try(s.chain[3], noKey); reused(s, err) },
		"9 nine generations behind":     func(_ *testing.T, s stay) { _, err := s.try(s.chain[1], ownKey(s.chain[1])); reused(s, err) },
		"9 with a neighbor's key":       func(_ *testing.T, s stay) { _, err := s.try(s.chain[5], unlabeled(s.chain[6])); reused(s, err) },
		"9 parent, key of an ancestor":  func(_ *testing.T, s stay) { _, err := s.try(s.chain[parent], unlabeled(s.chain[8])); reused(s, err) },
		"9 parent, key of the current":  func(_ *testing.T, s stay) { _, err := s.try(s.chain[parent], unlabeled(s.chain[10])); reused(s, err) },
		"9 ancestor, key of the parent": func(_ *testing.T, s stay) { _, err := s.try(s.chain[8], unlabeled(s.chain[9])); reused(s, err) },
	} {
		t.Run("row "+name, func(t *testing.T) { test(t, open(t)) })
	}
}

// unlabeled is the owner's key of a grant, by a client that does not say which
// generation it made it for.
func unlabeled(grant *innkeeper.Grant) innkeeper.IdempotencyKey {
	key, err := innkeeper.NewIdempotencyKey(
		fmt.Sprintf("owner of %s, generation %d", grant.Session.ID, grant.Session.Generation), 0)
	if err != nil {
		panic(err)
	}
	return key
}

// Row 9 records who: the theft is described to whoever reads the log.
func TestReuseIsRecordedOnce(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	first := i.login("ada")
	owner := innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.7"), UserAgent: "Mosaic"}
	thief := innkeeper.Client{Addr: netip.MustParseAddr("203.0.113.9"), UserAgent: strings.Repeat("x", 300)}
	_, err := i.Refresh(ctx, innkeeper.RefreshRequest{
		RefreshTokens: []string{first.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody, Key: ownKey(first), Client: owner,
	})
	i.must(err)
	before := len(i.events())
	for range 3 {
		_, err := i.Refresh(ctx, innkeeper.RefreshRequest{
			RefreshTokens: []string{first.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody, Client: thief,
		})
		if err == nil {
			t.Fatal("a dead token gave tokens")
		}
	}
	events := i.events()[before:]
	if len(events) != 1 {
		t.Fatalf("there are %d events, want the theft alone: %+v", len(events), events)
	}
	got := events[0]
	if got.Kind != innkeeper.EventTokenReused || got.Reason != innkeeper.ReasonReuse || got.UserID != ada.ID ||
		got.SessionID != first.Session.ID || got.Actor != "" || !got.At.Equal(opening) {
		t.Errorf("the event is %+v", got)
	}
	if got.Client.Addr != thief.Addr || len(got.Client.UserAgent) != 256 {
		t.Errorf("the event tells of client %+v", got.Client)
	}
	for fact, want := range map[string]string{
		"presented_generation": "1", "current_generation": "2", "last_rotated_from": "192.0.2.7", "last_rotated_by": "Mosaic",
		"generations_behind": "1", "last_rotated_at": opening.Format(time.RFC3339Nano),
	} {
		if got.Detail[fact] != want {
			t.Errorf("detail %s is %q, want %q", fact, got.Detail[fact], want)
		}
	}
}

func TestRefreshLeeway(t *testing.T) {
	const leeway = 10 * time.Second
	open := func(t *testing.T, key innkeeper.IdempotencyKey) (i *inn, first, second *innkeeper.Grant) {
		i = openInn(t, withPolicy(innkeeper.Policy{RefreshLeeway: leeway}))
		i.addUser("ada")
		first = i.login("ada")
		i.clock.advance(time.Hour)
		return i, first, i.refresh(first, key)
	}
	t.Run("inside it a client without keys is replayed, for no longer than the first answer gave", func(t *testing.T) {
		i, first, second := open(t, noKey)
		for range 3 { // a replay does not renew the leeway
			i.clock.advance(leeway/3 - 1)
			again := i.refresh(first, noKey)
			if again.RefreshToken.Reveal() != second.RefreshToken.Reveal() {
				t.Error("the replay has another successor")
			}
			if exp, first := expiryOf(t, again.AccessToken), expiryOf(t, second.AccessToken); !exp.Equal(first) {
				t.Errorf("the access token ends at %s, the first one at %s", exp, first)
			}
			if again.ExpiresIn >= second.ExpiresIn {
				t.Errorf("%s are left, of %s at the rotation", again.ExpiresIn, second.ExpiresIn)
			}
		}
	})
	t.Run("at its end the token is dead", func(t *testing.T) {
		i, first, _ := open(t, noKey)
		i.clock.advance(leeway)
		_, err := i.try(first, noKey)
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
	t.Run("it does not cover a rotation that was made with a key", func(t *testing.T) {
		i, first, _ := open(t, keyFor("owner", 1))
		_, err := i.try(first, noKey)
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
	t.Run("it does not cover someone who sends a key", func(t *testing.T) {
		i, first, _ := open(t, noKey)
		_, err := i.try(first, keyFor("owner", 1))
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
	t.Run("it covers the parent alone", func(t *testing.T) {
		i, first, second := open(t, noKey)
		i.refresh(second, noKey)
		_, err := i.try(first, noKey)
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
	t.Run("it checks the user's state", func(t *testing.T) {
		i, first, second := open(t, noKey)
		i.must(i.disable(second.Subject.ID))
		_, err := i.try(first, noKey)
		i.wantEnded(err, innkeeper.ReasonUserDisabled)
	})
	t.Run("it is off by default", func(t *testing.T) {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		i.refresh(first, noKey)
		_, err := i.try(first, noKey)
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
}

// A replay within the leeway gives what is left of the first access token, so the
// leeway has to end before that token does.
func TestRefreshLeewayIsShorterThanTheAccessToken(t *testing.T) {
	_, err := innkeeper.Policy{AccessTTL: 5 * time.Second, RefreshLeeway: 5 * time.Second}.WithDefaults()
	if input := (*innkeeper.InputError)(nil); !errors.As(err, &input) || input.Field != "refresh-leeway" {
		t.Fatalf("a leeway as long as the access token's life gave %v", err)
	}
	i := openInn(t, func(c *innkeeper.Config) {
		c.Policy = innkeeper.Policy{AccessTTL: 5 * time.Second, RefreshLeeway: 4 * time.Second}
	})
	i.addUser("ada")
	first := i.login("ada")
	i.refresh(first, noKey)
	i.clock.advance(4*time.Second - time.Millisecond)
	if _, err := i.try(first, noKey); err != nil {
		t.Fatalf("at the end of the leeway: %v", err)
	}
}

// L2: silence is not a verdict. What a store does not answer signs nobody out, and lets
// nobody in.
func TestRefreshOverAStoreThatDoesNotAnswer(t *testing.T) {
	down := errors.New("connection refused")
	fail := func() error { return down }
	open := func(t *testing.T) (i *inn, first, second *innkeeper.Grant) {
		i = openInn(t)
		i.addUser("ada")
		first = i.login("ada")
		return i, first, i.refresh(first, ownKey(first))
	}
	unavailable := func(t *testing.T, i *inn, err error) {
		t.Helper()
		i.want(err, innkeeper.ErrUnavailable)
		var u *innkeeper.UnavailableError
		if !errors.As(err, &u) || u.RetryAfter <= 0 || !errors.Is(err, down) {
			t.Errorf("got %#v", err)
		}
	}
	t.Run("the swap did not happen", func(t *testing.T) {
		i, _, second := open(t)
		i.tap.once("RotateSession", fail)
		_, err := i.try(second, ownKey(second))
		unavailable(t, i, err)
		i.refresh(second, ownKey(second))
	})
	t.Run("the swap happened and its answer was lost: it is not tried again by the server, but by the client", func(t *testing.T) {
		i, _, second := open(t)
		i.tap.forget()
		i.tap.once("RotateSession/answer", fail)
		_, err := i.try(second, ownKey(second))
		unavailable(t, i, err)
		if calls := i.tap.forget(); calls["RotateSession"] != 1 {
			t.Errorf("the swap was tried %d times", calls["RotateSession"])
		}
		third := i.refresh(second, ownKey(second))
		if third.Session.Generation != 3 {
			t.Errorf("the retry came to generation %d", third.Session.Generation)
		}
	})
	t.Run("the row could not be read", func(t *testing.T) {
		i, first, second := open(t)
		i.tap.once("Session", fail)
		_, err := i.try(first, ownKey(first))
		unavailable(t, i, err)
		i.refresh(second, ownKey(second))
	})
	t.Run("the theft could not be written: the next try finds it again", func(t *testing.T) {
		i, first, second := open(t)
		i.tap.once("EndSession", fail)
		_, err := i.try(first, noKey)
		unavailable(t, i, err)
		if i.row(second.Session.ID).Ended() || i.count(innkeeper.EventTokenReused) != 0 {
			t.Error("half of the end was written")
		}
		_, err = i.try(first, noKey)
		i.want(err, innkeeper.ErrRefreshTokenReused)
	})
	t.Run("the caller has gone", func(t *testing.T) {
		i, _, second := open(t)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err := i.Refresh(gone, innkeeper.RefreshRequest{
			RefreshTokens: []string{second.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody, Key: ownKey(second),
		})
		i.want(err, innkeeper.ErrUnavailable)
		i.want(err, context.Canceled)
		i.refresh(second, ownKey(second))
	})
}

// What happens between the swap that matched nothing and the read after it, and
// between that and the end.
func TestRefreshWhileTheSessionChanges(t *testing.T) {
	t.Run("the swap misses, the read finds the token current: it is tried again", func(t *testing.T) {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		i.tap.once("RotateSession", func() error { return innkeeper.ErrNoMatch })
		if next := i.refresh(first, ownKey(first)); next.Session.Generation != 2 {
			t.Errorf("it came to generation %d", next.Session.Generation)
		}
	})
	t.Run("it never stands still: no verdict, and no end", func(t *testing.T) {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		i.tap.always("RotateSession", func() error { return innkeeper.ErrNoMatch })
		_, err := i.try(first, ownKey(first))
		i.want(err, innkeeper.ErrUnavailable)
		if i.row(first.Session.ID).Ended() {
			t.Error("the session was ended")
		}
	})
	t.Run("a logout comes before the alarm: one end, no alarm", func(t *testing.T) {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		second := i.refresh(first, ownKey(first))
		i.tap.once("EndSession", func() error {
			return i.Logout(ctx, innkeeper.LogoutRequest{
				Scope: innkeeper.LogoutThis, RefreshTokens: []string{second.RefreshToken.Reveal()},
			})
		})
		_, err := i.try(first, noKey)
		i.wantEnded(err, innkeeper.ReasonLogout)
		if i.count(innkeeper.EventTokenReused) != 0 || i.count(innkeeper.EventSessionEnded) != 1 {
			t.Errorf("the log is %v", kinds(i.events()))
		}
	})
	t.Run("another server rotates between the swap and the read: a retry with the key is replayed", func(t *testing.T) {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		var winner *innkeeper.Grant
		i.tap.once("RotateSession", func() error {
			winner = i.refresh(first, ownKey(first))
			return nil
		})
		if loser := i.refresh(first, ownKey(first)); loser.RefreshToken.Reveal() != winner.RefreshToken.Reveal() {
			t.Error("the loser got another successor")
		}
	})
}

// Row 10: a restored backup has forgotten a rotation that its client remembers.
func TestRefreshAfterARestore(t *testing.T) {
	open := func(t *testing.T) (i *inn, saved backup, first, second *innkeeper.Grant) {
		i = openInn(t)
		i.addUser("ada")
		first = i.login("ada")
		saved = i.backup(first.Session.ID)
		return i, saved, first, i.refresh(first, ownKey(first))
	}
	t.Run("the client has a token from after the backup", func(t *testing.T) {
		i, saved, first, second := open(t)
		restored := i.restore(saved)
		_, err := restored.try(second, ownKey(second))
		restored.wantEnded(err, innkeeper.ReasonRestored)
		if restored.count(innkeeper.EventStoreBehind) != 1 || restored.count(innkeeper.EventTokenReused) != 0 {
			t.Errorf("the log is %v", kinds(restored.events()))
		}
		_, err = restored.try(second, ownKey(second))
		restored.wantEnded(err, innkeeper.ReasonRestored)
		_, err = restored.try(first, ownKey(first))
		restored.wantEnded(err, innkeeper.ReasonRestored)
		if restored.count(innkeeper.EventStoreBehind) != 1 {
			t.Error("there was a second alarm")
		}
	})
	t.Run("the restored session has gone another way meanwhile", func(t *testing.T) {
		i, saved, first, second := open(t)
		restored := i.restore(saved)
		other := restored.refresh(first, keyFor("another tab", 1))
		if other.RefreshToken.Reveal() == second.RefreshToken.Reveal() {
			t.Fatal("the restored session went the same way: the salt does not differ")
		}
		_, err := restored.try(second, ownKey(second))
		restored.wantEnded(err, innkeeper.ReasonRestored)
	})
	t.Run("the client has not moved since the backup", func(t *testing.T) {
		i, saved, first, _ := open(t)
		restored := i.restore(saved)
		restored.refresh(first, ownKey(first))
	})
	t.Run("all sessions are ended before serving, as the manual says", func(t *testing.T) {
		i, saved, first, second := open(t)
		restored := i.restore(saved)
		n, err := restored.EndAllSessions(ctx, innkeeper.ReasonRestored, innkeeper.ActorOperator)
		restored.must(err)
		if n != 1 {
			t.Errorf("went through %d users, want 1", n)
		}
		for _, grant := range []*innkeeper.Grant{first, second} {
			_, err := restored.try(grant, ownKey(grant))
			restored.wantEnded(err, innkeeper.ReasonRestored)
		}
		if restored.count(innkeeper.EventStoreBehind) != 0 {
			t.Error("there was an alarm all the same")
		}
	})
}

// backup is what a copy of the database file holds.
type backup struct {
	users    []innkeeper.User
	sessions []innkeeper.Session
	checks   []rootkey.Check
	keys     []keyring.Record
}

func (i *inn) backup(sessions ...innkeeper.SessionID) backup {
	i.t.Helper()
	var b backup
	var err error
	b.users, err = i.store.Users(ctx, innkeeper.UserQuery{Limit: 100})
	i.must(err)
	for _, id := range sessions {
		b.sessions = append(b.sessions, *i.row(id))
	}
	b.checks, err = i.store.RootKeyChecks(ctx)
	i.must(err)
	b.keys, err = i.store.SigningKeys(ctx)
	i.must(err)
	return b
}

// restore opens an authority over a new store that holds the backup.
func (i *inn) restore(b backup) *inn {
	i.t.Helper()
	store := memory.New()
	for _, user := range b.users {
		i.must(store.CreateUser(ctx, user, innkeeper.Event{}))
	}
	for _, session := range b.sessions {
		i.must(store.CreateSession(ctx, innkeeper.Birth{Session: session}))
	}
	i.must(store.AddRootKeyChecks(ctx, b.checks))
	i.must(store.InitSigningKeys(ctx, b.keys))
	return openInnOn(i.t, store, i.clock, withRoots(i.config.RootKeys), withPolicy(i.config.Policy))
}

func TestPickRefreshToken(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	first := i.login("ada")
	second := i.refresh(first, ownKey(first))
	other := i.login("ada")
	i.tap.forget()
	a, b, stranger := first.RefreshToken.Reveal(), second.RefreshToken.Reveal(), other.RefreshToken.Reveal()
	for _, test := range []struct {
		name      string
		presented []string
		want      string
		err       error
	}{
		{"none", nil, "", innkeeper.ErrRefreshTokenInvalid},
		{"forged ones alone", []string{"ikr_", "x", ""}, "", innkeeper.ErrRefreshTokenInvalid},
		{"one", []string{a}, a, nil},
		{"one among forged ones", []string{"x", a, a + "A"}, a, nil},
		{"two generations", []string{a, b}, b, nil},
		{"two generations, the newer one first", []string{b, a}, b, nil},
		{"twice the same", []string{a, a}, a, nil},
		{"two sessions", []string{a, stranger}, "", innkeeper.ErrRefreshTokenAmbiguous},
		{"two sessions and a forged one", []string{"x", b, stranger, a}, "", innkeeper.ErrRefreshTokenAmbiguous},
	} {
		got, err := i.PickRefreshToken(test.presented)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: got %q, %v", test.name, got, err)
		}
	}
	if calls := i.tap.forget(); len(calls) != 0 {
		t.Errorf("the store was asked: %v", calls)
	}
}

// --- how long things live ----------------------------------------------------------

func TestIdleLimit(t *testing.T) {
	i := openInn(t, withPolicy(innkeeper.Policy{IdleTTL: time.Hour, SessionTTL: 24 * time.Hour}))
	i.addUser("ada")
	grant := i.login("ada")
	for range 20 { // who comes back in time stays, beyond the first hour
		i.clock.advance(time.Hour - time.Second)
		grant = i.refresh(grant, ownKey(grant))
		if want := i.clock.Now().Add(time.Hour).Truncate(time.Second); !grant.RefreshToken.ExpiresAt().Equal(want) {
			t.Fatalf("the token lives until %s, want %s", grant.RefreshToken.ExpiresAt(), want)
		}
	}
	i.clock.advance(grant.RefreshToken.ExpiresAt().Sub(i.clock.Now()) - 1)
	if len(i.sessions(grant.Subject.ID)) != 1 {
		t.Error("the session is not listed in its last nanosecond")
	}
	i.clock.advance(1)
	_, err := i.try(grant, ownKey(grant))
	i.want(err, innkeeper.ErrRefreshTokenExpired)
	if len(i.sessions(grant.Subject.ID)) != 0 {
		t.Error("an expired session is listed")
	}
}

func (i *inn) sessions(user innkeeper.UserID) []innkeeper.Session {
	i.t.Helper()
	sessions, err := i.Sessions(ctx, user, innkeeper.SessionID{})
	i.must(err)
	return sessions
}

// No refresh moves the absolute end, and nothing that was handed out outlives it.
func TestAbsoluteLimit(t *testing.T) {
	i := openInn(t, withPolicy(innkeeper.Policy{AccessTTL: time.Hour, IdleTTL: 2 * time.Hour, SessionTTL: 5 * time.Hour}))
	i.addUser("ada")
	grant := i.login("ada")
	end := grant.Session.ExpiresAt
	for {
		i.clock.advance(25 * time.Minute)
		next, err := i.try(grant, ownKey(grant))
		if !i.clock.Now().Before(end) {
			i.want(err, innkeeper.ErrRefreshTokenExpired)
			break
		}
		i.must(err)
		grant = next
		if !grant.Session.ExpiresAt.Equal(end) || grant.RefreshToken.ExpiresAt().After(end) {
			t.Fatalf("the session ends at %s, the refresh token at %s", grant.Session.ExpiresAt, grant.RefreshToken.ExpiresAt())
		}
		exp := expiryOf(t, grant.AccessToken)
		if exp.After(end) || grant.ExpiresIn != exp.Sub(i.clock.Now().Truncate(time.Second)) || grant.ExpiresIn <= 0 {
			t.Fatalf("the access token ends at %s, in %s; the session at %s", exp, grant.ExpiresIn, end)
		}
	}
	if got := expiryOf(t, grant.AccessToken); !got.Equal(end) {
		t.Errorf("the last access token ends at %s, the session at %s", got, end)
	}
	if _, err := i.Authenticate(ctx, grant.AccessToken); !errors.Is(err, innkeeper.ErrAccessTokenExpired) {
		t.Errorf("after the end of the session its access token gives %v", err)
	}
}

// In the last second of a session there is still something to give.
func TestRefreshInTheLastSecond(t *testing.T) {
	i := openInn(t, withPolicy(innkeeper.Policy{AccessTTL: 5 * time.Second, IdleTTL: time.Minute, SessionTTL: time.Minute}))
	i.addUser("ada")
	grant := i.login("ada")
	i.clock.advance(grant.Session.ExpiresAt.Sub(i.clock.Now()) - time.Microsecond)
	next := i.refresh(grant, ownKey(grant))
	if next.ExpiresIn != time.Second || next.RefreshExpiresIn != time.Second {
		t.Errorf("the access token lives for %s, the refresh token for %s", next.ExpiresIn, next.RefreshExpiresIn)
	}
	again := i.refresh(grant, ownKey(grant))
	if again.RefreshToken.Reveal() != next.RefreshToken.Reveal() {
		t.Error("the replay has another successor")
	}
}

// After the idle limit was lowered, a successor can expire before its parent. Its
// replay is refused as it is itself.
func TestReplayOfAnExpiredSuccessor(t *testing.T) {
	before := openInn(t)
	before.addUser("ada")
	first := before.login("ada")
	// A restart with a shorter idle limit.
	i := openInnOn(t, before.store, before.clock, withRoots(before.config.RootKeys),
		withPolicy(innkeeper.Policy{IdleTTL: time.Hour}))
	i.refresh(first, ownKey(first)) // the answer is lost
	i.clock.advance(2 * time.Hour)
	again, err := i.try(first, ownKey(first))
	if err == nil {
		t.Errorf("got an access token for %s, and a refresh token for %s", again.ExpiresIn, again.RefreshExpiresIn)
	}
}

func TestAuthenticate(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	stranger := openInn(t)
	stranger.addUser("ada")
	for name, token := range map[string]string{
		"nothing":           "",
		"a refresh token":   grant.RefreshToken.Reveal(),
		"another authority": stranger.login("ada").AccessToken,
		"a cut token":       grant.AccessToken[:len(grant.AccessToken)-1],
	} {
		if _, err := i.Authenticate(ctx, token); !errors.Is(err, innkeeper.ErrAccessTokenInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	i.tap.once("Session", func() error { return errors.New("down") })
	_, err := i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrUnavailable)

	i.clock.advance(15*time.Minute - time.Second)
	i.caller(grant)
	i.clock.advance(time.Second)
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenExpired)

	grant = i.refresh(grant, ownKey(grant))
	i.must(i.EndSession(ctx, grant.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenRevoked)
	_, err = i.store.SweepSessions(ctx, i.clock.Now().Add(time.Hour), 10)
	i.must(err)
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenRevoked)
}

// --- signing out ---------------------------------------------------------------------

func (i *inn) logout(scope innkeeper.LogoutScope, tokens ...string) error {
	return i.Logout(ctx, innkeeper.LogoutRequest{Scope: scope, RefreshTokens: tokens})
}

// TestLogoutThis holds S5 and T22: what is signed out is over at the server, with all its
// tokens.
func TestLogoutThis(t *testing.T) {
	for name, token := range map[string]func(chain []*innkeeper.Grant) string{
		"the current token": func(chain []*innkeeper.Grant) string { return chain[2].RefreshToken.Reveal() },
		"the parent":        func(chain []*innkeeper.Grant) string { return chain[1].RefreshToken.Reveal() },
		"an ancestor":       func(chain []*innkeeper.Grant) string { return chain[0].RefreshToken.Reveal() },
	} {
		t.Run(name, func(t *testing.T) {
			i := openInn(t)
			i.addUser("ada")
			chain := []*innkeeper.Grant{i.login("ada")}
			other := i.login("ada")
			for g := range 2 {
				chain = append(chain, i.refresh(chain[g], ownKey(chain[g])))
			}
			for range 3 { // what has ended stays ended, without complaint
				i.must(i.logout(innkeeper.LogoutThis, token(chain)))
			}
			_, err := i.try(chain[2], ownKey(chain[2]))
			i.wantEnded(err, innkeeper.ReasonLogout)
			_, err = i.Authenticate(ctx, chain[2].AccessToken)
			i.want(err, innkeeper.ErrAccessTokenRevoked)
			if i.count(innkeeper.EventSessionEnded) != 1 || i.count(innkeeper.EventTokenReused) != 0 || len(i.feed()) != 1 {
				t.Errorf("the log is %v, the feed %v", kinds(i.events()), i.feed())
			}
			i.refresh(other, ownKey(other)) // the other device stays
		})
	}
}

func TestLogoutThisWithExpiredOrForeignTokens(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	i.want(i.logout(innkeeper.LogoutThis), innkeeper.ErrRefreshTokenInvalid)
	i.want(i.logout(innkeeper.LogoutThis, "ikr_", "x"), innkeeper.ErrRefreshTokenInvalid)
	// Whoever logs out with an expired token is not made to wait for a new one.
	i.clock.advance(15 * 24 * time.Hour)
	i.must(i.logout(innkeeper.LogoutThis, "x", grant.RefreshToken.Reveal()))
	if row := i.row(grant.Session.ID); row.Reason != innkeeper.ReasonLogout {
		t.Errorf("the row says %q", row.Reason)
	}
	_, err := i.store.SweepSessions(ctx, i.clock.Now().Add(time.Hour), 10)
	i.must(err)
	i.must(i.logout(innkeeper.LogoutThis, grant.RefreshToken.Reveal()))
}

// A browser whose page and cookie have come to belong to different sessions
// leaves both.
func TestLogoutThisEndsAllThatWasShown(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	page, cookie, tossed := i.login("ada"), i.login("ada"), i.login("ada")
	i.must(i.Logout(ctx, innkeeper.LogoutRequest{
		Scope: innkeeper.LogoutThis, Caller: i.caller(page),
		RefreshTokens: []string{cookie.RefreshToken.Reveal(), tossed.RefreshToken.Reveal()},
	}))
	for _, grant := range []*innkeeper.Grant{page, cookie, tossed} {
		_, err := i.try(grant, ownKey(grant))
		i.wantEnded(err, innkeeper.ReasonLogout)
	}
}

// TestLogoutOthers holds S6.
func TestLogoutOthers(t *testing.T) {
	for _, credential := range []string{"access token", "refresh token"} {
		t.Run("by "+credential, func(t *testing.T) {
			i := openInn(t)
			i.addUser("ada")
			i.addUser("bob")
			mine, stolen, bobs := i.login("ada"), i.login("ada"), i.login("bob")
			mine = i.refresh(mine, ownKey(mine))
			req := innkeeper.LogoutRequest{Scope: innkeeper.LogoutOthers, RefreshTokens: []string{mine.RefreshToken.Reveal()}}
			if credential == "access token" {
				req.Caller, req.RefreshTokens = i.caller(mine), nil
			}
			i.must(i.Logout(ctx, req))

			_, err := i.try(stolen, ownKey(stolen))
			i.wantEnded(err, innkeeper.ReasonLogoutEverywhere)
			_, err = i.Authenticate(ctx, stolen.AccessToken)
			i.want(err, innkeeper.ErrAccessTokenRevoked)
			// The calling session goes on. Its access token is refused once, being in the
			// feed of all verifiers, and one refresh renews it.
			_, err = i.Authenticate(ctx, mine.AccessToken)
			i.want(err, innkeeper.ErrAccessTokenRevoked)
			mine = i.refresh(mine, ownKey(mine))
			i.caller(mine)
			if mine.Session.Generation != 3 {
				t.Errorf("the session went on at generation %d, want 3", mine.Session.Generation)
			}
			if sessions := i.sessions(mine.Subject.ID); len(sessions) != 1 || sessions[0].ID != mine.Session.ID {
				t.Errorf("ada has %d sessions", len(sessions))
			}
			i.refresh(bobs, ownKey(bobs))
		})
	}
}

// A retry whose answer was lost is replayed across a logout of the others.
func TestLogoutOthersDoesNotBreakARetry(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	first := i.login("ada")
	second := i.refresh(first, ownKey(first))
	i.must(i.logout(innkeeper.LogoutOthers, second.RefreshToken.Reveal()))
	again := i.refresh(first, ownKey(first))
	if again.RefreshToken.Reveal() != second.RefreshToken.Reveal() {
		t.Error("the replay has another successor")
	}
	i.caller(again)
}

func TestLogoutEverywhere(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	grants := []*innkeeper.Grant{i.login("ada"), i.login("ada"), i.login("ada")}
	i.tap.forget()
	i.must(i.Logout(ctx, innkeeper.LogoutRequest{Scope: innkeeper.LogoutEverywhere, Caller: i.caller(grants[0])}))
	if calls := i.tap.forget(); calls["ChangeUser"] != 1 || calls["EndSession"] != 0 {
		t.Errorf("it took %v: one write, whatever the number of sessions", calls)
	}
	for _, grant := range grants {
		_, err := i.try(grant, ownKey(grant))
		i.wantEnded(err, innkeeper.ReasonLogoutEverywhere)
		_, err = i.Authenticate(ctx, grant.AccessToken)
		i.want(err, innkeeper.ErrAccessTokenRevoked)
	}
	want := innkeeper.UserRevocationID(i.Issuer(), ada.ID, ada.Epoch)
	if feed := i.feed(); len(feed) != 1 || feed[0].Kind != innkeeper.RevokedUser || feed[0].ID != want {
		t.Errorf("the feed is %+v, want the user's old epoch", feed)
	}
	i.login("ada")
}

// Wide logouts need a bearer or the current refresh token.
func TestWideLogoutNeedsALiveCredential(t *testing.T) {
	for _, scope := range []innkeeper.LogoutScope{innkeeper.LogoutOthers, innkeeper.LogoutEverywhere} {
		i := openInn(t)
		i.addUser("ada")
		victim := i.login("ada")
		first := i.login("ada")
		second := i.refresh(first, ownKey(first))
		caller := i.caller(second)

		i.want(i.logout(scope), innkeeper.ErrRefreshTokenInvalid)
		i.want(i.logout(scope, "ikr_"), innkeeper.ErrRefreshTokenInvalid)
		i.want(i.logout(scope, first.RefreshToken.Reveal()), innkeeper.ErrRefreshSuperseded)
		i.want(i.logout(scope, victim.RefreshToken.Reveal(), second.RefreshToken.Reveal()), innkeeper.ErrRefreshTokenAmbiguous)
		i.must(i.EndSession(ctx, first.Session.ID, innkeeper.ReasonReuse, innkeeper.ActorOperator))
		i.wantEnded(i.logout(scope, second.RefreshToken.Reveal()), innkeeper.ReasonReuse)
		i.refresh(victim, ownKey(victim)) // nobody was touched by any of this

		i.must(i.EndUserSessions(ctx, victim.Subject.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		i.wantEnded(i.Logout(ctx, innkeeper.LogoutRequest{Scope: scope, Caller: caller}), innkeeper.ReasonAdmin)
		i.wantEnded(i.logout(scope, victim.RefreshToken.Reveal()), innkeeper.ReasonAdmin)
		i.must(i.DeleteUser(ctx, victim.Subject.ID, innkeeper.ActorOperator))
		i.wantEnded(i.Logout(ctx, innkeeper.LogoutRequest{Scope: scope, Caller: caller}), innkeeper.ReasonAdmin)
		i.clock.advance(20 * 24 * time.Hour)
		i.want(i.logout(scope, victim.RefreshToken.Reveal()), innkeeper.ErrRefreshTokenExpired)
	}
}

func TestLogoutRefusesAnUnknownScope(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	for _, scope := range []innkeeper.LogoutScope{"", "all", "THIS"} {
		var input *innkeeper.InputError
		if err := i.logout(scope, grant.RefreshToken.Reveal()); !errors.As(err, &input) {
			t.Errorf("scope %q: got %v", scope, err)
		}
	}
	i.refresh(grant, ownKey(grant))
}

// A session that is over because its user's epoch has moved must not be ended a second
// time by a logout or a sign-in that arrives with its token: the reason that its
// owner is told changes, and the log and the feed get an end of a session that
// ended long ago. Ending what has ended should do nothing, as it does where the
// row itself was ended; Session.aliveFor tells.
func TestWhatTheEpochHasEndedIsNotEndedAgain(t *testing.T) {
	for name, again := range map[string]func(i *inn, grant *innkeeper.Grant) error{
		"logout": func(i *inn, grant *innkeeper.Grant) error {
			return i.logout(innkeeper.LogoutThis, grant.RefreshToken.Reveal())
		},
		"sign-in": func(i *inn, grant *innkeeper.Grant) error {
			_, err := i.Login(ctx, innkeeper.LoginRequest{
				Username: "bob", Password: rightPassword, Delivery: innkeeper.DeliverByBody, Replaces: grant.RefreshToken.Reveal(),
			})
			return err
		},
		"administrator": func(i *inn, grant *innkeeper.Grant) error {
			return i.EndSession(ctx, grant.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := openInn(t)
			i.addUser("ada")
			i.addUser("bob")
			grant := i.login("ada")
			i.must(i.SetPassword(ctx, grant.Subject.ID, otherPassword, innkeeper.ActorOperator))
			i.must(again(i, grant))
			if n := i.count(innkeeper.EventSessionEnded); n != 0 || len(i.feed()) != 1 {
				t.Errorf("%d more ends were logged, and %d entries fed", n, len(i.feed())-1)
			}
			_, err := i.try(grant, ownKey(grant))
			i.wantEnded(err, innkeeper.ReasonPasswordChanged)
		})
	}
}

// --- passwords -----------------------------------------------------------------------

// TestChangePassword holds S1, S6 and T22: the session is a new one, and all others are
// over.
func TestChangePassword(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	mine, stolen := i.login("ada"), i.login("ada")
	caller := i.caller(mine)

	_, err := i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: wrongPassword, New: otherPassword})
	i.want(err, innkeeper.ErrInvalidCredentials)
	_, err = i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: rightPassword, New: "short"})
	var rejected *password.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatalf("a short password: got %v", err)
	}
	i.caller(mine) // neither has changed anything

	i.clock.advance(time.Minute)
	grant, err := i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
	i.must(err)
	if grant.Session.ID == mine.Session.ID || grant.Session.Generation != 1 || grant.Session.Delivery != mine.Session.Delivery {
		t.Errorf("the new session is %+v", grant.Session)
	}
	if !grant.Session.CreatedAt.Equal(i.clock.Now()) {
		t.Errorf("auth_time is %s, want that of the change", grant.Session.CreatedAt)
	}
	for _, old := range []*innkeeper.Grant{mine, stolen} {
		_, err := i.try(old, ownKey(old))
		i.wantEnded(err, innkeeper.ReasonPasswordChanged)
		_, err = i.Authenticate(ctx, old.AccessToken)
		i.want(err, innkeeper.ErrAccessTokenRevoked)
	}
	i.caller(grant)
	i.caller(i.refresh(grant, ownKey(grant)))
	if sessions := i.sessions(ada.ID); len(sessions) != 1 || sessions[0].ID != grant.Session.ID {
		t.Errorf("ada has %d sessions", len(sessions))
	}

	_, err = i.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody})
	i.want(err, innkeeper.ErrInvalidCredentials)
	i.loginWith("ada", otherPassword)
	// The caller of before is nobody now.
	_, err = i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: otherPassword, New: rightPassword})
	i.want(err, innkeeper.ErrAccessTokenRevoked)
}

func TestChangePasswordWhileTheUserChanges(t *testing.T) {
	for name, meanwhile := range map[string]func(i *inn, id innkeeper.UserID) error{
		"logged out everywhere": func(i *inn, id innkeeper.UserID) error {
			return i.EndUserSessions(ctx, id, innkeeper.ReasonLogoutEverywhere, innkeeper.ActorServer)
		},
		"disabled": func(i *inn, id innkeeper.UserID) error { return i.disable(id) },
		"deleted":  func(i *inn, id innkeeper.UserID) error { return i.DeleteUser(ctx, id, innkeeper.ActorServer) },
	} {
		t.Run(name, func(t *testing.T) {
			i := openInn(t)
			ada := i.addUser("ada")
			caller := i.caller(i.login("ada"))
			i.tap.once("ChangeUser", func() error { return meanwhile(i, ada.ID) })
			_, err := i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
			i.want(err, innkeeper.ErrAccessTokenRevoked)
			if sessions := i.sessions(ada.ID); len(sessions) != 0 {
				t.Errorf("%d sessions were opened", len(sessions))
			}
		})
	}
}

// A hash of weaker parameters is replaced at the next sign-in, and nobody is
// signed out for it.
func TestLoginReplacesAnOutdatedHash(t *testing.T) {
	before := openInn(t)
	ada := before.addUser("ada")
	grant := before.login("ada")
	i := openInnOn(t, before.store, before.clock, withRoots(before.config.RootKeys), func(c *innkeeper.Config) {
		c.Passwords.Params.Memory = 16
	})
	i.login("ada")
	after, err := i.User(ctx, ada.ID)
	i.must(err)
	if after.PasswordHash == ada.PasswordHash || after.Epoch != ada.Epoch {
		t.Errorf("the hash was %s, is %s", ada.PasswordHash, after.PasswordHash)
	}
	i.refresh(grant, ownKey(grant))
	i.login("ada")
	if again, err := i.User(ctx, ada.ID); err != nil || again.PasswordHash != after.PasswordHash {
		t.Errorf("a present hash was replaced: %v", err)
	}
}

// --- administration --------------------------------------------------------------------

func TestDisableAndEnable(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	grant := i.login("ada")
	i.must(i.disable(ada.ID))
	_, err := i.try(grant, ownKey(grant))
	i.wantEnded(err, innkeeper.ReasonUserDisabled)
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenRevoked)
	if len(i.sessions(ada.ID)) != 0 {
		t.Error("a disabled user has sessions")
	}
	i.must(i.disable(ada.ID)) // twice is once
	if i.count(innkeeper.EventUserDisabled) != 1 || len(i.feed()) != 1 {
		t.Errorf("the log is %v, the feed %v", kinds(i.events()), i.feed())
	}

	i.must(i.enable(ada.ID))
	_, err = i.try(grant, ownKey(grant))
	i.wantEnded(err, innkeeper.ReasonUserDisabled) // enabling revives none
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenRevoked)
	i.login("ada")
}

func TestDeleteUser(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	grant := i.login("ada")
	i.must(i.DeleteUser(ctx, ada.ID, innkeeper.ActorOperator))
	i.want(i.DeleteUser(ctx, ada.ID, innkeeper.ActorOperator), innkeeper.ErrNotFound)
	_, err := i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrAccessTokenRevoked)
	// A namesake inherits nothing.
	namesake := i.addUser("ada")
	_, err = i.try(grant, ownKey(grant))
	i.wantEnded(err, innkeeper.ReasonAdmin)
	if namesake.ID == ada.ID || len(i.sessions(namesake.ID)) != 0 {
		t.Error("the namesake got the old user's ID or sessions")
	}
}

func TestSetPassword(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	grant := i.login("ada")
	var rejected *password.RejectedError
	if err := i.SetPassword(ctx, ada.ID, "short", innkeeper.ActorOperator); !errors.As(err, &rejected) {
		t.Fatalf("a short password: got %v", err)
	}
	i.caller(grant)
	i.must(i.SetPassword(ctx, ada.ID, otherPassword, innkeeper.ActorOperator))
	_, err := i.try(grant, ownKey(grant))
	i.wantEnded(err, innkeeper.ReasonPasswordChanged)
	i.want(i.SetPassword(ctx, innkeeper.UserID{}, otherPassword, innkeeper.ActorOperator), innkeeper.ErrNotFound)
}

func TestEndSessionsOneByOne(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.addUser("bob")
	mine, other, bobs := i.login("ada"), i.login("ada"), i.login("bob")
	caller := i.caller(mine)
	i.want(i.EndOwnSession(ctx, caller, bobs.Session.ID, innkeeper.Client{}), innkeeper.ErrNotFound)
	i.want(i.EndOwnSession(ctx, caller, innkeeper.SessionID{1}, innkeeper.Client{}), innkeeper.ErrNotFound)
	i.refresh(bobs, ownKey(bobs))

	for range 2 {
		i.must(i.EndOwnSession(ctx, caller, other.Session.ID, innkeeper.Client{}))
	}
	_, err := i.try(other, ownKey(other))
	i.wantEnded(err, innkeeper.ReasonLogout)
	for range 2 {
		i.must(i.EndSession(ctx, mine.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
	}
	i.must(i.EndSession(ctx, other.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
	_, err = i.try(mine, ownKey(mine))
	i.wantEnded(err, innkeeper.ReasonAdmin)
	if row := i.row(other.Session.ID); row.Reason != innkeeper.ReasonLogout {
		t.Errorf("an ended session was ended anew: %s", row.Reason)
	}
	i.want(i.EndSession(ctx, innkeeper.SessionID{1}, innkeeper.ReasonAdmin, innkeeper.ActorOperator), innkeeper.ErrNotFound)
	if n := i.count(innkeeper.EventSessionEnded); n != 2 {
		t.Errorf("%d ends were logged, want 2", n)
	}
}

// TestEndAllSessions holds S6 for administrators: those of one user, and those of all.
func TestEndAllSessions(t *testing.T) {
	i := openInn(t)
	var grants []*innkeeper.Grant
	for n := range 3 {
		name := fmt.Sprintf("user%d", n)
		i.addUser(name)
		grants = append(grants, i.login(name), i.login(name))
	}
	i.must(i.EndUserSessions(ctx, grants[0].Subject.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
	_, err := i.try(grants[1], ownKey(grants[1]))
	i.wantEnded(err, innkeeper.ReasonAdmin)
	i.refresh(grants[2], ownKey(grants[2]))

	n, err := i.EndAllSessions(ctx, innkeeper.ReasonRestored, innkeeper.ActorOperator)
	i.must(err)
	if n != 3 {
		t.Errorf("went through %d users, want 3", n)
	}
	for _, grant := range grants {
		_, err := i.try(grant, ownKey(grant))
		i.wantEnded(err, innkeeper.ReasonRestored)
	}
	i.want(i.EndUserSessions(ctx, innkeeper.UserID{}, innkeeper.ReasonAdmin, innkeeper.ActorServer), innkeeper.ErrNotFound)
}

// More users than fit on a page, one of whom goes while all are being signed out.
func TestEndAllSessionsOfManyUsers(t *testing.T) {
	i := openInn(t)
	template := i.addUser("user000")
	for n := 1; n < 230; n++ {
		user := *template
		user.ID, user.Username = innkeeper.UserID{byte(n), 1}, fmt.Sprintf("user%03d", n)
		i.must(i.store.CreateUser(ctx, user, innkeeper.Event{}))
	}
	last := i.login("user229")
	gone, err := i.UserByUsername(ctx, "user000")
	i.must(err)
	i.tap.once("User", func() error { return i.DeleteUser(ctx, gone.ID, innkeeper.ActorOperator) })
	n, err := i.EndAllSessions(ctx, innkeeper.ReasonRestored, innkeeper.ActorOperator)
	i.must(err)
	if n != 230 {
		t.Errorf("went through %d users, want 230", n)
	}
	_, err = i.try(last, ownKey(last))
	i.wantEnded(err, innkeeper.ReasonRestored)
}

// --- the log -----------------------------------------------------------------------------

// Each act writes its event once, tells the observer the same, and feeds as many
// revocations as it revokes.
func TestEventsAreWrittenOnce(t *testing.T) {
	type act func(i *inn, mine, other *innkeeper.Grant) error
	type want struct {
		events   []innkeeper.EventKind
		feed     []innkeeper.RevocationKind
		observed []innkeeper.EventKind // and not kept
	}
	ended := want{
		events: []innkeeper.EventKind{innkeeper.EventSessionEnded}, feed: []innkeeper.RevocationKind{innkeeper.RevokedSession},
	}
	userWide := func(kinds ...innkeeper.EventKind) want {
		return want{events: kinds, feed: []innkeeper.RevocationKind{innkeeper.RevokedUser}}
	}
	unkept := want{observed: []innkeeper.EventKind{innkeeper.EventLoginFailed}}
	logged := func(kind innkeeper.EventKind) want { return want{events: []innkeeper.EventKind{kind}} }
	for name, test := range map[string]struct {
		do   act
		want want
	}{
		"login": {func(i *inn, _, _ *innkeeper.Grant) error { i.login("ada"); return nil }, logged(innkeeper.EventSessionStarted)},
		"wrong password": {func(i *inn, _, _ *innkeeper.Grant) error {
			_, err := i.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: wrongPassword, Delivery: innkeeper.DeliverByBody})
			i.want(err, innkeeper.ErrInvalidCredentials)
			return nil
		}, unkept},
		"unknown user": {func(i *inn, _, _ *innkeeper.Grant) error {
			_, err := i.Login(ctx, innkeeper.LoginRequest{Username: "eve", Password: wrongPassword, Delivery: innkeeper.DeliverByBody})
			i.want(err, innkeeper.ErrInvalidCredentials)
			return nil
		}, unkept},
		"refresh": {func(i *inn, mine, _ *innkeeper.Grant) error { i.refresh(mine, noKey); return nil }, want{}},
		"replay": {func(i *inn, mine, _ *innkeeper.Grant) error {
			i.refresh(mine, ownKey(mine))
			i.refresh(mine, ownKey(mine))
			return nil
		}, want{}},
		"superseded": {func(i *inn, mine, _ *innkeeper.Grant) error {
			next := i.refresh(mine, ownKey(mine))
			i.refresh(next, ownKey(next))
			_, err := i.try(mine, ownKey(mine))
			i.want(err, innkeeper.ErrRefreshSuperseded)
			return nil
		}, want{}},
		"reuse": {func(i *inn, mine, _ *innkeeper.Grant) error {
			i.refresh(mine, ownKey(mine))
			for range 3 {
				if _, err := i.try(mine, noKey); err == nil {
					i.t.Error("no error")
				}
			}
			return nil
		}, want{events: []innkeeper.EventKind{innkeeper.EventTokenReused}, feed: ended.feed}},
		"logout": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.logout(innkeeper.LogoutThis, mine.RefreshToken.Reveal())
		}, ended},
		"logout others": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.logout(innkeeper.LogoutOthers, mine.RefreshToken.Reveal())
		}, userWide(innkeeper.EventSessionsEnded)},
		"logout everywhere": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.logout(innkeeper.LogoutEverywhere, mine.RefreshToken.Reveal())
		}, userWide(innkeeper.EventSessionsEnded)},
		"own session": {func(i *inn, mine, other *innkeeper.Grant) error {
			return i.EndOwnSession(ctx, i.caller(mine), other.Session.ID, innkeeper.Client{})
		}, ended},
		"administrator": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.EndSession(ctx, mine.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
		}, ended},
		"user's sessions": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.EndUserSessions(ctx, mine.Subject.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
		}, userWide(innkeeper.EventSessionsEnded)},
		"everybody's sessions": {func(i *inn, _, _ *innkeeper.Grant) error {
			_, err := i.EndAllSessions(ctx, innkeeper.ReasonRestored, innkeeper.ActorOperator)
			return err
		}, userWide(innkeeper.EventSessionsEnded, innkeeper.EventAllSessionsEnded)},
		"password change": {func(i *inn, mine, _ *innkeeper.Grant) error {
			_, err := i.ChangePassword(ctx, i.caller(mine), innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
			return err
		}, userWide(innkeeper.EventPasswordChanged)},
		"password set": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.SetPassword(ctx, mine.Subject.ID, otherPassword, innkeeper.ActorOperator)
		}, userWide(innkeeper.EventPasswordChanged)},
		"disable": {func(i *inn, mine, _ *innkeeper.Grant) error { return i.disable(mine.Subject.ID) },
			userWide(innkeeper.EventUserDisabled)},
		"delete": {func(i *inn, mine, _ *innkeeper.Grant) error {
			return i.DeleteUser(ctx, mine.Subject.ID, innkeeper.ActorOperator)
		}, userWide(innkeeper.EventUserDeleted)},
		"create": {func(i *inn, _, _ *innkeeper.Grant) error { i.addUser("bob"); return nil }, logged(innkeeper.EventUserCreated)},
	} {
		t.Run(name, func(t *testing.T) {
			i := openInn(t)
			i.addUser("ada")
			mine, other := i.login("ada"), i.login("ada")
			events, observed := len(i.events()), len(i.observed.events)
			i.must(test.do(i, mine, other))

			if got := kinds(i.events()[events:]); !slices.Equal(got, test.want.events) {
				t.Errorf("logged %v, want %v", got, test.want.events)
			}
			tell := slices.Concat(test.want.events, test.want.observed)
			if got := kinds(i.observed.events[observed:]); !slices.Equal(got, tell) {
				t.Errorf("observed %v, want %v", got, tell)
			}
			var fed []innkeeper.RevocationKind
			for _, entry := range i.feed() {
				fed = append(fed, entry.Kind)
			}
			if !slices.Equal(fed, test.want.feed) {
				t.Errorf("fed %v, want %v", fed, test.want.feed)
			}
		})
	}
}

// The domain prints nothing, and what it writes down and tells holds no secret.
func TestNothingIsPrintedAndNoSecretWrittenDown(t *testing.T) {
	printed := printedBy(t, func() { tellSecrets(t) })
	if len(printed) > 0 {
		t.Errorf("something was printed: %s", printed)
	}
}

// tellSecrets plays a story in which much goes wrong, and looks for the secrets
// of it in whatever was written down.
func tellSecrets(t *testing.T) {
	t.Helper()
	i := openInn(t)
	i.addUser("ada")
	const keyText = "a key that nobody else may know"
	key, err := innkeeper.NewIdempotencyKey(keyText, 0)
	i.must(err)
	secrets := []string{rightPassword, otherPassword, wrongPassword, keyText}
	remember := func(grant *innkeeper.Grant) *innkeeper.Grant {
		signature := grant.AccessToken[strings.LastIndexByte(grant.AccessToken, '.')+1:]
		secrets = append(secrets, signature, grant.RefreshToken.Reveal()[40:80])
		return grant
	}
	var errs []error
	note := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error where the story has one")
		}
		errs = append(errs, err)
	}
	login := func(password string) error {
		_, err := i.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: password, Delivery: innkeeper.DeliverByBody})
		return err
	}
	try := func(grant *innkeeper.Grant, key innkeeper.IdempotencyKey) error {
		_, err := i.try(grant, key)
		return err
	}

	first := remember(i.login("ada"))
	second := remember(i.refresh(first, key))
	remember(i.refresh(second, key))
	note(try(first, noKey))
	note(try(second, key))
	note(login(wrongPassword))
	third := remember(i.login("ada"))
	note(try(third, keyFor("somebody", 7)))
	fourth, err := i.ChangePassword(ctx, i.caller(third), innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
	i.must(err)
	remember(fourth)
	down := func() error { return errors.New("down") }
	i.tap.once("RotateSession", down)
	note(try(fourth, key))
	i.tap.once("AppendEvent", down)
	_, err = i.EndAllSessions(ctx, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
	note(err)
	note(login(wrongPassword))
	fourth = remember(i.loginWith("ada", otherPassword))
	i.must(i.logout(innkeeper.LogoutEverywhere, fourth.RefreshToken.Reveal()))
	note(i.logout(innkeeper.LogoutThis, fourth.RefreshToken.Reveal()+"A"))
	_, err = i.Authenticate(ctx, fourth.AccessToken)
	note(err)

	written := fmt.Sprintf("%+v\n%+v\n%+v\n%q", i.events(), i.observed.events, i.feed(), errs)
	for _, secret := range secrets {
		if strings.Contains(written, secret) {
			t.Errorf("%q stands in the log, the feed or an error", secret)
		}
	}
}

// printedBy returns what a function prints or logs, in whichever way.
func printedBy(t *testing.T, do func()) []byte {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, logger, output := os.Stdout, os.Stderr, slog.Default(), log.Writer()
	restore := func() {
		os.Stdout, os.Stderr = stdout, stderr
		slog.SetDefault(logger)
		log.SetOutput(output)
	}
	defer restore()
	os.Stdout, os.Stderr = file, file
	slog.SetDefault(slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.SetOutput(file)
	do()
	printed, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return printed
}

// --- what must cost nothing --------------------------------------------------------

// A token that we did not mint never reaches the store, whichever door it tries.
func TestForgedTokensReachNoStore(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	genuine := grant.RefreshToken.Reveal()
	stranger := openInn(t)
	stranger.addUser("ada")
	forgeries := map[string]string{
		"empty":                        "",
		"garbage":                      "ikr_garbage",
		"of another authority":         stranger.login("ada").RefreshToken.Reveal(),
		"its tag flipped":              flipped(t, genuine, 75),
		"its secret flipped":           flipped(t, genuine, 40),
		"its session flipped":          flipped(t, genuine, 5),
		"its generation flipped":       flipped(t, genuine, 22),
		"its expiry flipped":           flipped(t, genuine, 27),
		"its delivery flipped":         flipped(t, genuine, 2),
		"padded":                       genuine + "=",
		"a megabyte":                   "ikr_" + strings.Repeat("A", 1<<20),
		"an access token":              grant.AccessToken,
		"a session's ID":               grant.Session.ID.String(),
		"the prefix of a genuine one":  genuine[:50],
		"a genuine one, the wrong way": genuine, // for Refresh only
	}
	for name, token := range forgeries {
		i.tap.forget()
		_, err := i.Refresh(ctx, innkeeper.RefreshRequest{
			RefreshTokens: []string{token}, Delivery: innkeeper.DeliverByCookie, Key: keyFor("forger", 1),
		})
		if !errors.Is(err, innkeeper.ErrRefreshTokenInvalid) {
			t.Errorf("refresh with a token %s: %v", name, err)
		}
		if token != genuine {
			for _, scope := range []innkeeper.LogoutScope{innkeeper.LogoutThis, innkeeper.LogoutOthers, innkeeper.LogoutEverywhere} {
				if err := i.logout(scope, token, token); !errors.Is(err, innkeeper.ErrRefreshTokenInvalid) {
					t.Errorf("logout %s with a token %s: %v", scope, name, err)
				}
			}
			if _, err := i.PickRefreshToken([]string{token}); !errors.Is(err, innkeeper.ErrRefreshTokenInvalid) {
				t.Errorf("picked a token %s: %v", name, err)
			}
			if _, err := i.Authenticate(ctx, token); err == nil && token != grant.AccessToken {
				t.Errorf("authenticated with a token %s", name)
			}
		}
		calls := i.tap.forget()
		if token == grant.AccessToken {
			delete(calls, "Session") // of Authenticate
		}
		if len(calls) != 0 {
			t.Errorf("a token %s reached the store: %v", name, calls)
		}
	}
	i.tap.forget()
	for row, try := range map[string]func() error{
		"1b": func() error { _, err := i.try(grant, keyFor("confused", 7)); return err },
		"2":  func() error { i.clock.advance(400 * 24 * time.Hour); _, err := i.try(grant, noKey); return err },
	} {
		if try() == nil {
			t.Errorf("row %s gave tokens", row)
		}
	}
	if calls := i.tap.forget(); len(calls) != 0 {
		t.Errorf("rows 1b and 2 reached the store: %v", calls)
	}
	// And the tap does count: the real thing passes it.
	fresh := i.login("ada")
	i.refresh(fresh, noKey)
	if calls := i.tap.forget(); calls["RotateSession"] != 1 || calls["CreateSession"] != 1 {
		t.Errorf("a sign-in and a refresh were counted as %v", calls)
	}
}

// flipped changes one bit of one byte of a token and spells it anew.
func flipped(t *testing.T, token string, at int) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, innkeeper.RefreshTokenPrefix))
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1
	return innkeeper.RefreshTokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

// --- at the same time ----------------------------------------------------------------

// atOnce runs n refreshes of one token as close together as it can.
func atOnce(i *inn, grant *innkeeper.Grant, n int, key func(n int) innkeeper.IdempotencyKey) (grants []*innkeeper.Grant, errs []error) {
	grants, errs = make([]*innkeeper.Grant, n), make([]error, n)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for worker := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			grants[worker], errs[worker] = i.try(grant, key(worker))
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return grants, errs
}

const racers = 50

// All tabs of a browser refresh at once. They share the key, so all of them get
// the one successor.
func TestRacingRefreshesWithOneKey(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	first := i.login("ada")
	grants, errs := atOnce(i, first, racers, func(int) innkeeper.IdempotencyKey { return keyFor("owner", 1) })
	for worker := range racers {
		i.must(errs[worker])
		if grants[worker].RefreshToken.Reveal() != grants[0].RefreshToken.Reveal() {
			t.Fatal("there are two successors")
		}
		i.caller(grants[worker])
	}
	if row := i.row(first.Session.ID); row.Generation != 2 || row.Ended() {
		t.Errorf("the row is at generation %d, reason %q", row.Generation, row.Reason)
	}
	i.refresh(grants[racers-1], keyFor("owner", 2))
}

// Fifty strangers hold one token. One is let in, and the next one to come ends it
// for all: one rotation, one alarm.
func TestRacingRefreshesWithDifferentKeys(t *testing.T) {
	for name, key := range map[string]func(worker int) innkeeper.IdempotencyKey{
		"different keys": func(worker int) innkeeper.IdempotencyKey { return keyFor(fmt.Sprintf("worker %02d", worker), 1) },
		"no keys":        func(int) innkeeper.IdempotencyKey { return noKey },
	} {
		t.Run(name, func(t *testing.T) {
			i := openInn(t)
			i.addUser("ada")
			first := i.login("ada")
			grants, errs := atOnce(i, first, racers, key)
			var winner *innkeeper.Grant
			reused := 0
			for worker := range racers {
				var ended *innkeeper.SessionEndedError
				switch {
				case errs[worker] == nil && winner == nil:
					winner = grants[worker]
				case errs[worker] == nil:
					t.Fatal("two were let in")
				case errors.Is(errs[worker], innkeeper.ErrRefreshTokenReused):
					reused++
				case !errors.As(errs[worker], &ended) || ended.Reason != innkeeper.ReasonReuse:
					t.Errorf("got %v", errs[worker])
				}
			}
			row := i.row(first.Session.ID)
			if winner == nil || reused != 1 || row.Generation != 2 || row.Reason != innkeeper.ReasonReuse {
				t.Errorf("winner %t, %d told of the reuse, row at generation %d, reason %q",
					winner != nil, reused, row.Generation, row.Reason)
			}
			if i.count(innkeeper.EventTokenReused) != 1 || len(i.feed()) != 1 {
				t.Errorf("%d alarms, %d revocations", i.count(innkeeper.EventTokenReused), len(i.feed()))
			}
			_, err := i.try(winner, ownKey(winner))
			i.wantEnded(err, innkeeper.ReasonReuse)
		})
	}
}

// Refreshes that race with a logout: whoever comes after it gets nothing, and
// whatever was handed out before it is worth nothing after.
func TestRefreshesRacingWithALogout(t *testing.T) {
	for round := range 20 {
		i := openInn(t)
		i.addUser("ada")
		first := i.login("ada")
		var logout sync.WaitGroup
		logout.Go(func() {
			if err := i.logout(innkeeper.LogoutThis, first.RefreshToken.Reveal()); err != nil {
				t.Error(err)
			}
		})
		grants, errs := atOnce(i, first, 4, func(int) innkeeper.IdempotencyKey { return keyFor("owner", 1) })
		logout.Wait()
		for worker, grant := range grants {
			var ended *innkeeper.SessionEndedError
			if grant == nil {
				if !errors.As(errs[worker], &ended) || ended.Reason != innkeeper.ReasonLogout {
					t.Errorf("round %d: got %v", round, errs[worker])
				}
				continue
			}
			_, err := i.try(grant, keyFor("owner", 2))
			i.wantEnded(err, innkeeper.ReasonLogout)
			_, err = i.Authenticate(ctx, grant.AccessToken)
			i.want(err, innkeeper.ErrAccessTokenRevoked)
		}
	}
}

// A log-out of the others races with the caller's own refreshes: the calling
// session is neither lost nor forked.
func TestRefreshesRacingWithLogoutOthers(t *testing.T) {
	for range 20 {
		i := openInn(t)
		i.addUser("ada")
		first, other := i.login("ada"), i.login("ada")
		caller := i.caller(first)
		var logout sync.WaitGroup
		logout.Go(func() {
			if err := i.Logout(ctx, innkeeper.LogoutRequest{Scope: innkeeper.LogoutOthers, Caller: caller}); err != nil {
				t.Error(err)
			}
		})
		grants, errs := atOnce(i, first, 4, func(int) innkeeper.IdempotencyKey { return keyFor("owner", 1) })
		logout.Wait()
		for worker := range grants {
			i.must(errs[worker])
			if grants[worker].RefreshToken.Reveal() != grants[0].RefreshToken.Reveal() {
				t.Fatal("there are two successors")
			}
		}
		i.caller(i.refresh(grants[0], keyFor("owner", 2)))
		_, err := i.try(other, noKey)
		i.wantEnded(err, innkeeper.ReasonLogoutEverywhere)
	}
}
