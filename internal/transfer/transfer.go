// Package transfer copies an installation from one set of stores to another
// without signing anyone out: SQLite to PostgreSQL, PostgreSQL to PostgreSQL and
// Redis, and back. It knows stores by their interfaces only, so it works between
// any two.
//
//	t := transfer.New(transfer.Config{From: old, To: fresh, Clock: time.Now})
//	err := t.Run(ctx)
//
// What it copies bit by bit: users with their password hashes, roles, credentials of
// services, live sessions with all that a refresh needs, signing keys, the check values of the
// root keys, the issuer, the feed with its numbers, the audit log, and webhooks with
// what they have not been told. What it
// leaves behind: sessions that are over, whose tokens are refused either way, and counts
// of failed sign-ins, which are forgotten after a day.
//
// The source must stand still. Nothing can make sure of that from here, so all of
// it is compared with the source after it was copied, and a source that has moved
// is an error: [ErrDiffers].
//
// A copy that is not finished must not be served: sessions that are not in there
// yet would be over. So the first thing that is written is the check value of a
// root key that nobody has, and the last one those of the real ones; until then
// every server takes the store for somebody else's and refuses to start. A copy
// that was interrupted is not continued: empty the target, and begin again.
package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Errors to branch on.
var (
	// ErrNothing reports a source that has never been served. Nothing was written.
	ErrNothing = errors.New("the source is empty")
	// ErrNotEmpty reports a target that somebody else has used, or uses just now.
	// What they have is as it was.
	ErrNotEmpty = errors.New("the target is not empty")
	// ErrUnfinished reports a target that holds an unfinished copy. Nothing was
	// written.
	ErrUnfinished = errors.New("the target holds an unfinished copy")
	// ErrSourceUnfinished reports a source that holds one. Nothing was written.
	ErrSourceUnfinished = errors.New("the source holds an unfinished copy")
	// ErrDiffers reports a target that does not hold what the source does after
	// everything was copied: somebody has written to either of them meanwhile.
	ErrDiffers = errors.New("the copy differs from its source")
)

// Scope says what is copied.
type Scope string

// The scopes. The zero value means Everything.
const (
	Everything Scope = "everything"
	// AllButSessions is for sessions that stay where they are, beside both databases.
	AllButSessions Scope = "all but sessions"
	// OnlySessions is for sessions that move away from or back to their users, which
	// stay: From and To share everything but SessionStores.
	OnlySessions Scope = "only sessions"
)

// Config is what it takes to copy.
type Config struct {
	// From and To are the stores. Required. No server may use either of them.
	From, To innkeeper.Stores
	// Scope says what is copied. The zero value means Everything.
	Scope Scope
	// Clock tells which sessions are alive. Required.
	Clock func() time.Time
	// Workers is how many users are copied at the same time. The zero value means 32.
	Workers int
}

// Counts says how much has been copied, and how many users have been compared
// with the source again.
type Counts struct {
	Users, Sessions, Roles, Services, SigningKeys, Revocations, Events, Webhooks, Compared int64
}

// Transfer is one copy. Make one with [New] and run it once.
type Transfer struct {
	from, to innkeeper.Stores
	scope    Scope
	clock    func() time.Time
	workers  int

	users, sessions, roles, services, signingKeys, revocations, events, webhooks, compared atomic.Int64
}

// New prepares a copy.
func New(cfg Config) *Transfer {
	t := &Transfer{from: cfg.From, to: cfg.To, scope: cfg.Scope, clock: cfg.Clock, workers: cfg.Workers}
	if t.scope == "" {
		t.scope = Everything
	}
	if t.workers == 0 {
		t.workers = 32
	}
	return t
}

// Counts returns how far a copy has come. It may be called while it runs.
func (t *Transfer) Counts() Counts {
	return Counts{
		Users: t.users.Load(), Sessions: t.sessions.Load(), Roles: t.roles.Load(), Services: t.services.Load(), SigningKeys: t.signingKeys.Load(),
		Revocations: t.revocations.Load(), Events: t.events.Load(), Webhooks: t.webhooks.Load(), Compared: t.compared.Load(),
	}
}

