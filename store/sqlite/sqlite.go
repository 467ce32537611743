// Package sqlite keeps everything in one SQLite file: the store of a server that
// runs on one machine, which is most of them.
//
// [Open] creates the file, brings its schema up to date and returns a [Store]
// that implements every role of [innkeeper.Stores]. Several processes may have
// the file open: the command line works beside a running server.
//
// Durability. The journal is a write-ahead log with synchronous=FULL: what a
// method has answered survives the loss of power. The price, one fsync for each
// commit, is shared: a single writer goroutine takes what is waiting in its queue
// and commits it as one transaction, and only then answers. The more clients
// there are, the more of them share an fsync; nobody ever waits for a group
// to fill.
//
// A refresh is one UPDATE of one row, which returns what the access token needs.
// It touches no indexed column and inserts nothing, so a database does not grow
// by being used.
//
// Reads have connections of their own, which neither wait for the writer nor
// hold it up, and see everything that was answered before they began.
//
// The file holds no token: a refresh token's secret is stored as its SHA-256,
// signing keys are encrypted under a root key that lives elsewhere. It does hold
// password hashes and names, so it is created for its owner only.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	engine "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrClosed reports a call after [Store.Close]. Nothing was written.
var ErrClosed = errors.New("store is closed")

// Config says where the database is.
type Config struct {
	// Path of the database file. Required. A file that does not exist is created,
	// readable by its owner only; its directory must exist.
	Path string
	// BusyTimeout is how long to wait for a lock that another process holds. The
	// zero value means 5 seconds.
	BusyTimeout time.Duration
	// Readers is how many reads run at the same time. The zero value means one for
	// each CPU. Connections are opened when they are first needed.
	Readers int
}

// Store is an open database. It implements every role of [innkeeper.Stores] and
// is safe for concurrent use.
type Store struct {
	readers *readers
	writer  *writer
}

// Open opens the database, creates it if there is none, and applies the
// migrations that it lacks. It returns [ErrNewerSchema] if a newer Innkeeper has
// changed the schema.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s, err := cfg.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", cfg.Path, err)
	}
	return s, nil
}

func (cfg Config) open(ctx context.Context) (*Store, error) {
	first, err := cfg.prepare(ctx)
	if err != nil {
		return nil, err
	}
	// Closed last: whoever closes the last connection tears the log down.
	defer func() { _ = first.Close() }()
	if err := migrate(ctx, cfg.writerDSN()); err != nil {
		return nil, err
	}
	writer, err := startWriter(cfg.writerDSN())
	if err != nil {
		return nil, err
	}
	return &Store{readers: newReaders(cfg.readerDSN(), cfg.Readers), writer: writer}, nil
}

// Stores returns the store in all its roles.
func (s *Store) Stores() innkeeper.Stores {
	return innkeeper.Stores{
		Sessions: s, Users: s, Roles: s, Services: s, Events: s, Revocations: s, RootKeys: s, Issuer: s, Keys: s,
		Webhooks: s, Deliveries: s, Attempts: s,
	}
}

// Close finishes the writes that are queued, answers them, and closes the file.
// Later calls of any method return [ErrClosed].
func (s *Store) Close() error {
	// The writer's connection is the last to go: closing it moves the log into the
	// database file, which a reader could not do.
	return errors.Join(s.readers.close(), s.writer.close())
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Path == "" {
		return cfg, errors.New("no path given")
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return cfg, err
	}
	cfg.Path = path
	if cfg.BusyTimeout == 0 {
		cfg.BusyTimeout = 5 * time.Second
	}
	if cfg.Readers == 0 {
		cfg.Readers = runtime.NumCPU()
	}
	return cfg, nil
}

// prepare returns a connection to the file, which it makes if there is none, with
// mode 0600, and puts into WAL mode, which the file keeps.
//
// SQLite has to make the file itself. POSIX drops a process's locks on a file as
// soon as the process closes any descriptor of it, so opening and closing the
// file here could take the locks of another Store away. What SQLite offers is to
// copy the mode of another file.
func (cfg Config) prepare(ctx context.Context) (*conn, error) {
	dsn := cfg.dsn("rw", nil)
	switch _, err := os.Stat(cfg.Path); {
	case errors.Is(err, fs.ErrNotExist):
		pattern, err := os.CreateTemp(filepath.Dir(cfg.Path), ".innkeeper-mode-") // has mode 0600
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.Remove(pattern.Name()) }()
		if err := pattern.Close(); err != nil {
			return nil, err
		}
		dsn = cfg.dsn("rwc", nil) + "&modeof=" + escape(pattern.Name())
	case err != nil:
		return nil, err
	}
	c, err := connect(dsn)
	if err != nil {
		return nil, err
	}
	if err := cfg.useLog(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// useLog puts the file into WAL mode. This is the one thing for which SQLite does
// not wait if another process is at it, or just looking, so we do.
func (cfg Config) useLog(ctx context.Context, c *conn) error {
	timeout := time.After(cfg.BusyTimeout)
	for {
		mode, err := c.one(`pragma journal_mode = wal`)
		if err == nil {
			if got := mode.text(); got != "wal" {
				return fmt.Errorf("the file system allows no write-ahead log, only %q", got)
			}
			return nil
		}
		var failed *engine.Error
		if !errors.As(err, &failed) || failed.Code()&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-timeout:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	megabyte = 1 << 20

	// logLimit is what the log is cut back to after a burst, in bytes. Normally it is
	// moved into the database whenever it has reached 4 MB. Longer logs were tried:
	// they gave no more refreshes per second, and doubled the longest pauses.
	logLimit = 16 * megabyte
	// Page caches, in KiB. The operating system caches the file as well.
	writerCache = 64 << 10
	readerCache = 4 << 10
)

func (cfg Config) writerDSN() string {
	return cfg.dsn("rw", []string{
		"synchronous(full)",
		"foreign_keys(1)",
		fmt.Sprintf("journal_size_limit(%d)", logLimit),
		fmt.Sprintf("cache_size(-%d)", writerCache),
	})
}

func (cfg Config) readerDSN() string {
	return cfg.dsn("ro", []string{
		"query_only(1)",
		fmt.Sprintf("cache_size(-%d)", readerCache),
	})
}

// dsn spells out how to open the file. Pragmas are run in their order. _dqs=0
// makes a misspelled column an error instead of a string, and _defensive keeps SQL
// from writing to the file behind SQLite's back.
func (cfg Config) dsn(mode string, pragmas []string) string {
	path := filepath.ToSlash(cfg.Path)
	if !strings.HasPrefix(path, "/") { // C:/… is written /C:/… in a URI
		path = "/" + path
	}
	dsn := fmt.Sprintf("file://%s?mode=%s&_dqs=0&_defensive=1&_pragma=busy_timeout(%d)",
		(&url.URL{Path: path}).EscapedPath(), mode, cfg.BusyTimeout.Milliseconds())
	for _, pragma := range pragmas {
		dsn += "&_pragma=" + pragma
	}
	return dsn
}

// escape escapes text for the query of a URI as SQLite reads it, to which a plus
// sign is no space.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
