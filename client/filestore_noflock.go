//go:build aix || solaris || illumos || (!unix && !windows)

package client

import "os"

// tryLock says that this system has no lock that belongs to one opening of a file.
func tryLock(*os.File) (locked bool, err error) { return false, ErrNoLock }
