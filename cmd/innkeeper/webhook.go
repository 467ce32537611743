package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/webhook"
)

// webhookFlags say where a server may send to.
type webhookFlags struct {
	WebhookNetwork []network `placeholder:"CIDR" help:"network that webhooks may lead to although it is not public; may repeat"`
}

// sender carries what a server with this issuer delivers. In development, where the issuer
// is this machine, so may be who is told.
func (f *webhookFlags) sender(issuer string) *webhook.Sender {
	allowed := make([]netip.Prefix, len(f.WebhookNetwork))
	for i, network := range f.WebhookNetwork {
		allowed[i] = network.Prefix
	}
	u, err := url.Parse(issuer)
	return webhook.NewSender(webhook.Config{
		UserAgent: "innkeeper/" + currentVersion().Version, AllowedNetworks: allowed,
		ThisMachine: err == nil && isLoopback(u.Hostname()),
	})
}

type webhookCommand struct {
	Admin adminFlags `embed:""`

	Add          webhookAddCommand        `cmd:"" help:"let a URL be told of events from now on"`
	List         webhookListCommand       `cmd:"" help:"list who is told of events"`
	Remove       webhookRemoveCommand     `cmd:"" help:"tell a URL nothing any more"`
	RotateSecret webhookRotateCommand     `cmd:"" help:"sign with a new secret, and with the one before for a while"`
	Deliveries   webhookDeliveriesCommand `cmd:"" help:"list what was not delivered yet, or given up"`
	Retry        webhookRetryCommand      `cmd:"" help:"try again at once what was given up"`
}

type webhookAddCommand struct {
	URL   string   `arg:"" help:"https URL that is told; http only for localhost"`
	Event []string `env:"-" placeholder:"KIND" help:"what it is told: a kind, a kind and a reason like session.ended:admin, or * for all; may repeat"`
}

// Help is shown above the flags.
func (*webhookAddCommand) Help() string {
	return `Without --event it is told of thefts and of what happens to accounts: refresh_token.reused, password.changed, user.created, user.disabled, user.enabled, user.deleted, session.ended:admin, sessions.ended:admin. The receiver verifies what it is sent with the secret that is printed here, and never again; see docs/webhooks.md.`
}

// webhookObject has the members of that in package httpapi.
type webhookObject struct {
	ID             string    `json:"id"`
	URL            string    `json:"url"`
	Events         []string  `json:"events"`
	CreatedAt      time.Time `json:"created_at"`
	OldSecretUntil time.Time `json:"old_secret_until,omitzero"`
	DeliveredAt    time.Time `json:"delivered_at,omitzero"`
	FailedAt       time.Time `json:"failed_at,omitzero"`
	LastError      string    `json:"last_error,omitempty"`
	Failures       int       `json:"failures"`
	RestUntil      time.Time `json:"rest_until,omitzero"`
	NextRetryAt    time.Time `json:"next_retry_at,omitzero"`
	Secret         string    `json:"secret,omitempty"` // of a new one
}

func webhookOf(hook *innkeeper.Webhook) webhookObject {
	return webhookObject{
		ID: hook.ID.String(), URL: hook.URL, Events: hook.Events, CreatedAt: hook.CreatedAt, OldSecretUntil: hook.OldSecretUntil,
		DeliveredAt: hook.DeliveredAt, FailedAt: hook.FailedAt, LastError: hook.LastError, Failures: hook.Failures,
		RestUntil: hook.RestUntil, NextRetryAt: hook.NextRetry,
	}
}

// Run adds a webhook.
func (c *webhookAddCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	return parent.at(ctx, func(o *office) error {
		hook, secret, err := o.AddWebhook(ctx, c.URL, c.Event, innkeeper.ActorOperator)
		if err != nil {
			return err
		}
		added := webhookOf(hook)
		added.Secret = secret.Reveal()
		return parent.Admin.Output.print(std.out, added, func(w io.Writer) {
			fmt.Fprintf(w, "added webhook %s for %s\nsecret: %s\n", added.ID, strings.Join(added.Events, ", "), added.Secret)
			fmt.Fprint(w, "next: give the secret to the receiver; it is not shown again\n")
		})
	})
}

// at opens the database of a server.
func (c *webhookCommand) at(ctx context.Context, do func(*office) error) (err error) {
	o, err := c.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	return do(o)
}

type webhookListCommand struct{}

// Run lists webhooks.
func (*webhookListCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	return parent.at(ctx, func(o *office) error {
		hooks, err := o.Webhooks(ctx)
		if err != nil {
			return err
		}
		objects := make([]webhookObject, len(hooks))
		for i := range hooks {
			objects[i] = webhookOf(&hooks[i])
		}
		return parent.Admin.Output.print(std.out, objects, func(w io.Writer) {
			writeRow(w, "ID", "URL", "DELIVERED", "FAILED", "ERROR", "FAILURES", "NEXT RETRY", "EVENTS")
			for _, hook := range objects {
				writeRow(w, hook.ID, hook.URL, clockOr(hook.DeliveredAt), clockOr(hook.FailedAt), hook.LastError,
					fmt.Sprint(hook.Failures), clockOr(hook.NextRetryAt), strings.Join(hook.Events, " "))
			}
		})
	})
}

type webhookRemoveCommand struct {
	ID string `arg:"" help:"id of the webhook, see innkeeper webhook list"`
}

// removedWebhook says what was removed.
type removedWebhook struct {
	ID string `json:"id"`
}

