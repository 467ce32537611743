package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/innkeeper-auth/innkeeper"
)

type sessionCommand struct {
	Admin adminFlags `embed:""`

	List sessionListCommand `cmd:"" help:"list the live sessions of a user"`
	End  sessionEndCommand  `cmd:"" help:"end one session, all of a user, or all"`
}

type sessionListCommand struct {
	User string `arg:"" help:"username or id"`
}

// Run lists sessions.
func (c *sessionListCommand) Run(ctx context.Context, std *stdio, parent *sessionCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	user, err := o.find(ctx, c.User)
	if err != nil {
		return err
	}
	all := []sessionObject{}
	for after := (innkeeper.SessionID{}); ; {
		page, err := o.Sessions(ctx, user.ID, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			all = append(all, sessionOf(&page[i]))
		}
		after = page[len(page)-1].ID
	}
	return parent.Admin.Output.print(std.out, all, func(w io.Writer) { writeSessions(w, all) })
}

type sessionEndCommand struct {
	ID     string `arg:"" optional:"" help:"id of the session to end"`
	User   string `env:"-" placeholder:"USER" help:"end every session of this user, by name or id"`
	All    bool   `env:"-" help:"end every session of everybody"`
	Reason string `env:"-" enum:"admin,restored" default:"admin" help:"reason that clients are told, admin or restored"`
}

// Help is shown above the flags.
func (*sessionEndCommand) Help() string {
	return `After a database was restored from a backup, run "innkeeper session end --all --reason restored" before serving: refresh tokens that were handed out since the backup are unknown to it.`
}

// Validate implements kong's check.
func (c *sessionEndCommand) Validate() error {
	chosen := 0
	for _, is := range []bool{c.ID != "", c.User != "", c.All} {
		if is {
			chosen++
		}
	}
	if chosen != 1 {
		return usage(errors.New("say which sessions to end"), "give the id of one, or --user NAME, or --all")
	}
	return nil
}

// endedObject says what was ended. Members without a meaning are left out.
type endedObject struct {
	SessionID string `json:"session_id,omitempty"`
	UserID    string `json:"user_id,omitempty"`
	Users     int    `json:"users,omitempty"` // whose sessions were all ended
	Reason    string `json:"reason"`
}

// Run ends sessions.
func (c *sessionEndCommand) Run(ctx context.Context, std *stdio, parent *sessionCommand) (err error) {
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	ended := endedObject{Reason: c.Reason}
	var done string
	switch reason := innkeeper.Reason(c.Reason); {
	case c.All:
		ended.Users, err = o.EndAllSessions(ctx, reason, innkeeper.ActorOperator)
		done = fmt.Sprintf("ended every session of %d users\n", ended.Users)
	case c.User != "":
		ended.UserID, err = o.endSessionsOf(ctx, c.User, reason)
		done = fmt.Sprintf("ended every session of %s\n", c.User)
	default:
		ended.SessionID = c.ID
		err = o.endSession(ctx, ended.SessionID, reason)
		done = fmt.Sprintf("ended session %s\n", ended.SessionID)
	}
	if err != nil {
		return err
	}
	return parent.Admin.Output.print(std.out, ended, func(w io.Writer) { fmt.Fprint(w, done) })
}

func (o *office) endSessionsOf(ctx context.Context, nameOrID string, reason innkeeper.Reason) (string, error) {
	user, err := o.find(ctx, nameOrID)
	if err != nil {
		return "", err
	}
	return user.ID.String(), o.EndUserSessions(ctx, user.ID, reason, innkeeper.ActorOperator)
}

func (o *office) endSession(ctx context.Context, text string, reason innkeeper.Reason) error {
	id, err := innkeeper.ParseSessionID(text)
	if err == nil {
		err = o.EndSession(ctx, id, reason, innkeeper.ActorOperator)
	}
	if errors.Is(err, innkeeper.ErrNotFound) {
		return hint(fmt.Errorf("there is no session %q", text), "innkeeper session list USER shows those of a user")
	}
	return err
}
