//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// BenchmarkRotate measures refreshes at the store, as durable as they are in
// production.
//
// What to compare them with is what pgbench does on the same server with 64
// clients: one bare conditional UPDATE by primary key, of rows of the same width.
// Where others use the machine too, compare the CPU time: the client's, the server's
// or both.
func BenchmarkRotate(b *testing.B) {
	server := durable(b)
	url := createDatabase(b, server)
	store, sessions, admin := open(b, url), fill(b, url), connect(b, url)
	storetest.BenchmarkRotate(b, store.Stores().Sessions, sessions, func(b *testing.B) func() {
		pages, updates, hot := usage(b, admin)
		batches, engine := store.Batches(), serverTime(b, server)
		return func() {
			b.ReportMetric(float64(serverTime(b, server)-engine)/float64(b.N)/1e3, "server-µs/op")
			b.ReportMetric(float64(b.N)/float64(store.Batches()-batches), "rotations/batch")
			pagesNow, updatesNow, hotNow := usage(b, admin)
			b.ReportMetric(float64(hotNow-hot)/float64(max(1, updatesNow-updates)), "hot/update")
			b.ReportMetric(float64(pagesNow-pages)*8192, "bytes-grown")
		}
	})
	b.Run("pgbench", func(b *testing.B) { pgbench(b, server, url) })
}

func BenchmarkSession(b *testing.B) {
	url := createDatabase(b, durable(b))
	storetest.BenchmarkSession(b, open(b, url).Stores().Sessions, fill(b, url))
}

// fill does not wait for the disk at each of its writes.
func fill(b *testing.B, url string) []innkeeper.Session {
	b.Helper()
	return storetest.Fill(b, open(b, url+"&synchronous_commit=off").Stores())
}

// durable starts a server whose commits survive a power failure.
func durable(b *testing.B) *testengine.Postgres {
	b.Helper()
	server, err := testengine.StartPostgres(context.Background(), testengine.PostgresConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	return server
}

// pgbench reports what the server does for its own client.
func pgbench(b *testing.B, server *testengine.Postgres, url string) {
	b.Helper()
	const table = `
drop table if exists baseline;
create table baseline (number bigint primary key, like session) with (fillfactor = 80);
insert into baseline select row_number() over (), s.* from session s;
analyze baseline`
	const script = `\set n random(1, 12800)
update baseline set generation = generation + 1, rotated_at = now() where number = :n and generation > 0;
`
	if _, err := connect(b, url).Exec(context.Background(), table); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "update.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Fatal(err)
	}
	const clients = 64
	program := osexec.Command(filepath.Join(server.BinDir(), "pgbench"), "-n", "-M", "prepared", "-c", fmt.Sprint(clients),
		"-j", "2", "-t", fmt.Sprint(b.N/clients+1), "-f", file, url)
	engine := serverTime(b, server)
	b.ResetTimer()
	out, err := program.CombinedOutput()
	b.StopTimer()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	updates := float64((b.N/clients + 1) * clients)
	used := program.ProcessState.UserTime() + program.ProcessState.SystemTime()
	b.ReportMetric(float64(used)/updates/1e3, "cpu-µs/op")
	b.ReportMetric(float64(serverTime(b, server)-engine)/updates/1e3, "server-µs/op")
	b.ReportMetric(updates/b.Elapsed().Seconds(), "updates/s")
}

// serverTime is what the server's processes have used of all CPUs, those that have
// ended included.
func serverTime(b *testing.B, server *testengine.Postgres) time.Duration {
	b.Helper()
	pidFile, err := os.ReadFile(filepath.Join(server.DataDir(), "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	postmaster, _, _ := strings.Cut(string(pidFile), "\n")
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, rest, _ := strings.Cut(string(stat), " ")
		_, rest, _ = strings.Cut(rest, ") ") // its name
		fields := strings.Fields(rest)       // state, parent, …, own user and system time, those of its children
		times := fields[11:13]
		if pid == postmaster {
			times = fields[11:15]
		} else if fields[1] != postmaster {
			continue
		}
		for _, field := range times {
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
