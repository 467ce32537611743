package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// The size of the measurement.
const (
	latencyWardens        = 4
	latencySessions       = 6 // of each lodger
	latencyControls       = 20
	mostWithdrawals       = 3
	eachWithdrawal        = 300              // revocations, at least one
	latencyBound          = 10 * time.Second // how long a verifier may take before that is a violation
	latencyPoll           = time.Millisecond
	defaultRevocations    = 1000
	defaultInEachHistory  = 90
	requiredLatency99     = time.Second
	longestLatencyPause   = 100 * time.Millisecond
	betweenControlChecks  = 10 * time.Millisecond
	latencyCallerPatience = 10 * time.Second
)

// betweenWithdrawals is how long one key is left in peace before the next is
// withdrawn. A verifier fetches keys every 30 s at most. Until it may again, it refuses
// tokens of a key that was published since the fetch before, which is what signs after
// two withdrawals in a row.
const betweenWithdrawals = 35 * time.Second

// revocation shows that what is revoked is refused by every verifier, and how soon;
// or, with faults, that it is refused at all, whatever happens.
func revocation(ctx context.Context, out io.Writer, s settings) error {
	if s.faults > 0 {
		if s.revocations == 0 {
			s.revocations = defaultInEachHistory
		}
		return s.withInn(ctx, func(i *inn) error {
			fmt.Fprintf(out, "%s: %d histories from seed %d\n", s.store, s.histories, s.seed)
			b, err := besiege(i, s.store, s.seed, s.faults, out)
			if err != nil {
				return err
			}
			err = b.run(ctx, s.seed, s.histories, s.revocations)
			return errors.Join(err, b.close(), i.complaints())
		})
	}
	if s.revocations == 0 {
		s.revocations = defaultRevocations
	}
	return s.withInn(ctx, func(i *inn) error {
		f, err := timeRevocations(ctx, i, s.store, s.seed, s.revocations)
		if err != nil {
			return err
		}
		if s.json {
			err = json.NewEncoder(out).Encode(f)
		} else {
			fmt.Fprintln(out, f)
		}
		if f.bad() {
			err = errors.Join(err, errPromises)
		}
		return errors.Join(err, i.complaints())
	})
}

// stopwatch measures how long revocations take to reach all verifiers.
type stopwatch struct {
	guards  *guards
	ledger  *ledger
	caller  *caller
	rec     *recorder
	figures *latencies

	withdrawn time.Duration // when a key was, the last time
}

// timeRevocations does so in an inn where nothing breaks.
func timeRevocations(ctx context.Context, i *inn, store string, seed uint64, revocations int) (*latencies, error) {
	rec := newRecorder(store, seed)
	g, err := newGuards(i.urls(), func(int) bool { return false }, rec)
	if err != nil {
		return nil, err
	}
	w := &stopwatch{
		guards: g, ledger: newLedger(rec), rec: rec,
		caller:  newCaller(i.urls(), latencyWardens+2, latencyCallerPatience),
		figures: &latencies{Store: store, Servers: len(i.nodes), Verifiers: len(g.doors)},
	}
	defer w.caller.close()
	defer g.close()
	err = w.run(ctx, seed, revocations)
	w.figures.finish(g.judge)
	return w.figures, err
}

