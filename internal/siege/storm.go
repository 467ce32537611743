package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
)

const (
	phaseLength = 15 * time.Second
	rounds      = 4

	// How often each of the sessions is refreshed that know nothing of the storm: far more
	// often than real ones.
	refreshEvery = 2 * time.Second
	// owners sign in again and again all the while, on a device that is known. The
	// attackers try their names as well.
	owners     = 10
	loginEvery = 2 * time.Second

	// patience is how often an owner tries to get in, each time as soon as the server has
	// said: with a Retry-After of a second, less than half a minute. Tries are counted, not
	// seconds, since a slow machine is no lock-out.
	patience = 20
	// longestPause is the longest Retry-After that an owner heeds and does not take for a
	// lock-out.
	longestPause = time.Minute
)

// The phases of a round, in turns: what befalls the machine befalls all of them.
const (
	inQuiet    = iota
	besideLoop // nobody attacks, and a [loop] tells what such cores cost without a storm
	inStorm
	phases
)

// What a storm may cost those who have nothing to do with it. Whoever measures more gets
// an error.
const (
	// maxFactor bounds the 99th percentile of refreshes, by that in quiet.
	maxFactor = 2.0
	// maxMemory is for the server and the process that hashes together, in MiB, with two
	// cores. Each further one computes another hash of 19 MiB, and throws another away.
	maxMemory        = 256
	maxMemoryPerCore = 40
)

// storm lets attackers come, and go, while guests stay and owners come home.
type storm struct {
	out       io.Writer
	attackers int
	sessions  int
	strangers int // imported users whose passwords are guessed at; 0: names that nobody has
	phase     time.Duration
	rounds    int
	// countsOnly leaves time and memory out of the verdict: of a short storm beside other
	// tests.
	countsOnly bool

	server    *server
	told      told   // to the attackers; written by one goroutine at a time
	visits    visits // of owners
	refreshes [phases]samples[time.Duration]
	failed    atomic.Pointer[error]
}

// visits are the sign-ins of owners, each of one try or more.
type visits struct {
	lasted samples[time.Duration] // from the first try until they were in
	tries  samples[int]           // that it took
	each   [owners]atomic.Int64   // how often an owner got in

	gaveUp  atomic.Int64 // after patience tries that were answered 503
	refused atomic.Int64 // with anything else, because of the tries of others
}

// samples are collected by many goroutines.
type samples[T cmp.Ordered] struct {
	mu   sync.Mutex
	each []T
}

func (s *samples[T]) add(sample T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = append(s.each, sample)
}

// quantile returns the zero value if there are no samples. That of 1 is the greatest.
func (s *samples[T]) quantile(q float64) (sample T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.each)
	if len(s.each) == 0 {
		return sample
	}
	return s.each[min(int(q*float64(len(s.each))), len(s.each)-1)]
}

func (s *samples[T]) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.each)
}

func (s *storm) run(ctx context.Context) (err error) {
	s.told = told{}
	users, err := people(ctx, "owner", owners)
	if err != nil {
		return err
	}
	users = append(users, migrated("stranger", s.strangers)...)
	s.server, err = open(ctx, users)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.server.close()) }()
	target, err := url.Parse(s.server.url)
	if err != nil {
		return err
	}
	guests := load.NewSessions(load.Target{URL: target, Username: "owner-1", Password: right}, s.sessions)
	if err := load.SignIn(ctx, guests, nil); err != nil {
		return err
	}
	devices := make([]string, owners)
	for i := range devices {
		entered, err := s.server.enter(ctx, somewhere(), fmt.Sprintf("owner-%d", i+1))
		if err != nil {
			return err
		}
		devices[i] = entered.Device
	}
	quiet, err := s.server.memory()
	if err != nil {
		return err
	}
	if err := s.server.forgetMemory(); err != nil {
		return err
	}
	for n := range phases * s.rounds {
		if err := errors.Join(s.pass(ctx, n%phases, guests, devices), ctx.Err()); err != nil {
			return err
		}
	}
	stormy, err := s.server.memory()
	if err != nil {
		return err
	}
	return s.verdict(quiet, stormy)
}

// pass is one phase. A storm lasts until each owner who has come in it is in, or has given
// up: who gets in once it is over was locked out by it.
func (s *storm) pass(ctx context.Context, phase int, guests []*load.Session, devices []string) error {
	end := func() error { return nil }
	switch phase {
	case besideLoop:
		loop, err := beginLoop(ctx)
		if err != nil {
			return err
		}
		end = loop.end
	case inStorm:
		attack, err := attackers{URL: s.server.url, Count: s.attackers, Strangers: s.strangers}.begin(ctx)
		if err != nil {
			return err
		}
		end = func() error { return s.retreat(attack) }
	}
	during, cancel := context.WithTimeout(ctx, s.phase)
	defer cancel()
	var all sync.WaitGroup
	for n, guest := range guests {
		all.Go(func() { s.stay(during, n, guest, &s.refreshes[phase]) })
	}
	if phase == inStorm {
		for n, device := range devices {
			all.Go(func() { s.comeHome(ctx, during, n, device) })
		}
	}
	all.Wait()
	return end()
}

// retreat lets attackers go, and adds up what they were told.
func (s *storm) retreat(attack *attack) error {
	got, err := attack.end()
	for status, n := range got {
		s.told[status] += n
	}
	return err
}

