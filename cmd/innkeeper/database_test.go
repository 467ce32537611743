package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/internal/transfer"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

func TestStoreURLShowsNoPassword(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://ada:swordfish@db:5432/inn?sslmode=verify-full&password=swordfish": "postgres://ada@db:5432/inn",
		"postgres://ada@one:5432,two:5432/inn":                                        "postgres://ada@one:5432,two:5432/inn",
		"redis://:sword@fish@cache:6379/3":                                            "redis://@cache:6379/3",
		"rediss://cache":                                                              "rediss://cache",
		"swordfish":                                                                   "[redacted]",
	} {
		u := storeURL(text)
		if got := fmt.Sprintf("%v|%s|%#v", u, u, u); got != want+"|"+want+"|"+want {
			t.Errorf("%q prints as %q, want %q thrice", text, got, want)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("url", "url", u)
		if strings.Contains(logged.String(), "fish") {
			t.Errorf("logged: %s", &logged)
		}
	}
}

func TestErrorsShowNoPassword(t *testing.T) {
	for text, want := range map[string]string{
		"dial postgres://ada:swordfish@db/inn: no":     "dial postgres://ada:[redacted]@db/inn: no",
		"mkdir /tmp/postgres:/ada:swordfish@db/inn":    "mkdir /tmp/postgres:/ada:[redacted]@db/inn",
		"redis://:a@b:c@cache/3 is down":               "redis://:[redacted]@cache/3 is down",
		"user=ada password=swordfish host=db":          "user=ada password=[redacted] host=db",
		"postgres://db/inn?sslpassword=swordfish&a=b":  "postgres://db/inn?sslpassword=[redacted]&a=b",
		"write postgres://user:password@host/database": "write postgres://user:password@host/database",
		"listen on 127.0.0.1:8080 for ada@example.com": "listen on 127.0.0.1:8080 for ada@example.com",
	} {
		var out bytes.Buffer
		report(&out, errors.New(text))
		if got := out.String(); got != "innkeeper: "+want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestInterruptedWithAdvice keeps what to do about a copy that ctrl-c has cut off.
func TestInterruptedWithAdvice(t *testing.T) {
	var out bytes.Buffer
	code := report(&out, move{to: place{database: "postgres://db/inn"}}.explain(context.Canceled))
	want := "innkeeper: interrupted\nhint: drop and create the database postgres://db/inn, and run this again; the source is as it was\n"
	if code != exitFailed || out.String() != want {
		t.Errorf("got %d and %q", code, &out)
	}
}

// TestFirstNodesRace starts servers with two root keys at once on a database that
// is empty: those with one of them stay, and the others are turned away, then and
// ever after.
func TestFirstNodesRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var keys [2]string
	for k := range keys {
		keys[k] = filepath.Join(dir, fmt.Sprintf("%d.key", k))
		if err := createRootKey(keys[k]); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		database, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := func(k int) error {
			command := serveCommand{Issuer: "http://localhost", Data: dataFlags{
				Place: placeFlags{Database: storeURL(database)}, RootKeyFile: keys[k],
			}}
			d, err := command.Data.open(t.Context(), slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer func() { _ = d.close() }()
			_, err = innkeeper.Open(t.Context(), innkeeper.Config{
				Issuer: "http://localhost", Stores: d.stores, RootKeys: d.roots, Clock: time.Now,
			})
			return err
		}
		var (
			wg   sync.WaitGroup
			errs [4]error
		)
		for n := range errs {
			wg.Go(func() { errs[n] = start(n % 2) })
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		for n, err := range errs {
			if mine := n%2 == winner; mine && err != nil || !mine && !errors.Is(err, innkeeper.ErrWrongRootKey) {
				t.Errorf("server %d, beside the winner %d: %v", n, winner, err)
			}
		}
		if err := start(1 - winner); err == nil {
			t.Error("the loser came in later")
		}
	}
}

// TestUnfinishedCopyIsNotServed opens what "innkeeper move" has left behind.
func TestUnfinishedCopyIsNotServed(t *testing.T) {
	flags := dataFlags{Place: placeFlags{Data: filepath.Join(t.TempDir(), "data")}}
	there, err := flags.Place.place().open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	from := memory.New().Stores()
	if err := from.RootKeys.AddRootKeyChecks(t.Context(), []rootkey.Check{rootkey.Generate().Check()}); err != nil {
		t.Fatal(err)
	}
	broken := there.stores
	broken.Roles = noRoles{there.stores.Roles}
	if err := transfer.New(transfer.Config{From: from, To: broken, Clock: time.Now}).Run(t.Context()); err == nil {
		t.Fatal("the copy was finished")
	}
	if err := there.close(); err != nil {
		t.Fatal(err)
	}
	_, err = flags.open(t.Context(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "holds an unfinished copy") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(flags.rootKeyFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root key was made for it: %v", err)
	}
}

// noRoles is a store that takes no role.
type noRoles struct{ innkeeper.RoleStore }

func (noRoles) SetRole(context.Context, innkeeper.Role, innkeeper.Event) error {
	return errors.New("the network is down")
}

// TestNoPasswordOfADatabaseIsWritten serves with passwords in both URLs, takes the
// databases away, and looks for the passwords in all that was printed.
func TestNoPasswordOfADatabaseIsWritten(t *testing.T) {
	const password = "swordfish"
	database, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	redis, err := testengine.StartRedis(t.Context(), testengine.RedisConfig{
		AppendFsync: "no", Settings: map[string]string{"user": "ada on >" + password + " ~* &* +@all"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	t.Setenv("INNKEEPER_DATABASE", strings.Replace(database, "innkeeper@", "innkeeper:"+password+"@", 1))
	t.Setenv("INNKEEPER_SESSIONS", strings.Replace(redis.URL(), "redis://", "redis://ada:"+password+"@", 1))

	s := newServer(t, "--log-level", "debug")
	s.run("", "migrate")
	s.run("", "rootkey", "new", s.data(rootKeyName))
	s.run(testPassword, "user", "add", "ada", "--password-stdin")
	s.start()
	login := map[string]string{"username": "ada", "password": testPassword, "delivery": "body"}
	if a, err := s.call(http.DefaultClient, "POST", "/auth/login", login); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v %v", a, err)
	}
	if err := redis.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/auth/login", "/auth/refresh"} {
		if a, err := s.call(http.DefaultClient, "POST", path, login); err != nil || a.status < 400 {
			t.Errorf("without Redis, %s: %v %v", path, a, err)
		}
	}
	failing := s.command("session", "list", "ada")
	_ = failing.Run() // it says so
	s.stop()
	out := s.out.String()
	if strings.Contains(out, password) || !strings.Contains(out, "redis") || len(out) < 1000 {
		t.Errorf("written: %s", out)
	}
}
