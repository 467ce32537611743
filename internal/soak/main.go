// Command soak breaks Innkeeper, and looks whether its promises hold:
//
//	go run ./internal/soak linearizability --store postgres --histories 200
//	go run ./internal/soak rolling --store redis --restarts 12
//	go run ./internal/soak revocation --store postgres
//	go run ./internal/soak revocation --store postgres --faults 3 --histories 100
//	go run ./internal/soak clients --duration 30m
//	go run ./internal/soak check soak-failures/postgres-129.json
//
// It builds the real server, runs three of its processes over one store, and lets
// clients use them while servers and databases are killed, frozen and cut off.
//
// linearizability records what the clients did and were told, and asks porcupine
// whether the decision table of docs/refresh.md can explain it. The specification
// is in model.go, the clients are in guest.go, the faults in nemesis.go and the
// question in checker.go. A history that cannot be explained is written down, with
// a picture of it, and its seed is printed: the same seed makes the same choices,
// though never quite the same race. check asks the question once more.
//
// rolling restarts the servers one after the other under load, and counts what the
// clients noticed.
//
// revocation times how soon every verifier refuses what was revoked; with faults, it
// looks whether they refuse it at all, and nothing else. Tokens and what became of them
// are in revocation_ledger.go, the ways to revoke in revocation_ways.go, and what a
// verifier may answer in revocation_verifier.go.
//
// clients puts our own clients, and others to compare, through a tempest: bad networks, kill -9 and
// thieves. That is package tempest, and docs/clients/soak.md.
//
// The tests of this package are shorter runs of the same, and three stories more:
// every way in which a store can be away, a restored backup, and checks of the
// checker itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/tempest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

// settings are the flags.
type settings struct {
	store     string
	seed      uint64
	histories uint64
	faults    int
	restarts  int
	race      bool
	// For revocations.
	revocations int
	nodes       int
	json        bool
	failures    string
	files       []string
	// For clients.
	client   string
	rotation string
	compare  bool
	duration time.Duration
	serve    []string // more flags for the servers
}

func run(ctx context.Context, out io.Writer, args []string) error {
	const usage = "say linearizability, rolling, revocation, clients or check"
	if len(args) == 0 {
		return errors.New(usage)
	}
	if args[0] == "worker" { // one process of the Go programs among the clients
		return tempest.Work(ctx, os.Stdin, out, args[1:])
	}
	s := settings{store: onPostgres}
	if args[0] == "clients" {
		s.store = onSQLite
	}
	flags := flag.NewFlagSet("soak "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.store, "store", s.store, "sqlite, postgres, or redis: sessions in Redis, all else in PostgreSQL")
	flags.BoolVar(&s.race, "race", false, "build the server with the race detector")
	flags.Uint64Var(&s.seed, "seed", rand.Uint64N(1e9), "of the first history, and the next one has the next; at random") //nolint:gosec // it is printed
	flags.Uint64Var(&s.histories, "histories", 200, "how many histories to record and check")
	faults := map[string]int{"linearizability": 3}
	flags.IntVar(&s.faults, "faults", faults[args[0]], "faults in each history; revocation without any measures time")
	flags.IntVar(&s.restarts, "restarts", 12, "how many servers to restart, in turn")
	flags.StringVar(&s.failures, "failures", "soak-failures", "directory for histories that cannot be explained")
	flags.IntVar(&s.revocations, "revocations", 0, fmt.Sprintf("how many; zero: %d, or %d in each history", defaultRevocations, defaultInEachHistory))
	flags.IntVar(&s.nodes, "nodes", 3, "servers over the store")
	flags.BoolVar(&s.json, "json", false, "print the times of revocations as JSON")
	flags.StringVar(&s.client, "client", tempest.Ours, "ours or tutorial: on 401 refresh and retry")
	flags.StringVar(&s.rotation, "rotation", tempest.Keys, "keys or strict: without idempotency keys")
	flags.BoolVar(&s.compare, "compare", false, "put each kind of client through it, and print a table")
	flags.DurationVar(&s.duration, "duration", clientsDuration, "how long the clients suffer")
	commands := map[string]func(context.Context, io.Writer, settings) error{
		"linearizability": linearizability,
		"rolling":         rolling,
		"revocation":      revocation,
		"clients":         clients,
		"check":           checkAgain,
	}
	command, known := commands[args[0]]
	if !known {
		return errors.New(usage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s.files = flags.Args()
	return command(ctx, out, s)
}

// withInn runs something over an inn, in a directory that goes afterwards.
func (s settings) withInn(ctx context.Context, do func(*inn) error) (err error) {
	dir, err := os.MkdirTemp("", "innkeeper-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var flags []string
	if s.race {
		flags = append(flags, "-race")
	}
	binary, err := buildInnkeeper(ctx, dir, flags...)
	if err != nil {
		return err
	}
	i, err := openInn(ctx, innConfig{binary: binary, store: s.store, nodes: s.nodes, dir: dir, serve: s.serve})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	return do(i)
}

var errPromises = errors.New("the promises do not hold")

func linearizability(ctx context.Context, out io.Writer, s settings) error {
	failures, err := filepath.Abs(s.failures)
	if err != nil {
		return err
	}
	return s.withInn(ctx, func(i *inn) error {
		fmt.Fprintf(out, "%s: %d histories from seed %d\n", s.store, s.histories, s.seed)
		t := trial{
			store: s.store, nodes: i.urls(), seed: s.seed, histories: s.histories, failures: failures, out: out,
			strike: strikes(i, s.faults),
		}
		f, err := t.run(ctx)
		fmt.Fprintln(out, f)
		fmt.Fprintln(out, "answers:", tally(f.answers))
		if f.bad() {
			err = errors.Join(err, errPromises)
		}
		return errors.Join(err, i.complaints())
	})
}

// checkAgain checks histories that were written down.
func checkAgain(_ context.Context, out io.Writer, s settings) error {
	var err error
	for _, file := range s.files {
		h, readErr := readHistory(file)
		if readErr != nil {
			return readErr
		}
		v := check(h)
		fmt.Fprintf(out, "%s: %s\n", file, v)
		if v != linearizable {
			lines, reportErr := report(h, filepath.Dir(file))
			fmt.Fprintf(out, "\t%s\n", strings.Join(lines, "\n\t"))
			err = errors.Join(errPromises, reportErr)
		}
	}
	return err
}
