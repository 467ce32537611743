package innkeeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/secure/precis"

	"github.com/innkeeper-auth/innkeeper/password"
)

// UserID names a user for good: the `sub` of their access tokens. It is random
// and never given to anybody else (OWASP ASVS 10.3.3).
type UserID [16]byte

func newUserID() UserID {
	var id UserID
	drawID(id[:])
	return id
}

// ParseUserID reads what [UserID.String] printed. It returns [ErrNotFound] for
// anything else, since no such user can exist.
func ParseUserID(text string) (UserID, error) {
	var id UserID
	return id, parseID(id[:], text)
}

// String returns 22 characters of base64url.
func (id UserID) String() string { return tokenEncoding.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (id UserID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Epoch is 8 random bytes on the user. A session lives only while it carries
// the user's present epoch, so replacing it ends all of them with one write.
type Epoch [8]byte

func newEpoch() Epoch {
	var e Epoch
	rand.Read(e[:])
	return e
}

// String returns 11 characters of base64url: the `epoch` claim.
func (e Epoch) String() string { return tokenEncoding.EncodeToString(e[:]) }

// Subject is a user as their sessions and tokens see them.
type Subject struct {
	ID          UserID
	Username    string   // canonical, see [User]
	Email       string   // may be empty
	Roles       []string // sorted
	Permissions []string // what the roles give, sorted, without duplicates
	Epoch       Epoch
	EpochReason Reason // why the epoch was last replaced; empty if it never was
	Disabled    bool
}

// User is a person who can sign in.
//
// The username is unique in its canonical form: lower case and normalized by
// the profile UsernameCaseMapped of RFC 8265, so that no two people have names
// that look alike but for case or width.
type User struct {
	Subject
	PasswordHash string // a PHC string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// NewUser is what it takes to create a user.
type NewUser struct {
	Username string
	Password string
	Email    string   // may be empty
	Roles    []string // must exist
}

const maxUsername = 64

// canonicalUsername returns the one spelling of a username, or an error that
// says what may stand in it.
func canonicalUsername(name string) (string, error) {
	canonical, err := precis.UsernameCaseMapped.String(name)
	if err != nil || len([]rune(canonical)) > maxUsername {
		return "", &InputError{
			Field:  "username",
			Detail: fmt.Sprintf("use 1 to %d letters, digits and signs, without spaces", maxUsername),
		}
	}
	return canonical, nil
}

func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	addr, err := mail.ParseAddress(email)
	if err != nil || addr.Address != email || len(email) > 254 {
		return &InputError{Field: "email", Detail: "give one address, like ada@example.com, or leave it out"}
	}
	return nil
}

// CreateUser creates a user. It returns [ErrUsernameTaken], [ErrRoleUnknown], an
// [*InputError] or a [*password.RejectedError]. Without an actor it is the new user's own
// act.
func (a *Authority) CreateUser(ctx context.Context, in NewUser, by By) (*User, error) {
	username, err := canonicalUsername(in.Username)
	if err != nil {
		return nil, err
	}
	if err := checkEmail(in.Email); err != nil {
		return nil, err
	}
	roles, err := normalizeNames("roles", in.Roles)
	if err != nil {
		return nil, err
	}
	hash, err := a.hashPassword(ctx, in.Password, password.About{Username: username, Email: in.Email})
	if err != nil {
		return nil, err
	}
	now := a.now()
	user := User{
		Subject:      Subject{ID: newUserID(), Username: username, Email: in.Email, Roles: roles, Epoch: newEpoch()},
		PasswordHash: hash,
		CreatedAt:    now,
		UpdatedAt:    now,
	}
	event := Event{At: now, Kind: EventUserCreated, UserID: user.ID}.signed(by)
	if len(roles) > 0 {
		event = event.with(map[string]string{"roles": strings.Join(roles, " ")})
	}
	if event.Actor == "" {
		event.Actor = UserActor(user.ID)
	}
	switch err := a.stores.Users.CreateUser(ctx, user, event); {
	case errors.Is(err, ErrUsernameTaken):
		return nil, ErrUsernameTaken
	case errors.Is(err, ErrRoleUnknown):
		return nil, ErrRoleUnknown
	case err != nil:
		return nil, unavailable(fmt.Errorf("create user: %w", err))
	}
	a.observe(ctx, event)
	return a.User(ctx, user.ID)
}

// User returns a user, or [ErrNotFound].
func (a *Authority) User(ctx context.Context, id UserID) (*User, error) {
	user, err := a.stores.Users.User(ctx, id)
	return found(user, err)
}

// UserByUsername returns a user by name, in whatever case it is written, or
// [ErrNotFound].
func (a *Authority) UserByUsername(ctx context.Context, name string) (*User, error) {
	username, err := canonicalUsername(name)
	if err != nil {
		return nil, ErrNotFound
	}
	user, err := a.stores.Users.UserByUsername(ctx, username)
	return found(user, err)
}

func found(user User, err error) (*User, error) {
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, unavailable(fmt.Errorf("read user: %w", err))
	}
	return &user, nil
}

// Users lists users by username: at most 100 whose name sorts after the given
// one.
func (a *Authority) Users(ctx context.Context, after string) ([]User, error) {
	users, err := a.stores.Users.Users(ctx, UserQuery{After: after, Limit: pageSize})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list users: %w", err))
	}
	return users, nil
}

