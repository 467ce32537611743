// Command siege does what attackers do to sign-ins, against a real server process, and
// prints what they get and what honest people notice:
//
//	go run ./internal/siege timing     # does the time of an answer tell who exists? One question: its name
//	go run ./internal/siege storm      # 500 sign-ins at the same moment, beside refreshes
//	go run ./internal/siege stuffing   # stolen pairs of names and passwords from 1,000 addresses
//
// Each ends with an error if an attacker gets more than docs/threat-model.md says, or
// honest people notice more.
//
// It builds and starts the server itself, with a database of its own that is thrown
// away, and talks to loopback only. An attacker's address is an X-Forwarded-For that
// the server has been told to believe.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	beChildIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "siege:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to try: timing, storm or stuffing")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "timing":
		t := timing{out: out}
		flags.IntVar(&t.tries, "tries", 2000, "of each question, half of them on each side")
		return parsed(flags, args[1:], 1, func() error {
			t.only = flags.Arg(0)
			return t.run(ctx)
		})
	case "storm":
		s := storm{out: out, rounds: rounds}
		flags.IntVar(&s.attackers, "attackers", 500, "sign-ins at the same moment")
		flags.IntVar(&s.sessions, "sessions", 400, "refreshed meanwhile, each every two seconds")
		flags.DurationVar(&s.phase, "phase", phaseLength, "how long it is quiet, how long cores are busy, and how long it storms; four times each")
		flags.IntVar(&s.strangers, "imported", 0, "people who came from Firebase and have not signed in since, to guess at instead of names that nobody has")
		return parsed(flags, args[1:], 0, func() error { return s.run(ctx) })
	case "stuffing":
		s := stuffing{out: out}
		flags.IntVar(&s.accounts, "accounts", 10_000, "of people whose password is tried once")
		flags.IntVar(&s.addresses, "addresses", 1_000, "from which that is done")
		flags.DurationVar(&s.one, "one", oneAccount, "how long one account is then attacked from all of them")
		return parsed(flags, args[1:], 0, func() error { return s.run(ctx) })
	}
	return fmt.Errorf("unknown attack %q: choose timing, storm or stuffing", args[0])
}

// parsed allows as many arguments beside the flags.
func parsed(flags *flag.FlagSet, args []string, allowed int, run func() error) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > allowed {
		return fmt.Errorf("%q is too much: quote what belongs together", flags.Arg(allowed))
	}
	return run()
}
