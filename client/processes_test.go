//go:build unix

package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// The multi-process test runs this binary again, as programs that share one file.
const (
	childVariable = "INNKEEPER_CLIENT_TEST_CHILD" // its value is a childOrder
	crew          = 8                             // processes
	hands         = 16                            // goroutines of each
	speed         = 25                            // how much faster time passes for tokens
)

type childOrder struct {
	Server, File string
	Start        time.Time // of the fast time
}

// fastTime makes a token's 5 seconds, the least that a server gives, pass in 400 ms.
func fastTime(start time.Time) time.Time { return start.Add(time.Since(start) * speed) }

// childCounts are what a process has seen.
type childCounts struct {
	Tokens, Unavailable, SignedOut, Refused, Other int64
	Error                                          string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var order childOrder
		if err := json.Unmarshal([]byte(text), &order); err != nil {
			panic(err)
		}
		order.work()
		return
	}
	os.Exit(m.Run())
}

// work uses the session until standard input ends, and says what it was like.
func (o childOrder) work() {
	store, err := client.NewFileStore(o.File)
	if err != nil {
		panic(err)
	}
	source, err := client.New(client.Config{
		Server: o.Server, Store: store, Now: func() time.Time { return fastTime(o.Start) },
		Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("X-Process", strconv.Itoa(os.Getpid())) // whom to kill
			return http.DefaultTransport.RoundTrip(r)
		}),
	})
	if err != nil {
		panic(err)
	}
	hc, err := source.HTTPClient(o.Server)
	if err != nil {
		panic(err)
	}
	go fillDisk()
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var counts childCounts
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range hands {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := visit(ctx, hc, o.Server)
				mu.Lock()
				counts.count(ctx, err)
				mu.Unlock()
				_ = pause(ctx, rand.N(10*time.Millisecond))
			}
		})
	}
	wg.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(counts)
}

var errRefused = errors.New("the API has refused the token")

func visit(ctx context.Context, hc *http.Client, server string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/auth/check", nil)
	if err != nil {
		return err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return errRefused
	}
	return err
}

func (c *childCounts) count(ctx context.Context, err error) {
	switch {
	case err == nil:
		c.Tokens++
	case ctx.Err() != nil:
	case errors.Is(err, client.ErrSignedOut):
		c.SignedOut++
		c.Error = err.Error()
	case errors.Is(err, client.ErrUnavailable):
		c.Unavailable++
	case errors.Is(err, errRefused):
		c.Refused++
	default:
		c.Other++
		c.Error = err.Error()
	}
}

// fillDisk makes every write to a file fail for a while when SIGUSR1 comes, as on a disk
// that is full.
func fillDisk() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	signal.Ignore(unix.SIGXFSZ)
	for range signals {
		var before unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_FSIZE, &before) != nil {
			continue
		}
		_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 10, Max: before.Max}) // not enough for a key
		time.Sleep(200 * time.Millisecond)
		_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &before)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestProcessesShareOneFile: 8 processes with 16 goroutines each refresh one session.
// They are killed at the worst of moments, answers are lost, the directory cannot be
// written, the disk is full; and nobody is signed out.
func TestProcessesShareOneFile(t *testing.T) {
	s := newShip(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute) // of a machine that is very busy
	defer stop()
	go func() {
		_ = pause(ctx, 5*time.Second)
		for !s.seenEnough() && pause(ctx, 50*time.Millisecond) == nil {
		}
		stop()
	}()
	var wg sync.WaitGroup
	for n := range crew {
		wg.Go(func() { s.man(ctx, n) })
	}
	wg.Go(func() { s.weather(ctx) })
	wg.Wait()

	session := mustLoad(t, s.store)
	last := mustToken(t, s.source(t, s.store, func(cfg *client.Config) { cfg.Now = s.now }))
	t.Logf("%d processes x %d goroutines: generation %d after %d requests, %d kills, %d lost answers, %d times read-only, %d full disks",
		crew, hands, session.Generation, s.refreshes.Load(), s.kills.Load(), s.lost.Load(), s.readOnly.Load(), s.full.Load())
	t.Logf("what they saw: %+v; %d thefts, %d tokens with two successors", s.total, s.alarms.Load(), s.forks)
	if s.total.SignedOut+s.total.Other > 0 {
		t.Errorf("honest people were signed out %d times; %s", s.total.SignedOut, s.total.Error)
	}
	if last.SessionID != session.ID || !s.alive(t) {
		t.Error("the session is over")
	}
	if !s.seenEnough() || s.total.Tokens == 0 {
		t.Error("some of this hardly happened: the test proves nothing")
	}
}

// seenEnough reports whether everything that this is about has happened.
func (s *ship) seenEnough() bool {
	return s.refreshes.Load() >= 30 && s.visits.Load() >= 500 && s.kills.Load() >= 10 && s.lost.Load() >= 5 &&
		s.readOnly.Load() >= 2 && s.full.Load() >= 2
}

