package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	engine "modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// ErrNewerSchema reports a database that a newer Innkeeper has migrated. An older
// one would not keep the rules that the newer one relies on.
var ErrNewerSchema = errors.New("the database was made by a newer version of innkeeper")

// migrate applies the migrations that the database lacks, all of them or none,
// under SQLite's write lock: of several processes that start together the first
// migrates, and the others wait and find nothing to do.
//
// goose would begin a transaction for each migration and decide what to apply
// before the first. So it is given a single connection that is already in a
// transaction, and told to begin none (that is what isolating DDL amounts to).
func migrate(ctx context.Context, dsn string) error {
	connector, err := engine.NewConnector(dsn)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	defer func() { _ = db.Close() }() // and with it, roll back what is not committed

	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithIsolateDDL(true),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := db.ExecContext(ctx, "begin immediate"); err != nil {
		return fmt.Errorf("lock for migration: %w", err)
	}
	have, want, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	case have > want:
		return fmt.Errorf("%w: its schema has version %d, this one knows %d", ErrNewerSchema, have, want)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := db.ExecContext(ctx, "commit"); err != nil {
		return fmt.Errorf("commit migration: %w", err)
	}
	return nil
}
