package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

// Store is a store that is open, as the package of an engine returns it.
type Store interface {
	Stores() innkeeper.Stores
	Close() error
}

// Opened returns a store that was opened without an error, and closes it when the test
// is over.
func Opened[S Store](t testing.TB, store S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// CloseIsForGood tests that a store can be closed twice, and that whatever is called
// after that returns the error closed.
func CloseIsForGood(t *testing.T, store Store, closed error) {
	t.Helper()
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stores := store.Stores()
	if _, _, err := stores.Sessions.Session(t.Context(), innkeeper.SessionID{}); !errors.Is(err, closed) {
		t.Errorf("a read: got error %v, want %v", err, closed)
	}
	if _, _, err := stores.Sessions.RotateSession(t.Context(), innkeeper.Rotation{}); !errors.Is(err, closed) {
		t.Errorf("a rotation: got error %v, want %v", err, closed)
	}
	if err := stores.Issuer.SetIssuer(t.Context(), "x"); !errors.Is(err, closed) {
		t.Errorf("a write: got error %v, want %v", err, closed)
	}
}

// OpenAtOnce tests servers that start at the same moment on one database, which is
// empty or does not exist yet, and work on it side by side. Each call of open must open
// that database anew.
func OpenAtOnce(t *testing.T, open func(ctx context.Context) (Store, error)) {
	t.Helper()
	const servers = 8
	var firsts atomic.Int32
	Race(servers, func(i int) {
		store, err := open(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		first, err := Work(t.Context(), store.Stores(), fmt.Sprintf("server%d", i))
		if err := errors.Join(err, store.Close()); err != nil {
			t.Error(err)
		}
		if first {
			firsts.Add(1)
		}
	})
	store, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	CheckWork(t, store.Stores(), servers, int(firsts.Load()))
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// usersEach is how many users one server creates.
const usersEach = 20

// Work does what a server does when it starts, and then what it is there for. It
// reports whether its signing keys were the first. The names of servers that work on
// one database must end in different characters.
func Work(ctx context.Context, stores innkeeper.Stores, name string) (first bool, err error) {
	mark := []byte{name[len(name)-1]}
	err = stores.Keys.InitSigningKeys(ctx, []keyring.Record{
		{KeyID: name + "-a", Algorithm: accesstoken.ES256, State: keyring.Active, Wrapped: mark, PublishedAt: Start},
		{KeyID: name + "-b", Algorithm: accesstoken.ES256, State: keyring.Published, Wrapped: mark, PublishedAt: Start},
	})
	first = err == nil
	if err != nil && !errors.Is(err, keyring.ErrInitialized) {
		return false, err
	}
	for i := range usersEach {
		user := NewUser(fmt.Sprintf("%s-%d", name, i))
		if err := stores.Users.CreateUser(ctx, user, event(innkeeper.EventUserCreated, user.ID)); err != nil {
			return false, err
		}
		session := NewSession(user)
		if err := stores.Sessions.CreateSession(ctx, birth(session)); err != nil {
			return false, err
		}
		if _, _, err := stores.Sessions.RotateSession(ctx, rotation(session)); err != nil {
			return false, err
		}
	}
	return first, nil
}

// CheckWork checks what is there after so many servers have done their [Work] on new
// stores: the keys of one of them, and the users of all.
func CheckWork(t *testing.T, stores innkeeper.Stores, servers, firsts int) {
	t.Helper()
	keys, err := stores.Keys.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0].Wrapped[0] != keys[1].Wrapped[0] || firsts != 1 {
		t.Errorf("%d of %d servers made the keys, and there are %v", firsts, servers, keys)
	}
	users, err := stores.Users.Users(t.Context(), innkeeper.UserQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(users) != servers*usersEach {
		t.Errorf("there are %d users, want %d", len(users), servers*usersEach)
	}
}
