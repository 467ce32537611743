//go:build !linux

package hashworker

import (
	"os"
	"time"
)

// hasSpareTime says whether the kernel can give a process spare time alone, and tell how
// much that was.
const hasSpareTime = false

// cpuTime is not asked for.
func cpuTime(int) time.Duration { return 0 }

// nap is not called: nothing is computed in spare time.
func nap(time.Duration) {}

// pollable returns the same file: reading of it may keep others from a core for a while.
func pollable(f *os.File) *os.File { return f }
