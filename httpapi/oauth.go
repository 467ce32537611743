package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

// The endpoints of OAuth 2.0, for clients that others have written: forms instead of
// JSON, and the errors of RFC 6749. What they have in common is here; docs/oauth.md
// is their manual.

// oauthPrefix begins their paths. Whatever refuses a request below it, a guard or a
// panic, has to do so in the words of RFC 6749: clients give up on anything else.
const oauthPrefix = "/oauth/"

// The errors of RFC 6749 section 5.2, and what RFC 6749 section 4.1.2.1 calls an
// outage.
const (
	oauthInvalidRequest = "invalid_request"
	oauthInvalidClient  = "invalid_client"
	oauthInvalidGrant   = "invalid_grant"
	oauthUnauthorized   = "unauthorized_client"
	oauthUnsupported    = "unsupported_grant_type"
	oauthInvalidScope   = "invalid_scope"
	oauthUnavailable    = "temporarily_unavailable"
	oauthFormType       = "application/x-www-form-urlencoded"
	oauthBasicChallenge = `Basic realm="` + realm + `", charset="UTF-8"`
)

// oauthError is a refusal. Its members are those of the answer.
type oauthError struct {
	Code        string `json:"error" enum:"invalid_request,invalid_client,invalid_grant,unauthorized_client,unsupported_grant_type,invalid_scope,temporarily_unavailable" doc:"Branch on this"`
	Description string `json:"error_description,omitempty" doc:"For people"`

	status     int
	challenge  string // WWW-Authenticate
	retryAfter string // seconds
}

// Error implements error.
func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func badForm(description string) *oauthError {
	return &oauthError{Code: oauthInvalidRequest, Description: description, status: http.StatusBadRequest}
}

// oauthErrorOf translates any error. Everything about a refresh token that is not
// good has one answer, whatever the reason (RFC 6749 section 5.2).
func (a *API) oauthErrorOf(r *http.Request, err error) *oauthError {
	var (
		refused  *oauthError
		ended    *innkeeper.SessionEndedError
		mismatch *innkeeper.GenerationMismatchError
	)
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, innkeeper.ErrRefreshTokenInvalid), errors.Is(err, innkeeper.ErrRefreshTokenExpired),
		errors.Is(err, innkeeper.ErrRefreshTokenReused), errors.As(err, &ended):
		return &oauthError{
			Code: oauthInvalidGrant, Description: "the refresh token is not valid; sign in", status: http.StatusBadRequest,
		}
	case errors.As(err, &mismatch):
		return badForm("the Idempotency-Key names another generation than that of the refresh token; nothing was consumed")
	case errors.Is(err, innkeeper.ErrRefreshSuperseded):
		// A late duplicate of an honest request. The client must not be signed out, and
		// there is no error of RFC 6749 that would not do so.
		return &oauthError{
			Code: oauthUnavailable, Description: "a newer refresh token has been handed out; read your token store again",
			status: http.StatusServiceUnavailable, retryAfter: "1",
		}
	}
	problem := a.translate(r.Context(), err)
	e := &oauthError{Code: oauthInvalidRequest, Description: problem.Detail, status: problem.Status, retryAfter: problem.header.Get("Retry-After")}
	if problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests {
		e.Code = oauthUnavailable
	}
	return e
}

// refuseOAuth answers an error. A challenge goes along only where it says how to do
// better: some clients read it and not the error.
func (a *API) refuseOAuth(w http.ResponseWriter, r *http.Request, err error) {
	e := a.oauthErrorOf(r, err)
	for name, value := range map[string]string{"WWW-Authenticate": e.challenge, "Retry-After": e.retryAfter} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	e.Description = strings.Map(oauthText, e.Description)
	a.answerOAuth(w, e.status, e)
}

// oauthText keeps what may stand in an error_description (RFC 6749 section 5.2).
func oauthText(c rune) rune {
	switch {
	case c == '"':
		return '\''
	case c < ' ' || c > '~' || c == '\\':
		return -1
	}
	return c
}

func (a *API) answerOAuth(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache") // RFC 6749 section 5.1
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.logger.Debug("answer not written", "error", err)
	}
}

// oauthRequest is a form and whoever has sent it.
type oauthRequest struct {
	form    map[string]string  // without parameters that are empty
	service *innkeeper.Service // nil: the public client
	actor   innkeeper.Actor    // of the service; empty: whoever holds the token
	client  innkeeper.Client
}

// oauthHandler is an endpoint. It returns the body of a 200, or an error.
type oauthHandler func(r *http.Request, in *oauthRequest) (body any, err error)

