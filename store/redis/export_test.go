package redis

import "time"

// How long an ending that was begun is in doubt, and its write to SQL under way.
const (
	InDoubt  = inDoubt
	InFlight = inFlight
)

// SetClock replaces the clock of a server.
func (s *Store) SetClock(clock func() time.Time) { s.clock = clock }
