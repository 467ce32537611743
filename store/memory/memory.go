// Package memory keeps everything in maps behind one mutex. It is the model of a
// correct store: the shortest code that passes package storetest, to be read
// before writing another. Use it in tests; nothing in it survives the process.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Store implements every role of [innkeeper.Stores]. The zero value is unusable;
// make one with [New].
type Store struct {
	mu          sync.Mutex
	sessions    map[innkeeper.SessionID]innkeeper.Session
	users       map[innkeeper.UserID]innkeeper.User
	roles       map[string]innkeeper.Role
	services    map[innkeeper.ServiceID]innkeeper.Service
	events      []innkeeper.Event
	revocations []innkeeper.Revocation
	seq         int64
	checks      []rootkey.Check
	issuer      string
	keys        []keyring.Record
	lastEvent   int64
	webhooks    map[innkeeper.WebhookID]leased
	deliveries  map[deliveryKey]innkeeper.WebhookDelivery
	attempts    map[innkeeper.AttemptKey]innkeeper.Attempts
}

// New returns an empty store.
func New() *Store {
	return &Store{
		sessions: make(map[innkeeper.SessionID]innkeeper.Session),
		users:    make(map[innkeeper.UserID]innkeeper.User),
		attempts: make(map[innkeeper.AttemptKey]innkeeper.Attempts),
		services: make(map[innkeeper.ServiceID]innkeeper.Service),
		webhooks: make(map[innkeeper.WebhookID]leased), deliveries: make(map[deliveryKey]innkeeper.WebhookDelivery),
		roles: map[string]innkeeper.Role{innkeeper.RoleAdmin: {Name: innkeeper.RoleAdmin}},
	}
}

// Stores returns the store in all its roles.
func (s *Store) Stores() innkeeper.Stores {
	return innkeeper.Stores{
		Sessions: s, Users: s, Roles: s, Services: s, Events: s, Revocations: s, RootKeys: s, Issuer: s, Keys: s,
		Webhooks: s, Deliveries: s, Attempts: s,
	}
}

// lock begins an atomic operation, unless its caller has gone.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

// revoke appends a revocation entry under the lock.
func (s *Store) revoke(entry innkeeper.Revocation) {
	s.seq = max(s.seq+1, entry.At.UnixMicro())
	entry.Seq = s.seq
	s.revocations = append(s.revocations, entry)
}

// Revocations implements [innkeeper.RevocationStore].
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []innkeeper.Revocation
	for _, entry := range s.revocations {
		if entry.Seq > after && len(page) < limit {
			page = append(page, entry)
		}
	}
	return page, nil
}

// LastRevocation implements [innkeeper.RevocationStore].
func (s *Store) LastRevocation(ctx context.Context) (int64, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.seq, nil
}

// Revoke implements [innkeeper.RevocationStore].
func (s *Store) Revoke(ctx context.Context, entry innkeeper.Revocation, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	known := slices.IndexFunc(s.revocations, func(old innkeeper.Revocation) bool {
		return old.Kind == entry.Kind && old.ID == entry.ID
	})
	switch {
	case known < 0:
		s.log(event)
	case entry.Kind == innkeeper.RevokedKey, entry.At.Sub(s.revocations[known].At) <= innkeeper.RevocationRenewal:
		return nil
	default:
		s.revocations = slices.Delete(s.revocations, known, known+1)
	}
	s.revoke(entry)
	return nil
}

// SweepRevocations implements [innkeeper.RevocationStore].
func (s *Store) SweepRevocations(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	s.revocations = slices.DeleteFunc(s.revocations, func(entry innkeeper.Revocation) bool {
		old := entry.Kind != innkeeper.RevokedKey && entry.At.Before(before) && swept < limit
		if old {
			swept++
		}
		return old
	})
	return swept, nil
}

// RootKeyChecks implements [innkeeper.RootKeyStore].
func (s *Store) RootKeyChecks(ctx context.Context) ([]rootkey.Check, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return slices.Clone(s.checks), nil
}

// AddRootKeyChecks implements [innkeeper.RootKeyStore].
func (s *Store) AddRootKeyChecks(ctx context.Context, checks []rootkey.Check) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	ours := func(check rootkey.Check) bool { return slices.Contains(checks, check) }
	if len(s.checks) > 0 && !slices.ContainsFunc(s.checks, ours) {
		return innkeeper.ErrWrongRootKey
	}
	for _, check := range checks {
		if !slices.Contains(s.checks, check) {
			s.checks = append(s.checks, check)
		}
	}
	return nil
}

// Issuer implements [innkeeper.IssuerStore].
func (s *Store) Issuer(ctx context.Context) (string, error) {
	if err := s.lock(ctx); err != nil {
		return "", err
	}
	defer s.mu.Unlock()
	return s.issuer, nil
}

// SetIssuer implements [innkeeper.IssuerStore].
func (s *Store) SetIssuer(ctx context.Context, issuer string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.issuer = issuer
	return nil
}
