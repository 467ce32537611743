package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Change is what one call has moved. Its zero value says that nothing was to be
// done, or that another server had done it.
type Change struct {
	Activated string   // key ID; empty: none
	Retired   string   // key ID; empty: none
	Published string   // key ID; empty: none
	Removed   []string // key IDs
}

// and adds what was moved after it.
func (c Change) and(later Change) Change {
	return Change{
		Activated: cmp.Or(later.Activated, c.Activated), Retired: cmp.Or(later.Retired, c.Retired),
		Published: cmp.Or(later.Published, c.Published), Removed: append(slices.Clone(c.Removed), later.Removed...),
	}
}

// Upkeep reads the store and moves what is due: it publishes a key if none is in
// reserve, lets that one sign when the active one has done so for the period, and
// removes keys that no living token needs. Every server calls it every
// [ReloadInterval], so as to know what the others did. Of several that move at the
// same moment one succeeds; for the others there is nothing left to do.
//
// An [ErrUnusable] may come beside a change.
func (r *Ring) Upkeep(ctx context.Context, now time.Time) (Change, error) {
	if err := r.lock(ctx); err != nil {
		return Change{}, err
	}
	defer r.unlock()
	finished, err := r.refresh(ctx, now)
	if err != nil && !errors.Is(err, ErrUnusable) {
		return finished, err
	}
	change, err := r.change(ctx, wish{kind: upkeep}, now)
	change = finished.and(change)
	if err != nil {
		return change, err
	}
	return change, r.current.Load().faults
}

// Rotate lets the published key sign from now on, and publishes the one after it.
// It returns a [*TooEarlyError] if the published key has not been so for
// [MinPublished].
func (r *Ring) Rotate(ctx context.Context, now time.Time) (Change, error) {
	return r.moved(ctx, wish{kind: rotate}, now)
}

// Retire ends the present state of a key by the rules. The active key hands over,
// as in [Ring.Rotate]; a published one, which has signed nothing, is replaced by
// another; a retiring one is removed if the last token that it signed has expired. It
// returns a [*TooEarlyError] or [ErrUnknownKey]. A removed key stays as it is.
func (r *Ring) Retire(ctx context.Context, keyID string, now time.Time) (Change, error) {
	return r.moved(ctx, wish{kind: retire, keys: []string{keyID}}, now)
}

// Revoke removes a key at once, whatever its state: every token that it signed is
// refused by this ring from now on. If it was active, the published key takes over,
// however young; if there is none, a new one does. An error leaves the key
// distrusted, see [Ring.Distrust], and its removal to the next reading.
func (r *Ring) Revoke(ctx context.Context, keyID string, now time.Time) (Change, error) {
	return r.RevokeAll(ctx, []string{keyID}, now)
}

// RevokeAll is [Ring.Revoke] for several keys, in one move: none of them takes over
// from another. If both the active and the published one are among them, a new key
// signs.
func (r *Ring) RevokeAll(ctx context.Context, keyIDs []string, now time.Time) (Change, error) {
	for _, keyID := range keyIDs {
		r.Distrust(keyID)
	}
	return r.moved(ctx, wish{kind: revoke, keys: keyIDs}, now)
}

func (r *Ring) moved(ctx context.Context, w wish, now time.Time) (Change, error) {
	if err := r.lock(ctx); err != nil {
		return Change{}, err
	}
	defer r.unlock()
	// This is where a revocation is done, since its keys are distrusted by now.
	finished, err := r.refresh(ctx, now)
	if err != nil && !errors.Is(err, ErrUnusable) {
		return finished, err
	}
	change, err := r.change(ctx, w, now)
	var early *TooEarlyError
	if errors.As(err, &early) && early.KeyID == "" && r.alg != "" {
		// There is no key in reserve. Its time begins now.
		if _, err := r.change(ctx, wish{kind: upkeep}, now); err != nil {
			return finished, err
		}
		change, err = r.change(ctx, w, now)
	}
	return finished.and(change), err
}

