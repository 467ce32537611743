package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line, the environment or a file is wrong
)

// hintedError is an error that knows what to do about it.
type hintedError struct {
	error
	hint  string
	usage bool
}

func (e *hintedError) Unwrap() error { return e.error }

// hint adds what to do about an error.
func hint(err error, format string, args ...any) error {
	return &hintedError{error: err, hint: fmt.Sprintf(format, args...)}
}

// usage is an error of whoever typed the command or wrote the configuration.
func usage(err error, format string, args ...any) error {
	return &hintedError{error: err, hint: fmt.Sprintf(format, args...), usage: true}
}

// report prints an error in the voice of the command line, and returns the exit
// code that goes with it.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	advice, code := advise(err)
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(w, "innkeeper: %s\n", withoutPasswords(err.Error()))
	if advice != "" {
		fmt.Fprintf(w, "hint: %s\n", withoutPasswords(advice))
	}
	return code
}

// hints says what to do about errors of the packages below.
var hints = []struct {
	err  error
	hint string
}{
	{innkeeper.ErrUsernameTaken, `choose another name; "innkeeper user list" shows those that are taken`},
	{innkeeper.ErrRoleUnknown, `define it first: innkeeper role set NAME PERMISSION…`},
	{innkeeper.ErrWrongRootKey, "put back the root key that this database was made with; without it nobody's session can be read"},
	{keyring.ErrUnusable, "give every server of a database the same root key file"},
	{sqlite.ErrNewerSchema, "run the newest innkeeper that has used this database"},
	{postgres.ErrNewerSchema, "run the newest innkeeper that has used this database"},
	{innkeeper.ErrUnavailable, "nothing may have been changed; try again"},
}

// advise returns the hint and the exit code of an error.
func advise(err error) (advice string, code int) {
	var (
		hinted   *hintedError
		input    *innkeeper.InputError
		rejected *password.RejectedError
	)
	switch {
	case errors.As(err, &hinted) && hinted.usage:
		return hinted.hint, exitUsage
	case errors.As(err, &hinted):
		return hinted.hint, exitFailed
	case errors.As(err, &input), errors.Is(err, password.ErrParams):
		return "", exitUsage // its text says what to choose
	case errors.As(err, &rejected):
		return rejected.Hint, exitFailed
	case errors.Is(err, context.Canceled):
		return "", exitFailed
	}
	for _, row := range hints {
		if errors.Is(err, row.err) {
			return row.hint, exitFailed
		}
	}
	return "", exitFailed
}

// misuse turns what the parser says into an error with a hint.
func misuse(err error) error {
	var (
		hinted *hintedError
		parse  *kong.ParseError
	)
	if errors.As(err, &hinted) {
		return err
	}
	message, suggestion, found := strings.Cut(err.Error(), ", did you mean ")
	if found {
		return usage(errors.New(message), "did you mean %s", strings.TrimSuffix(suggestion, "?"))
	}
	command := "innkeeper"
	if errors.As(err, &parse) && parse.Context.Selected() != nil {
		command = parse.Context.Selected().FullPath()
	}
	return usage(errors.New(message), "run %s --help", command)
}
