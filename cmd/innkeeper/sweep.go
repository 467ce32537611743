package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

const (
	sweepInterval = 5 * time.Minute
	// sessionRetention is how long an ended session is kept, so that its tokens are
	// still told why it ended.
	sessionRetention = 7 * 24 * time.Hour
	// sweepBatch bounds one write, which everybody's refreshes wait for.
	sweepBatch = 500
)

// sweepPeriodically deletes what is no longer needed, until the context ends or
// the returned function is called, which waits for the sweep that has begun.
func sweepPeriodically(ctx context.Context, stores innkeeper.Stores, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		ticker := time.NewTicker(sweepInterval)
		defer ticker.Stop()
		for {
			sweep(ctx, stores, time.Now(), log)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// sweep deletes sessions that ended long ago and revocations that outlived every
// token they could concern.
func sweep(ctx context.Context, stores innkeeper.Stores, now time.Time, log *slog.Logger) {
	sessions, err := inBatches(ctx, func() (int, error) {
		return stores.Sessions.SweepSessions(ctx, now.Add(-sessionRetention), sweepBatch)
	})
	if err == nil {
		var revocations int
		revocations, err = inBatches(ctx, func() (int, error) {
			return stores.Revocations.SweepRevocations(ctx, now.Add(-innkeeper.RevocationRetention), sweepBatch)
		})
		log.Debug("swept", "sessions", sessions, "revocations", revocations)
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("could not sweep: trying again later", "error", err)
	}
}

// inBatches deletes until a batch is not full, and returns how many were deleted.
func inBatches(ctx context.Context, deleteBatch func() (int, error)) (int, error) {
	for total := 0; ; {
		n, err := deleteBatch()
		total += n
		if err != nil || n < sweepBatch || ctx.Err() != nil {
			return total, err
		}
	}
}
