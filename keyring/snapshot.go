package keyring

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// snapshot is the keys at one moment. It is never changed once made, so that a
// request sees the keys before a reload or those after it, and nothing between.
type snapshot struct {
	readAt  time.Time // when the reading of the store began; no monotonic part
	records []Record
	held    map[string]*accesstoken.SigningKey // all that open here
	active  *accesstoken.SigningKey            // nil: it is not to be trusted
	jwks    []byte
	// faults are keys that do not open here, and that nothing signs with yet.
	faults error
}

// fresh tells whether one may still sign by what the snapshot says. The wall clock
// decides, which goes on while a machine sleeps. One that was set back makes a
// snapshot of the future, which is none.
func (s *snapshot) fresh(now time.Time) bool {
	age := now.Sub(s.readAt)
	return s.active != nil && -SnapshotAge <= age && age <= SnapshotAge
}

// newSnapshot opens all keys that are not removed, but for those in distrusted. A
// key that was held before is the same key still, by its name, and is not opened
// again: a row that was damaged since, or wrapped under a root key that only other
// servers have yet, takes nothing away from a server that runs.
//
// A key that does not open is a fault of the snapshot; if it is the active one,
// there is no snapshot.
func newSnapshot(records []Record, roots rootkey.Ring, held map[string]*accesstoken.SigningKey, distrusted map[string]bool) (*snapshot, error) {
	s := &snapshot{records: inOrder(records), held: make(map[string]*accesstoken.SigningKey, len(records))}
	active := ""
	for _, rec := range s.records {
		if rec.State == Removed || distrusted[rec.KeyID] {
			continue
		}
		if _, twice := s.held[rec.KeyID]; twice {
			return nil, fmt.Errorf("%w: %s is stored twice", ErrUnusable, rec.KeyID)
		}
		if rec.State == Active {
			if active != "" {
				return nil, fmt.Errorf("%w: %s and %s are both active", ErrUnusable, active, rec.KeyID)
			}
			active = rec.KeyID
		}
		key, err := rec.openOr(roots, held[rec.KeyID])
		if key != nil {
			s.held[rec.KeyID] = key
		}
		switch {
		case rec.State == Active && key == nil:
			return nil, err
		case rec.State == Active:
			s.active = key
		}
		s.faults = errors.Join(s.faults, err)
	}
	if !slices.ContainsFunc(s.records, func(rec Record) bool { return rec.State == Active }) {
		return nil, cmp.Or(s.faults, fmt.Errorf("%w: none of %d is active", ErrUnusable, len(records)))
	}
	return s, s.publish()
}

// openOr returns the key of a record, or the one that was held under its name. An
// error may come with it: then the record has a fault that does not matter yet.
func (rec Record) openOr(roots rootkey.Ring, held *accesstoken.SigningKey) (*accesstoken.SigningKey, error) {
	switch rec.State {
	case Published, Active, Retiring:
	default:
		return nil, fmt.Errorf("%w: %s: unknown state; is the database of a newer version?", ErrUnusable, rec.KeyID)
	}
	key, err := rec.open(roots)
	if err != nil {
		return held, err
	}
	return key, nil
}

// publish makes the JWKS.
func (s *snapshot) publish() error {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, rec := range s.records {
		key, ok := s.held[rec.KeyID]
		if !ok {
			continue
		}
		jwk, err := key.Public().MarshalJWK()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUnusable, rec.KeyID, err)
		}
		set.Keys = append(set.Keys, jwk)
	}
	var err error
	if s.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("encode JWKS: %w", err)
	}
	return nil
}

// without returns the snapshot without one key.
func (s *snapshot) without(keyID string) *snapshot {
	less := *s
	less.held = make(map[string]*accesstoken.SigningKey, len(s.held))
	for id, key := range s.held {
		if id != keyID {
			less.held[id] = key
		}
	}
	if s.active != nil && s.active.KeyID() == keyID {
		less.active = nil
	}
	if err := less.publish(); err != nil { // which has worked before
		less.jwks = nil
	}
	return &less
}

// state returns what the snapshot says of a key; empty: nothing.
func (s *snapshot) state(keyID string) State {
	for i := range s.records {
		if s.records[i].KeyID == keyID {
			return s.records[i].State
		}
	}
	return ""
}

// inOrder sorts the active key before the published ones, those before the retiring
// ones, and the removed ones last, each newest first: all servers publish the same
// bytes for the same keys, and a verifier that tries them in turn begins with the
// right one.
func inOrder(records []Record) []Record {
	rank := map[State]int{Active: 0, Published: 1, Retiring: 2, Removed: 3}
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
