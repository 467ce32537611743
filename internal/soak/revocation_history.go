package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// The size of a history of revocations under faults.
const (
	historyWardens  = 6
	historySessions = 4   // of each lodger
	historyControls = 6   // lodgers whom nobody ends
	withdrawEvery   = 3   // histories, in one of which a key is withdrawn
	olderPasses     = 300 // of former histories, that are tried once more
	askedOfNodes    = 100 // passes, of each node
)

// besieged is a run of histories of revocations over one inn.
type besieged struct {
	inn    *inn
	roads  []*testengine.Proxy // from the verifiers to each node
	guards *guards
	ledger *ledger
	rec    *recorder
	caller *caller
	out    io.Writer
	first  []string // faults that histories begin with, in turn; empty: all
	// strike breaks what it likes in a history, and has mended it when it returns.
	strike func(ctx context.Context, seed uint64) error

	mu      sync.Mutex
	tallies map[string]int // by way, and whether it was acknowledged
	round   int

	withdrawn time.Duration // when a key was, the last time; zero: none was
}

// besiege paves roads to the nodes of an inn and sets guards at their ends. There will
// be so many faults in each history.
func besiege(i *inn, store string, seed uint64, faults int, out io.Writer) (*besieged, error) {
	b := &besieged{inn: i, rec: newRecorder(store, seed), out: out, tallies: map[string]int{}}
	b.ledger, b.caller = newLedger(b.rec), newCaller(i.urls(), historyWardens+2, patience)
	b.strike = func(ctx context.Context, seed uint64) error { return b.breakThings(ctx, seed, faults) }
	var roads []string
	for _, n := range i.nodes {
		road, err := testengine.NewProxy(n.addr)
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		b.roads = append(b.roads, road)
		roads = append(roads, "http://"+road.Addr())
	}
	var err error
	if b.guards, err = newGuards(roads, func(door int) bool { return door%3 != 0 }, b.rec); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *besieged) close() error {
	b.caller.close()
	if b.guards != nil {
		b.guards.close()
	}
	var err error
	for _, road := range b.roads {
		err = errors.Join(err, road.Close())
	}
	return err
}

// play is one history: lodgers move in, are thrown out while everything breaks, and
// when all is mended, everybody must know who is out.
func (b *besieged) play(ctx context.Context, seed uint64, revocations int) error {
	wardens, lodgers, controls, err := b.moveIn(ctx, seed, revocations)
	if err != nil {
		return err
	}
	b.ledger.forget(time.Now().Add(2 * time.Minute))

	mended, stop := context.WithCancel(ctx)
	defer stop()
	var throwing, watching sync.WaitGroup
	defer watching.Wait()
	settled, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	for k, d := range b.guards.doors {
		watching.Go(func() {
			b.guards.watch(settled, d, b.ledger, rand.New(rand.NewPCG(seed, uint64(100+k))), 3*time.Millisecond) //nolint:gosec // it has to be the same again
		})
	}
	problems := make([]error, len(wardens))
	for k, w := range wardens[1:] {
		throwing.Go(func() { problems[k] = b.throwOut(mended, w, lodgers[k]) })
	}
	throwing.Go(func() {
		problems[len(problems)-1] = b.keep(mended, wardens[0], controls, b.withdrawsIn(seed))
	})
	err = b.strike(ctx, seed)
	stop()
	throwing.Wait()
	if err = errors.Join(append(problems, err)...); err != nil {
		return err
	}
	return b.settle(ctx, wardens[0], controls)
}