// UserUpdate changes what an administrator may change. A nil field stays.
type UserUpdate struct {
	Email    *string
	Roles    *[]string // granting [RoleAdmin] ends every session
	Disabled *bool     // disabling ends every session; enabling revives none
}

// UpdateUser changes a user and returns the new state. It returns [ErrNotFound],
// [ErrRoleUnknown] or an [*InputError]. Tokens carry the change after their next
// refresh, but for disabling, which is felt at once.
//
// Who becomes an administrator signs in anew (OWASP Session Management, "Renew the
// session ID after any privilege level change"): a session that they have may have been
// opened by a program that must open none for administrators, or left on a machine that
// is good enough for reading mail.
func (a *Authority) UpdateUser(ctx context.Context, id UserID, update UserUpdate, by By) (*User, error) {
	if update.Email != nil {
		if err := checkEmail(*update.Email); err != nil {
			return nil, err
		}
	}
	if update.Roles != nil {
		roles, err := normalizeNames("roles", *update.Roles)
		if err != nil {
			return nil, err
		}
		update.Roles = &roles
	}
	return a.changeUser(ctx, id, func(user *User) (UserChange, error) {
		change := UserChange{
			Email: update.Email, Roles: update.Roles,
			Event: Event{Kind: EventUserChanged, Detail: update.facts(user)}.signed(by),
		}
		if update.Roles != nil && slices.Contains(*update.Roles, RoleAdmin) && !slices.Contains(user.Roles, RoleAdmin) {
			change.NewEpoch = a.newEpoch(user, ReasonAdmin)
		}
		if update.Disabled != nil && *update.Disabled != user.Disabled {
			change.Disabled = update.Disabled
			change.Event.Kind = EventUserEnabled
			if *update.Disabled {
				change.Event.Kind = EventUserDisabled
				change.NewEpoch = a.newEpoch(user, ReasonUserDisabled)
			}
		}
		return change, nil
	})
}

// facts says for the audit log what an update changes: who could do what is what an
// auditor asks for. Of an address it says only that it was changed.
func (u *UserUpdate) facts(user *User) map[string]string {
	facts := make(map[string]string)
	if u.Email != nil && *u.Email != user.Email {
		facts["email"] = "changed"
	}
	if u.Roles != nil && !slices.Equal(*u.Roles, user.Roles) {
		facts["roles"], facts["roles_before"] = strings.Join(*u.Roles, " "), strings.Join(user.Roles, " ")
	}
	if len(facts) == 0 {
		return nil
	}
	return facts
}

// SetPassword gives a user a new password and ends every session of theirs. It
// returns [ErrNotFound] or a [*password.RejectedError].
func (a *Authority) SetPassword(ctx context.Context, id UserID, newPassword string, by By) error {
	user, err := a.User(ctx, id)
	if err != nil {
		return err
	}
	hash, err := a.hashPassword(ctx, newPassword, about(&user.Subject))
	if err != nil {
		return err
	}
	_, err = a.changeUser(ctx, id, func(user *User) (UserChange, error) {
		return UserChange{
			PasswordHash: &hash,
			NewEpoch:     a.newEpoch(user, ReasonPasswordChanged),
			Event:        Event{Kind: EventPasswordChanged}.signed(by),
		}, nil
	})
	return err
}

