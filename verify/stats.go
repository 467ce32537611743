package verify

import (
	"errors"
	"sync/atomic"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// Stats counts verdicts since the verifier was made. Each only ever grows, as a
// counter of a monitoring system wants.
type Stats struct {
	Accepted    uint64 // tokens that were found good
	Cached      uint64 // tokens, revoked ones included, that cost no signature since they had been seen before
	Expired     uint64 // tokens that were good once
	Revoked     uint64 // tokens of ended sessions, users or keys
	Invalid     uint64 // all that were refused for anything else
	Unavailable uint64 // tokens that could not be judged
}

// counters is Stats while it counts.
type counters struct {
	accepted, cached, expired, revoked, invalid, unavailable atomic.Uint64
}

func (c *counters) count(err error) {
	switch {
	case err == nil:
		c.accepted.Add(1)
	case errors.Is(err, accesstoken.ErrExpired):
		c.expired.Add(1)
	case errors.Is(err, ErrRevoked):
		c.revoked.Add(1)
	case errors.Is(err, ErrUnavailable):
		c.unavailable.Add(1)
	default:
		c.invalid.Add(1)
	}
}

// Stats returns how many tokens were judged, and how.
func (v *Verifier) Stats() Stats {
	c := &v.counters
	return Stats{
		Accepted: c.accepted.Load(), Cached: c.cached.Load(), Expired: c.expired.Load(), Revoked: c.revoked.Load(),
		Invalid: c.invalid.Load(), Unavailable: c.unavailable.Load(),
	}
}
