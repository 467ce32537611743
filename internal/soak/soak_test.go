package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain makes a directory for the server that the tests build.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "innkeeper-soak-test-")
	if err != nil {
		panic(err)
	}
	binary = sync.OnceValues(func() (string, error) {
		return buildInnkeeper(context.Background(), dir, raceFlags...)
	})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// binary builds the server, once for all tests.
var binary func() (string, error)

// open opens an inn that is closed with the test, and has nothing to complain of.
func open(t *testing.T, cfg innConfig) *inn {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers and databases")
	}
	var err error
	if cfg.binary, err = binary(); err != nil {
		t.Fatal(err)
	}
	cfg.dir = t.TempDir()
	i, err := openInn(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.close(); err != nil {
			t.Error(err)
		}
		if err := i.complaints(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// TestLinearizability is a short run of `go run ./internal/soak linearizability`:
// it sees each kind of process killed at least once.
func TestLinearizability(t *testing.T) {
	t.Parallel()
	cases := []struct {
		store string
		first []string // faults, one for each history
	}{
		{onSQLite, []string{"server killed"}},
		{onPostgres, []string{"server killed", "postgres killed", "postgres cut off"}},
		{onRedis, []string{"server killed", "postgres killed", "redis killed", "redis black-holed"}},
	}
	for _, c := range cases {
		t.Run(c.store, func(t *testing.T) {
			t.Parallel()
			i := open(t, innConfig{store: c.store, nodes: 3})
			var out strings.Builder
			trial := trial{
				store: c.store, nodes: i.urls(), seed: uint64(time.Now().Unix()), histories: uint64(len(c.first)),
				failures: "soak-failures", out: &out, strike: strikes(i, 2, c.first...),
			}
			f, err := trial.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s%s", &out, f)
			if f.bad() {
				t.Error("the promises do not hold")
			}
			for _, kind := range c.first {
				if f.faults[kind] == 0 {
					t.Errorf("there was no %q", kind)
				}
			}
		})
	}
}

// TestRollingRestart restarts each of three nodes under load. Clients that repeat a
// refresh with its key at the next node do not notice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	for _, store := range []string{onSQLite, onPostgres} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			i := open(t, innConfig{store: store, nodes: 3})
			seen, took, err := rollingRestart(t.Context(), i, 16, 3)
			for _, problem := range seen.problems {
				t.Error(problem)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d refreshes, %d of them repeated, in %v; the longest took %v", seen.refreshes, seen.retries, took, seen.longest)
			if seen.refreshes == 0 {
				t.Error("nobody refreshed anything: the test proves nothing")
			}
		})
	}
}
