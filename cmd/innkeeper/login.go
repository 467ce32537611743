package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper/client"
)

// serverFlags say at which server a person is signed in, and for whom to print.
type serverFlags struct {
	URL    string      `name:"url" default:"http://localhost:8080" help:"the server: https, or http on this machine"`
	Output outputFlags `embed:""`
}

// open returns the session of this person at that server, which may be none.
func (f *serverFlags) open() (*client.Source, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return nil, usage(fmt.Errorf("no place to keep a session: %w", err), "set HOME")
	}
	store, err := client.NewFileStore(filepath.Join(config, "innkeeper", "sessions", sessionFile(f.URL)))
	if err != nil {
		return nil, err
	}
	source, err := client.New(client.Config{Server: f.URL, Store: store})
	if err != nil {
		return nil, usage(err, "--url is like https://auth.example.com")
	}
	return source, nil
}

// with does something with that session, and explains what stands in the way.
func (f *serverFlags) with(do func(*client.Source) error) (err error) {
	source, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	return f.explain(do(source))
}

var notInFileName = regexp.MustCompile(`[^a-zA-Z0-9.-]+`)

// sessionFile names the file of a server: readable, and never that of two.
func sessionFile(server string) string {
	server = strings.TrimRight(server, "/")
	host := ""
	if u, err := url.Parse(server); err == nil {
		host = notInFileName.ReplaceAllString(u.Host, "_")
	}
	sum := sha256.Sum256([]byte(server))
	return host + "-" + hex.EncodeToString(sum[:4]) + ".json"
}

// explain adds what to do about an error of the client.
func (f *serverFlags) explain(err error) error {
	var refused *client.RefusedError
	switch {
	case errors.Is(err, client.ErrSignedOut):
		return hint(fmt.Errorf("not signed in at %s: %w", f.URL, err), "innkeeper login NAME --url %s", f.URL)
	case errors.As(err, &refused) && refused.Code == "invalid_credentials":
		return hint(errors.New("username or password is wrong"), "check both and try again")
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %s", printable(refused.Code), printable(refused.Detail))
	case errors.Is(err, client.ErrUnavailable):
		return hint(fmt.Errorf("%s: %w", f.URL, err), "is the server running? nothing was lost; try again")
	}
	return err
}

type loginCommand struct {
	Name          string      `arg:"" optional:"" help:"username; asked for at the terminal if left out"`
	Device        string      `env:"-" placeholder:"NAME" help:"name of this machine in the list of sessions; the host's name if left out"`
	PasswordStdin bool        `env:"-" help:"read the password from standard input, one line"`
	Server        serverFlags `embed:""`
}

// Help is shown above the flags.
func (*loginCommand) Help() string {
	return `Signs in at a server and keeps the session in a file of yours, one for each server, under the directory of your settings (on Linux ~/.config/innkeeper/sessions). "innkeeper token" prints an access token of it for other programs. A session that was kept for that server is ended.`
}

// Validate implements kong's check.
func (c *loginCommand) Validate() error {
	if c.PasswordStdin && c.Name == "" {
		return usage(errors.New("standard input is for the password, and nobody is named"), "innkeeper login NAME --password-stdin")
	}
	return nil
}

// Run signs in.
func (c *loginCommand) Run(ctx context.Context, std *stdio) error {
	return c.Server.with(func(source *client.Source) error {
		credentials, err := c.credentials(ctx, std)
		if err != nil {
			return err
		}
		if err := source.Login(ctx, credentials); err != nil {
			return err
		}
		me, err := source.WhoAmI(ctx)
		if err != nil {
			return err
		}
		return c.Server.Output.print(std.out, me, func(w io.Writer) {
			fmt.Fprintf(w, "signed in as %s at %s until %s\n", printable(me.User.Username), c.Server.URL, clock(me.Session.ExpiresAt))
		})
	})
}

