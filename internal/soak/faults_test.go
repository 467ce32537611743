package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// The bounds that a server has to keep, whatever becomes of its store.
const (
	// answerBound is how long a client may wait for an answer, good or 503. The stores
	// wait about 5 s for each answer, and a refresh may have to wait for the one before
	// it. Where nothing comes back at all, 503 comes after one such time; the test logs
	// how long it took.
	answerBound = 12 * time.Second
	// recoveryBound is how long after the end of a fault everybody is served again, by
	// servers that nobody has touched.
	recoveryBound = 10 * time.Second
)

// TestFaults takes a store away from under a running server, in every way in which
// a store can be away, while honest clients refresh. What they may get is the truth
// or 503 with Retry-After, in time; never a 401, and never an answer that is later
// forgotten. When the fault is over all of them go on, with the token of the latest
// answer that they got and the key that they had.
func TestFaults(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, store string
		victim      int // of the engines
	}{
		{"postgres", onPostgres, 0},
		{"redis, when the database fails", onRedis, 0},
		{"redis, when redis fails", onRedis, 1},
	}
	// They wait most of the time, so all of them run at once, however few the
	// processors are.
	var all sync.WaitGroup
	defer all.Wait()
	run := func(name string, test func(*testing.T)) { all.Go(func() { t.Run(name, test) }) }
	for _, c := range cases {
		run(c.name, func(t *testing.T) {
			i := open(t, innConfig{store: c.store, nodes: 1})
			a := newAfflicted(t, i)
			for _, f := range engineFaults(i.engines[c.victim]) {
				a.through(f)
			}
		})
	}
	run("sqlite", func(t *testing.T) {
		i := open(t, innConfig{store: onSQLite, nodes: 1})
		a := newAfflicted(t, i)
		a.through(lockedByAnother(t, i, time.Second))
		a.through(lockedByAnother(t, i, 6*time.Second))
	})
	run("sqlite on a disk that is full", diskFull)
}

// hardship is a fault that lasts.
type hardship struct {
	name  string
	lasts time.Duration
	begin func(context.Context) error
	end   func(context.Context) error
	// refused says that clients have to be told 503, since the store cannot be
	// reached at all. Otherwise it is only slow, and nobody has to come back.
	refused bool
}

// engineFaults are those of a database server.
func engineFaults(e *engine) []hardship {
	path := e.paths[0]
	pass := func(context.Context) error { return path.Pass() }
	delay := func(d time.Duration) func(context.Context) error {
		return func(context.Context) error {
			path.Delay(d)
			return nil
		}
	}
	cut, endCuts := repeatedly(path.Cut)
	return []hardship{
		{"slow, but not too slow", 2 * time.Second, delay(200 * time.Millisecond), delay(0), false},
		{"stopped", time.Second, e.server.Stop, e.server.Start, true},
		{"killed", 0, func(context.Context) error { return e.server.Kill() }, e.server.Start, true},
		{"refusing", time.Second, func(context.Context) error { path.Cut(); return path.Refuse() }, pass, true},
		{"cut off again and again", time.Second, cut, endCuts, true},
		{"slowed to 5 s", time.Second, delay(5 * time.Second), delay(0), true},
		{"black-holed", time.Second, func(context.Context) error { path.Hang(); return nil }, pass, true},
		{"frozen", time.Second, func(context.Context) error { return e.server.Freeze() },
			func(context.Context) error { return e.server.Thaw() }, true},
	}
}

// repeatedly does something again and again, from the first function until the second: a
// cut between two requests is felt by nobody.
func repeatedly(do func()) (begin, end func(context.Context) error) {
	var stop context.CancelFunc
	stopped := make(chan struct{})
	begin = func(ctx context.Context) error {
		ctx, stop = context.WithCancel(ctx)
		go func() {
			defer close(stopped)
			for ctx.Err() == nil {
				do()
				sleep(ctx, 50*time.Millisecond)
			}
		}()
		return nil
	}
	end = func(context.Context) error {
		stop()
		<-stopped
		return nil
	}
	return begin, end
}

// afflicted is an inn under load, and under test.
type afflicted struct {
	t        *testing.T
	inn      *inn
	diary    *diary
	regulars []*regular
}

func newAfflicted(t *testing.T, i *inn) *afflicted {
	t.Helper()
	d := &diary{}
	regulars, err := newRegulars(t.Context(), i.urls(), 16, d)
	if err != nil {
		t.Fatal(err)
	}
	return &afflicted{t, i, d, regulars}
}

