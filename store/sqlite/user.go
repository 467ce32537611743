package sqlite

import (
	"context"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
)

// claims is what tokens say about user u, as one column. A rotation could return
// five columns instead, but then SQLite would look the user up five times, and
// the driver describe and copy each column.
//
// Its lines are: the reason of the epoch; the roles, separated by tabs, each with
// its permissions after it, separated by spaces; and the length of the username
// in bytes, before the username, which the email follows. Reasons, roles and
// permissions are words, so this can be taken apart whatever a user is called.
const claims = `concat_ws(char(10), u.epoch_reason,
        ifnull((select group_concat(r.name || ' ' || r.permissions, char(9))
            from user_role ur cross join role r on r.name = ur.role where ur.user_number = u.number), ''),
        octet_length(u.username), u.username || u.email)`

func (l *lines) claims(subject *innkeeper.Subject) {
	subject.EpochReason = innkeeper.Reason(l.next())
	for role := range strings.SplitSeq(l.next(), "\t") {
		for i, name := range splitList(strings.TrimSuffix(role, " ")) {
			if i == 0 {
				subject.Roles = append(subject.Roles, name)
			} else {
				subject.Permissions = append(subject.Permissions, name)
			}
		}
	}
	slices.Sort(subject.Roles)
	slices.Sort(subject.Permissions)
	subject.Permissions = slices.Compact(subject.Permissions)
	subject.Username = l.sized()
	subject.Email = l.text
}

const subjectColumns = `u.id, u.epoch, u.disabled, ` + claims

func (r *row) subject() (subject innkeeper.Subject) {
	r.fixed(subject.ID[:])
	r.fixed(subject.Epoch[:])
	subject.Disabled = r.flag()
	packed := lines{text: r.text()}
	packed.claims(&subject)
	if packed.malformed {
		r.fail("not packed right")
	}
	return subject
}

const selectUser = `select ` + subjectColumns + `, u.password_hash, u.created_at, u.updated_at from user u `

func (r *row) user() innkeeper.User {
	return innkeeper.User{
		Subject:      r.subject(),
		PasswordHash: r.text(),
		CreatedAt:    r.time(),
		UpdatedAt:    r.time(),
	}
}

// CreateUser implements [innkeeper.UserStore].
func (s *Store) CreateUser(ctx context.Context, user innkeeper.User, event innkeeper.Event) error {
	const query = `insert into user
    (id, username, email, epoch, epoch_reason, disabled, password_hash, created_at, updated_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (username) do nothing`
	err := s.writer.write(ctx, func(c *conn) error {
		created, err := c.exec(query, user.ID[:], user.Username, user.Email, user.Epoch[:], string(user.EpochReason),
			user.Disabled, user.PasswordHash, user.CreatedAt, user.UpdatedAt)
		if err != nil {
			return err
		}
		if created == 0 {
			return innkeeper.ErrUsernameTaken
		}
		if err := setUserRoles(c, user.ID, user.Roles); err != nil {
			return err
		}
		return logEvent(c, event)
	})
	return wrap("create user", err)
}

// User implements [innkeeper.UserStore].
func (s *Store) User(ctx context.Context, id innkeeper.UserID) (innkeeper.User, error) {
	return s.user(ctx, selectUser+`where u.id = ?`, id[:])
}

// UserByUsername implements [innkeeper.UserStore].
func (s *Store) UserByUsername(ctx context.Context, username string) (innkeeper.User, error) {
	return s.user(ctx, selectUser+`where u.username = ?`, username)
}

func (s *Store) user(ctx context.Context, query string, arg any) (innkeeper.User, error) {
	user, ok, err := readOne(ctx, s.readers, (*row).user, query, arg)
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return user, wrap("read user", err)
}

// Users implements [innkeeper.UserStore].
func (s *Store) Users(ctx context.Context, query innkeeper.UserQuery) ([]innkeeper.User, error) {
	users, err := readAll(ctx, s.readers, (*row).user,
		selectUser+`where u.username > ? order by u.username limit ?`, query.After, query.Limit)
	return users, wrap("list users", err)
}

// ChangeUser implements [innkeeper.UserStore].
func (s *Store) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	var user innkeeper.User
	err := s.writer.write(ctx, func(c *conn) (err error) {
		user, err = userByID(c, change.ID)
		if err != nil {
			return err
		}
		if user.Epoch != change.IfEpoch {
			return innkeeper.ErrEpochMoved
		}
		if change.Delete {
			return deleteUser(c, &change)
		}
		if err := changeUser(c, &change); err != nil {
			return err
		}
		user, err = userByID(c, change.ID)
		return err
	})
	if err != nil {
		return innkeeper.User{}, wrap("change user", err)
	}
	return user, nil
}

func userByID(c *conn, id innkeeper.UserID) (innkeeper.User, error) {
	found, err := all(c, (*row).user, selectUser+`where u.id = ?`, id[:])
	if err != nil {
		return innkeeper.User{}, err
	}
	if len(found) == 0 {
		return innkeeper.User{}, innkeeper.ErrNotFound
	}
	return found[0], nil
}

// changeUser writes everything but a deletion.
func changeUser(c *conn, change *innkeeper.UserChange) error {
	const query = `update user set
    email = ifnull(?2, email), password_hash = ifnull(?3, password_hash), disabled = ifnull(?4, disabled),
    epoch = ifnull(?5, epoch), epoch_reason = ifnull(?6, epoch_reason), updated_at = ?7
where id = ?1`
	var epoch, reason any
	if change.NewEpoch != nil {
		epoch, reason = change.NewEpoch.Epoch[:], string(change.NewEpoch.Reason)
	}
	_, err := c.exec(query, change.ID[:], nullable(change.Email), nullable(change.PasswordHash), nullable(change.Disabled),
		epoch, reason, change.At)
	if err != nil {
		return err
	}
	if change.Roles != nil {
		if err := setUserRoles(c, change.ID, *change.Roles); err != nil {
			return err
		}
	}
	if change.NewEpoch != nil {
		if err := moveSessions(c, change); err != nil {
			return err
		}
	}
	return finishChange(c, change)
}

// nullable gives NULL for nil, which leaves a column as it is.
func nullable[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

// moveSessions takes the one session along that goes on under the new epoch, and
// opens the one that begins under it. The others ended when the epoch moved.
func moveSessions(c *conn, change *innkeeper.UserChange) error {
	const carry = `update session set epoch = ?3
where id = ?1 and user_id = ?2 and epoch = ?4 and ended_at is null`
	replacement := change.NewEpoch
	if replacement.Carry != nil {
		_, err := c.exec(carry, replacement.Carry[:], change.ID[:], replacement.Epoch[:], change.IfEpoch[:])
		if err != nil {
			return err
		}
	}
	if replacement.Open != nil {
		return createSession(c, replacement.Open)
	}
	return nil
}

// deleteUser deletes the user, and with them what roles they had. Their sessions
// stay, and are over: no user has their number.
func deleteUser(c *conn, change *innkeeper.UserChange) error {
	if _, err := c.exec(`delete from user where id = ?`, change.ID[:]); err != nil {
		return err
	}
	return finishChange(c, change)
}

// finishChange tells the audit log and the feed.
func finishChange(c *conn, change *innkeeper.UserChange) error {
	if err := logEvent(c, change.Event); err != nil {
		return err
	}
	if change.NewEpoch == nil {
		return nil
	}
	return revoke(c, change.NewEpoch.Revocation)
}
