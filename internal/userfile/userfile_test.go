package userfile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/internal/userfile"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

func TestMain(m *testing.M) { os.Exit(testengine.Main(m)) }

const bcryptHash = "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS"

// argon2Hash is a hash as other programs spell it.
const argon2Hash = "$argon2id$v=19$m=1024,t=2,p=1$c29tZXNhbHQ$ARIB7YZ4XWUvNlQ1bZ2O2g"

// importing runs an import, and collects the codes of what is rejected, by line.
func importing(ctx context.Context, authority *innkeeper.Authority, file io.Reader, dryRun bool) (userfile.Counts, map[int]string, error) {
	rejected := make(map[int]string)
	users := userfile.New(userfile.Config{
		Authority: authority, Actor: innkeeper.ActorOperator, DryRun: dryRun, Tries: 1,
		Reject: func(r userfile.Rejection) { rejected[r.Line] = r.Code },
	})
	err := users.Run(ctx, file)
	return users.Counts(), rejected, err
}

// Files come from other systems, with their line ends and marks.
func TestLines(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	file := strings.Join([]string{
		"\ufeff" + `{"username":"first"}` + "\r", "", "  \t", `  {"username":"second","password_hash":"` + bcryptHash + `"}`,
		`{"username":"` + strings.Repeat("x", 64<<10) + `"}`, `{"username":"third","password_hash":"!"}`, "\xff", "{",
		`{"username":"fourth","roles":null}`, `{"username":"fifth","disabled":"true"}`, `{"username":"last","disabled":true}`,
	}, "\n")
	counts, rejected, err := importing(t.Context(), inn.Authority, strings.NewReader(file), false)
	if err != nil {
		t.Fatal(err)
	}
	want := userfile.Counts{
		Bytes: int64(len(file)), Lines: 9, Imported: 5, Rejected: 4, Hashes: map[password.Scheme]int64{"": 4, password.SchemeBcrypt: 1},
	}
	if !reflect.DeepEqual(counts, want) {
		t.Errorf("got %+v, want %+v", counts, want)
	}
	if want := map[int]string{5: "line_too_long", 7: "invalid_json", 8: "invalid_json", 10: "invalid_json"}; !reflect.DeepEqual(rejected, want) {
		t.Errorf("rejected %v, want %v", rejected, want)
	}
	if last, err := inn.Authority.UserByUsername(t.Context(), "last"); err != nil || !last.Disabled {
		t.Errorf("got %+v, %v", last, err)
	}
}

// A dry run says what a run does, for whatever is in the file: the first line of a
// user wins, the same line again is fine, and another one is refused.
func TestDryRunTellsTheTruth(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("clerk", "mail:read") // and a role of that name
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++ // nobody has these names yet
		ada := fmt.Sprint("ada", round)
		names := []string{ada, strings.ToUpper(ada), fmt.Sprint("bob", round), "clerk", "a b"}
		var file strings.Builder
		for range rapid.IntRange(0, 20).Draw(rt, "lines") {
			fmt.Fprintf(&file, `{"username":%q,"email":%q,"roles":[%s],"password_hash":%q}`+"\n",
				rapid.SampledFrom(names).Draw(rt, "username"),
				rapid.SampledFrom([]string{"", "ada@example.com", "nonsense"}).Draw(rt, "email"),
				rapid.SampledFrom([]string{"", `"clerk"`, `"nobody"`}).Draw(rt, "roles"),
				rapid.SampledFrom([]string{"", bcryptHash, "hunter2", "$pbkdf2$1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA", argon2Hash, argon2Hash[:len(argon2Hash)-4] + "AAAA"}).Draw(rt, "hash"))
		}
		planned, plannedRejects, err := importing(t.Context(), inn.Authority, strings.NewReader(file.String()), true)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := inn.Authority.UserByUsername(t.Context(), ada); !errors.Is(err, innkeeper.ErrNotFound) {
			rt.Fatalf("a dry run has imported somebody: %v", err)
		}
		done, rejects, err := importing(t.Context(), inn.Authority, strings.NewReader(file.String()), false)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(planned, done) || !reflect.DeepEqual(plannedRejects, rejects) {
			rt.Fatalf("planned %+v %v, did %+v %v", planned, plannedRejects, done, rejects)
		}
		again, rejectsAgain, err := importing(t.Context(), inn.Authority, strings.NewReader(file.String()), false)
		if err != nil || again.Imported != 0 || again.Present != done.Imported+done.Present || again.Rejected != done.Rejected {
			rt.Fatalf("again: %+v %v %v, first %+v %v", again, rejectsAgain, err, done, rejects)
		}
	})
}

