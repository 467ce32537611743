package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// placeFlags say where everything is kept. A password in a URL belongs into the
// environment or the file of --config: everybody on a machine sees arguments.
type placeFlags struct {
	Data     string   `type:"path" default:"./innkeeper-data" help:"directory of the SQLite database and the root key; created with mode 0700"`
	Database storeURL `placeholder:"URL" help:"postgres://…, instead of the SQLite database in --data; with a password, set INNKEEPER_DATABASE instead"`
	Sessions storeURL `placeholder:"URL" help:"redis://… or rediss://…, to keep sessions there and not in the database; with a password, set INNKEEPER_SESSIONS instead"`
}

func (f *placeFlags) place() place {
	return place{dir: f.Data, database: f.Database, sessions: f.Sessions}
}

// dataFlags are placeFlags for those who need the root keys as well.
type dataFlags struct {
	Place       placeFlags `embed:""`
	RootKeyFile string     `type:"path" placeholder:"FILE" help:"root keys, one a line, the first one mints; root.key in --data by default"`
}

// Names in the data directory.
const (
	databaseName = "innkeeper.db"
	rootKeyName  = "root.key"
)

// data is what a server keeps, open, with its root keys.
type data struct {
	*shelf
	roots rootkey.Ring
	// newRootKey is the file of the root key if it has just been created.
	newRootKey string
}

// open opens the database, and creates what a first start on one machine needs.
func (f *dataFlags) open(ctx context.Context, log *slog.Logger) (*data, error) {
	here := f.Place.place()
	if err := here.check(hereFlags); err != nil {
		return nil, err
	}
	s, err := here.open(ctx, log)
	if err != nil {
		return nil, err
	}
	d := &data{shelf: s}
	err = d.refuseUnfinished(ctx, here)
	if err == nil {
		err = d.readRootKeys(ctx, f.rootKeyFile(), here)
	}
	if err != nil {
		_ = s.close() // the first error says more
		return nil, err
	}
	return d, nil
}

// openExisting is open for commands that make no sense without a server's data.
func (f *dataFlags) openExisting(ctx context.Context, log *slog.Logger) (*data, error) {
	here := f.Place.place()
	if err := here.check(hereFlags); err != nil {
		return nil, err
	}
	if !here.exists() {
		return nil, here.missing()
	}
	d, err := f.open(ctx, log)
	if err != nil {
		return nil, err
	}
	known, err := d.stores.RootKeys.RootKeyChecks(ctx)
	if err == nil && len(known) == 0 {
		err = hint(fmt.Errorf("there is nothing in the database %s yet", here), `start with "innkeeper serve" or "innkeeper user add"`)
	}
	if err != nil {
		_ = d.close() // the first error says more
		return nil, err
	}
	return d, nil
}

func (f *dataFlags) rootKeyFile() string {
	if f.RootKeyFile != "" {
		return f.RootKeyFile
	}
	return filepath.Join(f.Place.Data, rootKeyName)
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
