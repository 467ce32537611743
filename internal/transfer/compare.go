package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

// compare reads everything once more, from both sides. It finds a source that a
// server has written to, and a target that somebody else has, or that does not
// give back what it was given.
func (t *Transfer) compare(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		t.compareUsers, t.compareRoles, t.compareServices, t.compareRevocations, t.compareEvents, t.compareWebhooks, t.compareKeys, t.compareIssuer,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// compareUsers compares users and, as far as they were copied, sessions.
func (t *Transfer) compareUsers(ctx context.Context) error {
	t.compared.Store(0)
	err := t.eachUser(ctx, func(ctx context.Context, user innkeeper.User) error {
		copied, err := t.to.Users.User(ctx, user.ID)
		if err != nil && !errors.Is(err, innkeeper.ErrNotFound) {
			return fmt.Errorf("compare user %s: %w", user.ID, err)
		}
		if !reflect.DeepEqual(copied, user) {
			return fmt.Errorf("%w: user %s", ErrDiffers, user.ID)
		}
		t.compared.Add(1)
		if t.scope == AllButSessions {
			return nil
		}
		return t.compareSessions(ctx, user.ID)
	})
	if err == nil {
		// More than there were by then: users that were created late or deleted.
		err = differ("users", t.compared.Load(), t.users.Load())
	}
	return err
}

// dying is how soon a session may expire to be let off from the comparison, since
// it may do so in the middle of it.
const dying = time.Minute

func (t *Transfer) compareSessions(ctx context.Context, user innkeeper.UserID) error {
	source, err := t.sessionsOf(ctx, t.from.Sessions, user)
	if err != nil {
		return err
	}
	target, err := t.sessionsOf(ctx, t.to.Sessions, user)
	if err != nil {
		return err
	}
	for id, session := range source {
		copied, ok := target[id]
		if !ok && session.RefreshExpiresAt.Before(t.clock().Add(dying)) {
			continue
		}
		if !reflect.DeepEqual(copied, session) {
			return fmt.Errorf("%w: session %s of user %s", ErrDiffers, id, user)
		}
	}
	for id, session := range target {
		if _, ok := source[id]; !ok && !session.RefreshExpiresAt.Before(t.clock().Add(dying)) {
			return fmt.Errorf("%w: the source has no session %s of user %s", ErrDiffers, id, user)
		}
	}
	return nil
}

// sessionsOf returns the live sessions of a user.
func (t *Transfer) sessionsOf(ctx context.Context, store innkeeper.SessionStore, user innkeeper.UserID) (map[innkeeper.SessionID]innkeeper.Session, error) {
	all := make(map[innkeeper.SessionID]innkeeper.Session)
	err := t.eachPage(ctx, store, user, func(page []innkeeper.Session) error {
		for _, session := range page {
			all[session.ID] = session
		}
		return nil
	})
	return all, err
}

func (t *Transfer) compareRoles(ctx context.Context) error {
	source, err := t.from.Roles.Roles(ctx)
	if err != nil {
		return fmt.Errorf("compare roles: %w", err)
	}
	target, err := t.to.Roles.Roles(ctx)
	if err != nil {
		return fmt.Errorf("compare roles: %w", err)
	}
	if !reflect.DeepEqual(source, target) {
		return fmt.Errorf("%w: roles", ErrDiffers)
	}
	return nil
}

func (t *Transfer) compareServices(ctx context.Context) error {
	source, err := t.from.Services.Services(ctx)
	if err != nil {
		return fmt.Errorf("compare services: %w", err)
	}
	target, err := t.to.Services.Services(ctx)
	if err != nil {
		return fmt.Errorf("compare services: %w", err)
	}
	if !reflect.DeepEqual(source, target) {
		return fmt.Errorf("%w: service credentials", ErrDiffers)
	}
	return nil
}

func (t *Transfer) compareRevocations(ctx context.Context) error {
	type name struct {
		seq  int64
		kind innkeeper.RevocationKind
		id   string
	}
	read := func(store innkeeper.RevocationStore) (all []name, err error) {
		err = eachRevocation(ctx, store, func(entry innkeeper.Revocation) error {
			all = append(all, name{entry.Seq, entry.Kind, entry.ID})
			return nil
		})
		return all, err
	}
	source, err := read(t.from.Revocations)
	if err != nil {
		return err
	}
	target, err := read(t.to.Revocations)
	if err != nil {
		return err
	}
	if !slices.Equal(source, target) {
		return fmt.Errorf("%w: revocations", ErrDiffers)
	}
	return nil
}

func (t *Transfer) compareEvents(ctx context.Context) error {
	count := func(store innkeeper.EventStore) (n int64, err error) {
		err = eachEvents(ctx, store, 0, func(page []innkeeper.Event) error {
			n += int64(len(page))
			return nil
		})
		return n, err
	}
	source, err := count(t.from.Events)
	if err != nil {
		return err
	}
	target, err := count(t.to.Events)
	if err != nil {
		return err
	}
	return differ("events", source, target)
}

func (t *Transfer) compareKeys(ctx context.Context) error {
	read := func(store keyring.Store) ([]keyring.Record, error) {
		keys, err := store.SigningKeys(ctx)
		if err != nil {
			return nil, fmt.Errorf("compare signing keys: %w", err)
		}
		slices.SortFunc(keys, func(a, b keyring.Record) int { return cmp.Compare(a.KeyID, b.KeyID) })
		for i := range keys { // stores keep them to the second or finer
			keys[i].PublishedAt = keys[i].PublishedAt.UTC().Truncate(time.Second)
			keys[i].ActivatedAt = keys[i].ActivatedAt.UTC().Truncate(time.Second)
			keys[i].RetiredAt = keys[i].RetiredAt.UTC().Truncate(time.Second)
		}
		return keys, nil
	}
	source, err := read(t.from.Keys)
	if err != nil {
		return err
	}
	target, err := read(t.to.Keys)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(source, target) {
		return fmt.Errorf("%w: signing keys", ErrDiffers)
	}
	return nil
}

func (t *Transfer) compareIssuer(ctx context.Context) error {
	source, err := t.from.Issuer.Issuer(ctx)
	if err != nil {
		return fmt.Errorf("compare issuer: %w", err)
	}
	target, err := t.to.Issuer.Issuer(ctx)
	if err != nil {
		return fmt.Errorf("compare issuer: %w", err)
	}
	if source != target {
		return fmt.Errorf("%w: issuer", ErrDiffers)
	}
	return nil
}

// differ compares two counts.
func differ(what string, source, target int64) error {
	if source == target {
		return nil
	}
	return fmt.Errorf("%w: %d %s, and not %d", ErrDiffers, target, what, source)
}
