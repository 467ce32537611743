package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// caller sends requests to the nodes of an inn. It tries nothing again by itself:
// what it did and what it was told has to be known exactly.
type caller struct {
	nodes    []string // URLs
	http     *http.Client
	patience time.Duration // for an answer
}

// newCaller returns a caller for so many clients, which waits for an answer no
// longer than patience.
func newCaller(nodes []string, clients int, patience time.Duration) *caller {
	return &caller{nodes: nodes, patience: patience, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true},
	}}
}

func (c *caller) close() { c.http.CloseIdleConnections() }

// call is one HTTP request.
type call struct {
	method, path string
	body         any           // nil: none
	bearer       string        // the access token; empty: none
	key          string        // the header Idempotency-Key; empty: none
	patience     time.Duration // for this answer; zero: that of the caller
}

// reply is what the API says, good news and bad.
type reply struct {
	status       int
	retryAfter   string
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Session      struct {
		ID         string `json:"id"`
		Generation int    `json:"generation"`
	} `json:"session"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Sessions []struct {
		ID string `json:"id"`
	} `json:"sessions"`
	Code       string `json:"code"`
	Reason     string `json:"reason"`
	Generation int    `json:"generation"`
}

// errNotSent says that a request cannot have reached a server.
var errNotSent = errors.New("not sent")

// send sends a request to a node. An error means that nobody knows what became of
// it, unless it is errNotSent.
func (c *caller) send(ctx context.Context, node int, r call) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.patience, c.patience))
	defer cancel()
	req, err := r.request(ctx, c.nodes[node])
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, errNotSent
		}
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	answer := &reply{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After")}
	if len(text) > 0 {
		err = json.Unmarshal(text, answer)
	}
	return answer, err
}

// withoutURL keeps ports, which are others in each run, out of a history.
func withoutURL(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}

func (r call) request(ctx context.Context, node string) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, node+r.path, body)
	if err != nil {
		return nil, err
	}
	// A transport that can read a body again repeats a request with an idempotency
	// key by itself, and would hide from us that it did.
	req.GetBody = nil
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	return req, nil
}

// isVerdict says whether the server has decided, and not put off, what it was asked.
func (a *reply) isVerdict() bool { return a.status < http.StatusInternalServerError }

// outcome is what a history keeps of an answer.
func (a *reply) outcome(err error) Outcome {
	switch {
	case err != nil:
		return Outcome{Unknown: true, Error: err.Error()}
	case !a.isVerdict():
		return Outcome{Unknown: true, Error: fmt.Sprintf("%d %s", a.status, a.Code), Status: a.status}
	}
	out := Outcome{
		Status: a.status, Code: a.Code, Reason: a.Reason,
		Session: a.Session.ID, Generation: max(a.Session.Generation, a.Generation),
		Token: fingerprint(a.RefreshToken), Epoch: epochOf(a.AccessToken),
	}
	for _, s := range a.Sessions {
		out.Sessions = append(out.Sessions, s.ID)
	}
	slices.Sort(out.Sessions)
	return out
}

// fingerprint tells one secret from another.
func fingerprint(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}

// epochOf reads the epoch in an access token. Its signature is of no interest here:
// the servers check it.
func epochOf(accessToken string) string {
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Epoch string `json:"epoch"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return ""
	}
	return claims.Epoch
}
