package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

var (
	setRole = `
with changed as (
    insert into role (name, permissions) values (@name, @permissions)
    on conflict (name) do update set permissions = excluded.permissions
    returning number
)` + logEvent("event", "changed")

	// deleteRole leaves its number with those who hold the role: no role will ever
	// have it again.
	deleteRole = `
with changed as (
    delete from role where name = @name returning number
), logged as (` + logEvent("event", "changed") + `)
select 1 from changed`
)

// SetRole implements [innkeeper.RoleStore].
func (s *Store) SetRole(ctx context.Context, role innkeeper.Role, event innkeeper.Event) error {
	if err := checkNames(append([]string{role.Name}, role.Permissions...)); err != nil {
		return wrap("set role", err)
	}
	args := pgx.NamedArgs{"name": role.Name, "permissions": list(role.Permissions)}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.write(ctx, setRole, args, nil)
	}
	return wrap("set role", err)
}

// Roles implements [innkeeper.RoleStore].
func (s *Store) Roles(ctx context.Context) ([]innkeeper.Role, error) {
	roles, err := readAll(ctx, s, (*row).role, `select name, permissions from role order by name`)
	return roles, wrap("list roles", err)
}

func (r *row) role() innkeeper.Role {
	return innkeeper.Role{Name: r.text(), Permissions: r.list()}
}

// DeleteRole implements [innkeeper.RoleStore].
func (s *Store) DeleteRole(ctx context.Context, name string, event innkeeper.Event) error {
	args := pgx.NamedArgs{"name": text(name)}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.writeOr(ctx, innkeeper.ErrNotFound, deleteRole, args)
	}
	return wrap("delete role", err)
}

// checkNames refuses names that would not be told apart again where they are
// joined, see [claims].
func checkNames(names []string) error {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, " \t\n\x00") {
			return fmt.Errorf("store name %q: it is empty or has a space", name)
		}
	}
	return nil
}