// through brings the inn through a fault.
func (a *afflicted) through(f hardship) {
	a.t.Helper()
	ctx, stop := context.WithCancel(a.t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		liveAll(ctx, a.regulars, 60*time.Millisecond)
	}()
	// A refresh of each, so that there is something to lose.
	a.await(func(p *page) bool { return p.refreshes >= len(a.regulars) })
	before := a.diary.turn()
	if err := f.begin(a.t.Context()); err != nil {
		a.t.Fatalf("%s: %v", f.name, err)
	}
	time.Sleep(f.lasts)
	if f.refused {
		a.await(func(p *page) bool { return p.unavailable > 0 })
	}
	if err := f.end(a.t.Context()); err != nil {
		a.t.Fatalf("end of %s: %v", f.name, err)
	}
	recovery, err := a.recover(stop, done)
	during := a.diary.turn()
	a.judge(f, before, during)
	if err != nil {
		a.t.Errorf("%s: not everybody could go on within %v: %v", f.name, recoveryBound, err)
	}
	a.t.Logf("%s: %d refreshes, %d times 503, the slowest answer after %.1f s; recovered within %.1f s",
		f.name, during.refreshes, during.unavailable, during.slowest.Seconds(), recovery.Seconds())
}

// await waits until the diary says so, and no longer than that takes.
func (a *afflicted) await(enough func(*page) bool) {
	for begin, done := time.Now(), false; !done && time.Since(begin) < 15*time.Second; {
		time.Sleep(10 * time.Millisecond)
		a.diary.note(func(p *page) { done = enough(p) })
	}
}

// recover waits until every regular has refreshed once more.
func (a *afflicted) recover(stop func(), done <-chan struct{}) (time.Duration, error) {
	begin := time.Now()
	stop()
	<-done // what was asked during the fault is answered
	err := goOnAll(a.t.Context(), a.regulars, recoveryBound)
	return time.Since(begin), err
}

func (a *afflicted) judge(f hardship, before, during page) {
	a.t.Helper()
	for _, problem := range append(before.problems, during.problems...) {
		a.t.Errorf("%s: %v", f.name, problem)
	}
	switch {
	case before.refreshes == 0 || before.retries > 0:
		a.t.Errorf("before %s: %d refreshes, %d retries", f.name, before.refreshes, before.retries)
	case f.refused && during.unavailable == 0:
		a.t.Errorf("%s: nobody was told 503: the test proves nothing", f.name)
	case !f.refused && during.retries > 0:
		a.t.Errorf("%s: %d tries had to be repeated", f.name, during.retries)
	}
	if during.slowest > answerBound {
		a.t.Errorf("%s: an answer took %v, more than %v", f.name, during.slowest, answerBound)
	}
}

// lockedByAnother lets another process hold SQLite's only write lock for a while.
// The server waits 5 s for it.
func lockedByAnother(t *testing.T, i *inn, lasts time.Duration) hardship {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(i.data(), "innkeeper.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var lock *sql.Conn
	do := func(statement string) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			if lock == nil {
				if lock, err = db.Conn(ctx); err != nil {
					return err
				}
			}
			for {
				_, err = lock.ExecContext(ctx, statement)
				if err == nil || !strings.Contains(err.Error(), "SQLITE_BUSY") {
					return err
				}
			}
		}
	}
	return hardship{
		name: fmt.Sprintf("locked by another process for %v", lasts), lasts: lasts, refused: lasts > 5*time.Second,
		begin: do("begin immediate"), end: do("rollback"),
	}
}

// diskFull puts the data of a server on a file system of a few megabytes, and fills
// that. The file system is mounted in a name space of the server alone, and goes
// with it.
func diskFull(t *testing.T) {
	i := open(t, innConfig{store: onSQLite, nodes: 1, smallDisk: "16m"})
	a := newAfflicted(t, i)
	// A file below the root of the process, as the process sees it.
	ballast := filepath.Join(fmt.Sprintf("/proc/%d/root", i.nodes[0].pid()), i.data(), "ballast")
	var written atomic.Int64
	a.through(hardship{
		name: "disk full", lasts: 2 * time.Second, refused: true,
		begin: func(context.Context) error {
			n, err := fill(ballast)
			written.Store(n)
			return err
		},
		end: func(context.Context) error { return os.Remove(ballast) },
	})
	t.Logf("filled it with %d KiB", written.Load()>>10)
}

// fill writes to a file until the disk is full.
func fill(file string) (int64, error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var written int64
	for size := 1 << 20; size > 0; size /= 2 {
		for {
			n, err := f.Write(make([]byte, size))
			written += int64(n)
			if err != nil {
				break
			}
		}
	}
	if written == 0 {
		return 0, errors.New("nothing could be written: the test proves nothing")
	}
	return written, nil
}
