package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// newTestWriter returns the writer of a new database with a table to write to.
func newTestWriter(t *testing.T, cfg Config) *writer {
	t.Helper()
	cfg.Path = filepath.Join(t.TempDir(), "innkeeper.db")
	store, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	err = store.writer.write(t.Context(), func(c *conn) error {
		_, err := c.exec(`create table note (text text primary key check (text <> 'refused'), body blob) strict`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return store.writer
}

func note(c *conn, text string) error {
	_, err := c.exec(`insert into note (text) values (?)`, text)
	return err
}

// notes returns what has been written for good.
func notes(t *testing.T, w *writer) string {
	t.Helper()
	var found []string
	err := w.write(t.Context(), func(c *conn) (err error) {
		found, err = all(c, (*row).text, `select text from note order by text`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, " ")
}

// hold stops the writer inside a write until release is called, and returns that
// write's error then.
func hold(t *testing.T, w *writer) (release func() error) {
	t.Helper()
	held, released, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- w.write(context.Background(), func(*conn) error {
			close(held)
			<-released
			return nil
		})
	}()
	<-held
	return func() error {
		close(released)
		return <-result
	}
}

// waitForQueue returns when n writes stand in line.
func waitForQueue(t *testing.T, w *writer, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		queued := len(w.queue)
		w.mu.Unlock()
		if queued == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d writes are in the queue, want %d", queued, n)
		}
	}
}

// together submits writes so that they share one transaction, in their order, and
// returns their errors.
func together(t *testing.T, w *writer, items ...*write) []error {
	t.Helper()
	release := hold(t, w)
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() { errs[i] = w.submit(context.Background(), item) })
		waitForQueue(t, w, i+1)
	}
	before := w.commits.Load()
	_ = release() // shares the fate of the group
	wg.Wait()
	if groups := w.commits.Load() - before; groups > 1 {
		t.Fatalf("the writes took %d commits", groups)
	}
	return errs
}

