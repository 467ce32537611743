package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is `innkeeper serve` with a database in a directory of its own.
type server struct {
	url    string
	dir    string
	binary string
	cmd    *exec.Cmd
	client *http.Client
}

// open builds the server, imports users and starts it.
func open(ctx context.Context, users []map[string]any, flags ...string) (_ *server, err error) {
	dir, err := os.MkdirTemp("", "innkeeper-siege-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, binary: filepath.Join(dir, "innkeeper"), client: newClient()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	build := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "github.com/innkeeper-auth/innkeeper/cmd/innkeeper") //nolint:gosec // our own
	if printed, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server: %w\n%s", err, printed)
	}
	if err := s.imports(ctx, users); err != nil {
		return nil, err
	}
	return s, s.start(ctx, flags)
}

// newClient returns one with as many connections as there are attackers: none waits for
// another's.
func newClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 2048, MaxIdleConns: 2048}}
}

func (s *server) imports(ctx context.Context, users []map[string]any) error {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, user := range users {
		if err := encoder.Encode(user); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, s.binary, "user", "import", "-", "--data", s.data()) //nolint:gosec // our own
	cmd.Stdin = &lines
	if printed, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import users: %w\n%s", err, printed)
	}
	return nil
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) start(ctx context.Context, flags []string) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	s.url = "http://" + addr
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has a descriptor of its own
	args := append([]string{"serve", "--listen", addr, "--data", s.data(), "--trusted-proxy", "127.0.0.0/8"}, flags...)
	s.cmd = exec.Command(s.binary, args...) //nolint:gosec,noctx // our own; it ends with close
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if status, _, err := s.get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the server is not ready\n%s", s.log())
}

func freeAddr(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

func (s *server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // empty if there is none
	return string(text)
}

// close stops the server and deletes all that it had.
func (s *server) close() error {
	var err error
	if s.cmd != nil && s.cmd.Process != nil {
		err = errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *server) get(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	a, err := s.send(req)
	return a.status, a.body, err
}

// answer is what an attacker sees of one.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// post sends JSON from an address, as a browser without cookies or with a bearer would.
func (s *server) post(ctx context.Context, path, from, bearer string, body any) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(text))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", from)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return s.send(req)
}

func (s *server) send(req *http.Request) (answer, error) {
	began := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, time.Since(began)}, err
}

// login signs in from an address, with the token of a known device or with none.
func (s *server) login(ctx context.Context, from, name, password, device string) (answer, error) {
	body := map[string]string{"username": name, "password": password, "delivery": "body"}
	if device != "" {
		body["device_token"] = device
	}
	return s.post(ctx, "/auth/login", from, "", body)
}

// tokens are those of an answer to a sign-in.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Device  string `json:"device_token"`
}

// enter signs in somebody who has to get in.
func (s *server) enter(ctx context.Context, from, name string) (tokens, error) {
	var t tokens
	a, err := s.login(ctx, from, name, right, "")
	if err != nil {
		return t, err
	}
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		return t, fmt.Errorf("sign in %s: %d %s", name, a.status, a.body)
	}
	err = json.Unmarshal(a.body, &t)
	return t, err
}

// memory returns the most that the server, and the process that hashes for it, have had
// resident since the last call of forgetMemory, in MiB.
func (s *server) memory() (int, error) {
	sum := 0
	for _, pid := range s.processes() {
		kib, err := highWater(pid)
		if err != nil {
			return 0, err
		}
		sum += kib
	}
	return sum / 1024, nil
}

func highWater(pid string) (kib int, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "status")) //nolint:gosec // G304: of our own processes
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, errors.New("no VmHWM")
}

func (s *server) forgetMemory() error {
	for _, pid := range s.processes() {
		if err := os.WriteFile(filepath.Join("/proc", pid, "clear_refs"), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}

// processes are the server and its children.
func (s *server) processes() []string {
	self := strconv.Itoa(s.cmd.Process.Pid)
	all := []string{self}
	lists, _ := filepath.Glob(filepath.Join("/proc", self, "task", "*", "children")) // the pattern is right
	for _, list := range lists {
		if text, err := os.ReadFile(list); err == nil { //nolint:gosec // G304: as above; a thread may have ended
			all = append(all, strings.Fields(string(text))...)
		}
	}
	return all
}
