package hashworker

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nap sleeps without a word to the runtime, which would let another goroutine have the core
// instead. A signal may cut it short.
func nap(length time.Duration) {
	t := unix.NsecToTimespec(int64(length))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0) //nolint:gosec // G103: the kernel reads t while we wait
}

// pollable returns the same file, for reading that keeps no goroutine from a core: where
// there is but one, a read that blocks has it until the runtime notices, up to 10 ms later.
func pollable(f *os.File) *os.File {
	fd := f.Fd()
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return f // and hashes begin later
	}
	return os.NewFile(fd, f.Name())
}
