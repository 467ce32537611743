package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// Bounds of what a server may make us wait for and hold.
const (
	refreshTimeout = 8 * time.Second
	callTimeout    = 30 * time.Second // a sign-in hashes a password, and may have to queue
	maxAnswer      = 1 << 20
	maxRetryAfter  = 5 * time.Minute
	maxLifetime    = 24 * time.Hour // servers give an hour at most

	// A connection of HTTP/2 on which nothing has come for pingAfter is asked whether it
	// lives, and given up after another pingTimeout: before a refresh times out, which
	// would leave a dead connection to the next try.
	pingAfter   = 3 * time.Second
	pingTimeout = 4 * time.Second
)

// server is where tokens come from. It is asked by a client of its own: no cookies, no
// redirects, which would carry a refresh token to wherever they lead, and no transport
// that adds an access token, which would have to ask us for one.
type server struct {
	parsed *url.URL
	url    string // without a final slash
	http   http.Client
}

func newServer(text string, transport http.RoundTripper) (*server, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("server: not a URL") // the cause quotes it, password and all
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("server: user name, query and fragment are not allowed")
	}
	if _, ok := originOf(u); !ok {
		return nil, errors.New("server: https is required, except for localhost")
	}
	if transport == nil {
		transport = newServerTransport()
	}
	return &server{
		parsed: u, url: strings.TrimRight(text, "/"),
		http: http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// origin is where the server's own endpoints are.
func (s *server) origin() string { return s.parsed.Scheme + "://" + s.parsed.Host }

func newServerTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// tokensAnswer is what a sign-in and a refresh give.
type tokensAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
	Session     struct {
		ID         string    `json:"id"`
		Generation uint32    `json:"generation"`
		ExpiresAt  time.Time `json:"expires_at"`
	} `json:"session"`
	User         User   `json:"user"`
	RefreshToken string `json:"refresh_token"`
	DeviceToken  string `json:"device_token"`
}

// complete reports whether a 200 is from our server, and not the page of some hotel.
func (a *tokensAnswer) complete() bool {
	return a.AccessToken != "" && a.ExpiresIn > 0 && a.ExpiresIn <= int64(maxLifetime/time.Second) &&
		a.Session.ID != "" && a.Session.Generation > 0 && a.User.ID != ""
}

func (a *tokensAnswer) lifetime() time.Duration { return time.Duration(a.ExpiresIn) * time.Second }

// problem is an error of the server: RFC 9457 with its members.
type problem struct {
	Code       string `json:"code"`
	Detail     string `json:"detail"`
	Reason     string `json:"reason"`
	Generation uint32 `json:"generation"`

	status     int
	retryAfter time.Duration
}

// Error implements error. It says nothing that was sent.
func (p *problem) Error() string { return fmt.Sprintf("the server answered %d %s", p.status, p.Code) }

// The codes that a client acts upon.
const (
	codeMismatch   = "refresh_generation_mismatch"
	codeSuperseded = "refresh_superseded"
	codeNoSession  = "no_session" // ours
)

// dead reports whether this is one of the few answers by which a session is over. An
// unknown code is not among them: silence is not a verdict.
func (p *problem) dead() bool {
	if p.status != http.StatusUnauthorized && p.status != http.StatusBadRequest {
		return false
	}
	switch p.Code {
	case "refresh_token_missing", "refresh_token_invalid", "refresh_token_expired", "refresh_token_reused", "session_ended":
		return true
	}
	return false
}

// signedOut is what a dead session means to whoever wants a token.
func (p *problem) signedOut() *SignedOutError {
	reason := p.Reason
	switch p.Code {
	case "refresh_token_expired":
		reason = "expired"
	case "refresh_token_reused":
		reason = "reuse"
	}
	return &SignedOutError{Code: p.Code, Reason: reason}
}

// refused is what a problem means to whoever made a request that is no refresh.
func (p *problem) refused() error {
	if p.status >= http.StatusInternalServerError || p.status == http.StatusRequestTimeout || p.status == http.StatusTooEarly {
		return &UnavailableError{RetryAfter: p.retryAfter, Err: p, passing: true}
	}
	return &RefusedError{Status: p.status, Code: p.Code, Detail: p.Detail, RetryAfter: p.retryAfter}
}

// refresh trades a refresh token for the next pair. It returns a [*problem] for an
// answer with a code, whatever it means, and an [*UnavailableError] otherwise.
func (s *server) refresh(ctx context.Context, token Secret, key string, generation uint32) (*tokensAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	header := http.Header{"Idempotency-Key": {fmt.Sprintf(`"%s";generation=%d`, key, generation)}}
	return s.tokens(ctx, &s.http, "/auth/refresh", header, map[string]string{"refresh_token": token.Reveal()})
}

// login signs in, on a device that the server knows if there is a token that says so.
func (s *server) login(ctx context.Context, c Credentials, known Secret) (*tokensAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body := map[string]string{"username": c.Username, "password": c.Password, "delivery": "body"}
	if c.Device != "" {
		body["device"] = c.Device
	}
	if !known.IsZero() {
		body["device_token"] = known.Reveal()
	}
	return s.tokens(ctx, &s.http, "/auth/login", nil, body)
}

// logout ends the session that a refresh token belongs to, whatever its generation.
func (s *server) logout(ctx context.Context, token Secret) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	return s.call(ctx, &s.http, http.MethodPost, "/auth/logout", nil, map[string]string{"refresh_token": token.Reveal()}, nil)
}

func (s *server) tokens(ctx context.Context, via *http.Client, path string, header http.Header, body any) (*tokensAnswer, error) {
	var answer tokensAnswer
	if err := s.call(ctx, via, http.MethodPost, path, header, body, &answer); err != nil {
		return nil, err
	}
	if !answer.complete() {
		return nil, notOurs(http.StatusOK)
	}
	return &answer, nil
}

// call sends one request and reads its answer into out, nil if none is expected.
func (s *server) call(ctx context.Context, via *http.Client, method, path string, header http.Header, body, out any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, payload)
	if err != nil {
		return err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := via.Do(req)
	if err != nil {
		err = withoutURL(err)
		for _, own := range []error{ErrSignedOut, ErrUnavailable, ErrUserChanged, ErrClosed} { // of our own transport
			if errors.Is(err, own) {
				return err
			}
		}
		return &UnavailableError{Err: err, passing: true}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &UnavailableError{Err: fmt.Errorf("read answer: %w", err), passing: true}
	}
	return judge(resp, text, out)
}

// judge reads an answer. What is not of the form that our server gives says nothing.
func judge(resp *http.Response, text []byte, out any) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if out != nil && strictjson.Unmarshal(text, out) != nil {
			return notOurs(resp.StatusCode)
		}
		return nil
	}
	p := &problem{}
	if strictjson.Unmarshal(text, p) != nil || p.Code == "" {
		return &UnavailableError{Err: notOurs(resp.StatusCode).Err, RetryAfter: retryAfter(resp.Header), passing: true}
	}
	p.status, p.retryAfter = resp.StatusCode, retryAfter(resp.Header)
	return p
}

func notOurs(status int) *UnavailableError {
	return &UnavailableError{Err: fmt.Errorf("status %d, with a body that is not from an Innkeeper server", status), passing: true}
}

// withoutURL takes the request out of an error of net/http. It may carry more than is
// good for a log.
func withoutURL(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// retryAfter reads the header (RFC 9110 section 10.2.3). A date is compared with the
// server's own clock, never with ours.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
