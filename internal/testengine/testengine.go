// Package testengine starts real servers for tests and benchmarks: PostgreSQL,
// Redis and nginx, on free loopback ports and with data that is thrown away.
//
//	pg, err := testengine.StartPostgres(ctx, testengine.PostgresConfig{})
//	defer pg.Close()
//	url, err := pg.CreateDatabase(ctx)
//
// A server can be stopped, killed, frozen and started again with the same port
// and data. A [Proxy] in front of any address breaks the network instead.
//
// Tests of one package share a server: [SharedPostgres], [SharedRedis] and
// [SharedRedisCluster] start it at its first use, and [Main] closes it.
//
// Whoever starts a server closes it. If the process dies before that, be it by
// SIGKILL, the kernel kills the server, and a shell that waits for this moment
// kills what is left of it and removes the data.
//
// [FreeAddr] returns an address for a server that a test starts itself.
//
// The data lies in [os.TempDir]; where that is a tmpfs, fsync costs nothing and a
// measurement of durability means nothing. Linux only.
package testengine

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ports are taken from below those that Linux gives to outgoing connections, from
// 32768 on. A stopped server's port is then still free when it starts again, and a
// client that dials it meanwhile cannot be connected to itself. The bus of a Redis
// Cluster is 10,000 above its port, and stays below too.
const (
	firstPort = 12000
	lastPort  = 22767
)

// FreeAddr returns a loopback address on which nobody listens. It stays free while
// this process lives, whether or not a server there runs: nobody who asks here, in any
// process, is given the same.
func FreeAddr() (string, error) {
	l, err := listenAnywhere()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), stopListening(l)
}

func listenAnywhere() (*net.TCPListener, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // G404: a port is no secret
		if err = claim(port); err != nil {
			continue
		}
		var l *net.TCPListener
		if l, err = listen("127.0.0.1:" + strconv.Itoa(port)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("find a free port: %w", err)
}

// claim keeps a port from all others who ask here. A name in the abstract namespace
// belongs to one socket, which this process never closes, and goes with it (unix(7)).
func claim(port int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@innkeeper-port-" + strconv.Itoa(port)}); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	return nil
}

func listen(addr string) (*net.TCPListener, error) {
	at, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenTCP("tcp4", at)
}

// stopListening closes a listener, and refuses connections from then on. Close alone does
// not: a process that is being started has a copy of each descriptor until it executes its
// program, and the system goes on accepting for it.
func stopListening(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	return errors.Join(err, refused, l.Close())
}

// hangUp closes what has served its purpose: how that ends does not matter.
func hangUp(c io.Closer) { _ = c.Close() }

// errMissing is wrapped by the error of a program that is not installed.
var errMissing = errors.New("not installed; hint: scripts/install-test-deps installs it")

// find returns the path of a program, which Debian may keep out of PATH.
func find(program string, patterns ...string) (string, error) {
	if file, err := exec.LookPath(program); err == nil {
		return filepath.Abs(file)
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		if len(files) > 0 {
			return slices.MaxFunc(files, compareVersions), nil
		}
	}
	return "", fmt.Errorf("%s: %w", program, errMissing)
}

// compareVersions orders /usr/lib/postgresql/9.6/bin before /usr/lib/postgresql/15/bin.
func compareVersions(a, b string) int {
	number := func(file string) float64 {
		n, err := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(file))), 64)
		if err != nil {
			return 0
		}
		return n
	}
	switch {
	case number(a) < number(b):
		return -1
	case number(a) > number(b):
		return 1
	}
	return strings.Compare(a, b)
}

// newDir makes a directory for the files of a server that runs as the user as, or
// as ours if that is nil.
func newDir(name string, as *syscall.Credential) (string, error) {
	// The kernel tells the resolved path of a process's directory, and we compare.
	base, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return "", err
	}
	if as != nil && !open(base) {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "innkeeper-"+name+"-")
	if err != nil {
		return "", err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return "", errors.Join(err, os.Remove(dir))
		}
	}
	return dir, nil
}

// open says whether every user can pass through a directory and all above it.
func open(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
