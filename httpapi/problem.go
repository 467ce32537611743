package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/password"
)

// Problem is every error of the API: RFC 9457 with a stable member "code" to
// branch on. Members beyond the standard ones are present only where they say
// something.
type Problem struct {
	Type   string `json:"type" example:"about:blank" doc:"RFC 9457 problem type"`
	Title  string `json:"title" example:"Unauthorized" doc:"The status in words"`
	Status int    `json:"status" example:"401" doc:"The HTTP status"`
	Code   string `json:"code" example:"refresh_token_reused" doc:"Stable: branch on this"`
	Detail string `json:"detail" doc:"What happened and what to do next, for people"`

	Reason     string  `json:"reason,omitempty" doc:"Why the session ended, with session_ended"`
	Generation uint32  `json:"generation,omitempty" doc:"Of the token presented, with refresh_generation_mismatch"`
	Why        string  `json:"why,omitempty" doc:"Which rule refused the password, with password_rejected: too_short, too_long, too_common, contains_username, contains_email, contains_service_name, invalid_utf8 or unassigned_character"`
	Hint       string  `json:"hint,omitempty" doc:"What a person can do about it, with password_rejected"`
	Errors     []Fault `json:"errors,omitempty" doc:"Which members are wrong, with invalid_request"`

	header http.Header
	cause  error
}

