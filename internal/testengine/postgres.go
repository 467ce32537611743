package testengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// PostgresConfig says how a PostgreSQL server runs. Its zero value is as durable as
// one in production.
type PostgresConfig struct {
	// Settings are put into postgresql.conf, and win over ours. Nil: none.
	Settings map[string]string

	// Unsafe switches off what makes a commit survive a power failure, for tests that
	// are about something else; it still survives Kill. It MUST NOT be set where
	// durability is measured. False: durable.
	Unsafe bool
}

// Postgres is a PostgreSQL server. Its superuser is innkeeper, without a password,
// on the loopback address only.
type Postgres struct {
	*server

	binDir    string
	databases atomic.Int64
}

// StartPostgres starts a PostgreSQL server. The context bounds only the start.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	program, err := find("postgres", "/usr/lib/postgresql/*/bin/postgres")
	if err == nil {
		// The other programs are beside it, and need not be in PATH under their names.
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	as, err := postgresUser()
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	s, err := newServer("postgres", syscall.SIGINT, as)
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: s, binDir: filepath.Dir(program)}
	if err := p.create(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), p.Close())
	}
	s.probe = p.answers
	err = s.startAnywhere(ctx, func(addr string) error {
		_, port, err := net.SplitHostPort(addr)
		s.command = []string{program, "-D", p.DataDir(), "-p", port}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// postgresUser returns the user to run the server as, which refuses to be root, or
// nil for ours.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("postgres does not run as root: %w: %w", err, errMissing)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// create makes the data directory. Syncing it, and the collations that another
// locale than C imports, would make that three times as long.
func (p *Postgres) create(ctx context.Context, cfg PostgresConfig) error {
	cmd := p.program(ctx, filepath.Join(p.binDir, "initdb"), "--pgdata="+p.DataDir(), "--username=innkeeper",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "300",
		// In the data directory, it goes when that goes.
		"dynamic_shared_memory_type": "mmap",
		"fsync":                      "on",
		"full_page_writes":           "on",
		"synchronous_commit":         "on",
	}
	if cfg.Unsafe {
		// Not synchronous_commit: without it, Kill loses what was just committed.
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	maps.Copy(settings, cfg.Settings)

	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	file, err := os.OpenFile(filepath.Join(p.DataDir(), "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(conf.String())
	return errors.Join(err, file.Close())
}

// answers asks for something that no other server on the same port can know.
func (p *Postgres) answers(ctx context.Context) error {
	// Starting psql for every attempt would take the time that the server needs.
	if err := p.accepts(ctx); err != nil {
		return err
	}
	dir, err := p.psql(ctx, "SHOW data_directory")
	if err == nil && dir != p.DataDir() {
		return fmt.Errorf("another server answers on %s", p.addr)
	}
	return err
}

func (p *Postgres) psql(ctx context.Context, query string) (string, error) {
	out, err := p.program(ctx, filepath.Join(p.binDir, "psql"), "--no-psqlrc", "--no-password", "--quiet",
		"--tuples-only", "--no-align", "--command="+query, p.URL("postgres")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// URL returns the URL of a database, as its superuser. "postgres" always exists.
func (p *Postgres) URL(database string) string {
	return "postgres://innkeeper@" + p.addr + "/" + database + "?sslmode=disable"
}

// CreateDatabase creates an empty database and returns its URL. Databases go with
// the server.
func (p *Postgres) CreateDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("test_%d", p.databases.Add(1))
	// Nobody can be connected to template0, which would be in the way. PostgreSQL's
	// own choice of STRATEGY is the quickest of a durable server, and 10 ms behind
	// the other one of an unsafe server.
	if _, err := p.psql(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return p.URL(name), nil
}

// BinDir returns the directory of PostgreSQL's programs: psql, pgbench.
func (p *Postgres) BinDir() string { return p.binDir }

// DataDir returns the directory of the server's data.
func (p *Postgres) DataDir() string { return filepath.Join(p.dir, "data") }

// Kill kills the server and all its children with SIGKILL, and returns when they
// are gone.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.kill(), p.forget())
}

// Close kills the server and removes its data. Closing it again does nothing.
func (p *Postgres) Close() error {
	return errors.Join(p.Kill(), p.server.Close())
}

// forget removes what says that a killed server still runs. The server would see
// through it, but not if another of the same user has got its process number. And
// the kernel keeps its segment of shared memory until it is told otherwise.
func (p *Postgres) forget() error {
	file := filepath.Join(p.DataDir(), "postmaster.pid")
	content, err := os.ReadFile(file) //nolint:gosec // G304: our own directory
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Line 7 is the key and the number of the segment.
	if lines := strings.Split(string(content), "\n"); len(lines) >= 7 {
		var key, id int
		if _, err := fmt.Sscan(lines[6], &key, &id); err == nil {
			_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) {
				return fmt.Errorf("remove shared memory: %w", err)
			}
		}
	}
	return os.Remove(file)
}
