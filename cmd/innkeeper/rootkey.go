package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

type rootkeyCommand struct {
	New    rootkeyNewCommand    `cmd:"" help:"make a root key, for a database that is new"`
	List   rootkeyListCommand   `cmd:"" help:"list the root keys of a file"`
	Rotate rootkeyRotateCommand `cmd:"" help:"take the next step towards another root key"`
	Remove rootkeyRemoveCommand `cmd:"" help:"take an old root key out of the file"`
}

type rootkeyNewCommand struct {
	File   string      `arg:"" optional:"" type:"path" help:"file to write, with mode 0600; an existing one is left alone; without it, the key is printed"`
	Output outputFlags `embed:""`
}

// Help is shown above the flags.
func (*rootkeyNewCommand) Help() string {
	return `Every server of one database is given the same root key, with --root-key-file. On a single machine with a SQLite database none has to be made: the first start does.`
}

// rootKeyObject says where a root key was written, or what it is.
type rootKeyObject struct {
	File    string `json:"file,omitempty"`
	RootKey string `json:"root_key,omitempty"`
}

// Run makes a root key. It asks no database: a key that belongs to none in there
// is refused when a server starts with it.
func (c *rootkeyNewCommand) Run(std *stdio) error {
	if c.File == "" {
		key := rootkey.Generate().Reveal()
		return c.Output.print(std.out, rootKeyObject{RootKey: key}, func(w io.Writer) { fmt.Fprintf(w, rootKeyText, key) })
	}
	err := os.MkdirAll(filepath.Dir(c.File), 0o700)
	if err == nil {
		err = createRootKey(c.File)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return hint(fmt.Errorf("%s exists", c.File), "to lose a root key is to sign everybody out: if you are sure, move it away yourself")
	case err != nil:
		return hint(fmt.Errorf("create root key: %w", err), "name another file")
	}
	return c.Output.print(std.out, rootKeyObject{File: c.File}, func(w io.Writer) {
		fmt.Fprintf(w, "created %s\nkeep a copy of it, apart from backups of the database, and give it to every server of that database\n", c.File)
	})
}

// readRootKeys reads the root keys. If the file is missing and the store is empty,
// this is the first start. On one machine, with a database of its own, it creates
// a key then. Beside a database that others can reach it never does: two servers
// that start at the same moment would make one each, and only one of them could
// stay. Beside a store that is not empty none is ever created: it would belong to
// nothing in there.
func (d *data) readRootKeys(ctx context.Context, path string, here place) error {
	roots, err := readRootKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		d.roots = roots
		return err
	}
	known, err := d.stores.RootKeys.RootKeyChecks(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read root key checks: %w", err)
	case len(known) > 0:
		return hint(fmt.Errorf("the root key %s is missing, and the database is not empty", path),
			"put it back from your backup; a new one would read nothing in this database, so none is created")
	case !here.sqlite():
		return hint(fmt.Errorf("the root key %s is missing", path),
			"make one with: innkeeper rootkey new %s, and give the same file to every server of this database", path)
	}
	switch err := createRootKey(path); {
	case err == nil:
		d.newRootKey = path
	case !errors.Is(err, fs.ErrExist): // another process was faster: its key is ours
		return hint(fmt.Errorf("create root key: %w", err), "name another file with --root-key-file")
	}
	d.roots, err = readRootKeyFile(path)
	return err
}

// readRootKeyFile reads root keys that nobody else can read. It looks at the mode
// of the file that it has opened, so that a symbolic link can show it no other
// one.
func readRootKeyFile(path string) (rootkey.Ring, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return rootkey.Ring{}, fmt.Errorf("root key: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return rootkey.Ring{}, fmt.Errorf("root key: %w", err)
	}
	if mode := info.Mode().Perm(); posix && mode&forbiddenMode(path) != 0 {
		return rootkey.Ring{}, hint(fmt.Errorf("others can read the root key %s (mode %#o)", path, mode), "chmod 600 %s", path)
	}
	ring, err := rootkey.ReadRing(file)
	return ring, unreadable(path, err)
}

// unreadable says what to do about a root key file that makes no sense.
func unreadable(path string, err error) error {
	if err == nil {
		return nil
	}
	return hint(fmt.Errorf("root key %s: %w", path, err), "put the file back from your backup")
}

// forbiddenMode is what nobody but the owner may do with a root key. systemd keeps
// credentials in a directory that only the service can enter; newer versions give
// them mode 0440, with an access control list that shows as the group's.
func forbiddenMode(path string) fs.FileMode {
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	if credentials != "" && filepath.Dir(path) == filepath.Clean(credentials) {
		return 0o037
	}
	return 0o077
}

const rootKeyText = `# The root key of Innkeeper. Keep it secret, keep a copy, and keep that copy apart
# from backups of the database: together they are everybody's sessions.
%s
`

// createRootKey writes a new root key. It appears under its name complete and
// durable or not at all: a crash must not leave a half-written key, nor a
// database whose key was lost. An existing file is left alone: [fs.ErrExist].
func createRootKey(path string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".root.key-") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = fmt.Fprintf(file, rootKeyText, rootkey.Generate().Reveal())
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces what is there.
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}
