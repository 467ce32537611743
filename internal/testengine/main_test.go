package testengine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// orphanMaker makes this program start servers, tell where they are and wait to be
// killed.
const orphanMaker = "TESTENGINE_MAKE_ORPHANS"

// TestMain also looks whether anything is left of all the servers of this package,
// the shared ones included.
func TestMain(m *testing.M) {
	if os.Getenv(orphanMaker) != "" {
		makeOrphans()
	}
	tmp, err := os.MkdirTemp("", "testengine-test-")
	if err != nil {
		panic(err)
	}
	// PostgreSQL's user has to get in.
	if err := errors.Join(os.Chmod(tmp, 0o755), os.Setenv("TMPDIR", tmp)); err != nil {
		panic(err)
	}
	code := testengine.Main(m)
	if left := leftIn(tmp); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left behind: %v\n", left)
		code = 1
	}
	_ = os.RemoveAll(tmp)
	os.Exit(code)
}

// leftIn returns the files in a directory and the processes that work below.
func leftIn(dir string) []string {
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		panic(err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		panic(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			left = append(left, link+": "+cwd)
		}
	}
	return left
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect opens a connection that ends with the test and does not wait for ever.
func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func refused(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err != nil
}

// hold listens where a server should, without a word, until release is called.
func hold(t *testing.T, addr string) (release func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return func() { l.Close() }
}

// ask sends a line and returns the first line of the answer.
func ask(t *testing.T, conn net.Conn, command string) string {
	t.Helper()
	_, err := io.WriteString(conn, command+"\r\n")
	check(t, err)
	return answer(t, conn)
}

func answer(t *testing.T, conn net.Conn) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(line), "\r\n"); line = append(line, b[0]) {
		_, err := io.ReadFull(conn, b)
		check(t, err)
	}
	return strings.TrimSpace(string(line))
}

// silent says whether nothing arrives within a while.
func silent(t *testing.T, conn net.Conn) bool {
	t.Helper()
	check(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	check(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func makeOrphans() {
	ctx := context.Background()
	pg := must(testengine.StartPostgres(ctx, testengine.PostgresConfig{Unsafe: true}))
	// PostgreSQL ends its own children when its main process dies, unless they sleep.
	if err := pg.Freeze(); err != nil {
		panic(err)
	}
	redis := must(testengine.StartRedis(ctx, testengine.RedisConfig{}))
	nginx := must(testengine.StartNginx(ctx, "server { listen {{addr}}; }"))
	if _, err := fmt.Fprintln(os.Stdout, pg.Addr(), redis.Addr(), nginx.Addr()); err != nil {
		panic(err)
	}
	select {}
}
