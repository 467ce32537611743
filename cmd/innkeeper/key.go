package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

type keyCommand struct {
	Admin adminFlags `embed:""`

	List   keyListCommand   `cmd:"" help:"list the signing keys and how far they have come"`
	Rotate keyRotateCommand `cmd:"" help:"let the next key sign now, and sign nobody out"`
	Retire keyRetireCommand `cmd:"" help:"take one key out of use, by the rules or in an emergency, or all of them"`
}

// openKeys opens the database of servers together with their signing keys.
func (f *adminFlags) openKeys(ctx context.Context) (*office, error) {
	d, err := f.Data.openExisting(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	keys, err := d.stores.Keys.SigningKeys(ctx)
	if err == nil && len(keys) == 0 {
		err = hint(errors.New("there are no signing keys yet"), `the first "innkeeper serve" makes them`)
	}
	if err != nil {
		_ = d.close() // the first error says more
		return nil, err
	}
	return f.openOfficeWith(ctx, d, passwordFlags{}, d.stores.Keys)
}

type keyListCommand struct{}

// Help is shown above the flags.
func (*keyListCommand) Help() string {
	return `A key is published, so that everybody who verifies tokens can fetch it; then it signs; then it retires, until the last token that it signed has expired; then it is removed. Servers do all of this by themselves.`
}

// Run lists keys.
func (*keyListCommand) Run(ctx context.Context, std *stdio, parent *keyCommand) (err error) {
	o, err := parent.Admin.openKeys(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	keys, err := o.keys(ctx)
	if err != nil {
		return err
	}
	return parent.Admin.Output.print(std.out, keys, func(w io.Writer) { writeKeys(w, keys) })
}

type keyRotateCommand struct{}

// Help is shown above the flags.
func (*keyRotateCommand) Help() string {
	return `Servers rotate by themselves, see --key-rotation-period of "innkeeper serve". By hand the next key has to have been published for 15 minutes, since others may keep the list of keys for 10. For a key that somebody has stolen use "innkeeper key retire KID --emergency", and if the database or the memory of a server has leaked, "innkeeper key retire --emergency --all".`
}

// Run rotates.
func (*keyRotateCommand) Run(ctx context.Context, std *stdio, parent *keyCommand) (err error) {
	o, err := parent.Admin.openKeys(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	change, err := o.RotateKeys(ctx, innkeeper.ActorOperator)
	if err != nil {
		return keyError(err, "")
	}
	keys, err := o.keys(ctx)
	if err != nil {
		return err
	}
	return parent.Admin.Output.print(std.out, keys, func(w io.Writer) { writeRotated(w, change, keys) })
}

type keyRetireCommand struct {
	KeyID     string `arg:"" optional:"" name:"kid" help:"id of the key, see innkeeper key list"`
	Emergency bool   `env:"-" help:"somebody has stolen it: refuse every token that it has signed, at once and for good"`
	All       bool   `env:"-" help:"with --emergency: every key, and sign with a new one"`
}

// Help is shown above the flags.
func (*keyRetireCommand) Help() string {
	return `The key that signs hands over to the next one, as "innkeeper key rotate" does; the next one is exchanged for another; one that retires is removed once its tokens have expired.

With --emergency nothing is waited for. Servers, and APIs that follow the feed of revocations, refuse its tokens within a second; other APIs do so when they fetch the list of keys again, within 10 minutes if they keep to what it says. Nobody is signed out: apps refresh. If the next key has been published for less than 15 minutes, APIs may refuse its tokens until they fetch the list again.

The next key lies in the database beside the one that signs, and servers hold both in memory. So if the database leaked together with the root key, or the memory of a server, use --emergency --all: every key goes, and a new one signs, whose tokens APIs may refuse until they fetch the list again. It can be repeated; should it fail, repeat it.

An id that begins with a hyphen is written after two hyphens: innkeeper key retire -- -abc.`
}

// Validate implements kong's check.
func (c *keyRetireCommand) Validate() error {
	switch {
	case c.All && !c.Emergency:
		return usage(errors.New("--all is for emergencies"), "say --emergency --all if every key may have leaked; innkeeper key rotate changes keys without harm")
	case c.All == (c.KeyID != ""):
		return usage(errors.New("say which key to retire"), "give the id of one, see innkeeper key list; or --emergency --all")
	}
	return nil
}

// Run retires a key.
func (c *keyRetireCommand) Run(ctx context.Context, std *stdio, parent *keyCommand) (err error) {
	o, err := parent.Admin.openKeys(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	change, err := c.retire(ctx, o)
	if err != nil {
		return keyError(err, c.KeyID)
	}
	keys, err := o.keys(ctx)
	if err != nil {
		return err
	}
	return parent.Admin.Output.print(std.out, keys, func(w io.Writer) {
		if c.Emergency {
			c.writeRevoked(w, keys)
		}
		writeRotated(w, change, keys)
	})
}

func (c *keyRetireCommand) retire(ctx context.Context, o *office) (keyring.Change, error) {
	switch {
	case c.All:
		return o.RevokeAllKeys(ctx, innkeeper.ActorOperator)
	case c.Emergency:
		return o.RevokeKey(ctx, c.KeyID, innkeeper.ActorOperator)
	}
	return o.RetireKey(ctx, c.KeyID, innkeeper.ActorOperator)
}

// writeRevoked says what an emergency has come to. A server that has read the feed may
// have moved the keys before us, so the key that signs is that of the list.
func (c *keyRetireCommand) writeRevoked(w io.Writer, keys []keyObject) {
	if c.All {
		fmt.Fprint(w, "revoked every key: servers refuse every token of before, and apps refresh\n")
	} else {
		fmt.Fprintf(w, "revoked %s: servers refuse every token that it has signed, and apps refresh\n", c.KeyID)
	}
	fmt.Fprint(w, "APIs that do not follow the feed of revocations do so when they fetch the list of keys again\n")
	if c.All {
		return
	}
	for _, key := range keys {
		if key.State == string(keyring.Active) {
			fmt.Fprintf(w, "%s signs now; if the database or the memory of a server has leaked, it has too: innkeeper key retire --emergency --all\n", key.KeyID)
		}
	}
}

// keyError says what to do instead.
func keyError(err error, keyID string) error {
	var early *keyring.TooEarlyError
	switch {
	case errors.As(err, &early):
		return hint(err, "try again in %s; if a key was stolen: innkeeper key retire KID --emergency", (early.Wait + time.Second - 1).Truncate(time.Second))
	case errors.Is(err, innkeeper.ErrNotFound):
		return hint(fmt.Errorf("there is no signing key %q", keyID), "innkeeper key list shows all of them")
	}
	return err
}

// keyObject has the members of that in package httpapi.
type keyObject struct {
	KeyID       string    `json:"kid"`
	State       string    `json:"state"`
	Algorithm   string    `json:"alg"`
	PublishedAt time.Time `json:"published_at,omitzero"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	RetiredAt   time.Time `json:"retired_at,omitzero"`
	RemovedAt   time.Time `json:"removed_at,omitzero"`
	NextAt      time.Time `json:"next_at,omitzero"`
}

func (o *office) keys(ctx context.Context) ([]keyObject, error) {
	records, err := o.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]keyObject, len(records))
	for i, rec := range records {
		keys[i] = keyObject{
			KeyID: rec.KeyID, State: string(rec.State), Algorithm: string(rec.Algorithm),
			PublishedAt: rec.PublishedAt, ActivatedAt: rec.ActivatedAt, RetiredAt: rec.RetiredAt, RemovedAt: rec.RemovedAt,
			NextAt: rec.NextAt(),
		}
	}
	return keys, nil
}

func writeKeys(w io.Writer, keys []keyObject) {
	writeRow(w, "KID", "STATE", "ALG", "PUBLISHED", "SIGNED FROM", "SIGNED UNTIL", "REMOVED", "NEXT")
	for _, key := range keys {
		next := ""
		switch keyring.State(key.State) {
		case keyring.Published:
			next = "may sign from " + clock(key.NextAt)
		case keyring.Retiring:
			next = "is removed after " + clock(key.NextAt)
		case keyring.Active, keyring.Removed:
		}
		writeRow(w, key.KeyID, key.State, key.Algorithm, clockOr(key.PublishedAt), clockOr(key.ActivatedAt),
			clockOr(key.RetiredAt), clockOr(key.RemovedAt), next)
	}
}

func clockOr(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return clock(t)
}

// writeRotated says what has happened and what comes next.
func writeRotated(w io.Writer, change keyring.Change, keys []keyObject) {
	if change.Activated != "" {
		fmt.Fprintf(w, "%s signs from now on; servers take it over within 10 seconds\n", change.Activated)
	}
	published := false
	for _, key := range keys {
		switch {
		case key.KeyID == change.Retired:
			fmt.Fprintf(w, "%s goes on to verify what it has signed, and is removed after %s\n", key.KeyID, clock(key.NextAt))
		case key.State == string(keyring.Published):
			published = true
		}
	}
	for _, keyID := range change.Removed {
		fmt.Fprintf(w, "%s is gone\n", keyID)
	}
	if !published {
		fmt.Fprint(w, "servers publish the key after it within 10 seconds, with their own --alg\n")
	}
}
