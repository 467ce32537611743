package sqlite

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

const webhookColumns = `id, url, events, created_at, secret, old_secret, old_secret_until,
    cursor, failures, rest_until, delivered_at, failed_at, last_error, lease_until`

// nextRetry is the last column of a webhook that is read.
const nextRetry = `, (select min(next_at) from delivery where webhook_id = webhook.id and state = 'pending')`

// CreateWebhook implements [innkeeper.WebhookStore].
func (s *Store) CreateWebhook(ctx context.Context, hook innkeeper.Webhook, event innkeeper.Event) error {
	const query = `insert into webhook (` + webhookColumns + `, lease_owner)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')`
	err := s.writer.write(ctx, func(c *conn) error {
		events, err := list(hook.Events)
		if err != nil {
			return err
		}
		_, err = c.exec(query, hook.ID[:], hook.URL, events, hook.CreatedAt, hook.Secret,
			optionalBlob(hook.OldSecret), optionalTime(hook.OldSecretUntil),
			hook.Cursor, hook.Failures, optionalTime(hook.RestUntil), optionalTime(hook.DeliveredAt), optionalTime(hook.FailedAt),
			hook.LastError, optionalTime(hook.LeaseUntil))
		if err != nil {
			return err
		}
		return logEvent(c, event)
	})
	return wrap("create webhook", err)
}

// optionalBlob stores no bytes as NULL.
func optionalBlob(blob []byte) any {
	if len(blob) == 0 {
		return nil
	}
	return blob
}

// Webhooks implements [innkeeper.WebhookStore].
func (s *Store) Webhooks(ctx context.Context) ([]innkeeper.Webhook, error) {
	hooks, err := readAll(ctx, s.readers, (*row).webhook,
		`select `+webhookColumns+nextRetry+` from webhook order by created_at, id`)
	return hooks, wrap("list webhooks", err)
}

func (r *row) webhook() (hook innkeeper.Webhook) {
	r.fixed(hook.ID[:])
	hook.URL = r.text()
	hook.Events = r.list()
	hook.CreatedAt = r.time()
	hook.Secret = r.blob()
	if !r.null() {
		hook.OldSecret = r.blob()
	}
	hook.OldSecretUntil = r.optionalTime()
	hook.Cursor = r.integer()
	hook.Failures = int(r.integer())
	hook.RestUntil = r.optionalTime()
	hook.DeliveredAt = r.optionalTime()
	hook.FailedAt = r.optionalTime()
	hook.LastError = r.text()
	hook.LeaseUntil = r.optionalTime()
	hook.NextRetry = r.optionalTime()
	return hook
}

// ChangeWebhook implements [innkeeper.WebhookStore].
func (s *Store) ChangeWebhook(ctx context.Context, change innkeeper.WebhookChange) error {
	const query = `update webhook set secret = ?, old_secret = ?, old_secret_until = ? where id = ? and secret = ?`
	err := s.writer.write(ctx, func(c *conn) error {
		changed, err := c.exec(query, change.Secret, optionalBlob(change.OldSecret), optionalTime(change.OldSecretUntil),
			change.ID[:], change.IfSecret)
		if err != nil {
			return err
		}
		if changed == 0 {
			return innkeeper.ErrNoMatch
		}
		return logEvent(c, change.Event)
	})
	return wrap("change webhook", err)
}

// DeleteWebhook implements [innkeeper.WebhookStore].
func (s *Store) DeleteWebhook(ctx context.Context, id innkeeper.WebhookID, event innkeeper.Event) error {
	err := s.writer.write(ctx, func(c *conn) error {
		deleted, err := c.exec(`delete from webhook where id = ?`, id[:]) // and its deliveries, by the cascade
		if err != nil {
			return err
		}
		if deleted == 0 {
			return innkeeper.ErrNotFound
		}
		return logEvent(c, event)
	})
	return wrap("delete webhook", err)
}

// ClaimWebhook implements [innkeeper.WebhookStore].
func (s *Store) ClaimWebhook(ctx context.Context, claim innkeeper.WebhookClaim) (innkeeper.Webhook, error) {
	const query = `update webhook set lease_owner = ?, lease_until = ?
where id = ? and (lease_until is null or lease_until <= ?)
returning ` + webhookColumns + nextRetry
	var hooks []innkeeper.Webhook
	err := s.writer.write(ctx, func(c *conn) (err error) {
		hooks, err = all(c, (*row).webhook, query, claim.Owner, claim.Until, claim.ID[:], claim.At)
		if err == nil && len(hooks) == 0 {
			err = innkeeper.ErrNoMatch
		}
		return err
	})
	if err != nil {
		return innkeeper.Webhook{}, wrap("claim webhook", err)
	}
	return hooks[0], nil
}