// maxTries bounds how often a change is decided anew because others were faster.
const maxTries = 8

// change decides and writes, under the lock, until what it has decided is still
// true when it is written.
func (r *Ring) change(ctx context.Context, w wish, now time.Time) (Change, error) {
	var spare []Record // keys that were made for a try that came to nothing
	for range maxTries {
		plan, err := next(r.current.Load().records, w, circumstances{now: now, period: r.period, alg: r.alg, opens: r.opens})
		if err != nil || plan.empty() {
			return Change{}, err
		}
		moves := Moves{Steps: plan.steps}
		if moves.New, err = r.make(plan.makes, now, &spare); err != nil {
			return Change{}, err
		}
		err = r.store.MoveSigningKeys(ctx, moves)
		if err != nil && !errors.Is(err, ErrMoved) {
			return Change{}, fmt.Errorf("move signing keys: %w", err)
		}
		loaded := r.load(ctx, now)
		if err == nil {
			return changeOf(moves), nil // if it could not be loaded, the next reading will
		}
		if loaded != nil && !errors.Is(loaded, ErrUnusable) {
			return Change{}, loaded
		}
	}
	return Change{}, fmt.Errorf("%w %d times in a row", ErrMoved, maxTries)
}

func (r *Ring) opens(keyID string) bool {
	_, ok := r.current.Load().held[keyID]
	return ok
}

// make returns keys as planned. What it makes is kept in spare, for another try.
func (r *Ring) make(planned []newKey, now time.Time, spare *[]Record) ([]Record, error) {
	var made []Record
	for i, want := range planned {
		if len(*spare) <= i || (*spare)[i].Algorithm != want.alg {
			rec, err := newRecord(want.alg, r.roots, now)
			if err != nil {
				return nil, fmt.Errorf("make signing key: %w", err)
			}
			*spare = append((*spare)[:i], rec)
		}
		rec := (*spare)[i]
		if want.state == Active {
			rec.State, rec.ActivatedAt = Active, now
		}
		made = append(made, rec)
	}
	return made, nil
}

func changeOf(moves Moves) Change {
	var change Change
	for _, step := range moves.Steps {
		switch step.To {
		case Active:
			change.Activated = step.KeyID
		case Retiring:
			change.Retired = step.KeyID
		case Removed:
			change.Removed = append(change.Removed, step.KeyID)
		case Published:
		}
	}
	for _, rec := range moves.New {
		if rec.State == Active {
			change.Activated = rec.KeyID
		} else {
			change.Published = rec.KeyID
		}
	}
	return change
}

// Rewrap encrypts under the active root key what is still under another one, and
// returns the IDs of those keys. It changes nothing about what they sign, and
// nothing that a server holds in memory: servers that lack the new root key work on,
// and are not ready (see [Ring.Ready]). Several servers may do it at once.
//
// Servers whose root keys have another order would undo each other's work, so
// that it is done once, when a server starts, and not whenever it is found undone.
func (r *Ring) Rewrap(ctx context.Context) ([]string, error) {
	records, err := r.store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	var done []string
	var faults error
	for _, rec := range inOrder(records) {
		if under, ok := rootkey.WrappedUnder(rec.Wrapped); rec.State == Removed || ok && under == r.roots.Active().ID() {
			continue
		}
		key, err := rec.open(r.roots)
		if err != nil {
			faults = errors.Join(faults, err)
			continue
		}
		private, err := key.MarshalPKCS8()
		if err != nil {
			return done, err
		}
		switch err := r.store.RewrapSigningKey(ctx, rec.KeyID, rec.Wrapped, r.roots.Wrap(private, wrapLabel(rec.KeyID))); {
		case err == nil:
			done = append(done, rec.KeyID)
		case !errors.Is(err, ErrMoved): // else another server has done it, or the key was removed
			return done, fmt.Errorf("rewrap signing key %s: %w", rec.KeyID, err)
		}
	}
	return done, faults
}
