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

	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestFirstStartsRace starts many servers at once on a directory that does not
// exist yet: they end up with one root key.
func TestFirstStartsRace(t *testing.T) {
	flags := dataFlags{Place: placeFlags{Data: filepath.Join(t.TempDir(), "data")}}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		created int
		keys    = make(map[string]bool)
	)
	for range 8 {
		wg.Go(func() {
			d, err := flags.open(t.Context(), slog.New(slog.DiscardHandler))
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
	left, err := filepath.Glob(filepath.Join(flags.Place.Data, ".*"))
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

// TestCredentialsOfSystemd lets the group of a file read it where systemd has put
// it, and nowhere else.
func TestCredentialsOfSystemd(t *testing.T) {
	credentials, elsewhere := t.TempDir(), t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", credentials+"/")
	for _, test := range []struct {
		dir  string
		mode os.FileMode
		ok   bool
	}{
		{credentials, 0o400, true}, {credentials, 0o440, true}, {credentials, 0o444, false}, {credentials, 0o460, false},
		{elsewhere, 0o400, true}, {elsewhere, 0o440, false},
	} {
		path := filepath.Join(test.dir, fmt.Sprintf("%o", test.mode))
		if err := createRootKey(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readRootKeyFile(path); (err == nil) != test.ok {
			t.Errorf("mode %#o, beside other credentials %v: got %v", test.mode, test.dir == credentials, err)
		}
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
