package client

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// TransportConfig is what it takes to make a [Transport].
type TransportConfig struct {
	// Origins may be sent the access token: "https://api.example.com". https, or http if
	// the host is this machine. Required; there is no "all".
	Origins []string
	// Base carries the requests. The zero value means [http.DefaultTransport].
	Base http.RoundTripper
	// Refused reports whether a response says that the access token was not good, so that
	// another one is worth a try. The zero value means 401 with a challenge that says
	// Bearer error="invalid_token" (RFC 6750). It must not touch the body.
	Refused func(*http.Response) bool
}

// Transport adds the access token of a [Source] to requests. It is an
// [http.RoundTripper], safe for concurrent use.
//
//   - A token goes to the origins that were named and to no other: neither to where a
//     redirect leads outside, nor back in from there. A request that brings an
//     Authorization header of its own keeps it. Others are sent as they are.
//   - If the API refuses the token, the request is sent again with another one, once,
//     whatever its method: an API that looks at tokens first has done nothing yet. That
//     takes a body that can be had again: none, or one with GetBody, which
//     [http.NewRequest] sets for bytes and strings. Otherwise the refusal is returned,
//     and the next request has a new token. For a large upload from a stream set the
//     header "Expect: 100-continue", with ExpectContinueTimeout in Base: a refusal comes
//     before the body is sent.
//   - A second refusal is returned as it is, and signs nobody out.
//
// RoundTrip returns an error of [Source.Token] if there is no token to begin with. Later
// failures leave the response that there is.
type Transport struct {
	source  *Source
	origins Origins
	base    http.RoundTripper
	refused func(*http.Response) bool
}

// NewTransport returns a transport, or an error if an origin is not as required.
func NewTransport(source *Source, cfg TransportConfig) (*Transport, error) {
	origins, err := ParseOrigins(cfg.Origins...)
	if err != nil {
		return nil, err
	}
	t := &Transport{source: source, origins: origins, base: cfg.Base, refused: cfg.Refused}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	if t.refused == nil {
		t.refused = tokenRefused
	}
	return t, nil
}

// HTTPClient returns a client with a [Transport] for these origins.
func (s *Source) HTTPClient(origins ...string) (*http.Client, error) {
	t, err := NewTransport(s, TransportConfig{Origins: origins})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: t}, nil
}

// Unwrap returns the transport below, for tools that look for one.
func (t *Transport) Unwrap() http.RoundTripper { return t.base }

// Format implements [fmt.Formatter] for every verb, as that of the source does.
func (t *Transport) Format(f fmt.State, verb rune) { t.source.Format(f, verb) }

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, own := req.Header["Authorization"]; own || !t.origins.allowRequest(req) {
		return t.base.RoundTrip(req)
	}
	token, err := t.source.Token(req.Context())
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	resp, err := t.send(req, req.Body, token)
	if err != nil || !t.refused(resp) {
		return resp, err
	}
	return t.again(req, resp, token)
}

// send sends a copy with the token. The response names the request of the caller: who
// prints it shows no token.
func (t *Transport) send(req *http.Request, body io.ReadCloser, token Token) (*http.Response, error) {
	with := *req
	with.Header = req.Header.Clone()
	if with.Header == nil {
		with.Header = make(http.Header)
	}
	with.Header.Set("Authorization", "Bearer "+token.Access.Reveal())
	with.Body = body
	resp, err := t.base.RoundTrip(&with)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// maxDrained is how much of a refusal is read, so that its connection can be used
// again, in bytes.
const maxDrained = 64 << 10

// again sends a request with another token than the refused one. Everything that can
// fail is done before the refusal is touched.
func (t *Transport) again(req *http.Request, refusal *http.Response, refused Token) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		t.source.join(req.Context(), request{avoid: refused, demanded: true, ahead: true})
		return refusal, nil
	}
	token, err := t.source.Refresh(req.Context(), refused)
	if err != nil || token.UserID != refused.UserID {
		return refusal, nil //nolint:nilerr // the hooks of the source are told; the caller has a response
	}
	body := req.Body
	if req.GetBody != nil && body != nil && body != http.NoBody {
		if body, err = req.GetBody(); err != nil {
			return refusal, nil //nolint:nilerr // there is nothing to send again
		}
	}
	if req.Context().Err() != nil {
		closeBody(body)
		return refusal, nil
	}
	_, _ = io.CopyN(io.Discard, refusal.Body, maxDrained) // a connection less, at worst
	closeBody(refusal.Body)
	return t.send(req, body, token)
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		_ = body.Close()
	}
}

// tokenRefused reports whether an API has found the token, and not the request or the
// person, wanting. A missing permission, or a sign-in that is too long ago, is not
// mended by a refresh.
func tokenRefused(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	for _, value := range resp.Header.Values("WWW-Authenticate") {
		for _, challenge := range challenges(value) {
			if strings.EqualFold(challenge.scheme, "Bearer") && challenge.params["error"] == "invalid_token" {
				return true
			}
		}
	}
	return false
}
