package hashworker

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// giveWay sets the niceness of every thread: on Linux each has its own, and a new one
// that of the thread which starts it. It is done when all have been seen to have it.
func giveWay() error {
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		changed := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			if given, err := unix.Getpriority(unix.PRIO_PROCESS, id); err != nil || asNiceness(given) >= niceness {
				continue // or it has ended
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, niceness); err != nil && err != unix.ESRCH {
				return err
			}
			changed = true
		}
		if !changed {
			return nil
		}
	}
}

// asNiceness undoes what the system call does to tell results from errors.
func asNiceness(priority int) int { return 20 - priority }
