package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// siege breaks an inn whose revocations are followed.
type siege struct {
	*nemesis
	roads  []*testengine.Proxy // from the verifiers to each node
	guards *guards
}

// ordeal is one kind of fault of a siege. It is over, and mended, when it returns.
type ordeal struct {
	kind string
	run  func(context.Context) (on string, err error)
}

// ordeals returns the kinds of faults: those of any inn, those of the roads between
// nodes and verifiers, a restart of a verifier, and the loss of what PostgreSQL tells
// nodes of each other's revocations.
func (s *siege) ordeals() []ordeal {
	var all []ordeal
	for _, a := range s.afflictions() {
		all = append(all, ordeal{a.kind, func(ctx context.Context) (string, error) { return a.run(s.nemesis, ctx) }})
	}
	all = append(all,
		ordeal{"followers cut off", func(context.Context) (string, error) { return s.cut(s.roads) }},
		ordeal{"followers black-holed", s.hangRoad},
		ordeal{"followers slow", s.slowRoad},
		ordeal{"followers refused", func(context.Context) (string, error) { return s.refuse(s.roads) }},
		ordeal{"verifier restarted", s.restartVerifier},
	)
	for _, e := range s.inn.engines {
		all = append(all, ordeal{e.name + " refuses", func(context.Context) (string, error) { return s.refuse(e.paths) }})
		if e.name == "postgres" {
			all = append(all,
				ordeal{"listeners lost", func(ctx context.Context) (string, error) { return s.loseListeners(ctx, e) }},
				ordeal{"listeners frozen", func(ctx context.Context) (string, error) { return s.freezeListeners(ctx, e) }},
			)
		}
	}
	return all
}

// endure brings one fault over the inn, and writes it down.
func (s *siege) endure(ctx context.Context, o ordeal) error {
	s.guards.judge.fault(&Fault{Kind: o.kind, Begin: s.rec.now()})
	defer s.guards.judge.fault(nil)
	return s.suffer(ctx, affliction{kind: o.kind, run: func(_ *nemesis, ctx context.Context) (string, error) { return o.run(ctx) }})
}

// hangRoad keeps answers to followers for so long that they are old news when they
// arrive, if they do.
func (s *siege) hangRoad(context.Context) (string, error) {
	path, on := s.pick(s.roads)
	path.Hang()
	s.wait(200*time.Millisecond, 3500*time.Millisecond)
	if s.rng.IntN(3) == 0 {
		path.Cut()
	}
	return on, path.Pass()
}

func (s *siege) slowRoad(context.Context) (string, error) {
	path, on := s.pick(s.roads)
	path.Delay(100*time.Millisecond + time.Duration(s.rng.Int64N(int64(2*time.Second))))
	s.wait(1500*time.Millisecond, 3500*time.Millisecond)
	path.Delay(0)
	return on, nil
}

func (s *siege) refuse(paths []*testengine.Proxy) (string, error) {
	path, on := s.pick(paths)
	err := path.Refuse()
	path.Cut()
	s.wait(100*time.Millisecond, time.Second)
	return on, errors.Join(err, path.Pass())
}

func (s *siege) restartVerifier(context.Context) (string, error) {
	d := s.guards.doors[s.rng.IntN(len(s.guards.doors))]
	return d.name, d.reopen()
}

// listeners returns the processes of PostgreSQL that wait to be told of something by
// another connection.
func listeners(ctx context.Context, e *engine) ([]int32, error) {
	conn, err := pgx.Connect(ctx, e.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `select pid from pg_stat_activity where query ilike 'listen%'`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// loseListeners ends the connections on which nodes are told of each other's
// revocations, again and again, and nothing else.
func (s *siege) loseListeners(ctx context.Context, e *engine) (string, error) {
	lost := 0
	for range 8 {
		pids, err := listeners(ctx, e)
		if err != nil {
			return "", err
		}
		for _, pid := range pids {
			if err := signalBackend(pid, syscall.SIGTERM); err != nil {
				return "", err
			}
			lost++
		}
		s.wait(50*time.Millisecond, 250*time.Millisecond)
	}
	return strconv.Itoa(lost) + " connections", nil
}

// freezeListeners stands the processes of those connections still: they are there,
// and nothing comes.
func (s *siege) freezeListeners(ctx context.Context, e *engine) (string, error) {
	pids, err := listeners(ctx, e)
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		if err := signalBackend(pid, syscall.SIGSTOP); err != nil {
			return "", err
		}
	}
	s.wait(500*time.Millisecond, 2*time.Second)
	for _, pid := range pids {
		if err := signalBackend(pid, syscall.SIGCONT); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(len(pids)) + " connections", nil
}

// signalBackend sends a signal to a process of our own PostgreSQL, which may be gone.
func signalBackend(pid int32, sig syscall.Signal) error {
	process, err := os.FindProcess(int(pid))
	if err == nil {
		err = process.Signal(sig)
	}
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal process %d of postgres: %w", pid, err)
	}
	return nil
}
