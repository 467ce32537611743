package password

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// gate lets hashes in as long as there are free slots, keeps a bounded line of
// those who wait, and turns the others away. It is a weighted semaphore with a
// limit on waiting.
//
// The line is served strictly in order. A hash that needs many slots therefore
// holds up smaller ones behind it, and is in turn never starved by them.
type gate struct {
	capacity int
	queue    int // how many may wait

	mu      sync.Mutex
	free    int
	waiting []*waiter // the first comes first
}

type waiter struct {
	slots    int
	admitted chan struct{} // closed once the slots are taken for the waiter
}

func newGate(capacity, queue int) *gate {
	return &gate{capacity: capacity, queue: queue, free: capacity}
}

// enter takes slots, at most capacity of them, and waits for its turn if need be.
// It returns [ErrBusy] at once if too many wait already, and an error that wraps
// ctx.Err() if the context ends first. Unless the error is nil it has taken
// nothing.
func (g *gate) enter(ctx context.Context, slots int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := g.takeOrQueue(slots)
	if w == nil {
		return err
	}
	select {
	case <-w.admitted:
	case <-ctx.Done():
	}
	// Asked for its turn and canceled at the same time: nobody is there to read
	// the answer, so do not compute it.
	if err := ctx.Err(); err != nil {
		g.abandon(w)
		return fmt.Errorf("wait for a turn: %w", err)
	}
	return nil
}

// takeOrQueue returns nothing if the slots were free, a waiter if one has to
// wait, or [ErrBusy].
func (g *gate) takeOrQueue(slots int) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 && slots <= g.free {
		g.free -= slots
		return nil, nil
	}
	if len(g.waiting) >= g.queue {
		return nil, ErrBusy
	}
	w := &waiter{slots: slots, admitted: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	return w, nil
}

// abandon takes a waiter out of the line, or gives back what it was given.
func (g *gate) abandon(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else {
		g.free += w.slots
	}
	g.admit() // those behind a large waiter may fit now
}

// leave gives slots back.
func (g *gate) leave(slots int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free += slots
	g.admit()
}

// admit lets in those at the head of the line who fit. The caller holds mu.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.waiting[0].slots <= g.free {
		w := g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		g.free -= w.slots
		close(w.admitted)
	}
}
