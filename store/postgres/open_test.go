package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
	"github.com/jackc/pgx/v5"
)

func TestMigrate(t *testing.T) {
	cfg := postgres.Config{URL: newDatabase(t)}
	migrations, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	latest := int64(len(migrations))
	for _, want := range [][2]int64{{0, latest}, {latest, latest}} {
		from, to, err := postgres.Migrate(t.Context(), cfg)
		if err != nil || from != want[0] || to != want[1] {
			t.Fatalf("migrated from %d to %d, %v, want %v", from, to, err, want)
		}
	}
	open(t, cfg.URL)
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	database := newDatabase(t)
	open(t, database)
	exec(t, connect(t, database), `insert into goose_db_version (version_id, is_applied) values (4711, true)`)
	_, err := postgres.Open(t.Context(), postgres.Config{URL: database})
	if !errors.Is(err, postgres.ErrNewerSchema) || !strings.Contains(err.Error(), "4711") {
		t.Fatalf("got error %v, want %v", err, postgres.ErrNewerSchema)
	}
	_, _, err = postgres.Migrate(t.Context(), postgres.Config{URL: database})
	if !errors.Is(err, postgres.ErrNewerSchema) {
		t.Fatalf("got error %v, want %v", err, postgres.ErrNewerSchema)
	}
}

// The server's role may be one that reads and writes rows and nothing else, and
// then even a transaction that only wanted to change the schema would fail.
func TestOpenChangesNothingIfNothingIsMissing(t *testing.T) {
	database := newDatabase(t)
	admin := connect(t, database)
	role := "clerk_" + strings.ToLower(rand.Text()) // roles outlive the database, and so this test
	exec(t, admin, `create role `+role+` login password 'secret'`)
	clerk, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	clerk.User = url.UserPassword(role, "secret")
	if _, err := postgres.Open(t.Context(), postgres.Config{URL: clerk.String()}); err == nil {
		t.Fatal("a role without rights has made the schema")
	}
	if _, _, err := postgres.Migrate(t.Context(), postgres.Config{URL: database}); err != nil {
		t.Fatal(err)
	}
	exec(t, admin, `
revoke create on schema public from public;
grant select, insert, update, delete on all tables in schema public to `+role+`;
revoke insert, update, delete on goose_db_version, migration_lock from `+role+`;
alter role `+role+` set default_transaction_read_only = off`)
	store := open(t, clerk.String())
	if _, err := storetest.Work(t.Context(), store.Stores(), "clerk"); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]postgres.Config{
		"no URL":             {},
		"another scheme":     {URL: "mysql://root:hunter2@127.0.0.1/x"},
		"no scheme":          {URL: "host=127.0.0.1 password=hunter2"},
		"not escaped: @":     {URL: "postgres://innkeeper:hunter2@@@127.0.0.1:a/x"},
		"not escaped: slash": {URL: "postgres://innkeeper:hunter2/hunter2@127.0.0.1/x"},
		"not escaped: #":     {URL: "postgres://innkeeper:1#hunter2@127.0.0.1/x"},
		"not escaped: %":     {URL: "postgres://innkeeper:hunter2%@127.0.0.1/x"},
		"bad parameter":      {URL: "postgres://innkeeper:hunter2@127.0.0.1/x?sslmode=hunter2"},
		"bad port":           {URL: "postgres://innkeeper@127.0.0.1:70000/x?password=hunter2"},
		"nobody listens":     {URL: "postgres://innkeeper:hunter2@127.0.0.1:1/x"},
		"no such host":       {URL: "postgres://innkeeper:hunter%32@innkeeper.invalid/x"},
		"negative":           {URL: "postgres://innkeeper:hunter2@127.0.0.1:1/x", MaxConns: -1},
	} {
		store, err := postgres.Open(t.Context(), cfg)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = store.Close()
			continue
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			if said := fmt.Sprintf("%v %+v %#v", cause, cause, cause.Error()); strings.Contains(said, "hunter2") {
				t.Errorf("%s: the password is in the error %s", name, said)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.Open(ctx, postgres.Config{URL: newDatabase(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestCloseIsForGood(t *testing.T) {
	storetest.CloseIsForGood(t, open(t, newDatabase(t)), postgres.ErrClosed)
}

// Several servers start on a database that is empty.
func TestOpenAtOnce(t *testing.T) {
	database := newDatabase(t)
	storetest.OpenAtOnce(t, func(ctx context.Context) (storetest.Store, error) {
		return postgres.Open(ctx, postgres.Config{URL: database})
	})
}

func exec(t testing.TB, conn *pgx.Conn, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := conn.PgConn().Exec(ctx, query).ReadAll(); err != nil {
		t.Fatal(err)
	}
}
