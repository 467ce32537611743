//go:build unix

package redis_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/redis"
)

// BenchmarkRotate measures refreshes at the store, with users in SQLite and a Redis
// on the same machine that syncs every second: random ones of 20,000 sessions, whose
// users have one role each. Besides the time it reports the CPU time of one rotation
// on our side and on that of Redis.
func BenchmarkRotate(b *testing.B) {
	server, err := testengine.StartRedis(b.Context(), testengine.RedisConfig{AppendFsync: "everysec"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	store := open(b, redis.Config{URL: server.URL()}, newSQLite(b))
	sessions := fill(b, store.Stores(), 20_000)
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			b.ReportAllocs()
			ours, theirs := processTime(b), serverTime(b, server)
			b.ResetTimer()
			rotateAll(b, store.Stores().Sessions, sessions, clients)
			b.StopTimer()
			b.ReportMetric(float64(processTime(b)-ours)/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(serverTime(b, server)-theirs)/float64(b.N)/1e3, "redis-cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
		})
	}
}

// rotateAll makes b.N rotations, with each client on its own part of the sessions.
func rotateAll(b *testing.B, store innkeeper.SessionStore, sessions []innkeeper.Session, clients int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for share := range slices.Chunk(sessions, len(sessions)/clients) {
		wg.Go(func() {
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				session := &share[i*7919%len(share)]
				// Nearly all within one hour, as sessions are refreshed every 15 minutes.
				at := session.RotatedAt.Add(time.Second)
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

// fill creates sessions, ten for each user.
func fill(b *testing.B, stores innkeeper.Stores, n int) []innkeeper.Session {
	b.Helper()
	role := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send", "report:read"}}
	if err := stores.Roles.SetRole(b.Context(), role, innkeeper.Event{}); err != nil {
		b.Fatal(err)
	}
	sessions := make([]innkeeper.Session, n)
	var wg sync.WaitGroup
	for share := range slices.Chunk(sessions, n/64) {
		wg.Go(func() {
			var user innkeeper.User
			for i := range share {
				if i%10 == 0 {
					user = newUser(rand.Text(), role.Name)
					if err := stores.Users.CreateUser(b.Context(), user, innkeeper.Event{}); err != nil {
						b.Error(err)
						return
					}
				}
				share[i] = newSession(user)
				if err := stores.Sessions.CreateSession(b.Context(), innkeeper.Birth{Session: share[i]}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return sessions
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

// serverTime is what a Redis has used of all CPUs.
func serverTime(b *testing.B, server *testengine.Redis) time.Duration {
	b.Helper()
	info := ask(b, server, "INFO", "cpu")
	var used time.Duration
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		_, rest, _ := strings.Cut(info, name+":")
		text, _, _ := strings.Cut(rest, "\r\n")
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatal(err)
		}
		used += time.Duration(seconds * float64(time.Second))
	}
	return used
}
