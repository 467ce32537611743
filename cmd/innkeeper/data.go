package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// dataFlags say where everything is kept.
type dataFlags struct {
	Data        string `type:"path" default:"./innkeeper-data" help:"directory of the database and the root key; created with mode 0700"`
	RootKeyFile string `type:"path" placeholder:"FILE" help:"root keys, one a line, the first one mints; root.key in --data by default"`
}

// Names in the data directory.
const (
	databaseName = "innkeeper.db"
	rootKeyName  = "root.key"
)

// data is an open data directory.
type data struct {
	store *sqlite.Store
	roots rootkey.Ring
	// newRootKey is the file of the root key if it has just been created.
	newRootKey string
}

// open opens the data directory, and creates what a first start needs.
func (f *dataFlags) open(ctx context.Context) (*data, error) {
	if err := makeDirectory(f.Data); err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Path: f.database()})
	if err != nil {
		return nil, err
	}
	d := &data{store: store}
	if err := d.readRootKeys(ctx, f.rootKeyFile()); err != nil {
		_ = store.Close() // the first error says more
		return nil, err
	}
	return d, nil
}

// openExisting is open for commands that make no sense without a server's data.
func (f *dataFlags) openExisting(ctx context.Context) (*data, error) {
	if _, err := os.Stat(f.database()); errors.Is(err, fs.ErrNotExist) {
		return nil, hint(fmt.Errorf("there is no database in %s", f.Data),
			`--data names the directory that "innkeeper serve" uses`)
	}
	return f.open(ctx)
}

func (f *dataFlags) database() string { return filepath.Join(f.Data, databaseName) }

func (f *dataFlags) rootKeyFile() string {
	if f.RootKeyFile != "" {
		return f.RootKeyFile
	}
	return filepath.Join(f.Data, rootKeyName)
}

// posix is false where files have no mode and directories cannot be synced.
const posix = runtime.GOOS != "windows"

// makeDirectory creates the data directory. Others must not be able to write to
// it: they could put another root key or database in place.
func makeDirectory(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return hint(fmt.Errorf("create data directory: %w", err), "name another one with --data")
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	if posix && info.Mode().Perm()&0o022 != 0 {
		return hint(fmt.Errorf("others can write to the data directory %s (mode %#o)", path, info.Mode().Perm()), "chmod 700 %s", path)
	}
	return nil
}

// readRootKeys reads the root keys. If the file is missing and the store is
// empty, this is the first start, and it creates one. Beside a store that is not
// empty none is ever created: it would belong to nothing in there.
func (d *data) readRootKeys(ctx context.Context, path string) error {
	roots, err := readRootKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		d.roots = roots
		return err
	}
	known, err := d.store.Stores().RootKeys.RootKeyChecks(ctx)
	if err != nil {
		return fmt.Errorf("read root key checks: %w", err)
	}
	if len(known) > 0 {
		return hint(fmt.Errorf("the root key %s is missing, and the database is not empty", path),
			"put it back from your backup; a new one would read nothing in this database, so none is created")
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
	if mode := info.Mode().Perm(); posix && mode&0o077 != 0 {
		return rootkey.Ring{}, hint(fmt.Errorf("others can read the root key %s (mode %#o)", path, mode), "chmod 600 %s", path)
	}
	ring, err := rootkey.ReadRing(file)
	if err != nil {
		return rootkey.Ring{}, hint(fmt.Errorf("root key %s: %w", path, err), "put the file back from your backup")
	}
	return ring, nil
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

func syncDirectory(path string) error {
	if !posix {
		return nil
	}
	dir, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// stores returns the database in all its roles.
func (d *data) stores() innkeeper.Stores { return d.store.Stores() }

func (d *data) close() error { return d.store.Close() }
