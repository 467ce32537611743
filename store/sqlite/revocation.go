package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// revoke appends an entry to the feed. It is the last thing that a write does.
// Its number is taken under the write lock and becomes visible with the commit,
// so whoever has seen an entry has seen all the smaller ones.
func revoke(c *conn, entry innkeeper.Revocation) error {
	const (
		count  = `update revocation_counter set last = max(last + 1, ?) where only = 1 returning last`
		insert = `insert into revocation (seq, at, kind, id) values (?, ?, ?, ?)`
	)
	last, err := all(c, (*row).integer, count, entry.At)
	if err != nil {
		return err
	}
	if len(last) != 1 {
		return errors.New("the counter of the revocation feed is missing")
	}
	_, err = c.exec(insert, last[0], entry.At, string(entry.Kind), entry.ID)
	return err
}

// Revocations implements [innkeeper.RevocationStore].
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	entries, err := readAll(ctx, s.readers, (*row).revocation,
		`select seq, at, kind, id from revocation where seq > ? order by seq limit ?`, after, limit)
	return entries, wrap("read revocations", err)
}

// LastRevocation implements [innkeeper.RevocationStore].
func (s *Store) LastRevocation(ctx context.Context) (int64, error) {
	last, _, err := readOne(ctx, s.readers, (*row).integer, `select last from revocation_counter where only = 1`)
	return last, wrap("read the last revocation", err)
}

func (r *row) revocation() innkeeper.Revocation {
	return innkeeper.Revocation{
		Seq: r.integer(), At: r.time(), Kind: innkeeper.RevocationKind(r.text()), ID: r.text(),
	}
}

// Revoke implements [innkeeper.RevocationStore].
func (s *Store) Revoke(ctx context.Context, entry innkeeper.Revocation, event innkeeper.Event) error {
	err := s.writer.write(ctx, func(c *conn) error {
		known, err := c.one(`select 1 from revocation where kind = ? and id = ?`, string(entry.Kind), entry.ID)
		if err != nil {
			return err
		}
		if known == nil {
			err = logEvent(c, event)
		} else {
			var gone int64
			gone, err = c.exec(`delete from revocation where kind = ? and id = ? and kind <> 'key' and at < ?`,
				string(entry.Kind), entry.ID, entry.At.Add(-innkeeper.RevocationRenewal))
			if gone == 0 {
				return err // it is young enough
			}
		}
		if err != nil {
			return err
		}
		return revoke(c, entry)
	})
	return wrap("revoke", err)
}

// SweepRevocations implements [innkeeper.RevocationStore].
func (s *Store) SweepRevocations(ctx context.Context, before time.Time, limit int) (int, error) {
	const query = `delete from revocation where seq in (
    select seq from revocation where kind <> 'key' and at < ? limit ?)`
	swept, err := s.remove(ctx, query, before, limit)
	return swept, wrap("sweep revocations", err)
}
