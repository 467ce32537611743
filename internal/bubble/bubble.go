// Package bubble runs tests by the clock of testing/synctest, in a way that the race
// detector survives.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is [synctest.Test], with one goroutine running at a time, in the whole process.
//
// All timers of a bubble share one state of the race detector, which is made for one
// thread. A goroutine that finds its timer expired fires it on its own thread, so two of
// them break that state, and the process dies (Go issue 78156; Go 1.26.8 has it). What
// races is found by the order of events and not by their being at once: it is found here
// all the same.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	enter()
	defer leave()
	synctest.Test(t, f)
}

// bubbles are counted, because tests in parallel have several at once.
var bubbles struct {
	sync.Mutex
	open  int
	procs int // GOMAXPROCS before the first was opened
}

func enter() {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.open == 0 {
		bubbles.procs = runtime.GOMAXPROCS(1)
	}
	bubbles.open++
}

func leave() {
	bubbles.Lock()
	defer bubbles.Unlock()
	bubbles.open--
	if bubbles.open == 0 {
		runtime.GOMAXPROCS(bubbles.procs)
	}
}
