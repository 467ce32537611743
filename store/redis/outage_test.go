package redis_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func newProxy(t *testing.T, server *testengine.Redis) *testengine.Proxy {
	t.Helper()
	proxy, err := testengine.NewProxy(server.Addr())
	check(t, err)
	t.Cleanup(func() { check(t, proxy.Close()) })
	return proxy
}

func startRedis(t *testing.T, cfg testengine.RedisConfig) *testengine.Redis {
	t.Helper()
	server, err := testengine.StartRedis(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() { check(t, server.Close()) })
	return server
}

// newImpatientStage opens a store that soon gives up on a server that does not answer.
func newImpatientStage(t *testing.T, url string) *stage {
	t.Helper()
	return newStageOf(t, redis.Config{URL: url, Timeout: time.Second, DialTimeout: time.Second}, memory.New().Stores())
}

// Whatever happens to Redis, callers are told in time, and need nothing but its
// return to go on.
func TestOutages(t *testing.T) {
	t.Parallel()
	for _, topology := range []struct {
		name    string
		cluster bool
	}{{"Single", false}, {"Cluster", true}} {
		t.Run(topology.name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t, testengine.RedisConfig{Cluster: topology.cluster})
			s := newImpatientStage(t, server.URL())
			outages(t, s, map[string][2]func() error{
				"Killed":  {server.Kill, func() error { return server.Start(t.Context()) }},
				"Stopped": {func() error { return server.Stop(t.Context()) }, func() error { return server.Start(t.Context()) }},
				"Frozen":  {server.Freeze, server.Thaw},
			})
		})
	}
	t.Run("Network", func(t *testing.T) {
		t.Parallel()
		proxy := newProxy(t, testengine.SharedRedis(t))
		s := newImpatientStage(t, "redis://"+proxy.Addr())
		outages(t, s, map[string][2]func() error{
			"BlackHole": {func() error { proxy.Hang(); return nil }, proxy.Pass},
			"Refused":   {func() error { err := proxy.Refuse(); proxy.Cut(); return err }, proxy.Pass},
		})
	})
}

// outages breaks and mends Redis in several ways under one store that stays open.
func outages(t *testing.T, s *stage, ways map[string][2]func() error) {
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	for name, way := range ways {
		check(t, way[0]())
		began := time.Now()
		_, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, session.RotatedAt))
		unknown(t, err)
		_, _, err = s.Sessions.Session(t.Context(), session.ID)
		unknown(t, err)
		unknown(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)))
		unknown(t, s.Sessions.CreateSession(t.Context(), birth(storetest.NewSession(ada))))
		_, err = s.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: ada.ID, Limit: 1})
		unknown(t, err)
		if took := time.Since(began); took > 30*time.Second { // five calls of which each may take a second
			t.Errorf("%s: the errors took %s", name, took)
		}
		check(t, way[1]())
		session = s.recovers(t, session)
	}
}

// recovers waits until a session can be rotated again. What was sent to a server that
// stood still, it does when it goes on, so the session may have moved.
func (s *stage) recovers(t *testing.T, session innkeeper.Session) innkeeper.Session {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		found, _, err := s.Sessions.Session(t.Context(), session.ID)
		if err == nil {
			rotated, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(found, found.RotatedAt))
			if err == nil {
				return rotated
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("it has not recovered: %v", err)
		}
	}
}

// An answer that is lost leaves the outcome unknown. A store or a client library that
// tried again would meet its own first try, and say that nothing matched.
func TestALostAnswerIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	server := testengine.SharedRedis(t)
	proxy := newProxy(t, server)
	cfg := redis.Config{URL: "redis://" + proxy.Addr(), KeyPrefix: rand.Text() + ":", Timeout: 30 * time.Second}
	s := newStageOf(t, cfg, memory.New().Stores())
	nearby := &stage{Stores: open(t, configOf(server.URL(), cfg.KeyPrefix), s.below).Stores()}
	for rounds, losses := 0, 0; losses < 5; rounds++ {
		if rounds == 100 {
			t.Fatalf("of %d answers only %d were lost", rounds, losses)
		}
		session := s.session(t, s.user(t, storetest.NewUser("").Epoch.String()))
		proxy.Delay(250 * time.Millisecond)
		r := storetest.Successor(session, start)
		lost := make(chan error, 1)
		go func() {
			_, _, err := s.Sessions.RotateSession(context.Background(), r)
			lost <- err
		}()
		nearby.awaitRotation(t, r) // the request has arrived, its answer is on the way
		proxy.Cut()
		proxy.Delay(0)
		err := <-lost
		if err == nil {
			continue // this machine stood still, and the answer has arrived as well
		}
		losses++
		unknown(t, err)
		found, _, err := s.Sessions.Session(t.Context(), session.ID)
		check(t, err)
		if found.SecretHash != r.SecretHash {
			t.Fatal("the rotation that was seen is gone")
		}
	}
}

