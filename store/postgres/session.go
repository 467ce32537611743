package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// insertSession inserts the session of [addSession], if there is one, for the user
// whom the statement has found in its CTE "changed".
const insertSession = `
    insert into session (id, user_number, user_id, epoch, secret_hash, generation, salt, recent_keys, rotated_at,
        refresh_expires_at, addr, user_agent, delivery, device, methods, created_at, expires_at, reason)
    select @open::bytea, changed.number, changed.id, changed.epoch, @secret_hash::bytea, @generation::bigint,
        @salt::bytea, @recent_keys::bytea, @rotated_at::timestamptz, @refresh_expires_at::timestamptz, @addr::text,
        @user_agent::text, @delivery::text, @device::text, @methods::text[], @created_at::timestamptz,
        @expires_at::timestamptz, ''
    from changed where @open::bytea is not null
    returning id`

func addSession(args pgx.NamedArgs, s *innkeeper.Session) error {
	args["open"] = s.ID[:]
	args["secret_hash"] = s.SecretHash[:]
	args["generation"] = int64(s.Generation)
	args["salt"] = s.Salt[:]
	args["recent_keys"] = recentKeys(s.RecentKeys)
	args["rotated_at"] = s.RotatedAt
	args["refresh_expires_at"] = s.RefreshExpiresAt
	args["addr"] = addr(s.Client.Addr)
	args["user_agent"] = text(s.Client.UserAgent)
	args["delivery"] = text(string(s.Delivery))
	args["device"] = text(s.Device)
	args["methods"] = list(s.Methods)
	args["created_at"] = s.CreatedAt
	args["expires_at"] = s.ExpiresAt
	return checkNames(s.Methods)
}

var (
	createSession = `
with changed as (
    select number, id, epoch from users where id = @user::bytea and epoch = @epoch::bytea and not disabled
), born as (` + insertSession + `
), birth_logged as (` + logEvent("birth", "born") + `
)`

	createAlone = createSession + `
select 1 from born`

	createReplacing = createSession + `, ` + endSession("born") + `
select 1 from born`

	endAlone = `
with asked as (select 1), ` + endSession("asked") + `
select 1 from ended`
)

// endSession ends the session of [addEnding], if it lives and a CTE has a row, with
// all that belongs to it.
//
// It takes hold of the user first, as a change of the user does. Whoever has seen
// that change must not see the session end for another reason afterwards.
func endSession(cte string) string {
	return `alive as (
    select s.id from session s join users u on u.number = s.user_number
    where s.id = @ended::bytea and s.ended_at is null and u.epoch = s.epoch and not u.disabled
    for share of u for no key update of s
), ended as (
    update session s set ended_at = @ended_at::timestamptz, reason = @ended_for::text, secret_hash = null
    from alive, ` + cte + ` where s.id = alive.id and s.ended_at is null
    returning s.id
), ending_logged as (` + logEvent("ending", "ended") + `
), revoked as (
    select id from ended
), ` + feedRevocation
}

func addEnding(args pgx.NamedArgs, ending *innkeeper.Ending) error {
	args["ended"] = ending.SessionID[:]
	args["ended_at"] = ending.At
	args["ended_for"] = text(string(ending.Reason))
	addRevocation(args, ending.Revocation)
	return addEvent(args, "ending", ending.Event)
}

// CreateSession implements [innkeeper.SessionStore].
func (s *Store) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	args := pgx.NamedArgs{"user": birth.Session.UserID[:], "epoch": birth.Session.Epoch[:]}
	err := errors.Join(addSession(args, &birth.Session), addEvent(args, "birth", birth.Event))
	statement := createAlone
	if birth.Replaces != nil {
		statement = createReplacing
		err = errors.Join(err, addEnding(args, birth.Replaces))
	}
	if err == nil {
		err = s.writeOr(ctx, innkeeper.ErrEpochMoved, statement, args)
	}
	if birth.Replaces != nil {
		err = s.hints.tell(err)
	}
	return wrap("create session", err)
}

// RotateSession implements [innkeeper.SessionStore].
func (s *Store) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	session, user, err := s.lanes.rotate(ctx, r)
	return session, user, wrap("rotate session", err)
}

