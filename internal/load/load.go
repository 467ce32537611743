// Package load puts a server under load in closed loops: a number of clients,
// each of which sends its next request when it has the answer to its last. It
// measures what the server does under that load, and nothing else.
//
// [Run] drives any [Client]. For Innkeeper's HTTP API there is [Session], and a
// [Scenario] makes clients of sessions:
//
//	sessions := load.NewSessions(target, 64)
//	err := load.SignIn(ctx, sessions, nil)
//	result := load.Run(ctx, load.Refresh.Clients(sessions), load.Options{Duration: time.Minute})
//	err = load.LogOut(ctx, sessions)
//
// A closed loop finds out what a server can do. It says little about how long
// strangers wait, who keep coming while the server is slow: here a slow answer
// keeps its client from asking.
package load

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Client sends one request, waits for its answer, and says what kind of request
// it was: each kind is measured on its own. It is called by one goroutine at a
// time. Its context does not end with the run, so that no request is torn off in
// the middle: the client itself bounds how long it waits.
type Client func(ctx context.Context) (step string, err error)

// Repeat is a client that knows one kind of request.
func Repeat(step string, do func(context.Context) error) Client {
	return func(ctx context.Context) (string, error) { return step, do(ctx) }
}

// Options say how long a run takes and who watches it.
type Options struct {
	// WarmUp is the unmeasured beginning. Zero means none.
	WarmUp time.Duration
	// Duration is how long is measured. Zero means until the context ends.
	Duration time.Duration
	// Progress is called with what was measured so far, by one goroutine. The zero
	// value calls nobody.
	Progress func(Result)
	// ProgressEvery is the time between two calls of Progress. Zero means a second.
	ProgressEvery time.Duration
}

// failurePause is the least that a client waits after a failure. Without it, the
// clients of a server that is down would measure how fast they can fail.
const failurePause = 100 * time.Millisecond

// Run drives all clients at once, for the warm-up and then for the duration, and
// lets the last requests finish. If the context ends, so does the run, and the
// result says what was measured until then.
//
// A request counts if it begins inside the measured time, however late it is
// answered: dropping those that outlast the run would drop the slowest. Failures
// count from the first request on, warm-up included: a run in which something
// failed is no measurement, and its reader must learn it.
func Run(ctx context.Context, clients []Client, options Options) Result {
	r := newRun(options, time.Now())
	if options.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.until)
		defer cancel()
	}
	var wg sync.WaitGroup
	for _, client := range clients {
		wg.Go(func() { r.loop(ctx, client) })
	}
	r.watch(ctx, options)
	ended := time.Now()
	wg.Wait()
	result := r.result(ended)
	result.CutShort = ended.Before(r.until)
	return result
}

// run is what the clients share. One lock for all: it is held for less than a
// thousandth of the time that the cheapest request takes.
type run struct {
	from  time.Time
	until time.Time // zero: until the context ends

	mu    sync.Mutex
	steps map[string]*Step
	err   error
}

func newRun(options Options, begin time.Time) *run {
	r := &run{from: begin.Add(options.WarmUp), steps: make(map[string]*Step)}
	if options.Duration > 0 {
		r.until = r.from.Add(options.Duration)
	}
	return r
}

// loop is one client.
func (r *run) loop(ctx context.Context, client Client) {
	for ctx.Err() == nil {
		start := time.Now()
		if !r.until.IsZero() && !start.Before(r.until) {
			return // the deadline of the context is about to tell
		}
		step, err := client(context.WithoutCancel(ctx))
		took := time.Since(start)
		switch {
		case err != nil:
			r.failed(step, err)
			sleep(ctx, max(waitAfter(err), failurePause))
		case !start.Before(r.from):
			r.answered(step, took)
		}
	}
}

// watch reports until the time is over.
func (r *run) watch(ctx context.Context, options Options) {
	if options.Progress == nil {
		<-ctx.Done()
		return
	}
	every := options.ProgressEvery
	if every <= 0 {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			options.Progress(r.result(now))
		}
	}
}

func (r *run) answered(step string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step(step).Latencies.Record(took)
}

// maxKinds bounds the kinds of failures that are told apart, for a server that
// makes up a new one each time.
const maxKinds = 50

func (r *run) failed(step string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	failures := r.step(step).Failures
	kind := kindOf(err)
	if _, known := failures[kind]; !known && len(failures) >= maxKinds {
		kind = "other"
	}
	failures[kind]++
	if r.err == nil {
		r.err = err
	}
}

// step returns the statistics of a step. The caller holds the lock.
func (r *run) step(name string) *Step {
	step, ok := r.steps[name]
	if !ok {
		step = &Step{Name: name, Failures: make(map[string]uint64)}
		r.steps[name] = step
	}
	return step
}

// result is what was measured up to a time.
func (r *run) result(now time.Time) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := Result{Err: r.err}
	if !r.until.IsZero() && now.After(r.until) {
		now = r.until
	}
	result.Elapsed = max(now.Sub(r.from), 0)
	for _, step := range r.steps {
		result.Steps = append(result.Steps, step.clone(result.Elapsed))
	}
	slices.SortFunc(result.Steps, func(a, b Step) int { return strings.Compare(a.Name, b.Name) })
	return result
}

// Result is what a run has measured.
type Result struct {
	Elapsed  time.Duration // the measured time, warm-up excluded
	CutShort bool          // the context ended before the duration was over
	Steps    []Step        // by name
	Err      error         // the first failure; nil if there was none
}

// Total is all steps together.
func (r Result) Total() Step {
	total := Step{Name: "all", Elapsed: r.Elapsed, Failures: make(map[string]uint64)}
	for i := range r.Steps {
		total.Latencies.Merge(&r.Steps[i].Latencies)
		for kind, count := range r.Steps[i].Failures {
			total.Failures[kind] += count
		}
	}
	return total
}

// Step is what was measured of one kind of request.
type Step struct {
	Name      string
	Elapsed   time.Duration
	Latencies Histogram         // of the requests that were answered as they should be
	Failures  map[string]uint64 // by kind, like "503 unavailable"
}

// PerSecond returns the answered requests per second.
func (s *Step) PerSecond() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Latencies.Count()) / s.Elapsed.Seconds()
}

// Failed returns how many requests failed.
func (s *Step) Failed() uint64 {
	var n uint64
	for _, count := range s.Failures {
		n += count
	}
	return n
}

func (s *Step) clone(elapsed time.Duration) Step {
	c := Step{Name: s.Name, Elapsed: elapsed, Failures: make(map[string]uint64, len(s.Failures))}
	c.Latencies.Merge(&s.Latencies)
	for kind, count := range s.Failures {
		c.Failures[kind] = count
	}
	return c
}

// Failure is why a request was not answered as it should be.
type Failure struct {
	Kind   string        // what failures are counted by: status and code, or what became of the connection
	Status int           // of the answer; zero: there was none
	Wait   time.Duration // how long the server asks to wait; zero: it does not
	Err    error
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

func kindOf(err error) string {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return "error"
}

func waitAfter(err error) time.Duration {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Wait
	}
	return 0
}

// sleep waits, or until the context ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
