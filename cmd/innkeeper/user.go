package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/innkeeper-auth/innkeeper"
)

type userCommand struct {
	Admin adminFlags `embed:""`

	Add      userAddCommand      `cmd:"" help:"create a user"`
	Import   userImportCommand   `cmd:"" help:"take over users and password hashes of another program"`
	List     userListCommand     `cmd:"" help:"list all users"`
	Roles    userRolesCommand    `cmd:"" help:"show the roles of a user, or replace them"`
	Password userPasswordCommand `cmd:"" help:"set a password, which ends every session of the user"`
	Disable  userDisableCommand  `cmd:"" help:"keep a user from signing in, and end every session"`
	Enable   userEnableCommand   `cmd:"" help:"let a disabled user sign in again"`
	Delete   userDeleteCommand   `cmd:"" help:"delete a user for good, and end every session"`
}

type userAddCommand struct {
	Name        string        `arg:"" help:"username; case does not matter"`
	Email       string        `env:"-" placeholder:"ADDRESS" help:"email address"`
	Role        []string      `env:"-" placeholder:"ROLE" help:"role to give; may repeat"`
	NewPassword newPassword   `embed:""`
	Passwords   passwordFlags `embed:""`
}

// Help is shown above the flags.
func (*userAddCommand) Help() string {
	return `The password is asked for at the terminal, or read with --password-stdin; it is never an argument, which everyone on the machine can see. Beside an empty --data this creates the database and the root key, as "innkeeper serve" would.`
}

// Validate implements kong's check.
func (c *userAddCommand) Validate() error { return c.Passwords.check() }

// Run creates a user.
func (c *userAddCommand) Run(ctx context.Context, std *stdio, parent *userCommand) (err error) {
	plain, err := c.NewPassword.read(ctx, std)
	if err != nil {
		return err
	}
	o, err := parent.Admin.openOrCreate(ctx, std, c.Passwords)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	user, err := o.CreateUser(ctx, innkeeper.NewUser{
		Username: c.Name, Password: plain, Email: c.Email, Roles: c.Role,
	}, innkeeper.ActorOperator)
	if err != nil {
		return err
	}
	return parent.printUser(std, user, "created user %s\n", user.Username)
}

type userListCommand struct{}

// Run lists users.
func (*userListCommand) Run(ctx context.Context, std *stdio, parent *userCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	all := []userObject{}
	for after := ""; ; {
		page, err := o.Users(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			all = append(all, userOf(&page[i]))
		}
		after = page[len(page)-1].Username
	}
	return parent.Admin.Output.print(std.out, all, func(w io.Writer) { writeUsers(w, all) })
}

type userRolesCommand struct {
	User  string   `arg:"" help:"username or id"`
	Roles []string `arg:"" optional:"" name:"role" help:"roles that the user shall have; without any, shows those that they have"`
	None  bool     `env:"-" help:"take all roles away"`
}

// Validate implements kong's check.
func (c *userRolesCommand) Validate() error {
	if c.None && len(c.Roles) > 0 {
		return usage(errors.New("--none and roles contradict each other"), "give one or the other")
	}
	return nil
}

// Run shows or replaces roles.
func (c *userRolesCommand) Run(ctx context.Context, std *stdio, parent *userCommand) error {
	return parent.onUser(ctx, c.User, passwordFlags{}, func(o *office, user *innkeeper.User) (err error) {
		if c.None || len(c.Roles) > 0 {
			before := user.Roles
			user, err = o.UpdateUser(ctx, user.ID, innkeeper.UserUpdate{Roles: &c.Roles}, innkeeper.ActorOperator)
			if err != nil {
				return err
			}
			if slices.Contains(user.Roles, innkeeper.RoleAdmin) && !slices.Contains(before, innkeeper.RoleAdmin) {
				fmt.Fprintf(std.err, "innkeeper: every session of %s has ended\nhint: administrators sign in anew\n", user.Username)
			}
		}
		object := userOf(user)
		return parent.Admin.Output.print(std.out, object, func(w io.Writer) {
			for _, role := range object.Roles {
				fmt.Fprintln(w, role)
			}
		})
	})
}

type userPasswordCommand struct {
	User        string        `arg:"" help:"username or id"`
	NewPassword newPassword   `embed:""`
	Passwords   passwordFlags `embed:""`
}

// Validate implements kong's check.
func (c *userPasswordCommand) Validate() error { return c.Passwords.check() }

// Run sets a password.
func (c *userPasswordCommand) Run(ctx context.Context, std *stdio, parent *userCommand) error {
	return parent.onUser(ctx, c.User, c.Passwords, func(o *office, user *innkeeper.User) error {
		plain, err := c.NewPassword.read(ctx, std)
		if err != nil {
			return err
		}
		if err := o.SetPassword(ctx, user.ID, plain, innkeeper.ActorOperator); err != nil {
			return err
		}
		user, err = o.User(ctx, user.ID)
		if err != nil {
			return err
		}
		return parent.printUser(std, user, "set the password of %s and ended every session\n", user.Username)
	})
}

type userDisableCommand struct {
	User string `arg:"" help:"username or id"`
}

// Run disables a user.
func (c *userDisableCommand) Run(ctx context.Context, std *stdio, parent *userCommand) error {
	return parent.setDisabled(ctx, std, c.User, true, "disabled %s and ended every session\n")
}

type userEnableCommand struct {
	User string `arg:"" help:"username or id"`
}

// Run enables a user.
func (c *userEnableCommand) Run(ctx context.Context, std *stdio, parent *userCommand) error {
	return parent.setDisabled(ctx, std, c.User, false, "enabled %s\n")
}

func (c *userCommand) setDisabled(ctx context.Context, std *stdio, nameOrID string, disabled bool, done string) error {
	return c.onUser(ctx, nameOrID, passwordFlags{}, func(o *office, user *innkeeper.User) error {
		user, err := o.UpdateUser(ctx, user.ID, innkeeper.UserUpdate{Disabled: &disabled}, innkeeper.ActorOperator)
		if err != nil {
			return err
		}
		return c.printUser(std, user, done, user.Username)
	})
}

type userDeleteCommand struct {
	User string `arg:"" help:"username or id"`
}

// Run deletes a user.
func (c *userDeleteCommand) Run(ctx context.Context, std *stdio, parent *userCommand) error {
	return parent.onUser(ctx, c.User, passwordFlags{}, func(o *office, user *innkeeper.User) error {
		if err := o.DeleteUser(ctx, user.ID, innkeeper.ActorOperator); err != nil {
			return err
		}
		return parent.printUser(std, user, "deleted %s and ended every session\n", user.Username)
	})
}

// onUser does something with one user.
func (c *userCommand) onUser(ctx context.Context, nameOrID string, passwords passwordFlags, do func(*office, *innkeeper.User) error) (err error) {
	o, err := c.Admin.open(ctx, passwords)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	user, err := o.find(ctx, nameOrID)
	if err != nil {
		return err
	}
	return do(o, user)
}

// printUser prints a user as JSON, or in a sentence what has been done.
func (c *userCommand) printUser(std *stdio, user *innkeeper.User, done string, args ...any) error {
	return c.Admin.Output.print(std.out, userOf(user), func(w io.Writer) { fmt.Fprintf(w, done, args...) })
}
