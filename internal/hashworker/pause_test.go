package hashworker

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/innkeeper-auth/innkeeper/password"
)

// TestHashPauses: a hash stands aside several times before it is done.
func TestHashPauses(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as in the process that hashes, on two cores
	var naps atomic.Int64
	end := pauseMeanwhile(func() { naps.Add(1) })
	// Quarters of passes that take longer than pauseEvery on any machine.
	password.Argon2id(password.Params{Memory: 64 << 10, Iterations: 2, Parallelism: 1}, []byte("sixteen bytes of"), []byte("secret"))
	during := naps.Load()
	end()
	if during < 4 {
		t.Errorf("a hash of eight quarters of passes paused %d times", during)
	}
}
