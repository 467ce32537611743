package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

const guestPassword = "correct horse battery staple"

// house is what compose.yaml describes, running without containers: a real
// PostgreSQL, a real Redis, a real nginx, and two processes of the binary.
type house struct {
	t           testing.TB
	composition composition
	secrets     string // directory of the secrets
	nodes       map[string]*process
	nginx       *testengine.Nginx
}

// startHouse brings up the composition. Everything that differs from the file is a
// call of replace or a line of this function.
func startHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, composition: readComposition(t), secrets: makeSecrets(t), nodes: make(map[string]*process)}
	postgres, redis := h.startPostgres(), h.startRedis()

	// The databases are elsewhere. Passwords: Redis asks for the one of make-secrets,
	// the PostgreSQL of the tests asks nobody on this machine.
	database, err := postgres.CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := database[strings.LastIndex(database, "/")+1 : strings.Index(database, "?")]
	settings := read(t, filepath.Join(h.secrets, "innkeeper.yaml"))
	settings = replace(t, settings, "@postgres:5432/innkeeper?", "@"+postgres.Addr()+"/"+name+"?")
	settings = replace(t, settings, "@redis:6379/", "@"+redis.Addr()+"/")
	if err := os.WriteFile(filepath.Join(h.secrets, "innkeeper.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"node1", "node2"} {
		h.nodes[name] = &process{t: t, name: name, addr: freeAddr(t)}
	}
	h.run("migrate", "")
	h.run("node1", guestPassword, "user", "add", "ada", "--password-stdin")
	for _, name := range []string{"node1", "node2"} {
		h.startNode(name)
	}
	conf := nginxConf(t, h.nodes["node1"].addr, h.nodes["node2"].addr)
	h.nginx = startNginx(t, replace(t, conf, "keepalive_timeout 4s;", "keepalive_timeout 400ms;"))
	return h
}

// startPostgres starts PostgreSQL with the settings of the service's command.
func (h *house) startPostgres() *testengine.Postgres {
	h.t.Helper()
	command := h.composition.Services["postgres"].Command
	settings := make(map[string]string)
	for i := 1; i+1 < len(command); i += 2 { // postgres, then pairs of -c and name=value
		name, value, ok := strings.Cut(command[i+1], "=")
		if command[i] != "-c" || !ok {
			h.t.Fatalf("the command of postgres has %q", command[i:])
		}
		settings[name] = value
	}
	postgres, err := testengine.StartPostgres(h.t.Context(), testengine.PostgresConfig{Settings: settings})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = postgres.Close() })
	return postgres
}

// startRedis starts Redis with the settings of the service's command, and then
// gives it the password of its secret.
func (h *house) startRedis() *testengine.Redis {
	h.t.Helper()
	command := h.composition.Services["redis"].Command
	settings := make(map[string]string)
	for i := 2; i+1 < len(command); i += 2 { // redis-server, the file, then pairs of --name and value
		settings[strings.TrimPrefix(command[i], "--")] = command[i+1]
		if command[i+1] == "" {
			settings[strings.TrimPrefix(command[i], "--")] = `""`
		}
	}
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"} {
		if settings[name] != want {
			h.t.Errorf("redis runs with %s %q", name, settings[name])
		}
	}
	redis, err := testengine.StartRedis(h.t.Context(), testengine.RedisConfig{Settings: settings})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = redis.Close() })
	conn, err := net.Dial("tcp", redis.Addr())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONFIG SET %s\r\n", strings.TrimSpace(read(h.t, filepath.Join(h.secrets, "redis.conf"))))
	if reply, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(reply, "+OK") {
		h.t.Fatalf("requirepass: %q %v", reply, err)
	}
	return redis
}