const sessionColumns = `
s.id, s.user_id, s.epoch, s.delivery, s.device, s.addr, s.user_agent, s.methods, s.created_at, s.expires_at,
s.generation, s.secret_hash, s.salt, s.recent_keys, s.rotated_at, s.refresh_expires_at, s.ended_at, s.reason`

func (r *row) session() (s innkeeper.Session) {
	r.fixed(s.ID[:])
	r.fixed(s.UserID[:])
	r.fixed(s.Epoch[:])
	s.Delivery = innkeeper.Delivery(r.text())
	s.Device = r.text()
	s.Client = r.client()
	s.Methods = r.list()
	s.CreatedAt = r.time()
	s.ExpiresAt = r.time()
	s.Generation = r.generation()
	r.optional(s.SecretHash[:])
	r.fixed(s.Salt[:])
	s.RecentKeys = r.recentKeys()
	s.RotatedAt = r.time()
	s.RefreshExpiresAt = r.time()
	s.EndedAt = r.optionalTime()
	s.Reason = innkeeper.Reason(r.text())
	return s
}

// member is a session and its user, nil if deleted.
type member struct {
	session innkeeper.Session
	user    *innkeeper.Subject
}

func (r *row) member() member {
	m := member{session: r.session()}
	if r.flag() {
		m.user = new(r.subject())
	}
	return m
}

// Session implements [innkeeper.SessionStore].
func (s *Store) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	const query = `select ` + sessionColumns + `, u.number is not null, ` + subjectColumns + `
from session s left join users u on u.number = s.user_number
where s.id = $1`
	found, ok, err := readOne(ctx, s, (*row).member, query, id[:])
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return found.session, found.user, wrap("read session", err)
}

// EndSession implements [innkeeper.SessionStore].
func (s *Store) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	args := pgx.NamedArgs{}
	err := addEnding(args, &ending)
	if err == nil {
		err = s.hints.tell(s.writeOr(ctx, innkeeper.ErrNoMatch, endAlone, args))
	}
	return wrap("end session", err)
}

// Sessions implements [innkeeper.SessionStore].
func (s *Store) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	// Lateral, so that the limit stops the walk along the index. A last one that is
	// not there any more, or the zero value, begins anew.
	const page = `select ` + sessionColumns + `
from users u cross join lateral (
    select * from session s
    where s.user_number = u.number and s.epoch = u.epoch and s.ended_at is null and s.refresh_expires_at > @alive_at
        and (s.created_at, s.id) <
            (coalesce((select created_at from session where id = @after), 'infinity'::timestamptz), @after)
    order by s.created_at desc, s.id desc
    limit @limit) s
where u.id = @user and not u.disabled
order by s.created_at desc, s.id desc`
	sessions, err := readAll(ctx, s, (*row).session, page, pgx.NamedArgs{
		"user": query.UserID[:], "alive_at": query.AliveAt, "after": query.After[:], "limit": query.Limit,
	})
	return sessions, wrap("list sessions", err)
}

// SweepSessions implements [innkeeper.SessionStore].
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	// Each walks its index and stops at the limit, and leaves what another node is
	// about to delete, or somebody to change, to the next time.
	const (
		ended = `
delete from session where id = any(array(
    select id from session where ended_at < @before
    order by ended_at limit @limit for update skip locked))
returning 1`
		expired = `
delete from session where id = any(array(
    select id from session where expires_at < @before
    order by expires_at limit @limit for update skip locked))
returning 1`
	)
	swept := 0
	for _, statement := range []string{ended, expired} {
		n, err := s.count(ctx, statement, pgx.NamedArgs{"before": before, "limit": limit - swept})
		swept += n
		if err != nil || swept >= limit {
			return swept, wrap("sweep sessions", err)
		}
	}
	return swept, nil
}

// recentKeys are stored end to end.
func recentKeys(keys innkeeper.RecentKeys) []byte {
	var flat []byte
	for _, key := range keys {
		flat = append(flat, key[:]...)
	}
	return flat
}

func (r *row) recentKeys() (keys innkeeper.RecentKeys) {
	flat := r.take()
	if len(flat) != len(keys)*len(keys[0]) {
		r.fail("no list of keys")
		return keys
	}
	for i := range keys {
		copy(keys[i][:], flat[i*len(keys[i]):])
	}
	return keys
}

func (r *row) client() innkeeper.Client {
	return innkeeper.Client{Addr: r.addr(), UserAgent: r.text()}
}
