package innkeeper_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// signedBy is the key that an access token names.
func signedBy(t testing.TB, grant *innkeeper.Grant) string {
	t.Helper()
	segment, _, _ := strings.Cut(grant.AccessToken, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}

// kids are the keys by state; of several the newest.
func (i *inn) kids() map[keyring.State]string {
	i.t.Helper()
	records, err := i.store.SigningKeys(ctx)
	i.must(err)
	slices.SortFunc(records, func(a, b keyring.Record) int { return a.PublishedAt.Compare(b.PublishedAt) })
	found := make(map[keyring.State]string)
	for _, rec := range records {
		found[rec.State] = rec.KeyID
	}
	return found
}

// details are what the log says of keys.
func (i *inn) details(kind innkeeper.EventKind) []map[string]string {
	i.t.Helper()
	var found []map[string]string
	for _, event := range i.events() {
		if event.Kind == kind {
			found = append(found, event.Detail)
		}
	}
	return found
}

func TestKeysRotateByHand(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	before := i.kids()

	_, err := i.RotateKeys(ctx, innkeeper.ActorOperator)
	var early *keyring.TooEarlyError
	if !errors.As(err, &early) || early.KeyID != before[keyring.Published] || early.Wait != keyring.MinPublished ||
		!early.Earliest.Equal(opening.Add(keyring.MinPublished)) {
		t.Fatalf("got %v", err)
	}
	if n := i.count(innkeeper.EventKeyRotated); n != 0 {
		t.Errorf("a refusal was logged %d times as a rotation", n)
	}
	i.clock.advance(keyring.MinPublished - time.Minute)
	grant = i.refresh(grant, ownKey(grant))
	i.clock.advance(time.Minute)
	change, err := i.RotateKeys(ctx, innkeeper.UserActor(grant.Subject.ID))
	i.must(err)
	after := i.kids()
	want := keyring.Change{Activated: before[keyring.Published], Retired: before[keyring.Active], Published: after[keyring.Published]}
	if change.Activated != want.Activated || change.Retired != want.Retired || change.Published != want.Published || len(change.Removed) > 0 {
		t.Errorf("the change is %+v, want %+v", change, want)
	}
	next := i.refresh(grant, ownKey(grant))
	if signedBy(t, grant) != before[keyring.Active] || signedBy(t, next) != before[keyring.Published] {
		t.Error("tokens are signed by other keys")
	}
	i.caller(grant)
	i.caller(next)
	if got := i.details(innkeeper.EventKeyRotated); len(got) != 1 || !maps.Equal(got[0], map[string]string{"key": change.Activated, "retired": change.Retired}) {
		t.Errorf("the log says %v", got)
	}
	if got := i.details(innkeeper.EventKeyPublished); len(got) != 1 || got[0]["key"] != change.Published {
		t.Errorf("the log says %v", got)
	}
	for _, event := range i.events() {
		if event.Kind == innkeeper.EventKeyRotated && event.Actor != innkeeper.UserActor(grant.Subject.ID) {
			t.Errorf("the actor is %s", event.Actor)
		}
	}
}

// TestKeysRotateByThemselves lets servers run for months. Their clock moves twelve hours
// at a time, and in between they are given as long as their work on the keys takes to
// come round: they poll for revocations besides, and months of that would take hours.
func TestKeysRotateByThemselves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t)
		other := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys))
		off := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), func(c *innkeeper.Config) { c.KeyRotationPeriod = -1 })
		running, stop := context.WithCancel(ctx)
		for _, server := range []*inn{i, other, off} {
			go server.Run(running)
		}
		const step = 12 * time.Hour
		pass := func(days int) {
			for range time.Duration(days) * 24 * time.Hour / step {
				i.clock.advance(step)
				time.Sleep(keyring.ReloadInterval * 6 / 5)
			}
		}
		pass(29)
		if n := i.count(innkeeper.EventKeyRotated); n != 0 {
			t.Errorf("keys were rotated %d times within the first month", n)
		}
		pass(1)
		time.Sleep(keyring.ReloadInterval * 6 / 5) // until those know of it that have not moved the keys
		i.addUser("ada")
		grants := []*innkeeper.Grant{i.login("ada"), other.login("ada"), off.login("ada")}
		for _, grant := range grants {
			if got := signedBy(t, grant); got != i.kids()[keyring.Active] {
				t.Errorf("a server signs with %s, and %s is active", got, i.kids()[keyring.Active])
			}
		}
		pass(89)
		if rotated, removed := i.count(innkeeper.EventKeyRotated), i.count(innkeeper.EventKeyRemoved); rotated != 3 || removed != 3 {
			t.Errorf("in 119 days three servers rotated %d times, and removed %d keys; want 3 each", rotated, removed)
		}
		for _, event := range i.events() {
			if strings.HasPrefix(string(event.Kind), "key.") && event.Actor != innkeeper.ActorServer {
				t.Errorf("the actor of %s is %q", event.Kind, event.Actor)
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestKeyRotationPeriod(t *testing.T) {
	config := openInn(t).config
	config.KeyRotationPeriod = 23 * time.Hour
	var input *innkeeper.InputError
	if _, err := innkeeper.Open(ctx, config); !errors.As(err, &input) || input.Field != "key-rotation-period" {
		t.Errorf("got %v", err)
	}
}

// TestRevokedKey revokes the key that signs, and looks at who learns of it.
func TestRevokedKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		clock := func(c *innkeeper.Config) { c.Clock = time.Now }
		i := openInn(t, clock)
		other := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), clock)
		running, stop := context.WithCancel(ctx)
		go i.Run(running)
		go other.Run(running)
		i.addUser("ada")
		synctest.Wait()
		grant := i.login("ada")
		stolen, next := i.kids()[keyring.Active], i.kids()[keyring.Published]

		// Who moves the keys is open: this call, or a server that has read the feed by then.
		_, err := i.RevokeKey(ctx, stolen, innkeeper.ActorOperator)
		i.must(err)
		if kids := i.kids(); kids[keyring.Active] != next || kids[keyring.Removed] != stolen || kids[keyring.Published] == "" {
			t.Errorf("the keys are %v, want %s to sign", kids, next)
		}
		_, err = i.Authenticate(ctx, grant.AccessToken)
		i.want(err, innkeeper.ErrAccessTokenRevoked)
		_, err = i.Check(ctx, grant.AccessToken)
		i.want(err, innkeeper.ErrAccessTokenRevoked)
		time.Sleep(time.Second)
		_, err = other.Authenticate(ctx, grant.AccessToken)
		i.want(err, innkeeper.ErrAccessTokenRevoked)
		renewed := other.refresh(grant, ownKey(grant))
		if got := signedBy(t, renewed); got != next {
			t.Errorf("the next token is signed by %s, want %s", got, next)
		}
		i.caller(renewed)
		if strings.Contains(string(other.JWKS()), stolen) || strings.Contains(string(i.JWKS()), stolen) {
			t.Error("the revoked key is published")
		}

		// Once more is fine, and tells nobody again.
		feed, events := i.feed(), i.events()
		_, err = other.RevokeKey(ctx, stolen, innkeeper.ActorOperator)
		i.must(err)
		if len(i.feed()) != len(feed) || len(i.events()) != len(events) {
			t.Error("a key that is gone was revoked again")
		}
		_, err = i.RevokeKey(ctx, "nonsense", innkeeper.ActorOperator)
		i.want(err, innkeeper.ErrNotFound)
		_, err = i.RetireKey(ctx, "nonsense", innkeeper.ActorOperator)
		i.want(err, innkeeper.ErrNotFound)
		stop()
		synctest.Wait()
	})
}

