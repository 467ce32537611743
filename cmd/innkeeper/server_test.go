package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

const testPassword = "correct horse battery staple"

// server is a child process that serves, in a directory of its own.
type server struct {
	t    testing.TB
	dir  string // the data is in innkeeper-data below
	addr string
	url  string
	args []string
	env  []string // beside that of the tests
	cmd  *exec.Cmd
	out  *lockedBuffer // what every start wrote to stdout and stderr
}

// newServer prepares a server. It does not start it.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	addr, err := testengine.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: t.TempDir(), addr: addr, out: &lockedBuffer{}}
	s.url = "http://" + s.addr
	s.args = append([]string{"serve", "--listen", s.addr,
		// Clients of tests do in seconds what people do in days, and from one address.
		"--sign-in-limits", "off", "--refresh-limit", "0"}, args...)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	return s
}

// start starts the server and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.cmd = s.command(s.args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if err := waitReady(s.url); err != nil {
		s.t.Fatalf("%v\n%s", err, s.out)
	}
}

// kill takes the process away without a warning.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // says that it was killed
}

// stop asks the process to stop.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("%v\n%s", err, s.out)
	}
	s.cmd = nil
}

// command prepares a command beside the server.
func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command("innkeeper", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.out, s.out
	cmd.Env = append(cmd.Environ(), s.env...)
	return cmd
}

// run runs a command beside the server that must succeed.
func (s *server) run(stdin string, args ...string) {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("innkeeper %v: %v\n%s", args, err, s.out)
	}
}

func (s *server) data(name string) string { return filepath.Join(s.dir, "innkeeper-data", name) }

// answer is what the API says, good news and bad.
type answer struct {
	status       int
	cookies      []*http.Cookie
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Session      struct {
		ID         string `json:"id"`
		Generation uint32 `json:"generation"`
		LastSeenAt string `json:"last_seen_at"`
	} `json:"session"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

func (a *answer) String() string { return fmt.Sprintf("%d %s %s", a.status, a.Code, a.Reason) }

// call sends a request. An error means that nobody knows what became of it.
func (s *server) call(client *http.Client, method, path string, body any, headers ...string) (*answer, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, s.url+path, payload)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{status: resp.StatusCode, cookies: resp.Cookies()}
	if len(text) > 0 && text[0] == '{' {
		err = json.Unmarshal(text, a)
	}
	return a, err
}

// lockedBuffer is a buffer that a process writes to while a test reads it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write implements [io.Writer].
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// String returns all that was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
