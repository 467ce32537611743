package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

// copyRevocations copies the feed, one entry after the other, so that verifiers go
// on from the number that they have reached. The number of an entry is that of its
// time in microseconds, or one more than the one before: given its number as its
// time, each gets the same again.
func (t *Transfer) copyRevocations(ctx context.Context) error {
	return eachRevocation(ctx, t.from.Revocations, func(entry innkeeper.Revocation) error {
		entry.At = time.UnixMicro(entry.Seq).UTC()
		if err := t.to.Revocations.Revoke(ctx, entry, innkeeper.Event{}); err != nil {
			return fmt.Errorf("copy revocation %d: %w", entry.Seq, err)
		}
		t.revocations.Add(1)
		return nil
	})
}

func eachRevocation(ctx context.Context, store innkeeper.RevocationStore, do func(innkeeper.Revocation) error) error {
	for after := int64(0); ; {
		page, err := store.Revocations(ctx, after, pageSize)
		if err != nil {
			return fmt.Errorf("read revocations: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, entry := range page {
			if err := do(entry); err != nil {
				return err
			}
			after = entry.Seq
		}
	}
}

// copyEvents copies the audit log. The events of one user keep their order; those
// of different users, many of them at the same moment, may change places with
// neighbors. Kept in one order they would be written one by one, which takes hours
// where there have been millions of sign-ins.
//
// Webhooks follow it; they come last, and go on where they are.
func (t *Transfer) copyEvents(ctx context.Context) error {
	c, err := t.readCursors(ctx)
	if err != nil {
		return err
	}
	err = eachEvents(ctx, t.from.Events, 0, func(page []innkeeper.Event) error {
		for len(page) > 0 {
			n := c.split(page)
			if err := t.copyPage(ctx, page[:n]); err != nil {
				return err
			}
			if page = page[n:]; len(page) == 0 {
				break
			}
			if err := c.reach(ctx, t.to.Events); err != nil {
				return err
			}
		}
		return nil
	})
	for err == nil && len(c.left) > 0 {
		err = c.reach(ctx, t.to.Events)
	}
	if err != nil {
		return err
	}
	return t.copyWebhooks(ctx, c)
}

// copyPage copies events, those of different users at the same time.
func (t *Transfer) copyPage(ctx context.Context, page []innkeeper.Event) error {
	byUser := make(map[innkeeper.UserID][]innkeeper.Event)
	for _, event := range page {
		byUser[event.UserID] = append(byUser[event.UserID], event)
	}
	var groups [][]innkeeper.Event
	for _, group := range byUser {
		groups = append(groups, group)
	}
	return inParallel(ctx, min(t.workers, len(groups)), each(groups), func(ctx context.Context, group []innkeeper.Event) error {
		for _, event := range group {
			if err := t.to.Events.AppendEvent(ctx, event); err != nil {
				return fmt.Errorf("copy event %d: %w", event.Seq, err)
			}
			t.events.Add(1)
		}
		return nil
	})
}

// eachEvents reads the log after a cursor, page by page.
func eachEvents(ctx context.Context, store innkeeper.EventStore, after int64, do func([]innkeeper.Event) error) error {
	for {
		page, err := store.Events(ctx, innkeeper.EventQuery{After: after, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		if err := do(page); err != nil {
			return err
		}
		after = page[len(page)-1].Seq
	}
}

// copyKeys copies the signing keys, which stay encrypted on the way.
func (t *Transfer) copyKeys(ctx context.Context) error {
	keys, err := t.from.Keys.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	if len(keys) == 0 {
		return nil // no server has started yet; the first one makes them
	}
	err = t.to.Keys.InitSigningKeys(ctx, keys)
	switch {
	case errors.Is(err, keyring.ErrInitialized):
		return fmt.Errorf("%w: a server has just made signing keys in it", ErrNotEmpty)
	case err != nil:
		return fmt.Errorf("copy signing keys: %w", err)
	}
	t.signingKeys.Add(int64(len(keys)))
	return nil
}

func (t *Transfer) copyIssuer(ctx context.Context) error {
	issuer, err := t.from.Issuer.Issuer(ctx)
	if err == nil && issuer != "" {
		err = t.to.Issuer.SetIssuer(ctx, issuer)
	}
	if err != nil {
		return fmt.Errorf("copy issuer: %w", err)
	}
	return nil
}
