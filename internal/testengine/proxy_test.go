package testengine_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// echo starts a server that says what it hears, until the client is done.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func proxy(t *testing.T, target string) *testengine.Proxy {
	t.Helper()
	p, err := testengine.NewProxy(target)
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	return p
}

func TestProxyPassesEverythingOn(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	conn := connect(t, p.Addr())
	sent := bytes.Repeat([]byte("inn"), 1<<20)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	check(t, err)
	if !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back", len(got), len(sent))
	}
}

func TestProxyCuts(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	conn := connect(t, p.Addr())
	ask(t, conn, "hello")
	p.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("cut: %v", err)
	}
	if got := ask(t, connect(t, p.Addr()), "again"); got != "again" {
		t.Error(got)
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	conn := connect(t, p.Addr())
	ask(t, conn, "hello")
	check(t, p.Refuse())
	check(t, p.Refuse())
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	if got := ask(t, conn, "still here"); got != "still here" {
		t.Error(got)
	}
	check(t, p.Pass())
	check(t, p.Pass())
	if got := ask(t, connect(t, p.Addr()), "again"); got != "again" {
		t.Error(got)
	}
}

// copyListener returns another descriptor of the listener at a port.
func copyListener(t *testing.T, port uint16) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		check(t, err)
		name, err := unix.Getsockname(fd)
		if local, ok := name.(*unix.SockaddrInet4); err != nil || !ok || local.Port != int(port) {
			continue
		}
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		check(t, err)
		return copied
	}
	t.Fatalf("nobody listens at port %d", port)
	return 0
}

// A test beside this one that starts a server has a copy of the listener for a moment.
func TestProxyRefusesWhileSomebodyHasACopyOfItsListener(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	copied := copyListener(t, netip.MustParseAddrPort(p.Addr()).Port())
	defer unix.Close(copied)
	check(t, p.Refuse())
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	check(t, p.Pass())
	if got := ask(t, connect(t, p.Addr()), "again"); got != "again" {
		t.Error(got)
	}
}

func TestProxyHangs(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	before := connect(t, p.Addr())
	ask(t, before, "hello")
	p.Hang()
	p.Hang()
	during := connect(t, p.Addr())
	dropped := connect(t, p.Addr())
	for _, conn := range []net.Conn{before, during} {
		_, err := io.WriteString(conn, "late\r\n")
		check(t, err)
		if !silent(t, conn) {
			t.Error("a byte passed")
		}
	}
	check(t, p.Pass())
	for _, conn := range []net.Conn{before, during} {
		if got := answer(t, conn); got != "late" {
			t.Error(got)
		}
	}

	p.Hang()
	p.Cut()
	if _, err := dropped.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("cut while it hangs: %v", err)
	}
}

func TestProxyFreezes(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t))
	frozen := connect(t, p.Addr())
	ask(t, frozen, "hello")
	p.Freeze()
	check(t, p.Pass())
	_, err := io.WriteString(frozen, "never\r\n")
	check(t, err)
	if got := ask(t, connect(t, p.Addr()), "again"); got != "again" {
		t.Error(got)
	}
	if !silent(t, frozen) {
		t.Error("a byte passed")
	}
	p.Cut()
	if _, err := frozen.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("cut while it is frozen: %v", err)
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	const delay = time.Second // a busy machine stands still for longer than milliseconds
	p := proxy(t, echo(t))
	conn := connect(t, p.Addr())
	ask(t, conn, "hello")
	p.Delay(delay)
	start := time.Now()
	ask(t, conn, "late")
	if took := time.Since(start); took < 2*delay {
		t.Errorf("there and back in %v", took)
	}

	// What is sent at once arrives at once, only later.
	start = time.Now()
	for range 20 {
		_, err := io.WriteString(conn, "late\r\n")
		check(t, err)
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		answer(t, conn)
	}
	if took := time.Since(start); took > 10*delay {
		t.Errorf("20 lines one after the other: %v", took)
	}

	p.Delay(0)
	best := time.Duration(math.MaxInt64)
	for tries := 0; tries < 10 && best > 2*delay; tries++ {
		start = time.Now()
		ask(t, conn, "early")
		best = min(best, time.Since(start))
	}
	if best > 2*delay {
		t.Errorf("without a delay: %v", best)
	}
}

func TestProxyOfNobodyEndsTheConnection(t *testing.T) {
	t.Parallel()
	target := proxy(t, "")
	check(t, target.Refuse())
	p := proxy(t, target.Addr())
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no reset: %v", err)
	}
}
