package innkeeper

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// WebhookID names a webhook.
type WebhookID [16]byte

// ParseWebhookID reads what [WebhookID.String] printed. It returns [ErrNotFound] for
// anything else, since no such webhook can exist.
func ParseWebhookID(text string) (WebhookID, error) {
	var id WebhookID
	return id, parseID(id[:], text)
}

// String returns 22 characters of base64url.
func (id WebhookID) String() string { return tokenEncoding.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (id WebhookID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Webhook is a URL that is told of events. What it has been told is a position in the
// audit log, which is the queue of what it has not.
type Webhook struct {
	ID        WebhookID
	URL       string
	Events    []string // what it is told, see [Authority.AddWebhook]
	CreatedAt time.Time
	// Secret signs what is sent, and OldSecret too until its time: both encrypted under
	// the root key. OldSecret is empty if there is none.
	Secret, OldSecret []byte
	OldSecretUntil    time.Time
	WebhookState
	// NextRetry is when the first of the deliveries that have failed is to be tried
	// again; zero if there is none. A store finds it out, and does not keep it.
	NextRetry time.Time
}

// WebhookState is how far a webhook has come. Whoever holds the lease changes it.
type WebhookState struct {
	Cursor      int64     // the Seq of the last event that is done with, one way or the other
	Failures    int       // in a row, until now
	RestUntil   time.Time // nothing is sent before; zero: at once
	DeliveredAt time.Time // zero: never
	FailedAt    time.Time // zero: never
	LastError   string    // of the time it failed last
	LeaseUntil  time.Time // nobody else may send before; zero: anybody may
}

// WebhookSecret signs what a webhook is sent. It prints as "[redacted]".
type WebhookSecret struct{ key []byte }

// webhookSecretSize is in the middle of what Standard Webhooks asks for: 24 to 64.
const webhookSecretSize = 32

func newWebhookSecret() WebhookSecret {
	key := make([]byte, webhookSecretSize)
	rand.Read(key)
	return WebhookSecret{key: key}
}

// Key returns the key of the HMAC.
func (s WebhookSecret) Key() []byte { return s.key }

// Reveal returns the secret as receivers are given it, once: "whsec_" and base64. MUST
// NOT be logged.
func (s WebhookSecret) Reveal() string { return "whsec_" + base64.StdEncoding.EncodeToString(s.key) }

// redactedWebhookSecret is what every way of printing one shows.
const redactedWebhookSecret = "whsec_[redacted]" //nolint:gosec // what stands in the place of a credential

// String returns a placeholder, as do the methods below.
func (s WebhookSecret) String() string { return redactedWebhookSecret }

// Format implements [fmt.Formatter]: every verb prints the placeholder.
func (s WebhookSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedWebhookSecret)) }

// LogValue implements [slog.LogValuer].
func (s WebhookSecret) LogValue() slog.Value { return slog.StringValue(redactedWebhookSecret) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON and YAML.
func (s WebhookSecret) MarshalText() ([]byte, error) { return []byte(redactedWebhookSecret), nil }

// webhookLabel binds a wrapped secret to its webhook.
func webhookLabel(id WebhookID) string { return "innkeeper/v1 webhook secret " + id.String() }

// defaultWebhookEvents are thefts, and what people should hear about their account from
// somebody other than whoever did it (OWASP ASVS 6.3.7).
func defaultWebhookEvents() []string {
	return []string{
		string(EventPasswordChanged), string(EventTokenReused),
		string(EventSessionEnded) + ":" + string(ReasonAdmin), string(EventSessionsEnded) + ":" + string(ReasonAdmin),
		string(EventUserCreated), string(EventUserDeleted), string(EventUserDisabled), string(EventUserEnabled),
	}
}

// everyEvent stands for all kinds.
const everyEvent = "*"

// checkWebhookEvents puts a selection in order.
func checkWebhookEvents(selection []string) ([]string, error) {
	if len(selection) == 0 {
		return defaultWebhookEvents(), nil
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(selection)))
	for _, selected := range sorted {
		kind, reason, bounded := strings.Cut(selected, ":")
		switch {
		case selected == everyEvent:
		case !EventKind(kind).Valid(), EventKind(kind) == EventDeliveryGivenUp, bounded && !Reason(reason).Valid():
			return nil, &InputError{Field: "events", Detail: fmt.Sprintf(
				"%q is no kind of event that can be sent, like %s, or with a reason, like %s:%s; docs/events.md names them",
				selected, EventTokenReused, EventSessionEnded, ReasonAdmin)}
		}
	}
	return sorted, nil
}

