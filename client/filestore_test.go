package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/client"
)

func newFileStore(t testing.TB) *client.FileStore {
	t.Helper()
	store, err := client.NewFileStore(filepath.Join(t.TempDir(), "innkeeper", "session.json"))
	check(t, err)
	return store
}

func aSession() *client.Session {
	return &client.Session{
		Server: "https://auth.example.com", ID: "Kx3vPq", Generation: 3, ExpiresAt: time.Unix(1_800_000_000, 0).UTC(),
		User:         client.User{ID: "01JAZ4T9W7", Username: "ada", Roles: []string{"clerk"}},
		RefreshToken: client.NewSecret("ikr_3"), AccessToken: client.NewSecret("ey3"),
		RequestedAt: time.Unix(1_700_000_000, 5).UTC(), Lifetime: 15 * time.Minute, Superseded: 3, Ending: true,
	}
}

// TestStores holds what every store promises.
func TestStores(t *testing.T) {
	for name, store := range map[string]client.Store{"memory": client.NewMemoryStore(), "file": newFileStore(t)} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := store.Load(ctx); !errors.Is(err, client.ErrNoSession) {
				t.Errorf("empty: %v", err)
			}
			check(t, store.Delete(ctx))
			want := aSession()
			check(t, store.Save(ctx, want))
			got := mustLoad(t, store)
			a, err := want.Encode()
			check(t, err)
			b, err := got.Encode()
			check(t, err)
			if string(a) != string(b) || !got.RefreshToken.Equal(want.RefreshToken) {
				t.Errorf("stored %s\nloaded %s", a, b)
			}

			keys := make(map[uint32]string)
			for generation := uint32(1); generation <= 5; generation++ {
				var all [8]string
				var wg sync.WaitGroup
				for n := range all {
					wg.Go(func() { all[n], _ = store.Key(ctx, "a/../b", generation) })
				}
				wg.Wait()
				keys[generation] = all[0]
				if len(all[0]) < 16 || len(slices.Compact(all[:])) != 1 {
					t.Errorf("keys of generation %d: %q", generation, all)
				}
			}
			for generation := uint32(3); generation <= 5; generation++ {
				if key, err := store.Key(ctx, "a/../b", generation); err != nil || key != keys[generation] {
					t.Errorf("key of generation %d: %q %v, was %q", generation, key, err, keys[generation])
				}
			}
			if key, _ := store.Key(ctx, "another session", 5); key == keys[5] {
				t.Error("two sessions share a key")
			}

			unlock, err := store.Lock(ctx)
			check(t, err)
			short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			defer cancel()
			if _, err := store.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a second lock: %v", err)
			}
			unlock()
			unlock, err = store.Lock(ctx)
			check(t, err)
			unlock()
			check(t, store.Delete(ctx))
			if _, err := store.Load(ctx); !errors.Is(err, client.ErrNoSession) {
				t.Errorf("deleted: %v", err)
			}
		})
	}
}

// TestFileStoreKeepsToItself looks at modes and names.
func TestFileStoreKeepsToItself(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes")
	}
	store := newFileStore(t)
	check(t, store.Save(t.Context(), aSession()))
	_, err := store.Key(t.Context(), "a", 1)
	check(t, err)
	unlock, err := store.Lock(t.Context())
	check(t, err)
	unlock()
	check(t, store.SaveDevice(t.Context(), client.Device{}))
	found := make(map[string]os.FileMode)
	root := filepath.Dir(store.Path())
	check(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		info, _ := entry.Info()
		name, _ := filepath.Rel(root, path)
		if strings.HasPrefix(name, "session.json.keys/") { // a hash and a number
			name = strings.TrimRight(name, "0123456789abcdef-")
		}
		found[name] = info.Mode().Perm()
		return err
	}))
	for name, want := range map[string]os.FileMode{
		".": 0o700, "session.json": 0o600, "session.json.lock": 0o600, "session.json.keys": 0o700, "session.json.keys/": 0o600,
		"session.json.device": 0o600,
	} {
		if got, ok := found[name]; !ok || got != want {
			t.Errorf("%s: mode %o, want %o", name, got, want)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("left over: %v", found)
	}
	check(t, store.Delete(t.Context()))
	if _, err := os.Stat(store.Path() + ".lock"); err != nil {
		t.Errorf("the lock file must stay: %v", err)
	}
}

