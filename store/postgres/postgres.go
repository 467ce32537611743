// Package postgres keeps everything in PostgreSQL 14 or newer, or in an engine
// that speaks its language: the store of several servers side by side.
//
// [Open] connects, brings the schema up to date and returns a [Store] that
// implements every role of [innkeeper.Stores]. [Migrate] does only the second, for
// installations whose servers may not change the schema.
//
// A refresh is one UPDATE of one row, which returns what the access token needs.
// Refreshes that arrive while others are under way are sent together, as one
// statement and one commit; one that finds nothing under way is sent at once. A row
// that somebody else holds is left out of the common statement and waited for
// alone, so that nobody waits for a stranger's lock and no two servers can
// deadlock.
//
// Every other write is one statement too, however many tables it touches. No
// transaction is ever open while a server thinks: one that dies leaves no lock
// behind.
//
// Whatever happens to the database or to the network, a call ends with an error
// soon after [Config.StatementTimeout]. A write whose outcome is unknown is never
// tried again. Connections that have died are replaced before they are used, so
// after a restart of the database the next call works.
//
// The database holds no token: a refresh token's secret is stored as its SHA-256,
// signing keys are encrypted under a root key that lives elsewhere. It does hold
// password hashes and names.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrClosed reports a call after [Store.Close]. Nothing was written.
var ErrClosed = errors.New("store is closed")

// Config says where the database is and how long to wait for it.
type Config struct {
	// URL of the database: postgres://user:password@host:5432/name?sslmode=verify-full.
	// Required. Its parameters are those of libpq; several hosts may be given, with
	// target_session_attrs=read-write. Tables go where search_path says.
	URL string
	// MaxConns is how many connections there may be. The zero value means 16.
	// Connections are opened when they are first needed. A server that follows the
	// revocation feed has one more, to be told of what others revoke.
	MaxConns int
	// StatementTimeout is how long a call may wait for the answer to its statement,
	// locks included; for a connection it waits half as long. The zero value means 5
	// seconds.
	StatementTimeout time.Duration
}

// Store is a database. It implements every role of [innkeeper.Stores] and is safe
// for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	lanes   *lanes
	reads   *reads
	hints   *hints
	closed  atomic.Bool
	close   func() error
}

// Open connects to a database and applies the migrations that it lacks. If there
// are none, it changes nothing, and works for a role that may not. It returns
// [ErrNewerSchema] if a newer Innkeeper has changed the schema.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	pool, err := cfg.withDefaults().pool()
	if err == nil {
		_, _, err = Migrate(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return cfg.withDefaults().open(ctx, pool)
}

func (cfg Config) open(ctx context.Context, settings *pgxpool.Config) (*Store, error) {
	// The pool's own context would only bound connections that it opens ahead of
	// time, of which there are none.
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{pool: pool, timeout: cfg.StatementTimeout}
	s.lanes = newLanes(s)
	s.reads = &reads{store: s}
	s.hints = newHints(s)
	s.close = sync.OnceValue(s.closeAll)
	return s, nil
}

// Stores returns the store in all its roles.
func (s *Store) Stores() innkeeper.Stores {
	return innkeeper.Stores{
		Sessions: s, Users: s, Roles: s, Services: s, Events: s, Revocations: s, RootKeys: s, Issuer: s, Keys: s,
		Webhooks: s, Deliveries: s, Attempts: s,
	}
}

// Close finishes the calls that have begun, and closes the connections. Later
// calls of any method return [ErrClosed].
func (s *Store) Close() error { return s.close() }

func (s *Store) closeAll() error {
	s.lanes.close()
	s.hints.close()
	s.closed.Store(true)
	s.pool.Close()
	return nil
}

func (cfg Config) withDefaults() Config {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 16
	}
	if cfg.StatementTimeout == 0 {
		cfg.StatementTimeout = 5 * time.Second
	}
	return cfg
}
