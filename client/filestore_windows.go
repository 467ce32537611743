package client

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// noFollow has no meaning here: links need a privilege.
const noFollow = 0

// checkDirectory leaves access to the lists that directories inherit: that of the
// user's profile lets nobody else in.
func checkDirectory(string) error { return nil }

// busyTries bounds how often a file is tried that somebody has open: a virus scanner,
// an indexer, another process that is just replacing it.
const busyTries = 10

func unlessBusy(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		busy := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !busy || try == busyTries {
			return err
		}
		if err := sleep(ctx, time.Duration(try)*10*time.Millisecond); err != nil {
			return err
		}
	}
}

func openFile(ctx context.Context, path string) (file *os.File, err error) {
	err = unlessBusy(ctx, func() error {
		file, err = os.Open(path) //nolint:gosec // the program names the file
		return err
	})
	return file, err
}

func rename(ctx context.Context, from, to string) error {
	return unlessBusy(ctx, func() error { return os.Rename(from, to) })
}

// syncDirectory has nothing to do: NTFS writes names to its journal.
func syncDirectory(string) error { return nil }

func linksUnsupported(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
}

func tryLock(file *os.File) (locked bool, err error) {
	err = windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, math.MaxUint32, math.MaxUint32, new(windows.Overlapped))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	case errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return false, ErrNoLock
	default:
		return false, err
	}
}