// oauth reads the form and finds out who calls before anything else is looked at: no
// token is touched, consumed or held against anybody in a request that was not
// right. Clients try one way of authentication after the other, with the same token.
func (a *API) oauth(handle oauthHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := &oauthRequest{client: clientOf(r.Context())}
		var err error
		if in.form, err = readForm(w, r); err == nil {
			in.service, err = a.oauthClient(r, in.form)
		}
		if err != nil {
			a.refuseOAuth(w, r, err)
			return
		}
		if in.service != nil {
			in.actor = in.service.Actor()
		}
		body, err := handle(r, in)
		if err != nil {
			a.refuseOAuth(w, r, err)
			return
		}
		a.answerOAuth(w, http.StatusOK, body)
	}
}

// readForm reads the body (RFC 6749 section 3.2): parameters without a value are
// treated as if they were left out, none may be repeated, unknown ones do no harm.
// The query is never read, since it ends up in logs.
func readForm(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	types := r.Header.Values("Content-Type")
	if len(types) > 1 { // another reader of the request could believe the other one
		return nil, badForm("Content-Type is there twice")
	}
	mediaType, _, err := mime.ParseMediaType(strings.Join(types, ""))
	if err != nil || mediaType != oauthFormType {
		return nil, badForm("send Content-Type: " + oauthFormType)
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := badForm("the body is too large")
		e.status = http.StatusRequestEntityTooLarge
		return nil, e
	case err != nil:
		return nil, badForm("the body did not arrive as a whole")
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, badForm("the body is no form")
	}
	form := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) > 1 {
			return nil, badForm("a parameter is there twice")
		}
		if all[0] != "" {
			form[name] = all[0]
		}
	}
	return form, nil
}

// oauthClient returns the service that calls, nil for the public client, which all
// apps are (RFC 6749 section 2.3). One way of authentication in a request is enough.
func (a *API) oauthClient(r *http.Request, form map[string]string) (*innkeeper.Service, error) {
	id, secret, inHeader, err := oauthCredentials(r.Header, form)
	if err != nil {
		return nil, err
	}
	refused := &oauthError{
		Code: oauthInvalidClient, Description: "the client is unknown, or its secret is wrong", status: http.StatusBadRequest,
	}
	if inHeader {
		refused.status, refused.challenge = http.StatusUnauthorized, oauthBasicChallenge
	}
	switch {
	case secret == "" && (id == innkeeper.ClientID || id == "" && !inHeader):
		return nil, nil
	case secret == "" || id == "" || id == innkeeper.ClientID:
		return nil, refused
	}
	service, err := a.authority.AuthenticateService(r.Context(), innkeeper.ServiceLogin{
		Name: id, Secret: secret, Client: clientOf(r.Context()),
	})
	if errors.Is(err, innkeeper.ErrServiceInvalid) {
		return nil, refused
	}
	return service, err
}

// oauthCredentials takes what the client says of itself from the one place where it
// says so.
func oauthCredentials(header http.Header, form map[string]string) (id, secret string, inHeader bool, err error) {
	authorization := header.Values("Authorization")
	switch {
	case len(authorization) > 1, len(authorization) == 1 && (form["client_secret"] != "" || form["client_assertion"] != ""):
		return "", "", false, badForm("authenticate in one way")
	case form["client_assertion"] != "":
		return "", "", false, &oauthError{
			Code: oauthInvalidClient, Description: "client_assertion is not supported", status: http.StatusBadRequest,
		}
	case len(authorization) == 0:
		return form["client_id"], form["client_secret"], false, nil
	}
	refused := &oauthError{
		Code: oauthInvalidClient, Description: "the header Authorization must be Basic, with the name and the secret of a service",
		status: http.StatusUnauthorized, challenge: oauthBasicChallenge,
	}
	id, secret, ok := (&http.Request{Header: header}).BasicAuth()
	if !ok {
		return "", "", true, refused
	}
	// Both were encoded like a form before they were put together (RFC 6749 section
	// 2.3.1). Names and secrets of ours are the same without.
	if id, err = url.QueryUnescape(id); err == nil {
		secret, err = url.QueryUnescape(secret)
	}
	if err != nil {
		return "", "", true, refused
	}
	if form["client_id"] != "" && form["client_id"] != id {
		return "", "", true, badForm("client_id is not that of the header Authorization")
	}
	return id, secret, true, nil
}

// oauthRoute describes an endpoint. Its form is that of a type whose members are
// named like the parameters.
func oauthRoute[Form any](a *API, r route, name string, success *huma.Schema, clients ...map[string][]string) route {
	r = r.answers(success, "Cache-Control")
	r.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{oauthFormType: {Schema: schemaOf[Form](a, name)}},
	}
	for status, response := range r.Responses {
		if status != strconv.Itoa(r.DefaultStatus) {
			response.Content = map[string]*huma.MediaType{"application/json": {Schema: schemaOf[oauthError](a, "OAuthError")}}
		}
	}
	r.Security = clients
	return r
}

// anyClient says in the description that the public client may call, or a service.
func anyClient() []map[string][]string { return []map[string][]string{{}, {serviceBasicScheme: {}}} }

func seconds(d time.Duration) int { return int(d / time.Second) }
