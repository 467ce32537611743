package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Kind is what a client asks for.
type Kind string

// The kinds of operations. The first two are reads: whatever becomes of them, they
// change nothing.
const (
	Me         Kind = "me"         // GET /auth/me
	Sessions   Kind = "sessions"   // GET /auth/sessions
	SignIn     Kind = "sign in"    // POST /auth/login, and /auth/signup
	Refresh    Kind = "refresh"    // POST /auth/refresh
	Logout     Kind = "log out"    // POST /auth/logout with a refresh token
	End        Kind = "end"        // DELETE /auth/sessions/{id}
	Others     Kind = "others"     // POST /auth/logout, scope others
	Everywhere Kind = "everywhere" // POST /auth/logout, scope everywhere
	Disable    Kind = "disable"    // PATCH /admin/users/{id}, by an administrator
	Enable     Kind = "enable"     // the same, the other way
)

// Operation is one request, and what became of it.
type Operation struct {
	Client int    `json:"client"`
	Node   int    `json:"node"` // that was asked
	Kind   Kind   `json:"kind"`
	User   string `json:"user"`
	Input
	// Call and Return are counted from the beginning of the history, on a clock that
	// is never set.
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return"`
	Outcome Outcome       `json:"outcome"`
}

// Input is what a request shows. Tokens and keys are written as fingerprints,
// which tell one from another and sign nobody in.
type Input struct {
	Session    string `json:"session,omitempty"`
	Generation int    `json:"generation,omitempty"` // of the refresh token
	Token      string `json:"token,omitempty"`      // the refresh token
	Key        string `json:"key,omitempty"`        // of idempotency; empty: none is sent
	Label      int    `json:"label,omitempty"`      // the generation that the key says it is for
	Epoch      string `json:"epoch,omitempty"`      // of the access token
	Target     string `json:"target,omitempty"`     // the session to end
}

// Outcome is an answer, or that there was none.
type Outcome struct {
	// Unknown says that nobody knows whether the request was carried out, or will be
	// yet: it was answered with 503, or not at all.
	Unknown    bool     `json:"unknown,omitempty"`
	Error      string   `json:"error,omitempty"`
	Status     int      `json:"status,omitempty"`
	Code       string   `json:"code,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Session    string   `json:"session,omitempty"`
	Generation int      `json:"generation,omitempty"`
	Token      string   `json:"token,omitempty"`
	Epoch      string   `json:"epoch,omitempty"`
	Sessions   []string `json:"sessions,omitempty"`
}

// Fault is something that the nemesis did, for whoever reads a history.
type Fault struct {
	Kind  string        `json:"kind"`
	On    string        `json:"on"`
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
}

// History is all that happened in one run.
type History struct {
	Store      string      `json:"store"`
	Seed       uint64      `json:"seed"`
	Operations []Operation `json:"operations"`
	Faults     []Fault     `json:"faults"`
}

// unknown counts the operations without an answer.
func (h *History) unknown() int {
	n := 0
	for i := range h.Operations {
		if h.Operations[i].Outcome.Unknown {
			n++
		}
	}
	return n
}

// write writes the history as JSON.
func (h *History) write(file string) error {
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// readHistory reads what write has written.
func readHistory(file string) (*History, error) {
	text, err := os.ReadFile(file) //nolint:gosec // whoever runs this names the file
	if err != nil {
		return nil, err
	}
	var h History
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &h, nil
}

// recorder collects a history while it happens.
type recorder struct {
	begin time.Time

	mu      sync.Mutex
	history History
}

func newRecorder(store string, seed uint64) *recorder {
	return &recorder{begin: time.Now(), history: History{Store: store, Seed: seed}}
}

// now is the time since the history began, by the monotonic clock.
func (r *recorder) now() time.Duration { return time.Since(r.begin) }

func (r *recorder) operation(op Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Operations = append(r.history.Operations, op)
}

func (r *recorder) fault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Faults = append(r.history.Faults, f)
}