// TestRevokedKeyIsLogged looks at what is said of an emergency where no server is beside
// it: by the call, and by the log.
func TestRevokedKeyIsLogged(t *testing.T) {
	i := openInn(t)
	stolen, next := i.kids()[keyring.Active], i.kids()[keyring.Published]
	change, err := i.RevokeKey(ctx, stolen, innkeeper.ActorOperator)
	i.must(err)
	reserve := i.kids()[keyring.Published]
	if change.Activated != next || change.Published != reserve || !slices.Equal(change.Removed, []string{stolen}) {
		t.Errorf("the change is %+v", change)
	}
	for kind, keyID := range map[innkeeper.EventKind]string{
		innkeeper.EventKeyRevoked: stolen, innkeeper.EventKeyRemoved: stolen, innkeeper.EventKeyRotated: next, innkeeper.EventKeyPublished: reserve,
	} {
		if got := i.details(kind); len(got) != 1 || got[0]["key"] != keyID {
			t.Errorf("the log says %v of %s, want the key %s", got, kind, keyID)
		}
	}
}

// TestHalfRevokedKey loses the store after the feed was written: whoever reads the
// feed stops using the key at once, and finishes as soon as the store lets it.
func TestHalfRevokedKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		clock := func(c *innkeeper.Config) { c.Clock = time.Now }
		i := openInn(t, clock)
		other := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), clock)
		i.addUser("ada")
		grant := other.login("ada")
		stolen, next := i.kids()[keyring.Active], i.kids()[keyring.Published]
		down := errors.New("connection refused")
		for _, server := range []*inn{i, other} {
			server.tap.always("MoveSigningKeys", func() error { return down })
		}
		_, err := i.RevokeKey(ctx, stolen, innkeeper.ActorOperator)
		i.want(err, innkeeper.ErrUnavailable)
		if i.kids()[keyring.Active] != stolen {
			t.Fatal("the key has moved")
		}
		running, stop := context.WithCancel(ctx)
		go other.Run(running)
		time.Sleep(time.Second)
		// It signs nothing, and signs nobody out.
		_, err = other.try(grant, ownKey(grant))
		i.want(err, innkeeper.ErrUnavailable)
		if generation := i.row(grant.Session.ID).Generation; generation != 1 {
			t.Errorf("a refresh that could not be signed was consumed: generation %d", generation)
		}
		other.tap.forget()
		time.Sleep(2 * keyring.ReloadInterval)
		if i.kids()[keyring.Active] != next || i.kids()[keyring.Removed] != stolen || i.kids()[keyring.Published] == "" {
			t.Errorf("the keys are %v", i.kids())
		}
		if got := signedBy(t, other.refresh(grant, ownKey(grant))); got != next {
			t.Errorf("tokens are signed by %s, want %s", got, next)
		}
		stop()
		synctest.Wait()
	})
}

