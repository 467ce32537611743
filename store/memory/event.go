package memory

import (
	"context"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// log appends an event under the lock. An event without a kind is none.
func (s *Store) log(event innkeeper.Event) {
	if event.Kind == "" {
		return
	}
	s.lastEvent++
	event.Seq = s.lastEvent
	s.events = append(s.events, event)
}

// AppendEvent implements [innkeeper.EventStore].
func (s *Store) AppendEvent(ctx context.Context, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.log(event)
	return nil
}

// Events implements [innkeeper.EventStore].
func (s *Store) Events(ctx context.Context, query innkeeper.EventQuery) ([]innkeeper.Event, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []innkeeper.Event
	for i := range s.events {
		if query.NewestFirst {
			i = len(s.events) - 1 - i
		}
		if query.Matches(&s.events[i]) && len(page) < query.Limit {
			page = append(page, s.events[i])
		}
	}
	return page, nil
}

// LastEvent implements [innkeeper.EventStore].
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.lastEvent, nil
}

// SweepEvents implements [innkeeper.EventStore].
func (s *Store) SweepEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	s.events = slices.DeleteFunc(s.events, func(event innkeeper.Event) bool {
		old := event.At.Before(before) && event.Seq != s.lastEvent && swept < limit
		if old {
			swept++
		}
		return old
	})
	return swept, nil
}
