//go:build unix

package redis_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// BenchmarkRotate measures refreshes at the store, with users in SQLite and a Redis
// on the same machine that syncs every second. Besides our CPU time it reports that of
// Redis.
func BenchmarkRotate(b *testing.B) {
	server, err := testengine.StartRedis(b.Context(), testengine.RedisConfig{AppendFsync: "everysec"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	store := open(b, redis.Config{URL: server.URL()}, newSQLite(b))
	sessions := storetest.Fill(b, store.Stores())
	storetest.BenchmarkRotate(b, store.Stores().Sessions, sessions, func(b *testing.B) func() {
		before := serverTime(b, server)
		return func() {
			b.ReportMetric(float64(serverTime(b, server)-before)/float64(b.N)/1e3, "redis-cpu-µs/op")
		}
	})
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
