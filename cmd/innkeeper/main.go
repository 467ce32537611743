// Command innkeeper serves sign-in sessions, and manages users, roles,
// services, sessions and keys beside a running server. It wires and decides nothing: flags become
// the configuration of packages innkeeper, httpapi and those in store.
//
// One noun, one file. What a command cannot do it says in one line, followed by
// a hint at what to do instead; see [report].
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], &stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in, out, err *os.File
}

// cli is the grammar of the command line. The name of each field is the name of
// a command or flag.
type cli struct {
	Config string `type:"path" placeholder:"FILE" help:"YAML file of settings, named like the flags"`

	Serve      serveCommand      `cmd:"" help:"serve sign-in sessions"`
	Demo       demoCommand       `cmd:"" help:"run a throw-away server with a page to try it in"`
	User       userCommand       `cmd:"" help:"manage users"`
	Role       roleCommand       `cmd:"" help:"manage roles"`
	Service    serviceCommand    `cmd:"" help:"manage credentials of programs that call this server"`
	Session    sessionCommand    `cmd:"" help:"manage sessions"`
	Key        keyCommand        `cmd:"" help:"manage the keys that sign access tokens"`
	Rootkey    rootkeyCommand    `cmd:"" help:"make and replace the secret that servers share"`
	Events     eventsCommand     `cmd:"" help:"show the audit log"`
	Webhook    webhookCommand    `cmd:"" help:"manage who is told of events"`
	Migrate    migrateCommand    `cmd:"" help:"bring the schema of the database up to date"`
	Move       moveCommand       `cmd:"" help:"copy everything to another database, and sign nobody out"`
	Bench      benchCommand      `cmd:"" help:"put a running server under load and measure it"`
	Login      loginCommand      `cmd:"" help:"sign in at a server, as a client"`
	Whoami     whoamiCommand     `cmd:"" help:"say who is signed in at a server"`
	Token      tokenCommand      `cmd:"" help:"print a fresh access token, for curl and scripts"`
	Logout     logoutCommand     `cmd:"" help:"sign out at a server"`
	Version    versionCommand    `cmd:"" help:"say which version this is"`
	Completion completionCommand `cmd:"" help:"print a completion script for a shell"`
	HashWorker hashWorkerCommand `cmd:"" hidden:"" help:"hash passwords for a server, which starts this"`
}

const description = `Sign-in sessions for your own apps.

Every setting can be a flag (--access-ttl 5m), a variable of the environment (INNKEEPER_ACCESS_TTL=5m) or a line in the file of --config (access-ttl: 5m). The flag wins over the environment, and the environment over the file. Flags that say what a single command is to do, like --email or --all, are flags only.`

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, std *stdio) int {
	helped := false
	parser, err := kong.New(&cli{},
		kong.Name("innkeeper"),
		kong.Description(description),
		kong.DefaultEnvars(envPrefix),
		kong.Writers(std.out, std.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ValueFormatter(func(value *kong.Value) string { return value.Help }), // without the twin, see description
		kong.Groups{"sessions": "Sessions:", "passwords": "Passwords:", "browsers": "Browsers:"},
		kong.Exit(func(int) { helped = true }), // kong asks for it after --help
		kong.PostBuild(func(k *kong.Kong) error {
			k.Model.HelpFlag.Help = "show this help"
			return nil
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		return report(std.err, err)
	}
	command, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		return report(std.err, misuse(err))
	}
	return report(std.err, command.Run())
}
