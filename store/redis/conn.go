package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// conn is the way to Redis. Commands that are under way at the same time share a
// connection and a system call.
//
// Nothing is ever tried again: not by the client library, which is told so, and
// not here, but for a script that the server did not know and so did not run.
type conn struct {
	client  rueidis.Client
	timeout time.Duration
	lines   *lines
}

const buffer = 64 << 10 // of each connection, for reading and for writing

func dial(ctx context.Context, to target, cfg Config) (*conn, error) {
	c := &conn{timeout: cfg.Timeout, lines: &lines{open: make(map[*line]struct{})}}
	option := rueidis.ClientOption{
		InitAddress: to.addrs,
		Username:    to.username,
		Password:    to.password,
		SelectDB:    to.database,
		DialCtxFn:   c.lines.dial,
		Dialer:      net.Dialer{Timeout: cfg.DialTimeout},
		// A connection on which nothing comes back for so long is given up.
		ConnWriteTimeout:    cfg.Timeout,
		ReadBufferEachConn:  buffer,
		WriteBufferEachConn: buffer,
		PipelineMultiplex:   -1, // one connection to each server
		ForceSingleClient:   to.cluster == single,
		DisableRetry:        true,
		DisableCache:        true,
	}
	if to.tls {
		option.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if cfg.TLS != nil {
			option.TLSConfig = cfg.TLS.Clone()
		}
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, c.failed(err)
	}
	c.client = client
	if err := c.check(ctx, to); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// check asks for a sign of life.
func (c *conn) check(ctx context.Context, to target) error {
	if to.cluster == cluster && c.client.Mode() != rueidis.ClientModeCluster {
		return errors.New("the server is not a node of a cluster")
	}
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.failed(c.client.Do(ctx, c.client.B().Ping().Build()).Error())
}

func (c *conn) close() { c.client.Close() }

// limit gives a command its time. The caller's context was asked before the first
// command of a method. From then on only time stops one: a write that was given up
// halfway would have an outcome that nobody knows, and commands share connections,
// so that one caller who leaves must not fail the others.
func (c *conn) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
}

// run runs a script on one key and returns what it returned, or false if that was
// nothing.
func (c *conn) run(ctx context.Context, script *rueidis.Lua, key string, args ...string) (string, bool, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	reply, err := script.Exec(ctx, c.client, []string{key}, args).ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return "", false, nil
	case err != nil:
		return "", false, c.failed(err)
	}
	return reply, true, nil
}

// field reads one field of a hash, and returns false if there is none.
func (c *conn) field(ctx context.Context, key, name string) (string, bool, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	value, err := c.client.Do(ctx, c.client.B().Hget().Key(key).Field(name).Build()).ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return "", false, nil
	case err != nil:
		return "", false, c.failed(err)
	}
	return value, true, nil
}

// hashes reads many hashes in one round trip. One that does not exist is empty.
func (c *conn) hashes(ctx context.Context, keys []string) ([]map[string]string, error) {
	commands := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		commands[i] = c.client.B().Hgetall().Key(key).Build()
	}
	ctx, cancel := c.limit(ctx)
	defer cancel()
	found := make([]map[string]string, len(keys))
	for i, result := range c.client.DoMulti(ctx, commands...) {
		hash, err := result.AsStrMap()
		if err != nil {
			return nil, c.failed(err)
		}
		found[i] = hash
	}
	return found, nil
}

// members returns at most limit members of a sorted set below a bound, the greatest
// first.
func (c *conn) members(ctx context.Context, key, below string, limit int) ([]string, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	query := c.client.B().Zrange().Key(key).Min(below).Max("-").Bylex().Rev().Limit(0, int64(limit)).Build()
	found, err := c.client.Do(ctx, query).AsStrSlice()
	return found, c.failed(err)
}

// removeMembers removes members from a sorted set.
func (c *conn) removeMembers(ctx context.Context, key string, members []string) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.failed(c.client.Do(ctx, c.client.B().Zrem().Key(key).Member(members...).Build()).Error())
}

// remove removes a key.
func (c *conn) remove(ctx context.Context, key string) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.failed(c.client.Do(ctx, c.client.B().Del().Key(key).Build()).Error())
}

// setting returns a setting of the server.
func (c *conn) setting(ctx context.Context, name string) (string, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	found, err := c.client.Do(ctx, c.client.B().ConfigGet().Parameter(name).Build()).AsStrMap()
	return found[name], err
}

// errSilent is the error of a command whose time is up. It is not that of the
// caller's context, which would mean that nothing was written.
var errSilent = errors.New("redis did not answer in time")

// failed looks at an error on its way out. A server that was demoted refuses writes
// and keeps its connections, though by now its name may lead to another one: they
// are closed, so that the next command looks the name up anew.
func (c *conn) failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	var refused *rueidis.RedisError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Error(), "READONLY") {
		c.lines.hangUp()
	}
	return err
}

// lines are the open connections.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

func (l *lines) dial(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	var opened net.Conn
	var err error
	if config == nil {
		opened, err = dialer.DialContext(ctx, "tcp", addr)
	} else {
		opened, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	tracked := &line{Conn: opened, lines: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[tracked] = struct{}{}
	return tracked, nil
}

// hangUp closes all of them.
func (l *lines) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range l.open {
		_ = line.Conn.Close() // the client finds out, and dials again
	}
	clear(l.open)
}

// line forgets itself when it is closed.
type line struct {
	net.Conn
	lines *lines
}

func (l *line) Close() error {
	l.lines.mu.Lock()
	delete(l.lines.open, l)
	l.lines.mu.Unlock()
	return l.Conn.Close()
}
