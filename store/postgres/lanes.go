package postgres

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// maxLanes is how many batches are under way at once. With one, the server is
	// idle while we encode and decode; with three, batches were a quarter smaller, and
	// each costs a commit.
	maxLanes = 2
	// maxBatch bounds how many rotations share a statement, and with it how long the
	// first of them waits for the last: a few milliseconds.
	maxBatch = 128
	// maxAlone is how many rotations are under way outside of batches. Each may wait
	// for a lock as long as a statement may.
	maxAlone = 4
)

// lanes sends rotations to the database. One that finds a lane free is sent at
// once. Those that arrive while all lanes are busy wait, and the next lane that has
// its answer takes all of them as one batch.
//
// What a batch has left as it was, because the token is dead, because somebody
// holds the row, or because one of the batch has made the statement fail, is then
// sent alone, beside the lanes.
type lanes struct {
	together line
	alone    line
}

// line is a queue of rotations and the goroutines that work on it.
type line struct {
	store      *Store
	statement  string
	maxWorkers int
	maxBatch   int
	next       *line // for what is left; nil: none

	mu      sync.Mutex
	ended   *sync.Cond // a worker has ended
	queue   []*rotation
	workers int
	closed  bool

	sent atomic.Int64 // statements, for tests
}

// rotation is one caller's rotation and its outcome.
type rotation struct {
	asked   innkeeper.Rotation
	matched bool // session and user are there
	session innkeeper.Session
	user    innkeeper.Subject
	err     error

	tries int
	state atomic.Int32
	done  chan struct{} // closed when the outcome is there for good
}

// The states of a rotation. A caller whose context ends may leave only one that is
// waiting: afterwards it is too late to say that nothing was written.
const (
	waiting int32 = iota
	taken
	left
)

func newLanes(s *Store) *lanes {
	l := &lanes{}
	l.together = line{store: s, statement: rotateTogether, maxWorkers: maxLanes, maxBatch: maxBatch, next: &l.alone}
	l.alone = line{store: s, statement: rotateAlone, maxWorkers: maxAlone, maxBatch: 1}
	l.together.ended = sync.NewCond(&l.together.mu)
	l.alone.ended = sync.NewCond(&l.alone.mu)
	return l
}

// rotate sends a rotation and returns when its outcome is known.
func (l *lanes) rotate(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	if err := ctx.Err(); err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, err
	}
	r.Client.UserAgent = text(r.Client.UserAgent)
	item := &rotation{asked: r, done: make(chan struct{})}
	if !l.together.enqueue(item) {
		return innkeeper.Session{}, innkeeper.Subject{}, ErrClosed
	}
	select {
	case <-item.done:
	case <-ctx.Done():
		if item.state.CompareAndSwap(waiting, left) {
			return innkeeper.Session{}, innkeeper.Subject{}, ctx.Err()
		}
		<-item.done
	}
	if item.err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, item.err
	}
	return item.session, item.user, nil
}

// close finishes what is queued. What the lanes leave is queued behind them, so
// that comes last.
func (l *lanes) close() {
	l.together.close()
	l.alone.close()
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for l.workers > 0 {
		l.ended.Wait()
	}
}

// enqueue puts a rotation in line. It returns false after close.
func (l *line) enqueue(item *rotation) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.push(item)
	return true
}

// again puts rotations in line of which nothing has been written. Their callers may
// leave once more. A line that is closing takes them: whoever hands them over is at
// work, and close waits for that.
func (l *line) again(items []*rotation) {
	for _, item := range items {
		item.matched = false
		item.state.Store(waiting)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.push(items...)
}

// push puts rotations in line, and hires workers if there may be more.
func (l *line) push(items ...*rotation) {
	l.queue = append(l.queue, items...)
	for range min(len(items), l.maxWorkers-l.workers) {
		l.workers++
		go l.work()
	}
}

// work sends what is in line until there is nothing left.
//
// Nobody is taken from the queue before there is a connection, so a caller can
// leave meanwhile. The connection is given back after each batch: others wait for
// one too, and whether it still works is looked at when it is taken.
func (l *line) work() {
	w := worker{line: l}
	for l.more() {
		conn, err := l.store.acquire(context.Background())
		if err != nil {
			l.fail(err)
			continue
		}
		// Whoever has just been answered, and whoever else is ready to run, may get in
		// line first. It makes batches larger when there is much to do, and takes no
		// time when there is not.
		runtime.Gosched()
		w.items = l.take(w.items[:0])
		if len(w.items) > 0 {
			w.send(conn.Conn(), w.items)
		}
		conn.Release()
	}
}

// more returns false if a worker has nothing to do and ends.
func (l *line) more() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		return true
	}
	l.workers--
	l.ended.Broadcast()
	return false
}

// take moves rotations from the queue to a batch: those whose callers still wait,
// and of each session only the first. The others stay in line: a statement can
// update a row only once.
func (l *line) take(items []*rotation) []*rotation {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.queue[:0]
	for i, item := range l.queue {
		switch {
		case len(items) == l.maxBatch:
			kept = append(kept, l.queue[i:]...)
			clear(l.queue[len(kept):])
			l.queue = kept
			return items
		case contains(items, item.asked.SessionID):
			kept = append(kept, item)
		case item.state.CompareAndSwap(waiting, taken):
			items = append(items, item)
		}
	}
	clear(l.queue[len(kept):])
	l.queue = kept
	return items
}

func contains(items []*rotation, id innkeeper.SessionID) bool {
	for _, item := range items {
		if item.asked.SessionID == id {
			return true
		}
	}
	return false
}

// fail empties the queue: if the database does not answer, nobody in line is made
// to find out for themselves.
func (l *line) fail(err error) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, item := range queue {
		if item.state.CompareAndSwap(waiting, taken) {
			item.answer(err)
		}
	}
}

func (item *rotation) answer(err error) {
	item.err = err
	close(item.done)
}

// worker is a goroutine that works on a line, with what it uses again and again.
type worker struct {
	line  *line
	batch batch
	items []*rotation
}

// send sends a batch and answers it.
func (w *worker) send(conn *pgx.Conn, items []*rotation) {
	rest, err := w.try(conn, items)
	switch next := w.line.next; {
	case err == nil:
		for _, item := range items {
			switch {
			case item.matched:
				item.answer(nil)
			case next == nil:
				item.answer(innkeeper.ErrNoMatch)
			}
		}
		if next != nil {
			next.again(rest)
		}
	case next != nil && isolable(err):
		next.again(items)
	case next == nil && unwritten(err) && items[0].tries < maxTries:
		items[0].tries++
		w.line.again(items)
	default:
		for _, item := range items {
			item.answer(err)
		}
		if pgconn.Timeout(err) {
			w.line.fail(err)
		}
	}
}

// try sends a batch and returns those that it has left as they were. With an error,
// nothing is known of any.
func (w *worker) try(conn *pgx.Conn, items []*rotation) (rest []*rotation, err error) {
	defer func() {
		if value := recover(); value != nil {
			closeNow(conn) // it may be in the middle of an answer
			err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
		}
	}()
	ctx, cancel := w.line.store.begin(context.Background())
	defer cancel()
	w.line.sent.Add(1)
	rest, err = w.batch.send(ctx, conn, w.line.statement, items)
	return rest, w.line.store.retire(conn, err)
}
