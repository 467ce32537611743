package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pool returns the configuration of the connections.
func (cfg Config) pool() (*pgxpool.Config, error) {
	settings, err := cfg.parse()
	if err != nil {
		return nil, err
	}
	settings.MaxConns = int32(min(cfg.MaxConns, math.MaxInt32)) //nolint:gosec // bounded here
	settings.MinConns, settings.MinIdleConns = 0, 0
	settings.MaxConnLifetimeJitter = settings.MaxConnLifetime / 10
	settings.PingTimeout = cfg.StatementTimeout
	settings.AfterConnect = prepareConn
	settings.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) { return alive(conn), nil }

	conn := settings.ConnConfig
	conn.ConnectTimeout = cfg.StatementTimeout
	conn.DialFunc = cfg.dialer().DialContext
	milliseconds := fmt.Sprint(max(1, cfg.StatementTimeout.Milliseconds()))
	conn.RuntimeParams["statement_timeout"] = milliseconds
	conn.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds
	// A little shorter, so that who waits in vain is told for what.
	conn.RuntimeParams["lock_timeout"] = fmt.Sprint(max(1, cfg.StatementTimeout.Milliseconds()*9/10))
	conn.RuntimeParams["default_transaction_isolation"] = "read committed"
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "innkeeper"
	}
	return settings, nil
}

// parse reads the URL. No error says anything of it but what cannot be secret.
func (cfg Config) parse() (*pgxpool.Config, error) {
	if cfg.URL == "" {
		return nil, errors.New("no URL given")
	}
	if cfg.MaxConns < 0 || cfg.StatementTimeout < 0 {
		return nil, errors.New("a negative limit was given")
	}
	u, err := url.Parse(cfg.URL)
	// What follows an unescaped # in a password would be taken for a fragment.
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Fragment != "" {
		return nil, errors.New("the URL is not like postgres://user:password@host/database, " +
			"with all special characters of the password percent-encoded")
	}
	settings, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, redact(err, u)
	}
	return settings, nil
}

// redact takes the password out of an error about the URL that holds it.
func redact(err error, u *url.URL) error {
	message := err.Error()
	password, _ := u.User.Password()
	for _, secret := range []string{password, url.QueryEscape(password), url.PathEscape(password), u.Query().Get("password")} {
		if secret != "" {
			message = strings.ReplaceAll(message, secret, "xxxxx")
		}
	}
	return errors.New(message)
}

// dialer makes connections that notice when the other side is gone. Deadlines
// bound every call as well; this is for connections on which nothing happens.
func (cfg Config) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: cfg.StatementTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
		},
		Control: cfg.limitUnacknowledged,
	}
}

// prepareConn tells a new connection how to plan. All statements here find their
// rows by a key or along an index. A plan that walks a whole table would always be
// wrong, but that is what the planner likes for a table of which it knows nothing
// yet, and it keeps a plan as long as it knows nothing better. It also likes to plan
// anew for each number of sessions in a batch, which takes longer than running it.
//
// Engines that plan otherwise do not have these settings.
func prepareConn(ctx context.Context, conn *pgx.Conn) error {
	const configure = `
select set_config(name, case name when 'plan_cache_mode' then 'force_generic_plan' else 'off' end, false)
from pg_settings
where name in ('plan_cache_mode', 'enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_material', 'jit')`
	_, err := conn.Exec(ctx, configure)
	return err
}

// grace is how much longer than the server we wait. It gives up first if it can, and
// then we know that nothing was written and keep the connection.
const grace = 500 * time.Millisecond

// begin returns the context of a statement. It ends when there is no more hope for
// an answer and not when the caller's does: what has begun is finished.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.timeout+grace)
}

// acquire takes a connection for a caller, who may give up. It has half the time of
// a statement, so that both together end well before the request does.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, s.timeout/2)
	defer cancel()
	conn, err := s.pool.Acquire(waiting)
	switch {
	case err == nil:
		return conn, nil
	case s.closed.Load():
		return nil, ErrClosed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		return nil, fmt.Errorf("no connection within %s: %w", s.timeout/2, err)
	}
	return nil, err
}

// write runs a statement that writes, and calls visit, if there is one, with each
// row of its result.
func (s *Store) write(ctx context.Context, statement string, args pgx.NamedArgs, visit func(*row)) error {
	return s.run(ctx, unwritten, statement, []any{args}, visit)
}

// writeOr runs a statement and returns an error if it returns no row.
func (s *Store) writeOr(ctx context.Context, none error, statement string, args pgx.NamedArgs) error {
	n, err := s.count(ctx, statement, args)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// count runs a statement and returns how many rows it returned.
func (s *Store) count(ctx context.Context, statement string, args pgx.NamedArgs) (int, error) {
	n := 0
	err := s.write(ctx, statement, args, func(*row) { n++ })
	return n, err
}

// readAll reads rows; none give nil. The arguments are those of $1 and so on, or
// one of pgx.NamedArgs, which have to be found in the text each time.
func readAll[T any](ctx context.Context, s *Store, scan func(*row) T, query string, args ...any) ([]T, error) {
	var found []T
	err := s.run(ctx, unanswered, query, args, func(r *row) { found = append(found, scan(r)) })
	if err != nil {
		return nil, err
	}
	return found, nil
}

// readOne reads at most one row, and returns false if there is none.
func readOne[T any](ctx context.Context, s *Store, scan func(*row) T, query string, args ...any) (T, bool, error) {
	found, err := readAll(ctx, s, scan, query, args...)
	if err != nil || len(found) == 0 {
		return *new(T), false, err
	}
	return found[0], true, nil
}

// inBinary asks for every column as [row] reads it.
var inBinary = pgx.QueryResultFormats{pgx.BinaryFormatCode}

// maxTries bounds how often a statement is sent.
const maxTries = 3

// run runs one statement, and runs it again as long as an error proves that this
// does no harm and no row was seen.
func (s *Store) run(ctx context.Context, harmless func(error) bool, query string, args []any, visit func(*row)) error {
	for try := 1; ; try++ {
		seen := false
		err := s.runOnce(ctx, query, args, func(r *row) {
			seen = true
			if visit != nil {
				visit(r)
			}
		})
		if err == nil || seen || try == maxTries || !harmless(err) {
			return err
		}
	}
}

func (s *Store) runOnce(ctx context.Context, query string, args []any, visit func(*row)) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	ctx, cancel := s.begin(ctx)
	defer cancel()
	rows, err := conn.Query(ctx, query, append([]any{inBinary}, args...)...)
	if err != nil {
		return s.retire(conn.Conn(), err)
	}
	defer rows.Close()
	for rows.Next() {
		r := &row{values: rows.RawValues()}
		visit(r)
		if r.err != nil {
			return r.err
		}
	}
	return s.retire(conn.Conn(), rows.Err())
}
