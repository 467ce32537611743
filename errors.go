package innkeeper

import (
	"errors"
	"fmt"
	"time"
)

// Errors that an [Authority] returns, to branch on with [errors.Is]. The HTTP
// layer maps each to one status and one stable code; see package httpapi.
var (
	// ErrInvalidCredentials reports a wrong password, an unknown user or a disabled
	// one. The three are indistinguishable on purpose.
	ErrInvalidCredentials = errors.New("username or password is wrong")
	// ErrTooManyAttempts reports tries that follow each other too fast. It says nothing
	// about what was tried, and comes as a [*TooManyAttemptsError].
	ErrTooManyAttempts = errors.New("too many attempts")
	// ErrAccessTokenInvalid reports an access token that this authority did not
	// sign for this audience.
	ErrAccessTokenInvalid = errors.New("access token is invalid")
	// ErrAccessTokenExpired reports a genuine access token past its life. Refresh.
	ErrAccessTokenExpired = errors.New("access token has expired")
	// ErrAccessTokenRevoked reports a genuine access token whose session has ended.
	ErrAccessTokenRevoked = errors.New("access token has been revoked")
	// ErrRefreshTokenInvalid reports a refresh token that we did not mint, or one
	// that came another way than its session's delivery says (row 1).
	ErrRefreshTokenInvalid = errors.New("refresh token is invalid")
	// ErrRefreshTokenAmbiguous reports genuine refresh tokens of two sessions in one
	// request. Neither was consumed.
	ErrRefreshTokenAmbiguous = errors.New("the request carries refresh tokens of two sessions")
	// ErrRefreshTokenExpired reports a refresh token past its own expiry (row 2).
	ErrRefreshTokenExpired = errors.New("refresh token has expired")
	// ErrRefreshTokenReused reports a dead refresh token presented by someone who
	// cannot show the idempotency key. The session is over (row 9).
	ErrRefreshTokenReused = errors.New("refresh token was used before; its session has been ended")
	// ErrRefreshSuperseded reports a late duplicate of an honest refresh: it gives
	// nothing and ends nothing. Look at the token store again (row 8).
	ErrRefreshSuperseded = errors.New("a newer refresh token has been handed out")
	// ErrTokenInactive reports a token that is good for nothing, for whichever reason.
	ErrTokenInactive = errors.New("token is not active")
	// ErrServiceInvalid reports a service credential that does not exist, was removed
	// or is another service's. The three are indistinguishable on purpose.
	ErrServiceInvalid = errors.New("service credential is invalid")
	// ErrServiceScope reports a service that may not do this.
	ErrServiceScope = errors.New("the service lacks a scope that this needs")
	// ErrNotAdmin reports a person who may not do this.
	ErrNotAdmin = errors.New("this needs the role admin")
	// ErrUserDisabled reports a session that was to be opened for a disabled user.
	ErrUserDisabled = errors.New("the user is disabled")
	// ErrUserIsAdmin reports a session that was to be opened for an administrator by
	// somebody who is none.
	ErrUserIsAdmin = errors.New("the user is an administrator")
	// ErrSignupClosed reports a sign-up on a server whose operator creates users.
	ErrSignupClosed = errors.New("sign-up is closed")
	// ErrUsernameTaken reports a username that another user has.
	ErrUsernameTaken = errors.New("username is taken")
	// ErrRoleUnknown reports a role that nobody has defined.
	ErrRoleUnknown = errors.New("role does not exist")
	// ErrRoleBuiltIn reports an attempt to delete the role that guards this API.
	ErrRoleBuiltIn = errors.New("role is built in")
	// ErrNotFound reports a user, session, role or service that does not exist, or
	// that is not the caller's.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable reports that something we depend on did not answer. It is not
	// a verdict about the caller: try again. MUST NOT be read as a sign-out.
	ErrUnavailable = errors.New("temporarily unavailable")
	// ErrWrongRootKey reports a store that was made under another root key.
	ErrWrongRootKey = errors.New("the store belongs to another root key")
)

// Errors that a store returns to the [Authority]; they do not reach callers.
var (
	// ErrNoMatch reports a conditional write whose condition did not hold. Nothing
	// was written.
	ErrNoMatch = errors.New("no row matched")
	// ErrEpochMoved reports that the user's epoch is no longer the one that was
	// read. Nothing was written.
	ErrEpochMoved = errors.New("the user's epoch has moved")
)

// InputError reports an argument that can never be accepted, and why.
type InputError struct {
	Field  string // the offending member, as it is named in the HTTP API
	Detail string // what to do instead
}

func (e *InputError) Error() string { return e.Field + ": " + e.Detail }

// SessionEndedError reports a refresh token of a session that is over (rows 3,
// 4 and 10).
type SessionEndedError struct {
	Reason Reason
}

func (e *SessionEndedError) Error() string {
	return fmt.Sprintf("session has ended (%s)", e.Reason)
}

// GenerationMismatchError reports an idempotency key that was made for another
// generation than the token's (row 1b). Nothing was consumed: send the key of
// Generation.
type GenerationMismatchError struct {
	Generation uint32 // of the token that was presented
}

func (e *GenerationMismatchError) Error() string {
	return fmt.Sprintf("the idempotency key names another generation than the token's, which is %d", e.Generation)
}

// UnavailableError wraps the failure of a dependency. It matches
// [ErrUnavailable].
type UnavailableError struct {
	RetryAfter time.Duration // when trying again makes sense
	Cause      error         // for the log; never shown to a caller
}

func (e *UnavailableError) Error() string { return fmt.Sprintf("%v: %v", ErrUnavailable, e.Cause) }

// Unwrap gives access to the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Is makes every UnavailableError match [ErrUnavailable].
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// storeRetryAfter is what a client is told to wait when a store did not answer:
// long enough to let a restart happen, short enough not to be noticed.
const storeRetryAfter = time.Second

func unavailable(cause error) error {
	return &UnavailableError{RetryAfter: storeRetryAfter, Cause: cause}
}