// TestFileStoreRefuses what somebody else could have put there.
func TestFileStoreRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege")
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "target.json")
	text, err := aSession().Encode()
	check(t, err)
	check(t, os.WriteFile(target, text, 0o600))
	link := filepath.Join(dir, "link.json")
	late, err := client.NewFileStore(link)
	check(t, err)
	check(t, os.Symlink(target, link))
	if _, err := client.NewFileStore(link); err == nil {
		t.Error("a symbolic link")
	}
	if _, err := late.Load(t.Context()); err == nil || errors.Is(err, client.ErrNoSession) {
		t.Errorf("a link made later, read: %v", err)
	}
	if err := late.Save(t.Context(), aSession()); err == nil {
		t.Error("a link made later, written")
	}
	if now, err := os.ReadFile(target); err != nil || string(now) != string(text) {
		t.Error("what the link leads to was changed")
	}
	lock := filepath.Join(dir, "locked.json")
	check(t, os.Symlink(target, lock+".lock"))
	store, err := client.NewFileStore(lock)
	check(t, err)
	if _, err := store.Lock(t.Context()); err == nil {
		t.Error("a lock file that is a link")
	}

	open := filepath.Join(dir, "open")
	check(t, os.Mkdir(open, 0o700))
	check(t, os.Chmod(open, 0o777))
	for _, path := range []string{filepath.Join(open, "session.json"), dir, "", "x/"} {
		if _, err := client.NewFileStore(path); err == nil {
			t.Errorf("%q: no error", path)
		}
	}
}

// TestStoredForm: unknown members stay, newer versions are left alone, and nothing that
// cannot be read shows a token or counts as signed out.
func TestStoredForm(t *testing.T) {
	store := newFileStore(t)
	check(t, store.Save(t.Context(), aSession()))
	write := func(change func(members map[string]any)) {
		text, err := os.ReadFile(store.Path())
		check(t, err)
		var members map[string]any
		check(t, json.Unmarshal(text, &members))
		change(members)
		text, err = json.Marshal(members)
		check(t, err)
		check(t, os.WriteFile(store.Path(), text, 0o600))
	}
	write(func(members map[string]any) { members["theme"] = map[string]any{"color": "green"} })
	session := mustLoad(t, store)
	session.Generation++
	check(t, store.Save(t.Context(), session))
	text, err := os.ReadFile(store.Path())
	check(t, err)
	if !strings.Contains(string(text), `"theme":{"color":"green"}`) || !strings.Contains(string(text), `"generation":4`) {
		t.Errorf("stored: %s", text)
	}

	broken := func(name string) {
		t.Helper()
		_, err := store.Load(t.Context())
		if err == nil || errors.Is(err, client.ErrNoSession) || strings.Contains(err.Error(), "ikr_") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	write(func(members map[string]any) { members["version"] = 2 })
	broken("a newer version")
	write(func(members map[string]any) { members["version"] = 1; members["refresh_token"] = "" })
	broken("no token")
	check(t, os.WriteFile(store.Path(), []byte(`{"refresh_token":"ikr_3",`), 0o600))
	broken("half a file")
	check(t, os.WriteFile(store.Path(), make([]byte, 2<<20), 0o600))
	broken("a huge one")

	i := newInn(t, nil)
	source := i.source(t, store)
	if _, err := source.Token(t.Context()); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
	i.signedIn(t, store) // is how to get out of that
	mustLoad(t, store)
}

// TestLeftoversAreRemoved: killed writers leave files behind, with tokens in them.
func TestLeftoversAreRemoved(t *testing.T) {
	store := newFileStore(t)
	check(t, store.Save(t.Context(), aSession()))
	dir := filepath.Dir(store.Path())
	old, young := filepath.Join(dir, ".session.json.1.tmp"), filepath.Join(dir, ".session.json.2.tmp")
	for _, name := range []string{old, young} {
		check(t, os.WriteFile(name, []byte("x"), 0o600))
	}
	check(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Minute)))
	check(t, store.Save(t.Context(), aSession()))
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one, whose writer may be alive: %v", err)
	}
}
