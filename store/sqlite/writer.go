package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	engine "modernc.org/sqlite"
)

// maxGroup bounds how many writes share a commit, and with it how long the first
// of them waits for the last: a few milliseconds.
const maxGroup = 256

// writer owns the only connection of this process that writes. One goroutine
// takes writes from a queue, runs as many as it finds in one transaction, and
// answers them when the transaction is durable.
//
// SQLite lets one connection write at a time anyway; standing in a queue of our
// own costs less than contending for its lock, and lets the fsync be shared.
type writer struct {
	conn    *conn
	stopped chan struct{} // closed when the goroutine has left
	commits atomic.Int64  // how many groups were committed, for tests

	mu     sync.Mutex
	queued *sync.Cond // something is in the queue, or closed is set
	queue  []*write
	closed bool
}

// write is one caller's work.
type write struct {
	do     func(*conn) error
	single bool // do is one statement
	state  atomic.Int32
	done   chan struct{} // closed when err is set for good
	err    error
}

// The states of a write. A caller whose context ends may leave only a write that
// is waiting: afterwards it is too late to say that nothing was written.
const (
	waiting int32 = iota
	taken
	left
)

func startWriter(dsn string) (*writer, error) {
	c, err := connect(dsn)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: c, stopped: make(chan struct{})}
	w.queued = sync.NewCond(&w.mu)
	go w.run()
	return w, nil
}

// write runs do in a transaction and returns when it is durable, or failed. If do
// returns an error, what it wrote is undone.
func (w *writer) write(ctx context.Context, do func(*conn) error) error {
	return w.submit(ctx, &write{do: do})
}

// writeStatement is write for a do that runs one statement and does nothing after
// it that can fail. SQLite undoes a failed statement by itself, so it is spared
// the savepoint.
func (w *writer) writeStatement(ctx context.Context, do func(*conn) error) error {
	return w.submit(ctx, &write{do: do, single: true})
}

func (w *writer) submit(ctx context.Context, item *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	item.done = make(chan struct{})
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, item)
	w.mu.Unlock()
	w.queued.Signal()

	select {
	case <-item.done:
	case <-ctx.Done():
		if item.state.CompareAndSwap(waiting, left) {
			return ctx.Err()
		}
		<-item.done
	}
	return item.err
}

// close lets the queue run dry, and then closes the connection.
func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	w.queued.Signal()
	<-w.stopped
	if already {
		return nil
	}
	return w.conn.Close()
}

func (w *writer) run() {
	defer close(w.stopped)
	for w.wait() {
		// Whoever has just been answered, and whoever else is ready to run, may get in
		// line before the next commit. It makes groups three times larger when there is
		// much to do, and takes no time when there is not.
		runtime.Gosched()
		w.commitGroup()
	}
}

// wait returns true when there is something to write, and false when there never
// will be again.
func (w *writer) wait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && !w.closed {
		w.queued.Wait()
	}
	return len(w.queue) > 0
}

// take returns the next write whose caller still waits, or nil if there is none
// at the moment.
func (w *writer) take() *write {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		item := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if item.state.CompareAndSwap(waiting, taken) {
			return item
		}
	}
	return nil
}

// commitGroup runs the writes that it finds as one transaction. Those that arrive
// while it runs others come along.
//
// BEGIN IMMEDIATE takes the write lock before anything is read, and waits for it
// if another process has it: no statement of the group can fail for a lock later.
// Nobody is taken from the queue before that, so a caller can leave meanwhile.
func (w *writer) commitGroup() {
	group, err := w.transact()
	if err != nil {
		// This fails if SQLite has rolled back already, as it does when the disk is
		// full; then there is nothing left to do.
		_, _ = w.conn.exec("rollback")
	}
	answer(group, err)
}

func (w *writer) transact() ([]*write, error) {
	if _, err := w.conn.exec("begin immediate"); err != nil {
		return w.takeAll(), fmt.Errorf("begin: %w", err)
	}
	group, err := w.runGroup()
	if err != nil {
		return group, fmt.Errorf("transaction is lost: %w", err)
	}
	if _, err := w.conn.exec("commit"); err != nil {
		return group, fmt.Errorf("commit: %w", err)
	}
	w.commits.Add(1)
	return group, nil
}

// runGroup runs writes until the queue is empty or the group is full. It returns
// those that it has begun, and an error if their transaction is lost.
func (w *writer) runGroup() ([]*write, error) {
	var group []*write
	for len(group) < maxGroup {
		item := w.take()
		if item == nil {
			break
		}
		group = append(group, item)
		if err := w.apply(item); err != nil {
			return group, err
		}
	}
	return group, nil
}

// takeAll empties the queue: when the lock could not be had, nobody in it is made
// to wait as long again.
func (w *writer) takeAll() []*write {
	var all []*write
	for item := w.take(); item != nil; item = w.take() {
		all = append(all, item)
	}
	return all
}

// answer tells a group what has become of it. If its transaction failed, those too
// who had been refused: the refusal may rest on a write that is undone now.
func answer(group []*write, failure error) {
	for _, item := range group {
		if failure != nil {
			item.err = failure
		}
		close(item.done)
	}
}

// apply runs one write, keeps its error for the answer, and undoes a write that
// failed. It returns an error if the whole transaction is lost.
func (w *writer) apply(item *write) error {
	if item.single {
		return w.applyStatement(item)
	}
	if _, err := w.conn.exec("savepoint item"); err != nil {
		return err
	}
	item.err = protect(item.do, w.conn)
	if item.err != nil {
		// Fails if SQLite has rolled back the transaction, and the savepoint with it.
		if _, err := w.conn.exec("rollback to item"); err != nil {
			return item.err
		}
	}
	_, err := w.conn.exec("release item")
	return err
}

// applyStatement is apply without a savepoint. A statement that fails has undone
// itself, or, for a few errors such as a full disk, the whole transaction. SQLite
// tells which only to those who ask: one can begin where no transaction is.
func (w *writer) applyStatement(item *write) error {
	item.err = protect(item.do, w.conn)
	var failed *engine.Error
	var crash *panicError
	switch {
	case errors.As(item.err, &crash):
		return item.err // and nobody knows whether the statement had run
	case errors.As(item.err, &failed):
		if _, err := w.conn.exec("begin"); err == nil {
			return item.err
		}
	}
	return nil
}

// panicError is a panic in a write, which must not take the writer with it: every
// later write would wait for good.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func protect(do func(*conn) error, c *conn) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return do(c)
}
