package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper/password"
)

// passwordFlags say what new passwords must be like, and what a guess costs.
type passwordFlags struct {
	PasswordMinLength   int      `default:"8" help:"characters that a new password must have, 8 to 64; NIST recommends 15 where there is no second factor"`
	PasswordServiceName []string `placeholder:"NAME" help:"name of your service, which no new password may contain; may repeat; by default those in the host of the issuer"`
	PasswordMemory      uint32   `default:"19" help:"MiB of memory that argon2id takes for one hash, 7 to 256"`
	PasswordIterations  uint32   `default:"2" help:"passes over that memory, 1 to 64, and 35 MiB in all at least"`
}

// check refuses zeros: they are "the default" to package password, and a mistake
// here.
func (f *passwordFlags) check() error {
	if f.PasswordMinLength == 0 || f.PasswordMemory == 0 || f.PasswordIterations == 0 {
		return usage(errors.New("--password-min-length, --password-memory and --password-iterations cannot be zero"), "leave them out for the defaults")
	}
	return nil
}

func (f *passwordFlags) policy() password.Policy {
	return password.Policy{MinLength: f.PasswordMinLength, ServiceNames: f.PasswordServiceName}
}

func (f *passwordFlags) hashing() password.Config {
	const maxMiB = 1 << 12 // more than is allowed, and no overflow
	return password.Config{Params: password.Params{
		Memory: min(f.PasswordMemory, maxMiB) << 10, Iterations: f.PasswordIterations,
	}}
}

// newPassword says where a new password comes from: a person at a terminal, or
// standard input. Never from an argument, which everyone on the machine can see.
type newPassword struct {
	PasswordStdin bool `env:"-" help:"read the password from standard input, one line"`
}

// read returns the password.
func (p *newPassword) read(ctx context.Context, std *stdio) (string, error) {
	if p.PasswordStdin {
		return readPassword(std.in)
	}
	if !term.IsTerminal(int(std.in.Fd())) {
		return "", usage(errors.New("there is no terminal to ask for the password on"), "pipe it in with --password-stdin")
	}
	first, err := askPassword(ctx, std, "password: ")
	if err != nil {
		return "", err
	}
	second, err := askPassword(ctx, std, "once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", hint(errors.New("the passwords differ"), "nothing was changed; try again")
	}
	return first, nil
}

// maxPasswordInput is more than any password may have.
const maxPasswordInput = 1 << 16

// readPassword reads one line, with or without its end.
func readPassword(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPasswordInput))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if bytes.ContainsAny(text, "\r\n") {
		return "", usage(errors.New("standard input has more than one line"), "send the password and nothing else")
	}
	return string(text), nil
}

// askPassword asks without showing what is typed. If the context ends, it leaves
// the terminal as it was.
func askPassword(ctx context.Context, std *stdio, prompt string) (string, error) {
	fd := int(std.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for password: %w", err)
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(std.err, prompt)
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(std.err)
		if a.err != nil {
			return "", fmt.Errorf("ask for password: %w", a.err)
		}
		return string(a.text), nil
	case <-ctx.Done():
		fmt.Fprintln(std.err)
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