// wants reports whether a webhook is to be told of an event. No selection contains the
// event that a delivery was given up: that one could never be delivered either.
func (w *Webhook) wants(event *Event) bool {
	kind := string(event.Kind)
	return slices.ContainsFunc(w.Events, func(selected string) bool {
		return selected == kind || selected == kind+":"+string(event.Reason) ||
			selected == everyEvent && event.Kind != EventDeliveryGivenUp
	})
}

const (
	maxWebhooks    = 20
	maxWebhookURL  = 2000
	webhookURLRule = "give an https URL without user, password or fragment; http only for localhost"
)

// checkWebhookURL says what may be sent to. Whether an address may be reached is for
// the sender to say, each time, once the name has become one.
func checkWebhookURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(text) > maxWebhookURL ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopbackName(u.Hostname())) {
		return nil, &InputError{Field: "url", Detail: webhookURLRule}
	}
	return u, nil
}

// isLoopbackName reports whether a host is this machine by its name, whatever a
// resolver says.
func isLoopbackName(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// AddWebhook lets a URL be told of the events that happen from now on, and returns the
// secret that signs them, which is never shown again. There are at most 20.
//
// Each of events is a kind, a kind and the reason of an end ("session.ended:admin"), or
// "*" for all; none means thefts and what happens to accounts. It returns an
// [*InputError].
func (a *Authority) AddWebhook(ctx context.Context, address string, events []string, by By) (*Webhook, WebhookSecret, error) {
	u, err := checkWebhookURL(address)
	if err != nil {
		return nil, WebhookSecret{}, err
	}
	if events, err = checkWebhookEvents(events); err != nil {
		return nil, WebhookSecret{}, err
	}
	hooks, err := a.Webhooks(ctx)
	if err != nil {
		return nil, WebhookSecret{}, err
	}
	if len(hooks) >= maxWebhooks {
		return nil, WebhookSecret{}, &InputError{Field: "url", Detail: fmt.Sprintf("there are %d webhooks already; remove one", maxWebhooks)}
	}
	last, err := a.LastEvent(ctx)
	if err != nil {
		return nil, WebhookSecret{}, err
	}
	secret := newWebhookSecret()
	hook := Webhook{URL: address, Events: events, CreatedAt: a.now(), WebhookState: WebhookState{Cursor: last}}
	drawID(hook.ID[:])
	hook.Secret = a.roots.Wrap(secret.key, webhookLabel(hook.ID))
	event := a.webhookEvent(EventWebhookAdded, by, hook.ID)
	event.Detail["host"], event.Detail["events"] = u.Host, strings.Join(events, " ") // the path of some URLs is a secret
	if err := a.stores.Webhooks.CreateWebhook(ctx, hook, event); err != nil {
		return nil, WebhookSecret{}, unavailable(fmt.Errorf("add webhook: %w", err))
	}
	a.observe(ctx, event)
	return &hook, secret, nil
}

func (a *Authority) webhookEvent(kind EventKind, by By, id WebhookID) Event {
	return Event{At: a.now(), Kind: kind, Detail: map[string]string{"webhook": id.String()}}.signed(by)
}

// Webhooks lists all webhooks, oldest first.
func (a *Authority) Webhooks(ctx context.Context) ([]Webhook, error) {
	hooks, err := a.stores.Webhooks.Webhooks(ctx)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list webhooks: %w", err))
	}
	return hooks, nil
}

// RemoveWebhook tells a URL nothing any more, and forgets what it has not been told. It
// returns [ErrNotFound].
func (a *Authority) RemoveWebhook(ctx context.Context, id WebhookID, by By) error {
	event := a.webhookEvent(EventWebhookRemoved, by, id)
	switch err := a.stores.Webhooks.DeleteWebhook(ctx, id, event); {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return unavailable(fmt.Errorf("remove webhook: %w", err))
	}
	a.observe(ctx, event)
	return nil
}

const (
	defaultSecretOverlap = 24 * time.Hour
	maxSecretOverlap     = 30 * 24 * time.Hour
)

