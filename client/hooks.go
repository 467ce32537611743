package client

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// notices are what there is to tell when all locks are free.
type notices struct {
	refreshed *Token
	signedOut *SignedOutError
	failures  []error
}

// failure adds an error that is news. That there is no session is for whoever asked, and
// what is remembered was told before.
func (n *notices) failure(err error) {
	var unavailable *UnavailableError
	switch {
	case errors.Is(err, ErrSignedOut), errors.Is(err, ErrClosed), errors.Is(err, errOvertaken):
	case errors.As(err, &unavailable) && unavailable.known:
	default:
		n.failures = append(n.failures, err)
	}
}

// hooks are the functions of whoever made the source.
type hooks struct {
	refresh   func(Token)
	signedOut func(*SignedOutError)
	failed    func(error)
	logger    *slog.Logger

	mu      sync.Mutex
	waiting []notices
	telling bool // somebody calls the hooks right now
}

// tell calls the hooks, one after the other. A hook that causes another notice finds
// itself told of it when it has returned.
func (s *Source) tell(n notices) {
	h := &s.hooks
	h.mu.Lock()
	h.waiting = append(h.waiting, n)
	if h.telling {
		h.mu.Unlock()
		return
	}
	h.telling = true
	for len(h.waiting) > 0 {
		next := h.waiting[0]
		h.waiting = h.waiting[1:]
		h.mu.Unlock()
		h.call(next)
		h.mu.Lock()
	}
	h.telling = false
	h.mu.Unlock()
}

func (h *hooks) call(n notices) {
	for _, err := range n.failures {
		h.logger.Warn("refresh", "error", err)
		h.guarded(func() { h.failed(err) }, h.failed != nil)
	}
	if n.refreshed != nil {
		h.logger.Debug("new access token", "session", n.refreshed.SessionID, "generation", n.refreshed.Generation)
		h.guarded(func() { h.refresh(*n.refreshed) }, h.refresh != nil)
	}
	if n.signedOut != nil {
		h.logger.Info("signed out", "code", n.signedOut.Code, "reason", n.signedOut.Reason)
		h.guarded(func() { h.signedOut(n.signedOut) }, h.signedOut != nil)
	}
}

// guarded keeps a hook that panics from ending the program: nobody waits for it who
// could make sense of it.
func (h *hooks) guarded(hook func(), set bool) {
	if !set {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			h.logger.Error("a hook panicked", "cause", fmt.Sprint(cause))
		}
	}()
	hook()
}

// Stats counts since the source was made. Each only ever grows, as a counter of a
// monitoring system wants.
type Stats struct {
	Refreshed uint64 // tokens that the server gave
	Adopted   uint64 // tokens that another process, or an earlier one, had stored
	Requests  uint64 // refreshes that were sent, each try
	Retries   uint64 // tries after a failure, within one refresh
	Unsaved   uint64 // refresh tokens that the store did not take at once
	SignedOut uint64 // sessions that were over
}

// counters is Stats while it counts.
type counters struct {
	refreshed, adopted, requests, retries, unsaved, signedOut atomic.Uint64
}

// Stats returns what has happened so far.
func (s *Source) Stats() Stats {
	c := &s.counters
	return Stats{
		Refreshed: c.refreshed.Load(), Adopted: c.adopted.Load(), Requests: c.requests.Load(),
		Retries: c.retries.Load(), Unsaved: c.unsaved.Load(), SignedOut: c.signedOut.Load(),
	}
}
