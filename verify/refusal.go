package verify

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

// errForbidden reports a good token of somebody who may not do this.
var errForbidden = errors.New("role or permission is missing")

// errNotRecent reports a good token of somebody who has signed in too long ago.
var errNotRecent = errors.New("the sign-in is not recent enough")

// refusal is an answer to a request that is not let through. All of its text is
// fixed: nothing of the request, the token or the cause comes out.
type refusal struct {
	status int
	code   string // for programs, stable
	detail string // for people
	// challenge is the error code of RFC 6750 §3.1. If it is empty the challenge has
	// no error code: the client did nothing wrong, it only sent no token.
	challenge string
	// retryAfter asks to try again, and means that there is no challenge: the
	// credentials are not at fault.
	retryAfter time.Duration
	// maxAge is how old a sign-in may be (RFC 9470 §3); zero: as old as it likes.
	maxAge time.Duration
}

// refusalOf is the one table from errors to answers. What it does not know is
// refused as a bad token.
func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, bearer.ErrMissing):
		return refusal{status: http.StatusUnauthorized, code: "access_token_invalid",
			detail: bearer.ErrMissing.Error()}
	case errors.Is(err, bearer.ErrMalformed):
		return refusal{status: http.StatusBadRequest, code: "invalid_request", challenge: "invalid_request",
			detail: bearer.ErrMalformed.Error()}
	case errors.Is(err, ErrUnavailable):
		return refusal{status: http.StatusServiceUnavailable, code: "unavailable", retryAfter: retryInterval,
			detail: "access tokens cannot be verified at the moment"}
	case errors.Is(err, errForbidden):
		return refusal{status: http.StatusForbidden, code: "forbidden", challenge: "insufficient_scope",
			detail: "the signed-in user may not do this"}
	case errors.Is(err, errNotRecent):
		return refusal{status: http.StatusUnauthorized, code: "recent_auth_required", challenge: "insufficient_user_authentication",
			detail: "sign in again: this needs a more recent sign-in"}
	case errors.Is(err, ErrRevoked):
		return refusal{status: http.StatusUnauthorized, code: "access_token_revoked", challenge: "invalid_token",
			detail: "the access token has been revoked"}
	case errors.Is(err, accesstoken.ErrExpired):
		return refusal{status: http.StatusUnauthorized, code: "access_token_expired", challenge: "invalid_token",
			detail: "the access token has expired"}
	default:
		return refusal{status: http.StatusUnauthorized, code: "access_token_invalid", challenge: "invalid_token",
			detail: "the access token is not valid here"}
	}
}

// problem is an RFC 9457 document with our member code.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

// write answers the request.
func (f refusal) write(w http.ResponseWriter, realm string) {
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(f.status), Status: f.status, Detail: f.detail, Code: f.code,
	})
	if err != nil {
		body = nil // cannot happen to strings; the status would say enough
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	if f.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(f.retryAfter/time.Second)))
	} else {
		challenge := bearer.Challenge(realm, f.challenge, f.detail)
		if f.maxAge > 0 {
			challenge += ", max_age=" + strconv.Itoa(int(f.maxAge/time.Second))
		}
		header.Set("WWW-Authenticate", challenge)
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(body)
}
