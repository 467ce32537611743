package hashworker

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGivesWay: whatever thread a hash is computed on gives way, and not only the first.
func TestGivesWay(t *testing.T) {
	w, _ := newWorker(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { wantRight(t, w, "many threads") })
	}
	all.Wait()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", w.pid()))
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
		if priority, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && asNiceness(priority) < niceness {
			t.Errorf("thread %d has a niceness of %d, want %d", id, asNiceness(priority), niceness)
		}
	}
}
