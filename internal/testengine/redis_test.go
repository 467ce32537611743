package testengine_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

func TestRedisKeepsItsDataAndItsAddress(t *testing.T) {
	t.Parallel()
	redis, err := testengine.StartRedis(t.Context(), testengine.RedisConfig{})
	check(t, err)
	defer redis.Close()
	for name, end := range map[string]func() error{
		"kill":              redis.Kill,
		"stop":              func() error { return redis.Stop(context.Background()) },
		"kill-while-frozen": func() error { return errors.Join(redis.Freeze(), redis.Kill()) },
		"stop-while-frozen": func() error { return errors.Join(redis.Freeze(), redis.Stop(context.Background())) },
	} {
		if got := ask(t, connect(t, redis.Addr()), "SET guest "+name); got != "+OK" {
			t.Fatalf("%s: %s", name, got)
		}
		check(t, end())
		if !refused(redis.Addr()) {
			t.Errorf("%s: it still listens", name)
		}
		check(t, redis.Start(t.Context()))
		conn := connect(t, redis.Addr())
		if ask(t, conn, "GET guest"); answer(t, conn) != name {
			t.Errorf("%s: the last write was lost", name)
		}
	}

	check(t, redis.FlushAll(t.Context()))
	if got := ask(t, connect(t, redis.Addr()), "GET guest"); got != "$-1" {
		t.Errorf("after FlushAll: %s", got)
	}
	if redis.Start(t.Context()) == nil {
		t.Error("a running server was started")
	}

	check(t, redis.Kill())
	release := hold(t, redis.Addr())
	if err := redis.Start(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("started on a port that is taken: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, release)
	check(t, redis.Start(t.Context()))
}

func TestRedisIsDurableUnlessTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  testengine.RedisConfig
		want string
	}{
		{testengine.RedisConfig{}, "always"},
		{testengine.RedisConfig{AppendFsync: "everysec"}, "everysec"},
		{testengine.RedisConfig{AppendFsync: "no", Settings: map[string]string{"appendfsync": "always"}}, "always"},
	} {
		redis, err := testengine.StartRedis(t.Context(), c.cfg)
		check(t, err)
		conn := connect(t, redis.Addr())
		ask(t, conn, "CONFIG GET appendfsync")
		for range 3 {
			answer(t, conn)
		}
		if got := answer(t, conn); got != c.want {
			t.Errorf("%+v: %s, want %s", c.cfg, got, c.want)
		}
		check(t, redis.Close())
	}
}

func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	redis, err := testengine.StartRedis(t.Context(), testengine.RedisConfig{AppendFsync: "no"})
	check(t, err)
	defer redis.Close()
	check(t, redis.Freeze())
	conn := connect(t, redis.Addr())
	_, err = conn.Write([]byte("PING\r\n"))
	check(t, err)
	if !silent(t, conn) {
		t.Error("a frozen server answered")
	}
	check(t, redis.Thaw())
	if got := answer(t, conn); got != "+PONG" {
		t.Error(got)
	}
}

func TestRedisClusterKeepsTheRulesOfOne(t *testing.T) {
	t.Parallel()
	redis := testengine.SharedRedisCluster(t)
	conn := connect(t, redis.Addr())
	for command, want := range map[string]string{
		"MSET {inn}a 1 {inn}b 2": "+OK",
		"MSET a 1 b 2":           "-CROSSSLOT",
	} {
		if got := ask(t, conn, command); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
}

func TestRedisErrorsTellItsLog(t *testing.T) {
	t.Parallel()
	_, err := testengine.StartRedis(t.Context(), testengine.RedisConfig{Settings: map[string]string{"vacancy": "none"}})
	if err == nil || !strings.Contains(err.Error(), "Bad directive") {
		t.Errorf("no log in: %v", err)
	}
}

// A server that is stopped, or about to start, finds its port free.
func TestNoAddressIsGivenTwice(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	for range 600 {
		addr, err := testengine.FreeAddr()
		check(t, err)
		if given[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		given[addr] = true
	}
}

func TestSharedServersAreShared(t *testing.T) {
	t.Parallel()
	redis := testengine.SharedRedis(t)
	if testengine.SharedRedis(t) != redis {
		t.Error("two shared servers")
	}
	if got := ask(t, connect(t, strings.TrimPrefix(redis.URL(), "redis://")), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

func BenchmarkStartRedis(b *testing.B) {
	for b.Loop() {
		redis, err := testengine.StartRedis(b.Context(), testengine.RedisConfig{})
		if err != nil {
			b.Fatal(err)
		}
		if err := redis.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
