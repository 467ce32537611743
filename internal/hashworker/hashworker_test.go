package hashworker

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/password"
)

// TestMain lets the test binary be the process that hashes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "hash-worker" {
		spareTime := os.Args[len(os.Args)-1] == SpareTime
		if err := Serve(slog.New(slog.NewTextHandler(os.Stderr, nil)), os.Stdin, os.Stdout, spareTime); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

var _ password.Engine = (*Worker)(nil)

var cheap = password.Params{Memory: 64, Iterations: 1, Parallelism: 1}

func newWorker(t *testing.T) (w *Worker, log *bytes.Buffer) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log = &bytes.Buffer{} // written to under no lock: by one goroutine at a time
	w = New(slog.New(slog.NewTextHandler(log, nil)), path, "hashes", "hash-worker")
	t.Cleanup(w.Close)
	return w, log
}

// wantRight checks that a hash, and a comparison, is what this process would compute.
func wantRight(t *testing.T, w *Worker, secret string) {
	t.Helper()
	salt := []byte("sixteen bytes of")
	tag := password.Argon2id(cheap, salt, []byte(secret))
	if got := w.Argon2id(cheap, salt, []byte(secret)); !bytes.Equal(got, tag) {
		t.Errorf("%s: got %x, want %x", secret, got, tag)
	}
	imported := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", text(salt), text(tag))
	if !w.MatchesImported(imported, []byte(secret)) || w.MatchesImported(imported, []byte(secret+"?")) {
		t.Errorf("%s: does not match %s, or all does", secret, imported)
	}
}

func text(raw []byte) string { return base64.RawStdEncoding.EncodeToString(raw) }

func (r *runner) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return 0
	}
	return r.process.cmd.Process.Pid
}

// at sets when a process may be started.
func (r *runner) at(moment time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notYet = moment
}

// starve lets a worker have no spare time from now on, or enough.
func (r *runner) starve(hungry bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hungryUntil = time.Time{}
	if hungry {
		r.hungryUntil = time.Now().Add(time.Hour)
	}
}

// TestMany: many at once, all right, and all by one other process.
func TestMany(t *testing.T) {
	w, log := newWorker(t)
	w.spare.starve(true) // on a machine that others keep busy it may, at any moment
	wantRight(t, w, "the first one")
	first := w.share.pid()
	var all sync.WaitGroup
	for n := range 32 {
		all.Go(func() { wantRight(t, w, strings.Repeat("x", n+1)) })
	}
	all.Wait()
	if first == 0 || first == os.Getpid() || w.share.pid() != first {
		t.Errorf("this is process %d; hashes were computed by %d and %d", os.Getpid(), first, w.share.pid())
	}
	if log.Len() != 0 {
		t.Errorf("it complains: %s", log)
	}
}

// TestDeath: who dies is replaced, a second after it was started, and nobody is refused
// until then.
func TestDeath(t *testing.T) {
	w, log := newWorker(t)
	w.spare.starve(true)
	wantRight(t, w, "before")
	first := w.share.pid()
	w.share.at(time.Now().Add(time.Hour))
	kill(t, first)
	wantRight(t, w, "at that moment")
	wantRight(t, w, "a little later")
	if w.share.pid() != 0 || strings.Count(log.String(), "passwords are hashed beside the requests") != 1 {
		t.Errorf("process %d, and it said: %s", w.share.pid(), log)
	}
	w.share.at(time.Now())
	wantRight(t, w, "when it is time")
	if next := w.share.pid(); next == 0 || next == first {
		t.Errorf("process %d follows %d", next, first)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMissing: without the program all goes on, too.
func TestMissing(t *testing.T) {
	var log bytes.Buffer
	w := New(slog.New(slog.NewTextHandler(&log, nil)), filepath.Join(t.TempDir(), "nothing"), "hashes")
	defer w.Close()
	wantRight(t, w, "here")
	wantRight(t, w, "and here")
	if strings.Count(log.String(), "passwords are hashed beside the requests") != 1 {
		t.Errorf("it said: %s", &log)
	}
}

// TestClosed: the last sign-ins of a server that stops are answered.
func TestClosed(t *testing.T) {
	w, log := newWorker(t)
	wantRight(t, w, "open")
	w.Close()
	wantRight(t, w, "closed")
	w.Close()
	if w.spare.pid() != 0 || w.share.pid() != 0 || log.Len() != 0 {
		t.Errorf("processes %d and %d, and it said: %s", w.spare.pid(), w.share.pid(), log)
	}
}

// TestOrphan: the process ends when whoever has started it does, however that ends.
func TestOrphan(t *testing.T) {
	w, _ := newWorker(t)
	p, err := start(w.share.path, w.share.args, w.share.env)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	_ = p.client.Close() // closes the pipes, as the kernel would
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		p.end()
		t.Fatal("it lives on")
	}
}
