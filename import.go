package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper/password"
)

const (
	// detailImportedHash is what the event [EventUserCreated] of an import says: the
	// scheme of the hash, or "none". No other creation has it.
	detailImportedHash = "imported_hash"
	memberPasswordHash = "password_hash"
)

// ImportedUser is a user whom another program has kept until now.
type ImportedUser struct {
	Username string
	Email    string   // may be empty
	Roles    []string // must exist
	// PasswordHash is what the other program has made of the password; see
	// [password.Import] for the spellings. Empty: the user has no password, and cannot
	// sign in with one until somebody sets it.
	PasswordHash string
	Disabled     bool
}

// Canonical checks a user as far as that goes without a store, and returns them in
// the spelling that the store keeps. It returns an [*InputError], or an error that
// wraps [password.ErrMalformed] or [password.ErrParams].
func (u ImportedUser) Canonical() (ImportedUser, error) {
	username, err := canonicalUsername(u.Username)
	if err != nil {
		return u, err
	}
	if err := checkEmail(u.Email); err != nil {
		return u, err
	}
	roles, err := normalizeNames("roles", u.Roles)
	if err != nil {
		return u, err
	}
	if u.PasswordHash != "" {
		u.PasswordHash, _, err = password.Import(u.PasswordHash)
		if err != nil {
			return u, fmt.Errorf("password hash: %w", err)
		}
	}
	u.Username, u.Roles = username, roles
	return u, nil
}

// DiffersError reports that somebody else has the username already, or the same
// person with other facts. Nothing was changed.
type DiffersError struct {
	Members []string // of ImportedUser, by their names in JSON
}

func (e *DiffersError) Error() string {
	return "a user of this name exists, with another " + strings.Join(e.Members, ", ")
}

// ImportUser creates a user under the hash that another program has made of their
// password. The policy for new passwords does not apply: nobody chooses one. The hash
// is replaced by one of ours when the user signs in.
//
// It may be repeated: if the user is there already, as they were imported, it reports
// false and changes nothing. A password that has been changed or rehashed since is no
// difference, as long as the event of the import is kept. It returns a [*DiffersError]
// for another user of this name, and for one whom nobody imported and who has another
// password: they may have taken a name that was to be somebody else's. It also returns
// [ErrRoleUnknown], and the errors of [ImportedUser.Canonical].
func (a *Authority) ImportUser(ctx context.Context, in ImportedUser, by By) (imported bool, err error) {
	in, err = in.Canonical()
	if err != nil {
		return false, err
	}
	now := a.now()
	user := User{
		Subject:      Subject{ID: newUserID(), Username: in.Username, Email: in.Email, Roles: in.Roles, Epoch: newEpoch(), Disabled: in.Disabled},
		PasswordHash: in.PasswordHash,
		CreatedAt:    now,
		UpdatedAt:    now,
	}
	event := Event{
		At: now, Kind: EventUserCreated, UserID: user.ID,
		Detail: map[string]string{detailImportedHash: string(in.scheme())},
	}.signed(by)
	switch err := a.stores.Users.CreateUser(ctx, user, event); {
	case errors.Is(err, ErrUsernameTaken):
		return false, a.compareImported(ctx, in)
	case errors.Is(err, ErrRoleUnknown):
		return false, ErrRoleUnknown
	case err != nil:
		return false, unavailable(fmt.Errorf("import user: %w", err))
	}
	a.observe(ctx, event)
	return true, nil
}

// PlanImport says what [Authority.ImportUser] would do, and does nothing.
func (a *Authority) PlanImport(ctx context.Context, in ImportedUser) (wouldImport bool, err error) {
	in, err = in.Canonical()
	if err != nil {
		return false, err
	}
	err = a.compareImported(ctx, in)
	if !errors.Is(err, ErrNotFound) {
		return false, err
	}
	roles, err := a.Roles(ctx)
	if err != nil {
		return false, err
	}
	for _, name := range in.Roles {
		if !slices.ContainsFunc(roles, func(role Role) bool { return role.Name == name }) {
			return false, ErrRoleUnknown
		}
	}
	return true, nil
}

// compareImported compares a user who exists with the one to import.
func (a *Authority) compareImported(ctx context.Context, in ImportedUser) error {
	user, err := a.UserByUsername(ctx, in.Username)
	if err != nil {
		return err
	}
	members := in.Differences(imported(user))
	if slices.Contains(members, memberPasswordHash) {
		changed, err := a.passwordChangedSinceImport(ctx, user)
		if err != nil {
			return err
		}
		if changed {
			members = slices.DeleteFunc(members, func(member string) bool { return member == memberPasswordHash })
		}
	}
	if len(members) > 0 {
		return &DiffersError{Members: members}
	}
	return nil
}

// passwordChangedSinceImport reports whether a user was imported and has a hash of ours
// since: they have signed in, or the password was changed.
func (a *Authority) passwordChangedSinceImport(ctx context.Context, user *User) (bool, error) {
	if imported(user).scheme() != password.SchemeArgon2id || !user.UpdatedAt.After(user.CreatedAt) {
		return false, nil
	}
	births, err := a.stores.Events.Events(ctx, EventQuery{UserID: user.ID, Kind: EventUserCreated, Limit: 1})
	if err != nil {
		return false, unavailable(fmt.Errorf("read how a user came: %w", err))
	}
	return len(births) > 0 && births[0].Detail[detailImportedHash] != "", nil
}

// imported is what a user looks like who has been imported.
func imported(user *User) ImportedUser {
	return ImportedUser{
		Username: user.Username, Email: user.Email, Roles: user.Roles,
		PasswordHash: user.PasswordHash, Disabled: user.Disabled,
	}
}

// Differences returns in what a user differs from another one of this name, who is
// there already; both are canonical.
func (u ImportedUser) Differences(there ImportedUser) (members []string) {
	if u.Email != there.Email {
		members = append(members, "email")
	}
	if !slices.Equal(u.Roles, there.Roles) {
		members = append(members, "roles")
	}
	if u.PasswordHash != there.PasswordHash {
		members = append(members, memberPasswordHash)
	}
	if u.Disabled != there.Disabled {
		members = append(members, "disabled")
	}
	return members
}

// scheme is that of the password hash.
func (u ImportedUser) scheme() password.Scheme {
	scheme, err := password.SchemeOf(u.PasswordHash)
	if err != nil {
		return "none"
	}
	return scheme
}
