package keyring

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// snapshot is the keys at one moment. It is never changed once made, so that a
// request sees the keys before a reload or those after it, and nothing between.
type snapshot struct {
	active *accesstoken.SigningKey
	public map[string]accesstoken.PublicKey
	jwks   []byte
}

// newSnapshot opens all keys that are not removed. One that does not open fails
// the whole: a server that silently lacked a key would refuse the tokens that
// its neighbors sign, or fail at the next rotation instead of at its start.
func newSnapshot(records []Record, roots rootkey.Ring) (*snapshot, error) {
	s := &snapshot{public: make(map[string]accesstoken.PublicKey, len(records))}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}

	for _, rec := range inOrder(records) {
		switch rec.State {
		case Removed:
			continue
		case Published, Active, Retiring:
		default:
			return nil, fmt.Errorf("%w: %s: unknown state; is the database of a newer version?", ErrUnusable, rec.KeyID)
		}
		if _, twice := s.public[rec.KeyID]; twice {
			return nil, fmt.Errorf("%w: %s is stored twice", ErrUnusable, rec.KeyID)
		}
		key, err := rec.open(roots)
		if err != nil {
			return nil, err
		}
		if rec.State == Active {
			if s.active != nil {
				return nil, fmt.Errorf("%w: %s and %s are both active", ErrUnusable, s.active.KeyID(), rec.KeyID)
			}
			s.active = key
		}
		jwk, err := key.Public().MarshalJWK()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrUnusable, rec.KeyID, err)
		}
		s.public[key.KeyID()] = key.Public()
		set.Keys = append(set.Keys, jwk)
	}
	if s.active == nil {
		return nil, fmt.Errorf("%w: none of %d is active", ErrUnusable, len(records))
	}

	var err error
	if s.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("encode JWKS: %w", err)
	}
	return s, nil
}

// inOrder sorts the active key before the published ones and those before the
// retiring ones, each newest first: all servers publish the same bytes for the
// same keys, and a verifier that tries them in turn begins with the right one.
func inOrder(records []Record) []Record {
	rank := map[State]int{Active: 0, Published: 1, Retiring: 2}
	sorted := slices.Clone(records)
	slices.SortFunc(sorted, func(a, b Record) int {
		return cmp.Or(
			cmp.Compare(rank[a.State], rank[b.State]),
			b.PublishedAt.Compare(a.PublishedAt),
			cmp.Compare(a.KeyID, b.KeyID),
		)
	})
	return sorted
}
