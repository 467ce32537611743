package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/demo"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

type demoCommand struct {
	Listen   string      `default:"127.0.0.1:8080" help:"host and port to listen on, of this machine only"`
	LogLevel string      `enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error; text on a terminal, JSON otherwise"`
	Output   outputFlags `embed:""`
}

// Help is shown above the flags.
func (*demoCommand) Help() string {
	return `A real server with a sample user, a toy API and a page that shows how they play together. Its data is thrown away when it stops. The password of the sample user is public, so it listens on this machine only.`
}

// Validate implements kong's check.
func (c *demoCommand) Validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || !isLoopback(host) {
		return usage(fmt.Errorf("--listen %s: the demo is for this machine only", c.Listen), "give a port on it, like 127.0.0.1:8081")
	}
	return nil
}

// demoObject says where the demo is and who can sign in.
type demoObject struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// Run runs the demo until the context ends.
func (c *demoCommand) Run(ctx context.Context, std *stdio) (err error) {
	log := newLogger(std.err, c.LogLevel)
	listener, err := listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()         // the server has closed it already, if it got that far
	dir, err := os.MkdirTemp("", "innkeeper-demo-") // mode 0700
	if err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, databaseName)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return err
	}
	shown := demoObject{URL: localURL(listener), Username: demo.Username, Password: demo.Password}
	handler, authority, err := demo.New(ctx, demo.Config{
		Issuer: shown.URL, Stores: store.Stores(), RootKeys: roots, Clock: time.Now, Logger: log,
		Observe: logEvents(log),
	})
	if err != nil {
		return err
	}
	release, wait, err := background(ctx, authority)
	if err != nil {
		return err
	}
	defer wait()
	err = c.Output.print(std.out, shown, func(w io.Writer) {
		fmt.Fprintf(w, "open\t%s\nsign in as\t%s\npassword\t%s\nstop with\tctrl-c; nothing is kept\n",
			shown.URL, shown.Username, shown.Password)
	})
	if err != nil {
		return err
	}
	return serveUntilDone(ctx, listener, handler, stopping{limit: shutdownTimeout, release: release}, log)
}
