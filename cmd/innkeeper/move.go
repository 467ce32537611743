package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper/internal/transfer"
)

type moveCommand struct {
	From       placeFlags  `embed:""`
	ToData     string      `type:"path" placeholder:"DIR" help:"directory of a new SQLite database to copy to"`
	ToDatabase storeURL    `placeholder:"URL" help:"postgres://… to copy to; without it and --to-data, only sessions move; with a password, set INNKEEPER_TO_DATABASE instead"`
	ToSessions storeURL    `placeholder:"URL" help:"redis://… or rediss://… to copy sessions to; without it, they go into the database; with a password, set INNKEEPER_TO_SESSIONS instead"`
	Output     outputFlags `embed:""`
}

// Help is shown above the flags.
func (*moveCommand) Help() string {
	return `Stop every server first: what they write while this runs would be lost. Then say where everything is (--data, --database, --sessions) and where it is to go (--to-…), and start the servers there, with the same root key. Nobody is signed out.

The source stays as it was, but for sessions that move away from users who stay: those are deleted there, once they have been copied and compared. The target has to be empty. A copy that did not get to its end is served by no server, and is not continued: empty the target, and run this again.`
}

// Validate implements kong's check.
func (c *moveCommand) Validate() error {
	from, to := c.From.place(), c.target()
	if err := errors.Join(from.check(hereFlags), to.check(thereFlags)); err != nil {
		return err
	}
	switch {
	case c.ToData != "" && c.ToDatabase != "":
		return usage(errors.New("--to-data and --to-database name two targets"), "give one of them")
	case from.sameDatabase(to) && from.sessions == to.sessions:
		return usage(errors.New("everything is there already"), "say where it is to go with --to-database, --to-data or --to-sessions")
	}
	return nil
}

// target is where everything is to be. What is not named stays in its database.
func (c *moveCommand) target() place {
	to := place{dir: c.ToData, database: c.ToDatabase, sessions: c.ToSessions}
	if c.ToData == "" && c.ToDatabase == "" {
		to.dir, to.database = c.From.Data, c.From.Database
	}
	return to
}

func (p place) sameDatabase(other place) bool {
	return p.database == other.database && (!p.sqlite() || p.file() == other.file())
}

// move is a copy from one place to another.
type move struct {
	from, to place
	scope    transfer.Scope
}

func (c *moveCommand) move() move {
	m := move{from: c.From.place(), to: c.target(), scope: transfer.Everything}
	switch {
	case m.from.sameDatabase(m.to):
		m.scope = transfer.OnlySessions
	case m.from.sessions != "" && m.from.sessions == m.to.sessions:
		m.scope = transfer.AllButSessions
	}
	return m
}

// Run copies.
func (c *moveCommand) Run(ctx context.Context, std *stdio) error {
	m := c.move()
	if !m.from.exists() {
		return m.from.missing()
	}
	counts, cleared, err := m.run(ctx, std.err)
	if err != nil {
		return err
	}
	done := movedObject{
		From: placeOf(c.From.place()), To: placeOf(c.target()),
		Users: counts.Users, Sessions: counts.Sessions, Roles: counts.Roles, Services: counts.Services, SigningKeys: counts.SigningKeys,
		Revocations: counts.Revocations, Events: counts.Events, Webhooks: counts.Webhooks, Cleared: cleared,
	}
	return c.Output.print(std.out, done, func(w io.Writer) { m.write(w, done) })
}

// movedObject says what was copied.
type movedObject struct {
	From        placeObject `json:"from"`
	To          placeObject `json:"to"`
	Users       int64       `json:"users"`
	Sessions    int64       `json:"sessions"`
	Roles       int64       `json:"roles"`
	Services    int64       `json:"services"`
	SigningKeys int64       `json:"signing_keys"`
	Revocations int64       `json:"revocations"`
	Events      int64       `json:"events"`
	Webhooks    int64       `json:"webhooks"`
	Cleared     int         `json:"cleared"` // sessions deleted at the source, ended ones too
}

type placeObject struct {
	Database string `json:"database"`
	Sessions string `json:"sessions"`
}

func placeOf(p place) placeObject {
	return placeObject{Database: p.String(), Sessions: p.sessionsString()}
}

