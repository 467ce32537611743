package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What an error of the server says of itself: its SQLSTATE, or the class of it.
const (
	connectionClass       = "08"
	featureNotSupported   = "0A000" // among others: the table of a prepared statement was altered
	uniqueViolation       = "23505"
	readOnlyTransaction   = "25006"
	invalidStatementName  = "26000"
	serializationFailure  = "40001"
	completionUnknown     = "40003"
	deadlockDetected      = "40P01"
	syntaxError           = "42601"
	insufficientResources = "53"
	queryCanceled         = "57014"
	operatorIntervention  = "57P"
)

// refused returns the error with which the server has failed a statement, and with
// it all that the statement did. It returns nil for every other error: then nobody
// knows what has been written.
func refused(err error) *pgconn.PgError {
	var failed *pgconn.PgError
	if !errors.As(err, &failed) {
		return nil
	}
	// A session that the server ends (FATAL) may have committed just before.
	if failed.SeverityUnlocalized != "ERROR" && (failed.SeverityUnlocalized != "" || failed.Severity != "ERROR") {
		return nil
	}
	if failed.Code == completionUnknown ||
		strings.HasPrefix(failed.Code, connectionClass) || strings.HasPrefix(failed.Code, operatorIntervention) {
		return nil
	}
	return failed
}

// unwritten reports whether an error proves that nothing was written, and that it
// makes sense to try again: nothing was sent, or the connection was no good, or the
// server has chosen this transaction to give way to another.
func unwritten(err error) bool {
	failed := refused(err)
	return pgconn.SafeToRetry(err) || failed != nil &&
		(stale(failed) || failed.Code == serializationFailure || failed.Code == deadlockDetected)
}

// stale reports whether a connection has outlived what it relied on: its server does
// not write any more, after a fail-over; the schema has changed under its prepared
// statements; or a pooler has dropped these.
func stale(failed *pgconn.PgError) bool {
	switch failed.Code {
	case featureNotSupported, readOnlyTransaction, invalidStatementName:
		return true
	}
	return false
}

// unanswered reports whether a read is worth another try. Besides what a write may
// try again, that is a connection that was lost, but not one on which the time for
// an answer has run out.
func unanswered(err error) bool {
	var failed *pgconn.PgError
	var connect *pgconn.ConnectError
	lost := !errors.As(err, &failed) && !errors.As(err, &connect) && !pgconn.Timeout(err)
	return unwritten(err) || lost
}

// violates reports whether a write was refused for a unique constraint.
func violates(err error, constraint string) bool {
	failed := refused(err)
	return failed != nil && failed.Code == uniqueViolation && failed.ConstraintName == constraint
}

// retire closes a connection that is stale, and with it all others, which are no
// better. It returns the error.
func (s *Store) retire(conn *pgx.Conn, err error) error {
	if failed := refused(err); failed != nil && stale(failed) {
		closeNow(conn)
		s.pool.Reset()
	}
	return err
}

// closeNow closes a connection without a word to the server.
func closeNow(conn *pgx.Conn) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ended)
}

// isolable reports whether a batch has failed because of what is in it, or in the
// way of it: then its items are tried one by one, and a bad one fails alone.
func isolable(err error) bool {
	failed := refused(err)
	return pgconn.SafeToRetry(err) ||
		failed != nil && failed.Code != queryCanceled && !strings.HasPrefix(failed.Code, insufficientResources)
}
