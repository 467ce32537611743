package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// leased is a webhook and whoever was the last one to hold its lease.
type leased struct {
	innkeeper.Webhook
	owner string
}

type deliveryKey struct {
	webhook innkeeper.WebhookID
	id      string
}

// CreateWebhook implements [innkeeper.WebhookStore].
func (s *Store) CreateWebhook(ctx context.Context, hook innkeeper.Webhook, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.webhooks[hook.ID] = leased{Webhook: ownWebhook(hook)}
	s.log(event)
	return nil
}

// Webhooks implements [innkeeper.WebhookStore].
func (s *Store) Webhooks(ctx context.Context) ([]innkeeper.Webhook, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var hooks []innkeeper.Webhook
	for _, hook := range s.webhooks {
		hooks = append(hooks, s.webhook(hook))
	}
	slices.SortFunc(hooks, func(x, y innkeeper.Webhook) int {
		return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), bytes.Compare(x.ID[:], y.ID[:]))
	})
	return hooks, nil
}

// webhook returns a webhook as it is handed out.
func (s *Store) webhook(hook leased) innkeeper.Webhook {
	hook.NextRetry = time.Time{}
	for key, d := range s.deliveries {
		if key.webhook == hook.ID && d.State == innkeeper.WebhookPending && (hook.NextRetry.IsZero() || d.NextAt.Before(hook.NextRetry)) {
			hook.NextRetry = d.NextAt
		}
	}
	return ownWebhook(hook.Webhook)
}

// ownWebhook shares nothing with the one that it copies.
func ownWebhook(hook innkeeper.Webhook) innkeeper.Webhook {
	hook.Events = slices.Clone(hook.Events)
	hook.Secret, hook.OldSecret = bytes.Clone(hook.Secret), bytes.Clone(hook.OldSecret)
	return hook
}

// ChangeWebhook implements [innkeeper.WebhookStore].
func (s *Store) ChangeWebhook(ctx context.Context, change innkeeper.WebhookChange) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	hook, ok := s.webhooks[change.ID]
	if !ok || !bytes.Equal(hook.Secret, change.IfSecret) {
		return innkeeper.ErrNoMatch
	}
	hook.Secret, hook.OldSecret, hook.OldSecretUntil = change.Secret, change.OldSecret, change.OldSecretUntil
	hook.Webhook = ownWebhook(hook.Webhook)
	s.webhooks[change.ID] = hook
	s.log(change.Event)
	return nil
}

// DeleteWebhook implements [innkeeper.WebhookStore].
func (s *Store) DeleteWebhook(ctx context.Context, id innkeeper.WebhookID, event innkeeper.Event) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.webhooks[id]; !ok {
		return innkeeper.ErrNotFound
	}
	delete(s.webhooks, id)
	for key := range s.deliveries {
		if key.webhook == id {
			delete(s.deliveries, key)
		}
	}
	s.log(event)
	return nil
}

// ClaimWebhook implements [innkeeper.WebhookStore].
func (s *Store) ClaimWebhook(ctx context.Context, claim innkeeper.WebhookClaim) (innkeeper.Webhook, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.Webhook{}, err
	}
	defer s.mu.Unlock()
	hook, ok := s.webhooks[claim.ID]
	if !ok || claim.At.Before(hook.LeaseUntil) {
		return innkeeper.Webhook{}, innkeeper.ErrNoMatch
	}
	hook.owner, hook.LeaseUntil = claim.Owner, claim.Until
	s.webhooks[claim.ID] = hook
	return s.webhook(hook), nil
}

// AdvanceWebhook implements [innkeeper.WebhookStore].
func (s *Store) AdvanceWebhook(ctx context.Context, progress innkeeper.WebhookProgress) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	hook, ok := s.webhooks[progress.ID]
	if !ok || hook.owner != progress.Owner {
		return innkeeper.ErrNoMatch
	}
	hook.WebhookState = progress.State
	s.webhooks[progress.ID] = hook
	if d := progress.Put; d != nil {
		kept := *d
		kept.Body = bytes.Clone(d.Body)
		s.deliveries[deliveryKey{progress.ID, d.ID}] = kept
	}
	delete(s.deliveries, deliveryKey{progress.ID, progress.Done})
	return nil
}

// Deliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) Deliveries(ctx context.Context, query innkeeper.WebhookDeliveryQuery) ([]innkeeper.WebhookDelivery, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []innkeeper.WebhookDelivery
	for _, d := range s.deliveries {
		if (query.WebhookID == innkeeper.WebhookID{} || d.WebhookID == query.WebhookID) &&
			(query.State == "" || d.State == query.State) &&
			(query.DueAt.IsZero() || !d.NextAt.After(query.DueAt)) &&
			(query.After == nil || byNextAt(*query.After, d) < 0) {
			d.Body = bytes.Clone(d.Body)
			page = append(page, d)
		}
	}
	slices.SortFunc(page, byNextAt)
	return page[:min(len(page), query.Limit)], nil
}

func byNextAt(x, y innkeeper.WebhookDelivery) int {
	return cmp.Or(x.NextAt.Compare(y.NextAt), cmp.Compare(x.ID, y.ID))
}

// RetryDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) RetryDeliveries(ctx context.Context, retry innkeeper.WebhookDeliveryRetry) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := 0
	for key, d := range s.deliveries {
		chosen := retry.ID == d.ID || retry.ID == "" && d.State == innkeeper.WebhookDead
		if key.webhook != retry.WebhookID || !chosen {
			continue
		}
		d.State, d.Attempts, d.NextAt = innkeeper.WebhookPending, 0, retry.At
		s.deliveries[key] = d
		n++
	}
	if n > 0 {
		hook := s.webhooks[retry.WebhookID]
		hook.Failures, hook.RestUntil = 0, time.Time{}
		s.webhooks[retry.WebhookID] = hook
		s.log(retry.Event)
	}
	return n, nil
}

// SweepDeliveries implements [innkeeper.WebhookDeliveryStore].
func (s *Store) SweepDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	for key, d := range s.deliveries {
		if d.State == innkeeper.WebhookDead && d.TriedAt.Before(before) && swept < limit {
			delete(s.deliveries, key)
			swept++
		}
	}
	return swept, nil
}
