package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// CreateService implements [innkeeper.ServiceStore].
func (s *Store) CreateService(ctx context.Context, service innkeeper.Service, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.services[service.ID] = copyService(service)
	s.log(event)
	return nil
}

// Service implements [innkeeper.ServiceStore].
func (s *Store) Service(ctx context.Context, id innkeeper.ServiceID) (innkeeper.Service, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.Service{}, err
	}
	defer s.mu.Unlock()
	service, ok := s.services[id]
	if !ok {
		return innkeeper.Service{}, innkeeper.ErrNotFound
	}
	return copyService(service), nil
}

// Services implements [innkeeper.ServiceStore].
func (s *Store) Services(ctx context.Context) ([]innkeeper.Service, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	services := slices.SortedFunc(maps.Values(s.services), func(a, b innkeeper.Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for i := range services {
		services[i] = copyService(services[i])
	}
	return services, nil
}

// NoteServiceUse implements [innkeeper.ServiceStore].
func (s *Store) NoteServiceUse(ctx context.Context, id innkeeper.ServiceID, at time.Time) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	service, ok := s.services[id]
	if ok && service.LastUsedAt.Before(at) {
		service.LastUsedAt = at
		s.services[id] = service
	}
	return nil
}

// DeleteService implements [innkeeper.ServiceStore].
func (s *Store) DeleteService(ctx context.Context, id innkeeper.ServiceID, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.services[id]; !ok {
		return innkeeper.ErrNotFound
	}
	delete(s.services, id)
	s.log(event)
	return nil
}

// copyService shares nothing with its argument. An empty list comes back nil.
func copyService(service innkeeper.Service) innkeeper.Service {
	service.Scopes = append([]innkeeper.ServiceScope(nil), service.Scopes...)
	return service
}
