package sqlite_test

import (
	"crypto/rand"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) innkeeper.Stores {
		return open(t, newPath(t)).Stores()
	})
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "innkeeper.db") }

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
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

func newUser(name string, roles ...string) innkeeper.User {
	user := innkeeper.User{
		Subject: innkeeper.Subject{Username: name, Email: name + "@example.com", Roles: roles},
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA" +
			"$c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g",
		CreatedAt: start,
		UpdatedAt: start,
	}
	rand.Read(user.ID[:])
	rand.Read(user.Epoch[:])
	return user
}

// start is a moment with microseconds.
var start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_000, time.UTC)

var browser = innkeeper.Client{
	Addr:      netip.MustParseAddr("2001:db8::7"),
	UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
}

func newSession(user innkeeper.User) innkeeper.Session {
	session := innkeeper.Session{
		UserID:           user.ID,
		Epoch:            user.Epoch,
		Delivery:         innkeeper.DeliverByCookie,
		Device:           "telephone",
		Client:           browser,
		Methods:          []string{"pwd"},
		CreatedAt:        start,
		ExpiresAt:        start.Truncate(time.Second).Add(30 * 24 * time.Hour),
		Generation:       1,
		RotatedAt:        start,
		RefreshExpiresAt: start.Truncate(time.Second).Add(14 * 24 * time.Hour),
	}
	rand.Read(session.ID[:])
	rand.Read(session.SecretHash[:])
	return session
}

// successor is the next rotation of a session.
func successor(session *innkeeper.Session, at time.Time) innkeeper.Rotation {
	r := innkeeper.Rotation{
		SessionID:        session.ID,
		Presented:        session.SecretHash,
		Generation:       session.Generation + 1,
		At:               at,
		RefreshExpiresAt: at.Truncate(time.Second).Add(14 * 24 * time.Hour),
		Client:           browser,
	}
	rand.Read(r.SecretHash[:])
	rand.Read(r.Salt[:])
	rand.Read(r.Key[:])
	return r
}
