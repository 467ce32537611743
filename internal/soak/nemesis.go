package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// nemesis breaks an inn while guests use it, and mends it again.
type nemesis struct {
	inn *inn
	rng *rand.Rand
	rec *recorder
}

// affliction is one kind of fault. It is over, and mended, when it returns.
type affliction struct {
	kind string
	run  func(*nemesis, context.Context) (on string, err error)
}

// afflictions returns the kinds of faults that an inn can suffer.
func (n *nemesis) afflictions() []affliction {
	all := []affliction{
		{"server killed", (*nemesis).killServer},
		{"clients cut off", (*nemesis).cutClients},
		{"server frozen", (*nemesis).freezeServer},
		{"server restarted", (*nemesis).restartServer},
	}
	for _, e := range n.inn.engines {
		all = append(all,
			affliction{e.name + " killed", func(_ *nemesis, ctx context.Context) (string, error) { return "", e.restart(ctx) }},
			affliction{e.name + " cut off", func(n *nemesis, ctx context.Context) (string, error) { return n.cut(e.paths) }},
			affliction{e.name + " frozen", func(n *nemesis, ctx context.Context) (string, error) { return n.freeze(e) }},
			affliction{e.name + " black-holed", func(n *nemesis, ctx context.Context) (string, error) { return n.hang(e.paths) }},
			affliction{e.name + " slow", func(n *nemesis, ctx context.Context) (string, error) { return n.slow(e.paths) }},
		)
	}
	return all
}

// strikes returns what breaks an inn in a trial: faults one after the other, with
// little time between them. The first one goes round all kinds, or those that are
// named, so that a few histories have seen each.
func strikes(i *inn, faults int, first ...string) func(context.Context, *recorder, uint64) error {
	round := 0
	return func(ctx context.Context, rec *recorder, seed uint64) error {
		n := &nemesis{inn: i, rec: rec, rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it has to be the same again
		all := n.afflictions()
		next := all[round%len(all)]
		if len(first) > 0 {
			at := slices.IndexFunc(all, func(a affliction) bool { return a.kind == first[round%len(first)] })
			next = all[at]
		}
		round++
		for range faults {
			n.wait(50*time.Millisecond, 250*time.Millisecond)
			if err := n.suffer(ctx, next); err != nil {
				return err
			}
			next = all[n.rng.IntN(len(all))]
		}
		n.wait(100*time.Millisecond, 200*time.Millisecond)
		return nil
	}
}

func (n *nemesis) suffer(ctx context.Context, a affliction) error {
	fault := Fault{Kind: a.kind, Begin: n.rec.now()}
	on, err := a.run(n, ctx)
	fault.On, fault.End = on, n.rec.now()
	n.rec.fault(fault)
	if err != nil {
		return fmt.Errorf("%s: %w", a.kind, err)
	}
	return nil
}

func (n *nemesis) wait(least, most time.Duration) {
	time.Sleep(least + time.Duration(n.rng.Int64N(int64(most-least))))
}

func (n *nemesis) node() *node { return n.inn.nodes[n.rng.IntN(len(n.inn.nodes))] }

func (n *nemesis) killServer(ctx context.Context) (string, error) {
	victim := n.node()
	if err := victim.kill(); err != nil {
		return victim.name, err
	}
	n.wait(0, 100*time.Millisecond)
	return victim.name, victim.start(ctx)
}

func (n *nemesis) restartServer(ctx context.Context) (string, error) {
	victim := n.node()
	return victim.name, errors.Join(victim.stop(), victim.start(ctx))
}

func (n *nemesis) cutClients(context.Context) (string, error) {
	victim := n.node()
	for range 3 {
		victim.front.Cut()
		n.wait(10*time.Millisecond, 60*time.Millisecond)
	}
	return victim.name, nil
}

func (n *nemesis) freezeServer(context.Context) (string, error) {
	victim := n.node()
	if err := victim.freeze(); err != nil {
		return victim.name, err
	}
	n.wait(100*time.Millisecond, 600*time.Millisecond)
	return victim.name, victim.thaw()
}

// pick chooses the path of one node to a database.
func (n *nemesis) pick(paths []*testengine.Proxy) (*testengine.Proxy, string) {
	k := n.rng.IntN(len(paths))
	return paths[k], n.inn.nodes[k].name
}

func (n *nemesis) cut(paths []*testengine.Proxy) (string, error) {
	path, on := n.pick(paths)
	for range 3 {
		path.Cut()
		n.wait(10*time.Millisecond, 60*time.Millisecond)
	}
	return on, nil
}

// hang keeps what one node sends to a database, and what that answers. Half of the
// time it is delivered late, and half of the time never.
func (n *nemesis) hang(paths []*testengine.Proxy) (string, error) {
	path, on := n.pick(paths)
	path.Hang()
	n.wait(100*time.Millisecond, 500*time.Millisecond)
	if n.rng.IntN(2) == 0 {
		path.Cut()
	}
	return on, path.Pass()
}

func (n *nemesis) slow(paths []*testengine.Proxy) (string, error) {
	path, on := n.pick(paths)
	path.Delay(time.Duration(5+n.rng.IntN(50)) * time.Millisecond)
	n.wait(200*time.Millisecond, 500*time.Millisecond)
	path.Delay(0)
	return on, nil
}

func (n *nemesis) freeze(e *engine) (string, error) {
	if err := e.server.Freeze(); err != nil {
		return "", err
	}
	n.wait(100*time.Millisecond, 400*time.Millisecond)
	return "", e.server.Thaw()
}
