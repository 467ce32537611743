package innkeeper

import (
	"context"
	"sync"
)

// Run does what goes on beside requests: it follows the revocation feed of the
// store, so that other servers' revocations count here, keeps the signing keys
// moving, writes down once a minute who was turned away, and delivers events to
// webhooks. It returns when ctx ends, and never before: what fails is tried again.
//
// Every server calls it, in a goroutine of its own. Until it has read the feed once,
// [Authority.Check], [Authority.Revocations] and [Authority.Ready] return
// [ErrUnavailable]; a call of Revocations with a wait is how to wait for that before
// the first request is let in:
//
//	go authority.Run(ctx)
//	_, err := authority.Revocations(ctx, 0, 10*time.Second)
//
// When ctx ends, all who wait for revocations are answered at once: end it before a
// server waits for its last requests.
func (a *Authority) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { a.runFeed(ctx) })
	tasks.Go(func() { a.runKeys(ctx) })
	tasks.Go(func() { a.runFailures(ctx) })
	if a.courier != nil {
		tasks.Go(func() { a.runDeliveries(ctx) })
	}
	tasks.Wait()
}
