package load

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

// steady is a client whose requests take always as long.
func steady(step string, took time.Duration) Client {
	return Repeat(step, func(context.Context) error {
		time.Sleep(took)
		return nil
	})
}

// TestRunCounts measures clients of which everybody knows how fast they are.
func TestRunCounts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		clients := []Client{steady("fast", 10*time.Millisecond), steady("fast", 10*time.Millisecond), steady("slow", 250*time.Millisecond)}
		begin := time.Now()
		result := Run(t.Context(), clients, Options{WarmUp: time.Second, Duration: 4 * time.Second})
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		if result.Elapsed != 4*time.Second || result.CutShort || result.Err != nil || len(result.Steps) != 2 {
			t.Fatalf("got %+v", result)
		}
		fast, slow, all := result.Steps[0], result.Steps[1], result.Total()
		if fast.Latencies.Count() != 800 || slow.Latencies.Count() != 16 || all.Latencies.Count() != 816 {
			t.Errorf("counted %d, %d and %d", fast.Latencies.Count(), slow.Latencies.Count(), all.Latencies.Count())
		}
		if fast.PerSecond() != 200 || slow.PerSecond() != 4 || all.PerSecond() != 204 {
			t.Errorf("per second: %g, %g and %g", fast.PerSecond(), slow.PerSecond(), all.PerSecond())
		}
		if slow.Latencies.Max() != 250*time.Millisecond || fast.Latencies.Mean() != 10*time.Millisecond {
			t.Errorf("slow takes %v, fast %v", slow.Latencies.Max(), fast.Latencies.Mean())
		}
	})
}

// TestRunWaitsForTheSlowest counts the request that outlasts the run, and not the
// one that began before it.
func TestRunWaitsForTheSlowest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		begin := time.Now()
		result := Run(t.Context(), []Client{steady("slow", 3*time.Second)}, Options{WarmUp: time.Second, Duration: 3 * time.Second})
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("took %v", took)
		}
		all := result.Total()
		if all.Latencies.Count() != 1 || result.Elapsed != 3*time.Second {
			t.Errorf("counted %d in %v", all.Latencies.Count(), result.Elapsed)
		}
	})
}

// TestRunCutShort keeps what was measured before the context ended.
func TestRunCutShort(t *testing.T) {
	for _, c := range []struct {
		after, elapsed time.Duration
		count          uint64
	}{
		{500 * time.Millisecond, 0, 0},
		{3*time.Second + 50*time.Millisecond, 2*time.Second + 50*time.Millisecond, 21},
	} {
		bubble.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.after)
			defer cancel()
			torn := false
			client := func(ctx context.Context) (string, error) {
				time.Sleep(100 * time.Millisecond)
				torn = torn || ctx.Err() != nil
				return "step", nil
			}
			result := Run(ctx, []Client{client}, Options{WarmUp: time.Second, Duration: time.Minute})
			all := result.Total()
			if !result.CutShort || result.Elapsed != c.elapsed || all.Latencies.Count() != c.count || torn {
				t.Errorf("cut after %v: %+v, %d requests, torn off: %t", c.after, result, all.Latencies.Count(), torn)
			}
		})
	}
}

// TestRunWithoutEnd measures until the context ends, which cuts nothing short.
func TestRunWithoutEnd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour-time.Millisecond)
		defer cancel()
		result := Run(ctx, []Client{steady("step", time.Second)}, Options{})
		all := result.Total()
		if result.CutShort || result.Elapsed != time.Hour-time.Millisecond || all.Latencies.Count() != 3600 {
			t.Errorf("got %+v, %d requests", result, all.Latencies.Count())
		}
	})
}

// TestRunFailures counts failures by kind, from the first request on, and makes
// clients pause after each.
func TestRunFailures(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		first := errors.New("first")
		n := 0
		client := Repeat("step", func(context.Context) error {
			n++
			switch {
			case n == 1:
				return first
			case n%2 == 0:
				return fmt.Errorf("busy: %w", &Failure{Kind: "503 unavailable", Wait: 300 * time.Millisecond, Err: errors.New("later")})
			}
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		// 100 ms for the first, then turns of 300 ms and 100 ms.
		result := Run(t.Context(), []Client{client}, Options{WarmUp: 500 * time.Millisecond, Duration: 4 * time.Second})
		all := result.Total()
		want := map[string]uint64{"error": 1, "503 unavailable": 11}
		if !reflect.DeepEqual(all.Failures, want) || all.Failed() != 12 || !errors.Is(result.Err, first) {
			t.Errorf("failures: %v, first: %v", all.Failures, result.Err)
		}
		if all.Latencies.Count() != 10 {
			t.Errorf("counted %d", all.Latencies.Count())
		}
	})
}

// TestRunBoundsKinds holds on to a bounded number of kinds.
func TestRunBoundsKinds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := 0
		client := Repeat("step", func(context.Context) error {
			n++
			return &Failure{Kind: fmt.Sprint(n), Err: errors.New("failed")}
		})
		result := Run(t.Context(), []Client{client}, Options{Duration: 10 * time.Second})
		all := result.Total()
		if len(all.Failures) != maxKinds+1 || all.Failures["other"] != 100-maxKinds {
			t.Errorf("%d kinds: %v", len(all.Failures), all.Failures)
		}
	})
}

// TestRunProgress reports every second what was measured so far, in values that
// the run does not touch any more.
func TestRunProgress(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var seen []Result
		Run(t.Context(), []Client{steady("step", 90*time.Millisecond)}, Options{
			WarmUp: 1500 * time.Millisecond, Duration: 3 * time.Second,
			Progress: func(r Result) { seen = append(seen, r) },
		})
		var elapsed []time.Duration
		var counts []uint64
		for _, r := range seen {
			all := r.Total()
			elapsed, counts = append(elapsed, r.Elapsed), append(counts, all.Latencies.Count())
		}
		if want := []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond}; !reflect.DeepEqual(elapsed, want) {
			t.Errorf("elapsed: %v", elapsed)
		}
		if want := []uint64{0, 5, 16, 27}; !reflect.DeepEqual(counts, want) {
			t.Errorf("counts: %v", counts)
		}
	})
}