// credentials asks for what the command line does not say.
func (c *loginCommand) credentials(ctx context.Context, std *stdio) (client.Credentials, error) {
	credentials := client.Credentials{Username: c.Name, Device: c.Device}
	if c.Device == "" {
		credentials.Device, _ = os.Hostname() // it is only a name
	}
	var err error
	switch {
	case c.PasswordStdin:
		credentials.Password, err = readPassword(std.in)
	case !term.IsTerminal(int(std.in.Fd())):
		err = usage(errors.New("there is no terminal to ask for the password on"), "pipe it in with --password-stdin")
	default:
		if c.Name == "" {
			credentials.Username, err = askLine(std, "username: ")
		}
		if err == nil {
			credentials.Password, err = askPassword(ctx, std, "password: ")
		}
	}
	return credentials, err
}

// maxLine is more than any name may have, in bytes.
const maxLine = 1 << 10

// askLine asks for a line. It reads byte by byte, so that what follows is left to
// whoever asks next.
func askLine(std *stdio, prompt string) (string, error) {
	fmt.Fprint(std.err, prompt)
	var line []byte
	for char := make([]byte, 1); len(line) < maxLine; {
		n, err := std.in.Read(char)
		switch {
		case n > 0 && char[0] == '\n':
			return strings.TrimSpace(string(line)), nil
		case n > 0:
			line = append(line, char[0])
		case err != nil:
			return "", fmt.Errorf("ask for a name: %w", err)
		}
	}
	return "", errors.New("ask for a name: it is too long")
}

type whoamiCommand struct {
	Server serverFlags `embed:""`
}

// Run asks the server who is signed in.
func (c *whoamiCommand) Run(ctx context.Context, std *stdio) error {
	return c.Server.with(func(source *client.Source) error {
		me, err := source.WhoAmI(ctx)
		if err != nil {
			return err
		}
		return c.Server.Output.print(std.out, me, func(w io.Writer) {
			writeRow(w, "user", me.User.Username)
			writeRow(w, "email", me.User.Email)
			writeRow(w, "roles", strings.Join(me.User.Roles, " "))
			writeRow(w, "permissions", strings.Join(me.User.Permissions, " "))
			writeRow(w, "server", c.Server.URL)
			writeRow(w, "session", me.Session.ID)
			writeRow(w, "since", clock(me.Session.CreatedAt))
			writeRow(w, "until", clock(me.Session.ExpiresAt))
		})
	})
}

type tokenCommand struct {
	Server serverFlags `embed:""`
}

// Help is shown above the flags.
func (*tokenCommand) Help() string {
	return `Prints an access token that is good for a while, and refreshes it first if need be:

  curl -H "Authorization: Bearer $(innkeeper token)" http://localhost:8080/auth/me

Any number of programs may call it at the same time.`
}

// tokenObject has the members of an OAuth answer.
type tokenObject struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// Run prints an access token.
func (c *tokenCommand) Run(ctx context.Context, std *stdio) error {
	return c.Server.with(func(source *client.Source) error {
		token, err := source.Token(ctx)
		if err != nil {
			return err
		}
		text := token.Access.Reveal()
		object := tokenObject{AccessToken: text, TokenType: "Bearer", ExpiresIn: int(time.Until(token.ExpiresAt).Seconds())}
		return c.Server.Output.print(std.out, object, func(w io.Writer) { fmt.Fprintln(w, text) })
	})
}

type logoutCommand struct {
	Scope  string      `env:"-" enum:"this,others,everywhere" default:"this" help:"which sessions end: this, others or everywhere"`
	Server serverFlags `embed:""`
}

// logoutObject says what was ended.
type logoutObject struct {
	Server string `json:"server"`
	Scope  string `json:"scope"`
}

// Run ends sessions.
func (c *logoutCommand) Run(ctx context.Context, std *stdio) error {
	return c.Server.with(func(source *client.Source) error {
		if err := source.Logout(ctx, client.LogoutScope(c.Scope)); err != nil {
			return err
		}
		done := map[string]string{
			"this": "signed out", "others": "ended all other sessions", "everywhere": "signed out everywhere",
		}[c.Scope]
		return c.Server.Output.print(std.out, logoutObject{Server: c.Server.URL, Scope: c.Scope}, func(w io.Writer) {
			fmt.Fprintf(w, "%s at %s\n", done, c.Server.URL)
		})
	})
}
