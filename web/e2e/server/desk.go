package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
)

const (
	refreshPath   = "/auth/refresh"
	logoutPath    = "/auth/logout"
	refreshCookie = "__Secure-innkeeper-refresh"
)

// desk stands in front of Innkeeper's POST endpoints: it notes what is asked and
// answered, and lets faults happen on the way.
type desk struct {
	api    http.Handler
	ledger *ledger
	faults *faults
}

// ServeHTTP implements [http.Handler].
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kept, err := keep(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f := d.faults.next(r.URL.Path)
	answered := d.ledger.arrive(kept, f.name())
	defer answered()
	f.befall(w, r, func() *httptest.ResponseRecorder { return d.act(kept) })
}

// act lets Innkeeper do what is asked, and keeps the answer. It does so even when
// the client has left meanwhile: the server at the far end of a slow network has
// not heard of that.
func (d *desk) act(r *keptRequest) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	d.api.ServeHTTP(answer, r.again())
	switch r.URL.Path {
	case refreshPath:
		d.noteRefresh(r, answer)
	case logoutPath:
		d.noteLogout(r, answer)
	}
	return answer
}

func (d *desk) noteRefresh(r *keptRequest, answer *httptest.ResponseRecorder) {
	presented := r.refreshToken()
	entry := refresh{Key: r.Header.Get("Idempotency-Key"), Status: answer.Code}
	entry.Session, entry.From = read(presented)
	var said struct {
		Code string `json:"code"`
		User struct {
			Username string `json:"username"`
		} `json:"user"`
	}
	_ = json.Unmarshal(answer.Body.Bytes(), &said) // what is no JSON says nothing
	entry.Code, entry.User, entry.Outcome = said.Code, said.User.Username, said.Code
	if answer.Code == http.StatusOK {
		entry.Outcome = d.ledger.succeeds(presented, handedOut(answer))
	}
	d.ledger.write(func(seq int, p *page) {
		entry.Seq = seq
		p.Refreshes = append(p.Refreshes, entry)
	})
}

func (d *desk) noteLogout(r *keptRequest, answer *httptest.ResponseRecorder) {
	entry := logout{Scope: "this", Status: answer.Code}
	entry.Session, _ = read(r.refreshToken())
	var asked struct {
		Scope string `json:"scope"`
	}
	if json.Unmarshal(r.body, &asked) == nil && asked.Scope != "" {
		entry.Scope = asked.Scope
	}
	d.ledger.write(func(seq int, p *page) {
		entry.Seq = seq
		p.Logouts = append(p.Logouts, entry)
	})
}

// keptRequest is a request that can be made again.
type keptRequest struct {
	*http.Request
	body []byte
}

func keep(r *http.Request) (*keptRequest, error) {
	body, err := io.ReadAll(r.Body)
	return &keptRequest{Request: r, body: body}, err
}

func (r *keptRequest) again() *http.Request {
	again := r.Clone(context.WithoutCancel(r.Context()))
	again.Body = io.NopCloser(bytes.NewReader(r.body))
	return again
}

func (r *keptRequest) refreshToken() string {
	if cookie, err := r.Cookie(refreshCookie); err == nil {
		return cookie.Value
	}
	return ""
}

// read returns session and generation of a refresh token (docs/refresh.md).
func read(token string) (session string, generation uint32) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, innkeeper.RefreshTokenPrefix))
	if err != nil || len(raw) < 23 {
		return "", 0
	}
	return base64.RawURLEncoding.EncodeToString(raw[3:19]), binary.BigEndian.Uint32(raw[19:23])
}

// handedOut returns the refresh token that an answer sets.
func handedOut(answer *httptest.ResponseRecorder) string {
	for _, cookie := range (&http.Response{Header: answer.Header()}).Cookies() {
		if cookie.Name == refreshCookie {
			return cookie.Value
		}
	}
	return ""
}
