//go:build unix

package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// noFollow makes opening a symbolic link an error.
const noFollow = unix.O_NOFOLLOW

// checkDirectory refuses a directory in which anybody may put files. One that does not
// exist will be made by us.
func checkDirectory(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		err = fmt.Errorf("directory %s can be written by everybody; use one of your own, with mode 0700", path)
	}
	return err
}

func openFile(_ context.Context, path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|noFollow, 0) //nolint:gosec // the program names the file
}

func rename(_ context.Context, from, to string) error { return os.Rename(from, to) }

// syncDirectory makes a new name survive a power failure.
func syncDirectory(path string) error {
	directory, err := os.Open(path) //nolint:gosec // the program names the file
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// linksUnsupported reports that the file system knows no hard links.
func linksUnsupported(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS)
}
