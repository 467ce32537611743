package sqlite

import (
	"context"
	"slices"

	"github.com/innkeeper-auth/innkeeper"
)

// SetRole implements [innkeeper.RoleStore].
func (s *Store) SetRole(ctx context.Context, role innkeeper.Role, event innkeeper.Event) error {
	const query = `insert into role (name, permissions) values (?, ?)
on conflict (name) do update set permissions = excluded.permissions`
	err := s.writer.write(ctx, func(c *conn) error {
		name, err := list([]string{role.Name})
		if err != nil {
			return err
		}
		permissions, err := list(role.Permissions)
		if err != nil {
			return err
		}
		if _, err := c.exec(query, name, permissions); err != nil {
			return err
		}
		return logEvent(c, event)
	})
	return wrap("set role", err)
}

// Roles implements [innkeeper.RoleStore].
func (s *Store) Roles(ctx context.Context) ([]innkeeper.Role, error) {
	roles, err := readAll(ctx, s.readers, (*row).role, `select name, permissions from role order by name`)
	return roles, wrap("list roles", err)
}

func (r *row) role() innkeeper.Role {
	return innkeeper.Role{Name: r.text(), Permissions: r.list()}
}

// DeleteRole implements [innkeeper.RoleStore].
func (s *Store) DeleteRole(ctx context.Context, name string, event innkeeper.Event) error {
	err := s.writer.write(ctx, func(c *conn) error {
		deleted, err := c.exec(`delete from role where name = ?`, name) // users lose it by the cascade
		if err != nil {
			return err
		}
		if deleted == 0 {
			return innkeeper.ErrNotFound
		}
		return logEvent(c, event)
	})
	return wrap("delete role", err)
}

// setUserRoles replaces the roles of a user.
func setUserRoles(c *conn, id innkeeper.UserID, roles []string) error {
	const (
		clear = `delete from user_role where user_number = (select number from user where id = ?)`
		give  = `insert into user_role (user_number, role)
select u.number, r.name from user u cross join role r where u.id = ? and r.name = ?`
	)
	if _, err := c.exec(clear, id[:]); err != nil {
		return err
	}
	for _, role := range slices.Compact(slices.Sorted(slices.Values(roles))) {
		given, err := c.exec(give, id[:], role)
		if err != nil {
			return err
		}
		if given == 0 {
			return innkeeper.ErrRoleUnknown
		}
	}
	return nil
}
