package password

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// gate lets hashes in as long as there are free slots, keeps two bounded lines of
// those who wait, and turns the others away. It is a weighted semaphore with a
// limit on waiting.
//
// The first line is served before the second, and each strictly in order. A hash that
// needs many slots therefore holds up smaller ones behind it, and is in turn never
// starved by them.
type gate struct {
	capacity int
	queue    int // how many may wait in each line

	mu    sync.Mutex
	free  int
	lines [2][]*waiter // the first of each comes first
}

// The lines of a gate.
const (
	firstLine  = 0
	secondLine = 1
)

type waiter struct {
	slots    int
	admitted chan struct{} // closed once the slots are taken for the waiter
}

func newGate(capacity, queue int) *gate {
	return &gate{capacity: capacity, queue: queue, free: capacity}
}

// enter takes slots, at most capacity of them, and waits in a line for its turn if need
// be. It returns [ErrBusy] at once if too many wait there already, and an error that wraps
// ctx.Err() if the context ends first. Unless the error is nil it has taken
// nothing.
func (g *gate) enter(ctx context.Context, line, slots int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := g.takeOrQueue(line, slots)
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
		g.abandon(line, w)
		return fmt.Errorf("wait for a turn: %w", err)
	}
	return nil
}

// takeOrQueue returns nothing if the slots were free, a waiter if one has to
// wait, or [ErrBusy].
func (g *gate) takeOrQueue(line, slots int) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isNext(line) && slots <= g.free {
		g.free -= slots
		return nil, nil
	}
	if len(g.lines[line]) >= g.queue {
		return nil, ErrBusy
	}
	w := &waiter{slots: slots, admitted: make(chan struct{})}
	g.lines[line] = append(g.lines[line], w)
	return w, nil
}

// isFull reports whether nobody more may wait in a line.
func (g *gate) isFull(line int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lines[line]) >= g.queue && (g.free == 0 || !g.isNext(line))
}

// isNext reports whether whoever comes to a line now has nobody to wait for.
func (g *gate) isNext(line int) bool {
	for _, waiting := range g.lines[:line+1] {
		if len(waiting) > 0 {
			return false
		}
	}
	return true
}

// abandon takes a waiter out of the line, or gives back what it was given.
func (g *gate) abandon(line int, w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.lines[line], w); i >= 0 {
		g.lines[line] = slices.Delete(g.lines[line], i, i+1)
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

// admit lets in those at the head of the lines who fit. The caller holds mu.
func (g *gate) admit() {
	for line := range g.lines {
		waiting := &g.lines[line]
		for len(*waiting) > 0 && (*waiting)[0].slots <= g.free {
			w := (*waiting)[0]
			*waiting = slices.Delete(*waiting, 0, 1)
			g.free -= w.slots
			close(w.admitted)
		}
		if len(*waiting) > 0 {
			return // nobody passes them
		}
	}
}
