package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// The sides, in the order of their turns.
const (
	sideFloor         = "floor"
	sideSQLite        = "sqlite"
	sidePgbench       = "pgbench"
	sidePostgres      = "postgres"
	sideRedisSQLite   = "redis+sqlite"
	sideRedisPostgres = "redis+postgres"

	// The floor above a store, and not Innkeeper.
	barePrefix            = "bare "
	sideBarePostgres      = barePrefix + sidePostgres
	sideBareRedisSQLite   = barePrefix + sideRedisSQLite
	sideBareRedisPostgres = barePrefix + sideRedisPostgres
)

// servers are the sides that are servers.
var servers = []string{
	sideFloor, sideSQLite,
	sidePostgres, sideBarePostgres,
	sideRedisSQLite, sideBareRedisSQLite,
	sideRedisPostgres, sideBareRedisPostgres,
}

// onPostgres are the sides that need PostgreSQL.
var onPostgres = []string{sidePgbench, sidePostgres, sideBarePostgres, sideRedisPostgres, sideBareRedisPostgres}

// comparison is all sides, ready for their turns.
type comparison struct {
	settings
	dir      string
	postgres *testengine.Postgres
	pgbench  *pgbench // nil: it takes no part
	sides    []*side
	closers  []func() error
}

func compare(ctx context.Context, out io.Writer, s settings) (err error) {
	dir, err := os.MkdirTemp("", "innkeeper-bench-")
	if err != nil {
		return err
	}
	c := &comparison{settings: s, dir: dir}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.open(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %d CPUs, %d clients, %d turns of %s each\n\n", runtime.Version(), runtime.NumCPU(), s.clients, s.rounds, s.duration)
	for range s.rounds {
		if err := c.round(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(c.report(out), c.reportFewer(ctx, out)); err != nil {
		return err
	}
	if s.growth > 0 {
		if err := c.reportGrowth(ctx, out); err != nil {
			return err
		}
	}
	if s.sides != "" {
		return nil
	}
	return reportVerify(ctx, out)
}

// open starts engines and servers, and signs the clients in.
func (c *comparison) open(ctx context.Context) error {
	if slices.ContainsFunc(onPostgres, c.wants) {
		var err error
		if c.postgres, err = testengine.StartPostgres(ctx, testengine.PostgresConfig{}); err != nil {
			return err
		}
		c.closers = append(c.closers, c.postgres.Close)
	}
	if c.wants(sidePgbench) {
		var err error
		if c.pgbench, err = newPgbench(ctx, c.postgres, c.dir, c.clients); err != nil {
			return fmt.Errorf("prepare pgbench: %w", err)
		}
	}
	for _, name := range servers {
		if !c.wants(name) {
			continue
		}
		s, err := c.start(ctx, name)
		if err != nil {
			return err
		}
		c.sides, c.closers = append(c.sides, s), append(c.closers, s.close)
		if err := s.signIn(ctx, c.clients); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) start(ctx context.Context, name string) (*side, error) {
	key := rootkey.Generate().Reveal()
	if name == sideFloor {
		return startSide(ctx, name, key, nil)
	}
	var (
		below engine
		args  []string
	)
	store, bare := strings.CutPrefix(name, barePrefix)
	switch store {
	case sideSQLite, sideRedisSQLite:
		file := filepath.Join(c.dir, name+".db")
		below, args = sqliteFile(file), []string{"-file", file}
	default:
		database, err := newPostgresDatabase(ctx, c.postgres)
		if err != nil {
			return nil, err
		}
		below, args = database, []string{"-database", database.url}
	}
	if store == sideRedisSQLite || store == sideRedisPostgres {
		server, err := testengine.StartRedis(ctx, testengine.RedisConfig{AppendFsync: "everysec"})
		if err != nil {
			return nil, err
		}
		c.closers = append(c.closers, server.Close)
		below, args = redisSessions{server: server, beside: below}, append(args, "-sessions", server.URL())
	}
	if bare {
		args = append(args, "-bare")
	}
	return startSide(ctx, name, key, below, args...)
}

// close closes what was opened last first.
func (c *comparison) close() error {
	var err error
	for i := len(c.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, c.closers[i]())
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// round is a turn of each side.
func (c *comparison) round(ctx context.Context) error {
	for _, s := range c.sides {
		if s.name == sidePostgres && c.pgbench != nil {
			if err := c.pgbench.run(ctx, c.duration); err != nil {
				return err
			}
		}
		t, err := c.turn(ctx, s, c.clients)
		if err != nil {
			return err
		}
		s.turns = append(s.turns, t)
	}
	return nil
}

// turn is one turn of a side with so many of its clients. Profiles are of all of
// them.
func (c *comparison) turn(ctx context.Context, s *side, clients int) (turn, error) {
	profiled := c.cpuProfile != "" && clients == c.clients
	if profiled {
		if _, err := s.tell("profile " + c.cpuProfile + "." + s.name); err != nil {
			return turn{}, err
		}
	}
	t, err := s.run(ctx, load.Refresh.Clients(s.sessions[:clients]), load.Options{WarmUp: c.warmUp, Duration: c.duration})
	if profiled {
		_, stopErr := s.tell("stop-profile")
		err = errors.Join(err, stopErr)
	}
	return t, err
}

// report prints each side's medians.
func (c *comparison) report(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "side\trefreshes/s\tof floor\tof pgbench\tp50\tp99\tserver CPU\tengine CPU\t")
	var floor, bare []float64
	if c.pgbench != nil {
		bare = c.pgbench.perSecond
		fmt.Fprintf(table, "%s\t%.0f\t\t1.00\t\t\t\t\t\n", sidePgbench, median(bare))
	}
	for _, s := range c.sides {
		perSecond := rates(s.turns)
		if s.name == sideFloor {
			floor = perSecond
		}
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.name, median(perSecond), ratio(perSecond, floor), ratio(perSecond, bare),
			short(latency(s.turns, .5)), short(latency(s.turns, .99)),
			short(time.Duration(median(ofTurns(s.turns, func(t turn) float64 { return float64(t.serverCPU) })))),
			short(time.Duration(median(ofTurns(s.turns, func(t turn) float64 { return float64(t.engineCPU) })))))
	}
	fmt.Fprintln(table, "\t\t\t\t\t\tof 1,000\tof 1,000\t")
	return table.Flush()
}

// reportFewer compares SQLite with the floor where there is less to share: one
// client waits for a sync of the disk of its own.
func (c *comparison) reportFewer(ctx context.Context, out io.Writer) error {
	byName := make(map[string]*side)
	for _, s := range c.sides {
		byName[s.name] = s
	}
	floor, sqlite := byName[sideFloor], byName[sideSQLite]
	if floor == nil || sqlite == nil {
		return nil
	}
	fmt.Fprintln(out, "\nsqlite with fewer clients:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "clients\tfloor/s\trefreshes/s\tof floor\tp50\tp99\t")
	for _, clients := range []int{1, 16} {
		if clients >= c.clients {
			continue
		}
		var floors, turns []turn
		for range c.rounds {
			f, err := c.turn(ctx, floor, clients)
			if err != nil {
				return err
			}
			t, err := c.turn(ctx, sqlite, clients)
			if err != nil {
				return err
			}
			floors, turns = append(floors, f), append(turns, t)
		}
		fmt.Fprintf(table, "%d\t%.0f\t%.0f\t%s\t%s\t%s\t\n", clients, median(rates(floors)), median(rates(turns)),
			ratio(rates(turns), rates(floors)), short(latency(turns, .5)), short(latency(turns, .99)))
	}
	return table.Flush()
}

// reportGrowth counts rows and bytes, refreshes, and counts again.
func (c *comparison) reportGrowth(ctx context.Context, out io.Writer) error {
	fmt.Fprintf(out, "\nadded by %d refreshes:\n\n", c.growth)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "side\trows\tkB\tkB of log\t")
	for _, s := range c.sides {
		if s.engine == nil || strings.HasPrefix(s.name, barePrefix) {
			continue
		}
		before, err := s.engine.size(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := c.refresh(ctx, s, c.growth); err != nil {
			return err
		}
		after, err := s.engine.size(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		added := after.minus(before)
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", s.name, added.rows, added.bytes>>10, added.log>>10)
	}
	return table.Flush()
}

// refresh makes so many refreshes, or a few more.
func (c *comparison) refresh(ctx context.Context, s *side, n int) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	target := s.requests.Load() + int64(n)
	clients := load.Refresh.Clients(s.sessions)
	for i, client := range clients {
		clients[i] = func(ctx context.Context) (string, error) {
			if s.requests.Load() >= target {
				enough()
			}
			return client(ctx)
		}
	}
	result := load.Run(ctx, s.counted(clients), load.Options{})
	return result.Err
}

func ofTurns(turns []turn, figure func(turn) float64) []float64 {
	figures := make([]float64, len(turns))
	for i, t := range turns {
		figures[i] = figure(t)
	}
	return figures
}

func rates(turns []turn) []float64 {
	return ofTurns(turns, func(t turn) float64 { return t.PerSecond() })
}

// latency is the median of a quantile of the turns.
func latency(turns []turn, q float64) time.Duration {
	return time.Duration(median(ofTurns(turns, func(t turn) float64 { return float64(t.Latencies.Quantile(q)) })))
}

// ratio is the median of the ratios of turns that were taken one after the other.
func ratio(figures, base []float64) string {
	if len(base) != len(figures) {
		return ""
	}
	ratios := make([]float64, len(figures))
	for i := range figures {
		ratios[i] = figures[i] / base[i]
	}
	return fmt.Sprintf("%.2f", median(ratios))
}

func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[len(sorted)/2]
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
