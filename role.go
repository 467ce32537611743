package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// RoleAdmin is the built-in role whose holders may use the /admin endpoints. It
// exists in every store and cannot be deleted.
const RoleAdmin = "admin"

// AuthorizeAdmin returns [ErrNotAdmin] unless the caller holds [RoleAdmin]. It writes
// nothing itself: whoever has an account can be refused as often as they like. It counts
// for the audit log, and the observer is told of the first refusal in a minute.
func (a *Authority) AuthorizeAdmin(ctx context.Context, caller *Caller, client Client) error {
	if slices.Contains(caller.Subject.Roles, RoleAdmin) {
		return nil
	}
	event := Event{
		At: a.now(), Kind: EventAdminRefused, Actor: caller.actor(), UserID: caller.Subject.ID, SessionID: caller.Session.ID,
		Client: client.bounded(),
	}
	if a.intrusions.count(event) {
		a.observe(ctx, event)
	}
	return ErrNotAdmin
}

// Role gives the people who hold it permissions. Both are names that your own
// APIs understand; they travel in every access token.
type Role struct {
	Name        string
	Permissions []string // sorted, without duplicates
}

// names of roles and permissions: what survives a header, a shell and a URL.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._:-]{0,63}$`)

const nameRule = "use 1 to 64 of a-z 0-9 . _ : - and begin with a letter or digit"

// maxNames bounds what one user or role may hold: it all goes into every token.
const maxNames = 64

// SetRole creates a role or replaces its permissions. Access tokens carry the
// change after their next refresh.
func (a *Authority) SetRole(ctx context.Context, role Role, by By) error {
	if !namePattern.MatchString(role.Name) {
		return &InputError{Field: "name", Detail: nameRule}
	}
	permissions, err := normalizeNames("permissions", role.Permissions)
	if err != nil {
		return err
	}
	role.Permissions = permissions
	event := Event{At: a.now(), Kind: EventRoleSet, Detail: map[string]string{
		"role": role.Name, "permissions": strings.Join(permissions, " "),
	}}.signed(by)
	if err := a.stores.Roles.SetRole(ctx, role, event); err != nil {
		return unavailable(fmt.Errorf("set role: %w", err))
	}
	a.observe(ctx, event)
	return nil
}

// Roles lists all roles by name.
func (a *Authority) Roles(ctx context.Context) ([]Role, error) {
	roles, err := a.stores.Roles.Roles(ctx)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list roles: %w", err))
	}
	return roles, nil
}

// DeleteRole deletes a role and takes it from everyone who holds it. It returns
// [ErrNotFound], or [ErrRoleBuiltIn] for [RoleAdmin].
func (a *Authority) DeleteRole(ctx context.Context, name string, by By) error {
	if name == RoleAdmin {
		return ErrRoleBuiltIn
	}
	event := Event{At: a.now(), Kind: EventRoleDeleted, Detail: map[string]string{"role": name}}.signed(by)
	err := a.stores.Roles.DeleteRole(ctx, name, event)
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return unavailable(fmt.Errorf("delete role: %w", err))
	}
	a.observe(ctx, event)
	return nil
}

// normalizeNames sorts names, drops duplicates and checks their form.
func normalizeNames(field string, names []string) ([]string, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(sorted) > maxNames {
		return nil, &InputError{Field: field, Detail: fmt.Sprintf("give at most %d", maxNames)}
	}
	for _, name := range sorted {
		if !namePattern.MatchString(name) {
			return nil, &InputError{Field: field, Detail: nameRule}
		}
	}
	return sorted, nil
}
