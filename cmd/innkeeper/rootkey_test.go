package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// fleet is three servers with root key files of their own, on one database, the
// machine of their operator, and people who are signed in.
type fleet struct {
	t        *testing.T
	servers  []*server
	operator *server // is never started; what is run on it has the operator's file
	database string
	people   []*answer
	calls    int
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	database, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"INNKEEPER_DATABASE=" + database}
	f := &fleet{t: t, database: database, operator: newServer(t)}
	f.operator.env = env
	f.operator.run("", "rootkey", "new", f.operator.data(rootKeyName))
	for range 3 {
		s := newServer(t, "--issuer", "http://localhost")
		s.env = env
		f.servers = append(f.servers, s)
	}
	f.restart()
	f.operator.run(testPassword, "user", "add", "ada", "--password-stdin")
	for range 3 {
		f.people = append(f.people, f.signIn())
	}
	return f
}

func (f *fleet) signIn() *answer {
	f.t.Helper()
	f.calls++
	return f.must(f.servers[f.calls%3].call(http.DefaultClient, "POST", "/auth/login",
		map[string]string{"username": "ada", "password": testPassword, "delivery": "body"}))
}

func (f *fleet) must(a *answer, err error) *answer {
	f.t.Helper()
	if err != nil || a.status != http.StatusOK {
		f.t.Fatalf("got %v, %v", a, err)
	}
	return a
}

// refresh presents a token to one of the servers.
func (f *fleet) refresh(s *server, a *answer) (*answer, error) {
	key := fmt.Sprintf("%q;generation=%d", fmt.Sprintf("%s-%010d", a.Session.ID, a.Session.Generation), a.Session.Generation)
	return s.call(http.DefaultClient, "POST", "/auth/refresh", map[string]string{"refresh_token": a.RefreshToken}, "Idempotency-Key", key)
}

// check lets everybody refresh at each server that runs, and show the token that
// they get to all of them.
func (f *fleet) check() {
	f.t.Helper()
	for _, s := range f.servers {
		if s.cmd == nil {
			continue
		}
		for i := range f.people {
			f.people[i] = f.must(f.refresh(s, f.people[i]))
			for _, other := range f.servers {
				if other.cmd != nil {
					f.must(other.call(http.DefaultClient, "GET", "/auth/me", nil, "Authorization", "Bearer "+f.people[i].AccessToken))
				}
			}
		}
	}
}

// restart gives the operator's file to every server, and restarts them, one after
// another.
func (f *fleet) restart() {
	f.t.Helper()
	text, err := os.ReadFile(f.operator.data(rootKeyName))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range f.servers {
		if s.cmd != nil {
			s.stop()
			f.check()
		}
		if err := os.MkdirAll(filepath.Dir(s.data(rootKeyName)), 0o700); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(s.data(rootKeyName), text, 0o600); err != nil {
			f.t.Fatal(err)
		}
		s.start()
		f.check()
	}
}

// operate runs a command on the operator's machine, and returns what it prints.
func (f *fleet) operate(args ...string) (string, error) {
	cmd := f.operator.command(args...)
	cmd.Stdout, cmd.Stderr = nil, nil
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *fleet) mustOperate(want string, args ...string) {
	f.t.Helper()
	out, err := f.operate(args...)
	if err != nil || !strings.Contains(out, want) {
		f.t.Fatalf("innkeeper %v: %v\n%s\nwant %q", args, err, out, want)
	}
}

func (f *fleet) refused(want string, args ...string) {
	f.t.Helper()
	out, err := f.operate(args...)
	if err == nil || !strings.Contains(out, want) {
		f.t.Fatalf("innkeeper %v: %v\n%s\nwant a refusal with %q", args, err, out, want)
	}
}

// rootKeys are the IDs in the operator's file, the minting one first.
func (f *fleet) rootKeys() []string {
	f.t.Helper()
	file, err := openRootKeyFile(f.operator.data(rootKeyName))
	if err != nil {
		f.t.Fatal(err)
	}
	var ids []string
	for _, e := range file.entries() {
		ids = append(ids, e.ID)
	}
	return ids
}

