package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// engine is what lies below a server.
type engine interface {
	// cpu is what its processes have used of all CPUs; zero if it has none of its own.
	cpu(ctx context.Context) (time.Duration, error)
	size(ctx context.Context) (size, error)
}

// size is how much an engine keeps.
type size struct {
	rows  int64 // of all tables, or keys
	bytes int64 // of what it keeps
	log   int64 // written to the log since the beginning; zero if that is part of bytes
}

func (a size) minus(b size) size {
	return size{rows: a.rows - b.rows, bytes: a.bytes - b.bytes, log: a.log - b.log}
}

// sqliteFile is an engine inside the server.
type sqliteFile string

func (sqliteFile) cpu(context.Context) (time.Duration, error) { return 0, nil }

func (path sqliteFile) size(ctx context.Context) (size, error) {
	db, err := sql.Open("sqlite", "file:"+string(path)+"?mode=ro")
	if err != nil {
		return size{}, err
	}
	defer func() { _ = db.Close() }()
	rows, err := countRows(ctx, db, `select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'`)
	s := size{rows: rows}
	for _, name := range []string{string(path), string(path) + "-wal"} {
		info, statErr := os.Stat(name)
		if statErr != nil {
			return s, errors.Join(err, statErr)
		}
		s.bytes += info.Size()
	}
	return s, err
}

// postgresDatabase is a database of a server that others may use, in turn.
type postgresDatabase struct {
	server *testengine.Postgres
	url    string
}

func newPostgresDatabase(ctx context.Context, server *testengine.Postgres) (postgresDatabase, error) {
	url, err := server.CreateDatabase(ctx)
	return postgresDatabase{server: server, url: url}, err
}

func (p postgresDatabase) open() (*sql.DB, error) { return sql.Open("pgx", p.url) }

// cpu adds up all processes of the server. Those that have ended count with the
// first of them, whose children they were.
func (p postgresDatabase) cpu(context.Context) (time.Duration, error) {
	file, err := os.ReadFile(filepath.Join(p.server.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(file), "\n")
	stats, err := fs.Glob(os.DirFS("/proc"), "[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, name := range stats {
		stat, err := os.ReadFile(filepath.Join("/proc", name)) //nolint:gosec // of the kernel
		if err != nil {
			continue // it has ended meanwhile
		}
		// proc(5): what follows the name, in parentheses, begins with field 3.
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(rest))
		const parent, userTime, systemTime, childrenUser, childrenSystem = 4 - 3, 14 - 3, 15 - 3, 16 - 3, 17 - 3
		switch {
		case len(fields) <= childrenSystem:
		case filepath.Dir(name) == first:
			ticks += number(fields[userTime]) + number(fields[systemTime]) + number(fields[childrenUser]) + number(fields[childrenSystem])
		case fields[parent] == first:
			ticks += number(fields[userTime]) + number(fields[systemTime])
		}
	}
	const ticksPerSecond = 100 // USER_HZ, on every Linux that Go runs on
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (p postgresDatabase) size(ctx context.Context) (s size, err error) {
	db, err := p.open()
	if err != nil {
		return s, err
	}
	defer func() { _ = db.Close() }()
	s.rows, err = countRows(ctx, db, `select tablename from pg_tables where schemaname = 'public'`)
	if err != nil {
		return s, err
	}
	err = db.QueryRowContext(ctx, `select pg_database_size(current_database()), pg_current_wal_lsn() - '0/0'`).Scan(&s.bytes, &s.log)
	return s, err
}

// countRows counts the rows of all tables that a query names.
func countRows(ctx context.Context, db *sql.DB, tables string) (total int64, err error) {
	rows, err := db.QueryContext(ctx, tables)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return 0, err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for _, name := range names {
		var n int64
		if err := db.QueryRowContext(ctx, `select count(*) from "`+name+`"`).Scan(&n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// redisSessions is a Redis server, and the database beside it.
type redisSessions struct {
	server *testengine.Redis
	beside engine
}

func (r redisSessions) cpu(ctx context.Context) (time.Duration, error) {
	info, err := r.ask(ctx, "info", "cpu")
	if err != nil {
		return 0, err
	}
	var seconds float64
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		part, err := strconv.ParseFloat(field(info, name), 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		seconds += part
	}
	below, err := r.beside.cpu(ctx)
	return below + time.Duration(seconds*float64(time.Second)), err
}

func (r redisSessions) size(ctx context.Context) (size, error) {
	s, err := r.beside.size(ctx)
	if err != nil {
		return s, err
	}
	keys, err := r.ask(ctx, "dbsize")
	if err != nil {
		return s, err
	}
	info, err := r.ask(ctx, "info", "memory")
	if err != nil {
		return s, err
	}
	s.rows += number(keys)
	s.bytes += number(field(info, "used_memory_dataset"))
	return s, nil
}

// ask runs redis-cli, so that no client of ours is part of what is measured.
func (r redisSessions) ask(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-u", r.server.URL()}, args...)...) //nolint:gosec // our own server
	answer, err := cmd.Output()
	return string(answer), err
}

// field returns a field of the answer to INFO.
func field(info, name string) string {
	_, rest, _ := strings.Cut(info, name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}
