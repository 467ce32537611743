package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
)

const (
	phaseLength = 15 * time.Second
	rounds      = 4 // of quiet and storm, in turns: what befalls the machine befalls both

	// How often each of the sessions is refreshed that know nothing of the storm: far more
	// often than real ones.
	refreshEvery = 2 * time.Second
	// owners sign in again and again all the while, on a device that is known. The
	// attackers try their names as well.
	owners     = 10
	loginEvery = 2 * time.Second
)

// storm lets attackers come, and go, while guests stay and owners come home.
type storm struct {
	out       io.Writer
	attackers int
	sessions  int
	strangers int // imported users whose passwords are guessed at; 0: names that nobody has
	phase     time.Duration
	rounds    int // of a phase of quiet and one of storm

	server    *server
	told      told         // to the attackers; written by one goroutine at a time
	denied    atomic.Int64 // owners who were told to wait because of the tries of others
	patience  latencies    // of owners, from the first try until they were in
	refreshes [2]latencies // in quiet, and in storm
	failed    atomic.Pointer[error]
}

// latencies are collected by many goroutines.
type latencies struct {
	mu   sync.Mutex
	each []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each = append(l.each, d)
}

func (l *latencies) quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.each)
	if len(l.each) == 0 {
		return 0
	}
	return l.each[min(int(q*float64(len(l.each))), len(l.each)-1)]
}

func (l *latencies) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.each)
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
	for n := range 2 * s.rounds {
		s.pass(ctx, n%2 == 1, guests, devices)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stormy, err := s.server.memory()
	if err != nil {
		return err
	}
	return s.verdict(quiet, stormy)
}

// pass is one phase.
func (s *storm) pass(ctx context.Context, stormy bool, guests []*load.Session, devices []string) {
	ctx, cancel := context.WithTimeout(ctx, s.phase)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	into := &s.refreshes[0]
	if stormy {
		into = &s.refreshes[1]
		all.Go(func() { s.beset(context.WithoutCancel(ctx)) })
		for n, device := range devices {
			all.Go(func() { s.comeHome(ctx, n+1, device) })
		}
	}
	for n, guest := range guests {
		all.Go(func() { s.stay(ctx, n, guest, into) })
	}
}

// beset lets the attackers come for one phase.
func (s *storm) beset(ctx context.Context) {
	got, err := attackers{URL: s.server.url, Count: s.attackers, Strangers: s.strangers, For: s.phase}.run(ctx)
	if err != nil {
		s.failed.Store(&err)
	}
	for status, n := range got {
		s.told[status] += n
	}
}

// stay refreshes one session, at its own moments.
func (s *storm) stay(ctx context.Context, n int, guest *load.Session, into *latencies) {
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

// comeHome signs an owner in, who tries again when the server says so.
func (s *storm) comeHome(ctx context.Context, n int, device string) {
	rest(ctx, loginEvery*time.Duration(n)/owners)
	for ctx.Err() == nil {
		began := time.Now()
		for {
			a, err := s.server.login(context.WithoutCancel(ctx), somewhere(), fmt.Sprintf("owner-%d", n), right, device)
			if err != nil {
				s.failed.Store(&err)
				return
			}
			if a.status == http.StatusOK {
				s.patience.add(time.Since(began))
				break
			}
			if a.status != http.StatusServiceUnavailable {
				s.denied.Add(1)
			}
			if ctx.Err() != nil {
				s.patience.add(time.Since(began)) // at least
				return
			}
			seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
			rest(ctx, max(time.Duration(seconds)*time.Second, time.Second))
		}
		rest(ctx, loginEvery)
	}
}

// rest waits, but not longer than the context.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *storm) verdict(quiet, stormy int) error {
	fmt.Fprintf(s.out, "%d attackers begin at the same moment and try again after a second, each time from another address: ", s.attackers)
	fmt.Fprintln(s.out, s.told)
	calm, storm := &s.refreshes[0], &s.refreshes[1]
	factor := float64(storm.quantile(.99)) / float64(calm.quantile(.99))
	fmt.Fprintf(s.out, "memory of the server: %d MiB before, at most %d MiB in the storm\n", quiet, stormy)
	fmt.Fprintf(s.out, "refreshes: quiet p50 %s p99 %s (%d), storm p50 %s p99 %s (%d): factor %.2f\n",
		short(calm.quantile(.5)), short(calm.quantile(.99)), calm.count(),
		short(storm.quantile(.5)), short(storm.quantile(.99)), storm.count(), factor)
	fmt.Fprintf(s.out, "owners on devices that are known: %d sign-ins, in after p50 %s, p99 %s; %d were told to wait because of others\n",
		s.patience.count(), short(s.patience.quantile(.5)), short(s.patience.quantile(.99)), s.denied.Load())
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	if s.denied.Load() > 0 {
		return errors.New("owners were locked out")
	}
	return nil
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
