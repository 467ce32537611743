package testengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// TB is what this package needs of a testing.TB.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// lazy is a server that is started when somebody asks for it.
type lazy[S io.Closer] struct {
	start func() (S, error)

	mu     sync.Mutex
	asked  bool
	server S
	err    error
}

func (l *lazy[S]) get(t TB) S {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asked {
		l.asked = true
		l.server, l.err = l.start()
	}
	if l.err != nil {
		t.Fatalf("%v", l.err)
	}
	return l.server
}

func (l *lazy[S]) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asked || l.err != nil {
		return nil
	}
	l.err = errors.New("the shared server is closed: testengine.Main has returned")
	return l.server.Close()
}

// These belong to the process of a test: each takes a second to start, and no test
// can tell the next one that it has started one.
var (
	sharedPostgres = lazy[*Postgres]{start: func() (*Postgres, error) {
		return StartPostgres(context.Background(), PostgresConfig{Unsafe: true})
	}}
	sharedRedis = lazy[*Redis]{start: func() (*Redis, error) {
		return StartRedis(context.Background(), RedisConfig{AppendFsync: "no"})
	}}
	sharedRedisCluster = lazy[*Redis]{start: func() (*Redis, error) {
		return StartRedis(context.Background(), RedisConfig{AppendFsync: "no", Cluster: true})
	}}
)

// SharedPostgres returns a PostgreSQL server for all tests of the process, started
// at the first call, with PostgresConfig.Unsafe. A test takes a database of its own
// and leaves the server running; Main closes it.
func SharedPostgres(t TB) *Postgres { t.Helper(); return sharedPostgres.get(t) }

// SharedRedis returns a Redis server for all tests of the process, started at the
// first call, with appendfsync no. A test takes a key prefix of its own and leaves
// the server running; Main closes it.
func SharedRedis(t TB) *Redis { t.Helper(); return sharedRedis.get(t) }

// SharedRedisCluster is SharedRedis with RedisConfig.Cluster.
func SharedRedisCluster(t TB) *Redis { t.Helper(); return sharedRedisCluster.get(t) }

// Main runs the tests of a package, closes the shared servers and returns the exit
// code:
//
//	func TestMain(m *testing.M) { os.Exit(testengine.Main(m)) }
func Main(m interface{ Run() int }) int {
	code := m.Run()
	err := errors.Join(sharedPostgres.close(), sharedRedis.close(), sharedRedisCluster.close())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}
