package transfer

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// cursors are where in the log of the source webhooks are, in order, and where that is
// in the log of the target, which numbers events anew.
type cursors struct {
	left    []int64
	reached map[int64]int64
}

// readCursors looks where the webhooks of the source are.
func (t *Transfer) readCursors(ctx context.Context) (*cursors, error) {
	hooks, err := t.from.Webhooks.Webhooks(ctx)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	c := &cursors{reached: make(map[int64]int64)}
	for _, hook := range hooks {
		c.left = append(c.left, hook.Cursor)
	}
	c.left = slices.Compact(slices.Sorted(slices.Values(c.left)))
	return c, nil
}

// split returns how many events of a page come before the next cursor is reached.
func (c *cursors) split(page []innkeeper.Event) int {
	if len(c.left) == 0 {
		return len(page)
	}
	n, _ := slices.BinarySearchFunc(page, c.left[0]+1, func(e innkeeper.Event, seq int64) int { return cmp.Compare(e.Seq, seq) })
	return n
}

// reach notes the next cursor: whoever is there has been told of all that was copied by
// now, and of nothing else.
func (c *cursors) reach(ctx context.Context, to innkeeper.EventStore) error {
	last, err := to.LastEvent(ctx)
	if err != nil {
		return fmt.Errorf("read the last event: %w", err)
	}
	c.reached[c.left[0]] = last
	c.left = c.left[1:]
	return nil
}

// mover is the owner of leases while webhooks are copied.
const mover = "transfer"

// copyWebhooks copies webhooks, whose secrets stay encrypted on the way, and what they
// have not been told yet. Each goes on where it is.
func (t *Transfer) copyWebhooks(ctx context.Context, c *cursors) error {
	hooks, err := t.from.Webhooks.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("read webhooks: %w", err)
	}
	for _, hook := range hooks {
		cursor, ok := c.reached[hook.Cursor]
		if !ok {
			return fmt.Errorf("%w: webhook %s has moved", ErrDiffers, hook.ID)
		}
		hook.Cursor, hook.LeaseUntil = cursor, time.Time{}
		if err := t.to.Webhooks.CreateWebhook(ctx, hook, innkeeper.Event{}); err != nil {
			return fmt.Errorf("copy webhook %s: %w", hook.ID, err)
		}
		if err := t.copyDeliveries(ctx, hook); err != nil {
			return err
		}
		t.webhooks.Add(1)
	}
	return nil
}

func (t *Transfer) copyDeliveries(ctx context.Context, hook innkeeper.Webhook) error {
	now := t.clock()
	if _, err := t.to.Webhooks.ClaimWebhook(ctx, innkeeper.WebhookClaim{ID: hook.ID, Owner: mover, At: now, Until: now.Add(time.Minute)}); err != nil {
		return fmt.Errorf("claim webhook %s: %w", hook.ID, err)
	}
	put := func(d *innkeeper.WebhookDelivery) error {
		err := t.to.Webhooks.AdvanceWebhook(ctx, innkeeper.WebhookProgress{ID: hook.ID, Owner: mover, State: hook.WebhookState, Put: d})
		if err != nil {
			return fmt.Errorf("copy deliveries to webhook %s: %w", hook.ID, err)
		}
		return nil
	}
	err := eachDelivery(ctx, t.from.Deliveries, hook.ID, func(d innkeeper.WebhookDelivery) error { return put(&d) })
	if err != nil {
		return err
	}
	return put(nil) // and with it the lease is given back, if there was no delivery
}

func eachDelivery(ctx context.Context, store innkeeper.WebhookDeliveryStore, hook innkeeper.WebhookID, do func(innkeeper.WebhookDelivery) error) error {
	query := innkeeper.WebhookDeliveryQuery{WebhookID: hook, Limit: pageSize}
	for {
		page, err := store.Deliveries(ctx, query)
		if err != nil {
			return fmt.Errorf("read deliveries: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, d := range page {
			if err := do(d); err != nil {
				return err
			}
		}
		query.After = &page[len(page)-1]
	}
}

// compareWebhooks compares webhooks, what they have not been told, and how much of the
// log is still before them.
func (t *Transfer) compareWebhooks(ctx context.Context) error {
	type copied struct {
		hook       innkeeper.Webhook
		deliveries []innkeeper.WebhookDelivery
		ahead      int64 // events
	}
	read := func(stores innkeeper.Stores) ([]copied, error) {
		hooks, err := stores.Webhooks.Webhooks(ctx)
		if err != nil {
			return nil, fmt.Errorf("compare webhooks: %w", err)
		}
		var all []copied
		for _, hook := range hooks {
			c := copied{hook: hook}
			err := eachDelivery(ctx, stores.Deliveries, hook.ID, func(d innkeeper.WebhookDelivery) error {
				c.deliveries = append(c.deliveries, d)
				return nil
			})
			if err != nil {
				return nil, err
			}
			err = eachEvents(ctx, stores.Events, hook.Cursor, func(page []innkeeper.Event) error {
				c.ahead += int64(len(page))
				return nil
			})
			if err != nil {
				return nil, err
			}
			c.hook.Cursor, c.hook.LeaseUntil = 0, time.Time{}
			all = append(all, c)
		}
		return all, nil
	}
	source, err := read(t.from)
	if err != nil {
		return err
	}
	target, err := read(t.to)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(source, target) {
		return fmt.Errorf("%w: webhooks", ErrDiffers)
	}
	return nil
}
