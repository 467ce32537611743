package redis

import (
	"context"
	"errors"

	"github.com/innkeeper-auth/innkeeper"
)

// users are the users below, but for the one write that moves sessions.
type users struct {
	innkeeper.UserStore
	store *Store
}

// ChangeUser implements [innkeeper.UserStore].
//
// The order of its steps, and what is left when it stops after one:
//
//  1. Read the user from SQL. Nothing is written.
//  2. Note at the session that is carried along that it lives under the new epoch as
//     well; put the session that is opened. The new epoch is random and nobody's, so
//     the note means nothing and the session is dead.
//  3. Change the user in SQL. From here on both live.
func (u *users) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	if change.NewEpoch == nil {
		return u.UserStore.ChangeUser(ctx, change)
	}
	moved := *change.NewEpoch
	replacement := moved
	replacement.Carry, replacement.Open = nil, nil
	change.NewEpoch = &replacement
	if change.Delete || moved.Carry == nil && moved.Open == nil {
		return u.UserStore.ChangeUser(ctx, change)
	}
	user, err := u.move(ctx, &change, &moved)
	if err != nil {
		return innkeeper.User{}, wrap("change user", err)
	}
	return user, nil
}

func (u *users) move(ctx context.Context, change *innkeeper.UserChange, moved *innkeeper.EpochReplacement) (innkeeper.User, error) {
	user, err := u.User(ctx, change.ID)
	if err != nil {
		return innkeeper.User{}, err
	}
	if user.Epoch != change.IfEpoch || !mayOpen(&user, change, moved) {
		return innkeeper.User{}, innkeeper.ErrEpochMoved
	}
	ctx = context.WithoutCancel(ctx)
	if moved.Carry != nil {
		_, _, err := u.store.conn.run(ctx, carryScript, u.store.keys.session(*moved.Carry),
			string(change.ID[:]), string(change.IfEpoch[:]), string(moved.Epoch[:]))
		if err != nil {
			return innkeeper.User{}, err
		}
	}
	if moved.Open != nil {
		if err := u.store.put(ctx, moved.Open); err != nil {
			return innkeeper.User{}, err
		}
	}
	changed, err := u.UserStore.ChangeUser(ctx, *change)
	if errors.Is(err, innkeeper.ErrEpochMoved) || errors.Is(err, innkeeper.ErrNotFound) || errors.Is(err, innkeeper.ErrRoleUnknown) {
		u.undo(ctx, moved)
	}
	return changed, err
}

// mayOpen says whether the session that a change opens could live after it.
func mayOpen(user *innkeeper.User, change *innkeeper.UserChange, moved *innkeeper.EpochReplacement) bool {
	disabled := user.Disabled
	if change.Disabled != nil {
		disabled = *change.Disabled
	}
	open := moved.Open
	return open == nil || !disabled && open.UserID == user.ID && open.Epoch == moved.Epoch
}

// undo takes back what was written for a change that SQL has refused. Where it does
// not succeed nothing is wrong: the epoch is nobody's and will never be.
func (u *users) undo(ctx context.Context, moved *innkeeper.EpochReplacement) {
	if moved.Carry != nil {
		_, _, err := u.store.conn.run(ctx, putBackScript, u.store.keys.session(*moved.Carry), string(moved.Epoch[:]))
		if err != nil {
			u.store.log.DebugContext(ctx, "a session remembers an epoch that was refused", "error", err)
		}
	}
	if moved.Open != nil {
		u.store.discard(ctx, moved.Open)
	}
}
