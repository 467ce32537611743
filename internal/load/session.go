package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Target is a server and a user of it that all clients sign in as.
type Target struct {
	URL      *url.URL // the paths of the API are appended
	Username string
	Password Password
	// Timeout bounds one request. Zero means 30 s, which is longer than the server
	// itself lets one take.
	Timeout time.Duration
}

const defaultTimeout = 30 * time.Second

// Password prints as "[redacted]".
type Password string

const redacted = "[redacted]"

// Format implements [fmt.Formatter], for all verbs.
func (Password) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Session is one client of Innkeeper's HTTP API: it holds at most one session, of
// delivery "body", and one connection. It is not safe for concurrent use.
//
// It shares a machine with the server that it measures, so it cuts what it needs
// out of an answer instead of decoding it.
type Session struct {
	connection *connection
	login      string // the body of a sign-in
	timeout    time.Duration
	answer     []byte // the latest

	signedIn   bool
	spent      bool // the server has refused to refresh it, for good
	access     string
	refresh    string
	generation uint32
	key        string    // of the refresh that was begun and not answered; empty: there is none
	renewAt    time.Time // when the access token has lived half of its life
}

// NewSessions prepares sessions. Nobody is signed in yet.
func NewSessions(target Target, n int) []*Session {
	login, err := json.Marshal(map[string]string{
		"username": target.Username, "password": string(target.Password), "delivery": "body", "device": "load",
	})
	if err != nil {
		panic(err) // strings can be encoded
	}
	timeout := target.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	sessions := make([]*Session, n)
	for i := range sessions {
		sessions[i] = &Session{connection: newConnection(target.URL), login: string(login), timeout: timeout}
	}
	return sessions
}

// Format implements [fmt.Formatter]: a session prints without its tokens.
func (s *Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "load session of generation %d", s.generation)
}

// SignIn begins a session. If there is one, log it out first. A sign-in whose
// answer is lost may leave a session behind that nobody knows.
func (s *Session) SignIn(ctx context.Context) error {
	if err := s.send(ctx, http.MethodPost, "/auth/login", s.login); err != nil {
		return err
	}
	return s.keep("/auth/login", 1)
}

// Resume goes on with a session that began elsewhere, instead of its own if there
// is one.
func (s *Session) Resume(refreshToken string, generation uint32) {
	s.signedIn, s.spent, s.key = true, false, ""
	s.access, s.refresh, s.generation, s.renewAt = "", refreshToken, generation, time.Time{}
}

// RefreshToken returns the refresh token that comes next, and its generation. MUST
// NOT be logged.
func (s *Session) RefreshToken() (text string, generation uint32) { return s.refresh, s.generation }

// Refresh trades the refresh token for the next pair. A refresh that was not
// answered is tried again by the next call, with the same token and the same key.
func (s *Session) Refresh(ctx context.Context) error {
	if s.key == "" {
		s.key = rand.Text()
	}
	err := s.send(ctx, http.MethodPost, "/auth/refresh", `{"refresh_token":"`+s.refresh+`"}`,
		"Idempotency-Key", `"`+s.key+`";generation=`+strconv.FormatUint(uint64(s.generation), 10))
	if status := statusOf(err); status == http.StatusUnauthorized || status == http.StatusConflict {
		s.spent = true
	}
	if err != nil {
		return err
	}
	// A fresh answer and a replayed one bring the same successor.
	return s.keep("/auth/refresh", s.generation+1)
}

// Me asks who is signed in, which makes the server verify the access token and
// look whether the session lives.
func (s *Session) Me(ctx context.Context) error {
	err := s.send(ctx, http.MethodGet, "/auth/me", "", "Authorization", "Bearer "+s.access)
	if statusOf(err) == http.StatusUnauthorized {
		s.renewAt = time.Time{}
	}
	return err
}

// Logout ends the session. It works with a refresh token that was rotated unseen,
// too, so that the session is over unless the server did not answer.
func (s *Session) Logout(ctx context.Context) error {
	err := s.send(ctx, http.MethodPost, "/auth/logout", `{"refresh_token":"`+s.refresh+`"}`)
	if err == nil || statusOf(err) == http.StatusUnauthorized {
		s.signedIn, s.spent, s.access, s.refresh, s.key = false, false, "", "", ""
	}
	return err
}

// Close closes the connection.
func (s *Session) Close() { s.connection.close() }

// keep takes the tokens out of the latest answer.
func (s *Session) keep(path string, generation uint32) error {
	access, refresh := text(s.answer, "access_token"), text(s.answer, "refresh_token")
	if access == "" || refresh == "" {
		return &Failure{
			Kind: "unexpected answer", Status: http.StatusOK,
			Err: fmt.Errorf("POST %s: the answer holds no tokens: this is not Innkeeper's API", path),
		}
	}
	life := time.Duration(number(s.answer, "expires_in")) * time.Second
	s.signedIn, s.spent, s.key = true, false, ""
	s.access, s.refresh, s.generation = access, refresh, generation
	s.renewAt = time.Now().Add(life / 2)
	return nil
}

// text returns a member of an answer. Its name cannot be found in anything but a
// name, since a quote inside a JSON string has a backslash; and the values that
// are asked for hold nothing that would be escaped. Innkeeper writes no spaces.
func text(answer []byte, name string) string {
	_, rest, _ := bytes.Cut(answer, []byte(`"`+name+`":"`))
	value, _, found := bytes.Cut(rest, []byte(`"`))
	if !found {
		return ""
	}
	return string(value)
}

// number returns a member of an answer; 0 if there is none.
func number(answer []byte, name string) int {
	_, rest, _ := bytes.Cut(answer, []byte(`"`+name+`":`))
	n := 0
	for _, c := range rest {
		if c < '0' || c > '9' || n > 1<<30 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// send sends a request with headers in pairs, and reads the answer. Every error
// is a [*Failure].
func (s *Session) send(ctx context.Context, method, path, body string, headers ...string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	a, err := s.connection.do(ctx, method, path, body, headers)
	switch {
	case err != nil:
		return unanswered(method, path, err)
	case a.status >= http.StatusMultipleChoices:
		return refused(method, path, a)
	}
	s.answer = a.body
	return nil
}

// unanswered is a request that nobody knows the outcome of.
func unanswered(method, path string, err error) error {
	kind := "no answer"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = "connection refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		kind = "timeout"
	}
	return &Failure{Kind: kind, Err: fmt.Errorf("%s %s: %w", method, path, err)}
}

// maxWait bounds how long a client waits because a server says so.
const maxWait = time.Second

// refused is an answer that is none of those hoped for. What it says comes from
// whoever listens at that address, and is shown to people: only a problem's code
// and detail, and only what can be printed.
func refused(method, path string, a answer) error {
	var problem struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	f := &Failure{Kind: strconv.Itoa(a.status), Status: a.status}
	if json.Unmarshal(a.body, &problem) == nil && problem.Code != "" {
		f.Kind += " " + shown(problem.Code)
		problem.Detail = ": " + shown(problem.Detail)
	}
	f.Err = fmt.Errorf("%s %s: %s%s", method, path, f.Kind, problem.Detail)
	if f.Status == http.StatusServiceUnavailable || f.Status == http.StatusTooManyRequests {
		f.Wait = maxWait
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
			f.Wait = min(time.Duration(max(seconds, 0))*time.Second, maxWait)
		}
	}
	return f
}

func shown(text string) string {
	const most = 300
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text[:min(len(text), most)])
}

// statusOf returns the status of the answer that an error tells of; 0 if there
// was none.
func statusOf(err error) int {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Status
	}
	return 0
}
