// Package innkeepertest runs a whole Innkeeper inside a test, with a clock that
// the test moves:
//
//	func TestMail(t *testing.T) {
//		inn := innkeepertest.New(t, nil)
//		inn.AddUser("ada", "mail:read")
//		session := inn.SignIn("ada")
//		// … call your API with session.AccessToken …
//		inn.Clock.Advance(16 * time.Minute) // the access token has expired
//		session = inn.Refresh(session)
//	}
//
// It is the real server over the in-memory store: no mocks. Only password
// hashing is cheaper than in production.
package innkeepertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// Password is the password of every user that [Inn.AddUser] creates.
const Password = "correct horse battery staple"

// Options changes what [New] starts. A nil *Options is the same as a zero one.
type Options struct {
	// Stores hold everything. The zero value means a new in-memory store.
	Stores *innkeeper.Stores
	// RootKeys protects the store. The zero value means a new random key.
	RootKeys rootkey.Ring
	// Policy holds the times. Its zero value holds the defaults.
	Policy innkeeper.Policy
	// API is passed on to [httpapi.New]; its Authority is filled in.
	API httpapi.Config
	// PasswordPolicy says which new passwords are accepted. The zero value is the
	// default of a server, without a name of the service.
	PasswordPolicy password.Policy
	// SignInLimits and RefreshLimit are those of the server, with its defaults. The clock
	// has to be moved for failures to be forgotten.
	SignInLimits innkeeper.SignInLimits
	RefreshLimit int
	// SignupOpen lets anyone sign up.
	SignupOpen bool
	// Wrap replaces the handler, to inject faults between client and server. The
	// zero value wraps nothing.
	Wrap func(http.Handler) http.Handler
	// Observe sees every event. The zero value sees none.
	Observe func(innkeeper.Event)
}

// Inn is a running server. It stops when the test ends.
type Inn struct {
	URL       string // also the issuer and the audience
	Authority *innkeeper.Authority
	Clock     *Clock

	t testing.TB
}

// New starts a server on a loopback port.
func New(t testing.TB, options *Options) *Inn {
	t.Helper()
	if options == nil {
		options = &Options{}
	}
	stores := memory.New().Stores()
	if options.Stores != nil {
		stores = *options.Stores
	}
	roots := options.RootKeys
	if len(roots.All()) == 0 {
		ring, err := rootkey.NewRing(rootkey.Generate())
		check(t, err)
		roots = ring
	}
	server := httptest.NewUnstartedServer(nil)
	inn := &Inn{URL: "http://" + server.Listener.Addr().String(), Clock: NewClock(), t: t}
	config := innkeeper.Config{
		Issuer: inn.URL, Stores: stores, RootKeys: roots, Clock: inn.Clock.Now,
		Policy: options.Policy, PasswordPolicy: options.PasswordPolicy, SignupOpen: options.SignupOpen,
		SignInLimits: options.SignInLimits, RefreshLimit: options.RefreshLimit,
		Passwords: password.Config{
			InsecureWeakParams: true,
			Params:             password.Params{Memory: 8, Iterations: 1, Parallelism: 1},
		},
	}
	if options.Observe != nil {
		config.Observe = func(_ context.Context, event innkeeper.Event) { options.Observe(event) }
	}
	authority, err := innkeeper.Open(t.Context(), config)
	check(t, err)
	inn.Authority = authority
	apiConfig := options.API
	apiConfig.Authority = authority
	api, err := httpapi.New(apiConfig)
	check(t, err)
	server.Config.Handler = api
	if options.Wrap != nil {
		server.Config.Handler = options.Wrap(api)
	}
	server.Start()
	t.Cleanup(server.Close)
	inn.run()
	return inn
}

// run follows the revocation feed until the test ends, but not until the server has
// waited for those who follow it.
func (i *Inn) run() {
	i.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(i.t.Context()))
	var over sync.WaitGroup
	over.Go(func() { i.Authority.Run(ctx) })
	i.t.Cleanup(func() {
		cancel()
		over.Wait()
	})
	_, err := i.Authority.Revocations(ctx, 0, time.Minute) // the first reading
	check(i.t, err)
}

// AddUser creates a user with [Password] and the given permissions, which a role
// named after the user gives.
func (i *Inn) AddUser(name string, permissions ...string) *innkeeper.User {
	i.t.Helper()
	user := innkeeper.NewUser{Username: name, Password: Password, Email: name + "@example.com"}
	if len(permissions) > 0 {
		check(i.t, i.Authority.SetRole(i.t.Context(), innkeeper.Role{Name: name, Permissions: permissions}, innkeeper.ActorOperator))
		user.Roles = []string{name}
	}
	created, err := i.Authority.CreateUser(i.t.Context(), user, innkeeper.ActorOperator)
	check(i.t, err)
	return created
}

// Session is what a client keeps of a session with delivery "body".
type Session struct {
	ID           string
	Generation   uint32
	AccessToken  string
	RefreshToken string
}

// SignIn signs a user in over HTTP, with delivery "body".
func (i *Inn) SignIn(name string) Session {
	i.t.Helper()
	return i.session("/auth/login", "", map[string]string{"username": name, "password": Password, "delivery": "body"})
}

// Client signs a user in with package client, and returns the token source, which keeps
// the session in memory, ages with the clock of the server and is closed at the end of
// the test.
func (i *Inn) Client(name string) *client.Source {
	i.t.Helper()
	source, err := client.New(client.Config{Server: i.URL, Store: client.NewMemoryStore(), Now: i.Clock.Now})
	check(i.t, err)
	i.t.Cleanup(func() { check(i.t, source.Close()) })
	check(i.t, source.Login(i.t.Context(), client.Credentials{Username: name, Password: Password}))
	return source
}

// Refresh trades a session's refresh token for the next pair, over HTTP and with
// an idempotency key. It fails the test if the refresh is refused.
func (i *Inn) Refresh(s Session) Session {
	i.t.Helper()
	key := fmt.Sprintf(`"%s-%010d";generation=%d`, s.ID, s.Generation, s.Generation)
	return i.session("/auth/refresh", key, map[string]string{"refresh_token": s.RefreshToken})
}

func (i *Inn) session(path, key string, body map[string]string) Session {
	i.t.Helper()
	payload, err := json.Marshal(body)
	check(i.t, err)
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.URL+path, bytes.NewReader(payload))
	check(i.t, err)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	check(i.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	check(i.t, err)
	if resp.StatusCode != http.StatusOK {
		i.t.Fatalf("POST %s: %s: %s", path, resp.Status, answer)
	}
	var tokens struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		Session      struct {
			ID         string `json:"id"`
			Generation uint32 `json:"generation"`
		} `json:"session"`
	}
	check(i.t, json.Unmarshal(answer, &tokens))
	return Session{
		ID: tokens.Session.ID, Generation: tokens.Session.Generation,
		AccessToken: tokens.AccessToken, RefreshToken: tokens.RefreshToken,
	}
}

// Clock is a clock that stands still until it is moved. It is safe for
// concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the present time.
func NewClock() *Clock { return &Clock{now: time.Now()} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock, backwards if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
