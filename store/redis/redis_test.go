package redis_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(testengine.Main(m)) }

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, server := range []struct {
		name string
		url  func(testengine.TB) *testengine.Redis
	}{
		{"Single", testengine.SharedRedis},
		{"Cluster", testengine.SharedRedisCluster},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			url := server.url(t).URL()
			t.Run("SQLite", func(t *testing.T) {
				storetest.Run(t, func(t *testing.T) innkeeper.Stores {
					return open(t, redis.Config{URL: url}, newSQLite(t)).Stores()
				}, storetest.LetsGoByItself)
			})
			t.Run("Memory", func(t *testing.T) {
				storetest.Run(t, func(t *testing.T) innkeeper.Stores {
					return open(t, redis.Config{URL: url}, memory.New().Stores()).Stores()
				}, storetest.LetsGoByItself)
			})
		})
	}
}

func newSQLite(t testing.TB) innkeeper.Stores {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "innkeeper.db")})
	return storetest.Opened(t, store, err).Stores()
}

// open opens a store with keys of its own.
func open(t testing.TB, cfg redis.Config, base innkeeper.Stores) *redis.Store {
	t.Helper()
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = rand.Text() + ":"
	}
	store, err := redis.Open(t.Context(), cfg, base)
	return storetest.Opened(t, store, err)
}

// start is a moment with microseconds, far from that of any server.
var start = storetest.Start
