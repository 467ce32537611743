//go:build linux

package keychain_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/client/keychain"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// desktop says that this process runs on a private D-Bus with a Secret Service.
const desktop = "INNKEEPER_KEYCHAIN_TEST_DESKTOP"

// TestDesktop runs the tests below again where there is a keychain: the Secret Service of
// GNOME, on a bus and in a home of its own.
func TestDesktop(t *testing.T) {
	if os.Getenv(desktop) != "" {
		t.Skip("this is the desktop")
	}
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: scripts/install-test-deps installs it", err)
		}
	}
	home := t.TempDir()
	shell := exec.CommandContext(t.Context(), "dbus-run-session", "--", "sh", "-c",
		`printf %s secret | gnome-keyring-daemon --unlock --components=secrets --control-directory="$HOME/run" >/dev/null && exec "$0" -test.run='^TestKeychain' -test.v`, os.Args[0])
	shell.Env = append(os.Environ(), desktop+"=1", "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	output, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: TestKeychain") || strings.Contains(string(output), "--- SKIP") {
		t.Fatalf("%v\n%s", err, output)
	}
}

func newStore(t *testing.T) *keychain.Store {
	t.Helper()
	store, err := keychain.New(keychain.Config{Service: "innkeeper test", Account: t.Name(), Path: filepath.Join(t.TempDir(), "keep", "session.json")})
	check(t, err)
	return store
}

// TestKeychain signs in, refreshes, and signs out with a real keychain.
func TestKeychain(t *testing.T) {
	if os.Getenv(desktop) == "" {
		t.Skip("TestDesktop runs it")
	}
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	store := newStore(t)
	open := func() *client.Source {
		source, err := client.New(client.Config{Server: inn.URL, Store: store, Now: inn.Clock.Now})
		check(t, err)
		t.Cleanup(func() { _ = source.Close() })
		return source
	}
	if _, err := open().Token(t.Context()); !errors.Is(err, client.ErrSignedOut) {
		t.Errorf("nobody has signed in: %v", err)
	}
	source := open()
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
	item, err := keyring.Get("innkeeper test", t.Name())
	check(t, err)
	if found := innkeepertest.FindSecrets(item); len(found) != 1 || !strings.HasPrefix(found[0], "ikr_") || len(item) > 1000 {
		t.Errorf("the item has %d bytes: %s", len(item), item)
	}
	inn.Clock.Advance(16 * time.Minute)
	token, err := source.Token(t.Context())
	check(t, err)
	again, err := open().Token(t.Context()) // another process
	check(t, err)
	if token.Generation != 2 || again.Generation != 3 {
		t.Errorf("generations %d and %d", token.Generation, again.Generation)
	}
	nothingInClear(t, store)
	check(t, source.Logout(t.Context(), client.LogoutThis))
	if _, err := keyring.Get("innkeeper test", t.Name()); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("after the sign-out: %v", err)
	}
	check(t, store.Delete(t.Context()))

	long := &client.Session{Server: strings.Repeat("x", 3000), ID: "a", Generation: 1, RefreshToken: client.NewSecret("b")}
	if err := store.Save(t.Context(), long); err == nil {
		t.Error("an item that is too long for some keychains")
	}
}

// TestHeadless: where there is no keychain, that is an error, and nothing else.
func TestHeadless(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "nobody"))
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	store := newStore(t)
	source, err := client.New(client.Config{Server: inn.URL, Store: store})
	check(t, err)
	t.Cleanup(func() { _ = source.Close() })
	if _, err := source.Token(t.Context()); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrSignedOut) {
		t.Errorf("token: %v", err)
	}
	err = source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password})
	if !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "keychain: is there one") {
		t.Errorf("login: %v", err)
	}
	nothingInClear(t, store)
}

// nothingInClear looks for tokens in all files of the store.
func nothingInClear(t *testing.T, store *keychain.Store) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(store.Path()), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if innkeepertest.FindSecrets(string(text)) != nil {
			t.Errorf("%s holds a token", path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
