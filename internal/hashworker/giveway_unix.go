//go:build unix && !linux

package hashworker

import "golang.org/x/sys/unix"

// giveWay gives the process a niceness, whatever it is told: see [hasSpareTime].
func giveWay(bool) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) }
