package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// inn is a whole installation: server processes over one store.
type inn struct {
	binary  string
	dir     string // of the SQLite file, the root key and the logs
	engines []*engine
	nodes   []*node
}

// The administrator, and everybody's password.
const (
	administrator = "administrator"
	testPassword  = "correct horse battery staple"
)

// cheapHashing is as little work for a password as the server allows: sign-ins are
// not what is tested here.
var cheapHashing = []string{"--password-memory", "7", "--password-iterations", "5"}

// innConfig says what to start.
type innConfig struct {
	binary string
	store  string
	nodes  int
	dir    string // must exist, and be empty
	// smallDisk is the size of the disk for the data of a single node over SQLite, such
	// as 16m. Empty: that of the directory.
	smallDisk string
	serve     []string // more flags for the servers
}

// buildInnkeeper builds the real program into a directory, with more flags for go
// build, such as -race.
func buildInnkeeper(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "innkeeper")
	return binary, build(ctx, binary, "cmd/innkeeper", flags...)
}

// build builds a program of this module.
func build(ctx context.Context, binary, program string, flags ...string) error {
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/innkeeper-auth/innkeeper/"+program)...) //nolint:gosec // flags of ours
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// openInn starts the databases and all nodes, and creates the administrator.
func openInn(ctx context.Context, cfg innConfig) (*inn, error) {
	engines, err := startEngines(ctx, cfg.store, cfg.nodes)
	if err != nil {
		return nil, err
	}
	i := &inn{binary: cfg.binary, dir: cfg.dir, engines: engines}
	if err := i.furnish(ctx, cfg); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

func (i *inn) furnish(ctx context.Context, cfg innConfig) error {
	if err := i.run(ctx, "", "rootkey", "new", i.rootKey()); err != nil {
		return err
	}
	for k := range cfg.nodes {
		if err := i.addNode(k, cfg); err != nil {
			return err
		}
	}
	if cfg.smallDisk == "" { // only the node can see that one
		addUser := append([]string{"user", "add", administrator, "--role", "admin", "--password-stdin"}, cheapHashing...)
		if err := i.manage(ctx, testPassword, addUser...); err != nil {
			return err
		}
	}
	for _, n := range i.nodes {
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (i *inn) addNode(k int, cfg innConfig) error {
	addr, err := testengine.FreeAddr()
	if err != nil {
		return err
	}
	front, err := testengine.NewProxy(addr)
	if err != nil {
		return err
	}
	place, err := i.place(k)
	if err != nil {
		return errors.Join(err, front.Close())
	}
	name := "node " + strconv.Itoa(k+1)
	command := []string{cfg.binary, "serve", "--listen", addr, "--issuer", "http://localhost:8080", "--signup", "open", "--log-level", "warn",
		// All come from one address, and do in seconds what people do in days.
		"--sign-in-limits", "off", "--refresh-limit", "0"}
	command = append(append(append(command, place...), cheapHashing...), cfg.serve...)
	if cfg.smallDisk != "" {
		command = append(onSmallDisk(i.data(), cfg.smallDisk), command...)
	}
	i.nodes = append(i.nodes, &node{
		name: name, addr: addr, front: front, dir: i.dir, command: command,
		logFile: filepath.Join(i.dir, fmt.Sprintf("node-%d.log", k+1)),
	})
	return nil
}

// onSmallDisk begins a command that sees a small file system in the place of a
// directory. It is mounted in a name space of the command alone, and goes with it.
// Whoever is not root needs a system that lets users have name spaces.
func onSmallDisk(dir, size string) []string {
	unshare := []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	const script = `mkdir -p -m 700 "$0" && mount -t tmpfs -o "mode=700,size=$1" tmpfs "$0" && shift && exec "$@"`
	return append(unshare, "sh", "-c", script, dir, size)
}

// place is the flags that say where everything is kept, as a node sees it.
func (i *inn) place(node int) ([]string, error) {
	flags := []string{"--data", i.data(), "--root-key-file", i.rootKey()}
	for k, e := range i.engines {
		url, err := e.urlFor(node)
		if err != nil {
			return nil, err
		}
		flags = append(flags, []string{"--database", "--sessions"}[k], url)
	}
	return flags, nil
}

func (i *inn) data() string    { return filepath.Join(i.dir, "data") }
func (i *inn) rootKey() string { return filepath.Join(i.dir, "root.key") }

// manage runs a command over the inn's store, as an operator does.
func (i *inn) manage(ctx context.Context, stdin string, args ...string) error {
	place, err := i.place(0)
	if err != nil {
		return err
	}
	return i.run(ctx, stdin, append(args, place...)...)
}

func (i *inn) run(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, i.binary, args...) //nolint:gosec // the program that we have built
	cmd.Dir, cmd.Env, cmd.Stdin = i.dir, cleanEnvironment(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("innkeeper %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// urls is where clients find the nodes.
func (i *inn) urls() []string {
	urls := make([]string, len(i.nodes))
	for k, n := range i.nodes {
		urls[k] = n.url()
	}
	return urls
}

// complaints returns what must never stand in the log of a server.
func (i *inn) complaints() error {
	var found error
	for _, n := range i.nodes {
		text, err := os.ReadFile(n.logFile)
		if err != nil {
			return err
		}
		for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
			if at := bytes.Index(text, []byte(bad)); at >= 0 {
				found = errors.Join(found, fmt.Errorf("%s: %s", n.name, text[max(0, at-200):min(len(text), at+3000)]))
			}
		}
	}
	return found
}

// close ends everything.
func (i *inn) close() error {
	var err error
	for _, n := range i.nodes {
		err = errors.Join(err, n.kill(), n.front.Close())
	}
	for _, e := range i.engines {
		err = errors.Join(err, e.close())
	}
	return err
}
