// Command fuzzapi sends requests to every operation of the API, good ones and all kinds
// of bad ones, and looks whether each answer is in the description:
//
//	go run ./internal/fuzzapi --requests 200000
//	go run ./internal/fuzzapi --seed 7 --round 12 --requests 2000
//
// It reads the description as the server serves it, and knows of the API what that
// says and what names mean: that a username is one of a user. A request is made up to
// be accepted (valid.go), and then, half of the time, spoiled (mutation.go). It is the
// text of HTTP/1.1 that a client would send, so that nothing is repaired on the way.
// Most are given to the handler; one in ten travels over a connection to a real server
// (exchange.go). The answer must be one that the description has (verdict.go):
//
//   - its status, its type, and every member of its body;
//   - no 5xx, but for a 503 where the store was made not to answer;
//   - no panic, no error in the log, no password, the headers of httpapi/header.go.
//
// The requests come in rounds, each with an inn of its own (inn.go) where there are
// users, sessions, services, webhooks and keys, in memory or in SQLite. What answers
// give away is used in the requests that follow. A round is determined by its seed: the
// same one makes the same choices, though tokens and identifiers are new each time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzzapi:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

// plan is what to do.
type plan struct {
	requests int
	seed     uint64
	round    int // only this one; negative: all
	workers  int
}

// roundSize is how many requests an inn gets.
const roundSize = 2000

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("fuzzapi", flag.ContinueOnError)
	var p plan
	flags.IntVar(&p.requests, "requests", 200_000, "how many `requests` to send")
	flags.Uint64Var(&p.seed, "seed", 1, "of all choices")
	flags.IntVar(&p.round, "round", -1, "only this `round`, to repeat it")
	flags.IntVar(&p.workers, "workers", runtime.GOMAXPROCS(0), "how many rounds are under way at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	began := time.Now()
	t, err := fuzz(ctx, p)
	if t != nil {
		t.print(out)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d operations, %d requests, %d of them over a connection, in %s: no 5xx but where the store was down, no panic, nothing outside the description (seed %d)\n",
		len(t.operations()), t.requests, t.wired, time.Since(began).Round(time.Second/10), p.seed)
	return nil
}

// fuzz runs the rounds. The tally is of what was sent, also with an error.
func fuzz(ctx context.Context, p plan) (*tally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sum := newTally()
	rounds := make(chan int)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex // of sum and failed
		failed  error
	)
	for range max(p.workers, 1) {
		workers.Go(func() {
			for round := range rounds {
				size := min(roundSize, p.requests-round*roundSize)
				if p.round >= 0 {
					size = p.requests
				}
				t, err := playRound(ctx, p.seed, round, size)
				mu.Lock()
				sum.add(t)
				if err != nil && failed == nil {
					failed = fmt.Errorf("round %d (go run ./internal/fuzzapi --seed %d --round %d --requests %d): %w", round, p.seed, round, size, err)
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	first, last := 0, (p.requests+roundSize-1)/roundSize
	if p.round >= 0 {
		first, last = p.round, p.round+1
	}
	for round := first; round < last && ctx.Err() == nil; round++ {
		rounds <- round
	}
	close(rounds)
	workers.Wait()
	if failed == nil && ctx.Err() != nil {
		failed = errors.New("interrupted")
	}
	return sum, failed
}

// tally counts requests by operation and status.
type tally struct {
	requests, wired int
	by              map[string]map[int]int
}

func newTally() *tally { return &tally{by: make(map[string]map[int]int)} }

func (t *tally) count(operation string, status int) {
	t.requests++
	if t.by[operation] == nil {
		t.by[operation] = make(map[int]int)
	}
	t.by[operation][status]++
}

func (t *tally) add(other *tally) {
	if other == nil {
		return
	}
	t.requests += other.requests
	t.wired += other.wired
	for operation, statuses := range other.by {
		if t.by[operation] == nil {
			t.by[operation] = make(map[int]int)
		}
		for status, n := range statuses {
			t.by[operation][status] += n
		}
	}
}

// operations returns those of the description.
func (t *tally) operations() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t.by)), func(name string) bool { return strings.HasPrefix(name, "(") })
}

func (t *tally) print(out io.Writer) {
	for _, operation := range slices.Sorted(maps.Keys(t.by)) {
		sum := 0
		var statuses strings.Builder
		for _, status := range slices.Sorted(maps.Keys(t.by[operation])) {
			n := t.by[operation][status]
			sum += n
			fmt.Fprintf(&statuses, "  %d: %d", status, n)
		}
		fmt.Fprintf(out, "%-20s %7d %s\n", operation, sum, statuses.String())
	}
}
