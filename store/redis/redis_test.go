package redis_test

import (
	"crypto/rand"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store.Stores()
}

// open opens a store with keys of its own.
func open(t testing.TB, cfg redis.Config, base innkeeper.Stores) *redis.Store {
	t.Helper()
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = rand.Text() + ":"
	}
	store, err := redis.Open(t.Context(), cfg, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// start is a moment with microseconds, far from that of any server.
var start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_000, time.UTC)

var browser = innkeeper.Client{
	Addr:      netip.MustParseAddr("2001:db8::7"),
	UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
}

func newUser(name string, roles ...string) innkeeper.User {
	user := innkeeper.User{
		Subject:      innkeeper.Subject{Username: name, Email: name + "@example.com", Roles: roles},
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g",
		CreatedAt:    start,
		UpdatedAt:    start,
	}
	rand.Read(user.ID[:])
	rand.Read(user.Epoch[:])
	return user
}

func newSession(user innkeeper.User) innkeeper.Session {
	session := innkeeper.Session{
		UserID:           user.ID,
		Epoch:            user.Epoch,
		Delivery:         innkeeper.DeliverByCookie,
		Device:           "telephone",
		Client:           browser,
		Methods:          []string{"pwd"},
		CreatedAt:        start,
		ExpiresAt:        start.Truncate(time.Second).Add(30 * 24 * time.Hour),
		Generation:       1,
		RotatedAt:        start,
		RefreshExpiresAt: start.Truncate(time.Second).Add(14 * 24 * time.Hour),
	}
	rand.Read(session.ID[:])
	rand.Read(session.SecretHash[:])
	return session
}

// successor is the next rotation of a session.
func successor(session *innkeeper.Session, at time.Time) innkeeper.Rotation {
	r := innkeeper.Rotation{
		SessionID:        session.ID,
		Presented:        session.SecretHash,
		Generation:       session.Generation + 1,
		At:               at,
		RefreshExpiresAt: at.Truncate(time.Second).Add(14 * 24 * time.Hour),
		Client:           browser,
	}
	rand.Read(r.SecretHash[:])
	rand.Read(r.Salt[:])
	rand.Read(r.Key[:])
	return r
}

// What a rotation returns was not read back, but must be what a read would find.
func TestRotationReturnsWhatIsStored(t *testing.T) {
	t.Parallel()
	s := newStage(t, testengine.SharedRedis(t).URL())
	session := s.session(t, s.user(t, "ada"))
	elsewhere := time.Date(2026, 4, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	r := successor(&session, elsewhere)
	r.RefreshExpiresAt = elsewhere.Add(time.Hour)
	rotated, _, err := s.Sessions.RotateSession(t.Context(), r)
	check(t, err)
	rotated.Methods[0] = "mine" // belongs to the caller
	read, _, err := s.Sessions.Session(t.Context(), session.ID)
	check(t, err)
	rotated.Methods[0] = "pwd"
	if !reflect.DeepEqual(rotated, read) {
		t.Fatalf("rotated %+v\nread    %+v", rotated, read)
	}
	if again := s.lives(t, read); !reflect.DeepEqual(again.Methods, read.Methods) {
		t.Fatalf("the methods became %q", again.Methods)
	}
}
