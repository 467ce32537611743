//go:build unix

package postgres

import (
	"crypto/tls"
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// alive reports whether a connection that is about to be used is still there. A
// server that has gone has closed its end, and often said why: then there is
// something to read where nothing should be. Looking costs one system call; finding
// out by writing costs a request, since nobody could know whether it was done.
//
// It does not notice a network that swallows everything. For that there are
// deadlines.
func alive(conn *pgx.Conn) bool {
	network := conn.PgConn().Conn()
	if secured, ok := network.(*tls.Conn); ok {
		network = secured.NetConn()
	}
	socket, ok := network.(syscall.Conn)
	if !ok {
		return true
	}
	return silent(socket)
}

// silent reports whether a socket is open and has nothing to read. It does not ask
// for the right to read, which the driver may still hold: after a slow write it reads
// in the background.
func silent(socket syscall.Conn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && (errors.Is(peeked, syscall.EAGAIN) || errors.Is(peeked, syscall.EWOULDBLOCK))
}
