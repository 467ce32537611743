package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/innkeeper-auth/innkeeper"
)

const (
	// pageSize is how many rows are read at once.
	pageSize = 500
	// sessionWorkers is how many sessions of one user are written at the same time:
	// most have a few, and some, like those of a service, a hundred thousand.
	sessionWorkers = 8
)

func (t *Transfer) copyRoles(ctx context.Context) error {
	roles, err := t.from.Roles.Roles(ctx)
	if err != nil {
		return fmt.Errorf("read roles: %w", err)
	}
	for _, role := range roles {
		if err := t.to.Roles.SetRole(ctx, role, innkeeper.Event{}); err != nil {
			return fmt.Errorf("copy role %s: %w", role.Name, err)
		}
		t.roles.Add(1)
	}
	return nil
}

func (t *Transfer) copyServices(ctx context.Context) error {
	services, err := t.from.Services.Services(ctx)
	if err != nil {
		return fmt.Errorf("read services: %w", err)
	}
	for _, service := range services {
		if err := t.to.Services.CreateService(ctx, service, innkeeper.Event{}); err != nil {
			return fmt.Errorf("copy service credential %s: %w", service.ID, err)
		}
		t.services.Add(1)
	}
	return nil
}

// copyUsers copies users and their sessions, as far as these are to be copied.
func (t *Transfer) copyUsers(ctx context.Context) error {
	return t.eachUser(ctx, func(ctx context.Context, user innkeeper.User) error {
		if t.scope != OnlySessions {
			if err := t.to.Users.CreateUser(ctx, user, innkeeper.Event{}); err != nil {
				return fmt.Errorf("copy user %s: %w", user.ID, err)
			}
		}
		t.users.Add(1)
		if t.scope == AllButSessions {
			return nil
		}
		return t.copySessions(ctx, user.ID)
	})
}

// copySessions copies the live sessions of a user, who is there already.
func (t *Transfer) copySessions(ctx context.Context, user innkeeper.UserID) error {
	return t.eachPage(ctx, t.from.Sessions, user, func(page []innkeeper.Session) error {
		return inParallel(ctx, min(sessionWorkers, len(page)), each(page), func(ctx context.Context, session innkeeper.Session) error {
			err := t.to.Sessions.CreateSession(ctx, innkeeper.Birth{Session: session})
			switch {
			case errors.Is(err, innkeeper.ErrEpochMoved):
				return fmt.Errorf("%w: user %s has changed meanwhile", ErrDiffers, user)
			case err != nil:
				return fmt.Errorf("copy session %s: %w", session.ID, err)
			}
			t.sessions.Add(1)
			return nil
		})
	})
}

// checkNoSessions looks for sessions of anybody in the target.
func (t *Transfer) checkNoSessions(ctx context.Context) error {
	return t.eachUser(ctx, func(ctx context.Context, user innkeeper.User) error {
		found, err := t.to.Sessions.Sessions(ctx, innkeeper.SessionQuery{UserID: user.ID, Limit: 1})
		switch {
		case err != nil:
			return fmt.Errorf("look at the target: %w", err)
		case len(found) > 0:
			return fmt.Errorf("%w: it holds sessions", ErrNotEmpty)
		}
		return nil
	})
}

// eachUser calls do for every user of the source, several at the same time.
func (t *Transfer) eachUser(ctx context.Context, do func(context.Context, innkeeper.User) error) error {
	users := func(ctx context.Context, send func(innkeeper.User) bool) error {
		for after := ""; ; {
			page, err := t.from.Users.Users(ctx, innkeeper.UserQuery{After: after, Limit: pageSize})
			if err != nil {
				return fmt.Errorf("read users: %w", err)
			}
			if len(page) == 0 {
				return nil
			}
			for _, user := range page {
				if !send(user) {
					return nil
				}
			}
			after = page[len(page)-1].Username
		}
	}
	return inParallel(ctx, t.workers, users, do)
}

// eachPage calls do for the live sessions of a user, newest first.
func (t *Transfer) eachPage(ctx context.Context, store innkeeper.SessionStore, user innkeeper.UserID, do func([]innkeeper.Session) error) error {
	query := innkeeper.SessionQuery{UserID: user, AliveAt: t.clock(), Limit: pageSize}
	for {
		page, err := store.Sessions(ctx, query)
		if err != nil {
			return fmt.Errorf("read sessions of user %s: %w", user, err)
		}
		if len(page) == 0 {
			return nil
		}
		if err := do(page); err != nil {
			return err
		}
		if len(page) < query.Limit {
			return nil
		}
		query.After = page[len(page)-1].ID
	}
}