// TestRootKeyOfThreeServers replaces the root key of an installation, with people
// who are signed in and go on, and some who are away meanwhile.
func TestRootKeyOfThreeServers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	away, gone := f.signIn(), f.signIn()
	old := f.rootKeys()[0]

	f.mustOperate("added the root key", "rootkey", "rotate")
	f.check()
	f.refused("no server has started with the root key", "rootkey", "rotate")
	f.restart()
	fresh := f.rootKeys()[1]

	f.mustOperate("put the root key "+fresh+" first", "rootkey", "rotate")
	f.refused("as the first one yet", "rootkey", "rotate")
	f.restart()
	if err := waitRewrapped(place{database: storeURL(f.database)}, fresh); err != nil {
		t.Fatal(err)
	}
	if ids := f.rootKeys(); !slices.Equal(ids, []string{fresh, old}) {
		t.Fatalf("the file has %v", ids)
	}
	f.people = append(f.people, f.must(f.refresh(f.servers[1], away)))

	f.mustOperate("nothing is encrypted under the root key "+old, "rootkey", "rotate")
	f.refused("may be alive until", "rootkey", "remove", old)
	f.mustOperate("removed the root key "+old, "rootkey", "remove", old, "--force")
	f.restart()
	f.check()
	if a, err := f.refresh(f.servers[0], gone); err != nil || a.Code != "refresh_token_invalid" {
		t.Errorf("a token of the root key that was forced away: %v %v", a, err)
	}

	// A server that still has the old file is told so.
	if err := os.WriteFile(f.servers[2].data(rootKeyName), []byte(rootkey.Generate().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	f.servers[2].stop()
	cmd := f.servers[2].command(f.servers[2].args...)
	if err := cmd.Run(); err == nil || !strings.Contains(f.servers[2].out.String(), "the store belongs to another root key") {
		t.Errorf("got %v\n%s", err, f.servers[2].out)
	}
}

// TestServerWithoutTheRootKey forgets one server on the way. It goes on with the keys
// that it holds, says that it is not ready once there is one that it cannot open, and
// does not start again.
func TestServerWithoutTheRootKey(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	forgotten := f.servers[2]
	text, err := os.ReadFile(forgotten.data(rootKeyName))
	if err != nil {
		t.Fatal(err)
	}
	f.servers = f.servers[:2]
	f.mustOperate("added", "rootkey", "rotate")
	f.restart()
	f.mustOperate("put", "rootkey", "rotate")
	f.restart()
	if err := waitRewrapped(place{database: storeURL(f.database)}, f.rootKeys()[0]); err != nil {
		t.Fatal(err)
	}
	// It still signs, and knows what the others sign.
	signed := f.must(forgotten.call(http.DefaultClient, "POST", "/auth/login",
		map[string]string{"username": "ada", "password": testPassword, "delivery": "body"}))
	f.must(f.servers[0].call(http.DefaultClient, "GET", "/auth/me", nil, "Authorization", "Bearer "+signed.AccessToken))
	f.must(forgotten.call(http.DefaultClient, "GET", "/auth/me", nil, "Authorization", "Bearer "+f.people[0].AccessToken))
	f.until(func() bool {
		resp, err := http.Get(forgotten.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	// Its log comes through a pipe, perhaps after the answer.
	f.until(func() bool { return strings.Contains(forgotten.out.String(), "unknown root key") })
	forgotten.stop()
	if err := os.WriteFile(forgotten.data(rootKeyName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := forgotten.command(forgotten.args...).Run(); err == nil {
		t.Error("it starts")
	}
	f.check()
}

// TestSigningKeysOfThreeServers rotates signing keys by hand, and in an emergency.
func TestSigningKeysOfThreeServers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	before := f.kids()
	f.refused("cannot sign before", "key", "rotate")
	f.sql("update signing_key set published_at = published_at - interval '20 minutes'")
	f.mustOperate(before["published"]+" signs from now on", "key", "rotate")
	f.until(func() bool {
		f.check()
		return f.signedBy() == before["published"]
	})
	rotated := f.kids()
	if rotated["active"] != before["published"] || rotated["retiring"] != before["active"] {
		t.Fatalf("the keys are %v, and were %v", rotated, before)
	}
	f.until(func() bool { return f.kids()["published"] != "" })

	// An emergency, a moment after the next key was published.
	rotated = f.kids()
	stolen := f.people[0].AccessToken
	f.mustOperate("revoked "+rotated["active"], "key", "retire", rotated["active"], "--emergency")
	for _, s := range f.servers {
		f.until(func() bool {
			a, err := s.call(http.DefaultClient, "GET", "/auth/me", nil, "Authorization", "Bearer "+stolen)
			if err != nil {
				t.Fatal(err)
			}
			return a.status == http.StatusUnauthorized && a.Code == "access_token_revoked"
		})
	}
	f.check() // nobody was signed out
	if got := f.signedBy(); got != rotated["published"] {
		t.Errorf("tokens are signed by %s, want %s", got, rotated["published"])
	}
}

// until waits for a condition.
func (f *fleet) until(true func() bool) {
	f.t.Helper()
	for range 400 {
		if true() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatal("waited for 40 s")
}

// kids are the signing keys by their states.
func (f *fleet) kids() map[string]string {
	f.t.Helper()
	out, err := f.operate("key", "list", "--output", "json")
	var keys []keyObject
	if err := errors.Join(err, json.Unmarshal([]byte(out), &keys)); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	found := make(map[string]string)
	for _, key := range keys {
		found[key.State] = key.KeyID
	}
	return found
}

// signedBy is the key that all of the latest tokens are signed by; empty if they
// differ.
func (f *fleet) signedBy() string {
	f.t.Helper()
	kid := ""
	for i, s := range f.servers {
		f.people[0] = f.must(f.refresh(s, f.people[0]))
		header, _, _ := strings.Cut(f.people[0].AccessToken, ".")
		text, err := base64.RawURLEncoding.DecodeString(header)
		var said struct {
			KeyID string `json:"kid"`
		}
		if err := errors.Join(err, json.Unmarshal(text, &said)); err != nil {
			f.t.Fatal(err)
		}
		if i > 0 && said.KeyID != kid {
			return ""
		}
		kid = said.KeyID
	}
	return kid
}

func (f *fleet) sql(statement string) {
	f.t.Helper()
	psql := filepath.Join(testengine.SharedPostgres(f.t).BinDir(), "psql")
	out, err := exec.Command(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command="+statement, f.database).CombinedOutput()
	if err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
}