// threeKeys rotates once, and returns the keys that there are then: the active one, the
// one in reserve and the one that retires. The time has to be simulated.
func (i *inn) threeKeys() []string {
	i.t.Helper()
	time.Sleep(keyring.MinPublished)
	_, err := i.RotateKeys(ctx, innkeeper.ActorOperator)
	i.must(err)
	kids := i.kids()
	return []string{kids[keyring.Active], kids[keyring.Published], kids[keyring.Retiring]}
}

// left are those of the keys that are not removed.
func (i *inn) left(keyIDs []string) []string {
	i.t.Helper()
	records, err := i.store.SigningKeys(ctx)
	i.must(err)
	var left []string
	for _, rec := range records {
		if rec.State != keyring.Removed && slices.Contains(keyIDs, rec.KeyID) {
			left = append(left, rec.KeyID)
		}
	}
	return left
}

// TestAllKeysRevoked is a leak of the database, in which every key lies.
func TestAllKeysRevoked(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		clock := func(c *innkeeper.Config) { c.Clock = time.Now }
		i := openInn(t, clock)
		other := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), clock)
		i.addUser("ada")
		old := i.login("ada")
		leaked := i.threeKeys()
		running, stop := context.WithCancel(ctx)
		go i.Run(running)
		go other.Run(running)
		synctest.Wait()
		grant := i.login("ada")
		if signedBy(t, old) != leaked[2] || signedBy(t, grant) != leaked[0] {
			t.Fatalf("tokens are signed by %s and %s, and the keys are %v", signedBy(t, old), signedBy(t, grant), leaked)
		}

		_, err := i.RevokeAllKeys(ctx, innkeeper.ActorOperator)
		i.must(err)
		if left, kids := i.left(leaked), i.kids(); len(left) > 0 || kids[keyring.Active] == "" {
			t.Errorf("%v are left, and the keys are %v", left, kids)
		}
		time.Sleep(time.Second)
		for _, server := range []*inn{i, other} {
			for _, grant := range []*innkeeper.Grant{old, grant} {
				_, err = server.Authenticate(ctx, grant.AccessToken)
				i.want(err, innkeeper.ErrAccessTokenRevoked)
				_, err = server.Check(ctx, grant.AccessToken)
				i.want(err, innkeeper.ErrAccessTokenRevoked)
			}
			for _, keyID := range leaked {
				if strings.Contains(string(server.JWKS()), keyID) {
					t.Errorf("the key %s is published", keyID)
				}
			}
		}
		renewed := other.refresh(grant, ownKey(grant))
		if got := signedBy(t, renewed); got != i.kids()[keyring.Active] {
			t.Errorf("the next token is signed by %s", got)
		}
		i.caller(renewed)
		var named []string
		for _, entry := range i.feed() {
			if entry.Kind == innkeeper.RevokedKey {
				named = append(named, entry.ID)
			}
		}
		if want := []string{leaked[1], leaked[2], leaked[0]}; !slices.Equal(named, want) {
			t.Errorf("the feed names %v, want %v", named, want)
		}
		if got := i.details(innkeeper.EventKeyRevoked); len(got) != 3 {
			t.Errorf("the log says %v", got)
		}
		stop()
		synctest.Wait()
	})
}

