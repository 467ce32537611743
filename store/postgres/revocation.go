package postgres

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// countRevocation and tellRevocation append an entry to the feed, if the CTE
// "revoked" of their statement has a row. They are CTEs themselves, "counted" and
// "told".
//
// The entry's number is taken by updating the one row of the counter, whose lock is
// held until the statement has committed: whoever gets the next number does so
// after this one can be seen, and so whoever has seen an entry has seen all the
// smaller ones. A statement takes no lock after that of the counter, but for that of an
// old entry which it replaces, see [Store.Revoke]; and there is no round trip between it
// and the commit.
const (
	countRevocation = `
    insert into revocation_counter as c (one, last)
    select 1, @revocation_seq::bigint from revoked
    on conflict (one) do update set last = greatest(c.last + 1, excluded.last)
    returning last`
	tellRevocation = `
    insert into revocation (seq, at, kind, id)
    select last, @revocation_at::timestamptz, @revocation_kind::text, @revocation_id::text from counted
    on conflict (kind, id) do nothing
    returning seq`
	feedRevocation = `counted as (` + countRevocation + `), told as (` + tellRevocation + `)`
)

// addRevocation adds the arguments of feedRevocation.
func addRevocation(args pgx.NamedArgs, entry innkeeper.Revocation) {
	args["revocation_seq"] = entry.At.UnixMicro()
	args["revocation_at"] = entry.At
	args["revocation_kind"] = text(string(entry.Kind))
	args["revocation_id"] = text(entry.ID)
}

// Revocations implements [innkeeper.RevocationStore].
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	entries, err := readAll(ctx, s, (*row).revocation,
		`select seq, at, kind, id from revocation where seq > @after order by seq limit @limit`,
		pgx.NamedArgs{"after": after, "limit": limit})
	return entries, wrap("read revocations", err)
}

// LastRevocation implements [innkeeper.RevocationStore].
func (s *Store) LastRevocation(ctx context.Context) (int64, error) {
	last, _, err := readOne(ctx, s, (*row).integer, `select last from revocation_counter where one = 1`)
	return last, wrap("read the last revocation", err)
}

func (r *row) revocation() innkeeper.Revocation {
	return innkeeper.Revocation{
		Seq: r.integer(), At: r.time(), Kind: innkeeper.RevocationKind(r.text()), ID: r.text(),
	}
}

var revoke = `
with known as (
    select kind, at from revocation where kind = @revocation_kind::text and id = @revocation_id::text
), revoked as (
    select 1 where not exists (select from known where kind = 'key' or at >= @revocation_old::timestamptz)
), counted as (` + countRevocation + `), told as (
    insert into revocation as r (seq, at, kind, id)
    select last, @revocation_at::timestamptz, @revocation_kind::text, @revocation_id::text from counted
    on conflict (kind, id) do update set seq = excluded.seq, at = excluded.at
    where r.kind <> 'key' and r.at < @revocation_old::timestamptz
    returning seq
), news as (
    select from told where not exists (select from known)
)` + logEvent("event", "news")

// Revoke implements [innkeeper.RevocationStore]. Of two calls at the same moment
// both may find nothing and take a number, but only one can insert, and only that
// one logs the event. The same holds where both find an entry that is too old.
//
// An entry that is replaced is locked after the counter. That is safe: nobody who holds
// an entry waits for the counter.
func (s *Store) Revoke(ctx context.Context, entry innkeeper.Revocation, event innkeeper.Event) error {
	args := pgx.NamedArgs{"revocation_old": entry.At.Add(-innkeeper.RevocationRenewal)}
	addRevocation(args, entry)
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.hints.tell(s.write(ctx, revoke, args, nil))
	}
	return wrap("revoke", err)
}

// SweepRevocations implements [innkeeper.RevocationStore].
func (s *Store) SweepRevocations(ctx context.Context, before time.Time, limit int) (int, error) {
	const statement = `
delete from revocation where seq = any(array(
    select seq from revocation where kind <> 'key' and at < @before
    order by at limit @limit for update skip locked))
returning 1`
	swept, err := s.count(ctx, statement, pgx.NamedArgs{"before": before, "limit": limit})
	return swept, wrap("sweep revocations", err)
}
