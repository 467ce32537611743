package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/innkeeper-auth/innkeeper"
)

// CreateUser implements [innkeeper.UserStore].
func (s *Store) CreateUser(ctx context.Context, user innkeeper.User, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, other := range s.users {
		if other.Username == user.Username {
			return innkeeper.ErrUsernameTaken
		}
	}
	if !s.rolesExist(user.Roles) {
		return innkeeper.ErrRoleUnknown
	}
	user.Roles = slices.Clone(user.Roles)
	s.users[user.ID] = user
	s.log(event)
	return nil
}

// User implements [innkeeper.UserStore].
func (s *Store) User(ctx context.Context, id innkeeper.UserID) (innkeeper.User, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.User{}, err
	}
	defer s.mu.Unlock()
	user, ok := s.users[id]
	if !ok {
		return innkeeper.User{}, innkeeper.ErrNotFound
	}
	return s.resolved(user), nil
}

// UserByUsername implements [innkeeper.UserStore].
func (s *Store) UserByUsername(ctx context.Context, username string) (innkeeper.User, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.User{}, err
	}
	defer s.mu.Unlock()
	for _, user := range s.users {
		if user.Username == username {
			return s.resolved(user), nil
		}
	}
	return innkeeper.User{}, innkeeper.ErrNotFound
}

// Users implements [innkeeper.UserStore].
func (s *Store) Users(ctx context.Context, query innkeeper.UserQuery) ([]innkeeper.User, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []innkeeper.User
	for _, user := range s.users {
		if user.Username > query.After {
			page = append(page, s.resolved(user))
		}
	}
	slices.SortFunc(page, func(a, b innkeeper.User) int { return cmp.Compare(a.Username, b.Username) })
	return page[:min(len(page), query.Limit)], nil
}

// ChangeUser implements [innkeeper.UserStore].
func (s *Store) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.User{}, err
	}
	defer s.mu.Unlock()
	user, ok := s.users[change.ID]
	if !ok {
		return innkeeper.User{}, innkeeper.ErrNotFound
	}
	if user.Epoch != change.IfEpoch {
		return innkeeper.User{}, innkeeper.ErrEpochMoved
	}
	if change.Roles != nil && !s.rolesExist(*change.Roles) {
		return innkeeper.User{}, innkeeper.ErrRoleUnknown
	}
	before := s.resolved(user)
	if change.Email != nil {
		user.Email = *change.Email
	}
	if change.Roles != nil {
		user.Roles = slices.Clone(*change.Roles)
	}
	if change.PasswordHash != nil {
		user.PasswordHash = *change.PasswordHash
	}
	if change.Disabled != nil {
		user.Disabled = *change.Disabled
	}
	if change.NewEpoch != nil {
		s.replaceEpoch(&user, *change.NewEpoch)
	}
	user.UpdatedAt = change.At
	s.users[user.ID] = user
	s.log(change.Event)
	if change.Delete {
		delete(s.users, user.ID)
		return before, nil
	}
	return s.resolved(user), nil
}

func (s *Store) replaceEpoch(user *innkeeper.User, replacement innkeeper.EpochReplacement) {
	if replacement.Carry != nil {
		session, ok := s.sessions[*replacement.Carry]
		if ok && !session.Ended() && session.UserID == user.ID && session.Epoch == user.Epoch {
			session.Epoch = replacement.Epoch
			s.sessions[session.ID] = session
		}
	}
	if replacement.Open != nil {
		s.sessions[replacement.Open.ID] = cloneSession(*replacement.Open)
	}
	user.Epoch = replacement.Epoch
	user.EpochReason = replacement.Reason
	s.revoke(replacement.Revocation)
}

// SetRole implements [innkeeper.RoleStore].
func (s *Store) SetRole(ctx context.Context, role innkeeper.Role, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	role.Permissions = slices.Clone(role.Permissions)
	s.roles[role.Name] = role
	s.log(event)
	return nil
}

// Roles implements [innkeeper.RoleStore].
func (s *Store) Roles(ctx context.Context) ([]innkeeper.Role, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var roles []innkeeper.Role
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		role := s.roles[name]
		role.Permissions = slices.Clone(role.Permissions)
		roles = append(roles, role)
	}
	return roles, nil
}

// DeleteRole implements [innkeeper.RoleStore].
func (s *Store) DeleteRole(ctx context.Context, name string, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.roles[name]; !ok {
		return innkeeper.ErrNotFound
	}
	delete(s.roles, name)
	for id, user := range s.users {
		user.Roles = slices.DeleteFunc(slices.Clone(user.Roles), func(role string) bool { return role == name })
		s.users[id] = user
	}
	s.log(event)
	return nil
}

func (s *Store) rolesExist(names []string) bool {
	for _, name := range names {
		if _, ok := s.roles[name]; !ok {
			return false
		}
	}
	return true
}

// resolved returns a user as of now, with the permissions that their roles give.
func (s *Store) resolved(user innkeeper.User) innkeeper.User {
	user.Subject = s.subject(user)
	return user
}

func (s *Store) subject(user innkeeper.User) innkeeper.Subject {
	subject := user.Subject
	subject.Roles = slices.Sorted(slices.Values(user.Roles))
	var permissions []string
	for _, name := range user.Roles {
		permissions = append(permissions, s.roles[name].Permissions...)
	}
	slices.Sort(permissions)
	subject.Permissions = slices.Compact(permissions)
	return subject
}
