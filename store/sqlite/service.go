package sqlite

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

const selectService = `select id, name, scopes, secret_hash, created_at, last_used_at from service `

// CreateService implements [innkeeper.ServiceStore].
func (s *Store) CreateService(ctx context.Context, service innkeeper.Service, event innkeeper.Event) error {
	const query = `insert into service (id, name, scopes, secret_hash, created_at, last_used_at) values (?, ?, ?, ?, ?, ?)`
	names := make([]string, len(service.Scopes))
	for i, scope := range service.Scopes {
		names[i] = string(scope)
	}
	err := s.writer.write(ctx, func(c *conn) error {
		scopes, err := list(names)
		if err != nil {
			return err
		}
		_, err = c.exec(query, service.ID[:], service.Name, scopes, service.SecretHash[:], service.CreatedAt, optionalTime(service.LastUsedAt))
		if err != nil {
			return err
		}
		return logEvent(c, event)
	})
	return wrap("create service", err)
}

// Service implements [innkeeper.ServiceStore].
func (s *Store) Service(ctx context.Context, id innkeeper.ServiceID) (innkeeper.Service, error) {
	service, ok, err := readOne(ctx, s.readers, (*row).service, selectService+`where id = ?`, id[:])
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return service, wrap("read service", err)
}

// Services implements [innkeeper.ServiceStore].
func (s *Store) Services(ctx context.Context) ([]innkeeper.Service, error) {
	services, err := readAll(ctx, s.readers, (*row).service, selectService+`order by name, created_at, id`)
	return services, wrap("list services", err)
}

func (r *row) service() (service innkeeper.Service) {
	r.fixed(service.ID[:])
	service.Name = r.text()
	for _, name := range r.list() {
		service.Scopes = append(service.Scopes, innkeeper.ServiceScope(name))
	}
	r.fixed(service.SecretHash[:])
	service.CreatedAt = r.time()
	service.LastUsedAt = r.optionalTime()
	return service
}

// NoteServiceUse implements [innkeeper.ServiceStore].
func (s *Store) NoteServiceUse(ctx context.Context, id innkeeper.ServiceID, at time.Time) error {
	const query = `update service set last_used_at = ?1 where id = ?2 and (last_used_at is null or last_used_at < ?1)`
	err := s.writer.writeStatement(ctx, func(c *conn) error {
		_, err := c.exec(query, at, id[:])
		return err
	})
	return wrap("note service use", err)
}

// DeleteService implements [innkeeper.ServiceStore].
func (s *Store) DeleteService(ctx context.Context, id innkeeper.ServiceID, event innkeeper.Event) error {
	err := s.writer.write(ctx, func(c *conn) error {
		deleted, err := c.exec(`delete from service where id = ?`, id[:])
		if err != nil {
			return err
		}
		if deleted == 0 {
			return innkeeper.ErrNotFound
		}
		return logEvent(c, event)
	})
	return wrap("delete service", err)
}
