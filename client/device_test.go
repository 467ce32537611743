package client_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestKnownDevice: whoever guesses a password keeps nobody out who has signed in here
// before, also after a sign-out and in another process (OWASP: device cookies).
func TestKnownDevice(t *testing.T) {
	right := client.Credentials{Username: "ada", Password: innkeepertest.Password}
	path := filepath.Join(t.TempDir(), "session.json")
	file := func() client.Store {
		store, err := client.NewFileStore(path)
		check(t, err)
		return store
	}
	memory := client.NewMemoryStore()
	for name, open := range map[string]func() client.Store{"file": file, "memory": func() client.Store { return memory }} {
		t.Run(name, func(t *testing.T) {
			i := newInn(t, nil)
			source := i.source(t, open())
			check(t, source.Login(t.Context(), right))
			check(t, source.Logout(t.Context(), client.LogoutThis))

			thief := i.source(t, client.NewMemoryStore())
			var refused *client.RefusedError
			for tries := 0; refused == nil || refused.Status != http.StatusTooManyRequests; tries++ {
				if tries == 50 {
					t.Fatal("one may guess for ever")
				}
				err := thief.Login(t.Context(), client.Credentials{Username: "ada", Password: "a wrong guess"})
				if !errors.As(err, &refused) {
					t.Fatal(err)
				}
			}
			if err := thief.Login(t.Context(), right); !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests {
				t.Fatalf("a stranger is not held up: %v", err)
			}
			check(t, i.source(t, open()).Login(t.Context(), right))
		})
	}
	info, err := os.Stat(path + ".device")
	check(t, err)
	if mode := info.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v", mode)
	}
}

// TestDeviceOfAnotherServer: the token is shown to nobody but the server it is from.
func TestDeviceOfAnotherServer(t *testing.T) {
	i := newInn(t, nil)
	store := client.NewMemoryStore()
	device := client.Device{Server: "https://elsewhere.example", Token: client.NewSecret(strings.Repeat("x", 201))} // which the server would refuse
	check(t, store.SaveDevice(t.Context(), device))
	check(t, i.source(t, store).Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
	if now, err := store.LoadDevice(t.Context()); err != nil || now.Server != i.URL || !strings.HasPrefix(now.Token.Reveal(), "ikd_") {
		t.Errorf("%+v, %v", now, err)
	}
}

// forgetful cannot remember devices.
type forgetful struct{ *client.MemoryStore }

var errForgetful = errors.New("not today")

func (forgetful) LoadDevice(context.Context) (client.Device, error) {
	return client.Device{}, errForgetful
}
func (forgetful) SaveDevice(context.Context, client.Device) error { return errForgetful }

// TestDeviceStoreFails: that keeps nobody from signing in.
func TestDeviceStoreFails(t *testing.T) {
	i := newInn(t, nil)
	check(t, i.source(t, forgetful{client.NewMemoryStore()}).Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
}

func TestDecodeDevice(t *testing.T) {
	want := client.Device{Server: "https://auth.example.com", Token: client.NewSecret("ikd_a")}
	text, err := want.Encode()
	check(t, err)
	got, err := client.DecodeDevice(text)
	check(t, err)
	if got.Server != want.Server || !got.Token.Equal(want.Token) {
		t.Errorf("%s became %+v", text, got)
	}
	for _, bad := range []string{"", "{}", `{"version":2,"server":"","device_token":""}`, `{"version":1,"version":1}`, "ikd_secret"} {
		if _, err := client.DecodeDevice([]byte(bad)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
