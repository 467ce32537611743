package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
)

// A child is this program once more, with a variable that tells it what to be until its
// input ends.
const (
	// attackVariable holds the attackers that it is to be.
	attackVariable = "INNKEEPER_SIEGE_ATTACKERS"
	// loopVariable makes it a [loop], whatever it holds.
	loopVariable = "INNKEEPER_SIEGE_LOOP"
)

// child returns such a process, which has not begun, with the least priority that there is
// (sched(7), SCHED_IDLE).
func child(ctx context.Context, variable, value string) (cmd *exec.Cmd, input io.Closer, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.CommandContext(ctx, "chrt", "--idle", "0", self) //nolint:gosec // G204: this program
	cmd.Env = append(os.Environ(), variable+"="+value)
	cmd.Stderr = os.Stderr
	input, err = cmd.StdinPipe()
	return cmd, input, err
}

// beChildIfAsked is all that such a process does.
func beChildIfAsked() {
	var err error
	if plan, asked := os.LookupEnv(attackVariable); asked {
		err = attackAsPlanned(plan)
	} else if _, asked := os.LookupEnv(loopVariable); asked {
		goRound(os.Stdin)
	} else {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "siege:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
	os.Exit(0) //nolint:forbidigo // this is a program
}

// loop is a child that keeps all cores but one busy, as the hashes of a storm do, and does
// nothing else: how much of what a storm costs is that. It is no floor: one that sleeps now
// and then costs less.
type loop struct {
	cmd   *exec.Cmd
	input io.Closer
}

func beginLoop(ctx context.Context) (*loop, error) {
	cmd, input, err := child(ctx, loopVariable, "")
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("a loop: %w", err)
	}
	return &loop{cmd, input}, nil
}

func (l *loop) end() error { return errors.Join(l.input.Close(), l.cmd.Wait()) }

// goRound keeps as many cores busy as hash passwords, until the input ends.
func goRound(input io.Reader) {
	for range max(1, runtime.GOMAXPROCS(0)-1) {
		go func() {
			for { //nolint:staticcheck // SA5002: to spin is what it is there for
			}
		}()
	}
	_, _ = io.Copy(io.Discard, input) // an input that breaks has ended as well
}
