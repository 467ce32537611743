//go:build unix && !aix && !solaris && !illumos

package client

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock if nobody has it. It belongs to this opening of the file, so
// that goroutines exclude each other as processes do.
func tryLock(file *os.File) (locked bool, err error) {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			return false, ErrNoLock // NFS without its lock server, some FUSE
		default:
			return false, err
		}
	}
}