// Who was imported and has signed in since is still the same person. Who has taken a name
// at the open sign-up is not the person who is to be imported under it.
func TestNamesTakenBeforeTheImport(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{SignupOpen: true})
	file := `{"username":"ada","password_hash":"` + bcryptHash + `"}` + "\n" + `{"username":"eve","password_hash":"` + bcryptHash + `"}`
	_, err := inn.Authority.SignUp(t.Context(), innkeeper.SignupRequest{LoginRequest: innkeeper.LoginRequest{
		Username: "eve", Password: innkeepertest.Password, Delivery: innkeeper.DeliverByBody,
	}})
	if err != nil {
		t.Fatal(err)
	}
	inn.Clock.Advance(time.Minute)
	eve, err := inn.Authority.UserByUsername(t.Context(), "eve")
	if err != nil {
		t.Fatal(err)
	}
	// She changes her password too: neither is one that was imported.
	if err := inn.Authority.SetPassword(t.Context(), eve.ID, innkeepertest.Password+" 2", innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	for _, imported := range []int64{1, 0} { // and again, when ada has a password of ours
		for _, dryRun := range []bool{true, false} {
			counts, rejected, err := importing(t.Context(), inn.Authority, strings.NewReader(file), dryRun)
			if err != nil || counts.Imported != imported || counts.Present != 1-imported || !reflect.DeepEqual(rejected, map[int]string{2: "user_differs"}) {
				t.Errorf("dry run %v: got %+v, rejected %v, %v", dryRun, counts, rejected, err)
			}
		}
		inn.Clock.Advance(time.Minute)
		ada, err := inn.Authority.UserByUsername(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		if err := inn.Authority.SetPassword(t.Context(), ada.ID, innkeepertest.Password, innkeeper.ActorOperator); err != nil {
			t.Fatal(err)
		}
	}
}

// interrupted is a file that ends the context, or the store, when half of it is read.
type interrupted struct {
	io.Reader
	left int
	do   func()
}

func (r *interrupted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), 1000)])
	if r.left -= n; r.left <= 0 && r.do != nil {
		r.do()
		r.do = nil
	}
	return n, err
}

func manyUsers(n int) string {
	var file strings.Builder
	for i := range n {
		fmt.Fprintf(&file, `{"username":"guest%d","password_hash":%q}`+"\n", i, bcryptHash)
	}
	return file.String()
}

// Whatever stops an import, what was counted is there, and the next one does the rest.
func TestInterrupted(t *testing.T) {
	const n = 2000
	file := manyUsers(n)
	path := filepath.Join(t.TempDir(), "innkeeper.db")
	store, stores := openStore(t, path)
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores, RootKeys: roots})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, rejected, err := importing(ctx, inn.Authority, &interrupted{strings.NewReader(file), len(file) / 3, cancel}, false)
	if !errors.Is(err, context.Canceled) || len(rejected) != 0 || first.Imported >= n {
		t.Fatalf("canceled: %+v, %v, %v", first, rejected, err)
	}
	second, rejected, err := importing(t.Context(), inn.Authority, &interrupted{strings.NewReader(file), len(file) * 2 / 3, func() { _ = store.Close() }}, false)
	if !errors.Is(err, innkeeper.ErrUnavailable) || len(rejected) != 0 {
		t.Fatalf("without a store: %+v, %v, %v", second, rejected, err)
	}

	_, stores = openStore(t, path)
	reopened := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores, RootKeys: roots})
	third, rejected, err := importing(t.Context(), reopened.Authority, strings.NewReader(file), false)
	if err != nil || len(rejected) != 0 || third.Imported+third.Present != n {
		t.Fatalf("resumed: %+v, %v, %v", third, rejected, err)
	}
	if third.Imported > n-first.Imported-second.Imported {
		t.Errorf("what was counted was not there: %+v, %+v, %+v", first, second, third)
	}
	if first.Imported == 0 || second.Imported == 0 || third.Imported == 0 {
		t.Errorf("one of them had nothing to do: %d, %d, %d", first.Imported, second.Imported, third.Imported)
	}
}

func openStore(t *testing.T, path string) (*sqlite.Store, innkeeper.Stores) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store, store.Stores()
}

// A database that goes away and comes back costs nothing but time, and nobody is lost
// or doubled whose answer was.
func TestOutage(t *testing.T) {
	const n = 1000
	server := testengine.SharedPostgres(t)
	database, err := server.CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := testengine.NewProxy(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	store, err := postgres.Open(t.Context(), postgres.Config{URL: strings.Replace(database, server.Addr(), proxy.Addr(), 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	stores := store.Stores()
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores})

	users := userfile.New(userfile.Config{
		Authority: inn.Authority, Actor: innkeeper.ActorOperator, Reject: func(r userfile.Rejection) { t.Errorf("%+v", r) },
	})
	file := manyUsers(n)
	outage := func() {
		if err := proxy.Refuse(); err != nil {
			t.Error(err)
		}
		proxy.Cut()
		time.AfterFunc(500*time.Millisecond, func() {
			if err := proxy.Pass(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := users.Run(t.Context(), &interrupted{strings.NewReader(file), len(file) / 2, outage}); err != nil {
		t.Fatal(err)
	}
	if counts := users.Counts(); counts.Imported+counts.Present != n || counts.Imported < n/2 {
		t.Errorf("got %+v", counts)
	}
	again, _, err := importing(t.Context(), inn.Authority, strings.NewReader(file), false)
	if err != nil || again.Present != n {
		t.Errorf("again: %+v, %v", again, err)
	}
}