// moveIn fills the house. Each warden but the first has lodgers of their own; the
// first one looks after the controls.
func (b *besieged) moveIn(ctx context.Context, seed uint64, revocations int) (wardens []*warden, lodgers [][]*lodger, controls []*lodger, err error) {
	perWarden := max(1, revocations/(historySessions-1)/historyWardens)
	wardens = make([]*warden, 1+historyWardens)
	lodgers = make([][]*lodger, historyWardens)
	problems := make([]error, len(wardens))
	var all sync.WaitGroup
	for k := range wardens {
		all.Go(func() {
			w, err := newWarden(ctx, b.caller, b.ledger, seed, uint64(1+k)) //nolint:gosec // a small number
			wardens[k] = w
			for n := 0; err == nil && n < perWarden && k > 0; n++ {
				var l *lodger
				l, err = w.moveIn(ctx, fmt.Sprintf("lodger-%d-%d-%d-%d", seed, b.rec.begin.UnixMicro(), k, n), historySessions)
				lodgers[k-1] = append(lodgers[k-1], l)
			}
			for n := 0; err == nil && n < historyControls && k == 0; n++ {
				var l *lodger
				l, err = w.moveIn(ctx, fmt.Sprintf("control-%d-%d-%d", seed, b.rec.begin.UnixMicro(), n), 1)
				controls = append(controls, l)
			}
			problems[k] = err
		})
	}
	all.Wait()
	return wardens, lodgers, controls, errors.Join(problems...)
}

// throwOut ends the sessions of lodgers one after the other, and in the end all that
// a lodger has left; until the context ends. Now and then it makes no pause.
func (b *besieged) throwOut(ctx context.Context, w *warden, lodgers []*lodger) error {
	singles, wides := singleWays(), wideWays()
	for _, l := range lodgers {
		hurry := w.rng.IntN(3) == 0
		helper := l.stays[len(l.stays)-1]
		for k := range len(l.stays) - 1 {
			how := singles[w.rng.IntN(len(singles))]
			victim := l.stays[k]
			if k == len(l.stays)-2 {
				how = wides[w.rng.IntN(len(wides))]
			}
			if ctx.Err() != nil {
				return nil
			}
			// Half of those who get no answer leave it at that.
			tries := 1 + w.rng.IntN(2)*wardenTries
			// What was begun is finished: an answer that nobody waits for tells nothing.
			end, err := w.revoke(context.WithoutCancel(ctx), how, l, victim, helper, tries)
			if err = b.judgeProblem(err, how.name); err != nil {
				return err
			}
			b.count(how.name, end)
			if !end.known && how.wide {
				break
			}
			if !hurry {
				sleep(ctx, time.Duration(w.rng.Int64N(int64(300*time.Millisecond))))
			}
		}
	}
	return nil
}

// judgeProblem passes over what a fault explains. Any other answer that nobody
// expects is a violation too.
func (b *besieged) judgeProblem(err error, doing string) error {
	if err == nil || errors.Is(err, errNoAnswer) {
		return nil
	}
	b.guards.judge.violation(doing, "got an answer that nobody expects: %v", err)
	return nil
}

func (b *besieged) count(name string, end ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if end.known {
		b.tallies[name]++
	} else if end.tries > 0 {
		b.tallies[name+" without an answer"]++
	}
}

