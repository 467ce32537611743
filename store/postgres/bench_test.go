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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// BenchmarkRotate measures refreshes at the store, as durable as they are in
// production: random ones of 12,800 sessions, whose users have one role each.
//
// What to compare them with is what pgbench does on the same server with 64
// clients: one bare conditional UPDATE by primary key, of rows of the same width.
// Where others use the machine too, compare the CPU time: the client's, the server's
// or both.
func BenchmarkRotate(b *testing.B) {
	server := durable(b)
	url := createDatabase(b, server)
	store, shares, admin := open(b, url), fill(b, url, 64, 12_800), connect(b, url)
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			b.ReportAllocs()
			pages, updates, hot := usage(b, admin)
			batches, client, engine := store.Batches(), processTime(b), serverTime(b, server)
			b.ResetTimer()
			rotateAll(b, store.Stores().Sessions, shares[:clients])
			b.StopTimer()
			b.ReportMetric(float64(processTime(b)-client)/float64(b.N)/1e3, "client-µs/op")
			b.ReportMetric(float64(serverTime(b, server)-engine)/float64(b.N)/1e3, "server-µs/op")
			b.ReportMetric(float64(b.N)/float64(store.Batches()-batches), "rotations/batch")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
			pagesNow, updatesNow, hotNow := usage(b, admin)
			b.ReportMetric(float64(hotNow-hot)/float64(max(1, updatesNow-updates)), "hot/update")
			b.ReportMetric(float64(pagesNow-pages)*8192, "bytes-grown")
		})
	}
	b.Run("pgbench", func(b *testing.B) { pgbench(b, server, url) })
}

// BenchmarkSession measures what a request with an access token costs the store,
// where it is asked at all.
func BenchmarkSession(b *testing.B) {
	url := createDatabase(b, durable(b))
	store, sessions := open(b, url), fill(b, url, 16, 12_800)[0]
	var next atomic.Int64
	b.ReportAllocs()
	before := processTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := sessions[next.Add(7919)%int64(len(sessions))].ID
			if _, _, err := store.Stores().Sessions.Session(context.Background(), id); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(processTime(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
}

// rotateAll makes b.N rotations with one goroutine for each share of sessions.
func rotateAll(b *testing.B, store innkeeper.SessionStore, shares [][]innkeeper.Session) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, share := range shares {
		wg.Go(func() {
			at := share[0].CreatedAt
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				at = at.Add(time.Second)
				session := &share[i*7919%len(share)]
				rotated, _, err := store.RotateSession(context.Background(), successor(session, at))
				if err != nil {
					b.Error(err)
					return
				}
				*session = rotated
			}
		})
	}
	wg.Wait()
}

// fill creates sessions, ten for each user, and deals them out.
func fill(b *testing.B, url string, shares, sessions int) [][]innkeeper.Session {
	b.Helper()
	stores := open(b, url+"&synchronous_commit=off").Stores()
	role := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send", "report:read"}}
	if err := stores.Roles.SetRole(b.Context(), role, innkeeper.Event{}); err != nil {
		b.Fatal(err)
	}
	dealt := make([][]innkeeper.Session, shares)
	var wg sync.WaitGroup
	for share := range shares {
		wg.Go(func() {
			var user innkeeper.User
			for i := range sessions / shares {
				if i%10 == 0 {
					user = newUser(fmt.Sprintf("user-%d-%d", share, i), role.Name)
					if err := stores.Users.CreateUser(b.Context(), user, innkeeper.Event{}); err != nil {
						b.Error(err)
						return
					}
				}
				session := newSession(user)
				if err := stores.Sessions.CreateSession(b.Context(), innkeeper.Birth{Session: session}); err != nil {
					b.Error(err)
					return
				}
				dealt[share] = append(dealt[share], session)
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return dealt
}

// processTime is what the process has used of all CPUs.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
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
	b.ReportMetric(float64(used)/updates/1e3, "client-µs/op")
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
