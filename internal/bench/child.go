package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/internal/ballast"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

const (
	// childCommand makes this program one side. It says its URL in the first line of
	// its output, then obeys its input, a line of output for each line; and ends with
	// its input, so that none outlives its parent.
	childCommand = "child"
	// rootKeyVariable holds the root key, which other processes must not see among
	// the arguments.
	rootKeyVariable = "INNKEEPER_BENCH_ROOT_KEY"

	username   = "ada"
	secretWord = "correct horse battery staple"
)

// childFlags say what a side serves. With neither file nor database it is the
// floor.
type childFlags struct {
	bare     bool
	file     string
	database string
	sessions string
}

func runChild(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	var f childFlags
	flags := flag.NewFlagSet(childCommand, flag.ContinueOnError)
	flags.BoolVar(&f.bare, "bare", false, "the floor above the store, instead of Innkeeper")
	flags.StringVar(&f.file, "file", "", "SQLite file")
	flags.StringVar(&f.database, "database", "", "URL of a PostgreSQL database")
	flags.StringVar(&f.sessions, "sessions", "", "URL of a Redis server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	defer ballast.Load()() // as "innkeeper serve" does
	c := &child{}
	handler, err := c.open(ctx, f)
	if err != nil {
		return errors.Join(err, c.close())
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, c.close())
	}
	stop, err := c.run(ctx)
	if err != nil {
		return errors.Join(err, c.close())
	}
	defer stop()
	server := httpapi.NewServer("", handler)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench: serve:", err)
		}
	}()
	fmt.Fprintf(out, "http://%s\n", listener.Addr())
	c.obey(ctx, in, out)
	stop() // followers leave before the server and its store
	return errors.Join(server.Close(), c.close())
}

// run lets the authority follow the feed, once it has read it. The floor has none.
func (c *child) run(ctx context.Context) (stop func(), err error) {
	if c.authority == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { c.authority.Run(ctx) })
	stop = func() { cancel(); over.Wait() }
	if _, err := c.authority.Revocations(ctx, 0, 10*time.Second); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// child is one side, from the inside.
type child struct {
	authority *innkeeper.Authority // nil: the floor
	closers   []func() error
	profile   *os.File
}

func (c *child) open(ctx context.Context, f childFlags) (http.Handler, error) {
	if f.file == "" && f.database == "" {
		return newFloor(ctx, nil, innkeeper.User{})
	}
	stores, err := c.openStores(ctx, f)
	if err != nil {
		return nil, err
	}
	key, err := rootkey.Parse(os.Getenv(rootKeyVariable))
	if err != nil {
		return nil, err
	}
	roots, err := rootkey.NewRing(key)
	if err != nil {
		return nil, err
	}
	c.authority, err = innkeeper.Open(ctx, innkeeper.Config{
		Issuer: "http://localhost:8080", Stores: stores, RootKeys: roots, Clock: time.Now,
		// Nobody's password is at stake, and sign-ins are not what is measured.
		Passwords: password.Config{Params: password.Params{Memory: 8, Iterations: 1}, InsecureWeakParams: true},
		// Clients do as much as they can, all of them here.
		SignInLimits: innkeeper.InsecureLimitNothing, RefreshLimit: -1,
	})
	if err != nil {
		return nil, err
	}
	_, err = c.authority.CreateUser(ctx, innkeeper.NewUser{Username: username, Password: secretWord}, innkeeper.ActorOperator)
	if err != nil && !errors.Is(err, innkeeper.ErrUsernameTaken) {
		return nil, err
	}
	if f.bare {
		user, err := stores.Users.UserByUsername(ctx, username)
		if err != nil {
			return nil, err
		}
		return newFloor(ctx, stores.Sessions, user)
	}
	return httpapi.New(httpapi.Config{Authority: c.authority})
}

func (c *child) openStores(ctx context.Context, f childFlags) (innkeeper.Stores, error) {
	var stores innkeeper.Stores
	if f.file != "" {
		store, err := sqlite.Open(ctx, sqlite.Config{Path: f.file})
		if err != nil {
			return stores, err
		}
		stores, c.closers = store.Stores(), append(c.closers, store.Close)
	} else {
		store, err := postgres.Open(ctx, postgres.Config{URL: f.database})
		if err != nil {
			return stores, err
		}
		stores, c.closers = store.Stores(), append(c.closers, store.Close)
	}
	if f.sessions != "" {
		store, err := redis.Open(ctx, redis.Config{URL: f.sessions}, stores)
		if err != nil {
			return stores, err
		}
		stores, c.closers = store.Stores(), append(c.closers, store.Close)
	}
	return stores, nil
}

// close closes what was opened last first.
func (c *child) close() error {
	var err error
	for i := len(c.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, c.closers[i]())
	}
	return err
}

// obey does what each line says, until there are no more.
func (c *child) obey(ctx context.Context, in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		answer, err := c.do(ctx, command, argument)
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(out, answer)
	}
}

func (c *child) do(ctx context.Context, command, argument string) (string, error) {
	switch command {
	case "cpu":
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			return "", err
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).String(), nil
	case "profile":
		return "", c.startProfile(argument)
	case "stop-profile":
		pprof.StopCPUProfile()
		return "", c.profile.Close()
	case "memory":
		return residentMemory()
	case "sweep":
		swept, err := c.authority.Sweep(ctx, innkeeper.SweepPolicy{})
		return fmt.Sprint(swept.Sessions), err
	case "logout-everywhere":
		user, err := c.authority.UserByUsername(ctx, argument)
		if err != nil {
			return "", err
		}
		began := time.Now()
		err = c.authority.EndUserSessions(ctx, user.ID, innkeeper.ReasonLogoutEverywhere, innkeeper.ActorOperator)
		return time.Since(began).String(), err
	}
	return "", fmt.Errorf("unknown command %q", command)
}

func (c *child) startProfile(path string) (err error) {
	if c.profile, err = os.Create(path); err != nil { //nolint:gosec // the path is the user's own
		return err
	}
	return pprof.StartCPUProfile(c.profile)
}
