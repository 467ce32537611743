package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/transfer"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

const plain = "correct horse battery staple"

func inMemory(*testing.T) innkeeper.Stores { return memory.New().Stores() }

func inFile(t *testing.T) innkeeper.Stores {
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "innkeeper.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store.Stores()
}

// inn is an authority over stores, with shorthands that fail the test.
type inn struct {
	*innkeeper.Authority
	t      *testing.T
	stores innkeeper.Stores
}

func newRoots(t *testing.T) rootkey.Ring {
	t.Helper()
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func openInn(t *testing.T, stores innkeeper.Stores, roots rootkey.Ring) *inn {
	t.Helper()
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: stores, RootKeys: roots, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &inn{Authority: authority, t: t, stores: stores}
}

func (i *inn) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

func (i *inn) addUser(name string, roles ...string) *innkeeper.User {
	i.t.Helper()
	user, err := i.CreateUser(i.t.Context(), innkeeper.NewUser{
		Username: name, Password: plain, Email: name + "@example.com", Roles: roles,
	}, innkeeper.ActorOperator)
	i.must(err)
	return user
}

func (i *inn) login(name string) *innkeeper.Grant {
	i.t.Helper()
	grant, err := i.Login(i.t.Context(), innkeeper.LoginRequest{
		Username: name, Password: plain, Delivery: innkeeper.DeliverByBody, Device: name + "'s telephone ☎",
	})
	i.must(err)
	return grant
}

// key is an honest client's key for a generation.
func (i *inn) key(generation uint32) innkeeper.IdempotencyKey {
	i.t.Helper()
	key, err := innkeeper.NewIdempotencyKey(fmt.Sprintf("the key of generation %d", generation), generation)
	i.must(err)
	return key
}

func (i *inn) try(grant *innkeeper.Grant, key innkeeper.IdempotencyKey) (*innkeeper.Grant, error) {
	return i.Refresh(i.t.Context(), innkeeper.RefreshRequest{
		RefreshTokens: []string{grant.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody, Key: key,
	})
}

func (i *inn) refresh(grant *innkeeper.Grant) *innkeeper.Grant {
	i.t.Helper()
	next, err := i.try(grant, i.key(grant.RefreshToken.Generation()))
	i.must(err)
	return next
}

func (i *inn) logout(scope innkeeper.LogoutScope, grant *innkeeper.Grant) {
	i.t.Helper()
	i.must(i.Logout(i.t.Context(), innkeeper.LogoutRequest{Scope: scope, RefreshTokens: []string{grant.RefreshToken.Reveal()}}))
}

func (i *inn) wantEnded(grant *innkeeper.Grant, what string) {
	i.t.Helper()
	var ended *innkeeper.SessionEndedError
	if _, err := i.try(grant, i.key(grant.RefreshToken.Generation())); !errors.As(err, &ended) {
		i.t.Errorf("%s: got %v, want it ended", what, err)
	}
}

// life is what people have done before the move, and still hold after it.
type life struct {
	fresh, once, lost, lostSuccessor, loggedOut, everywhere, carried *innkeeper.Grant
	stolen, stolenSuccessor                                          *innkeeper.Grant
	service                                                          string // its secret
}

func live(i *inn) life {
	i.t.Helper()
	ctx := i.t.Context()
	i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read"}}, innkeeper.ActorOperator))
	i.addUser("ada", "clerk", innkeeper.RoleAdmin)
	i.addUser("bob")
	carol := i.addUser("carol")
	off := true
	_, err := i.UpdateUser(ctx, carol.ID, innkeeper.UserUpdate{Disabled: &off}, innkeeper.ActorOperator)
	i.must(err)

	var l life
	_, secret, err := i.AddService(ctx, "mailer", []innkeeper.ServiceScope{innkeeper.ScopeUsersRead, innkeeper.ScopeIntrospect}, innkeeper.ActorOperator)
	i.must(err)
	l.service = secret.Reveal()
	_, err = i.AuthenticateService(ctx, innkeeper.ServiceLogin{Secret: l.service}) // notes its use
	i.must(err)
	l.fresh = i.login("ada")
	l.once = i.refresh(i.refresh(i.login("ada")))
	l.lost = i.refresh(i.login("ada"))
	l.lostSuccessor = i.refresh(l.lost)
	l.stolen = i.login("ada")
	l.stolenSuccessor = i.refresh(l.stolen)
	l.loggedOut = i.login("ada")
	i.logout(innkeeper.LogoutThis, l.loggedOut)

	l.everywhere, l.carried = i.login("bob"), i.login("bob")
	i.logout(innkeeper.LogoutOthers, l.carried)
	l.carried = i.refresh(l.carried)
	return l
}

// past is what the tests move: people sign in once for all of them, since hashing
// their passwords is slow on purpose.
var past struct {
	once   sync.Once
	stores innkeeper.Stores
	roots  rootkey.Ring
	life   life
}

// served fills stores with the past.
func served(t *testing.T, stores innkeeper.Stores) (life, rootkey.Ring) {
	t.Helper()
	past.once.Do(func() {
		past.stores, past.roots = inMemory(t), newRoots(t)
		past.life = live(openInn(t, past.stores, past.roots))
	})
	mustRun(t, transfer.Config{From: past.stores, To: stores})
	return past.life, past.roots
}

// goOn checks that everybody goes on as if nothing had happened.
func (l life) goOn(i *inn) {
	i.t.Helper()
	ctx := i.t.Context()
	for name, grant := range map[string]*innkeeper.Grant{"never refreshed": l.fresh, "refreshed": l.once, "carried": l.carried} {
		caller, err := i.Authenticate(ctx, grant.AccessToken)
		if err != nil || caller.Session.ID != grant.Session.ID {
			i.t.Errorf("%s: the access token of before: %v", name, err)
		}
		next := i.refresh(i.refresh(grant))
		if next.Session.Generation != grant.Session.Generation+2 || !reflect.DeepEqual(next.Subject, grant.Subject) {
			i.t.Errorf("%s: goes on as %+v, want after %+v", name, next.Session, grant.Session)
		}
	}
	again, err := i.try(l.lost, i.key(l.lost.RefreshToken.Generation()))
	if err != nil || again.RefreshToken.Reveal() != l.lostSuccessor.RefreshToken.Reveal() {
		i.t.Errorf("a retry across the move got %v, %v, want the same successor", again, err)
	}
	if _, err := i.try(l.stolen, innkeeper.IdempotencyKey{}); !errors.Is(err, innkeeper.ErrRefreshTokenReused) {
		i.t.Errorf("a stolen token got %v", err)
	}
	service, err := i.AuthenticateService(ctx, innkeeper.ServiceLogin{Name: "mailer", Secret: l.service})
	if err != nil || !service.Allows(innkeeper.ScopeIntrospect) || service.Allows(innkeeper.ScopeAdmin) || service.LastUsedAt.IsZero() {
		i.t.Errorf("the service is %+v, %v", service, err)
	}
	i.wantEnded(l.stolenSuccessor, "after the theft")
	i.wantEnded(l.loggedOut, "logged out before the move")
	i.wantEnded(l.everywhere, "logged out everywhere before the move")
	i.login("bob")
	_, err = i.Login(ctx, innkeeper.LoginRequest{Username: "carol", Password: plain, Delivery: innkeeper.DeliverByBody})
	if !errors.Is(err, innkeeper.ErrInvalidCredentials) {
		i.t.Errorf("a disabled user got %v", err)
	}
}

// journal is the feed without times, and the audit log of each user without
// numbers: those are the target's own.
func journal(t *testing.T, stores innkeeper.Stores) (feed []innkeeper.Revocation, log map[innkeeper.UserID][]innkeeper.Event) {
	t.Helper()
	feed, err := stores.Revocations.Revocations(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range feed {
		feed[i].At = time.Time{}
	}
	events, err := stores.Events.Events(t.Context(), innkeeper.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	log = make(map[innkeeper.UserID][]innkeeper.Event)
	for _, event := range events {
		event.Seq = 0
		log[event.UserID] = append(log[event.UserID], event)
	}
	return feed, log
}

func run(t *testing.T, cfg transfer.Config) (transfer.Counts, error) {
	t.Helper()
	cfg.Clock = time.Now
	x := transfer.New(cfg)
	err := x.Run(t.Context())
	return x.Counts(), err
}

func mustRun(t *testing.T, cfg transfer.Config) transfer.Counts {
	t.Helper()
	counts, err := run(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// TestNobodyIsSignedOut moves there and back again.
func TestNobodyIsSignedOut(t *testing.T) {
	for name, open := range engines {
		t.Run("file to "+name, func(t *testing.T) { nobodyIsSignedOut(t, inFile(t), open(t)) })
		t.Run(name+" to file", func(t *testing.T) { nobodyIsSignedOut(t, open(t), inFile(t)) })
	}
}

func nobodyIsSignedOut(t *testing.T, from, to innkeeper.Stores) {
	l, roots := served(t, from)
	if err := from.Issuer.SetIssuer(t.Context(), "https://auth.example.com"); err != nil {
		t.Fatal(err)
	}
	counts := mustRun(t, transfer.Config{From: from, To: to})
	if counts.Users != 3 || counts.Sessions != 5 || counts.Roles != 2 || counts.Services != 1 || counts.SigningKeys != 2 || counts.Revocations != 3 || counts.Compared != 3 {
		t.Errorf("counted %+v", counts)
	}
	wantFeed, wantLog := journal(t, from)
	feed, log := journal(t, to)
	if !reflect.DeepEqual(feed, wantFeed) {
		t.Errorf("the feed is %v, want %v", feed, wantFeed)
	}
	if !reflect.DeepEqual(log, wantLog) {
		t.Errorf("the log is %v, want %v", log, wantLog)
	}
	if issuer, err := to.Issuer.Issuer(t.Context()); err != nil || issuer != "https://auth.example.com" {
		t.Errorf("the issuer is %q, %v", issuer, err)
	}
	l.goOn(openInn(t, to, roots))
}

// TestMoveOn copies what is a copy already.
func TestMoveOn(t *testing.T) {
	first, second, third := inMemory(t), inFile(t), inMemory(t)
	l, roots := served(t, first)
	mustRun(t, transfer.Config{From: first, To: second})
	mustRun(t, transfer.Config{From: second, To: third})
	l.goOn(openInn(t, third, roots))
}

func TestAllButSessions(t *testing.T) {
	from, to := inFile(t), inFile(t)
	served(t, from)
	counts := mustRun(t, transfer.Config{From: from, To: to, Scope: transfer.AllButSessions})
	if counts.Users != 3 || counts.Sessions != 0 || counts.SigningKeys != 2 {
		t.Errorf("counted %+v", counts)
	}
	ada, err := to.Users.UserByUsername(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	found, err := to.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: ada.ID, Limit: 1})
	if err != nil || len(found) > 0 {
		t.Errorf("sessions were copied: %v, %v", found, err)
	}
}

func TestClearSessions(t *testing.T) {
	stores := inFile(t)
	l, roots := served(t, stores)
	i := openInn(t, stores, roots)
	i.logout(innkeeper.LogoutThis, l.once)
	n, err := transfer.ClearSessions(t.Context(), stores.Sessions)
	if err != nil || n != 5 {
		t.Errorf("cleared %d sessions, %v, want all 5", n, err)
	}
	i.wantEnded(l.fresh, "cleared")
}

// TestWhatIsNotEmptyStays refuses to write into anything that somebody has used.
func TestWhatIsNotEmptyStays(t *testing.T) {
	from := inMemory(t)
	served(t, from)
	for name, use := range map[string]func(t *testing.T, stores innkeeper.Stores) error{
		"served": func(t *testing.T, stores innkeeper.Stores) error { openInn(t, stores, newRoots(t)); return nil },
		"a user": func(t *testing.T, stores innkeeper.Stores) error {
			return stores.Users.CreateUser(t.Context(), innkeeper.User{Subject: innkeeper.Subject{Username: "eve"}}, innkeeper.Event{})
		},
		"an event": func(t *testing.T, stores innkeeper.Stores) error {
			return stores.Events.AppendEvent(t.Context(), innkeeper.Event{Kind: innkeeper.EventRoleSet})
		},
		"a revocation": func(t *testing.T, stores innkeeper.Stores) error {
			return stores.Revocations.Revoke(t.Context(), innkeeper.Revocation{Kind: innkeeper.RevokedKey, ID: "x"}, innkeeper.Event{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := inMemory(t)
			if err := use(t, to); err != nil {
				t.Fatal(err)
			}
			if _, err := run(t, transfer.Config{From: from, To: to}); !errors.Is(err, transfer.ErrNotEmpty) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := run(t, transfer.Config{From: inMemory(t), To: inMemory(t)}); !errors.Is(err, transfer.ErrNothing) {
		t.Errorf("from nothing: %v", err)
	}
}

var errBroken = errors.New("the network is down")

// broken fails at the nth session.
type broken struct {
	innkeeper.SessionStore
	left atomic.Int32
}

func (b *broken) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	if b.left.Add(-1) < 0 {
		return errBroken
	}
	return b.SessionStore.CreateSession(ctx, birth)
}

// TestUnfinishedIsNotServed breaks off in the middle: no server takes the rest for
// all there is, and nothing is added to it.
func TestUnfinishedIsNotServed(t *testing.T) {
	from, to := inMemory(t), inFile(t)
	l, roots := served(t, from)
	half := &broken{SessionStore: to.Sessions}
	half.left.Store(2)
	failing := to
	failing.Sessions = half
	if _, err := run(t, transfer.Config{From: from, To: failing}); !errors.Is(err, errBroken) {
		t.Fatalf("got %v", err)
	}
	_, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: to, RootKeys: roots, Clock: time.Now,
	})
	if !errors.Is(err, innkeeper.ErrWrongRootKey) {
		t.Errorf("half of it was opened: %v", err)
	}
	checks, err := to.RootKeys.RootKeyChecks(t.Context())
	if err != nil || !transfer.Unfinished(checks) {
		t.Errorf("checks %v, %v are not told to be of an unfinished copy", checks, err)
	}
	if _, err := run(t, transfer.Config{From: from, To: to}); !errors.Is(err, transfer.ErrUnfinished) {
		t.Errorf("went on with half: %v", err)
	}
	if _, err := run(t, transfer.Config{From: to, To: inMemory(t)}); !errors.Is(err, transfer.ErrSourceUnfinished) {
		t.Errorf("took half for the whole: %v", err)
	}
	// Into an empty one it succeeds, and the source is as it was.
	again := inFile(t)
	mustRun(t, transfer.Config{From: from, To: again})
	l.goOn(openInn(t, again, roots))
}

func TestInterrupted(t *testing.T) {
	from := inMemory(t)
	served(t, from)
	ctx, cancel := context.WithCancel(t.Context())
	to := inMemory(t)
	to.Sessions = &hooked{SessionStore: to.Sessions, hook: cancel}
	err := transfer.New(transfer.Config{From: from, To: to, Clock: time.Now}).Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// hooked does something when the first session arrives.
type hooked struct {
	innkeeper.SessionStore
	done atomic.Bool
	hook func()
}

func (h *hooked) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	if err := h.SessionStore.CreateSession(ctx, birth); err != nil {
		return err
	}
	if !h.done.Swap(true) {
		h.hook()
	}
	return nil
}

// TestSourceThatMoves writes to the source in the middle of the copy, as a server
// that nobody has stopped.
func TestSourceThatMoves(t *testing.T) {
	for name, move := range map[string]func(i *inn, l life){
		"refresh": func(i *inn, l life) {
			for _, grant := range []*innkeeper.Grant{l.fresh, l.once, l.carried} {
				i.refresh(grant)
			}
		},
		"log out": func(i *inn, l life) {
			for _, grant := range []*innkeeper.Grant{l.fresh, l.once, l.carried} {
				i.logout(innkeeper.LogoutThis, grant)
			}
		},
		"log out everywhere": func(i *inn, l life) {
			i.logout(innkeeper.LogoutEverywhere, l.fresh)
			i.logout(innkeeper.LogoutEverywhere, l.carried)
		},
		"sign in":  func(i *inn, _ life) { i.login("ada"); i.login("bob") },
		"add user": func(i *inn, _ life) { i.addUser("aaa") },
		"remove a service": func(i *inn, _ life) {
			services, err := i.Services(i.t.Context())
			i.must(err)
			for _, service := range services {
				err := i.RemoveService(i.t.Context(), service.ID, innkeeper.ActorOperator)
				if !errors.Is(err, innkeeper.ErrNotFound) { // the hook is called more than once
					i.must(err)
				}
			}
		},
		"delete users": func(i *inn, l life) {
			i.must(i.DeleteUser(i.t.Context(), l.fresh.Subject.ID, innkeeper.ActorOperator))
			i.must(i.DeleteUser(i.t.Context(), l.carried.Subject.ID, innkeeper.ActorOperator))
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := inMemory(t), inMemory(t)
			l, roots := served(t, from)
			i := openInn(t, from, roots)
			to.Sessions = &hooked{SessionStore: to.Sessions, hook: func() { move(i, l) }}
			if _, err := run(t, transfer.Config{From: from, To: to}); !errors.Is(err, transfer.ErrDiffers) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestMany copies more than any page holds: users, sessions of one user, events.
func TestMany(t *testing.T) {
	const users, sessions = 503, 507
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
	from, to := inMemory(t), inFile(t)
	openInn(t, from, newRoots(t))
	for n := range users {
		user := innkeeper.User{Subject: innkeeper.Subject{Username: fmt.Sprintf("guest-%04d", n)}, CreatedAt: now, UpdatedAt: now}
		copy(user.ID[:], fmt.Sprintf("%016d", n))
		event := innkeeper.Event{At: now, Kind: innkeeper.EventUserCreated, UserID: user.ID}
		if err := from.Users.CreateUser(ctx, user, event); err != nil {
			t.Fatal(err)
		}
	}
	var busy innkeeper.UserID
	copy(busy[:], fmt.Sprintf("%016d", 7))
	for n := range sessions {
		session := innkeeper.Session{
			UserID: busy, Delivery: innkeeper.DeliverByBody, Generation: uint32(n + 1),
			CreatedAt: now.Add(time.Duration(n%5) * time.Second), RotatedAt: now, // many of the same age
			RefreshExpiresAt: now.Add(time.Hour).Truncate(time.Second), ExpiresAt: now.Add(time.Hour).Truncate(time.Second),
		}
		copy(session.ID[:], fmt.Sprintf("%016d", n))
		session.SecretHash[0] = 1
		event := innkeeper.Event{At: now, Kind: innkeeper.EventSessionStarted, UserID: busy, SessionID: session.ID}
		if err := from.Sessions.CreateSession(ctx, innkeeper.Birth{Session: session, Event: event}); err != nil {
			t.Fatal(err)
		}
	}
	counts := mustRun(t, transfer.Config{From: from, To: to})
	if counts.Users != users || counts.Sessions != sessions || counts.Events != users+sessions {
		t.Errorf("counted %+v", counts)
	}
}
