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
	// defaultSweepBatch bounds one write, which everybody's refreshes wait for.
	defaultSweepBatch = 500
)

// SweepPolicy says what [Authority.Sweep] may delete, and how much at once.
type SweepPolicy struct {
	// SessionRetention is how long a session is kept after it has ended or expired.
	// Until then its tokens are told the reason; afterwards only that the session is
	// over. The zero value means 7 days.
	SessionRetention time.Duration
	// Batch is how many rows one write deletes at most. The zero value means 500.
	Batch int
}

// Swept counts what a sweep has deleted.
type Swept struct {
	Sessions, Revocations int
}

// Sweep deletes sessions that ended or expired long ago, and revocations that
// have outlived every token they could concern. Nothing that still decides
// anything is touched, so any number of servers may sweep one store at once.
//
// It deletes in batches, and after each one rests for as long as it took: however
// much there is to delete, refreshes get at least half of the store's time.
//
// It returns what it has deleted, also beside an error: the context's when that
// ends, [ErrUnavailable] for a store that does not answer. Sweep again later; it
// goes on where it was.
func (a *Authority) Sweep(ctx context.Context, policy SweepPolicy) (Swept, error) {
	if policy.SessionRetention < 0 || policy.Batch < 0 {
		return Swept{}, &InputError{Field: "session-retention", Detail: "choose a positive time"}
	}
	if policy.SessionRetention == 0 {
		policy.SessionRetention = defaultSessionRetention
	}
	if policy.Batch == 0 {
		policy.Batch = defaultSweepBatch
	}
	var (
		swept Swept
		err   error
		now   = a.now()
	)
	swept.Sessions, err = a.inBatches(ctx, policy.Batch, func() (int, error) {
		return a.stores.Sessions.SweepSessions(ctx, now.Add(-policy.SessionRetention), policy.Batch)
	})
	if err != nil {
		return swept, sweepError(ctx, "sweep sessions", err)
	}
	swept.Revocations, err = a.inBatches(ctx, policy.Batch, func() (int, error) {
		return a.stores.Revocations.SweepRevocations(ctx, now.Add(-RevocationRetention), policy.Batch)
	})
	return swept, sweepError(ctx, "sweep revocations", err)
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
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return unavailable(fmt.Errorf("%s: %w", doing, err))
}
