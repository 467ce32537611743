package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// adminFlags are shared by the commands that manage what a server serves. They
// open the same database, and are safe beside it.
type adminFlags struct {
	Data   dataFlags   `embed:""`
	Issuer string      `placeholder:"URL" help:"issuer of the server; the one that last served the database by default"`
	Output outputFlags `embed:""`
}

// office is an authority that signs nobody in, on behalf of the operator.
type office struct {
	*innkeeper.Authority
	data *data
}

// open opens the database of a server.
func (f *adminFlags) open(ctx context.Context, passwords passwordFlags) (*office, error) {
	d, err := f.Data.openExisting(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return f.openOffice(ctx, d, passwords)
}

// openOrCreate opens the database of a server that may not have started yet.
func (f *adminFlags) openOrCreate(ctx context.Context, std *stdio, passwords passwordFlags) (*office, error) {
	d, err := f.Data.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if d.newRootKey != "" {
		fmt.Fprintf(std.err, "innkeeper: created %s with a new root key\nhint: keep a copy of %s, apart from backups of the database\n",
			f.Data.Place.Data, d.newRootKey)
	}
	return f.openOffice(ctx, d, passwords)
}

func (f *adminFlags) openOffice(ctx context.Context, d *data, passwords passwordFlags) (*office, error) {
	// Nothing is signed here, so that keys that do not open are no reason to stop.
	return f.openOfficeWith(ctx, d, passwords, memory.New().Stores().Keys)
}

func (f *adminFlags) openOfficeWith(ctx context.Context, d *data, passwords passwordFlags, keys keyring.Store) (*office, error) {
	stores := d.stores
	stores.Keys = keys
	issuer, err := f.issuer(ctx, stores.Issuer)
	if err != nil {
		_ = d.close() // the first error says more
		return nil, err
	}
	authority, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer:         issuer,
		Stores:         stores,
		RootKeys:       d.roots,
		Clock:          time.Now,
		Visiting:       true,
		Passwords:      passwords.hashing(),
		PasswordPolicy: passwords.policy(),
	})
	if err != nil {
		_ = d.close() // the first error says more
		return nil, err
	}
	return &office{Authority: authority, data: d}, nil
}

// issuer is the one that the server has: it goes into the revocation entries.
func (f *adminFlags) issuer(ctx context.Context, store innkeeper.IssuerStore) (string, error) {
	if f.Issuer != "" {
		return f.Issuer, nil
	}
	issuer, err := store.Issuer(ctx)
	if err != nil {
		return "", fmt.Errorf("recall issuer: %w", err)
	}
	if issuer == "" {
		return "http://localhost:8080", nil // no server has run, so nobody holds a token
	}
	return issuer, nil
}

func (o *office) close() error { return o.data.close() }

// find returns a user by ID or name. The ID comes first: it cannot be chosen, so
// nobody can sign up under the ID of somebody else and be taken for them.
func (o *office) find(ctx context.Context, nameOrID string) (*innkeeper.User, error) {
	id, err := innkeeper.ParseUserID(nameOrID)
	if err == nil {
		user, err := o.User(ctx, id)
		if !errors.Is(err, innkeeper.ErrNotFound) {
			return user, err
		}
	}
	user, err := o.UserByUsername(ctx, nameOrID)
	if errors.Is(err, innkeeper.ErrNotFound) {
		return nil, hint(fmt.Errorf("there is no user %q", nameOrID), "innkeeper user list shows all of them")
	}
	return user, err
}
