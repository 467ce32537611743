package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// sweepFlags say how long what is over is kept.
type sweepFlags struct {
	SessionRetention time.Duration `default:"168h" help:"how long a session that has ended is kept, so that its tokens are still told why"`
	EventRetention   time.Duration `default:"9600h" help:"how long the audit log goes back, 24h or more; 0 keeps it for good"`
	SweepInterval    time.Duration `default:"5m" help:"how often to delete what is older than that; 0 leaves it to other servers of the database"`
}

func (f *sweepFlags) check() error {
	if f.SessionRetention <= 0 || f.SweepInterval < 0 {
		return usage(errors.New("--session-retention has to be positive, and --sweep-interval not negative"), "leave them out for the defaults")
	}
	if f.EventRetention != 0 && f.EventRetention < minEventRetention {
		return usage(fmt.Errorf("--event-retention %s is out of bounds", f.EventRetention), "choose %s or more, or 0 to keep the audit log for good", minEventRetention)
	}
	return nil
}

// minEventRetention keeps somebody who has mistaken the unit from losing the log, and
// leaves webhooks the time to be told.
const minEventRetention = 24 * time.Hour

// policy is what the authority is told: there zero is the default.
func (f *sweepFlags) policy() innkeeper.SweepPolicy {
	policy := innkeeper.SweepPolicy{SessionRetention: f.SessionRetention, EventRetention: f.EventRetention}
	if f.EventRetention == 0 {
		policy.EventRetention = -1
	}
	return policy
}

// start deletes what is no longer needed now and then, until the context ends or
// the returned function is called, which waits for the batch that has begun.
func (f *sweepFlags) start(ctx context.Context, authority *innkeeper.Authority, log *slog.Logger) (stop func()) {
	if f.SweepInterval == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		// Servers that were started together must not march in step: the first sweep
		// comes at any time within an interval, and the next ones about one later.
		wait := rand.N(f.SweepInterval) //nolint:gosec // spreads work, and guards nothing
		for sleep(ctx, wait) {
			f.sweep(ctx, authority, log)
			wait = f.SweepInterval*3/4 + rand.N(f.SweepInterval/2+1) //nolint:gosec // the same
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// sleep waits, and returns false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (f *sweepFlags) sweep(ctx context.Context, authority *innkeeper.Authority, log *slog.Logger) {
	swept, err := authority.Sweep(ctx, f.policy())
	if err != nil && ctx.Err() == nil {
		log.Warn("could not sweep: trying again later", "error", fmt.Sprint(err))
		return
	}
	log.Debug("swept", "sessions", swept.Sessions, "revocations", swept.Revocations,
		"events", swept.Events, "deliveries", swept.Deliveries, "attempts", swept.Attempts)
}