// Fault says what is wrong with one member of a request. It never repeats what
// was sent, which may be a password.
type Fault struct {
	Member string `json:"member" example:"username"`
	Detail string `json:"detail"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Unwrap gives the log access to the cause.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements [huma.StatusError].
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements [huma.HeadersError].
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements [huma.ContentTypeFilter].
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func newProblem(status int, code, detail string) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: detail, header: http.Header{},
	}
}

// problems maps the domain's errors to the API's. It is the only such table.
var problems = []struct {
	err    error
	status int
	code   string
	next   string // what the client should do
}{
	{bearer.ErrMissing, http.StatusUnauthorized, "access_token_invalid", "add the header Authorization: Bearer …"},
	{bearer.ErrMalformed, http.StatusBadRequest, codeInvalidRequest, "send it so"},
	{innkeeper.ErrInvalidCredentials, http.StatusUnauthorized, "invalid_credentials", "check both and try again"},
	{innkeeper.ErrAccessTokenInvalid, http.StatusUnauthorized, "access_token_invalid", "send the access token of the latest refresh"},
	{innkeeper.ErrAccessTokenExpired, http.StatusUnauthorized, "access_token_expired", "refresh and send the new one"},
	{innkeeper.ErrAccessTokenRevoked, http.StatusUnauthorized, "access_token_revoked", "refresh; if that is refused too, sign in"},
	{innkeeper.ErrServiceInvalid, http.StatusUnauthorized, "invalid_credentials", "look for it in innkeeper service list"},
	{innkeeper.ErrUserDisabled, http.StatusForbidden, codeForbidden, "enable them first"},
	{innkeeper.ErrUserIsAdmin, http.StatusForbidden, codeForbidden, "only a service with the scope admin may open a session for them"},
	{innkeeper.ErrRefreshTokenInvalid, http.StatusUnauthorized, "refresh_token_invalid", "sign in"},
	{innkeeper.ErrRefreshTokenExpired, http.StatusUnauthorized, "refresh_token_expired", "sign in"},
	{innkeeper.ErrRefreshTokenReused, http.StatusUnauthorized, "refresh_token_reused", "sign in, and send an Idempotency-Key with every refresh"},
	{innkeeper.ErrRefreshTokenAmbiguous, http.StatusBadRequest, codeInvalidRequest, "send one"},
	{innkeeper.ErrRefreshSuperseded, http.StatusConflict, "refresh_superseded", "read your token store again and use what it holds now"},
	{innkeeper.ErrSignupClosed, http.StatusForbidden, codeForbidden, "ask an administrator for an account"},
	{innkeeper.ErrUsernameTaken, http.StatusConflict, "username_taken", "choose another"},
	{innkeeper.ErrRoleUnknown, http.StatusBadRequest, codeInvalidRequest, "define it with PUT /admin/roles/{name} first"},
	{innkeeper.ErrRoleBuiltIn, http.StatusForbidden, codeForbidden, "it guards this API and stays"},
	{innkeeper.ErrNotFound, http.StatusNotFound, codeNotFound, "check the identifier"},
}

const (
	codeInvalidRequest = "invalid_request"
	codeForbidden      = "forbidden"
	codeNotFound       = "not_found"
	codeUnavailable    = "unavailable"
)

// problemOf translates any error. What it does not know is our own fault, and
// therefore no verdict about the caller: 503, never 401.
func problemOf(err error) *Problem {
	if p := detailedProblem(err); p != nil {
		return p
	}
	for _, row := range problems {
		if errors.Is(err, row.err) {
			p := newProblem(row.status, row.code, row.err.Error()+"; "+row.next)
			p.challenge(row.err)
			return p
		}
	}
	return unavailableProblem(err, time.Second)
}

// detailedProblem translates the errors that carry facts, nil for others.
func detailedProblem(err error) *Problem {
	var (
		problem     *Problem
		input       *innkeeper.InputError
		ended       *innkeeper.SessionEndedError
		mismatch    *innkeeper.GenerationMismatchError
		rejected    *password.RejectedError
		unavailable *innkeeper.UnavailableError
		early       *keyring.TooEarlyError
		tooMany     *innkeeper.TooManyAttemptsError
	)
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &unavailable):
		return unavailableProblem(err, unavailable.RetryAfter)
	case errors.As(err, &tooMany):
		p := newProblem(http.StatusTooManyRequests, "too_many_attempts", "too many attempts in a short time; wait as long as Retry-After says, then try again")
		p.retryAfter(tooMany.RetryAfter)
		return p
	case errors.As(err, &early):
		return earlyProblem(early)
	case errors.As(err, &input):
		p := newProblem(http.StatusBadRequest, codeInvalidRequest, input.Error())
		p.Errors = []Fault{{Member: input.Field, Detail: input.Detail}}
		return p
	case errors.As(err, &ended):
		p := newProblem(http.StatusUnauthorized, "session_ended", "the session has ended; sign in")
		p.Reason = string(ended.Reason)
		return p
	case errors.As(err, &mismatch):
		p := newProblem(http.StatusConflict, "refresh_generation_mismatch", fmt.Sprintf(
			"the idempotency key names another generation than the token's, which is %d; nothing was consumed; send that generation's key", mismatch.Generation))
		p.Generation = mismatch.Generation
		return p
	case errors.As(err, &rejected):
		p := newProblem(http.StatusUnprocessableEntity, "password_rejected", rejected.Error())
		p.Why, p.Hint = string(rejected.Reason), rejected.Hint
		return p
	}
	return nil
}

func unavailableProblem(cause error, retryAfter time.Duration) *Problem {
	p := newProblem(http.StatusServiceUnavailable, codeUnavailable,
		"this says nothing about your session; keep your tokens and try again with the same Idempotency-Key")
	p.retryAfter(retryAfter)
	p.cause = cause
	return p
}

// retryAfter says how long to wait, in whole seconds, and never a moment too short (RFC
// 9110 section 10.2.3).
func (p *Problem) retryAfter(d time.Duration) {
	p.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(d, time.Second).Seconds()))))
}

// realm names this server in challenges.
const realm = "innkeeper"

// challenge adds what RFC 6750 section 3 asks of a refused access token.
func (p *Problem) challenge(err error) {
	code := ""
	switch {
	case errors.Is(err, bearer.ErrMissing):
	case errors.Is(err, bearer.ErrMalformed):
		code = "invalid_request"
	case errors.Is(err, innkeeper.ErrAccessTokenInvalid), errors.Is(err, innkeeper.ErrAccessTokenExpired),
		errors.Is(err, innkeeper.ErrAccessTokenRevoked), errors.Is(err, innkeeper.ErrServiceInvalid):
		code = "invalid_token"
	default:
		return
	}
	p.header.Set("WWW-Authenticate", bearer.Challenge(realm, code, err.Error()))
}

// humaProblem translates what huma itself refuses: a request that does not have
// the form that the description asks for. Huma's own answer would repeat the
// offending value, and calls 422 what we call invalid_request.
func humaProblem(model *huma.ErrorModel) *Problem {
	status := model.Status
	switch {
	case model.Detail == "cannot read request body":
		// The client has hung up, or framed it wrongly. To huma that is a fault of ours.
		status, model = http.StatusBadRequest, &huma.ErrorModel{Detail: "the body did not arrive as a whole"}
	case status == http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	case status >= http.StatusInternalServerError:
		return unavailableProblem(errors.New(model.Detail), time.Second)
	}
	p := newProblem(status, codeInvalidRequest, model.Detail)
	for _, fault := range model.Errors {
		p.Errors = append(p.Errors, Fault{Member: fault.Location, Detail: fault.Message})
	}
	return p
}
