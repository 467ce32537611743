// Package tempest lets honest clients live behind a bad network, together with thieves,
// and looks whether anybody is signed out who should not be, and whether every thief is
// caught. `go run ./internal/soak clients` is the command; docs/clients/soak.md says
// what is done and what counts.
//
//   - The injector stands between the clients and a real server: it drops, resets,
//     delays, repeats, reorders and answers in the server's name. It keeps the
//     register: which refresh token was traded for which.
//   - People use web/client in the tabs of Chromium (crowd.go, web/e2e/crowd.js) and
//     package client in processes that share a file (program.go, worker.go). Tabs
//     reload and close, processes and a browser are killed.
//   - Thieves copy refresh tokens and use them, before or after their owners do.
//   - What the server's event log and the clients say is held against it: see Outcome.
//
// Baselines can be put through the same: clients as in tutorials (tutorial.go,
// pages/tutorial.html), and rotation without idempotency keys, which the injector takes
// away.
package tempest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// The clients, and how refresh tokens rotate.
const (
	Ours     = "ours"
	Tutorial = "tutorial"
	Keys     = "keys"   // as it is meant
	Strict   = "strict" // no idempotency key reaches the server
)

// Config is what a tempest takes. All fields are required.
type Config struct {
	Server   string // URL of the server; its access tokens had better be short-lived
	EventLog string // file in which the server logs its events, as JSON
	Password string // of all people, whom AddUser creates
	AddUser  func(ctx context.Context, name string) error
	Worker   []string // command that calls Work with the arguments that follow
	Crowd    string   // path of web/e2e/crowd.js
	Dir      string   // for files of the clients; must exist
	Client   string   // Ours or Tutorial
	Rotation string   // Keys or Strict
	Seed     uint64   // of faults, thieves and people
	Duration time.Duration
	Out      io.Writer // is told what happens
}

// promised reports whether the promises are meant to hold. Baselines are counted only.
func (c *Config) promised() bool { return c.Client == Ours && c.Rotation == Keys }

// person is one honest user.
type person interface {
	name() string
	// arrive starts what the person has, signed in, in good weather.
	arrive(context.Context) error
	// live uses it until the context ends.
	live(context.Context) error
	// signIn signs in once more.
	signIn(context.Context) error
	// jar copies the refresh token; errNoLoot if there is none.
	jar(context.Context) (loot, error)
	// census returns how many tabs or processes there are, and how many are signed in
	// and served.
	census(context.Context) (there, served int, err error)
}

// tempest is one run.
type tempest struct {
	Config

	injector *injector
	register *register
	events   *eventLog
	crowd    *crowd
	people   []person
	victims  []person // who is robbed again and again
	programs []*program

	mu       sync.Mutex
	over     bool              // nobody signs in again
	robbed   map[string]string // by session: whose
	reported map[string]bool   // sessions that a client has called over
	innocent map[string]string // sessions that were not robbed and are over: what was said
	problems []string
	kills    map[string]int
	restless sync.WaitGroup // people who are signing in again, and who watch files
	living   context.Context
}

// Run carries one out and returns what came of it. An error means that it could not be
// done; whether the promises hold is in the outcome.
func Run(ctx context.Context, cfg Config) (o *Outcome, err error) {
	ctx, stop := context.WithCancel(ctx)
	s := &tempest{
		Config: cfg, register: newRegister(), events: &eventLog{path: cfg.EventLog, ends: map[string]string{}},
		robbed: map[string]string{}, reported: map[string]bool{}, innocent: map[string]string{}, kills: map[string]int{},
		living: ctx,
	}
	defer func() {
		stop()
		s.restless.Wait()
	}()
	if s.injector, err = openInjector(cfg.Server, cfg.Seed, cfg.Rotation == Strict, s.register); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.injector.close()) }()
	if s.crowd, err = gather(ctx, s); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.crowd.close()) }()
	defer func() {
		for _, p := range s.programs {
			p.close()
		}
	}()
	s.invite()
	fmt.Fprintf(cfg.Out, "%s client, %s rotation, seed %d: %d people for %v\n", cfg.Client, cfg.Rotation, cfg.Seed, len(s.people), cfg.Duration)
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	if err := s.storm(ctx); err != nil {
		return nil, err
	}
	if err := s.calm(ctx); err != nil {
		return nil, err
	}
	return s.judge(), nil
}

// invite says who is there. Ada and Emil are the large ones: ten tabs, and eight
// processes with sixteen goroutines each. Dora's browser is killed.
func (s *tempest) invite() {
	ada, dora := s.crowd.person("ada", 10), s.crowd.crashing("dora", 2)
	bea, cleo := s.crowd.person("bea", 2), s.crowd.person("cleo", 2)
	emil := s.program("emil", 8, 16)
	finn, gus := s.program("finn", 1, 4), s.program("gus", 1, 4)
	s.people = []person{ada, bea, cleo, dora, emil, finn, gus}
	s.victims = []person{bea, cleo, finn, gus}
	s.programs = []*program{emil, finn, gus}
}

