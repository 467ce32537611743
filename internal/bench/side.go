package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
)

// side is a server in a process of its own, and its clients.
type side struct {
	name     string
	cmd      *exec.Cmd
	commands io.WriteCloser
	answers  *bufio.Scanner
	url      *url.URL
	sessions []*load.Session
	engine   engine // below it; nil: none

	turns    []turn
	requests atomic.Int64 // all that were answered
}

// turn is what one turn of a side has measured.
type turn struct {
	load.Step
	serverCPU time.Duration // for 1,000 refreshes
	engineCPU time.Duration // for 1,000 refreshes; zero: it is in the server, or there is none
}

// startSide starts this program as one side.
func startSide(ctx context.Context, name, rootKey string, below engine, args ...string) (*side, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &side{name: name, engine: below}
	s.cmd = exec.CommandContext(ctx, self, append([]string{childCommand}, args...)...) //nolint:gosec // ourselves
	s.cmd.Env = append(os.Environ(), rootKeyVariable+"="+rootKey)
	s.cmd.Stderr = os.Stderr
	if s.commands, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.answers = bufio.NewScanner(out)
	first, err := s.answer()
	if err == nil {
		s.url, err = url.Parse(first)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), s.close())
	}
	return s, nil
}

// signIn gives the side its clients.
func (s *side) signIn(ctx context.Context, clients int) error {
	s.sessions = load.NewSessions(load.Target{URL: s.url, Username: username, Password: secretWord}, clients)
	if err := load.SignIn(ctx, s.sessions, nil); err != nil {
		return fmt.Errorf("%s: sign in: %w", s.name, err)
	}
	return nil
}

// tell sends a command and returns the answer.
func (s *side) tell(command string) (string, error) {
	if _, err := fmt.Fprintln(s.commands, command); err != nil {
		return "", fmt.Errorf("%s: %w", s.name, err)
	}
	return s.answer()
}

func (s *side) answer() (string, error) {
	if !s.answers.Scan() {
		return "", fmt.Errorf("%s has ended", s.name)
	}
	if text, failed := strings.CutPrefix(s.answers.Text(), "error "); failed {
		return "", fmt.Errorf("%s: %s", s.name, text)
	}
	return s.answers.Text(), nil
}

// run is one turn.
func (s *side) run(ctx context.Context, clients []load.Client, options load.Options) (turn, error) {
	before, err := s.cpu(ctx)
	if err != nil {
		return turn{}, err
	}
	requests := s.requests.Load()
	result := load.Run(ctx, s.counted(clients), options)
	if err := errors.Join(result.Err, ctx.Err()); err != nil {
		return turn{}, fmt.Errorf("%s: a request failed: %w", s.name, err)
	}
	after, err := s.cpu(ctx)
	if err != nil {
		return turn{}, err
	}
	thousands := float64(s.requests.Load()-requests) / 1000
	perThousand := func(used time.Duration) time.Duration { return time.Duration(float64(used) / max(thousands, .001)) }
	return turn{
		Step:      result.Total(),
		serverCPU: perThousand(after.server - before.server),
		engineCPU: perThousand(after.engine - before.engine),
	}, nil
}

// counted counts every request, warm-up included: all of them use the CPU.
func (s *side) counted(clients []load.Client) []load.Client {
	counting := make([]load.Client, len(clients))
	for i, client := range clients {
		counting[i] = func(ctx context.Context) (string, error) {
			step, err := client(ctx)
			if err == nil {
				s.requests.Add(1)
			}
			return step, err
		}
	}
	return counting
}

// cpuTime is what a side has used of all CPUs.
type cpuTime struct{ server, engine time.Duration }

func (s *side) cpu(ctx context.Context) (used cpuTime, err error) {
	answer, err := s.tell("cpu")
	if err != nil {
		return used, err
	}
	if used.server, err = time.ParseDuration(answer); err != nil {
		return used, err
	}
	if s.engine != nil {
		used.engine, err = s.engine.cpu(ctx)
	}
	return used, err
}

// close ends the process, which ends with its input.
func (s *side) close() error {
	return errors.Join(s.commands.Close(), s.cmd.Wait())
}
