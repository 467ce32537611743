// Package ballast keeps the garbage collector of a small process from running all
// the time.
//
// Go collects when the heap has doubled. A server of ours has a few MiB in use,
// so under load it would collect dozens of times a second, for a tenth of its CPU
// time. GOGC=400 helps as well, but multiplies what password hashing takes for a
// moment: the peak of a storm of sign-ins on two CPUs went from 147 to 258 MB.
// With ballast it is 164 MB: its own pages are never touched, so the system never
// provides them.
package ballast

import (
	"runtime"
	"runtime/debug"
)

// size is what the heap has to grow by, at least, between two collections.
const size = 32 << 20

// Load takes ballast in, until the returned function is called. With a memory
// limit (GOMEMLIMIT) that is too small for it, it does nothing.
func Load() (drop func()) {
	if debug.SetMemoryLimit(-1) < 4*size {
		return func() {}
	}
	ballast := make([]byte, size)
	return func() { runtime.KeepAlive(ballast) }
}
