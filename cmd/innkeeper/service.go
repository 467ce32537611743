package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
)

type serviceCommand struct {
	Admin adminFlags `embed:""`

	Add    serviceAddCommand    `cmd:"" help:"make a credential for a service, and print its secret"`
	List   serviceListCommand   `cmd:"" help:"list all credentials, their scopes and when they were last used"`
	Remove serviceRemoveCommand `cmd:"" help:"revoke one credential, or all of a service"`
}

type serviceAddCommand struct {
	Name   string   `arg:"" help:"name of the service: its client_id"`
	Scopes []string `name:"scope" env:"-" enum:"admin,events:read,introspect,sessions:create,sessions:end,users:read" placeholder:"SCOPE" help:"what it may do: admin (everything), events:read, introspect, sessions:create, sessions:end or users:read; may repeat"`
}

// Help is shown above the flags.
func (*serviceAddCommand) Help() string {
	return `The secret is shown this once and kept nowhere. To replace one, add a second credential of the same name, give its secret to the service, and remove the first one by its id once "innkeeper service list" shows that nobody uses it any more.`
}

// Run makes a credential.
func (c *serviceAddCommand) Run(ctx context.Context, std *stdio, parent *serviceCommand) (err error) {
	o, err := parent.Admin.openOrCreate(ctx, std, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	scopes := make([]innkeeper.ServiceScope, len(c.Scopes))
	for i, scope := range c.Scopes {
		scopes[i] = innkeeper.ServiceScope(scope)
	}
	service, secret, err := o.AddService(ctx, c.Name, scopes, innkeeper.ActorOperator)
	if err != nil {
		return err
	}
	added := serviceOf(service)
	added.Secret = secret.Reveal()
	return parent.Admin.Output.print(std.out, added, func(w io.Writer) {
		scopes := "without scopes: it may say who it is, and nothing else"
		if len(added.Scopes) > 0 {
			scopes = "with the scopes " + strings.Join(added.Scopes, " ")
		}
		fmt.Fprintf(w, "added the credential %s of %s, %s\n", added.ID, added.Name, scopes)
		fmt.Fprintf(w, "its secret, which is not shown again:\n%s\n", added.Secret)
	})
}

type serviceListCommand struct{}

// Run lists credentials.
func (*serviceListCommand) Run(ctx context.Context, std *stdio, parent *serviceCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	services, err := o.Services(ctx)
	if err != nil {
		return err
	}
	all := make([]serviceObject, len(services))
	for i := range services {
		all[i] = serviceOf(&services[i])
	}
	return parent.Admin.Output.print(std.out, all, func(w io.Writer) { writeServices(w, all) })
}

type serviceRemoveCommand struct {
	Service string `arg:"" help:"id of one credential, or the name of a service to remove all that it has"`
}

// Run revokes credentials.
func (c *serviceRemoveCommand) Run(ctx context.Context, std *stdio, parent *serviceCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	removed, err := o.removeServices(ctx, c.Service)
	if err != nil {
		return err
	}
	return parent.Admin.Output.print(std.out, removed, func(w io.Writer) {
		for _, service := range removed {
			fmt.Fprintf(w, "removed the credential %s of %s: it is refused from now on\n", service.ID, service.Name)
		}
	})
}

// removeServices removes the credential of an ID, or all of a name. No name is the
// ID of somebody else's credential: an ID has 22 characters of base64url, drawn at
// random.
func (o *office) removeServices(ctx context.Context, nameOrID string) ([]serviceObject, error) {
	services, err := o.Services(ctx)
	if err != nil {
		return nil, err
	}
	var removed []serviceObject
	for i := range services {
		service := &services[i]
		if service.Name != nameOrID && service.ID.String() != nameOrID {
			continue
		}
		err := o.RemoveService(ctx, service.ID, innkeeper.ActorOperator)
		if err != nil && !errors.Is(err, innkeeper.ErrNotFound) { // removed meanwhile
			return removed, err
		}
		removed = append(removed, serviceOf(service))
	}
	if len(removed) == 0 {
		return nil, hint(fmt.Errorf("there is no service %q", nameOrID), "innkeeper service list shows all of them")
	}
	return removed, nil
}
