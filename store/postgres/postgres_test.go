package postgres_test

import (
	"context"
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
	}, storetest.RefusesTornNames, storetest.KeepsOnlyUnicode)
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
	return storetest.Opened(t, store, err)
}

// start is a moment with microseconds.
var start = storetest.Start

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
