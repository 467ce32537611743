package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// ErrNewerSchema reports a database that a newer Innkeeper has migrated. An older
// one would not keep the rules that the newer one relies on.
var ErrNewerSchema = errors.New("the database was made by a newer version of innkeeper")

// Migrate applies the migrations that a database lacks, and returns the version of
// its schema before and after; zero is an empty database. If there is nothing to
// do, it only reads. Of several that start together the first migrates, and the
// others wait for it. It returns [ErrNewerSchema] if a newer Innkeeper has changed
// the schema.
func Migrate(ctx context.Context, cfg Config) (from, to int64, err error) {
	from, to, err = cfg.withDefaults().migrate(ctx)
	if err != nil {
		return from, to, fmt.Errorf("migrate: %w", err)
	}
	return from, to, nil
}

// migrationPatience bounds a migration, and the wait for one that another server is
// at. A large table takes its time.
const migrationPatience = 10 * time.Minute

func (cfg Config) migrate(ctx context.Context) (from, to int64, err error) {
	settings, err := cfg.pool()
	if err != nil {
		return 0, 0, err
	}
	want, err := newestVersion()
	if err != nil {
		return 0, 0, err
	}
	have, err := cfg.schemaVersion(ctx, settings.ConnConfig)
	switch {
	case err != nil || have == want:
		return have, have, err
	case have > want:
		return have, have, fmt.Errorf("%w: its schema has version %d, this one knows %d", ErrNewerSchema, have, want)
	}
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	conn := settings.ConnConfig.Copy()
	for _, limit := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		conn.RuntimeParams[limit] = "0"
	}
	return have, want, migrateLocked(ctx, conn)
}

// newestVersion is the version that this program knows.
func newestVersion() (int64, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql") // in their order
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("there are no migrations"), err)
	}
	return goose.NumericComponent(files[len(files)-1])
}

// schemaVersion is the version that a database has. It asks without goose, which
// would make its table if there were none.
func (cfg Config) schemaVersion(ctx context.Context, settings *pgx.ConnConfig) (version int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.StatementTimeout+grace)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return 0, err
	}
	defer hangUp(conn)
	const (
		migrated = `select to_regclass('goose_db_version') is not null`
		newest   = `select coalesce(max(version_id), 0) from goose_db_version`
	)
	var any bool
	if err := conn.QueryRow(ctx, migrated).Scan(&any); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if !any {
		return 0, nil
	}
	if err := conn.QueryRow(ctx, newest).Scan(&version); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return version, nil
}

// hangUp closes a connection, and does not wait long for one that is dead.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = conn.Close(ctx)
}

// migrateLocked migrates while it holds a lock on a connection of its own: the lock
// goes when the connection does, whatever becomes of us. Each migration is one
// transaction.
func migrateLocked(ctx context.Context, settings *pgx.ConnConfig) error {
	lock, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return err
	}
	defer hangUp(lock)
	if err := lockSchema(ctx, lock); err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*settings)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// lockSchema begins a transaction that holds the one row of a table. Advisory locks
// would be simpler, but not every engine that has them locks anything.
func lockSchema(ctx context.Context, conn *pgx.Conn) error {
	const (
		create = `create table if not exists migration_lock (one integer primary key check (one = 1))`
		lock   = `insert into migration_lock (one) values (1) on conflict (one) do update set one = 1`
	)
	// Two that create it at the same moment both find that it does not exist, and one
	// is refused.
	for try := 1; ; try++ {
		_, err := conn.Exec(ctx, create)
		if err == nil {
			break
		}
		if try == maxTries || refused(err) == nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "begin"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, lock)
	return err
}