// environment is that of a service in a container: what the image has and what the
// file adds, and nothing of ours.
func (h *house) environment(name string) []string {
	env := imageEnvironment(h.t)
	maps.Copy(env, h.composition.Services[name].Environment)
	env["INNKEEPER_DATA"] = replace(h.t, env["INNKEEPER_DATA"], "/data", filepath.Join(h.secrets, "..", "data"))
	env["INNKEEPER_CONFIG"] = replace(h.t, env["INNKEEPER_CONFIG"], "/run/secrets", h.secrets)
	env["INNKEEPER_ROOT_KEY_FILE"] = replace(h.t, env["INNKEEPER_ROOT_KEY_FILE"], "/run/secrets", h.secrets)
	// Both nodes are on this machine, and nginx calls them from 127.0.0.1.
	if node := h.nodes[name]; node != nil {
		env["INNKEEPER_LISTEN"] = replace(h.t, env["INNKEEPER_LISTEN"], ":8080", node.addr)
	}
	env["INNKEEPER_TRUSTED_PROXY"] = replace(h.t, env["INNKEEPER_TRUSTED_PROXY"], "172.30.81.2", "127.0.0.1")
	// Shorter, and still longer than fail_timeout in nginx.conf.
	env["INNKEEPER_DRAIN_DELAY"] = replace(h.t, env["INNKEEPER_DRAIN_DELAY"], "5s", "2500ms")
	// The few clients here refresh without a pause.
	env["INNKEEPER_REFRESH_LIMIT"] = "0"
	var all []string
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	return all
}

// run runs a service to its end: with its own command, or with another one.
func (h *house) run(name, stdin string, args ...string) {
	h.t.Helper()
	if args == nil {
		args = h.composition.Services[name].Command
	}
	cmd := exec.Command(builtBinary(h.t), args...)
	cmd.Env, cmd.Stdin, cmd.Dir = h.environment(name), strings.NewReader(stdin), h.t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%s: innkeeper %v: %v\n%s", name, args, err, out)
	}
}

// process is a node.
type process struct {
	t     testing.TB
	name  string
	addr  string
	cmd   *exec.Cmd
	log   bytes.Buffer  // of the last start; to be read when it has ended
	ended chan struct{} // closed when it has
	err   error
}

func (h *house) startNode(name string) {
	h.t.Helper()
	cmd := exec.Command(builtBinary(h.t), h.composition.Services[name].Command...)
	cmd.Env, cmd.Dir = h.environment(name), h.t.TempDir()
	h.nodes[name].launch(cmd)
}

