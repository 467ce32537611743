package client

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrSignedOut reports that there is no session: nobody has signed in, or the
	// server has said that it is over. Ask for a sign-in. It comes as a
	// [*SignedOutError].
	ErrSignedOut = errors.New("signed out")
	// ErrUnavailable reports that no token can be had for now, and says nothing about
	// the session: the network, the server or the store have failed. Try again later.
	// It comes as an [*UnavailableError].
	ErrUnavailable = errors.New("unavailable")
	// ErrUserChanged reports that somebody else has signed in: the store holds another
	// user's session than this source began with. Requests of the one are never sent as
	// the other; make a new source.
	ErrUserChanged = errors.New("another user has signed in")
	// ErrClosed reports that the source was closed.
	ErrClosed = errors.New("token source is closed")

	// ErrNoSession is how a [Store] says that it holds none.
	ErrNoSession = errors.New("no session is stored")
	// ErrNoLock is how a [Store] says that there is no locking where it keeps things.
	// Processes then refresh more often than they need to, and stay signed in.
	ErrNoLock = errors.New("locking is not supported here")
)

// SignedOutError says how a session ended. It is [ErrSignedOut].
type SignedOutError struct {
	// Code is that of the server's answer, like "session_ended"; "no_session" if there
	// was none to ask about, and "refresh_superseded" if this client had to give up a
	// session of which it held an old token only.
	Code string
	// Reason is why, as far as it is known: "logout", "logout_everywhere",
	// "password_changed", "reuse", "expired", "admin", "user_disabled", "replaced",
	// "restored".
	Reason string
}

// Error implements error.
func (e *SignedOutError) Error() string {
	if e.Reason == "" {
		return "signed out: " + e.Code
	}
	return fmt.Sprintf("signed out: %s (%s)", e.Code, e.Reason)
}

// Is makes errors.Is(err, ErrSignedOut) true.
func (e *SignedOutError) Is(target error) bool { return target == ErrSignedOut }

// UnavailableError says why no token can be had for now. It is [ErrUnavailable].
type UnavailableError struct {
	// RetryAfter is how long to wait before it is worth another try, at most 5 minutes.
	// The zero value means that nobody has said so.
	RetryAfter time.Duration
	// Err is the cause.
	Err error

	passing bool // another try a moment later may find it gone
	known   bool // it was remembered, and has been told of before
}

// Error implements error.
func (e *UnavailableError) Error() string { return "unavailable: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrUnavailable) true.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Temporary tells those who ask so that another try may do.
func (*UnavailableError) Temporary() bool { return true }

// RefusedError is a refusal that says something about the request and nothing about
// the session: a wrong password, a name that is taken.
type RefusedError struct {
	// Status is the HTTP status.
	Status int
	// Code is stable: "invalid_credentials", "password_rejected", "too_many_attempts" …
	Code string
	// Detail is for people. It comes from the server, and is not for a terminal as it is.
	Detail string
	// RetryAfter is how long to wait before another try. The zero value means that the
	// server did not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Code + ": " + e.Detail }

// storeFailed is a failure of the store. It is never a verdict about the session.
func storeFailed(what string, err error) error {
	return &UnavailableError{Err: fmt.Errorf("%s: %w", what, err)}
}
