package bubble

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// Timers that expire at once in many goroutines end the process under the race detector,
// within a second where two of them run at a time.
func TestTimersOfManyGoroutines(t *testing.T) {
	for range 100 {
		Test(t, func(t *testing.T) {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					for range 200 {
						expired := time.NewTimer(0)
						for range 3 {
							<-expired.C
							expired.Reset(0)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			all.Wait()
		})
	}
}

func TestTestsInParallelGetTheirProcessorsBack(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	t.Run("bubbles", func(t *testing.T) {
		for range 8 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				Test(t, func(t *testing.T) {
					time.Sleep(time.Hour)
					if got := runtime.GOMAXPROCS(0); got != 1 {
						t.Errorf("in a bubble: GOMAXPROCS %d, want 1", got)
					}
				})
			})
		}
	})
	if got := runtime.GOMAXPROCS(0); got != 4 {
		t.Errorf("after the bubbles: GOMAXPROCS %d, want 4", got)
	}
}