// launch starts a server and waits until it is ready.
func (n *process) launch(cmd *exec.Cmd) {
	n.t.Helper()
	n.log.Reset()
	n.cmd, cmd.Stdout, cmd.Stderr = cmd, &n.log, &n.log
	n.start()
	n.t.Cleanup(func() { n.end(syscall.SIGKILL) })
	for range 1000 {
		resp, err := http.Get("http://" + n.addr + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.end(syscall.SIGKILL)
	n.t.Fatalf("%s is not ready:\n%s", n.name, &n.log)
}

// start starts the process, so that the kernel kills it if we die. What the kernel
// takes for us is the thread that has forked, so a goroutine keeps that.
func (n *process) start() {
	n.t.Helper()
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := n.cmd.Start()
		started <- err
		if err == nil {
			n.err = n.cmd.Wait()
			close(n.ended)
		}
	}()
	if err := <-started; err != nil {
		n.t.Fatal(err)
	}
}

// end sends a signal and waits for the end, for longer than it may take.
func (n *process) end(sig syscall.Signal) {
	n.t.Helper()
	client.CloseIdleConnections() // it would wait for them, and nobody uses them any more
	_ = n.cmd.Process.Signal(sig)
	select {
	case <-n.ended:
	case <-time.After(25 * time.Second):
		_ = n.cmd.Process.Signal(syscall.SIGQUIT) // and say where it stands
		<-n.ended
		n.t.Fatalf("%s does not end:\n%s", n.name, &n.log)
	}
	if n.err != nil && sig == syscall.SIGTERM {
		n.t.Errorf("%s: %v\n%s", n.name, n.err, &n.log)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := testengine.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// answer is what the API says, good news and bad.
type answer struct {
	status       int
	node         string // which nginx has asked
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Session      struct {
		ID         string `json:"id"`
		Generation uint32 `json:"generation"`
		IP         string `json:"ip"`
	} `json:"session"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

func (a *answer) String() string {
	return fmt.Sprintf("%d %s %s from %s", a.status, a.Code, a.Reason, a.node)
}

// client is somebody who calls from 127.0.0.2, so that nginx, which calls the nodes
// from 127.0.0.1, can be told from its clients.
var client = &http.Client{
	Timeout: 40 * time.Second,
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext:         (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	},
}

func call(method, addr, path string, body map[string]string, headers ...string) (*answer, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://"+addr+path, payload)
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
	a := &answer{status: resp.StatusCode, node: resp.Header.Get("X-Asked")}
	if len(text) > 0 && text[0] == '{' {
		err = json.Unmarshal(text, a)
	}
	return a, err
}

// must calls, and fails the test if the answer is not the wanted one.
func must(t testing.TB, status int, a *answer, err error) *answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("got %v, want %d", a, status)
	}
	return a
}

func signIn(addr string) (*answer, error) {
	return call("POST", addr, "/auth/login", map[string]string{"username": "ada", "password": guestPassword, "delivery": "body"})
}

// refresh without a key is one that no proxy may repeat.
func refresh(addr, token, key string) (*answer, error) {
	body := map[string]string{"refresh_token": token}
	if key == "" {
		return call("POST", addr, "/auth/refresh", body)
	}
	return call("POST", addr, "/auth/refresh", body, "Idempotency-Key", key)
}

func newKey(generation uint32) string {
	return fmt.Sprintf(`"%016x%016x";generation=%d`, rand.Uint64(), rand.Uint64(), generation)
}

// TestTwoNodesBehindNginx runs the composition and does to it what operators and
// bad days do.
func TestTwoNodesBehindNginx(t *testing.T) {
	began := time.Now()
	h := startHouse(t)
	one, two, front := h.nodes["node1"].addr, h.nodes["node2"].addr, h.nginx.Addr()

	// One session, both nodes: sign in on the first, refresh on the second, revoke on
	// the first, and the second refuses at once.
	a, err := signIn(one)
	a = must(t, http.StatusOK, a, err)
	a, err = refresh(two, a.RefreshToken, newKey(1))
	a = must(t, http.StatusOK, a, err)
	me, err := call("GET", two, "/auth/me", nil, "Authorization", "Bearer "+a.AccessToken)
	must(t, http.StatusOK, me, err)
	out, err := call("POST", one, "/auth/logout", map[string]string{"refresh_token": a.RefreshToken})
	must(t, http.StatusNoContent, out, err)
	refused, err := refresh(two, a.RefreshToken, newKey(2))
	if refused = must(t, http.StatusUnauthorized, refused, err); refused.Code != "session_ended" || refused.Reason != "logout" {
		t.Errorf("after a logout on the other node: %v", refused)
	}
	refused, err = call("GET", two, "/auth/me", nil, "Authorization", "Bearer "+a.AccessToken)
	must(t, http.StatusUnauthorized, refused, err)

	h.checkThroughNginx(front)
	t.Logf("running and tried after %v", time.Since(began).Round(time.Millisecond))

	// A rolling restart: the first node, then at once the second one. Nobody notices.
	guests := h.startGuests(front, 8, true)
	h.nodes["node1"].end(syscall.SIGTERM)
	if after := guests.answers(); !slices.Equal(after, []string{two}) {
		t.Errorf("without the first node, the answers came from %v", after)
	}
	h.startNode("node1")
	h.nodes["node2"].end(syscall.SIGTERM)
	if after := guests.answers(); !slices.Equal(after, []string{one}) {
		t.Errorf("without the second node, the answers came from %v", after)
	}
	h.startNode("node2")
	guests.stop("a rolling restart")

	// A node that dies: who refreshes with a key does not notice either. A sign-in
	// might, and would be told 503.
	time.Sleep(2 * time.Second) // nginx remembers that the second node was away
	guests = h.startGuests(front, 8, false)
	h.nodes["node1"].end(syscall.SIGKILL)
	time.Sleep(300 * time.Millisecond)
	guests.stop("a node that died")

	// Both nodes are gone: nginx says so in the words of the API.
	h.nodes["node2"].end(syscall.SIGKILL)
	gone, err := refresh(front, a.RefreshToken, newKey(2))
	if gone = must(t, http.StatusServiceUnavailable, gone, err); gone.Code != "unavailable" {
		t.Errorf("without nodes: %v", gone)
	}
	t.Logf("took %v", time.Since(began).Round(time.Millisecond))
}

// checkThroughNginx is one session whose requests go to either node.
func (h *house) checkThroughNginx(front string) {
	h.t.Helper()
	a, err := signIn(front)
	a = must(h.t, http.StatusOK, a, err)
	asked := make(map[string]bool)
	for range 10 {
		key := newKey(a.Session.Generation)
		next, err := refresh(front, a.RefreshToken, key)
		next = must(h.t, http.StatusOK, next, err)
		// The answer was lost, and the other node is asked again.
		again, err := refresh(front, a.RefreshToken, key)
		again = must(h.t, http.StatusOK, again, err)
		if again.RefreshToken != next.RefreshToken {
			h.t.Error("a retry got another successor")
		}
		asked[next.node], asked[again.node] = true, true
		a = next
	}
	if want := []string{h.nodes["node1"].addr, h.nodes["node2"].addr}; len(asked) != 2 || !asked[want[0]] || !asked[want[1]] {
		h.t.Errorf("asked %v, want both of %v", asked, want)
	}
	// What a client says about its own address counts for nothing.
	list, err := call("GET", front, "/auth/me", nil, "Authorization", "Bearer "+a.AccessToken, "X-Forwarded-For", "203.0.113.9")
	list = must(h.t, http.StatusOK, list, err)
	if list.Session.IP != "127.0.0.2" {
		h.t.Errorf("the session belongs to %q", list.Session.IP)
	}
}

// guests are honest clients who go on and on through nginx.
type guests struct {
	t        testing.TB
	leave    context.CancelFunc
	gone     sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex
	asked    map[string]bool // who answered since answers was called
	failures []string
}

// startGuests lets some clients refresh and look. While nobody dies, every other
// refresh has no key, and one more client signs in: nginx may repeat neither.
func (h *house) startGuests(front string, number int, nobodyDies bool) *guests {
	h.t.Helper()
	ctx, leave := context.WithCancel(h.t.Context())
	g := &guests{t: h.t, leave: leave, asked: make(map[string]bool)}
	for range number {
		a, err := signIn(front)
		a = must(h.t, http.StatusOK, a, err)
		g.gone.Go(func() {
			for ctx.Err() == nil {
				key := newKey(a.Session.Generation)
				if nobodyDies && a.Session.Generation%2 == 1 {
					key = ""
				}
				next, err := refresh(front, a.RefreshToken, key)
				if !g.note("refresh", next, err) {
					return
				}
				a = next
				me, err := call("GET", front, "/auth/me", nil, "Authorization", "Bearer "+a.AccessToken)
				if !g.note("me", me, err) {
					return
				}
			}
		})
	}
	if nobodyDies {
		g.gone.Go(func() {
			for ctx.Err() == nil {
				a, err := signIn(front)
				if !g.note("sign-in", a, err) {
					return
				}
				time.Sleep(200 * time.Millisecond) // nginx allows five a second
			}
		})
	}
	h.t.Cleanup(func() { leave(); g.gone.Wait() })
	time.Sleep(200 * time.Millisecond)
	return g
}

// note remembers who answered, and what went wrong.
func (g *guests) note(what string, a *answer, err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests.Add(1)
	if err != nil || a.status != http.StatusOK {
		g.failures = append(g.failures, fmt.Sprintf("%s: %v %v", what, a, err))
		return false
	}
	nodes := strings.Split(a.node, ", ")
	g.asked[nodes[len(nodes)-1]] = true
	return true
}

// answers returns who gives the next twenty answers.
func (g *guests) answers() []string {
	g.t.Helper()
	time.Sleep(100 * time.Millisecond) // what had begun before
	g.mu.Lock()
	g.asked = make(map[string]bool)
	g.mu.Unlock()
	for enough, deadline := g.requests.Load()+20, time.Now().Add(20*time.Second); g.requests.Load() < enough; {
		if time.Now().After(deadline) {
			g.t.Error("nobody answers")
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.asked))
}

// stop lets the guests leave. Not one request may have failed.
func (g *guests) stop(during string) {
	g.t.Helper()
	g.leave()
	g.gone.Wait()
	for _, failure := range g.failures {
		g.t.Errorf("during %s: %s", during, failure)
	}
	g.t.Logf("%s: %d requests, %d failed", during, g.requests.Load(), len(g.failures))
}