// TestHalfRevokedKeys stops the revocation of all keys after each of its writes, while
// another server follows the feed: no key that has leaked takes over from another, and
// another try finishes. Once all of them are in the feed, servers do so by themselves.
func TestHalfRevokedKeys(t *testing.T) {
	const keys = 3
	for written := range keys + 1 {
		bubble.Test(t, func(t *testing.T) {
			clock := func(c *innkeeper.Config) { c.Clock = time.Now }
			i := openInn(t, clock)
			other := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), clock)
			i.addUser("ada")
			leaked := i.threeKeys()
			grant := i.login("ada")
			running, stop := context.WithCancel(ctx)
			go other.Run(running)
			synctest.Wait()

			down, calls := errors.New("connection refused"), 0
			i.tap.always("Revoke", func() error {
				calls++
				time.Sleep(time.Second) // the other server has read what was written before
				if calls > written {
					return down
				}
				return nil
			})
			i.tap.always("MoveSigningKeys", func() error { return down })
			_, err := i.RevokeAllKeys(ctx, innkeeper.ActorOperator)
			if written < keys {
				i.want(err, innkeeper.ErrUnavailable)
			}
			time.Sleep(2 * keyring.ReloadInterval)
			if signs := i.kids()[keyring.Active]; slices.Contains(leaked[1:], signs) {
				t.Errorf("after %d entries a leaked key has taken over", written)
			}
			if left := len(i.left(leaked)); left != keys-written {
				t.Errorf("after %d entries %d keys are left", written, left)
			}
			i.tap.forget()
			_, err = i.RevokeAllKeys(ctx, innkeeper.ActorOperator)
			i.must(err)
			if left := i.left(leaked); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
			time.Sleep(time.Second)
			if got := signedBy(t, other.refresh(grant, ownKey(grant))); slices.Contains(leaked, got) {
				t.Errorf("the leaked key %s signs", got)
			}
			stop()
			synctest.Wait()
		})
	}
}

// TestNothingIsConsumedThatCannotBeSigned takes the keys of the store away from a
// server that does not know any more what they are.
func TestNothingIsConsumedThatCannotBeSigned(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	grant := i.login("ada")
	caller := i.caller(grant)
	down := errors.New("connection refused")
	i.tap.always("SigningKeys", func() error { return down })

	i.clock.advance(keyring.SnapshotAge)
	grant = i.refresh(grant, ownKey(grant)) // what it knows is young enough
	i.clock.advance(time.Second)
	before, row := i.events(), *i.row(grant.Session.ID)
	_, err := i.try(grant, ownKey(grant))
	i.want(err, innkeeper.ErrUnavailable)
	_, err = i.Login(ctx, innkeeper.LoginRequest{
		Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody, Replaces: grant.RefreshToken.Reveal(),
	})
	i.want(err, innkeeper.ErrUnavailable)
	_, err = i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
	i.want(err, innkeeper.ErrUnavailable)
	_, err = i.Authenticate(ctx, grant.AccessToken)
	i.want(err, innkeeper.ErrUnavailable)
	if jwks, maxAge := i.PublicKeys(ctx); maxAge != 0 || !strings.Contains(string(jwks), signedBy(t, grant)) {
		t.Errorf("others may keep the keys for %s", maxAge)
	}
	if len(i.events()) != len(before) || i.row(grant.Session.ID).Generation != row.Generation || i.row(grant.Session.ID).Ended() {
		t.Error("something was written")
	}

	i.tap.forget()
	if _, maxAge := i.PublicKeys(ctx); maxAge != keyring.JWKSMaxAge {
		t.Errorf("others may keep the keys for %s", maxAge)
	}
	i.refresh(grant, ownKey(grant))
}

