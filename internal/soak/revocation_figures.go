package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// latency is how long one revocation took, from its answer to the refusals.
type latency struct {
	way                 string
	answer              time.Duration // from the request to its answer
	all                 time.Duration // until the last verifier refused
	near, far, balanced []time.Duration
}

// latencies are what a measurement comes to.
type latencies struct {
	Store       string               `json:"store"`
	Servers     int                  `json:"servers"`
	Verifiers   int                  `json:"verifiers"`
	All         quantiles            `json:"all"`  // until the last verifier refused
	Ways        map[string]quantiles `json:"ways"` // the same, by way
	Near        quantiles            `json:"verifiers_of_the_same_server"`
	Far         quantiles            `json:"verifiers_of_another_server"`
	Balanced    quantiles            `json:"verifiers_behind_a_balancer"`
	Answer      quantiles            `json:"answer"` // of the request that revokes
	Checks      int64                `json:"checks"`
	Controls    int64                `json:"checks_of_live_tokens"`
	Unavailable int64                `json:"checks_without_a_verdict"`
	Violations  []string             `json:"violations"`

	mu      sync.Mutex
	samples []latency
}

// quantiles of durations, in milliseconds.
type quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (f *latencies) add(l latency) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.samples = append(f.samples, l)
}

// finish computes all figures.
func (f *latencies) finish(j *judge) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ways := map[string][]time.Duration{}
	var all, near, far, balanced, answer []time.Duration
	for _, s := range f.samples {
		all, answer = append(all, s.all), append(answer, s.answer)
		near, far, balanced = append(near, s.near...), append(far, s.far...), append(balanced, s.balanced...)
		ways[s.way] = append(ways[s.way], s.all)
	}
	f.All, f.Near, f.Far, f.Balanced, f.Answer = quantilesOf(all), quantilesOf(near), quantilesOf(far), quantilesOf(balanced), quantilesOf(answer)
	f.Ways = map[string]quantiles{}
	for name, list := range ways {
		f.Ways[name] = quantilesOf(list)
	}
	f.Checks = j.accepted.Load() + j.refused.Load() + j.unavailable.Load()
	f.Controls, f.Unavailable = j.controls.Load(), j.unavailable.Load()
	f.Violations = j.verdict()
}

// quantilesOf uses the nearest rank: a p99 is a time that was measured.
func quantilesOf(list []time.Duration) quantiles {
	if len(list) == 0 {
		return quantiles{}
	}
	slices.Sort(list)
	at := func(percent int) float64 {
		rank := (len(list)*percent + 99) / 100
		return milliseconds(list[max(0, rank-1)])
	}
	return quantiles{Count: len(list), P50: at(50), P99: at(99), Max: milliseconds(list[len(list)-1])}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// bad says whether a promise was broken, or nothing was measured.
func (f *latencies) bad() bool {
	return len(f.Violations) > 0 || f.All.Count == 0 || f.All.P99 >= milliseconds(requiredLatency99)
}

// String is a table.
func (f *latencies) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d servers, %d verifiers, %d revocations; milliseconds from the answer to the refusal by every verifier\n",
		f.Store, f.Servers, f.Verifiers, f.All.Count)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tcount\tp50\tp99\tmax\t")
	row := func(name string, q quantiles) {
		if q.Count > 0 {
			fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\t%.1f\t\n", name, q.Count, q.P50, q.P99, q.Max)
		}
	}
	row("all", f.All)
	for _, name := range slices.Sorted(maps.Keys(f.Ways)) {
		row(name, f.Ways[name])
	}
	row("one verifier, of the server that revoked", f.Near)
	row("one verifier, of another server", f.Far)
	row("one verifier, behind a balancer", f.Balanced)
	row("the answer itself, from its request", f.Answer)
	_ = table.Flush() // into memory
	fmt.Fprintf(&b, "%d checks, %d of live tokens, %d without a verdict, %d violations", f.Checks, f.Controls, f.Unavailable, len(f.Violations))
	for _, v := range f.Violations {
		fmt.Fprintf(&b, "\nVIOLATION: %s", v)
	}
	return b.String()
}
