package load

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts latencies in buckets whose width grows with the latency, so
// that a run of hours takes no more memory than one of seconds: 57 KiB. What it
// returns is exact to within [HistogramError]. The zero value is empty and ready
// to use. It is not safe for concurrent use.
//
// Below 2·perOctave nanoseconds each value has a bucket. Every further octave,
// from one power of two to the next, has perOctave buckets of equal width.
type Histogram struct {
	counts []uint64 // nil: nothing was recorded
	count  uint64
	sum    float64 // of seconds
	max    time.Duration
}

const (
	octaveBits = 7
	perOctave  = 1 << octaveBits
	buckets    = (64 - octaveBits) * perOctave // up to the longest time.Duration
)

// HistogramError bounds the relative error of a quantile: it is never below the
// exact one, and above it by at most this part of it.
const HistogramError = 1.0 / perOctave

// Record counts a latency. A negative one, of a clock that was set back, counts as 0.
func (h *Histogram) Record(d time.Duration) {
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.count++
	h.sum += d.Seconds()
	h.max = max(h.max, d)
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.count == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count returns how many latencies were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest latency, exactly; 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the average; 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	mean := math.Round(h.sum / float64(h.count) * float64(time.Second))
	if mean >= float64(h.max) { // by rounding: there may be no Duration as long as that
		return h.max
	}
	return time.Duration(mean)
}

// Quantile returns the latency that the fraction q of the requests stayed within;
// 0 if there were none. See [HistogramError].
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.count)))
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// bucket returns the index of the bucket of a value.
func bucket(v uint64) int {
	octave := max(bits.Len64(v)-octaveBits-1, 0)
	return octave*perOctave + int(v>>octave) //nolint:gosec // below 2·perOctave
}

// upper returns the largest value of a bucket.
func upper(i int) time.Duration {
	octave := max(i/perOctave-1, 0)
	mantissa := uint64(i - octave*perOctave)       //nolint:gosec // not negative: octave ≤ i/perOctave
	return time.Duration((mantissa+1)<<octave - 1) //nolint:gosec // at most the longest time.Duration
}