// Run copies, and compares. After an error that does not say that nothing was
// written, the target holds a part and has to be emptied before another try. The
// source is never written to.
func (t *Transfer) Run(ctx context.Context) error {
	checks, err := t.sourceChecks(ctx)
	if err != nil {
		return err
	}
	if t.scope == OnlySessions {
		return t.runSessions(ctx)
	}
	if err := t.claimTarget(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		t.copyRoles, t.copyServices, t.copyUsers, t.copyRevocations, t.copyEvents, t.copyKeys, t.copyIssuer, t.compare,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	// From here on servers may start. The mark goes along: a store lets no key in that
	// comes without one it knows.
	if err := t.to.RootKeys.AddRootKeyChecks(ctx, append([]rootkey.Check{mark}, checks...)); err != nil {
		return fmt.Errorf("finish the copy: %w", err)
	}
	return nil
}

// runSessions copies nothing but sessions. No mark keeps a server from starting on
// a part of them: the users, and with them the root keys, are in use.
func (t *Transfer) runSessions(ctx context.Context) error {
	if err := t.checkNoSessions(ctx); err != nil {
		return err
	}
	if err := t.copyUsers(ctx); err != nil {
		return err
	}
	return t.compareUsers(ctx)
}

// mark is the check value of a root key that nobody has.
var mark = rootkey.Check(sha256.Sum256([]byte("innkeeper/v1 unfinished copy")))

// Unfinished reports whether the check values of a store's root keys say that it
// holds an unfinished copy.
func Unfinished(checks []rootkey.Check) bool { return len(checks) == 1 && checks[0] == mark }

// sourceChecks returns the check values of the source's root keys.
func (t *Transfer) sourceChecks(ctx context.Context) ([]rootkey.Check, error) {
	checks, err := t.from.RootKeys.RootKeyChecks(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at the source: %w", err)
	case len(checks) == 0:
		return nil, ErrNothing
	case Unfinished(checks):
		return nil, ErrSourceUnfinished
	}
	return slices.DeleteFunc(checks, func(check rootkey.Check) bool { return check == mark }), nil
}

// claimTarget makes sure that the target is empty, and marks it, before anything
// else is written.
func (t *Transfer) claimTarget(ctx context.Context) error {
	checks, err := t.to.RootKeys.RootKeyChecks(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("look at the target: %w", err)
	case Unfinished(checks):
		return ErrUnfinished
	case len(checks) > 0:
		return fmt.Errorf("%w: a server has used it", ErrNotEmpty)
	}
	if err := t.checkEmpty(ctx); err != nil {
		return err
	}
	switch err := t.to.RootKeys.AddRootKeyChecks(ctx, []rootkey.Check{mark}); {
	case errors.Is(err, innkeeper.ErrWrongRootKey):
		return fmt.Errorf("%w: a server has just started on it", ErrNotEmpty)
	case err != nil:
		return fmt.Errorf("mark the target: %w", err)
	}
	return nil
}

// checkEmpty looks for anything but check values, which a server writes first. It
// has to be a strange target that holds one of these and no check value.
func (t *Transfer) checkEmpty(ctx context.Context) error {
	users, err := t.to.Users.Users(ctx, innkeeper.UserQuery{Limit: 1})
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	keys, err := t.to.Keys.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	services, err := t.to.Services.Services(ctx)
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	feed, err := t.to.Revocations.Revocations(ctx, 0, 1)
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	events, err := t.to.Events.Events(ctx, innkeeper.EventQuery{Limit: 1})
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	hooks, err := t.to.Webhooks.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	for what, held := range map[string]int{
		"users": len(users), "webhooks": len(hooks), "signing keys": len(keys), "service credentials": len(services), "revocations": len(feed), "events": len(events),
	} {
		if held > 0 {
			return fmt.Errorf("%w: it holds %s", ErrNotEmpty, what)
		}
	}
	return nil
}

// ClearSessions deletes all sessions of a store, dead or alive, and returns how
// many there were. It is for a store whose sessions have been copied and whose
// users stay: those left behind would come to life again, at an old generation, if
// a server looked for sessions there by mistake. A store that lets go of sessions
// by itself deletes none.
func ClearSessions(ctx context.Context, store innkeeper.SessionStore) (int, error) {
	afterAll := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for total := 0; ; {
		n, err := store.SweepSessions(ctx, afterAll, pageSize)
		total += n
		if err != nil {
			return total, fmt.Errorf("clear sessions: %w", err)
		}
		if n < pageSize {
			return total, nil
		}
	}
}