func TestWriterCommitsWhatIsQueuedAtOnce(t *testing.T) {
	w := newTestWriter(t, Config{})
	var items []*write
	for i := range 40 {
		items = append(items, &write{do: func(c *conn) error { return note(c, fmt.Sprint(i)) }, single: i%2 == 0})
	}
	before := w.commits.Load()
	for i, err := range together(t, w, items...) {
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if commits := w.commits.Load() - before; commits != 1 {
		t.Fatalf("41 writes took %d commits, want 1", commits)
	}
	if n := len(strings.Fields(notes(t, w))); n != 40 {
		t.Fatalf("%d notes were written, want 40", n)
	}
}

func TestWriterBoundsAGroup(t *testing.T) {
	w := newTestWriter(t, Config{})
	before := w.commits.Load()
	release := hold(t, w)
	var wg sync.WaitGroup
	for i := range maxGroup {
		wg.Go(func() {
			if err := w.write(context.Background(), func(c *conn) error { return note(c, fmt.Sprint(i)) }); err != nil {
				t.Error(err)
			}
		})
	}
	waitForQueue(t, w, maxGroup)
	if err := release(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if commits := w.commits.Load() - before; commits != 2 {
		t.Fatalf("%d writes took %d commits, want 2", maxGroup+1, commits)
	}
}

func TestWriterUndoesOnlyWhatFailed(t *testing.T) {
	w := newTestWriter(t, Config{})
	sentinel := errors.New("refused")
	errs := together(t, w,
		&write{do: func(c *conn) error { return note(c, "a") }},
		&write{do: func(c *conn) error { return errors.Join(note(c, "undone1"), sentinel) }},
		&write{do: func(c *conn) error { return errors.Join(note(c, "undone2"), note(c, "a")) }}, // unique
		&write{do: func(c *conn) error {
			_ = note(c, "undone3")
			return c.each(`select 1`, nil, func(*row) error { panic("on the way") })
		}},
		&write{do: func(c *conn) error { return note(c, "refused") }, single: true}, // check
		&write{do: func(*conn) error { return sentinel }, single: true},
		&write{do: func(c *conn) error { return note(c, "b") }, single: true},
		&write{do: func(c *conn) error { return c.each(`select 1`, nil, func(*row) error { return nil }) }},
	)
	for i, want := range []string{"", "refused", "UNIQUE", "panic: on the way", "CHECK", "refused", "", ""} {
		got := ""
		if errs[i] != nil {
			got = errs[i].Error()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("write %d: got error %q, want %q", i, got, want)
		}
	}
	if got := notes(t, w); got != "a b" {
		t.Fatalf("what was written is %q, want %q", got, "a b")
	}
}

func TestWriterFailsAGroupWhoseCommitFails(t *testing.T) {
	w := newTestWriter(t, Config{})
	sentinel := errors.New("refused")
	errs := together(t, w,
		&write{do: func(c *conn) error { return note(c, "a") }},
		&write{do: func(*conn) error { return sentinel }},
		&write{do: func(c *conn) error {
			// A foreign key that nobody looks at before the commit.
			_, err := c.exec(`pragma defer_foreign_keys = on`)
			if err == nil {
				_, err = c.exec(`insert into user_role (user_number, role) values (4711, 'admin')`)
			}
			return err
		}},
		&write{do: func(c *conn) error { return note(c, "b") }, single: true},
	)
	for i, err := range errs {
		if err == nil || errors.Is(err, sentinel) || !strings.Contains(err.Error(), "commit: ") {
			t.Errorf("write %d: got error %v, want that of the commit", i, err)
		}
	}
	if got := notes(t, w); got != "" {
		t.Fatalf("%q was written by a commit that failed", got)
	}
	if err := w.write(t.Context(), func(c *conn) error { return note(c, "c") }); err != nil {
		t.Fatalf("the next group fails too: %v", err)
	}
}

// A full disk makes SQLite roll the whole transaction back behind a statement's
// back. Nobody of the group may be told that their write was fine, and what comes
// later must not run outside of a transaction.
func TestWriterSurvivesAFullDisk(t *testing.T) {
	for _, single := range []bool{true, false} {
		w := newTestWriter(t, Config{})
		full := &write{single: single, do: func(c *conn) error {
			_, err := c.exec(`insert into note (text, body) values ('large', zeroblob(?))`, 1<<20)
			return err
		}}
		limit := func(query string) {
			t.Helper()
			if err := w.write(t.Context(), func(c *conn) error { return c.each(query, nil, func(*row) error { return nil }) }); err != nil {
				t.Fatal(err)
			}
		}
		limit(`pragma max_page_count = 60`)
		errs := together(t, w,
			&write{do: func(c *conn) error { return note(c, "a") }, single: true},
			full,
			&write{do: func(c *conn) error { return note(c, "b") }, single: true},
		)
		if errs[1] == nil || !strings.Contains(errs[1].Error(), "full") {
			t.Fatalf("the large note: got error %v, want that the disk is full", errs[1])
		}
		written := notes(t, w)
		for i, name := range map[int]string{0: "a", 2: "b"} {
			if (errs[i] == nil) != strings.Contains(written, name) {
				t.Errorf("note %s: got error %v, but %q is written", name, errs[i], written)
			}
		}
		limit(`pragma max_page_count = 1000000`)
		if err := w.submit(t.Context(), &write{do: full.do, single: single}); err != nil {
			t.Fatalf("there is room again: %v", err)
		}
	}
}

func TestWriterWaitsForAnotherProcess(t *testing.T) {
	w := newTestWriter(t, Config{BusyTimeout: 100 * time.Millisecond})
	path := w.conn.path(t)
	other, err := connect(Config{Path: path}.writerDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	lock := func(query string) {
		t.Helper()
		if _, err := other.exec(query); err != nil {
			t.Fatal(err)
		}
	}

	lock("begin immediate")
	err = w.write(t.Context(), func(c *conn) error { return note(c, "a") })
	if err == nil || !strings.Contains(err.Error(), "begin: ") {
		t.Fatalf("got error %v, want that of BEGIN", err)
	}
	// Whoever gives up while the lock is awaited has written nothing.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.write(ctx, func(c *conn) error { return note(c, "b") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	patient := make(chan error)
	go func() { patient <- w.write(context.Background(), func(c *conn) error { return note(c, "c") }) }()
	time.Sleep(20 * time.Millisecond) // let it find the lock taken
	lock("commit")
	if err := <-patient; err != nil {
		t.Fatal(err)
	}
	if got := notes(t, w); got != "c" {
		t.Fatalf("%q is written, want %q", got, "c")
	}
}

// path asks SQLite for the file behind a connection.
func (c *conn) path(t *testing.T) string {
	t.Helper()
	found, err := c.one(`select file from pragma_database_list where name = 'main'`)
	if err != nil {
		t.Fatal(err)
	}
	return found.text()
}

func TestCallerLeavesBeforeItsTurnOrNotAtAll(t *testing.T) {
	w := newTestWriter(t, Config{})
	release := hold(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- w.write(ctx, func(c *conn) error { return note(c, "left") }) }()
	waitForQueue(t, w, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want %v", err, context.Canceled)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	begun, finish, stayed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		stayed <- w.write(ctx, func(c *conn) error {
			close(begun)
			<-finish
			return note(c, "stayed")
		})
	}()
	<-begun
	cancel()
	select {
	case err := <-stayed:
		t.Fatalf("a caller left in the middle of its write with %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	if err := <-stayed; err != nil {
		t.Fatalf("the write was done, but its caller is told %v", err)
	}
	if got := notes(t, w); got != "stayed" {
		t.Fatalf("%q is written, want %q", got, "stayed")
	}
}

func TestCloseFinishesTheQueue(t *testing.T) {
	w := newTestWriter(t, Config{})
	release := hold(t, w)
	errs := make(chan error, 10)
	for i := range cap(errs) {
		go func() { errs <- w.write(context.Background(), func(c *conn) error { return note(c, fmt.Sprint(i)) }) }()
	}
	waitForQueue(t, w, cap(errs))
	closed := make(chan error)
	go func() { closed <- w.close() }()
	time.Sleep(5 * time.Millisecond) // let it begin; it must wait for the queue all the same
	if err := release(); err != nil {
		t.Fatal(err)
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("a write that was queued before Close: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := w.write(t.Context(), func(*conn) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Fatalf("got error %v, want %v", err, ErrClosed)
	}
}
