package client_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

func TestLogin(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.source(t, store)
	_, err := source.Token(t.Context())
	wantSignedOut(t, err, "no_session", "")

	err = source.Login(t.Context(), client.Credentials{Username: "ada", Password: "a wrong guess"})
	var refused *client.RefusedError
	if !errors.As(err, &refused) || refused.Code != "invalid_credentials" || refused.Status != 401 {
		t.Fatalf("a wrong password: %v", err)
	}
	check(t, source.Login(t.Context(), client.Credentials{Username: "Ada", Password: innkeepertest.Password, Device: "laptop"}))
	me, err := source.WhoAmI(t.Context())
	check(t, err)
	if me.User.Username != "ada" || me.Session.Device != "laptop" || len(me.User.Permissions) != 1 {
		t.Errorf("me = %+v", me)
	}

	// another sign-in takes the place of the first, and ends it
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
	again, err := source.WhoAmI(t.Context())
	check(t, err)
	if again.Session.ID == me.Session.ID || i.live(t) != 1 {
		t.Errorf("%d live sessions", i.live(t))
	}
}

// TestLoginThatCannotBeStored leaves no session behind that nobody holds.
func TestLoginThatCannotBeStored(t *testing.T) {
	i := newInn(t, nil)
	store := &faultyStore{Store: client.NewMemoryStore()}
	store.set(func(step string) error {
		if step == "save" {
			return errors.New("no space left on device")
		}
		return nil
	})
	source := i.source(t, store)
	err := source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password})
	if !errors.Is(err, client.ErrUnavailable) || i.alive(t) {
		t.Errorf("error = %v, and the server has a session: %v", err, i.alive(t))
	}
}

func TestChangePassword(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	before := mustLoad(t, store).ID
	var refused *client.RefusedError
	if err := source.ChangePassword(t.Context(), "a wrong guess", "analytical engine"); !errors.As(err, &refused) {
		t.Errorf("a wrong password: %v", err)
	}
	if err := source.ChangePassword(t.Context(), innkeepertest.Password, "short"); !errors.As(err, &refused) || refused.Code != "password_rejected" {
		t.Errorf("a bad password: %v", err)
	}
	check(t, source.ChangePassword(t.Context(), innkeepertest.Password, "analytical engine"))
	if mustLoad(t, store).ID == before || i.live(t) != 1 {
		t.Errorf("%d live sessions", i.live(t))
	}
	i.expire()
	if token := mustToken(t, source); token.Generation != 2 {
		t.Errorf("generation %d", token.Generation)
	}
}

func TestLogout(t *testing.T) {
	for _, scope := range []client.LogoutScope{"", client.LogoutThis, client.LogoutEverywhere} {
		t.Run(string(scope), func(t *testing.T) {
			i := newInn(t, nil)
			store := client.NewMemoryStore()
			source := i.signedIn(t, store)
			i.SignIn("ada")
			i.expire() // nothing fresh is needed to leave
			check(t, source.Logout(t.Context(), scope))
			if want := map[client.LogoutScope]int{"": 1, client.LogoutThis: 1}[scope]; i.live(t) != want {
				t.Errorf("%d live sessions, want %d", i.live(t), want)
			}
			_, err := source.Token(t.Context())
			wantSignedOut(t, err, "no_session", "")
			if scope != client.LogoutEverywhere {
				check(t, source.Logout(t.Context(), scope)) // there is none any more
			}
		})
	}
	t.Run("others", func(t *testing.T) {
		i := newInn(t, nil)
		source := i.signedIn(t, client.NewMemoryStore())
		i.SignIn("ada")
		check(t, source.Logout(t.Context(), client.LogoutOthers))
		if token := mustToken(t, source); token.Generation != 2 || i.live(t) != 1 {
			t.Errorf("generation %d, %d live sessions", token.Generation, i.live(t))
		}
		_, err := source.WhoAmI(t.Context())
		check(t, err)
	})
	t.Run("of what nobody knows", func(t *testing.T) {
		i := newInn(t, nil)
		source := i.signedIn(t, client.NewMemoryStore())
		if err := source.Logout(t.Context(), "all"); err == nil {
			t.Error("no error")
		}
	})
}

// TestLogoutWithoutTheServer signs out here, and tells the server later.
func TestLogoutWithoutTheServer(t *testing.T) {
	var down atomic.Bool
	i := newInn(t, nil)
	inner := http.DefaultTransport
	unreachable := transportFunc(func(r *http.Request) (*http.Response, error) {
		if down.Load() {
			return nil, errors.New("network is unreachable")
		}
		return inner.RoundTrip(r)
	})
	store := client.NewMemoryStore()
	setUp := func() *client.Source {
		return i.source(t, store, func(cfg *client.Config) { cfg.Transport = unreachable })
	}
	ada := client.Credentials{Username: "ada", Password: innkeepertest.Password}
	source := setUp()
	check(t, source.Login(t.Context(), ada))

	down.Store(true)
	if err := source.Logout(t.Context(), client.LogoutThis); !errors.Is(err, client.ErrUnavailable) {
		t.Fatalf("error = %v", err)
	}
	for _, source := range []*client.Source{source, setUp()} { // a restart brings nothing back
		_, err := source.Token(t.Context())
		wantSignedOut(t, err, "no_session", "logout")
	}
	if !i.alive(t) {
		t.Fatal("the server has heard of it: this test proves nothing")
	}
	down.Store(false)
	check(t, source.Logout(t.Context(), client.LogoutThis))
	if i.alive(t) {
		t.Error("the server was not told")
	}

	check(t, source.Login(t.Context(), ada))
	down.Store(true)
	if err := source.Logout(t.Context(), client.LogoutThis); err == nil {
		t.Fatal("no error")
	}
	down.Store(false)
	check(t, source.Login(t.Context(), ada))
	if i.live(t) != 1 {
		t.Errorf("%d live sessions: a sign-in tells the server too", i.live(t))
	}
}

// TestLogoutDuringRefresh: the answer comes when the person has left, and brings
// nothing back.
func TestLogoutDuringRefresh(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	source := i.signedIn(t, store)
	i.expire()
	acted, proceed := make(chan struct{}), make(chan struct{})
	i.setFault(once(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(acted)
		<-proceed
		next.ServeHTTP(w, r)
	}))
	waiting, leaving := make(chan error), make(chan error)
	go func() {
		_, err := source.Token(t.Context())
		waiting <- err
	}()
	<-acted
	go func() { leaving <- source.Logout(t.Context(), client.LogoutThis) }()
	eventually(t, "the logout has begun", func() bool { return client.Epoch(source) == 2 })
	close(proceed)
	check(t, <-leaving)
	wantSignedOut(t, <-waiting, "no_session", "logout")
	if i.alive(t) {
		t.Error("the session lives on")
	}
	_, err := source.Token(t.Context())
	wantSignedOut(t, err, "no_session", "")
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
