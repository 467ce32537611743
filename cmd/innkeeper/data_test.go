package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestFirstStartsRace starts many servers at once on a directory that does not
// exist yet: they end up with one root key.
func TestFirstStartsRace(t *testing.T) {
	flags := dataFlags{Data: filepath.Join(t.TempDir(), "data")}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		created int
		keys    = make(map[string]bool)
	)
	for range 8 {
		wg.Go(func() {
			d, err := flags.open(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = d.close() }()
			mu.Lock()
			defer mu.Unlock()
			keys[d.roots.Active().Reveal()] = true
			if d.newRootKey != "" {
				created++
			}
		})
	}
	wg.Wait()
	if len(keys) != 1 || created != 1 {
		t.Errorf("%d root keys, created by %d, want one by one", len(keys), created)
	}
	left, err := filepath.Glob(filepath.Join(flags.Data, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRootKeyIsNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), rootKeyName)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := createRootKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("got %q %v", text, err)
	}
}

// TestIssuerIsRemembered lets commands write revocations under the issuer of the
// server, whatever it was.
func TestIssuerIsRemembered(t *testing.T) {
	var admin adminFlags
	store := memory.New()
	check := func(want string) {
		t.Helper()
		if got, err := admin.issuer(t.Context(), store); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	check("http://localhost:8080") // before any server ran
	for _, issuer := range []string{"https://a.example", "https://b.example", "https://b.example"} {
		if err := rememberIssuer(t.Context(), store, issuer); err != nil {
			t.Fatal(err)
		}
		check(issuer)
	}
	admin.Issuer = "https://c.example"
	check(admin.Issuer)
}

// TestSweep deletes more than a batch of old sessions, and no others.
func TestSweep(t *testing.T) {
	stores := memory.New().Stores()
	ctx, now := t.Context(), time.Now()
	user := innkeeper.User{Subject: innkeeper.Subject{Username: "ada"}, CreatedAt: now, UpdatedAt: now}
	if err := stores.Users.CreateUser(ctx, user, innkeeper.Event{At: now, Kind: innkeeper.EventUserCreated}); err != nil {
		t.Fatal(err)
	}
	add := func(number int, expires time.Time) innkeeper.SessionID {
		var id innkeeper.SessionID
		copy(id[:], fmt.Sprintf("%016d", number))
		err := stores.Sessions.CreateSession(ctx, innkeeper.Birth{Session: innkeeper.Session{
			ID: id, Delivery: innkeeper.DeliverByBody, Generation: 1,
			CreatedAt: expires.Add(-time.Hour), RotatedAt: expires.Add(-time.Hour), RefreshExpiresAt: expires, ExpiresAt: expires,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	kept := add(0, now.Add(-sessionRetention).Add(time.Minute))
	var old []innkeeper.SessionID
	for i := range sweepBatch + 1 {
		old = append(old, add(i+1, now.Add(-sessionRetention).Add(-time.Minute)))
	}
	sweep(ctx, stores, now, slog.New(slog.DiscardHandler))
	if _, _, err := stores.Sessions.Session(ctx, kept); err != nil {
		t.Errorf("a session within the retention: %v", err)
	}
	for _, id := range old {
		if _, _, err := stores.Sessions.Session(ctx, id); !errors.Is(err, innkeeper.ErrNotFound) {
			t.Fatalf("session %s: %v, want it swept", id, err)
		}
	}
}