// AdvanceWebhook implements [innkeeper.WebhookStore].
func (s *Store) AdvanceWebhook(ctx context.Context, progress innkeeper.WebhookProgress) error {
	const query = `update webhook set cursor = ?, failures = ?, rest_until = ?, delivered_at = ?, failed_at = ?,
    last_error = ?, lease_until = ?
where id = ? and lease_owner = ?`
	err := s.writer.write(ctx, func(c *conn) error {
		state := &progress.State
		moved, err := c.exec(query, state.Cursor, state.Failures, optionalTime(state.RestUntil), optionalTime(state.DeliveredAt),
			optionalTime(state.FailedAt), state.LastError, optionalTime(state.LeaseUntil), progress.ID[:], progress.Owner)
		if err != nil {
			return err
		}
		if moved == 0 {
			return innkeeper.ErrNoMatch
		}
		if progress.Put != nil {
			if err := putDelivery(c, progress.ID, progress.Put); err != nil {
				return err
			}
		}
		_, err = c.exec(`delete from delivery where webhook_id = ? and id = ?`, progress.ID[:], progress.Done)
		return err
	})
	return wrap("advance webhook", err)
}

const deliveryColumns = `webhook_id, id, kind, event_at, body, state, attempts, next_at, tried_at, last_error`

func putDelivery(c *conn, hook innkeeper.WebhookID, d *innkeeper.WebhookDelivery) error {
	const query = `insert into delivery (` + deliveryColumns + `) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (webhook_id, id) do update set state = excluded.state, attempts = excluded.attempts,
    next_at = excluded.next_at, tried_at = excluded.tried_at, last_error = excluded.last_error`
	_, err := c.exec(query, hook[:], d.ID, string(d.Kind), d.EventAt, d.Body, string(d.State), d.Attempts,
		d.NextAt, d.TriedAt, d.LastError)
	return err
}

// Deliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) Deliveries(ctx context.Context, query innkeeper.WebhookDeliveryQuery) ([]innkeeper.WebhookDelivery, error) {
	const statement = `select ` + deliveryColumns + ` from delivery
where (?1 is null or webhook_id = ?1) and (?2 = '' or state = ?2) and (?3 is null or next_at <= ?3)
    and (?4 is null or (next_at, id) > (?4, ?5))
order by next_at, id limit ?6`
	var hook, after any
	var afterID string
	if query.WebhookID != (innkeeper.WebhookID{}) {
		hook = query.WebhookID[:]
	}
	if query.After != nil {
		after, afterID = query.After.NextAt, query.After.ID
	}
	deliveries, err := readAll(ctx, s.readers, (*row).delivery, statement,
		hook, string(query.State), optionalTime(query.DueAt), after, afterID, query.Limit)
	return deliveries, wrap("list deliveries", err)
}

func (r *row) delivery() (d innkeeper.WebhookDelivery) {
	r.fixed(d.WebhookID[:])
	d.ID = r.text()
	d.Kind = innkeeper.EventKind(r.text())
	d.EventAt = r.time()
	d.Body = r.blob()
	d.State = innkeeper.WebhookDeliveryState(r.text())
	d.Attempts = int(r.integer())
	d.NextAt = r.time()
	d.TriedAt = r.time()
	d.LastError = r.text()
	return d
}

// RetryDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) RetryDeliveries(ctx context.Context, retry innkeeper.WebhookDeliveryRetry) (int, error) {
	const query = `update delivery set state = 'pending', attempts = 0, next_at = ?1
where webhook_id = ?2 and (id = ?3 or ?3 = '' and state = 'dead')`
	var retried int64
	err := s.writer.write(ctx, func(c *conn) (err error) {
		retried, err = c.exec(query, retry.At, retry.WebhookID[:], retry.ID)
		if err != nil || retried == 0 {
			return err
		}
		if _, err := c.exec(`update webhook set failures = 0, rest_until = null where id = ?`, retry.WebhookID[:]); err != nil {
			return err
		}
		return logEvent(c, retry.Event)
	})
	return int(retried), wrap("retry deliveries", err)
}

// SweepDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) SweepDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	const query = `delete from delivery where rowid in (
    select rowid from delivery where state = 'dead' and tried_at < ? limit ?)`
	swept, err := s.remove(ctx, query, before, limit)
	return swept, wrap("sweep deliveries", err)
}
