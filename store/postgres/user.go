package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// claims is what the roles of user u give, as one column: a line for each role, its
// name and its permissions separated by spaces; NULL if there are none. No such
// name has a space in it, see [checkNames].
//
// The numbers of the roles stand in the user's row, so the statement that checks a
// user's epoch has them already, and a user without roles costs nothing more.
const claims = `
case when u.roles <> '{}' then (
    select string_agg(concat_ws(' ', r.name, array_to_string(r.permissions, ' ')), e'\n')
    from role r where r.number = any(u.roles)) end`

// claims reads what the constant of the same name selects.
func (r *row) claims(subject *innkeeper.Subject) {
	packed := r.take()
	if packed == nil {
		return
	}
	for role := range strings.SplitSeq(string(packed), "\n") {
		name, permissions, _ := strings.Cut(role, " ")
		subject.Roles = append(subject.Roles, name)
		subject.Permissions = append(subject.Permissions, strings.Fields(permissions)...)
	}
	slices.Sort(subject.Roles)
	slices.Sort(subject.Permissions)
	subject.Permissions = slices.Compact(subject.Permissions)
}

const subjectColumns = `u.id, u.epoch, u.disabled, u.epoch_reason, u.username, u.email, ` + claims

func (r *row) subject() (subject innkeeper.Subject) {
	r.fixed(subject.ID[:])
	r.fixed(subject.Epoch[:])
	subject.Disabled = r.flag()
	subject.EpochReason = innkeeper.Reason(r.text())
	subject.Username = r.text()
	subject.Email = r.text()
	r.claims(&subject)
	return subject
}

const (
	userColumns = subjectColumns + `, u.password_hash, u.created_at, u.updated_at`
	selectUser  = `select ` + userColumns + ` from users u `
)

func (r *row) user() innkeeper.User {
	return innkeeper.User{
		Subject:      r.subject(),
		PasswordHash: r.text(),
		CreatedAt:    r.time(),
		UpdatedAt:    r.time(),
	}
}

// knownRoles finds the numbers of the roles that are named, and how many there are.
// A role that is deleted at the same moment leaves a number that means nothing.
const knownRoles = `
    select count(*) as n, coalesce(array_agg(number), '{}') as numbers
    from role where name = any(@roles::text[])`

func addRoles(args pgx.NamedArgs, roles []string) {
	named := make([]string, len(roles))
	for i, role := range roles {
		named[i] = text(role)
	}
	slices.Sort(named)
	named = slices.Compact(named)
	args["roles"], args["roles_named"] = named, len(named)
}

var createUser = `
with known as (` + knownRoles + `), created as (
    insert into users
        (id, username, email, epoch, epoch_reason, disabled, roles, password_hash, created_at, updated_at)
    select @id::bytea, @username::text, @email::text, @epoch::bytea, @epoch_reason::text, @disabled::boolean,
        known.numbers, @password_hash::text, @created_at::timestamptz, @updated_at::timestamptz
    from known where known.n = @roles_named::bigint
    on conflict (username) do nothing
    returning number
), logged as (` + logEvent("event", "created") + `)
select known.n = @roles_named::bigint, exists (select from created) from known`

// CreateUser implements [innkeeper.UserStore].
func (s *Store) CreateUser(ctx context.Context, user innkeeper.User, event innkeeper.Event) error {
	args := pgx.NamedArgs{
		"id": user.ID[:], "username": text(user.Username), "email": text(user.Email),
		"epoch": user.Epoch[:], "epoch_reason": string(user.EpochReason), "disabled": user.Disabled,
		"password_hash": text(user.PasswordHash), "created_at": user.CreatedAt, "updated_at": user.UpdatedAt,
	}
	addRoles(args, user.Roles)
	var known, created bool
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.write(ctx, createUser, args, func(r *row) { known, created = r.flag(), r.flag() })
	}
	switch {
	case err == nil && !known:
		err = innkeeper.ErrRoleUnknown
	case err == nil && !created:
		err = innkeeper.ErrUsernameTaken
	}
	return wrap("create user", err)
}

// User implements [innkeeper.UserStore].
func (s *Store) User(ctx context.Context, id innkeeper.UserID) (innkeeper.User, error) {
	user, ok, err := s.reads.user(ctx, id)
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return user, wrap("read user", err)
}

// UserByUsername implements [innkeeper.UserStore].
func (s *Store) UserByUsername(ctx context.Context, username string) (innkeeper.User, error) {
	return s.user(ctx, selectUser+`where u.username = $1`, text(username))
}

func (s *Store) user(ctx context.Context, query string, arg any) (innkeeper.User, error) {
	user, ok, err := readOne(ctx, s, (*row).user, query, arg)
	if err == nil && !ok {
		err = innkeeper.ErrNotFound
	}
	return user, wrap("read user", err)
}

