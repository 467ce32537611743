package postgres

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// Attempts implements [innkeeper.AttemptStore].
func (s *Store) Attempts(ctx context.Context, key innkeeper.AttemptKey) (innkeeper.Attempts, error) {
	attempts, _, err := readOne(ctx, s, (*row).attempts, `select count, last_at from attempt where key = $1`, key[:])
	return attempts, wrap("read attempts", err)
}

func (r *row) attempts() innkeeper.Attempts {
	return innkeeper.Attempts{Count: int(r.integer()), LastAt: r.time()}
}

// SwapAttempts implements [innkeeper.AttemptStore]. A statement that finds its row
// locked looks at it again once it has the lock (READ COMMITTED).
func (s *Store) SwapAttempts(ctx context.Context, key innkeeper.AttemptKey, old, next innkeeper.Attempts) (bool, error) {
	const (
		insert = `
insert into attempt (key, count, last_at) values (@key, @next_count, @next_at)
on conflict (key) do nothing
returning 1`
		remove = `delete from attempt where key = @key and count = @count and last_at = @at returning 1`
		update = `
update attempt set count = @next_count, last_at = @next_at
where key = @key and count = @count and last_at = @at
returning 1`
	)
	args := pgx.NamedArgs{"key": key[:]}
	statement := update
	if !old.IsZero() {
		args["count"], args["at"] = old.Count, old.LastAt
	} else {
		statement = insert
	}
	if !next.IsZero() {
		args["next_count"], args["next_at"] = next.Count, next.LastAt
	} else {
		statement = remove
	}
	swapped, err := s.count(ctx, statement, args)
	return swapped > 0, wrap("swap attempts", err)
}

// SweepAttempts implements [innkeeper.AttemptStore].
func (s *Store) SweepAttempts(ctx context.Context, before time.Time, limit int) (int, error) {
	const statement = `
delete from attempt where key = any(array(
    select key from attempt where last_at < @before
    order by last_at limit @limit for update skip locked))
returning 1`
	swept, err := s.count(ctx, statement, pgx.NamedArgs{"before": before, "limit": limit})
	return swept, wrap("sweep attempts", err)
}
