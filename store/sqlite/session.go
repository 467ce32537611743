package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// insertSession inserts a session if its user exists, is not disabled and has the
// session's epoch.
const insertSession = `
insert into session (id, user_number, user_id, epoch, secret_hash, generation, salt, recent_keys, rotated_at,
    refresh_expires_at, addr, user_agent, delivery, device, methods, created_at, expires_at, reason)
select ?1, u.number, u.id, u.epoch, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ''
from user u
where u.id = ?2 and u.epoch = ?3 and u.disabled = 0`

// CreateSession implements [innkeeper.SessionStore].
func (s *Store) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	err := s.writer.write(ctx, func(c *conn) error {
		if err := createSession(c, &birth.Session); err != nil {
			return err
		}
		if birth.Replaces != nil {
			if _, err := endSession(c, birth.Replaces); err != nil {
				return err
			}
		}
		return logEvent(c, birth.Event)
	})
	return wrap("create session", err)
}

func createSession(c *conn, s *innkeeper.Session) error {
	methods, err := list(s.Methods)
	if err != nil {
		return err
	}
	created, err := c.exec(insertSession, s.ID[:], s.UserID[:], s.Epoch[:],
		s.SecretHash[:], s.Generation, s.Salt[:], recentKeys(s.RecentKeys), s.RotatedAt,
		s.RefreshExpiresAt, s.Client.Addr, s.Client.UserAgent, string(s.Delivery), s.Device, methods,
		s.CreatedAt, s.ExpiresAt)
	if err == nil && created == 0 {
		return innkeeper.ErrEpochMoved
	}
	return err
}

// rotateSession is the whole of a refresh. A NULL secret_hash equals nothing, so
// one comparison tells the current token of a live session from any other.
//
// To SQLite the concatenation of two blobs is text, of which substr would count
// characters up to the first zero byte. The casts make it the same bytes again.
//
// It returns what the caller does not know already, in two columns instead of
// nine: describing and copying each costs the driver more than SQLite needs to
// join them. The second one has a line for each value, and the length of the
// device's name before it, which may be anything; the claims come right after it.
const rotateSession = `
update session set
    generation = ?3, secret_hash = ?4, salt = ?5,
    recent_keys = substr(cast(?6 || recent_keys as blob), 1, 128),
    rotated_at = ?7, refresh_expires_at = min(expires_at, ?8), addr = ?9, user_agent = ?10
where id = ?1 and secret_hash = ?2
    and exists (select 1 from user u where u.number = session.user_number and u.epoch = session.epoch and u.disabled = 0)
returning
    cast(user_id || epoch || recent_keys as blob),
    concat_ws(char(10), delivery, methods, created_at, expires_at, octet_length(device), device ||
        (select ` + claims + ` from user u where u.number = session.user_number))`

// RotateSession implements [innkeeper.SessionStore].
func (s *Store) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	args := []any{
		r.SessionID[:], r.Presented[:], r.Generation, r.SecretHash[:], r.Salt[:], r.Key[:],
		r.At, r.RefreshExpiresAt, column(r.Client.Addr), r.Client.UserAgent,
	}
	var found *row
	err := s.writer.writeStatement(ctx, func(c *conn) (err error) {
		found, err = c.one(rotateSession, args...)
		return err
	})
	if err == nil && found == nil {
		err = innkeeper.ErrNoMatch
	}
	if err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, wrap("rotate session", err)
	}
	// The row is taken apart here and not in the writer, for which everybody waits.
	session, subject := found.rotated(r)
	return session, subject, wrap("rotate session", found.err)
}

// rotated puts the session together from the rotation and what it returned.
func (r *row) rotated(by innkeeper.Rotation) (session innkeeper.Session, user innkeeper.Subject) {
	session.ID = by.SessionID
	fixed := r.blob()
	r.fill(session.UserID[:], &fixed)
	r.fill(session.Epoch[:], &fixed)
	for i := range session.RecentKeys {
		r.fill(session.RecentKeys[i][:], &fixed)
	}
	packed := lines{text: r.text()}
	session.Delivery = innkeeper.Delivery(packed.next())
	session.Methods = splitList(packed.next())
	session.CreatedAt = packed.time()
	session.ExpiresAt = packed.time()
	session.Device = packed.sized()
	packed.claims(&user)
	user.ID, user.Epoch = session.UserID, session.Epoch // the statement compared the epochs
	if packed.malformed {
		r.fail("not packed right")
	}
	by.Apply(&session)
	return session, user
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
	if !r.null() {
		m.user = new(r.subject())
	}
	return m
}

// Session implements [innkeeper.SessionStore].
func (s *Store) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	const query = `select ` + sessionColumns + `, ` + subjectColumns + `
from session s left join user u on u.number = s.user_number
where s.id = ?`
	found, ok, err := readOne(ctx, s.readers, (*row).member, query, id[:])
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return found.session, found.user, wrap("read session", err)
}

// EndSession implements [innkeeper.SessionStore].
func (s *Store) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	err := s.writer.write(ctx, func(c *conn) error {
		ended, err := endSession(c, &ending)
		if err == nil && !ended {
			return innkeeper.ErrNoMatch
		}
		return err
	})
	return wrap("end session", err)
}

// endSession ends a session, and returns false if there was none to end.
func endSession(c *conn, ending *innkeeper.Ending) (bool, error) {
	const query = `update session set ended_at = ?2, reason = ?3, secret_hash = null
where id = ?1 and ended_at is null
    and exists (select 1 from user u where u.number = session.user_number and u.epoch = session.epoch and u.disabled = 0)`
	ended, err := c.exec(query, ending.SessionID[:], ending.At, string(ending.Reason))
	if err != nil || ended == 0 {
		return false, err
	}
	if err := logEvent(c, ending.Event); err != nil {
		return false, err
	}
	return true, revoke(c, ending.Revocation)
}

// Sessions implements [innkeeper.SessionStore].
func (s *Store) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	// A last one that is not there any more, or the zero value, begins anew: no
	// session is younger than the end of time.
	const page = `select ` + sessionColumns + `
from user u cross join session s on s.user_number = u.number
where u.id = ?1 and u.disabled = 0
    and s.epoch = u.epoch and s.ended_at is null and s.refresh_expires_at > ?2
    and (s.created_at, s.id) < (ifnull((select created_at from session where id = ?3), 9223372036854775807), ?3)
order by s.created_at desc, s.id desc
limit ?4`
	sessions, err := readAll(ctx, s.readers, (*row).session, page,
		query.UserID[:], query.AliveAt, query.After[:], query.Limit)
	return sessions, wrap("list sessions", err)
}

// SweepSessions implements [innkeeper.SessionStore].
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	// Each half walks its index and stops at the limit; no session is in both.
	const query = `delete from session where number in (
    select number from session where ended_at < ?1
    union all
    select number from session where expires_at < ?1 and (ended_at is null or ended_at >= ?1)
    limit ?2)`
	swept, err := s.remove(ctx, query, before, limit)
	return swept, wrap("sweep sessions", err)
}

// remove runs one statement that deletes, and returns how many rows it deleted.
func (s *Store) remove(ctx context.Context, query string, args ...any) (int, error) {
	var removed int64
	err := s.writer.writeStatement(ctx, func(c *conn) (err error) {
		removed, err = c.exec(query, args...)
		return err
	})
	return int(removed), err
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
	flat := r.blob()
	for i := range keys {
		r.fill(keys[i][:], &flat)
	}
	return keys
}

func (r *row) client() innkeeper.Client {
	return innkeeper.Client{Addr: r.addr(), UserAgent: r.text()}
}

// wrap says what was being done when an error happened.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