// Users implements [innkeeper.UserStore].
func (s *Store) Users(ctx context.Context, query innkeeper.UserQuery) ([]innkeeper.User, error) {
	users, err := readAll(ctx, s, (*row).user,
		selectUser+`where u.username > @after order by u.username limit @limit`,
		pgx.NamedArgs{"after": text(query.After), "limit": query.Limit})
	return users, wrap("list users", err)
}

var (
	updateUser = `
    update users u set
        email = coalesce(@email::text, u.email),
        password_hash = coalesce(@password_hash::text, u.password_hash),
        disabled = coalesce(@disabled::boolean, u.disabled),
        roles = case when @set_roles::boolean then known.numbers else u.roles end,
        epoch = coalesce(@epoch::bytea, u.epoch),
        epoch_reason = coalesce(@epoch_reason::text, u.epoch_reason),
        updated_at = @at::timestamptz
    from known
    where u.id = @id::bytea and u.epoch = @if_epoch::bytea
        and (not @set_roles::boolean or known.n = @roles_named::bigint)
        and (@open::bytea is null or not coalesce(@disabled::boolean, u.disabled))
    returning u.*`

	// deleteUser leaves their sessions, which are over: no user has their number.
	deleteUser = `
    delete from users u where u.id = @id::bytea and u.epoch = @if_epoch::bytea
    returning u.*`

	// carrySession takes the one session along that goes on under the new epoch. The
	// others ended when the epoch moved.
	carrySession = `
    update session s set epoch = changed.epoch from changed
    where s.id = @carry::bytea and s.user_number = changed.number and s.epoch = @if_epoch::bytea and s.ended_at is null`

	// changeTail tells the audit log and the feed, and reports.
	changeTail = `
logged as (` + logEvent("event", "changed") + `
), revoked as (
    select from changed where @revocation_kind::text <> ''
), ` + feedRevocation + `
select
    exists (select from users where id = @id::bytea),
    not @set_roles::boolean or known.n = @roles_named::bigint,
    u.number is not null, ` + userColumns + `
from known left join changed u on true`

	changeHead = `with known as (` + knownRoles + `), changed as (`
	removeUser = changeHead + deleteUser + `), ` + changeTail
	modifyUser = changeHead + updateUser + `), carried as (` + carrySession + `), opened as (` + insertSession + `), ` + changeTail
)

// ChangeUser implements [innkeeper.UserStore].
func (s *Store) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	statement := modifyUser
	if change.Delete {
		statement = removeUser
	}
	var user innkeeper.User
	var exists, known, changed bool
	args, err := changeArgs(&change)
	if err == nil {
		err = s.write(ctx, statement, args, func(r *row) {
			exists, known, changed = r.flag(), r.flag(), r.flag()
			if changed {
				user = r.user()
			}
		})
	}
	if changed && change.NewEpoch != nil {
		err = s.hints.tell(err)
	}
	switch {
	case err != nil || changed:
	case !exists:
		err = innkeeper.ErrNotFound
	case !known:
		err = innkeeper.ErrRoleUnknown
	default:
		err = innkeeper.ErrEpochMoved
	}
	return user, wrap("change user", err)
}

// changeArgs gives the arguments of a change. Those that are NULL leave a column
// as it is.
func changeArgs(change *innkeeper.UserChange) (pgx.NamedArgs, error) {
	args := pgx.NamedArgs{
		"id": change.ID[:], "if_epoch": change.IfEpoch[:], "at": change.At,
		"email": nullableText(change.Email), "password_hash": nullableText(change.PasswordHash), "disabled": change.Disabled,
		"set_roles": change.Roles != nil, "roles": []string{}, "roles_named": 0,
	}
	if change.Roles != nil {
		addRoles(args, *change.Roles)
	}
	if err := addEvent(args, "event", change.Event); err != nil {
		return nil, err
	}
	replacement := change.NewEpoch
	if replacement == nil {
		replacement = &innkeeper.EpochReplacement{}
	} else {
		args["epoch"], args["epoch_reason"] = replacement.Epoch[:], string(replacement.Reason)
	}
	addRevocation(args, replacement.Revocation)
	if replacement.Carry != nil {
		args["carry"] = replacement.Carry[:]
	}
	if open := replacement.Open; open != nil {
		if open.Epoch != replacement.Epoch || open.UserID != change.ID {
			return nil, errors.New("the session to open is not one of the user's new epoch")
		}
		args["open"] = open.ID[:]
		return args, addSession(args, open)
	}
	return args, nil
}

func nullableText(value *string) *string {
	if value == nil {
		return nil
	}
	return new(text(*value))
}