// TestVisitors are commands beside servers.
func TestVisitors(t *testing.T) {
	old := rootkey.Generate()
	fresh := generateBeside(old)
	server := openInn(t, withRoots(ringOf(t, old)))
	visit := func(c *innkeeper.Config) { c.Visiting = true }
	visitor := openInnOn(t, server.store, server.clock, withRoots(ringOf(t, old, fresh)), visit)
	checks, err := server.store.RootKeyChecks(ctx)
	server.must(err)
	if len(checks) != 1 {
		t.Error("the store has learned of a root key that no server has")
	}
	server.clock.advance(time.Hour)
	next := server.kids()[keyring.Published]
	_, err = visitor.RotateKeys(ctx, innkeeper.ActorOperator)
	server.must(err)
	if kids := server.kids(); kids[keyring.Active] != next || kids[keyring.Published] != "" {
		t.Errorf("the keys are %v", kids)
	}
	// A server makes what is missing, of its own kind.
	other := openInnOn(t, server.store, server.clock, withRoots(ringOf(t, old)), func(c *innkeeper.Config) { c.Algorithm = accesstoken.EdDSA })
	_, err = other.RotateKeys(ctx, innkeeper.ActorOperator)
	var early *keyring.TooEarlyError
	if !errors.As(err, &early) || early.Wait != keyring.MinPublished || early.KeyID == "" || early.KeyID != server.kids()[keyring.Published] {
		t.Errorf("got %v; the keys are %v", err, server.kids())
	}

	// Before the first server there is nothing to sign with, and nothing is made.
	empty := openInn(t, visit)
	empty.addUser("ada")
	_, err = empty.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody})
	empty.want(err, innkeeper.ErrUnavailable)
	if kids := empty.kids(); len(kids) != 0 {
		t.Errorf("a visitor has made %v", kids)
	}
	if _, err := empty.store.RootKeyChecks(ctx); err != nil {
		t.Error(err)
	}
}

// TestKeysAreRewrapped starts servers with root keys in other orders.
func TestKeysAreRewrapped(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		old := rootkey.Generate()
		fresh := generateBeside(old)
		clock := func(c *innkeeper.Config) { c.Clock = time.Now }
		first := openInn(t, withRoots(ringOf(t, old)), clock)
		under := func(id rootkey.ID) int {
			records, err := first.store.SigningKeys(ctx)
			first.must(err)
			n := 0
			for _, rec := range records {
				if got, ok := rootkey.WrappedUnder(rec.Wrapped); ok && got == id {
					n++
				}
			}
			return n
		}
		run := func(keys ...*rootkey.Key) (server *inn, stop func()) {
			server = openInnOn(t, first.store, first.clock, withRoots(ringOf(t, keys...)), clock)
			running, cancel := context.WithCancel(ctx)
			go server.Run(running)
			time.Sleep(time.Minute)
			return server, func() { cancel(); synctest.Wait() }
		}
		// Somebody has left out a step: no other server can know the new root key.
		_, stop := run(fresh, old)
		if under(old.ID()) != 2 {
			t.Error("keys were encrypted under a root key that no server had yet")
		}
		stop()
		// From now on the store knows it.
		server, stop := run(fresh, old)
		defer stop()
		if under(fresh.ID()) != 2 || under(old.ID()) != 0 {
			t.Errorf("%d keys are under the new root key, and %d under the old one", under(fresh.ID()), under(old.ID()))
		}
		if got := server.details(innkeeper.EventKeyRewrapped); len(got) != 1 || got[0]["root_key"] != fresh.ID().String() {
			t.Errorf("the log says %v", got)
		}
		// A server with the other order, which is about to be restarted, undoes it once
		// when it starts, and does not quarrel.
		_, stop = run(old, fresh)
		defer stop()
		time.Sleep(time.Hour)
		if n := server.count(innkeeper.EventKeyRewrapped); n > 2 {
			t.Errorf("two servers have encrypted keys %d times", n)
		}
		// One without the new root key goes on with what it holds.
		first.addUser("ada")
		grant, err := first.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody})
		first.must(err)
		server.caller(grant)
	})
}