// RotateWebhookSecret gives a webhook a new secret, which is never shown again. The one
// before signs too for the overlap, at most 30 days, so that the receiver can be changed
// at leisure; the zero value means a day, and a negative one none: for a secret that has
// been stolen. It returns [ErrNotFound] or an [*InputError].
func (a *Authority) RotateWebhookSecret(ctx context.Context, id WebhookID, overlap time.Duration, by By) (WebhookSecret, error) {
	if overlap > maxSecretOverlap {
		return WebhookSecret{}, &InputError{Field: "overlap", Detail: fmt.Sprintf("choose at most %s", maxSecretOverlap)}
	}
	if overlap == 0 {
		overlap = defaultSecretOverlap
	}
	hook, err := a.webhook(ctx, id)
	if err != nil {
		return WebhookSecret{}, err
	}
	secret := newWebhookSecret()
	change := WebhookChange{
		ID: id, IfSecret: hook.Secret, Secret: a.roots.Wrap(secret.key, webhookLabel(id)),
		Event: a.webhookEvent(EventWebhookRotated, by, id),
	}
	if overlap > 0 {
		change.OldSecret, change.OldSecretUntil = hook.Secret, change.Event.At.Add(overlap)
	}
	switch err := a.stores.Webhooks.ChangeWebhook(ctx, change); {
	case errors.Is(err, ErrNoMatch):
		return WebhookSecret{}, ErrNotFound // removed meanwhile, or somebody has just done the same
	case err != nil:
		return WebhookSecret{}, unavailable(fmt.Errorf("rotate secret of webhook: %w", err))
	}
	a.observe(ctx, change.Event)
	return secret, nil
}

// webhook returns a webhook, or [ErrNotFound]. There are never many.
func (a *Authority) webhook(ctx context.Context, id WebhookID) (*Webhook, error) {
	hooks, err := a.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(hooks, func(w Webhook) bool { return w.ID == id })
	if i < 0 {
		return nil, ErrNotFound
	}
	return &hooks[i], nil
}

// secrets returns the secrets that sign now, the newest first.
func (a *Authority) secrets(hook *Webhook, now time.Time) ([]WebhookSecret, error) {
	key, err := a.roots.Unwrap(hook.Secret, webhookLabel(hook.ID))
	if err != nil {
		return nil, fmt.Errorf("open secret of webhook: %w", err)
	}
	secrets := []WebhookSecret{{key: key}}
	if len(hook.OldSecret) > 0 && now.Before(hook.OldSecretUntil) {
		if key, err := a.roots.Unwrap(hook.OldSecret, webhookLabel(hook.ID)); err == nil {
			secrets = append(secrets, WebhookSecret{key: key})
		}
	}
	return secrets, nil
}

// rewrapWebhooks encrypts under the root key that mints the secrets that are under
// another one. A secret that does not open stays as it is, for whoever looks for the
// root key; an old one whose time is over goes.
func (a *Authority) rewrapWebhooks(ctx context.Context) error {
	hooks, err := a.Webhooks(ctx)
	if err != nil {
		return err
	}
	for i := range hooks {
		hook := &hooks[i]
		change := WebhookChange{ID: hook.ID, IfSecret: hook.Secret, Secret: a.rewrapped(hook.Secret, hook.ID)}
		if a.now().Before(hook.OldSecretUntil) {
			change.OldSecret, change.OldSecretUntil = a.rewrapped(hook.OldSecret, hook.ID), hook.OldSecretUntil
		}
		if slices.Equal(change.Secret, hook.Secret) && slices.Equal(change.OldSecret, hook.OldSecret) {
			continue
		}
		err := a.stores.Webhooks.ChangeWebhook(ctx, change)
		if err != nil && !errors.Is(err, ErrNoMatch) { // another server did it
			return unavailable(fmt.Errorf("rewrap secret of webhook: %w", err))
		}
	}
	return nil
}

func (a *Authority) rewrapped(wrapped []byte, id WebhookID) []byte {
	under, ok := rootkey.WrappedUnder(wrapped)
	if !ok || under == a.roots.Active().ID() {
		return wrapped
	}
	secret, err := a.roots.Unwrap(wrapped, webhookLabel(id))
	if err != nil {
		return wrapped
	}
	return a.roots.Wrap(secret, webhookLabel(id))
}
