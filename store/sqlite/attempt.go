package sqlite

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// Attempts implements [innkeeper.AttemptStore].
func (s *Store) Attempts(ctx context.Context, key innkeeper.AttemptKey) (innkeeper.Attempts, error) {
	attempts, _, err := readOne(ctx, s.readers, (*row).attempts, `select count, last_at from attempt where key = ?`, key[:])
	return attempts, wrap("read attempts", err)
}

func (r *row) attempts() innkeeper.Attempts {
	return innkeeper.Attempts{Count: int(r.integer()), LastAt: r.time()}
}

// SwapAttempts implements [innkeeper.AttemptStore].
func (s *Store) SwapAttempts(ctx context.Context, key innkeeper.AttemptKey, old, next innkeeper.Attempts) (bool, error) {
	const (
		insert = `insert into attempt (key, count, last_at) values (?, ?, ?) on conflict (key) do nothing`
		remove = `delete from attempt where key = ? and count = ? and last_at = ?`
		update = `update attempt set count = ?4, last_at = ?5 where key = ?1 and count = ?2 and last_at = ?3`
	)
	var changed int64
	err := s.writer.writeStatement(ctx, func(c *conn) (err error) {
		switch {
		case old.IsZero():
			changed, err = c.exec(insert, key[:], next.Count, next.LastAt)
		case next.IsZero():
			changed, err = c.exec(remove, key[:], old.Count, old.LastAt)
		default:
			changed, err = c.exec(update, key[:], old.Count, old.LastAt, next.Count, next.LastAt)
		}
		return err
	})
	return changed > 0, wrap("swap attempts", err)
}

// SweepAttempts implements [innkeeper.AttemptStore].
func (s *Store) SweepAttempts(ctx context.Context, before time.Time, limit int) (int, error) {
	const query = `delete from attempt where key in (select key from attempt where last_at < ? limit ?)`
	swept, err := s.remove(ctx, query, before, limit)
	return swept, wrap("sweep attempts", err)
}
