package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
)

// Scale compares a database of millions of sessions with one of 10,000. Both
// servers take turns; each request refreshes another session, in an order in which
// neighbors are far apart. Then the million sessions that have ended are swept
// while the same load goes on, and a user with 100,000 sessions is logged out.

type scaleSettings struct {
	settings
	small, postgres, sqlite int64 // sessions
	ended, ofMany           int64
}

func runScale(ctx context.Context, out io.Writer, args []string) (err error) {
	var s scaleSettings
	flags := flag.NewFlagSet("bench scale", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "how often each side takes its turn")
	flags.IntVar(&s.clients, "clients", 64, "how many clients refresh at once")
	flags.DurationVar(&s.duration, "duration", 5*time.Second, "length of a turn")
	flags.DurationVar(&s.warmUp, "warm-up", 500*time.Millisecond, "unmeasured beginning of a turn")
	flags.StringVar(&s.sides, "sides", "", "only postgres or sqlite")
	flags.Int64Var(&s.small, "small", 10_000, "sessions of the small databases")
	flags.Int64Var(&s.postgres, "postgres", 10_000_000, "sessions of the large PostgreSQL database")
	flags.Int64Var(&s.sqlite, "sqlite", 2_000_000, "sessions of the large SQLite database")
	flags.Int64Var(&s.ended, "ended", 1_000_000, "sessions to sweep from the large ones")
	flags.Int64Var(&s.ofMany, "of-one-user", 100_000, "sessions of one user in the large ones")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "innkeeper-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(out, "%s, %d CPUs, %d clients, %d turns of %s each\n", runtime.Version(), runtime.NumCPU(), s.clients, s.rounds, s.duration)
	if s.wants(sideSQLite) {
		if err := s.scaleSQLite(ctx, out, dir); err != nil {
			return fmt.Errorf("sqlite: %w", err)
		}
	}
	if s.wants(sidePostgres) {
		if err := s.scalePostgres(ctx, out); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	return nil
}

func (s scaleSettings) filling(key *rootkey.Key, sessions int64) filling {
	return filling{
		numbered: numbered{key: key, expiresAt: time.Now().Add(14 * 24 * time.Hour).Truncate(time.Second)},
		live:     sessions,
	}
}

func (s scaleSettings) scaleSQLite(ctx context.Context, out io.Writer, dir string) error {
	key := rootkey.Generate()
	open := func(name string, b filling) (*crowd, error) {
		file := filepath.Join(dir, name)
		began := time.Now()
		if err := b.fillSQLite(ctx, file); err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "\nsqlite: filled with %d sessions in %s", b.live+b.ended+b.ofMany, time.Since(began).Round(time.Second))
		return s.crowd(ctx, sideSQLite, b, sqliteFile(file), "-file", file)
	}
	return s.compareSizes(ctx, out, key, s.sqlite, open)
}

