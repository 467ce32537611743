package redis

import (
	"context"
	"sync"

	"github.com/innkeeper-auth/innkeeper"
)

// maxBirths is how many sessions the cache remembers, at some 250 bytes each.
const maxBirths = 1 << 15

// births remembers what never changes about sessions, above all their users, whom a
// rotation has to read before it can swap. It saves a refresh one of two trips to
// Redis. It cannot be wrong, only ignorant: a session's ID is never given again.
type births struct {
	mu    sync.RWMutex
	known map[innkeeper.SessionID]birth
	limit int
}

func newBirths(limit int) *births {
	return &births{known: make(map[innkeeper.SessionID]birth), limit: limit}
}

func (c *births) get(id innkeeper.SessionID) (birth, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	b, ok := c.known[id]
	return b, ok
}

// put remembers a birth, and forgets any other for it if there are too many. Where
// all sessions take turns, forgetting the oldest would forget each just before it
// is asked for.
func (c *births) put(id innkeeper.SessionID, b birth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[id]; !ok && len(c.known) >= c.limit {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[id] = b
}

// birth returns what never changes about a session, or ErrNotFound.
func (s *Store) birth(ctx context.Context, id innkeeper.SessionID) (birth, error) {
	if b, ok := s.births.get(id); ok {
		return b, nil
	}
	field, ok, err := s.conn.field(ctx, s.keys.session(id), fieldBirth)
	switch {
	case err != nil:
		return birth{}, err
	case !ok:
		return birth{}, innkeeper.ErrNotFound
	}
	b, err := parseBirth(field)
	if err != nil {
		return birth{}, err
	}
	s.births.put(id, b)
	return b, nil
}
