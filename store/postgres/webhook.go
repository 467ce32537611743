package postgres

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

const webhookColumns = `id, url, events, created_at, secret, old_secret, old_secret_until,
    cursor, failures, rest_until, delivered_at, failed_at, last_error, lease_until`

// nextRetry is the last column of a webhook that is read.
const nextRetry = `, (select min(next_at) from delivery where webhook_id = webhook.id and state = 'pending')`

var createWebhook = `
with created as (
    insert into webhook (` + webhookColumns + `, lease_owner)
    values (@id, @url, @events, @created_at, @secret, @old_secret, @old_secret_until,
        @cursor, @failures, @rest_until, @delivered_at, @failed_at, @last_error, @lease_until, '')
    returning 1
)` + logEvent("event", "created")

// CreateWebhook implements [innkeeper.WebhookStore].
func (s *Store) CreateWebhook(ctx context.Context, hook innkeeper.Webhook, event innkeeper.Event) error {
	args := webhookState(&hook.WebhookState)
	args["id"], args["url"], args["created_at"] = hook.ID[:], text(hook.URL), hook.CreatedAt
	args["events"] = list(hook.Events)
	args["secret"], args["old_secret"], args["old_secret_until"] = hook.Secret, optionalBlob(hook.OldSecret), optionalTime(hook.OldSecretUntil)
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.write(ctx, createWebhook, args, nil)
	}
	return wrap("create webhook", err)
}

func webhookState(state *innkeeper.WebhookState) pgx.NamedArgs {
	return pgx.NamedArgs{
		"cursor": state.Cursor, "failures": state.Failures, "rest_until": optionalTime(state.RestUntil),
		"delivered_at": optionalTime(state.DeliveredAt), "failed_at": optionalTime(state.FailedAt),
		"last_error": text(state.LastError), "lease_until": optionalTime(state.LeaseUntil),
	}
}

// optionalBlob stores no bytes as NULL.
func optionalBlob(blob []byte) []byte {
	if len(blob) == 0 {
		return nil
	}
	return blob
}

// Webhooks implements [innkeeper.WebhookStore].
func (s *Store) Webhooks(ctx context.Context) ([]innkeeper.Webhook, error) {
	hooks, err := readAll(ctx, s, (*row).webhook, `select `+webhookColumns+nextRetry+` from webhook order by created_at, id`)
	return hooks, wrap("list webhooks", err)
}

func (r *row) webhook() (hook innkeeper.Webhook) {
	r.fixed(hook.ID[:])
	hook.URL = r.text()
	hook.Events = r.list()
	hook.CreatedAt = r.time()
	hook.Secret = r.blob()
	hook.OldSecret = r.blob()
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

var changeWebhook = `
with changed as (
    update webhook set secret = @secret, old_secret = @old_secret, old_secret_until = @old_secret_until
    where id = @id and secret = @if_secret
    returning 1
), logged as (` + logEvent("event", "changed") + `)
select 1 from changed`

// ChangeWebhook implements [innkeeper.WebhookStore].
func (s *Store) ChangeWebhook(ctx context.Context, change innkeeper.WebhookChange) error {
	args := pgx.NamedArgs{
		"id": change.ID[:], "if_secret": change.IfSecret, "secret": change.Secret,
		"old_secret": optionalBlob(change.OldSecret), "old_secret_until": optionalTime(change.OldSecretUntil),
	}
	err := addEvent(args, "event", change.Event)
	if err == nil {
		err = s.writeOr(ctx, innkeeper.ErrNoMatch, changeWebhook, args)
	}
	return wrap("change webhook", err)
}

var deleteWebhook = `
with deleted as (
    delete from webhook where id = @id returning 1
), logged as (` + logEvent("event", "deleted") + `)
select 1 from deleted`

// DeleteWebhook implements [innkeeper.WebhookStore]. Deliveries go by the cascade.
func (s *Store) DeleteWebhook(ctx context.Context, id innkeeper.WebhookID, event innkeeper.Event) error {
	args := pgx.NamedArgs{"id": id[:]}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.writeOr(ctx, innkeeper.ErrNotFound, deleteWebhook, args)
	}
	return wrap("delete webhook", err)
}

// ClaimWebhook implements [innkeeper.WebhookStore]. Whoever comes second waits for the
// row, and then finds it leased.
func (s *Store) ClaimWebhook(ctx context.Context, claim innkeeper.WebhookClaim) (innkeeper.Webhook, error) {
	const statement = `
update webhook set lease_owner = @owner, lease_until = @until
where id = @id and (lease_until is null or lease_until <= @at)
returning ` + webhookColumns + nextRetry
	var held []innkeeper.Webhook
	err := s.write(ctx, statement, pgx.NamedArgs{
		"id": claim.ID[:], "owner": text(claim.Owner), "at": claim.At, "until": claim.Until,
	}, func(r *row) { held = append(held, r.webhook()) })
	switch {
	case err != nil:
		return innkeeper.Webhook{}, wrap("claim webhook", err)
	case len(held) == 0:
		return innkeeper.Webhook{}, wrap("claim webhook", innkeeper.ErrNoMatch)
	}
	return held[0], nil
}