func (s *tempest) arrive(ctx context.Context) error {
	for _, p := range s.people {
		if err := s.AddUser(ctx, p.name()); err != nil {
			return err
		}
		if err := p.arrive(ctx); err != nil {
			return fmt.Errorf("%s arrives: %w", p.name(), err)
		}
	}
	return nil
}

// storm is the tempest itself.
func (s *tempest) storm(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, s.Duration)
	defer stop()
	s.injector.weather(true)
	var all sync.WaitGroup
	errs := make([]error, len(s.people)+len(s.victims))
	for k, p := range s.people {
		all.Go(func() {
			if err := p.live(ctx); err != nil && ctx.Err() == nil {
				errs[k] = fmt.Errorf("%s: %w", p.name(), err)
				stop()
			}
		})
	}
	for k, p := range s.victims {
		t := &thief{tempest: s, victim: p, rng: s.rng(100 + uint64(k))}
		all.Go(func() { errs[len(s.people)+k] = t.prowl(ctx) })
	}
	all.Wait()
	s.injector.weather(false)
	return errors.Join(errs...)
}

// rng returns a generator of its own for somebody.
func (s *tempest) rng(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, stream)) //nolint:gosec // it has to be the same again
}

// patience bounds every wait for something that must happen once all faults are over.
const patience = 90 * time.Second

// calm waits until everybody is well again, and then robs the two large ones: up to
// here it counted that they stay signed in, and now that they do not.
func (s *tempest) calm(ctx context.Context) error {
	if !s.promised() {
		return sleep(ctx, 5*time.Second) // for what is under way; they may never be well
	}
	began := time.Now()
	for _, p := range s.people {
		s.await(ctx, p.name()+" to refresh in good weather", func() bool {
			now := s.register.look(p.name())
			return !s.isOver(now.session) && now.refreshed.After(began)
		})
		if err := s.count(ctx, p); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.injector.weather(true)
	for k, name := range []string{"ada", "emil"} {
		for _, p := range s.people {
			if p.name() != name {
				continue
			}
			t := &thief{tempest: s, victim: p, rng: s.rng(200 + uint64(k))}
			if err := t.rob(ctx); err != nil {
				return err
			}
		}
	}
	s.injector.weather(false)
	s.await(ctx, "every robbed session to end", func() bool {
		for _, session := range s.robbedSessions() {
			if s.events.reason(session) == "" {
				return false
			}
		}
		return true
	})
	return ctx.Err()
}

// count sees to it that everything that a person has is signed in and served.
func (s *tempest) count(ctx context.Context, p person) error {
	var there, served int
	var err error
	s.await(ctx, "all that "+p.name()+" has to be served", func() bool {
		there, served, err = p.census(ctx)
		return err != nil || there > 0 && served == there
	})
	if err != nil {
		return fmt.Errorf("census of %s: %w", p.name(), err)
	}
	if served != there {
		s.complain("%s: %d of %d are served", p.name(), served, there)
	}
	return nil
}

// await waits for a condition, and complains if it does not come about.
func (s *tempest) await(ctx context.Context, what string, holds func() bool) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for !holds() {
		if sleep(ctx, 50*time.Millisecond) != nil {
			s.complain("waited in vain for %s", what)
			return
		}
	}
}

func (s *tempest) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	problem := fmt.Sprintf(format, args...)
	s.problems = append(s.problems, problem)
	fmt.Fprintf(s.Out, "%s: %s\n", time.Now().Format(time.TimeOnly), problem)
}

// signedOut is told by a client that a session is over, perhaps by many, and signs the
// person in again.
func (s *tempest) signedOut(p person, session, said string) {
	if session == "" { // the page was loaded after the end
		session = s.register.look(p.name()).session
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reported[session] {
		return
	}
	s.reported[session] = true
	if _, robbed := s.robbed[session]; !robbed {
		s.innocent[session] = fmt.Sprintf("%s was signed out (%s)", p.name(), said)
		fmt.Fprintf(s.Out, "%s: %s, session %s\n", time.Now().Format(time.TimeOnly), s.innocent[session], session)
		if s.promised() {
			fmt.Fprintf(s.Out, "\t%s\n", strings.Join(s.register.historyOf(session), "\n\t"))
		}
	}
	if s.over || s.register.look(p.name()).session != session {
		return
	}
	s.restless.Go(func() {
		if err := p.signIn(s.living); err != nil && s.living.Err() == nil {
			s.complain("%s cannot sign in again: %v", p.name(), err)
		}
	})
}

// isOver reports whether the server or a client has called a session over.
func (s *tempest) isOver(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reported[session] || s.events.reason(session) != ""
}

func (s *tempest) isRobbed(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.robbed[session]
	return ok
}

func (s *tempest) robbedSessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for session := range s.robbed {
		all = append(all, session)
	}
	return all
}

func (s *tempest) countKill(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills[what]++
}

// sleep sleeps, or returns why not for so long.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// between draws a time.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}