func (s scaleSettings) scalePostgres(ctx context.Context, out io.Writer) (err error) {
	key := rootkey.Generate()
	// What anybody sets who keeps millions of rows.
	server, err := testengine.StartPostgres(ctx, testengine.PostgresConfig{Settings: map[string]string{
		"shared_buffers": "2GB", "max_wal_size": "8GB",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	open := func(_ string, b filling) (*crowd, error) {
		database, err := newPostgresDatabase(ctx, server)
		if err != nil {
			return nil, err
		}
		if _, _, err := postgres.Migrate(ctx, postgres.Config{URL: database.url}); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := b.fillPostgres(ctx, database); err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "\npostgres: filled with %d sessions in %s", b.live+b.ended+b.ofMany, time.Since(began).Round(time.Second))
		return s.crowd(ctx, sidePostgres, b, database, "-database", database.url)
	}
	return s.compareSizes(ctx, out, key, s.postgres, open)
}

// compareSizes measures a small and a large database in turns, and then the large
// one while it is swept.
func (s scaleSettings) compareSizes(ctx context.Context, out io.Writer, key *rootkey.Key, sessions int64, open func(string, filling) (*crowd, error)) (err error) {
	small, err := open("small.db", s.filling(key, s.small))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, small.close()) }()
	b := s.filling(key, sessions)
	b.ended, b.ofMany = s.ended, s.ofMany
	large, err := open("large.db", b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.close()) }()
	filled, err := large.engine.size(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, ", %d bytes each, with indexes and a tenth of a user\n\n", filled.bytes/(b.live+b.ended+b.ofMany))

	for range s.rounds {
		for _, c := range []*crowd{small, large} {
			t, err := c.run(ctx, c.clients(), load.Options{WarmUp: s.warmUp, Duration: s.duration})
			if err != nil {
				return err
			}
			c.turns = append(c.turns, t)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "sessions\trefreshes/s\tp50\tp99\tp99 of small\t")
	for _, c := range []*crowd{small, large} {
		p99 := func(t turn) float64 { return float64(t.Latencies.Quantile(.99)) }
		fmt.Fprintf(table, "%d\t%.0f\t%s\t%s\t%s\t\n", c.live, median(rates(c.turns)),
			short(latency(c.turns, .5)), short(latency(c.turns, .99)), ratio(ofTurns(c.turns, p99), ofTurns(small.turns, p99)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return errors.Join(large.reportSweep(ctx, out), large.reportLogout(out))
}

// crowd is a side whose clients go through all of its numbered sessions.
type crowd struct {
	*side
	filling
	workers []*worker
}

// worker is a client that refreshes one session after the other.
type worker struct {
	session *load.Session
	next    int64
	tokens  map[int64]string // of the sessions that are beyond their first
	step    int64
}

func (s scaleSettings) crowd(ctx context.Context, name string, b filling, below engine, args ...string) (*crowd, error) {
	started, err := startSide(ctx, name, b.key.Reveal(), below, args...)
	if err != nil {
		return nil, err
	}
	c := &crowd{side: started, filling: b}
	for i, session := range load.NewSessions(load.Target{URL: started.url}, s.clients) {
		c.workers = append(c.workers, &worker{session: session, next: int64(i), step: int64(s.clients), tokens: make(map[int64]string)})
	}
	return c, nil
}

// clients are the workers. Each has the numbers that leave its own remainder, so
// no two of them meet.
func (c *crowd) clients() []load.Client {
	clients := make([]load.Client, len(c.workers))
	for i, w := range c.workers {
		// A stride near the golden section visits all of them, neighbors far apart.
		each := c.live / w.step
		stride := each*618/1000 | 1
		for gcd(stride, each) != 1 {
			stride += 2
		}
		clients[i] = load.Repeat(load.StepRefresh, func(ctx context.Context) error {
			w.next = (w.next + stride*w.step) % (each * w.step)
			return w.refresh(ctx, c.numbered)
		})
	}
	return clients
}

func (w *worker) refresh(ctx context.Context, d numbered) error {
	token, known := w.tokens[w.next]
	generation := uint32(1)
	if known {
		generation = generationOf(token)
	} else {
		token = d.firstToken(w.next)
	}
	w.session.Resume(token, generation)
	if err := w.session.Refresh(ctx); err != nil {
		return err
	}
	w.tokens[w.next], _ = w.session.RefreshToken()
	return nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// reportSweep compares the latencies of refreshes while a sweep goes on with those
// just before it.
func (c *crowd) reportSweep(ctx context.Context, out io.Writer) error {
	if c.ended == 0 {
		return nil
	}
	quiet := load.Run(ctx, c.clients(), load.Options{WarmUp: time.Second, Duration: 15 * time.Second})
	if quiet.Err != nil {
		return quiet.Err
	}
	during, over := context.WithCancel(ctx)
	defer over()
	var (
		began   = time.Now()
		swept   string
		failure error
		took    time.Duration
	)
	go func() {
		defer over()
		swept, failure = c.tell("sweep")
		took = time.Since(began)
	}()
	busy := load.Run(during, c.clients(), load.Options{})
	if err := errors.Join(busy.Err, failure, ctx.Err()); err != nil {
		return err
	}
	before, while := quiet.Total(), busy.Total()
	p99, swp99 := before.Latencies.Quantile(.99), while.Latencies.Quantile(.99)
	_, err := fmt.Fprintf(out, "swept %s sessions in %s: refreshes/s %.0f → %.0f, p99 %s → %s, ratio %.2f\n", swept, took.Round(time.Second),
		before.PerSecond(), while.PerSecond(), short(p99), short(swp99), float64(swp99)/float64(p99))
	return err
}

// reportLogout logs out a user with one session and one with many.
func (c *crowd) reportLogout(out io.Writer) error {
	few, err := c.tell("logout-everywhere " + username)
	if err != nil {
		return err
	}
	many, err := c.tell("logout-everywhere " + manyName)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "logout everywhere: a user without sessions %s, one with %d %s\n", few, c.ofMany, many)
	return err
}
