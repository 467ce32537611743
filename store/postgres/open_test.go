package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/jackc/pgx/v5"
)

func TestMigrate(t *testing.T) {
	cfg := postgres.Config{URL: newDatabase(t)}
	for _, want := range [][2]int64{{0, 1}, {1, 1}} {
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
	exec(t, admin, `drop role if exists clerk; create role clerk login password 'secret'`)
	clerk, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	clerk.User = url.UserPassword("clerk", "secret")
	if _, err := postgres.Open(t.Context(), postgres.Config{URL: clerk.String()}); err == nil {
		t.Fatal("a role without rights has made the schema")
	}
	if _, _, err := postgres.Migrate(t.Context(), postgres.Config{URL: database}); err != nil {
		t.Fatal(err)
	}
	exec(t, admin, `
revoke create on schema public from public;
grant select, insert, update, delete on all tables in schema public to clerk;
revoke insert, update, delete on goose_db_version, migration_lock from clerk;
alter role clerk set default_transaction_read_only = off`)
	store := open(t, clerk.String())
	if _, err := work(t.Context(), store.Stores(), "clerk"); err != nil {
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
	store := open(t, newDatabase(t))
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stores := store.Stores()
	if _, _, err := stores.Sessions.Session(t.Context(), innkeeper.SessionID{}); !errors.Is(err, postgres.ErrClosed) {
		t.Errorf("a read: got error %v, want %v", err, postgres.ErrClosed)
	}
	if _, _, err := stores.Sessions.RotateSession(t.Context(), innkeeper.Rotation{}); !errors.Is(err, postgres.ErrClosed) {
		t.Errorf("a rotation: got error %v, want %v", err, postgres.ErrClosed)
	}
	if err := stores.Issuer.SetIssuer(t.Context(), "x"); !errors.Is(err, postgres.ErrClosed) {
		t.Errorf("a write: got error %v, want %v", err, postgres.ErrClosed)
	}
}

// Several servers start on a database that is empty, and work on it side by side.
func TestOpenAtOnce(t *testing.T) {
	const servers = 8
	database := newDatabase(t)
	var wg sync.WaitGroup
	var winners atomic.Int32
	for i := range servers {
		wg.Go(func() {
			store, err := postgres.Open(t.Context(), postgres.Config{URL: database})
			if err != nil {
				t.Error(err)
				return
			}
			won, err := work(t.Context(), store.Stores(), fmt.Sprintf("server%d", i))
			if err := errors.Join(err, store.Close()); err != nil {
				t.Error(err)
			}
			if won {
				winners.Add(1)
			}
		})
	}
	wg.Wait()
	stores := open(t, database).Stores()
	keys, err := stores.Keys.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0].Wrapped[0] != keys[1].Wrapped[0] || winners.Load() != 1 {
		t.Errorf("%d of %d servers made the keys, and there are %v", winners.Load(), servers, keys)
	}
	users, err := stores.Users.Users(t.Context(), innkeeper.UserQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(users) != servers*usersEach {
		t.Errorf("there are %d users, want %d", len(users), servers*usersEach)
	}
}

const usersEach = 10

// work does what a server does when it starts, and then what it is there for. It
// reports whether its signing keys were the first.
func work(ctx context.Context, stores innkeeper.Stores, name string) (bool, error) {
	mark := []byte{name[len(name)-1]}
	err := stores.Keys.InitSigningKeys(ctx, []keyring.Record{
		{KeyID: name + "-a", Algorithm: accesstoken.ES256, State: keyring.Published, Wrapped: mark, PublishedAt: start},
		{KeyID: name + "-b", Algorithm: accesstoken.ES256, State: keyring.Published, Wrapped: mark, PublishedAt: start},
	})
	won := err == nil
	if err != nil && !errors.Is(err, keyring.ErrInitialized) {
		return false, err
	}
	for i := range usersEach {
		user := newUser(fmt.Sprintf("%s-%d", name, i))
		if err := stores.Users.CreateUser(ctx, user, innkeeper.Event{At: start, Kind: innkeeper.EventUserCreated}); err != nil {
			return false, err
		}
		session := newSession(user)
		if err := stores.Sessions.CreateSession(ctx, innkeeper.Birth{Session: session}); err != nil {
			return false, err
		}
		if _, _, err := stores.Sessions.RotateSession(ctx, successor(&session, start)); err != nil {
			return false, err
		}
	}
	return won, nil
}

func exec(t testing.TB, conn *pgx.Conn, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := conn.PgConn().Exec(ctx, query).ReadAll(); err != nil {
		t.Fatal(err)
	}
}
