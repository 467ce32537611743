package memory

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// Attempts implements [innkeeper.AttemptStore].
func (s *Store) Attempts(ctx context.Context, key innkeeper.AttemptKey) (innkeeper.Attempts, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.Attempts{}, err
	}
	defer s.mu.Unlock()
	return s.attempts[key], nil
}

// SwapAttempts implements [innkeeper.AttemptStore].
func (s *Store) SwapAttempts(ctx context.Context, key innkeeper.AttemptKey, old, next innkeeper.Attempts) (bool, error) {
	if err := s.lock(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	switch seen := s.attempts[key]; {
	case !seen.Equal(old):
		return false, nil
	case next.IsZero():
		delete(s.attempts, key)
	default:
		s.attempts[key] = next
	}
	return true, nil
}

// SweepAttempts implements [innkeeper.AttemptStore].
func (s *Store) SweepAttempts(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	for key, attempts := range s.attempts {
		if swept < limit && attempts.LastAt.Before(before) {
			delete(s.attempts, key)
			swept++
		}
	}
	return swept, nil
}
