package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// TestRestoredBackup restores a backup, once as docs/refresh.md says and once
// without the command that belongs to it.
//
// With it, everybody signs in anew, and nobody hears of a theft. Without it, those
// who have refreshed since the backup hold tokens that the store has never made:
// their sessions end too, as restored, when they show them. That is row 10, and the
// reason why forgetting the command is no disaster.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	for _, store := range []string{onSQLite, onPostgres} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			i := open(t, innConfig{store: store, nodes: 1})
			before, err := newRegulars(t.Context(), i.urls(), 6, &diary{})
			if err != nil {
				t.Fatal(err)
			}
			moved, still := before[:3], before[3:]
			refreshThrice(t, before)
			backup := filepath.Join(t.TempDir(), "backup")
			stopped(t, i, func() { copyAll(t, kept(i), backup) })
			refreshThrice(t, moved)

			restore(t, i, backup)
			for _, r := range moved {
				refusedAs(t, r, "restored")
				refusedAs(t, r, "restored")
			}
			for _, r := range still { // the backup knows them as they are
				if err := r.goOn(t.Context()); err != nil {
					t.Error(err)
				}
			}

			restore(t, i, backup)
			if err := i.manage(t.Context(), "", "session", "end", "--all", "--reason", "restored"); err != nil {
				t.Fatal(err)
			}
			for _, r := range before {
				refusedAs(t, r, "restored")
			}
			canSignIn(t, i)
		})
	}
}

func refreshThrice(t *testing.T, regulars []*regular) {
	t.Helper()
	for range 3 {
		for _, r := range regulars {
			if err := r.goOn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// refusedAs shows a token that the session of a regular has been given.
func refusedAs(t *testing.T, r *regular, reason string) {
	t.Helper()
	_, err := r.try()
	want := fmt.Sprintf("401 session_ended %s", reason)
	if !errors.Is(err, errSignedOut) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// kept is the directory in which everything is, while nothing runs.
func kept(i *inn) string {
	for _, e := range i.engines {
		if pg, ok := e.server.(*testengine.Postgres); ok {
			return pg.DataDir()
		}
	}
	return i.data()
}

// stopped does something while all servers and databases are stopped.
func stopped(t *testing.T, i *inn, do func()) {
	t.Helper()
	for _, n := range i.nodes {
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range i.engines {
		if err := e.server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	do()
	for _, e := range i.engines {
		if err := e.server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range i.nodes {
		if err := n.start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func restore(t *testing.T, i *inn, backup string) {
	t.Helper()
	stopped(t, i, func() {
		if err := os.RemoveAll(kept(i)); err != nil {
			t.Fatal(err)
		}
		copyAll(t, backup, kept(i))
	})
}

// copyAll copies a directory as it is, with owners and modes.
func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

func canSignIn(t *testing.T, i *inn) {
	t.Helper()
	c := newCaller(i.urls(), 1, regularPatience)
	answer, err := c.send(t.Context(), 0, call{method: "POST", path: "/auth/login", body: map[string]string{
		"username": administrator, "password": testPassword, "delivery": "body",
	}})
	if err != nil || answer.status != http.StatusOK {
		t.Errorf("sign in: got %v %v, want 200", answer, err)
	}
}
