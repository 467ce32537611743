package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
)

// pgbench does the least that a refresh could ask of PostgreSQL: one bare
// conditional UPDATE by primary key, each client on a row of its own. The table
// is the store's own, so its rows are as wide and its pages as full.
type pgbench struct {
	server   *testengine.Postgres
	database string
	script   string
	clients  int

	perSecond []float64 // of each turn
}

// bareUpdate changes what a refresh changes.
const bareUpdate = `update session set generation = generation + 1, rotated_at = now(), refresh_expires_at = now(),
    secret_hash = '\x%[1]s', salt = '\x%[2]s', addr = '127.0.0.1', user_agent = 'innkeeper-bench'
where id = '\x000000000000000000000000'::bytea || int4send(:client_id::int) and secret_hash = '\x%[1]s';
`

const bareRows = `insert into session (user_number, created_at, expires_at, id, user_id, epoch, delivery, device, methods, reason,
    generation, rotated_at, refresh_expires_at, secret_hash, salt, recent_keys, addr, user_agent)
select 1, now(), now(), '\x000000000000000000000000'::bytea || int4send(n::int), '\x%[2]s', '\x0011223344556677', 'body', 'load', '{pwd}', '',
    1, now(), now(), '\x%[1]s', '\x%[2]s', decode(repeat('00', 128), 'hex'), '127.0.0.1', 'innkeeper-bench'
from generate_series(0, %[3]d - 1) as n`

func newPgbench(ctx context.Context, server *testengine.Postgres, dir string, clients int) (*pgbench, error) {
	database, err := newPostgresDatabase(ctx, server)
	if err != nil {
		return nil, err
	}
	if _, _, err := postgres.Migrate(ctx, postgres.Config{URL: database.url}); err != nil {
		return nil, err
	}
	db, err := database.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	hash, salt := fmt.Sprintf("%064x", 1), fmt.Sprintf("%032x", 2)
	if _, err := db.ExecContext(ctx, fmt.Sprintf(bareRows, hash, salt, clients)); err != nil {
		return nil, err
	}
	b := &pgbench{server: server, database: database.url, script: filepath.Join(dir, "bare.sql"), clients: clients}
	return b, os.WriteFile(b.script, fmt.Appendf(nil, bareUpdate, hash, salt), 0o600)
}

var transactionsPerSecond = regexp.MustCompile(`tps = ([0-9.]+)`)

// run is one turn.
func (b *pgbench) run(ctx context.Context, duration time.Duration) error {
	u, err := url.Parse(b.database)
	if err != nil {
		return err
	}
	threads := min(2, b.clients)
	cmd := exec.CommandContext(ctx, filepath.Join(b.server.BinDir(), "pgbench"), //nolint:gosec // Debian's own
		"-n", "-M", "prepared", "-c", strconv.Itoa(b.clients), "-j", strconv.Itoa(threads),
		"-T", strconv.Itoa(max(1, int(duration.Seconds()))), "-f", b.script,
		"-h", u.Hostname(), "-p", u.Port(), "-U", u.User.Username(), u.Path[1:])
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgbench: %w\n%.1000s", err, &said) // it repeats itself for each client
	}
	found := transactionsPerSecond.FindSubmatch(said.Bytes())
	if found == nil {
		return fmt.Errorf("pgbench says no rate:\n%s", &said)
	}
	perSecond, err := strconv.ParseFloat(string(found[1]), 64)
	b.perSecond = append(b.perSecond, perSecond)
	return err
}
