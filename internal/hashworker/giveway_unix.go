//go:build unix && !linux

package hashworker

import "golang.org/x/sys/unix"

func giveWay() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) }
