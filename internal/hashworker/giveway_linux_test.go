package hashworker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/innkeeper-auth/innkeeper/password"
)

// TestGivesWay: whatever thread a hash is computed on gives way, and not only the first.
func TestGivesWay(t *testing.T) {
	w, _ := newWorker(t)
	ways := map[*runner]func(id int) (changed bool, err error){w.spare: takeSpareTime, w.share: beNice}
	for _, r := range []*runner{w.spare, w.share} {
		w.spare.starve(r == w.share)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if _, err := ask[[]byte](r, "Argon2id", Derivation{cheap, []byte("sixteen bytes of"), []byte("many threads")}); err != nil && !errors.Is(err, errStarved) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if r == w.spare && r.pid() == 0 {
			t.Log("others keep this machine busy: there is no spare time")
			continue
		}
		wantNone(t, r.pid(), ways[r])
	}
}

// wantNone checks that all threads of a process give way already.
func wantNone(t *testing.T, pid int, give func(id int) (changed bool, err error)) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) < 3 {
		t.Errorf("%d threads: are they those of a Go program?", len(tasks))
	}
	for _, task := range tasks {
		var id int
		if _, err := fmt.Sscan(task.Name(), &id); err != nil {
			t.Fatal(err)
		}
		if changed, err := give(id); changed || err != nil && !errors.Is(err, unix.ESRCH) {
			t.Errorf("thread %d of process %d did not give way (%v)", id, pid, err)
		}
	}
}

// TestStarves: a hash that gets no processor is computed by the other process before long,
// and so are the next ones. The stopped process stands for one that the kernel lets wait.
func TestStarves(t *testing.T) {
	w, log := newWorker(t)
	if _, err := w.spare.running(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(w.spare.pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() { wantRight(t, w, strings.Repeat("x", n+1)) })
	}
	all.Wait()
	if w.spare.pid() != 0 || w.share.pid() == 0 {
		t.Errorf("processes %d and %d", w.spare.pid(), w.share.pid())
	}
	if log.Len() != 0 {
		t.Errorf("it complains: %s", log)
	}
	w.spare.starve(false)
	w.spare.at(time.Now())
	wantRight(t, w, "in time to spare")
}

// TestSpareDeath: if the process with spare time dies, the other one computes.
func TestSpareDeath(t *testing.T) {
	w, log := newWorker(t)
	p, err := w.spare.running()
	if err != nil {
		t.Fatal(err)
	}
	kill(t, p.cmd.Process.Pid)
	wantRight(t, w, "at that moment")
	wantRight(t, w, "a little later")
	if w.spare.pid() != 0 || w.share.pid() == 0 || strings.Count(log.String(), "hashed with more weight") != 1 {
		t.Errorf("processes %d and %d, and it said: %s", w.spare.pid(), w.share.pid(), log)
	}
}

// TestDearHash: one that takes longer than a look at it, and gets on, is not starving.
func TestDearHash(t *testing.T) {
	w, _ := newWorker(t)
	p := password.Params{Memory: 64 << 10, Iterations: 1, Parallelism: 1}
	salt, secret := []byte("sixteen bytes of"), []byte("dear")
	for began := time.Now(); time.Since(began) < 2*hungerAfter; p.Iterations *= 2 {
		began = time.Now()
		password.Argon2id(p, salt, secret)
	}
	before := cpuTime(os.Getpid())
	tag := w.Argon2id(p, salt, secret)
	if here := cpuTime(os.Getpid()) - before; here > hungerAfter {
		t.Errorf("it was computed here, in %s", here)
	}
	if w.spare.pid() == 0 && w.share.pid() == 0 {
		t.Error("no process has computed it")
	}
	if !bytes.Equal(tag, password.Argon2id(p, salt, secret)) {
		t.Error("it is wrong")
	}
}
