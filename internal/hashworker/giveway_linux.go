package hashworker

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// hasSpareTime says whether the kernel can give a process spare time alone, and tell how
// much that was.
const hasSpareTime = true

// giveWay makes every thread give way: on Linux each has a priority of its own, and a new
// one that of the thread which starts it. What may not have spare time alone gets a
// niceness instead, and the error.
func giveWay(spareTime bool) error {
	if !spareTime {
		return everyThread(beNice)
	}
	err := everyThread(takeSpareTime)
	if err != nil {
		err = errors.Join(err, everyThread(beNice))
	}
	return err
}

// everyThread is done when give has changed none of the threads, and all have been seen.
func everyThread(give func(id int) (changed bool, err error)) error {
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		again := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			changed, err := give(id)
			if err != nil && !errors.Is(err, unix.ESRCH) { // or it has ended
				return err
			}
			again = again || changed
		}
		if !again {
			return nil
		}
	}
}

func beNice(id int) (changed bool, err error) {
	given, err := unix.Getpriority(unix.PRIO_PROCESS, id)
	if err != nil || asNiceness(given) >= niceness {
		return false, err
	}
	return true, unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
}

// asNiceness undoes what the system call does to tell results from errors.
func asNiceness(priority int) int { return 20 - priority }

// takeSpareTime makes the kernel put any ordinary thread that wakes up in front of this one
// at once (sched(7), SCHED_IDLE); a nice one it lets go on for up to a tick.
func takeSpareTime(id int) (changed bool, err error) {
	given, err := unix.SchedGetAttr(id, 0)
	if err != nil || given.Policy == unix.SCHED_IDLE {
		return false, err
	}
	return true, unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
}

// cpuTime returns how long all threads of a process have computed. One that is gone, or
// cannot be asked, has not.
func cpuTime(pid int) time.Duration {
	// The clock of another process: clock_getcpuclockid(3).
	const ofProcess = 2 // CPUCLOCK_SCHED of the kernel
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|ofProcess), &used); err != nil { //nolint:gosec // G115: ids are less than 2^22
		return 0
	}
	return time.Duration(used.Nano())
}
