package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// The set-ups of stores.
const (
	onSQLite   = "sqlite"
	onPostgres = "postgres"
	onRedis    = "redis" // sessions in Redis, all else in PostgreSQL
)

// engine is a database server, with a proxy of its own for each node, so that one
// of them can be cut off alone.
type engine struct {
	name   string
	server server
	url    string // past the proxies
	paths  []*testengine.Proxy
}

// server is what can be done to a database server.
type server interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Kill() error
	Freeze() error
	Thaw() error
	Close() error
}

// startEngines starts the database servers of a set-up, none for SQLite: the
// database of users first, then that of sessions. They are as durable as their
// makers can make them.
func startEngines(ctx context.Context, store string, nodes int) ([]*engine, error) {
	switch store {
	case onSQLite:
		return nil, nil
	case onPostgres, onRedis:
	default:
		return nil, fmt.Errorf("no store is called %q: choose %s, %s or %s", store, onSQLite, onPostgres, onRedis)
	}
	database, err := startPostgres(ctx, nodes)
	if err != nil || store == onPostgres {
		return []*engine{database}, err
	}
	sessions, err := startRedis(ctx, nodes)
	if err != nil {
		return nil, errors.Join(err, database.close())
	}
	return []*engine{database, sessions}, nil
}

func startPostgres(ctx context.Context, nodes int) (*engine, error) {
	pg, err := testengine.StartPostgres(ctx, testengine.PostgresConfig{})
	if err != nil {
		return nil, err
	}
	e := &engine{name: "postgres", server: pg}
	e.url, err = pg.CreateDatabase(ctx)
	if err == nil {
		err = e.pave(pg.Addr(), nodes)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func startRedis(ctx context.Context, nodes int) (*engine, error) {
	r, err := testengine.StartRedis(ctx, testengine.RedisConfig{AppendFsync: "always"})
	if err != nil {
		return nil, err
	}
	e := &engine{name: "redis", server: r, url: r.URL()}
	if err := e.pave(r.Addr(), nodes); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// pave puts a proxy before the server for each node.
func (e *engine) pave(addr string, nodes int) error {
	for range nodes {
		path, err := testengine.NewProxy(addr)
		if err != nil {
			return err
		}
		e.paths = append(e.paths, path)
	}
	return nil
}

// urlFor is how a node reaches the server.
func (e *engine) urlFor(node int) (string, error) {
	u, err := url.Parse(e.url)
	if err != nil {
		return "", err
	}
	u.Host = e.paths[node].Addr()
	return u.String(), nil
}

// restart kills the server and starts it again, on what it had made durable.
func (e *engine) restart(ctx context.Context) error {
	return errors.Join(e.server.Kill(), e.server.Start(ctx))
}

func (e *engine) close() error {
	var err error
	for _, path := range e.paths {
		err = errors.Join(err, path.Close())
	}
	return errors.Join(err, e.server.Close())
}
