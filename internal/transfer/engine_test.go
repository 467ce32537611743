package transfer_test

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/internal/transfer"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/redis"
)

func TestMain(m *testing.M) { os.Exit(testengine.Main(m)) }

var engines = map[string]func(*testing.T) innkeeper.Stores{
	"memory": inMemory, "file": inFile, "postgres": inPostgres, "postgres and redis": inRedis,
}

func inPostgres(t *testing.T) innkeeper.Stores {
	database, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(t.Context(), postgres.Config{URL: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store.Stores()
}

// prefixes counts the prefixes of keys that were given out.
var prefixes atomic.Int32

// besides keeps sessions in Redis, beside the users of another store.
func besides(t *testing.T, base innkeeper.Stores) innkeeper.Stores {
	store, err := redis.Open(t.Context(), redis.Config{
		URL: testengine.SharedRedis(t).URL(), KeyPrefix: fmt.Sprintf("test-%d:", prefixes.Add(1)),
	}, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store.Stores()
}

func inRedis(t *testing.T) innkeeper.Stores { return besides(t, inPostgres(t)) }

// TestOnlySessions moves sessions away from their users, and back.
func TestOnlySessions(t *testing.T) {
	database := inPostgres(t)
	l, roots := served(t, database)
	together := besides(t, database)
	counts := mustRun(t, transfer.Config{From: database, To: together, Scope: transfer.OnlySessions})
	if counts.Users != 3 || counts.Sessions != 5 || counts.Events != 0 {
		t.Errorf("counted %+v", counts)
	}
	if _, err := transfer.ClearSessions(t.Context(), database.Sessions); err != nil {
		t.Fatal(err)
	}
	i := openInn(t, together, roots)
	l.once = i.refresh(l.once)
	if _, err := run(t, transfer.Config{From: database, To: together, Scope: transfer.OnlySessions}); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("copied over what is there: %v", err)
	}
	mustRun(t, transfer.Config{From: together, To: database, Scope: transfer.OnlySessions})
	l.goOn(openInn(t, database, roots))
}