// Run removes a webhook.
func (c *webhookRemoveCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	return parent.at(ctx, func(o *office) error {
		id, err := webhookID(c.ID)
		if err == nil {
			err = o.RemoveWebhook(ctx, id, innkeeper.ActorOperator)
		}
		if err != nil {
			return noWebhook(err, c.ID)
		}
		return parent.Admin.Output.print(std.out, removedWebhook{ID: c.ID}, func(w io.Writer) { fmt.Fprintf(w, "removed webhook %s\n", c.ID) })
	})
}

func webhookID(text string) (innkeeper.WebhookID, error) { return innkeeper.ParseWebhookID(text) }

// noWebhook says what to do where there is no such webhook.
func noWebhook(err error, id string) error {
	if errors.Is(err, innkeeper.ErrNotFound) {
		return hint(fmt.Errorf("there is no webhook %q", id), "innkeeper webhook list shows all of them")
	}
	return err
}

type webhookRotateCommand struct {
	ID      string        `arg:"" help:"id of the webhook"`
	Overlap time.Duration `env:"-" default:"24h" help:"how long the secret before signs too, up to 30 days; 0 for one that was stolen"`
}

// rotatedSecret is a new secret.
type rotatedSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// Run replaces the secret of a webhook.
func (c *webhookRotateCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	overlap := c.Overlap
	if overlap <= 0 {
		overlap = -1 // none: there zero is the default
	}
	return parent.at(ctx, func(o *office) error {
		id, err := webhookID(c.ID)
		if err != nil {
			return noWebhook(err, c.ID)
		}
		secret, err := o.RotateWebhookSecret(ctx, id, overlap, innkeeper.ActorOperator)
		if err != nil {
			return noWebhook(err, c.ID)
		}
		return parent.Admin.Output.print(std.out, rotatedSecret{ID: c.ID, Secret: secret.Reveal()}, func(w io.Writer) {
			fmt.Fprintf(w, "secret: %s\nnext: give the secret to the receiver; it is not shown again\n", secret.Reveal())
			if overlap > 0 {
				fmt.Fprintf(w, "the one before signs too until %s\n", clock(time.Now().Add(overlap)))
			}
		})
	})
}

type webhookDeliveriesCommand struct {
	ID   string `arg:"" help:"id of the webhook"`
	Dead bool   `env:"-" help:"only what was given up"`
}

// deliveryObject has the members of that in package httpapi.
type deliveryObject struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	EventAt   time.Time       `json:"event_at"`
	State     string          `json:"state"`
	Attempts  int             `json:"attempts"`
	NextAt    time.Time       `json:"next_at"`
	TriedAt   time.Time       `json:"tried_at"`
	LastError string          `json:"last_error"`
	Body      json.RawMessage `json:"body"`
}

// Run lists deliveries.
func (c *webhookDeliveriesCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	state := innkeeper.WebhookDeliveryState("")
	if c.Dead {
		state = innkeeper.WebhookDead
	}
	return parent.at(ctx, func(o *office) error {
		id, err := webhookID(c.ID)
		if err != nil {
			return noWebhook(err, c.ID)
		}
		all := []deliveryObject{}
		for after := (*innkeeper.WebhookDelivery)(nil); ; {
			page, err := o.Deliveries(ctx, id, state, after)
			if err != nil {
				return noWebhook(err, c.ID)
			}
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				all = append(all, deliveryObject{
					ID: d.ID, Kind: string(d.Kind), EventAt: d.EventAt, State: string(d.State), Attempts: d.Attempts,
					NextAt: d.NextAt, TriedAt: d.TriedAt, LastError: d.LastError, Body: d.Body,
				})
			}
			after = &page[len(page)-1]
		}
		return parent.Admin.Output.print(std.out, all, func(w io.Writer) { writeDeliveries(w, all) })
	})
}

func writeDeliveries(w io.Writer, deliveries []deliveryObject) {
	writeRow(w, "ID", "KIND", "HAPPENED", "STATE", "ATTEMPTS", "TRIED", "NEXT", "ERROR")
	for _, d := range deliveries {
		next := clock(d.NextAt)
		if d.State == string(innkeeper.WebhookDead) {
			next = ""
		}
		writeRow(w, d.ID, d.Kind, clock(d.EventAt), d.State, fmt.Sprint(d.Attempts), clock(d.TriedAt), next, d.LastError)
	}
}

type webhookRetryCommand struct {
	ID       string `arg:"" help:"id of the webhook"`
	Delivery string `arg:"" optional:"" help:"id of one delivery; all that were given up, if it is left out"`
}

// retriedObject says how many deliveries are tried again.
type retriedObject struct {
	Retried int `json:"retried"`
}

// Run has deliveries tried again.
func (c *webhookRetryCommand) Run(ctx context.Context, std *stdio, parent *webhookCommand) error {
	return parent.at(ctx, func(o *office) error {
		id, err := webhookID(c.ID)
		if err != nil {
			return noWebhook(err, c.ID)
		}
		n, err := o.RetryDeliveries(ctx, id, c.Delivery, innkeeper.ActorOperator)
		if errors.Is(err, innkeeper.ErrNotFound) && c.Delivery != "" {
			return hint(fmt.Errorf("there is no delivery %q to webhook %q", c.Delivery, c.ID), "innkeeper webhook deliveries %s shows all of them", c.ID)
		}
		if err != nil {
			return noWebhook(err, c.ID)
		}
		return parent.Admin.Output.print(std.out, retriedObject{Retried: n}, func(w io.Writer) {
			fmt.Fprintf(w, "%d deliveries are tried again, by the next server that looks\n", n)
		})
	})
}