// stay refreshes one session, at its own moments.
func (s *storm) stay(ctx context.Context, n int, guest *load.Session, into *samples[time.Duration]) {
	rest(ctx, refreshEvery*time.Duration(n)/time.Duration(s.sessions))
	for ctx.Err() == nil {
		began := time.Now()
		// What has begun when the phase ends belongs to it.
		if err := guest.Refresh(context.WithoutCancel(ctx)); err != nil {
			err = fmt.Errorf("a refresh failed: %w", err)
			s.failed.Store(&err)
		}
		into.add(time.Since(began))
		rest(ctx, refreshEvery-time.Since(began))
	}
}

// comeHome lets an owner sign in again and again in a phase, and once at least.
func (s *storm) comeHome(ctx, phase context.Context, n int, device string) {
	rest(phase, min(loginEvery, s.phase)*time.Duration(n)/owners)
	for {
		if err := s.visit(ctx, n, device); err != nil {
			s.failed.Store(&err)
			return
		}
		rest(phase, loginEvery)
		if phase.Err() != nil {
			return
		}
	}
}

// visit signs an owner in as an honest client does: told that the server is busy, it tries
// again when the server says so.
func (s *storm) visit(ctx context.Context, n int, device string) error {
	began := time.Now()
	for try := 1; try <= patience; try++ {
		a, err := s.server.login(ctx, somewhere(), fmt.Sprintf("owner-%d", n+1), right, device)
		switch {
		case err != nil:
			return err
		case a.status == http.StatusOK:
			s.visits.each[n].Add(1)
			s.visits.lasted.add(time.Since(began))
			s.visits.tries.add(try)
			return nil
		case a.status != http.StatusServiceUnavailable:
			s.visits.refused.Add(1)
			return nil
		}
		seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
		pause := max(time.Duration(seconds)*time.Second, time.Second)
		if pause > longestPause {
			break
		}
		rest(ctx, pause)
	}
	s.visits.gaveUp.Add(1)
	return nil
}

// rest waits, but not longer than the context.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// verdict prints what was measured, and returns an error that says all that was too much.
// Memory is in MiB.
func (s *storm) verdict(quiet, stormy int) error {
	fmt.Fprintf(s.out, "%d attackers begin at the same moment and try again after a second, each time from another address: ", s.attackers)
	fmt.Fprintln(s.out, s.told)
	fmt.Fprintf(s.out, "memory of the server: %d MiB before, at most %d MiB in the storm\n", quiet, stormy)
	for phase, where := range [phases]string{"quiet", "beside a loop in spare time", "storm"} {
		r := &s.refreshes[phase]
		fmt.Fprintf(s.out, "refreshes, %s: p50 %s, p99 %s (%d), factor %.2f\n",
			where, short(r.quantile(.5)), short(r.quantile(.99)), r.count(), s.factor(phase))
	}
	v := &s.visits
	fmt.Fprintf(s.out, "owners on devices that are known: %d sign-ins, in after p50 %s, p99 %s, with %d tries at p99 and %d at most; %d gave up after %d tries, and %d were refused because of others\n",
		v.lasted.count(), short(v.lasted.quantile(.5)), short(v.lasted.quantile(.99)), v.tries.quantile(.99), v.tries.quantile(1),
		v.gaveUp.Load(), patience, v.refused.Load())

	missed := []error{v.lockedOut()}
	if failed := s.failed.Load(); failed != nil {
		missed = append(missed, *failed)
	}
	if !s.countsOnly {
		missed = append(missed, s.cost(stormy, runtime.GOMAXPROCS(0)))
	}
	return errors.Join(missed...)
}

// factor says how the slowest refreshes of a phase compare with those in quiet. It is no
// number if nobody refreshed then.
func (s *storm) factor(phase int) float64 {
	return float64(s.refreshes[phase].quantile(.99)) / float64(s.refreshes[inQuiet].quantile(.99))
}

// lockedOut returns an error unless each owner got in whenever they came.
func (v *visits) lockedOut() error {
	absent := 0
	for n := range v.each {
		if v.each[n].Load() == 0 {
			absent++
		}
	}
	if absent > 0 || v.gaveUp.Load() > 0 || v.refused.Load() > 0 {
		return fmt.Errorf("owners were locked out: %d of %d were never let in, %d visits ended without patience, %d were refused",
			absent, owners, v.gaveUp.Load(), v.refused.Load())
	}
	return nil
}

// cost returns an error if refreshes were slower, or the memory of a server with so many
// cores more, than they may be. A factor that is no number is no good one.
func (s *storm) cost(memory, cores int) error {
	var missed []error
	if factor := s.factor(inStorm); math.IsNaN(factor) || factor > maxFactor {
		missed = append(missed, fmt.Errorf("a storm makes the slowest refreshes %.2f times as slow, and may %.2f times; a loop in spare time makes it %.2f, and nobody attacks then",
			factor, maxFactor, s.factor(besideLoop)))
	}
	if most := maxMemory + maxMemoryPerCore*max(0, cores-2); memory > most {
		missed = append(missed, fmt.Errorf("a storm takes %d MiB, and may take %d", memory, most))
	}
	return errors.Join(missed...)
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