const deliveryColumns = `webhook_id, id, kind, event_at, body, state, attempts, next_at, tried_at, last_error`

const advanceWebhook = `
with advanced as (
    update webhook set cursor = @cursor, failures = @failures, rest_until = @rest_until, delivered_at = @delivered_at,
        failed_at = @failed_at, last_error = @last_error, lease_until = @lease_until
    where id = @id and lease_owner = @owner
    returning id
), put as (
    insert into delivery as d (` + deliveryColumns + `)
    select id, @put::text, @kind::text, @event_at::timestamptz, @body::bytea, @state::text, @attempts::bigint,
        @next_at::timestamptz, @tried_at::timestamptz, @put_error::text
    from advanced where @put::text <> ''
    on conflict (webhook_id, id) do update set state = excluded.state, attempts = excluded.attempts,
        next_at = excluded.next_at, tried_at = excluded.tried_at, last_error = excluded.last_error
), done as (
    delete from delivery d using advanced a where d.webhook_id = a.id and d.id = @done::text
)
select 1 from advanced`

// AdvanceWebhook implements [innkeeper.WebhookStore].
func (s *Store) AdvanceWebhook(ctx context.Context, progress innkeeper.WebhookProgress) error {
	args := webhookState(&progress.State)
	args["id"], args["owner"], args["done"] = progress.ID[:], text(progress.Owner), text(progress.Done)
	d := progress.Put
	if d == nil {
		d = &innkeeper.WebhookDelivery{}
	}
	args["put"], args["kind"], args["event_at"], args["body"] = text(d.ID), text(string(d.Kind)), d.EventAt, d.Body
	args["state"], args["attempts"], args["next_at"], args["tried_at"] = string(d.State), d.Attempts, d.NextAt, d.TriedAt
	args["put_error"] = text(d.LastError)
	return wrap("advance webhook", s.writeOr(ctx, innkeeper.ErrNoMatch, advanceWebhook, args))
}

// Deliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) Deliveries(ctx context.Context, query innkeeper.WebhookDeliveryQuery) ([]innkeeper.WebhookDelivery, error) {
	const statement = `
select ` + deliveryColumns + ` from delivery
where (@webhook::bytea is null or webhook_id = @webhook) and (@state::text = '' or state = @state)
    and (@due::timestamptz is null or next_at <= @due)
    and (@after::timestamptz is null or (next_at, id) > (@after, @after_id::text))
order by next_at, id limit @limit`
	args := pgx.NamedArgs{
		"webhook": []byte(nil), "state": string(query.State), "due": optionalTime(query.DueAt),
		"after": (*time.Time)(nil), "after_id": "", "limit": query.Limit,
	}
	if query.WebhookID != (innkeeper.WebhookID{}) {
		args["webhook"] = query.WebhookID[:]
	}
	if query.After != nil {
		args["after"], args["after_id"] = &query.After.NextAt, text(query.After.ID)
	}
	deliveries, err := readAll(ctx, s, (*row).delivery, statement, args)
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

var retryDeliveries = `
with retried as (
    update delivery set state = 'pending', attempts = 0, next_at = @at
    where webhook_id = @webhook and (id = @id::text or @id::text = '' and state = 'dead')
    returning 1
), woken as (
    update webhook set failures = 0, rest_until = null
    where id = @webhook and exists (select from retried)
    returning 1
), logged as (` + logEvent("event", "woken") + `)
select 1 from retried`

// RetryDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) RetryDeliveries(ctx context.Context, retry innkeeper.WebhookDeliveryRetry) (int, error) {
	args := pgx.NamedArgs{"webhook": retry.WebhookID[:], "id": text(retry.ID), "at": retry.At}
	if err := addEvent(args, "event", retry.Event); err != nil {
		return 0, wrap("retry deliveries", err)
	}
	retried, err := s.count(ctx, retryDeliveries, args)
	return retried, wrap("retry deliveries", err)
}

// SweepDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) SweepDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	const statement = `
delete from delivery where (webhook_id, id) in (
    select webhook_id, id from delivery where state = 'dead' and tried_at < @before
    order by tried_at limit @limit for update skip locked)
returning 1`
	swept, err := s.count(ctx, statement, pgx.NamedArgs{"before": before, "limit": limit})
	return swept, wrap("sweep deliveries", err)
}
