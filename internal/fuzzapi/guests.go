package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// The passwords of all users. They must not come back in any answer.
var passwords = []string{"fuzzy-canary staple one", "fuzzy-canary battery two", "fuzzy-canary horse three"}

// people are users who are always there.
var people = []string{"root", "ada", "bob", "eve", "joe"}

// furnish sees to it that there is one of everything, and puts it into the bag. It is
// called again and again, because guests delete themselves, each other, and the keys.
func (i *inn) furnish(ctx context.Context, d dice, b bag) error {
	b.forget(8)
	for _, role := range []innkeeper.Role{{Name: "guest", Permissions: []string{"mail:read"}}, {Name: "clerk", Permissions: []string{"mail:read", "mail:send"}}} {
		if err := i.authority.SetRole(ctx, role, innkeeper.ActorOperator); err != nil {
			return err
		}
		b.put(d, "role", role.Name)
		b.put(d, "permission", role.Permissions[0])
	}
	for _, name := range people {
		if err := i.invite(ctx, d, b, name); err != nil {
			return fmt.Errorf("invite %s: %w", name, err)
		}
	}
	if err := i.hire(ctx, d, b); err != nil {
		return err
	}
	keys, err := i.authority.SigningKeys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		b.put(d, "key", key.KeyID)
	}
	return i.hook(ctx, d, b)
}

// invite lets a user sign in, whatever has become of them.
func (i *inn) invite(ctx context.Context, d dice, b bag, name string) error {
	user, err := i.authority.UserByUsername(ctx, name)
	if errors.Is(err, innkeeper.ErrNotFound) {
		user, err = i.authority.CreateUser(ctx, innkeeper.NewUser{Username: name, Password: passwords[0]}, innkeeper.ActorOperator)
	}
	if err != nil {
		return err
	}
	roles, enabled := []string{"guest"}, false
	if name == "root" {
		roles = []string{innkeeper.RoleAdmin}
	}
	if _, err := i.authority.UpdateUser(ctx, user.ID, innkeeper.UserUpdate{Roles: &roles, Disabled: &enabled}, innkeeper.ActorOperator); err != nil {
		return err
	}
	b.put(d, "user", user.ID.String())
	b.put(d, "username", name)
	if d.percent(20) { // somebody may have changed it
		if err := i.authority.SetPassword(ctx, user.ID, passwords[0], innkeeper.ActorOperator); err != nil {
			return err
		}
	}
	// Without a password: too many may have been tried.
	for _, delivery := range []innkeeper.Delivery{innkeeper.DeliverByBody, innkeeper.DeliverByCookie, innkeeper.DeliverByBody} {
		grant, err := i.authority.OpenSession(ctx, innkeeper.OpenSessionRequest{
			UserID: user.ID, Methods: []string{"pwd"}, Delivery: delivery, AllowAdmin: true,
		}, innkeeper.ActorOperator)
		if err != nil {
			return err
		}
		b.put(d, "session", grant.Session.ID.String())
		b.put(d, "refresh:"+string(delivery), grant.RefreshToken.Reveal())
		b.put(d, "access", grant.AccessToken)
		if name == "root" {
			b["access:admin"] = []string{grant.AccessToken}
		}
	}
	return nil
}

// hire gives every scope a service.
func (i *inn) hire(ctx context.Context, d dice, b bag) error {
	for _, scope := range innkeeper.ServiceScopes() {
		service, secret, err := i.authority.AddService(ctx, "service", []innkeeper.ServiceScope{scope}, innkeeper.ActorOperator)
		if err != nil {
			return err
		}
		b.put(d, "service", service.ID.String())
		b.put(d, "secret", secret.Reveal())
		b["secret:"+string(scope)] = []string{secret.Reveal()}
	}
	return nil
}

// hook adds a webhook that has failed to take one event and been given up for another.
func (i *inn) hook(ctx context.Context, d dice, b bag) error {
	hooks, err := i.authority.Webhooks(ctx)
	if err != nil || len(hooks) > 5 {
		return err
	}
	hook, _, err := i.authority.AddWebhook(ctx, "https://hooks.example/"+url.PathEscape(fmt.Sprint(d.Uint32())), nil, innkeeper.ActorOperator)
	if err != nil {
		return err
	}
	b.put(d, "webhook", hook.ID.String())
	now := time.UnixMicro(i.now.Load()).UTC()
	claimed, err := i.stores.Webhooks.ClaimWebhook(ctx, innkeeper.WebhookClaim{ID: hook.ID, Owner: "fuzz", At: now, Until: now.Add(time.Hour)})
	if err != nil {
		return err
	}
	for _, state := range []innkeeper.WebhookDeliveryState{innkeeper.WebhookPending, innkeeper.WebhookDead} {
		delivery := innkeeper.WebhookDelivery{
			ID: fmt.Sprintf("msg_%s_%s", hook.ID, state), WebhookID: hook.ID, Kind: innkeeper.EventUserCreated, EventAt: now,
			Body: []byte(`{"type":"user.created"}`), State: state, Attempts: 3, NextAt: now, TriedAt: now, LastError: "answered 500",
		}
		if err := i.stores.Webhooks.AdvanceWebhook(ctx, innkeeper.WebhookProgress{
			ID: hook.ID, Owner: "fuzz", State: claimed.WebhookState, Put: &delivery,
		}); err != nil {
			return err
		}
		b.put(d, "delivery", delivery.ID)
	}
	return nil
}
