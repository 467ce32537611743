package postgres

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

const selectService = `select id, name, scopes, secret_hash, created_at, last_used_at from service `

var (
	createService = `
with changed as (
    insert into service (id, name, scopes, secret_hash, created_at, last_used_at)
    values (@id, @name, @scopes, @secret_hash, @created_at, @last_used_at)
    returning 1
)` + logEvent("event", "changed")

	deleteService = `
with changed as (
    delete from service where id = @id returning 1
), logged as (` + logEvent("event", "changed") + `)
select 1 from changed`
)

// CreateService implements [innkeeper.ServiceStore].
func (s *Store) CreateService(ctx context.Context, service innkeeper.Service, event innkeeper.Event) error {
	scopes := make([]string, len(service.Scopes))
	for i, scope := range service.Scopes {
		scopes[i] = string(scope)
	}
	args := pgx.NamedArgs{
		"id": service.ID[:], "name": text(service.Name), "scopes": scopes, "secret_hash": service.SecretHash[:],
		"created_at": service.CreatedAt, "last_used_at": optionalTime(service.LastUsedAt),
	}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.write(ctx, createService, args, nil)
	}
	return wrap("create service", err)
}

// Service implements [innkeeper.ServiceStore].
func (s *Store) Service(ctx context.Context, id innkeeper.ServiceID) (innkeeper.Service, error) {
	service, ok, err := readOne(ctx, s, (*row).service, selectService+`where id = $1`, id[:])
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return service, wrap("read service", err)
}

// Services implements [innkeeper.ServiceStore].
func (s *Store) Services(ctx context.Context) ([]innkeeper.Service, error) {
	services, err := readAll(ctx, s, (*row).service, selectService+`order by name, created_at, id`)
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
	const statement = `
update service set last_used_at = @at
where id = @id and (last_used_at is null or last_used_at < @at)`
	err := s.write(ctx, statement, pgx.NamedArgs{"id": id[:], "at": at}, nil)
	return wrap("note service use", err)
}

// DeleteService implements [innkeeper.ServiceStore].
func (s *Store) DeleteService(ctx context.Context, id innkeeper.ServiceID, event innkeeper.Event) error {
	args := pgx.NamedArgs{"id": id[:]}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.writeOr(ctx, innkeeper.ErrNotFound, deleteService, args)
	}
	return wrap("delete service", err)
}
