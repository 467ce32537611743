package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/tempest"
)

// tempestuous are the flags of a server whose clients are put through it: access tokens
// with the shortest life that there is, so that they are refreshed all the time, and a
// log of events, which is what the clients are judged by.
func tempestuous() []string { return []string{"--access-ttl", "5s", "--log-level", "info"} }

// clients puts honest clients through a tempest, or several kinds of them to compare.
func clients(ctx context.Context, out io.Writer, s settings) error {
	if !s.compare {
		o, err := s.endure(ctx, out, s.client, s.rotation)
		if err != nil {
			return err
		}
		o.Print(out)
		return broken(o)
	}
	table := []string{tempest.TableHead}
	var err error
	for _, side := range [][2]string{{tempest.Ours, tempest.Keys}, {tempest.Ours, tempest.Strict}, {tempest.Tutorial, tempest.Strict}} {
		o, failed := s.endure(ctx, out, side[0], side[1])
		if failed != nil {
			return failed
		}
		o.Print(out)
		err = errors.Join(err, broken(o))
		table = append(table, o.Row())
	}
	fmt.Fprintf(out, "\n%s\n", strings.Join(table, "\n"))
	return err
}

func broken(o *tempest.Outcome) error {
	if len(o.Problems) > 0 {
		return fmt.Errorf("%w: seed %d: %s", errPromises, o.Seed, strings.Join(o.Problems, "; "))
	}
	return nil
}

// endure runs one tempest over an inn of its own.
func (s settings) endure(ctx context.Context, out io.Writer, client, rotation string) (o *tempest.Outcome, err error) {
	s.nodes, s.serve = 1, tempestuous()
	err = s.withInn(ctx, func(i *inn) error {
		worker := filepath.Join(i.dir, "soak")
		if err := build(ctx, worker, "internal/soak"); err != nil {
			return err
		}
		o, err = putThrough(ctx, i, tempest.Config{
			Worker: []string{worker, "worker"}, Client: client, Rotation: rotation,
			Seed: s.seed, Duration: s.duration, Out: out,
		})
		return errors.Join(err, i.complaints())
	})
	return o, err
}

// putThrough puts an inn through it.
func putThrough(ctx context.Context, i *inn, cfg tempest.Config) (*tempest.Outcome, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find web/e2e: %w", err)
	}
	cfg.Crowd = filepath.Join(strings.TrimSpace(string(root)), "web", "e2e", "crowd.js")
	cfg.Server, cfg.EventLog, cfg.Dir, cfg.Password = i.nodes[0].url(), i.nodes[0].logFile, i.dir, testPassword
	cfg.AddUser = func(ctx context.Context, name string) error {
		return i.manage(ctx, testPassword, append([]string{"user", "add", name, "--password-stdin"}, cheapHashing...)...)
	}
	return tempest.Run(ctx, cfg)
}

// clientsDuration is that of a whole tempest.
const clientsDuration = 30 * time.Minute
