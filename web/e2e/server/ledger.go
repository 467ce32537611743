package main

import (
	"context"
	"net/http"
	"sync"

	"github.com/innkeeper-auth/innkeeper"
)

// ledger is what reached an inn and what came of it: the tests assert on it and on
// nothing that a page says of itself.
type ledger struct {
	mu         sync.Mutex
	seq        int
	underWay   int               // refreshes that have arrived and are not answered
	successors map[string]string // of each refresh token that was rotated
	kept       []*keptRequest    // every refresh, to be repeated later
	page       page
}

// page is the ledger as the tests read it. Seq orders the entries of all its lists.
type page struct {
	Requests  []request  `json:"requests"`  // to the desk, as they arrive
	Refreshes []refresh  `json:"refreshes"` // as the desk acted on them
	Logouts   []logout   `json:"logouts"`   // as the desk acted on them
	Calls     []call     `json:"calls"`     // to the API
	Events    []event    `json:"events"`    // of Innkeeper
	Strangers []stranger `json:"strangers"` // requests to the origin next door
}

// request is one that arrived at /auth, before any fault befell it.
type request struct {
	Seq     int    `json:"seq"`
	Path    string `json:"path"`
	Proto   string `json:"proto"`
	Key     string `json:"key"`     // Idempotency-Key
	Overlap int    `json:"overlap"` // how many other refreshes were under way
	Fault   string `json:"fault"`   // what befell it; empty: nothing
}

// refresh is one that the desk acted on, whether or not the answer arrived.
type refresh struct {
	Seq     int    `json:"seq"`
	Session string `json:"session"` // of the token presented; empty: none
	From    uint32 `json:"from"`    // generation presented
	Key     string `json:"key"`
	Status  int    `json:"status"`
	Code    string `json:"code"`    // of a problem
	Outcome string `json:"outcome"` // rotated, replayed, forked, or the problem's code
	User    string `json:"user"`    // name, if it was answered with tokens
}

// logout is one that the desk acted on.
type logout struct {
	Seq     int    `json:"seq"`
	Session string `json:"session"` // of the refresh token presented; empty: none
	Scope   string `json:"scope"`
	Status  int    `json:"status"`
}

// call is a request to the API.
type call struct {
	Seq     int    `json:"seq"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Bearer  bool   `json:"bearer"` // an Authorization header was sent
	Cookie  string `json:"cookie"`
	Status  int    `json:"status"`
	User    string `json:"user"`    // name, if the token was good
	Session string `json:"session"` // the same
	Size    int    `json:"size"`    // of the body
	Sum     string `json:"sum"`     // SHA-256 of the body; of a form's parts, without their boundary
}

// event is one line of Innkeeper's audit log.
type event struct {
	Seq     int    `json:"seq"`
	Kind    string `json:"kind"`
	Session string `json:"session"`
	User    string `json:"user"` // id
	Reason  string `json:"reason"`
}

// stranger is a request to an origin that nobody trusts.
type stranger struct {
	Seq           int    `json:"seq"`
	Method        string `json:"method"`
	Path          string `json:"path"`
	Authorization string `json:"authorization"`
	Cookie        string `json:"cookie"`
}

// write lets add write one entry under the next number.
func (l *ledger) write(add func(seq int, p *page)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	add(l.seq, &l.page)
}

// arrive notes a request and returns what is to be called once it is answered.
func (l *ledger) arrive(r *keptRequest, fault string) (answered func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	entry := request{
		Seq: l.seq, Path: r.URL.Path, Proto: r.Proto, Key: r.Header.Get("Idempotency-Key"), Fault: fault,
	}
	if r.URL.Path != refreshPath {
		l.page.Requests = append(l.page.Requests, entry)
		return func() {}
	}
	entry.Overlap = l.underWay
	l.page.Requests = append(l.page.Requests, entry)
	l.kept = append(l.kept, r)
	l.underWay++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.underWay--
	})
}

// succeeds notes that a token was traded for another and says what that was. Two
// different successors of one parent are what must never be.
func (l *ledger) succeeds(parent, successor string) (outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch known, seen := l.successors[parent]; {
	case !seen:
		l.successors[parent] = successor
		return "rotated"
	case known == successor:
		return "replayed"
	default:
		return "forked"
	}
}

// observe is Innkeeper's observer.
func (l *ledger) observe(_ context.Context, e innkeeper.Event) {
	entry := event{Kind: string(e.Kind), Reason: string(e.Reason)}
	if e.SessionID != (innkeeper.SessionID{}) {
		entry.Session = e.SessionID.String()
	}
	if e.UserID != (innkeeper.UserID{}) {
		entry.User = e.UserID.String()
	}
	l.write(func(seq int, p *page) {
		entry.Seq = seq
		p.Events = append(p.Events, entry)
	})
}

// keptAt returns the nth refresh that arrived, from 0.
func (l *ledger) keptAt(n int) (*keptRequest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 0 || n >= len(l.kept) {
		return nil, false
	}
	return l.kept[n], true
}

// ServeHTTP shows the ledger.
func (l *ledger) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	writeJSON(w, http.StatusOK, l.page)
}
