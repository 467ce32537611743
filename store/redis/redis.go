// Package redis keeps sessions in Redis 7 or Valkey. Users, roles, keys, events,
// revocations and the issuer stay in SQL: a [Store] decorates another one.
//
// A session is one hash, which Redis lets go by itself shortly after the session's
// refresh token has expired. A refresh reads the user from SQL and then makes one
// compare-and-swap, which is a script of Redis and touches that hash alone, so
// that it works on a cluster too. The user comes first: an SQL database that does
// not answer consumes nothing.
//
// What belongs to both is written in an order that makes a crash between two
// steps harmless; each order stands at its method. An outcome that is unknown is
// an error and never tried again here: a second compare-and-swap would meet its
// own first one and take it for a theft.
//
// # Durability
//
// What Redis forgets, a session has lost. With appendfsync always nothing that was
// acknowledged is lost; with everysec, the default of an append-only file, the last
// second may be. A session that is thrown back by one rotation is ended when its
// client shows the newer token (reason restored): that costs a sign-in and gives
// nobody anything. A server that evicts keys signs people out at random:
// maxmemory-policy must be noeviction, and [Open] warns where it is not.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// Config says where Redis is.
type Config struct {
	// URL of the server. Required.
	//
	//	redis://user:password@host:6379/0     rediss:// for TLS
	//	redis://host:6379,host:6380/          nodes of a cluster to begin with
	//
	// A single server is asked whether it is a node of a cluster; where that goes
	// wrong, ?cluster=true or ?cluster=false decides. Signs of a user or password that
	// mean something in a URL are percent-encoded.
	URL string
	// KeyPrefix begins the name of every key, so that several installations can share
	// a server. The zero value means "innkeeper:".
	KeyPrefix string
	// TLS is used with rediss://. The zero value trusts the roots of the system.
	TLS *tls.Config
	// DialTimeout bounds making a connection. The zero value means 2 seconds.
	DialTimeout time.Duration
	// Timeout bounds one command, the connection that it may need included. The zero
	// value means 3 seconds. Most refreshes make one command; the first that a server
	// sees of a session, and the first in an hour, make one or two more.
	Timeout time.Duration
	// Logger is told what an operator should know and no caller is. The zero value
	// tells nobody.
	Logger *slog.Logger
}

const (
	defaultKeyPrefix   = "innkeeper:"
	defaultDialTimeout = 2 * time.Second
	defaultTimeout     = 3 * time.Second
)

func (cfg Config) withDefaults() Config {
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = defaultKeyPrefix
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = defaultDialTimeout
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// String describes the configuration without its password.
func (cfg Config) String() string {
	target, err := parseURL(cfg.URL)
	if err != nil {
		return "redis at [malformed]"
	}
	return "redis at " + target.String()
}

// GoString is String: what debugs prints no password either.
func (cfg Config) GoString() string { return cfg.String() }

// LogValue implements [slog.LogValuer].
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }

// Store keeps sessions in Redis and everything else in the stores below it. It is
// safe for concurrent use.
type Store struct {
	base   innkeeper.Stores
	conn   *conn
	births *births
	keys   keys
	log    *slog.Logger
	clock  func() time.Time // of this server, and not of the domain: see [Store.judge]
}

// Open connects to Redis, over base. It returns an error if Redis does not answer:
// a wrong address should not be found out by the first person who signs in. It
// never says the password.
func Open(ctx context.Context, cfg Config, base innkeeper.Stores) (*Store, error) {
	cfg = cfg.withDefaults()
	target, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("open redis: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open redis: %w", err)
	}
	c, err := dial(ctx, target, cfg)
	if err != nil {
		return nil, fmt.Errorf("open redis %s: %w", target, err)
	}
	s := &Store{
		base:   base,
		conn:   c,
		births: newBirths(maxBirths),
		keys:   keys{prefix: cfg.KeyPrefix},
		log:    cfg.Logger,
		clock:  time.Now,
	}
	s.checkEviction(ctx)
	return s, nil
}

// Stores returns the stores below with those replaced that know of sessions.
func (s *Store) Stores() innkeeper.Stores {
	stores := s.base
	stores.Sessions = s
	stores.Users = &users{UserStore: s.base.Users, store: s}
	return stores
}

// Close closes the connections to Redis. The stores below stay open: they belong
// to whoever opened them.
func (s *Store) Close() error {
	s.conn.close()
	return nil
}

// checkEviction warns of a server that deletes keys when its memory is full. Not
// everybody may ask; where we may not, the manual has to do.
func (s *Store) checkEviction(ctx context.Context) {
	policy, err := s.conn.setting(ctx, "maxmemory-policy")
	switch {
	case err != nil:
		s.log.InfoContext(ctx, "redis does not tell its maxmemory-policy, which must be noeviction", "error", err)
	case policy != "noeviction":
		s.log.WarnContext(ctx, "redis will sign people out at random when its memory is full: set maxmemory-policy to noeviction",
			"maxmemory-policy", policy)
	}
}

// keys names the keys. What stands in braces decides the slot of a cluster.
type keys struct {
	prefix string
}

func (k keys) session(id innkeeper.SessionID) string { return k.prefix + "{" + id.String() + "}" }

func (k keys) index(id innkeeper.UserID) string { return k.prefix + "user:{" + id.String() + "}" }

// margin is what keys live longer than they must, so that clocks which disagree a
// little make nobody's session disappear.
const margin = time.Minute

// lifetime is how long from at a key must live to last until the given time, in
// seconds. Redis is never told a moment: its clock is not that of the domain, which
// passes the time as an argument.
func lifetime(at, until time.Time) int64 {
	rest := max(until.Sub(at), 0)
	return int64((rest+time.Second-1)/time.Second + margin/time.Second)
}

// wrap says what was being done when an error happened.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// errMalformed reports a hash that we did not write.
var errMalformed = errors.New("malformed session")
