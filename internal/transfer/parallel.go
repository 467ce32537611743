package transfer

import (
	"context"
	"sync"
)

// inParallel hands what produce sends to so many workers, and returns when all of
// it was worked on. The first error stops everybody, and is returned.
func inParallel[T any](
	ctx context.Context, workers int,
	produce func(ctx context.Context, send func(T) bool) error,
	do func(context.Context, T) error,
) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan T)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for item := range queue {
				if ctx.Err() != nil {
					continue // empty the queue, for the producer not to hang
				}
				if err := do(ctx, item); err != nil {
					stop(err)
				}
			}
		})
	}
	err := produce(ctx, func(item T) bool {
		select {
		case queue <- item:
			return true
		case <-ctx.Done():
			return false
		}
	})
	if err != nil {
		stop(err)
	}
	close(queue)
	wg.Wait()
	return context.Cause(ctx)
}

// each sends the items of a list.
func each[T any](items []T) func(context.Context, func(T) bool) error {
	return func(_ context.Context, send func(T) bool) error {
		for _, item := range items {
			if !send(item) {
				break
			}
		}
		return nil
	}
}