// EndUserSessions ends every session of a user with one write, however many
// there are. It returns [ErrNotFound].
func (a *Authority) EndUserSessions(ctx context.Context, id UserID, reason Reason, by By) error {
	_, err := a.changeUser(ctx, id, func(user *User) (UserChange, error) {
		return UserChange{
			NewEpoch: a.newEpoch(user, reason),
			Event:    Event{Kind: EventSessionsEnded, Reason: reason}.signed(by),
		}, nil
	})
	return err
}

// EndAllSessions ends every session of every user: the command after a restored
// backup. It goes user by user, so that a server beside it is never held up, and
// returns how many users it went through.
func (a *Authority) EndAllSessions(ctx context.Context, reason Reason, by By) (int, error) {
	ended := 0
	for after := ""; ; {
		users, err := a.Users(ctx, after)
		if err != nil {
			return ended, err
		}
		if len(users) == 0 {
			return ended, a.recordEndOfAll(ctx, reason, by)
		}
		for _, user := range users {
			after = user.Username
			err := a.EndUserSessions(ctx, user.ID, reason, by)
			if err != nil && !errors.Is(err, ErrNotFound) { // deleted meanwhile
				return ended, err
			}
			ended++
		}
	}
}

// recordEndOfAll logs the act as one, beside the event of each user.
func (a *Authority) recordEndOfAll(ctx context.Context, reason Reason, by By) error {
	event := Event{At: a.now(), Kind: EventAllSessionsEnded, Reason: reason}.signed(by)
	if err := a.log(ctx, event); err != nil {
		return err
	}
	a.observe(ctx, event)
	return nil
}

// DeleteUser deletes a user and ends their sessions. It returns [ErrNotFound].
func (a *Authority) DeleteUser(ctx context.Context, id UserID, by By) error {
	_, err := a.changeUser(ctx, id, func(user *User) (UserChange, error) {
		return UserChange{
			Delete:   true,
			NewEpoch: a.newEpoch(user, ReasonAdmin),
			Event:    Event{Kind: EventUserDeleted, Detail: map[string]string{"username": user.Username}}.signed(by),
		}, nil
	})
	return err
}

// maxChangeTries bounds how often a change is decided anew because the user's
// epoch moved between the read and the write.
const maxChangeTries = 3

// changeUser reads a user, lets decide say what to change, and writes it under
// the epoch that was read, so that a password change and a logout everywhere at
// the same moment cannot undo each other.
func (a *Authority) changeUser(ctx context.Context, id UserID, decide func(*User) (UserChange, error)) (*User, error) {
	for range maxChangeTries {
		user, err := a.User(ctx, id)
		if err != nil {
			return nil, err
		}
		change, err := decide(user)
		if err != nil {
			return nil, err
		}
		changed, err := a.applyChange(ctx, user, change)
		if !errors.Is(err, ErrEpochMoved) {
			return changed, err
		}
	}
	return nil, unavailable(errors.New("change user: the user keeps changing"))
}

// applyChange writes a change to the user as they were read. It returns
// [ErrEpochMoved] if they have changed since.
func (a *Authority) applyChange(ctx context.Context, user *User, change UserChange) (*User, error) {
	now := a.now()
	change.ID = user.ID
	change.IfEpoch = user.Epoch
	change.At = now
	change.Event.At = now
	change.Event.UserID = user.ID
	change.Event.Client = change.Event.Client.bounded()
	if change.NewEpoch != nil {
		change.Event.Reason = change.NewEpoch.Reason
	}
	changed, err := a.stores.Users.ChangeUser(ctx, change)
	switch {
	case errors.Is(err, ErrEpochMoved), errors.Is(err, ErrNotFound), errors.Is(err, ErrRoleUnknown):
		return nil, err
	case err != nil:
		return nil, unavailable(fmt.Errorf("change user: %w", err))
	}
	if change.NewEpoch != nil {
		a.feed.wrote(change.NewEpoch.Revocation)
	}
	a.observe(ctx, change.Event)
	return &changed, nil
}

// newEpoch prepares the replacement of a user's epoch.
func (a *Authority) newEpoch(user *User, reason Reason) *EpochReplacement {
	now := a.now()
	return &EpochReplacement{
		Epoch:      newEpoch(),
		Reason:     reason,
		Revocation: Revocation{At: now, Kind: RevokedUser, ID: UserRevocationID(a.issuer, user.ID, user.Epoch)},
	}
}