func (w *stopwatch) run(ctx context.Context, seed uint64, revocations int) error {
	for _, d := range w.guards.doors {
		if !d.comesToKnow(ctx, func(knowledge) bool { return true }) {
			return fmt.Errorf("%s has not read the feed within %v (%s)", d.name, catchUpBound, d.knows().text)
		}
	}
	keeper, err := newWarden(ctx, w.caller, w.ledger, seed, 0)
	if err != nil {
		return err
	}
	var controls []*lodger
	for n := range latencyControls {
		l, err := keeper.moveIn(ctx, fmt.Sprintf("control-%d", n), 1)
		if err != nil {
			return err
		}
		controls = append(controls, l)
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	for k, d := range w.guards.doors {
		watching.Go(func() {
			w.guards.watch(watched, d, w.ledger, rand.New(rand.NewPCG(seed, uint64(100+k))), betweenControlChecks) //nolint:gosec // it has to be the same again
		})
	}
	withdrawals := min(max(1, revocations/eachWithdrawal), mostWithdrawals)
	parts := withdrawals + 1
	for part := range parts {
		if err := w.part(ctx, seed+uint64(part), revocations/parts); err != nil {
			return err
		}
		if part < withdrawals {
			if err := w.withdraw(ctx, keeper, controls); err != nil {
				return err
			}
		}
	}
	return nil
}

// part lets lodgers move in, and then throws them out, with nothing else going on.
func (w *stopwatch) part(ctx context.Context, seed uint64, revocations int) error {
	problems := make([]error, latencyWardens)
	wardens := make([]*warden, latencyWardens)
	lodgers := make([][]*lodger, latencyWardens)
	perWarden := max(1, (revocations+latencyWardens*(latencySessions-1)-1)/(latencyWardens*(latencySessions-1)))
	each(latencyWardens, func(k int) {
		wardens[k], problems[k] = newWarden(ctx, w.caller, w.ledger, seed, uint64(1+k)) //nolint:gosec // a small number
		for n := 0; n < perWarden && problems[k] == nil; n++ {
			var l *lodger
			l, problems[k] = wardens[k].moveIn(ctx, fmt.Sprintf("lodger-%d-%d-%d", seed, k, n), latencySessions)
			lodgers[k] = append(lodgers[k], l)
		}
	})
	if err := errors.Join(problems...); err != nil {
		return err
	}
	each(latencyWardens, func(k int) { problems[k] = w.throwOut(ctx, wardens[k], lodgers[k]) })
	return errors.Join(problems...)
}

// each does something so many times at once.
func each(n int, do func(k int)) {
	var all sync.WaitGroup
	for k := range n {
		all.Go(func() { do(k) })
	}
	all.Wait()
}

func (w *stopwatch) throwOut(ctx context.Context, by *warden, lodgers []*lodger) error {
	singles, wides := singleWays(), wideWays()
	for _, l := range lodgers {
		helper := l.stays[len(l.stays)-1]
		for k := range latencySessions - 1 {
			how := singles[by.rng.IntN(len(singles))]
			if k == latencySessions-2 {
				how = wides[by.rng.IntN(len(wides))]
			}
			if err := w.time(ctx, by, how, l, l.stays[k], helper); err != nil {
				return err
			}
			sleep(ctx, time.Duration(by.rng.Int64N(int64(longestLatencyPause))))
		}
	}
	return ctx.Err()
}

// time measures one revocation.
func (w *stopwatch) time(ctx context.Context, by *warden, how way, l *lodger, victim, helper *stay) error {
	end, err := by.revoke(ctx, how, l, victim, helper, 1)
	if err != nil {
		return err
	}
	if !end.known {
		return fmt.Errorf("%s: no answer, although nothing is broken", how.name)
	}
	return w.wait(ctx, how.name, end)
}

// wait waits until every verifier refuses a pass, and notes when each did.
func (w *stopwatch) wait(ctx context.Context, name string, end ending) error {
	tick := time.NewTicker(latencyPoll)
	defer tick.Stop()
	waiting := append([]*door(nil), w.guards.doors...)
	sample := latency{way: name, answer: end.answered - end.sent}
	for len(waiting) > 0 {
		still := waiting[:0]
		for _, d := range waiting {
			if err := w.guards.judge.show(ctx, d, end.shown); err == nil || errors.Is(err, verify.ErrUnavailable) {
				still = append(still, d)
				continue
			}
			took := max(0, w.rec.now()-end.answered)
			sample.all = max(sample.all, took)
			switch d.node {
			case end.node:
				sample.near = append(sample.near, took)
			case -1:
				sample.balanced = append(sample.balanced, took)
			default:
				sample.far = append(sample.far, took)
			}
		}
		waiting = still
		if len(waiting) > 0 && w.rec.now()-end.answered > latencyBound {
			w.guards.judge.violation(waiting[0].name, "still accepts %v after the answer: %s", latencyBound, end.shown)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.figures.add(sample)
	return nil
}

// withdraw ends the key that signs, and with it every access token; and has the
// controls go on with tokens of the next key.
func (w *stopwatch) withdraw(ctx context.Context, keeper *warden, controls []*lodger) error {
	if w.withdrawn > 0 {
		sleep(ctx, w.withdrawn+betweenWithdrawals-w.rec.now())
	}
	w.withdrawn = w.rec.now()
	end, err := keeper.withdrawKey(ctx, 1)
	if err == nil && !end.known {
		err = errors.New("withdraw key: no answer, although nothing is broken")
	}
	if err != nil {
		return err
	}
	if err := w.wait(ctx, "withdraw key", end); err != nil {
		return err
	}
	for _, l := range controls {
		if err := keeper.refreshUntilAlive(ctx, l.stays[0]); err != nil {
			return err
		}
	}
	return nil
}