func (m move) write(w io.Writer, done movedObject) {
	if m.scope == transfer.OnlySessions {
		fmt.Fprintf(w, "copied %d sessions of %d users from %s to %s, and compared them\n",
			done.Sessions, done.Users, done.From.Sessions, done.To.Sessions)
	} else {
		fmt.Fprintf(w, "copied %d users, %d sessions, %d roles, %d service credentials, %d signing keys, %d revocations, %d events and %d webhooks from %s to %s, and compared them\n",
			done.Users, done.Sessions, done.Roles, done.Services, done.SigningKeys, done.Revocations, done.Events, done.Webhooks, done.From.Database, done.To.Database)
	}
	if done.Cleared > 0 {
		fmt.Fprintf(w, "deleted %d sessions in %s: left there, they would come back to life at an old state\n", done.Cleared, done.From.Sessions)
	}
	fmt.Fprintf(w, "next: start the servers with %s and the root key that they have\n", m.to.flags())
	if m.scope == transfer.OnlySessions && m.from.sessions != "" {
		fmt.Fprintf(w, "and empty %s before you keep sessions there again\n", m.from.sessions)
	}
}

// flags are what a server of this place is started with.
func (p place) flags() string {
	flags := "--data " + p.dir
	if !p.sqlite() {
		flags = "--database " + p.database.String()
	}
	if p.sessions != "" {
		flags += " --sessions " + p.sessions.String()
	}
	return flags
}

// run opens both places and copies. It returns how many sessions it has cleared.
func (m move) run(ctx context.Context, progress *os.File) (counts transfer.Counts, cleared int, err error) {
	if m.scope == transfer.AllButSessions {
		m.from.sessions, m.to.sessions = "", "" // nothing has to be asked of them
	}
	log := slog.New(slog.DiscardHandler)
	from, err := m.from.open(ctx, log)
	if err != nil {
		return counts, 0, err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	to, err := m.to.open(ctx, log)
	if err != nil {
		return counts, 0, err
	}
	defer func() { err = errors.Join(err, to.close()) }()

	t := transfer.New(transfer.Config{From: from.stores, To: to.stores, Scope: m.scope, Clock: time.Now})
	stop := showProgress(progress, t)
	err = t.Run(ctx)
	stop()
	if err != nil {
		return counts, 0, m.explain(err)
	}
	if m.scope == transfer.OnlySessions && m.from.sessions == "" {
		cleared, err = transfer.ClearSessions(ctx, from.database.Sessions)
		if err != nil { // not to be tried again: what is gone here is there only
			err = hint(fmt.Errorf("all sessions are in %s, and some are left behind: %w", m.to.sessions, err),
				`run "delete from session" in %s, and start the servers with %s`, m.from, m.to.flags())
		}
	}
	return t.Counts(), cleared, err
}

// showProgress tells a person, every second, how far the copy has come. It tells a
// program nothing.
func showProgress(w *os.File, t *transfer.Transfer) (stop func()) {
	if !term.IsTerminal(int(w.Fd())) {
		return func() {}
	}
	const clearLine = "\r\x1b[K"
	quit, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				fmt.Fprint(w, clearLine)
				return
			case <-ticker.C:
			}
			n := t.Counts()
			fmt.Fprintf(w, clearLine+"copied %d users, %d sessions, %d events; compared %d users", n.Users, n.Sessions, n.Events, n.Compared)
		}
	}()
	return func() {
		close(quit)
		<-over
	}
}

// explain adds what to do about a copy that did not get to its end.
func (m move) explain(err error) error {
	switch {
	case errors.Is(err, transfer.ErrNothing), errors.Is(err, transfer.ErrSourceUnfinished):
		return hint(err, "--data, --database and --sessions say where the servers have kept everything until now")
	case errors.Is(err, transfer.ErrNotEmpty):
		return hint(err, "name a target that nobody has used, or, if nothing in it counts, %s", m.emptying())
	case errors.Is(err, transfer.ErrDiffers):
		return hint(err, "stop every server of both sides, %s, and run this again; the source is as it was", m.emptying())
	}
	return hint(err, "%s, and run this again; the source is as it was", m.emptying())
}

// emptying says how the target is emptied.
func (m move) emptying() string {
	redis := fmt.Sprintf("delete the keys innkeeper:* in %s", m.to.sessions)
	database := fmt.Sprintf("drop and create the database %s", m.to.database)
	if m.to.sqlite() {
		database = fmt.Sprintf("delete %s*", m.to.file())
	}
	switch {
	case m.scope == transfer.OnlySessions && m.to.sessions == "":
		return fmt.Sprintf(`run "delete from session" in %s`, m.to)
	case m.scope == transfer.OnlySessions:
		return redis
	case m.scope == transfer.Everything && m.to.sessions != "":
		return database + ", " + redis
	}
	return database
}

// refuseUnfinished keeps a copy that did not get to its end from being served.
func (d *data) refuseUnfinished(ctx context.Context, here place) error {
	checks, err := d.stores.RootKeys.RootKeyChecks(ctx)
	if err != nil {
		return fmt.Errorf("read root key checks: %w", err)
	}
	if transfer.Unfinished(checks) {
		return hint(fmt.Errorf("%s holds an unfinished copy", here), `empty it, and run "innkeeper move" again, or go on with what was to be moved`)
	}
	return nil
}