// awaitRotation returns when a rotation has been written.
func (s *stage) awaitRotation(t *testing.T, r innkeeper.Rotation) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		found, _, err := s.Sessions.Session(t.Context(), r.SessionID)
		check(t, err)
		if found.SecretHash == r.SecretHash {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatal("the request has not arrived")
		}
	}
}

// A server that was demoted answers, and refuses writes. Its name may lead to another
// one by now, which only a new connection finds out.
func TestAReadOnlyServerIsDialedAnew(t *testing.T) {
	t.Parallel()
	server := startRedis(t, testengine.RedisConfig{AppendFsync: "no"})
	s := newStage(t, server.URL())
	session := s.session(t, s.user(t, "ada"))
	before := ask(t, server, "CLIENT", "LIST")
	ask(t, server, "REPLICAOF", "127.0.0.1", "1")
	_, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, start))
	unknown(t, err)
	ask(t, server, "REPLICAOF", "NO", "ONE")
	s.recovers(t, session)
	for line := range strings.Lines(ask(t, server, "CLIENT", "LIST")) {
		id, rest, _ := strings.Cut(line, " ")
		if strings.Contains(before, id+" ") && strings.Contains(rest, "cmd=evalsha") {
			t.Fatalf("the old connection is still in use: %s", line)
		}
	}
}

// A server that has forgotten its scripts is told them again.
func TestScriptsThatWereFlushed(t *testing.T) {
	t.Parallel()
	server := startRedis(t, testengine.RedisConfig{AppendFsync: "no"})
	s := newStage(t, server.URL())
	ada := s.user(t, "ada")
	flush := func() { t.Helper(); ask(t, server, "SCRIPT", "FLUSH") }
	session := s.session(t, ada)
	flush()
	session = s.lives(t, session)
	flush()
	change := newEpoch(ada)
	change.NewEpoch.Carry = &session.ID
	_, err := s.Users.ChangeUser(t.Context(), change)
	check(t, err)
	flush()
	session = s.lives(t, session)
	flush()
	check(t, s.Sessions.EndSession(t.Context(), ending(session, innkeeper.ReasonLogout)))
}

func TestOpenFailsInTime(t *testing.T) {
	t.Parallel()
	server := testengine.SharedRedis(t)
	proxy := newProxy(t, server)
	proxy.Hang()
	locked := startRedis(t, testengine.RedisConfig{AppendFsync: "no"})
	ask(t, locked, "CONFIG", "SET", "requirepass", "open-sesame")
	for name, url := range map[string]string{
		"BlackHole":     "redis://user:hunter2@" + proxy.Addr(),
		"Nobody":        "redis://user:hunter2@127.0.0.1:1",
		"WrongPassword": "redis://:hunter2@" + locked.Addr(),
		"NoPassword":    locked.URL(),
		"NoCluster":     server.URL() + "/?cluster=true",
		"NoDatabase":    server.URL() + "/9999",
		"NoTLS":         "rediss://user:hunter2@" + server.Addr(),
		"Malformed":     "redis://user:hunter2@host:hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			cfg := redis.Config{URL: url, DialTimeout: time.Second, Timeout: time.Second}
			_, err := redis.Open(t.Context(), cfg, memory.New().Stores())
			if err == nil {
				t.Fatal("it opened")
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s to fail", took)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the error tells the password: %v", err)
			}
			t.Log(err)
		})
	}
	for _, url := range []string{"redis://:open-sesame@" + locked.Addr(), "redis://default:open-sesame@" + locked.Addr() + "/3"} {
		open(t, redis.Config{URL: url}, memory.New().Stores())
	}
}

// A server that evicts keys signs people out at random, which an operator should hear.
func TestOpenWarnsOfEviction(t *testing.T) {
	t.Parallel()
	for policy, warns := range map[string]bool{"noeviction": false, "allkeys-lru": true} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t, testengine.RedisConfig{AppendFsync: "no", Settings: map[string]string{"maxmemory-policy": policy}})
			var log strings.Builder
			logger := slog.New(slog.NewTextHandler(&log, nil))
			open(t, redis.Config{URL: server.URL(), Logger: logger}, memory.New().Stores())
			if strings.Contains(log.String(), "level=WARN") != warns {
				t.Fatalf("it logs %q", log.String())
			}
			// Who may not ask opens all the same.
			ask(t, server, "ACL", "SETUSER", "app", "on", ">s3cret", "~*", "+@all", "-config")
			log.Reset()
			open(t, redis.Config{URL: "redis://app:s3cret@" + server.Addr(), Logger: logger}, memory.New().Stores())
			if !strings.Contains(log.String(), "level=INFO") || strings.Contains(log.String(), "s3cret") {
				t.Fatalf("it logs %q", log.String())
			}
		})
	}
}
