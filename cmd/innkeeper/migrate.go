package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/innkeeper-auth/innkeeper/store/postgres"
)

type migrateCommand struct {
	Place  placeFlags  `embed:""`
	Output outputFlags `embed:""`
}

// Help is shown above the flags.
func (*migrateCommand) Help() string {
	return `"innkeeper serve" does this by itself when it starts. Run it before, as a role that may create tables, if the servers' own role may not. It is safe beside running servers, and needs no root key.`
}

// migrateObject says what was brought where.
type migrateObject struct {
	Database string `json:"database"`
	From     *int64 `json:"from,omitempty"` // absent for SQLite, which does not tell
	To       *int64 `json:"to,omitempty"`
}

// Run migrates.
func (c *migrateCommand) Run(ctx context.Context, std *stdio) error {
	here := c.Place.place()
	if err := here.check(hereFlags); err != nil {
		return err
	}
	done := migrateObject{Database: here.String()}
	if here.sqlite() {
		if err := migrateFile(ctx, here); err != nil {
			return err
		}
		return c.Output.print(std.out, done, func(w io.Writer) { fmt.Fprintf(w, "the schema of %s is up to date\n", here) })
	}
	from, to, err := postgres.Migrate(ctx, postgres.Config{URL: string(here.database)})
	if err != nil {
		return err
	}
	done.From, done.To = &from, &to
	return c.Output.print(std.out, done, func(w io.Writer) {
		if from == to {
			fmt.Fprintf(w, "the schema of %s is up to date: version %d\n", here, to)
			return
		}
		fmt.Fprintf(w, "brought the schema of %s from version %d to %d\n", here, from, to)
	})
}

// migrateFile opens a SQLite database, which migrates it. A file that does not
// exist is not made: who migrates has one.
func migrateFile(ctx context.Context, here place) error {
	if !here.exists() {
		return here.missing()
	}
	here.sessions = ""
	s, err := here.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.close()
}
