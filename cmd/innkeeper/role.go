package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/innkeeper-auth/innkeeper"
)

type roleCommand struct {
	Admin adminFlags `embed:""`

	Set  roleSetCommand  `cmd:"" help:"create a role, or replace its permissions"`
	List roleListCommand `cmd:"" help:"list all roles and their permissions"`
}

type roleSetCommand struct {
	Name        string   `arg:"" help:"name of the role"`
	Permissions []string `arg:"" optional:"" name:"permission" help:"permissions that the role shall give; without any, it gives none"`
}

// Run creates or changes a role.
func (c *roleSetCommand) Run(ctx context.Context, std *stdio, parent *roleCommand) (err error) {
	o, err := parent.Admin.openOrCreate(ctx, std, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	err = o.SetRole(ctx, innkeeper.Role{Name: c.Name, Permissions: c.Permissions}, innkeeper.ActorOperator)
	if err != nil {
		return err
	}
	roles, err := o.Roles(ctx)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if role.Name == c.Name {
			return parent.Admin.Output.print(std.out, roleOf(role), func(w io.Writer) {
				fmt.Fprintf(w, "set role %s; access tokens carry the change after their next refresh\n", role.Name)
			})
		}
	}
	return errors.New("somebody deleted the role at the same moment")
}

type roleListCommand struct{}

// Run lists roles.
func (*roleListCommand) Run(ctx context.Context, std *stdio, parent *roleCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	roles, err := o.Roles(ctx)
	if err != nil {
		return err
	}
	all := make([]roleObject, len(roles))
	for i, role := range roles {
		all[i] = roleOf(role)
	}
	return parent.Admin.Output.print(std.out, all, func(w io.Writer) { writeRoles(w, all) })
}
