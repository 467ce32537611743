package memory

import (
	"bytes"
	"context"
	"slices"

	"github.com/innkeeper-auth/innkeeper/keyring"
)

// SigningKeys implements [keyring.Store].
func (s *Store) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return copyKeys(s.keys), nil
}

// InitSigningKeys implements [keyring.Store].
func (s *Store) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if len(s.keys) > 0 {
		return keyring.ErrInitialized
	}
	s.keys = copyKeys(records)
	return nil
}

// MoveSigningKeys implements [keyring.Store].
func (s *Store) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	keys := copyKeys(s.keys)
	for _, step := range moves.Steps {
		i := slices.IndexFunc(keys, func(k keyring.Record) bool { return k.KeyID == step.KeyID && k.State == step.From })
		if i < 0 {
			return keyring.ErrMoved
		}
		step.Apply(&keys[i])
	}
	keys = append(keys, copyKeys(moves.New)...)
	names, states := make(map[string]int), make(map[keyring.State]int)
	for _, key := range keys {
		names[key.KeyID]++
		states[key.State]++
		if names[key.KeyID] > 1 || states[keyring.Active] > 1 || states[keyring.Published] > 1 {
			return keyring.ErrMoved
		}
	}
	s.keys = keys
	return nil
}

// RewrapSigningKey implements [keyring.Store].
func (s *Store) RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.keys, func(k keyring.Record) bool { return k.KeyID == keyID && bytes.Equal(k.Wrapped, old) })
	if i < 0 {
		return keyring.ErrMoved
	}
	s.keys[i].Wrapped = bytes.Clone(wrapped)
	return nil
}

// copyKeys shares nothing with its argument.
func copyKeys(keys []keyring.Record) []keyring.Record {
	copied := slices.Clone(keys)
	for i := range copied {
		copied[i].Wrapped = append([]byte(nil), copied[i].Wrapped...)
		copied[i].PublicJWK = append([]byte(nil), copied[i].PublicJWK...)
	}
	return copied
}
