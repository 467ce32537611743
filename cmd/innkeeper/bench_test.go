package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBenchInterrupted shows what was measured before ctrl-c, and logs out.
func TestBenchInterrupted(t *testing.T) {
	s := newServer(t)
	s.run(testPassword+"\n", "user", "add", "ada", "--password-stdin")
	s.start()
	bench := startBench(t, s, "--clients", "3", "--duration", "1h", "--warm-up", "0s", "--json")
	waitRefreshed(t, s)
	time.Sleep(500 * time.Millisecond) // and on it goes
	if err := bench.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := bench.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &bench.err)
	}
	var result benchObject
	if err := json.Unmarshal(bench.out.Bytes(), &result); err != nil {
		t.Fatalf("%v: %s", err, &bench.out)
	}
	if !result.CutShort || result.All.Requests == 0 || result.All.Failed != 0 || result.Elapsed < .1 || result.Elapsed > 60 {
		t.Errorf("got %s", &bench.out)
	}
	waitSessions(t, s, 0)
}

// TestBenchFailures ends with a table of what failed, and with an error, when the
// sessions are ended while it runs. The clients sign in again.
func TestBenchFailures(t *testing.T) {
	s := newServer(t)
	s.run(testPassword+"\n", "user", "add", "ada", "--password-stdin")
	s.start()
	bench := startBench(t, s, "--clients", "3", "--duration", "1h", "--warm-up", "0s")
	waitSessions(t, s, 3)
	s.run("", "session", "end", "--user", "ada")
	waitSessions(t, s, 3)
	waitRefreshed(t, s)
	if err := bench.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = bench.cmd.Wait() // says that it failed
	if code := bench.cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"cut short: this was measured in ", "FAILURE ", "401 session_ended ", "refresh  3\n", "\nlogin ", "\nall "} {
		if !strings.Contains(bench.out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &bench.out)
		}
	}
	want := "innkeeper: 3 requests failed, the first with: POST /auth/refresh: 401 session_ended: the session has ended; sign in\n" +
		"hint: the server's log may say more\n"
	if got := bench.err.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	waitSessions(t, s, 0)
}

// TestStatusLine rewrites one line, and only for people.
func TestStatusLine(t *testing.T) {
	var out bytes.Buffer
	line := &statusLine{out: &out}
	line.show("%d of %d", 1, 2)
	line.show("%d of %d", 2, 2)
	line.clear()
	if got, want := out.String(), "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	file, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	line = newStatusLine(file)
	line.show("1 of 2")
	line.clear()
	if written, err := os.ReadFile(file.Name()); err != nil || len(written) > 0 {
		t.Errorf("a file got %q, %v", written, err)
	}
}

// runningBench is a bench command that runs, and what it has printed.
type runningBench struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func startBench(t *testing.T, s *server, args ...string) *runningBench {
	t.Helper()
	b := &runningBench{cmd: s.command(append([]string{"bench", s.url, "--username", "ada"}, args...)...)}
	b.cmd.Env = append(os.Environ(), "INNKEEPER_BENCH_PASSWORD="+testPassword)
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.err
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	return b
}

// waitSessions waits until ada has so many live sessions.
func waitSessions(t *testing.T, s *server, want int) {
	t.Helper()
	s.awaitSessions(func(sessions []sessionObject) bool { return len(sessions) == want })
}

// waitRefreshed waits until ada has three live sessions, each of which was refreshed.
func waitRefreshed(t *testing.T, s *server) {
	t.Helper()
	fresh := func(session sessionObject) bool { return session.LastSeenAt.Equal(session.CreatedAt) }
	s.awaitSessions(func(sessions []sessionObject) bool {
		return len(sessions) == 3 && !slices.ContainsFunc(sessions, fresh)
	})
}

// awaitSessions waits until the live sessions of ada are as they should be.
func (s *server) awaitSessions(good func([]sessionObject) bool) {
	s.t.Helper()
	var sessions []sessionObject
	for range 500 {
		cmd := exec.Command("innkeeper", "session", "list", "ada", "--output", "json")
		cmd.Dir = s.dir
		listed, err := cmd.Output()
		if err != nil {
			s.t.Fatal(err)
		}
		if err := json.Unmarshal(listed, &sessions); err != nil {
			s.t.Fatal(err)
		}
		if good(sessions) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("the sessions are %+v", sessions)
}
