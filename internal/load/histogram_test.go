package load

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// latencies draws durations of all magnitudes: each length in bits is as likely.
func latencies() *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		longest := int64(math.MaxInt64) >> rapid.IntRange(0, 62).Draw(t, "shift")
		return time.Duration(rapid.Int64Range(0, longest).Draw(t, "latency"))
	})
}

// TestQuantile compares quantiles with the exact ones.
func TestQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(latencies(), 1, 300).Draw(t, "samples")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h Histogram
		for _, d := range samples {
			h.Record(d)
		}
		slices.Sort(samples)
		rank := max(int(math.Ceil(q*float64(len(samples)))), 1)
		exact, got := samples[rank-1], h.Quantile(q)
		if got < exact || float64(got-exact) > HistogramError*float64(exact) {
			t.Fatalf("the quantile %g of %d samples is %d, exactly %d", q, len(samples), got, exact)
		}
		if longest := samples[len(samples)-1]; h.Max() != longest || h.Quantile(1) != longest {
			t.Fatalf("the longest is %d or %d, exactly %d", h.Max(), h.Quantile(1), longest)
		}
	})
}

// TestMerge makes no difference between one histogram and the sum of two.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var one, other, both Histogram
		for _, d := range rapid.SliceOf(latencies()).Draw(t, "one") {
			one.Record(d)
			both.Record(d)
		}
		for _, d := range rapid.SliceOf(latencies()).Draw(t, "other") {
			other.Record(d)
			both.Record(d)
		}
		one.Merge(&other)
		if !slices.Equal(one.counts, both.counts) || one.Count() != both.Count() || one.Max() != both.Max() ||
			math.Abs(float64(one.Mean()-both.Mean())) > 1+1e-9*float64(both.Mean()) {
			t.Fatalf("merged: %d, mean %d, max %d; recorded: %d, mean %d, max %d", one.Count(), one.Mean(), one.Max(), both.Count(), both.Mean(), both.Max())
		}
	})
}

// TestBucketsCoverAll finds neither gap nor overlap between buckets.
func TestBucketsCoverAll(t *testing.T) {
	next := uint64(0)
	for i := range buckets {
		last := uint64(upper(i))
		if last < next || bucket(next) != i || bucket(last) != i {
			t.Fatalf("bucket %d goes from %d to %d, which are in %d and %d", i, next, last, bucket(next), bucket(last))
		}
		next = last + 1
	}
	if next != math.MaxInt64+1 {
		t.Errorf("the last bucket ends at %d", next-1)
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	if h.Count() != 0 || h.Max() != 0 || h.Mean() != 0 || h.Quantile(.5) != 0 {
		t.Errorf("an empty histogram holds something: %v", h)
	}
	h.Record(-time.Second)
	if h.Count() != 1 || h.Max() != 0 || h.Quantile(.5) != 0 {
		t.Errorf("a negative latency is not 0: %v", h)
	}
}

// TestLongestLatency has an average that a float64 cannot tell from one too long.
func TestLongestLatency(t *testing.T) {
	var h Histogram
	h.Record(math.MaxInt64)
	if h.Mean() != math.MaxInt64 || h.Max() != math.MaxInt64 || h.Quantile(1) != math.MaxInt64 {
		t.Errorf("mean %d, max %d, quantile %d", h.Mean(), h.Max(), h.Quantile(1))
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	d := time.Duration(1)
	for b.Loop() {
		h.Record(d & math.MaxUint32)
		d = d*6364136223846793005 + 1442695040888963407
	}
}
