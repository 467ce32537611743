package innkeeper_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

const (
	rightPassword = "correct horse battery staple"
	otherPassword = "staple battery horse correct"
	wrongPassword = "incorrect horse battery staple"
)

// opening is when every test begins: a moment with microseconds, so that what is
// kept in whole seconds differs from what is not.
var opening = time.Date(2026, 3, 14, 15, 9, 26, 535_897_000, time.UTC)

// inn is an authority over the memory store, with a clock that stands still
// until a test moves it.
type inn struct {
	*innkeeper.Authority
	t        rapid.TB
	clock    *clock
	store    *memory.Store
	tap      *tap
	config   innkeeper.Config
	observed *observations
}

func openInn(t rapid.TB, changes ...func(*innkeeper.Config)) *inn {
	t.Helper()
	return openInnOn(t, memory.New(), &clock{now: opening}, changes...)
}

// openInnOn opens an authority on a store that may have been used before.
func openInnOn(t rapid.TB, store *memory.Store, clock *clock, changes ...func(*innkeeper.Config)) *inn {
	t.Helper()
	i := &inn{t: t, clock: clock, store: store, tap: newTap(), observed: &observations{}}
	i.config = innkeeper.Config{
		Issuer:   "https://auth.example.com",
		Stores:   i.tap.on(store.Stores()),
		RootKeys: ringOf(t, rootkey.Generate()),
		Clock:    clock.Now,
		Passwords: password.Config{
			InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1},
		},
		Observe: func(_ context.Context, event innkeeper.Event) { i.observed.add(event) },
	}
	for _, change := range changes {
		change(&i.config)
	}
	authority, err := innkeeper.Open(context.Background(), i.config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	i.Authority = authority
	i.tap.forget()
	return i
}

func ringOf(t rapid.TB, keys ...*rootkey.Key) rootkey.Ring {
	t.Helper()
	ring, err := rootkey.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// generateBeside makes a root key with another ID than those given. IDs have 16 bits, so
// that two random keys share one now and then.
func generateBeside(keys ...*rootkey.Key) *rootkey.Key {
	for {
		key := rootkey.Generate()
		if !slices.ContainsFunc(keys, func(other *rootkey.Key) bool { return other.ID() == key.ID() }) {
			return key
		}
	}
}

func withPolicy(policy innkeeper.Policy) func(*innkeeper.Config) {
	return func(c *innkeeper.Config) { c.Policy = policy }
}

func withRoots(ring rootkey.Ring) func(*innkeeper.Config) {
	return func(c *innkeeper.Config) { c.RootKeys = ring }
}

// withoutLimits is for tests that do more than anybody honest while the clock stands
// still.
func withoutLimits(c *innkeeper.Config) {
	c.SignInLimits, c.RefreshLimit = innkeeper.InsecureLimitNothing, -1
}

func withSignupOpen(c *innkeeper.Config) { c.SignupOpen = true }

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// observations are the events that the authority has told its observer.
type observations struct {
	mu     sync.Mutex
	events []innkeeper.Event
}

func (o *observations) add(event innkeeper.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, event)
}

// What follows are the verbs in which the tests are written.

var ctx = context.Background()

func (i *inn) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

func (i *inn) want(err, target error) {
	i.t.Helper()
	if !errors.Is(err, target) {
		i.t.Fatalf("got error %v, want %v", err, target)
	}
}

// wantEnded checks for row 3, 4 or 10 and the reason that the owner is told.
func (i *inn) wantEnded(err error, reason innkeeper.Reason) {
	i.t.Helper()
	var ended *innkeeper.SessionEndedError
	if !errors.As(err, &ended) || ended.Reason != reason {
		i.t.Fatalf("got error %v, want: session has ended (%s)", err, reason)
	}
}

func (i *inn) addUser(name string) *innkeeper.User {
	i.t.Helper()
	user, err := i.CreateUser(ctx, innkeeper.NewUser{Username: name, Password: rightPassword}, innkeeper.ActorOperator)
	i.must(err)
	return user
}

func (i *inn) login(name string) *innkeeper.Grant {
	i.t.Helper()
	return i.loginWith(name, rightPassword)
}

func (i *inn) loginWith(name, password string) *innkeeper.Grant {
	i.t.Helper()
	grant, err := i.Login(ctx, innkeeper.LoginRequest{Username: name, Password: password, Delivery: innkeeper.DeliverByBody})
	i.must(err)
	return grant
}

// caller authenticates with a grant's access token.
func (i *inn) caller(grant *innkeeper.Grant) *innkeeper.Caller {
	i.t.Helper()
	caller, err := i.Authenticate(ctx, grant.AccessToken)
	i.must(err)
	return caller
}

// try presents the refresh token of a grant.
func (i *inn) try(grant *innkeeper.Grant, key innkeeper.IdempotencyKey) (*innkeeper.Grant, error) {
	return i.Refresh(ctx, innkeeper.RefreshRequest{
		RefreshTokens: []string{grant.RefreshToken.Reveal()}, Delivery: grant.Session.Delivery, Key: key,
	})
}

// refresh is a try that must give tokens.
func (i *inn) refresh(grant *innkeeper.Grant, key innkeeper.IdempotencyKey) *innkeeper.Grant {
	i.t.Helper()
	next, err := i.try(grant, key)
	i.must(err)
	return next
}

// ownKey is the key that the owner of a grant makes to refresh it.
func ownKey(grant *innkeeper.Grant) innkeeper.IdempotencyKey {
	return keyFor(fmt.Sprintf("owner of %s", grant.Session.ID), grant.Session.Generation)
}

// keyFor is a key that somebody has made for a generation.
func keyFor(who string, generation uint32) innkeeper.IdempotencyKey {
	key, err := innkeeper.NewIdempotencyKey(fmt.Sprintf("%s, generation %d", who, generation), generation)
	if err != nil {
		panic(err)
	}
	return key
}

var noKey innkeeper.IdempotencyKey

func (i *inn) row(id innkeeper.SessionID) *innkeeper.Session {
	i.t.Helper()
	session, _, err := i.store.Session(ctx, id)
	i.must(err)
	return &session
}

func (i *inn) events() []innkeeper.Event {
	i.t.Helper()
	events, err := i.store.Events(ctx, innkeeper.EventQuery{Limit: 1 << 20})
	i.must(err)
	return events
}

func (i *inn) count(kind innkeeper.EventKind) int {
	i.t.Helper()
	n := 0
	for _, event := range i.events() {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

func (i *inn) feed() []innkeeper.Revocation {
	i.t.Helper()
	feed, err := i.store.Revocations(ctx, 0, 1<<20)
	i.must(err)
	return feed
}

// secretHash is what the store must hold of a grant's refresh token: by the format
// in docs/refresh.md, and not by our own code.
func secretHash(t rapid.TB, grant *innkeeper.Grant) innkeeper.SecretHash {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(grant.RefreshToken.Reveal(), "ikr_"))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(raw[28:60])
}

// claims reads the payload of an access token without judging it.
func claims(t rapid.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the access token has %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// expiryOf returns the `exp` of an access token.
func expiryOf(t rapid.TB, token string) time.Time {
	t.Helper()
	exp, ok := claims(t, token)["exp"].(float64)
	if !ok {
		t.Fatal("the access token has no exp")
	}
	return time.Unix(int64(exp), 0).UTC()
}
