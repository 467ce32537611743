package innkeeper

import (
	"context"
	"fmt"
	"time"
)

const (
	// defaultSessionRetention keeps ended sessions for a week, so that their tokens
	// are still told why they ended.
	defaultSessionRetention = 7 * 24 * time.Hour
	// defaultEventRetention lets an audit look back at a whole year.
	defaultEventRetention = 400 * 24 * time.Hour
	// maxDeliveryRetention is how long somebody has to notice a dead letter.
	maxDeliveryRetention = 30 * 24 * time.Hour
	// defaultSweepBatch bounds one write, which everybody's refreshes wait for.
	defaultSweepBatch = 500
)

// SweepPolicy says what [Authority.Sweep] may delete, and how much at once.
type SweepPolicy struct {
	// SessionRetention is how long a session is kept after it has ended or expired.
	// Until then its tokens are told the reason; afterwards only that the session is
	// over. The zero value means 7 days.
	SessionRetention time.Duration
	// EventRetention is how long an event is kept. So is a delivery to a webhook that
	// was given up, but for 30 days at most. The zero value means 400 days: a year, and a
	// month to look at it. A negative one keeps both for good.
	EventRetention time.Duration
	// Batch is how many rows one write deletes at most. The zero value means 500.
	Batch int
}

// Swept counts what a sweep has deleted.
type Swept struct {
	Sessions, Revocations, Events, Deliveries, Attempts int
}

// Sweep deletes sessions that ended or expired long ago, and revocations that
// have outlived every token they could concern, old events, and failed sign-ins of days
// ago. Nothing that still
// decides anything is touched, so any number of servers may sweep one store at once.
//
// It deletes in batches, and after each one rests for as long as it took: however
// much there is to delete, refreshes get at least half of the store's time.
//
// It returns what it has deleted, also beside an error: the context's when that
// ends, [ErrUnavailable] for a store that does not answer. Sweep again later; it
// goes on where it was.
func (a *Authority) Sweep(ctx context.Context, policy SweepPolicy) (Swept, error) {
	policy, err := policy.withDefaults()
	if err != nil {
		return Swept{}, err
	}
	var swept Swept
	now := a.now()
	for _, kind := range []struct {
		doing string
		age   time.Duration // negative: it is kept for good
		count *int
		batch func(ctx context.Context, before time.Time, limit int) (int, error)
	}{
		{"sweep sessions", policy.SessionRetention, &swept.Sessions, a.stores.Sessions.SweepSessions},
		{"sweep revocations", RevocationRetention, &swept.Revocations, a.stores.Revocations.SweepRevocations},
		{"sweep events", policy.EventRetention, &swept.Events, a.stores.Events.SweepEvents},
		{"sweep deliveries", min(policy.EventRetention, maxDeliveryRetention), &swept.Deliveries, a.stores.Deliveries.SweepDeliveries},
		{"sweep attempts", attemptRetention, &swept.Attempts, a.stores.Attempts.SweepAttempts},
	} {
		if kind.age < 0 {
			continue
		}
		*kind.count, err = a.inBatches(ctx, policy.Batch, func() (int, error) {
			return kind.batch(ctx, now.Add(-kind.age), policy.Batch)
		})
		if err != nil {
			return swept, sweepError(ctx, kind.doing, err)
		}
	}
	return swept, nil
}

func (p SweepPolicy) withDefaults() (SweepPolicy, error) {
	if p.SessionRetention < 0 || p.Batch < 0 {
		return p, &InputError{Field: "session-retention", Detail: "choose a positive time"}
	}
	if p.SessionRetention == 0 {
		p.SessionRetention = defaultSessionRetention
	}
	if p.EventRetention == 0 {
		p.EventRetention = defaultEventRetention
	}
	if p.Batch == 0 {
		p.Batch = defaultSweepBatch
	}
	return p, nil
}

// inBatches deletes until a batch is not full, and returns how many rows went.
func (a *Authority) inBatches(ctx context.Context, size int, deleteBatch func() (int, error)) (int, error) {
	for total := 0; ; {
		began := a.clock()
		n, err := deleteBatch()
		total += n
		if err != nil || n < size {
			return total, err
		}
		if err := rest(ctx, a.clock().Sub(began)); err != nil {
			return total, err
		}
	}
}

// rest waits, or returns the context's error when that ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweepError tells a caller that went away from a store that did.
func sweepError(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unavailable(fmt.Errorf("%s: %w", doing, err))
}
