//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged does what only Linux can.
func (cfg Config) limitUnacknowledged(string, string, syscall.RawConn) error { return nil }
