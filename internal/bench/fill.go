package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// filling is what a database is filled with before its server starts.
type filling struct {
	numbered
	live   int64 // numbered sessions, ten of each user
	ended  int64 // sessions to be swept
	ofMany int64 // sessions of the user whose name is manyName
}

const (
	sessionsOfUser = 10
	manyName       = "many"
)

// longAgo is before anything that a sweep keeps.
func longAgo() time.Time { return time.Now().Add(-100 * 24 * time.Hour).Truncate(time.Second).UTC() }

// fillPostgres lets the database compute its own rows. The indexes are made
// afterwards, as a restored backup makes them.
func (b filling) fillPostgres(ctx context.Context, database postgresDatabase) (err error) {
	db, err := database.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // settings belong to a connection
	for _, statement := range []string{
		`set synchronous_commit = off`,
		`set maintenance_work_mem = '1GB'`,
		`create temporary table removed as select indexdef from pg_indexes
			where schemaname = 'public' and tablename = 'session' and indexname <> 'session_pkey'`,
		`do $$ declare i record; begin
			for i in select indexname from pg_indexes where schemaname = 'public' and tablename = 'session' and indexname <> 'session_pkey'
			loop execute 'drop index ' || i.indexname; end loop;
		end $$`,
		`alter table session drop constraint session_pkey`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	if err := b.insertPostgres(ctx, db); err != nil {
		return err
	}
	for _, statement := range []string{
		`alter table session add primary key (id)`,
		`do $$ declare i record; begin for i in select indexdef from removed loop execute i.indexdef; end loop; end $$`,
		`vacuum analyze session`, `vacuum analyze users`, `checkpoint`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (b filling) insertPostgres(ctx context.Context, db *sql.DB) error {
	const (
		users = `insert into users (id, username, email, epoch, epoch_reason, disabled, roles, password_hash, created_at, updated_at)
			select substring(sha256('user'::bytea || int8send(n)) for 16), case n when $1 then '` + manyName + `' else 'user-' || n end,
				'user-' || n || '@example.com', substring(sha256(int8send(n)) for 8), '', false, '{}', '', now(), now()
			from generate_series(0, $1::bigint) as n`
		// $1 first and $2 last number, $3 of how many each user has, $4 end of those that have ended
		sessions = `insert into session (user_number, created_at, expires_at, id, user_id, epoch, delivery, device, methods, ended_at, reason,
				generation, rotated_at, refresh_expires_at, secret_hash, salt, recent_keys, addr, user_agent)
			select u.number, $5::timestamptz, $6::timestamptz, s.id, u.id, u.epoch, 'body', '', '{pwd}',
				$4::timestamptz, case when $4 is null then '' else 'logout' end,
				1, $5, $6, case when $4 is null then sha256(sha256(s.id)) end,
				'\x00000000000000000000000000000000', decode(repeat('00', 128), 'hex'), '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64)'
			from (select n, substring(sha256(int8send(n)) for 16) as id from generate_series($1::bigint, $2::bigint - 1) as n) s
			join users u on u.username = case when $3::bigint = 0 then '` + manyName + `' else 'user-' || s.n / $3 end`
	)
	last := (b.live + b.ended) / sessionsOfUser
	if _, err := db.ExecContext(ctx, users, last); err != nil {
		return fmt.Errorf("insert users: %w", err)
	}
	begins := b.expiresAt.Add(-14 * 24 * time.Hour)
	for _, part := range []struct {
		from, to, ofUser int64
		endedAt          *time.Time
	}{
		{0, b.live, sessionsOfUser, nil},
		{b.live, b.live + b.ended, sessionsOfUser, new(longAgo())},
		{b.live + b.ended, b.live + b.ended + b.ofMany, 0, nil},
	} {
		if _, err := db.ExecContext(ctx, sessions, part.from, part.to, part.ofUser, part.endedAt, begins, b.expiresAt); err != nil {
			return fmt.Errorf("insert sessions: %w", err)
		}
	}
	return nil
}

// fillSQLite goes through the store, which commits thousands of rows at once when
// enough goroutines wait for it.
func (b filling) fillSQLite(ctx context.Context, path string) (err error) {
	store, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if err != nil {
		return err
	}
	total := b.live + b.ended
	err = inParallel((total+sessionsOfUser-1)/sessionsOfUser, func(n int64) error {
		user := fillingUser(n, fmt.Sprintf("user-%d", n))
		if err := store.CreateUser(ctx, user, innkeeper.Event{}); err != nil {
			return err
		}
		for i := n * sessionsOfUser; i < min((n+1)*sessionsOfUser, total); i++ {
			if err := store.CreateSession(ctx, innkeeper.Birth{Session: b.session(i, user)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		many := fillingUser(-1, manyName)
		err = store.CreateUser(ctx, many, innkeeper.Event{})
		if err == nil {
			err = inParallel(b.ofMany, func(n int64) error {
				return store.CreateSession(ctx, innkeeper.Birth{Session: b.session(total+n, many)})
			})
		}
	}
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("fill %s: %w", path, err)
	}
	return b.endSQLite(ctx, path)
}

// endSQLite ends the sessions that are to be swept, with one statement.
func (b filling) endSQLite(ctx context.Context, path string) (err error) {
	if b.ended == 0 {
		return nil
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, `update session set ended_at = ?, secret_hash = null, reason = 'logout'
		where user_number in (select number from user order by number desc limit ?)
		and user_number <> (select number from user where username = '`+manyName+`')`,
		longAgo().UnixMicro(), b.ended/sessionsOfUser+1)
	return err
}

func fillingUser(n int64, name string) innkeeper.User {
	sum := sha256.Sum256(fmt.Appendf(nil, "user %d", n))
	now := time.Now()
	return innkeeper.User{
		Subject: innkeeper.Subject{
			ID: innkeeper.UserID(sum[:16]), Username: name, Email: name + "@example.com", Epoch: innkeeper.Epoch(sum[16:24]),
		},
		CreatedAt: now, UpdatedAt: now,
	}
}

func (b filling) session(n int64, user innkeeper.User) innkeeper.Session {
	id := sessionID(n)
	secret := firstSecret(id)
	begins := b.expiresAt.Add(-14 * 24 * time.Hour)
	session := innkeeper.Session{
		ID: id, UserID: user.ID, Epoch: user.Epoch, Delivery: innkeeper.DeliverByBody, Methods: []string{"pwd"},
		Client:    innkeeper.Client{UserAgent: "Mozilla/5.0 (X11; Linux x86_64)"},
		CreatedAt: begins, RotatedAt: begins, ExpiresAt: b.expiresAt, RefreshExpiresAt: b.expiresAt, Generation: 1,
	}
	session.SecretHash = sha256.Sum256(secret[:])
	return session
}

// inParallel calls f for 0 to n-1 until one call fails.
func inParallel(n int64, f func(int64) error) error {
	const goroutines = 256
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for range goroutines {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				if err := f(i); err != nil {
					once.Do(func() { first = err })
					next.Store(n)
				}
			}
		})
	}
	wg.Wait()
	return first
}
