package client

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Epoch tells how often somebody has signed in or out.
func Epoch(s *Source) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// SetClocks lets a source read two clocks that a test sets apart.
func SetClocks(s *Source, wall func() time.Time, mono func() time.Duration) {
	s.clock = func() reading { return reading{wall: wall(), mono: mono()} }
}

// Trust lets the transport of our own trust what a test trusts. It is called before the
// first request.
func Trust(s *Source, cfg *tls.Config) {
	s.server.http.Transport.(*http.Transport).TLSClientConfig = cfg.Clone()
}
