// Package load runs closed loops: a number of clients, each of which sends its
// next request when it has the answer to its last. It measures what a server
// does under that load and nothing else.
package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Client sends one request and waits for its answer. Each is called by one
// goroutine at a time.
type Client func(ctx context.Context) error

// Result is what a run has measured, warm-up excluded.
type Result struct {
	Elapsed   time.Duration
	Latencies []time.Duration // of the answered requests, sorted
	Err       error           // the first failure; nil if there was none
	Failures  int
}

// PerSecond returns the answered requests per second.
func (r Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(len(r.Latencies)) / r.Elapsed.Seconds()
}

// Quantile returns the latency that the fraction q of requests stayed within; 0
// if there were none.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(q*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// Run drives all clients at once, for the warm-up and then for the duration, and
// lets the last requests finish.
func Run(ctx context.Context, clients []Client, warmUp, duration time.Duration) Result {
	begin := time.Now()
	from, until := begin.Add(warmUp), begin.Add(warmUp+duration)
	results := make([]Result, len(clients))
	var wg sync.WaitGroup
	for i, client := range clients {
		wg.Go(func() { results[i] = loop(ctx, client, from, until) })
	}
	wg.Wait()

	total := Result{Elapsed: duration}
	for _, r := range results {
		total.Latencies = append(total.Latencies, r.Latencies...)
		total.Failures += r.Failures
		if total.Err == nil {
			total.Err = r.Err
		}
	}
	slices.Sort(total.Latencies)
	return total
}

// loop is one client. Only requests that begin and end inside the measured time
// count.
func loop(ctx context.Context, client Client, from, until time.Time) Result {
	var r Result
	for {
		start := time.Now()
		if ctx.Err() != nil || !start.Before(until) {
			return r
		}
		err := client(ctx)
		end := time.Now()
		switch {
		case errors.Is(err, context.Canceled):
			return r
		case err != nil:
			r.Failures++
			if r.Err == nil {
				r.Err = err
			}
		case !start.Before(from) && end.Before(until):
			r.Latencies = append(r.Latencies, end.Sub(start))
		}
	}
}
