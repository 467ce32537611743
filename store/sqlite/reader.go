package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// readers is a pool of connections that cannot write.
type readers struct {
	dsn    string
	idle   chan *conn // as many as there may be; nil: not opened yet
	closed chan struct{}
	close  func() error
}

func newReaders(dsn string, n int) *readers {
	r := &readers{dsn: dsn, idle: make(chan *conn, n), closed: make(chan struct{})}
	for range n {
		r.idle <- nil
	}
	r.close = sync.OnceValue(r.closeAll)
	return r
}

// read runs f on a connection of its own. Each statement in it sees what had
// been committed when the statement began, and so every write that was answered
// before. Once begun it is finished, see [conn.each].
func (r *readers) read(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.closed:
		return ErrClosed
	default:
	}
	var c *conn
	select {
	case c = <-r.idle:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closed:
		return ErrClosed
	}
	defer func() { r.idle <- c }()
	if c == nil {
		opened, err := connect(r.dsn)
		if err != nil {
			return fmt.Errorf("open for reading: %w", err)
		}
		c = opened
	}
	return f(c)
}

// closeAll waits for the reads that have begun.
func (r *readers) closeAll() error {
	close(r.closed)
	var errs []error
	for range cap(r.idle) {
		if c := <-r.idle; c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// readOne reads at most one row, and returns false if there is none.
func readOne[T any](ctx context.Context, r *readers, scan func(*row) T, query string, args ...any) (T, bool, error) {
	var found []T
	err := r.read(ctx, func(c *conn) (err error) {
		found, err = all(c, scan, query, args...)
		return err
	})
	if err != nil || len(found) == 0 {
		return *new(T), false, err
	}
	return found[0], true, nil
}

// readAll reads rows; none give nil.
func readAll[T any](ctx context.Context, r *readers, scan func(*row) T, query string, args ...any) ([]T, error) {
	var found []T
	err := r.read(ctx, func(c *conn) (err error) {
		found, err = all(c, scan, query, args...)
		return err
	})
	return found, err
}

// all runs a query on a connection and returns its rows as scan reads them.
func all[T any](c *conn, scan func(*row) T, query string, args ...any) ([]T, error) {
	var found []T
	err := c.each(query, args, func(r *row) error {
		found = append(found, scan(r))
		return r.err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
