package postgres_test

import (
	"context"
	"crypto/rand"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { os.Exit(testengine.Main(m)) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) innkeeper.Stores {
		return open(t, newDatabase(t)).Stores()
	})
}

// newDatabase returns the URL of an empty database.
func newDatabase(t testing.TB) string {
	t.Helper()
	url, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	return openWith(t, postgres.Config{URL: url})
}

func openWith(t testing.TB, cfg postgres.Config) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), cfg)
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

func createDatabase(tb testing.TB, server *testengine.Postgres) string {
	tb.Helper()
	url, err := server.CreateDatabase(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return url
}

// connect opens a connection beside the store, to look at what nobody tells.
func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// usage returns how large the table of sessions is with its indexes, in pages, how
// many updates there were, and how many of them touched no index.
func usage(tb testing.TB, conn *pgx.Conn) (pages, updates, hot int64) {
	tb.Helper()
	const query = `
select pg_total_relation_size(relid) / 8192, n_tup_upd, n_tup_hot_upd
from pg_stat_user_tables where relname = 'session'`
	time.Sleep(1100 * time.Millisecond) // servers report once in a second
	if err := conn.QueryRow(context.Background(), query).Scan(&pages, &updates, &hot); err != nil {
		tb.Fatal(err)
	}
	return pages, updates, hot
}
