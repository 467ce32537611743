//go:build unix

package hashworker

import "golang.org/x/sys/unix"

// niceness makes the kernel give a busy process of ours about a tenth of what it gives to
// the server beside it, and all of what that leaves.
const niceness = 10

func giveWay() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) }
