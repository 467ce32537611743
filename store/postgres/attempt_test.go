package postgres_test

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// TestServersShareTheirPatience hits one account at two servers of one database at the
// same moment, each time from another address. Together they let through what one would
// (NIST SP 800-63B section 3.2.2: STANDARDS W3), and then both let nobody through.
func TestServersShareTheirPatience(t *testing.T) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	url := newDatabase(t)
	var servers []*innkeeper.Authority
	for range 2 {
		store, err := postgres.Open(t.Context(), postgres.Config{URL: url})
		store = storetest.Opened(t, store, err)
		server, err := innkeeper.Open(t.Context(), innkeeper.Config{
			Issuer: "https://auth.example.com", Stores: store.Stores(), RootKeys: roots,
			Clock: func() time.Time { return storetest.Start },
			Passwords: password.Config{
				InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, server)
	}
	const right = "correct horse battery staple"
	if _, err := servers[0].CreateUser(t.Context(), innkeeper.NewUser{Username: "ada", Password: right}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	login := func(server, n int, plain string) error {
		_, err := servers[server].Login(t.Context(), innkeeper.LoginRequest{
			Username: "ada", Password: plain, Delivery: innkeeper.DeliverByBody,
			Client: innkeeper.Client{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})},
		})
		return err
	}
	var failed atomic.Int32
	storetest.Race(60, func(n int) {
		switch err := login(n%2, n, "wrong"); {
		case errors.Is(err, innkeeper.ErrInvalidCredentials):
			failed.Add(1)
		case !errors.Is(err, innkeeper.ErrTooManyAttempts):
			t.Error(err)
		}
	})
	if n := failed.Load(); n != 5 {
		t.Errorf("%d guesses were looked at, want 5", n)
	}
	for server := range servers {
		if err := login(server, 100+server, right); !errors.Is(err, innkeeper.ErrTooManyAttempts) {
			t.Errorf("server %d: got %v", server, err)
		}
	}
}
