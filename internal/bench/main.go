// Command bench prints what a refresh costs beside the least that it could cost:
//
//	go run ./internal/bench
//
// Each side is a process of its own on this machine, and the clients are those of
// "innkeeper bench". The sides take turns, several times, so that a machine that
// slows down slows all of them; every ratio is the median of those of one turn.
//
//   - The floor is the same net/http server, which only decodes the request, signs
//     one access token and encodes the answer.
//   - pgbench does one bare conditional UPDATE of a row of the same width, on the
//     PostgreSQL server that Innkeeper uses in its own turn.
//
// All of them are as durable as in production: SQLite and PostgreSQL wait for the
// disk at each commit, Redis syncs its log every second.
//
//	go run ./internal/bench scale
//
// compares databases of millions of sessions with small ones: see scale.go.
//
//	go run ./internal/bench followers
//
// measures a server in whose revocation feed thousands wait: see followers.go.
//
//	go run ./internal/bench verify
//
// measures what an API pays to verify a token, as the first does at its end.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdin, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run does what the first argument says: nothing compares the sides.
func run(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	command := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "":
		return runCompare(ctx, out, args)
	case "scale":
		return runScale(ctx, out, args)
	case "followers":
		return runFollowers(ctx, out, args)
	case "verify":
		return reportVerify(ctx, out)
	case childCommand:
		return runChild(ctx, in, out, args)
	}
	return fmt.Errorf("unknown command %q: there are scale, followers and verify, and nothing to compare the sides", command)
}

func runCompare(ctx context.Context, out io.Writer, args []string) error {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "how often each side takes its turn")
	flags.IntVar(&s.clients, "clients", 64, "how many clients refresh at once")
	flags.DurationVar(&s.duration, "duration", 3*time.Second, "length of a turn")
	flags.DurationVar(&s.warmUp, "warm-up", 500*time.Millisecond, "unmeasured beginning of a turn")
	flags.IntVar(&s.growth, "growth", 100_000, "refreshes after which rows and bytes are counted; 0: none")
	flags.StringVar(&s.sides, "sides", "", "only these, by name, separated by commas")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "", "write CPU profiles of the servers to this name, a dot and that of the side")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return compare(ctx, out, s)
}

// settings are the flags of a comparison.
type settings struct {
	rounds     int
	clients    int
	duration   time.Duration
	warmUp     time.Duration
	growth     int
	sides      string
	cpuProfile string
}

// wants reports whether a side takes part.
func (s settings) wants(name string) bool {
	if s.sides == "" {
		return true
	}
	for side := range strings.SplitSeq(s.sides, ",") {
		if side == name {
			return true
		}
	}
	return false
}
