// Command bench prints what a refresh costs beside the least that it could cost:
//
//	go run ./internal/bench
//
// The floor is the same net/http server on the same machine in the same minute,
// that only decodes the request, signs one access token and encodes the answer.
// Rounds of both alternate, so that a machine that slows down slows both.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	rounds     int
	duration   time.Duration
	warmUp     time.Duration
	cpuProfile string
}

func run(ctx context.Context, out io.Writer, args []string) error {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "how often each side is measured")
	flags.DurationVar(&s.duration, "duration", 3*time.Second, "length of a round")
	flags.DurationVar(&s.warmUp, "warm-up", 500*time.Millisecond, "unmeasured beginning of a round")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "", "write a profile of the rounds with 64 clients on SQLite here")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return measure(ctx, out, s)
}

func measure(ctx context.Context, out io.Writer, s settings) error {
	floor, err := startFloor(ctx)
	if err != nil {
		return fmt.Errorf("start floor: %w", err)
	}
	defer floor.close()
	inn, err := startSQLite(ctx)
	if err != nil {
		return fmt.Errorf("start innkeeper: %w", err)
	}
	defer inn.close()

	fmt.Fprintf(out, "%s, GOMAXPROCS %d, %d rounds of %s each; SQLite with WAL and synchronous=FULL\n\n",
		runtime.Version(), runtime.GOMAXPROCS(0), s.rounds, s.duration)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "clients\tfloor/s\trefresh/s\tratio\tp50\tp99\tfloor p50\tfloor p99\t")
	for _, clients := range []int{1, 16, 64} {
		row, err := compare(ctx, s, floor, inn, clients)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%d\t%.0f\t%.0f\t%.2f\t%s\t%s\t%s\t%s\t\n", clients,
			row.floor.PerSecond(), row.refresh.PerSecond(), row.ratio,
			short(row.refresh.Quantile(.5)), short(row.refresh.Quantile(.99)), short(row.floor.Quantile(.5)), short(row.floor.Quantile(.99)))
	}
	return table.Flush()
}

// row is the round whose ratio is the median of all.
type row struct {
	floor, refresh load.Result
	ratio          float64
}

func compare(ctx context.Context, s settings, floor, inn *server, clients int) (row, error) {
	var rows []row
	for range s.rounds {
		f, err := round(ctx, s, floor, clients, "")
		if err != nil {
			return row{}, fmt.Errorf("floor: %w", err)
		}
		r, err := round(ctx, s, inn, clients, s.cpuProfile)
		if err != nil {
			return row{}, fmt.Errorf("refresh: %w", err)
		}
		rows = append(rows, row{floor: f, refresh: r, ratio: r.PerSecond() / f.PerSecond()})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.ratio < b.ratio {
			return -1
		}
		return 1
	})
	return rows[len(rows)/2], nil
}

func round(ctx context.Context, s settings, target *server, clients int, profile string) (load.Result, error) {
	runtime.GC() // the garbage of one side is not the other's to collect
	if profile != "" && clients == 64 {
		stop, err := startProfile(profile)
		if err != nil {
			return load.Result{}, err
		}
		defer stop()
	}
	result := load.Run(ctx, target.clients[:clients], s.warmUp, s.duration)
	if result.Err != nil {
		return result, fmt.Errorf("%d requests failed, the first with: %w", result.Failures, result.Err)
	}
	return result, ctx.Err()
}

// startProfile writes a CPU profile until the returned function is called.
func startProfile(path string) (stop func(), err error) {
	file, err := os.Create(path) //nolint:gosec // the path is the user's own
	if err != nil {
		return nil, fmt.Errorf("create profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, fmt.Errorf("start profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		if err := file.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: write profile:", err)
		}
	}, nil
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
