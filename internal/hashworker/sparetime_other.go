//go:build !linux

package hashworker

import "time"

// hasSpareTime says whether the kernel can give a process spare time alone, and tell how
// much that was.
const hasSpareTime = false

// cpuTime is not asked for.
func cpuTime(int) time.Duration { return 0 }