// ship is the server, the file, and those who share it.
type ship struct {
	*inn
	t     *testing.T
	store *client.FileStore
	order childOrder
	now   func() time.Time

	kills, lost, readOnly, full atomic.Int64

	mu    sync.Mutex
	total childCounts
	pids  map[int]*os.Process
}

func newShip(t *testing.T) *ship {
	store := newFileStore(t)
	s := &ship{t: t, store: store, pids: make(map[int]*os.Process)}
	s.inn = newInn(t, &innkeepertest.Options{Policy: innkeeper.Policy{AccessTTL: 5 * time.Second}})
	s.setFault(s.storm)
	start := s.Clock.Now()
	s.order = childOrder{Server: s.URL, File: store.Path(), Start: start}
	s.now = func() time.Time { return fastTime(start) }
	// The server lives in the fast time too. It is moved in small steps, always a little
	// behind, so that no token is refused for a step that its owner has not noticed.
	ticking, stop := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() {
		for ticking.Err() == nil {
			if ahead := s.now().Sub(s.Clock.Now()); ahead > 0 {
				s.Clock.Advance(ahead)
			}
			_ = pause(ticking, time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); over.Wait() })
	source := s.signedIn(t, store, func(cfg *client.Config) { cfg.Now = s.now })
	check(t, source.Close())
	return s
}

// storm is what happens to refreshes.
func (s *ship) storm(w http.ResponseWriter, r *http.Request, next http.Handler) {
	switch rand.N(8) {
	case 0: // the answer is lost
		s.lost.Add(1)
		act(r, next)
		reset(w)
		return
	case 1:
		s.lost.Add(1)
		reset(w)
		return
	case 2:
		time.Sleep(rand.N(50 * time.Millisecond))
	}
	next.ServeHTTP(w, r)
	if rand.N(3) == 0 { // whoever has asked is killed before, while or after it stores the answer
		pid, _ := strconv.Atoi(r.Header.Get("X-Process"))
		_ = http.NewResponseController(w).Flush()
		time.Sleep(rand.N(6 * time.Millisecond))
		s.kill(pid)
	}
}

func (s *ship) kill(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if process := s.pids[pid]; process != nil && process.Kill() == nil {
		s.kills.Add(1)
	}
}

// killAny kills one of them, whatever it is doing.
func (s *ship) killAny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, process := range s.pids {
		if process.Kill() == nil {
			s.kills.Add(1)
		}
		return
	}
}

// man keeps one process running, and starts another when it was killed.
func (s *ship) man(ctx context.Context, n int) {
	for ctx.Err() == nil {
		if err := s.run(ctx); err != nil && ctx.Err() == nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ProcessState.ExitCode() != -1 { // not by a signal
				s.t.Errorf("process %d: %v", n, err)
				return
			}
		}
	}
}

func (s *ship) run(ctx context.Context) error {
	command := append(withoutPrivilege(), os.Args[0], "-test.run=^$")
	child := exec.Command(command[0], command[1:]...)
	order, err := json.Marshal(s.order)
	if err != nil {
		return err
	}
	child.Env = append(os.Environ(), childVariable+"="+string(order))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.pids[child.Process.Pid] = child.Process
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { _ = stdin.Close() })()
	line, _ := bufio.NewReader(stdout).ReadBytes('\n') // nothing, of one that was killed
	err = child.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, child.Process.Pid)
	var counts childCounts
	if json.Unmarshal(line, &counts) == nil {
		s.total.add(counts)
	}
	return err
}

func (c *childCounts) add(other childCounts) {
	c.Tokens += other.Tokens
	c.Unavailable += other.Unavailable
	c.SignedOut += other.SignedOut
	c.Refused += other.Refused
	c.Other += other.Other
	if other.Error != "" {
		c.Error = other.Error
	}
}

// withoutPrivilege begins a command that cannot write where modes forbid it, as the
// superuser can.
func withoutPrivilege() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		return nil
	}
	return []string{"setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"}
}

// weather makes the directory read-only, or the disk of a process full, now and then.
func (s *ship) weather(ctx context.Context) {
	dirs := []string{filepath.Dir(s.store.Path()), s.store.Path() + ".keys"}
	for pause(ctx, time.Second) == nil {
		s.killAny()
		if rand.N(2) == 0 {
			s.mu.Lock()
			for _, process := range s.pids {
				if process.Signal(unix.SIGUSR1) == nil {
					s.full.Add(1)
				}
			}
			s.mu.Unlock()
			continue
		}
		for _, dir := range dirs {
			_ = os.Chmod(dir, 0o500)
		}
		s.readOnly.Add(1)
		_ = pause(ctx, 200*time.Millisecond)
		for _, dir := range dirs {
			_ = os.Chmod(dir, 0o700)
		}
	}
}
