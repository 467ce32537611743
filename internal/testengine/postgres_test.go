package testengine_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

func query(t *testing.T, url, sql string) string {
	t.Helper()
	got, err := tryQuery(t.Context(), url, sql)
	check(t, err)
	return got
}

func tryQuery(ctx context.Context, url, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var got string
	if err := conn.QueryRow(ctx, sql).Scan(&got); !errors.Is(err, pgx.ErrNoRows) {
		return got, err
	}
	return "", nil
}

func TestPostgresIsDurableUnlessUnsafe(t *testing.T) {
	t.Parallel()
	durable, err := testengine.StartPostgres(t.Context(), testengine.PostgresConfig{
		Settings: map[string]string{"max_connections": "7"},
	})
	check(t, err)
	for pg, want := range map[*testengine.Postgres]string{
		durable:                      "on on on 7",
		testengine.SharedPostgres(t): "off on off 300",
	} {
		got := query(t, pg.URL("postgres"), `SELECT concat_ws(' ', current_setting('fsync'),
			current_setting('synchronous_commit'), current_setting('full_page_writes'), current_setting('max_connections'))`)
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(t, durable.Close())
	check(t, durable.Close())
	if durable.Start(t.Context()) == nil {
		t.Error("a closed server was started")
	}
}

func TestPostgresKeepsItsDataAndItsAddress(t *testing.T) {
	t.Parallel()
	pg, err := testengine.StartPostgres(t.Context(), testengine.PostgresConfig{Unsafe: true})
	check(t, err)
	defer pg.Close()
	url, err := pg.CreateDatabase(t.Context())
	check(t, err)
	query(t, url, "CREATE TABLE guests AS SELECT 'before' AS name")

	for name, end := range map[string]func() error{
		"kill":              pg.Kill,
		"stop":              func() error { return pg.Stop(context.Background()) },
		"kill while frozen": func() error { return errors.Join(pg.Freeze(), pg.Kill()) },
		"stop while frozen": func() error { return errors.Join(pg.Freeze(), pg.Stop(context.Background())) },
	} {
		query(t, url, "UPDATE guests SET name = '"+name+"'")
		// A backend that computes does not look whether its parent lives.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		busy := make(chan error, 1)
		go func() {
			_, err := tryQuery(ctx, url, "SELECT count(*)::text FROM generate_series(1, 10000000000)")
			busy <- err
		}()
		time.Sleep(50 * time.Millisecond)
		check(t, end())
		if left := leftIn(pg.DataDir()); strings.Contains(strings.Join(left, " "), "/proc/") {
			t.Errorf("%s: processes are left: %v", name, left)
		}
		if err := <-busy; err == nil || ctx.Err() != nil {
			t.Errorf("%s: the query went on: %v", name, err)
		}
		if !refused(pg.Addr()) {
			t.Errorf("%s: it still listens", name)
		}
		check(t, pg.Start(t.Context()))
		if got := query(t, url, "SELECT name FROM guests"); got != name {
			t.Errorf("%s: the last commit was lost: %q", name, got)
		}
	}
	if pg.Start(t.Context()) == nil {
		t.Error("a running server was started")
	}
	check(t, pg.Kill())
	time.AfterFunc(200*time.Millisecond, hold(t, pg.Addr()))
	check(t, pg.Start(t.Context()))
	t.Run("Freezes", func(t *testing.T) { testPostgresFreezes(t, pg) })
}

func testPostgresFreezes(t *testing.T, pg *testengine.Postgres) {
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	check(t, err)
	defer conn.Close(context.Background())

	check(t, pg.Freeze())
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	check(t, pg.Thaw())
	check(t, <-answered)
}

func TestPostgresDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	pg := testengine.SharedPostgres(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			url, err := pg.CreateDatabase(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := tryQuery(t.Context(), url, "CREATE TABLE guests AS SELECT 1"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestPostgresHasItsPrograms(t *testing.T) {
	t.Parallel()
	pg := testengine.SharedPostgres(t)
	for _, program := range []string{"psql", "pgbench", "pg_dump"} {
		if out, err := exec.Command(filepath.Join(pg.BinDir(), program), "--version").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, out)
		}
	}
}

func TestPostgresErrorsTellItsLog(t *testing.T) {
	t.Parallel()
	_, err := testengine.StartPostgres(t.Context(), testengine.PostgresConfig{
		Settings: map[string]string{"vacancy": "none"},
	})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "vacancy"`) {
		t.Errorf("no log in: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := testengine.StartPostgres(ctx, testengine.PostgresConfig{}); err == nil {
		t.Error("started within a millisecond")
	}
}

func TestMissingProgramsNameTheRemedy(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	_, err := testengine.StartRedis(t.Context(), testengine.RedisConfig{})
	if err == nil || !strings.Contains(err.Error(), "scripts/install-test-deps") {
		t.Errorf("no hint in: %v", err)
	}
}

func BenchmarkStartPostgres(b *testing.B) {
	for b.Loop() {
		pg, err := testengine.StartPostgres(b.Context(), testengine.PostgresConfig{})
		if err != nil {
			b.Fatal(err)
		}
		if err := pg.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateDatabase(b *testing.B) {
	pg := testengine.SharedPostgres(b)
	for b.Loop() {
		if _, err := pg.CreateDatabase(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