// keep renews the access tokens of controls when their key is withdrawn, and
// withdraws it, if told to, at some time.
func (b *besieged) keep(ctx context.Context, w *warden, controls []*lodger, withdraw bool) error {
	due := b.rec.now() + time.Duration(w.rng.Int64N(int64(3*time.Second)))
	for ctx.Err() == nil {
		if withdraw && b.rec.now() > due {
			end, err := w.withdrawKey(context.WithoutCancel(ctx), wardenTries)
			if err = b.judgeProblem(err, "withdraw key"); err != nil {
				return err
			}
			b.count("withdraw key", end)
			withdraw = false
		}
		for _, l := range controls {
			if err := b.judgeProblem(w.refreshUntilAlive(context.WithoutCancel(ctx), l.stays[0]), "keep control"); err != nil {
				return err
			}
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return nil
}

// withdrawsIn says whether a key is withdrawn in a history.
func (b *besieged) withdrawsIn(seed uint64) bool {
	now := b.rec.now()
	if seed%withdrawEvery != 0 || b.withdrawn > 0 && now < b.withdrawn+betweenWithdrawals {
		return false
	}
	b.withdrawn = now
	return true
}

// breakThings brings faults over the inn, one after the other. The first one goes
// round all kinds.
func (b *besieged) breakThings(ctx context.Context, seed uint64, faults int) error {
	n := &nemesis{inn: b.inn, rec: b.rec, rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it has to be the same again
	s := &siege{nemesis: n, roads: b.roads, guards: b.guards}
	all := s.ordeals()
	next := all[b.round%len(all)]
	if len(b.first) > 0 {
		for _, o := range all {
			if o.kind == b.first[b.round%len(b.first)] {
				next = o
			}
		}
	}
	b.round++
	for range faults {
		s.wait(50*time.Millisecond, 400*time.Millisecond)
		if err := s.endure(ctx, next); err != nil {
			return err
		}
		next = all[s.rng.IntN(len(all))]
	}
	s.wait(200*time.Millisecond, 500*time.Millisecond)
	return nil
}

// settle is the end of a history: all faults are over, and every verifier has to
// catch up, to refuse all that was acknowledged and to accept all that lives.
func (b *besieged) settle(ctx context.Context, keeper *warden, controls []*lodger) error {
	for _, l := range controls {
		if err := keeper.refreshUntilAlive(ctx, l.stays[0]); err != nil {
			b.guards.judge.violation(l.name, "cannot go on although all is mended: %v", err)
		}
	}
	marker, err := b.awaitMarker(ctx, keeper, controls[0])
	if err != nil {
		return err
	}
	if err := b.askNodes(ctx, marker); err != nil {
		return err
	}
	passes := b.ledger.all()
	for k, p := range passes {
		recent := k >= len(passes)-1000
		if !recent && keeper.rng.IntN(len(passes)) > olderPasses || time.Until(p.expires) < time.Minute {
			continue
		}
		for _, d := range b.guards.doors {
			b.lastWord(ctx, d, p)
		}
	}
	return ctx.Err()
}

// awaitMarker revokes one thing more, and waits until every verifier knows. Who knows
// of an entry of the feed knows of all before it. Those with strict routes must be
// fresh again, too. And whoever begins now has to know before it answers anything.
func (b *besieged) awaitMarker(ctx context.Context, keeper *warden, control *lodger) (*pass, error) {
	marker, err := keeper.signIn(ctx, control.name, control.password)
	if err != nil {
		return nil, err
	}
	e, err := keeper.revoke(ctx, singleWays()[0], control, marker, nil, wardenTries)
	if err == nil && !e.known {
		err = errNoAnswer
	}
	if err != nil {
		return nil, fmt.Errorf("revoke when all is mended: %w", err)
	}
	j := b.guards.judge
	for _, d := range b.guards.doors {
		if d.strict && !d.comesToKnow(ctx, func(k knowledge) bool { return k.asOf > e.answered }) {
			j.violation(d.name, "is not fresh %v after all was mended (%s)", d.patience, d.knows().text)
		}
		for j.show(ctx, d, marker.pass) == nil && ctx.Err() == nil {
			if j.rec.now()-e.answered > d.patience {
				j.violation(d.name, "has not caught up %v after all was mended (%s)", d.patience, d.knows().text)
				break
			}
			sleep(ctx, 5*time.Millisecond)
		}
	}
	return marker.pass, b.welcome(ctx, marker.pass)
}

// askNodes shows passes at GET /auth/check of each node, which decides by the feed
// like a verifier: when it knows of the marker, it knows all.
func (b *besieged) askNodes(ctx context.Context, marker *pass) error {
	passes := b.ledger.all()
	passes = passes[max(0, len(passes)-askedOfNodes):]
	for k, n := range b.inn.nodes {
		check := func(p *pass) (int, error) {
			answer, err := b.caller.send(ctx, k, call{method: "GET", path: "/auth/check", bearer: p.token})
			if err != nil {
				return 0, fmt.Errorf("check at %s: %w", n.name, err)
			}
			return answer.status, nil
		}
		for begin := b.rec.now(); ; sleep(ctx, 5*time.Millisecond) {
			status, err := check(marker)
			if err != nil {
				return err
			}
			if status == http.StatusUnauthorized {
				break
			}
			if b.rec.now()-begin > catchUpBound {
				b.guards.judge.violation(n.name, "has not caught up %v after all was mended: it answers %d", catchUpBound, status)
				return nil
			}
		}
		for _, p := range passes {
			lived := p.lives()
			status, err := check(p)
			if err != nil {
				return err
			}
			if _, over := p.over(); over && status != http.StatusUnauthorized || lived && p.lives() && status != http.StatusOK {
				b.guards.judge.violation(n.name, "answers %d when all is mended: %s", status, p)
			}
		}
	}
	return nil
}

// welcome starts a verifier that gets its keys at once and the feed a little later.
// It has to wait for that before it accepts anything, also if it is told in the
// meantime to look more often.
func (b *besieged) welcome(ctx context.Context, ended *pass) error {
	slow, err := testengine.NewProxy(b.inn.nodes[0].addr)
	if err != nil {
		return err
	}
	slow.Delay(100 * time.Millisecond)
	d := &door{name: "a new verifier", keys: "http://" + b.roads[0].Addr(), feed: "http://" + slow.Addr(), rec: b.rec}
	if err := d.open(); err != nil {
		return errors.Join(err, slow.Close())
	}
	sleep(ctx, 20*time.Millisecond)
	d.porter.Load().KeepWithin(time.Second)
	if err := b.guards.judge.show(ctx, d, ended); err == nil {
		b.guards.judge.violation(d.name, "begins with accepting what was revoked before: %s (%s)", ended, d.knows().text)
	}
	d.close()
	return slow.Close()
}

// lastWord shows a pass at a door when all is mended: now nothing is an excuse.
func (b *besieged) lastWord(ctx context.Context, d *door, p *pass) {
	j := b.guards.judge
	begin := j.rec.now()
	err := j.show(ctx, d, p)
	for errors.Is(err, verify.ErrUnavailable) && j.rec.now()-begin < d.patience {
		sleep(ctx, 50*time.Millisecond)
		err = j.show(ctx, d, p)
	}
	_, over := p.over()
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, verify.ErrUnavailable):
		j.violation(d.name, "has not been able to judge %s within %v, although all is mended: %v", p, d.patience, err)
	case over && err == nil:
		j.violation(d.name, "accepts when all is mended: %s (%s)", p, d.knows().text)
	}
}

// run plays histories and prints what they come to.
func (b *besieged) run(ctx context.Context, seed, histories uint64, revocations int) error {
	begin := time.Now()
	var err error
	played := uint64(0)
	violations := 0
	for ; played < histories && err == nil && ctx.Err() == nil; played++ {
		err = b.play(ctx, seed+played, revocations)
		for _, v := range b.guards.judge.verdict() {
			fmt.Fprintf(b.out, "VIOLATION in history %d: %s\n", seed+played, v)
			violations++
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if violations > 0 {
		err = errors.Join(err, errPromises)
	}
	fmt.Fprintln(b.out, b.summary(int(played), violations, time.Since(begin)))
	return err
}

func (b *besieged) summary(played, violations int, took time.Duration) string {
	j := b.guards.judge
	faults := map[string]int{}
	for _, f := range b.rec.history.Faults {
		faults[f.Kind]++
	}
	acknowledged, unknown := 0, 0
	for name, n := range b.tallies {
		if strings.HasSuffix(name, "without an answer") {
			unknown += n
		} else {
			acknowledged += n
		}
	}
	return fmt.Sprintf(`%s: %d histories, %d revocations acknowledged, %d unknown, %d faults, %d violations (%.1f s a history)
%d verifiers were asked %d times: %d accepted, %d refused, %d could not tell; %d of the questions were about tokens that nobody had revoked
faults: %s
revocations: %s`,
		b.rec.history.Store, played, acknowledged, unknown, total(faults), violations, took.Seconds()/float64(max(1, played)),
		len(b.guards.doors), j.accepted.Load()+j.refused.Load()+j.unavailable.Load(), j.accepted.Load(), j.refused.Load(), j.unavailable.Load(), j.controls.Load(),
		tally(faults), tally(b.tallies))
}
