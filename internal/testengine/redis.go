package testengine

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RedisConfig says how a Redis server runs. Its zero value loses nothing that it
// has confirmed.
type RedisConfig struct {
	// AppendFsync is "always", "everysec" or "no". Empty: "always".
	AppendFsync string

	// Cluster makes the server a cluster of one node that owns all slots, so that the
	// rules for keys of a cluster hold: a command over two slots is refused. Redis
	// lets two seconds pass before such a node serves. False: no cluster.
	Cluster bool

	// Settings are put into redis.conf, after ours; a value is what stands after the
	// name, quoted where need be. Nil: none.
	Settings map[string]string
}

// Redis is a Redis server, without a password, on the loopback address only.
type Redis struct {
	*server

	cluster bool
}

// StartRedis starts a Redis server. The context bounds only the start.
func StartRedis(ctx context.Context, cfg RedisConfig) (*Redis, error) {
	program, err := find("redis-server")
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	s, err := newServer("redis", syscall.SIGTERM, nil)
	if err != nil {
		return nil, err
	}
	r := &Redis{server: s, cluster: cfg.Cluster}
	file := filepath.Join(s.dir, "redis.conf")
	s.command = []string{program, file}
	s.probe = r.answers
	err = s.startAnywhere(ctx, func(addr string) error {
		conf, err := r.conf(addr, cfg)
		if err != nil {
			return err
		}
		return os.WriteFile(file, []byte(conf), 0o600)
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Redis) conf(addr string, cfg RedisConfig) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	var conf strings.Builder
	set := func(name, value string) { fmt.Fprintf(&conf, "%s %s\n", name, value) }
	set("bind", host)
	set("port", port)
	set("dir", strconv.Quote(r.dir))
	set("save", `""`)
	set("appendonly", "yes")
	set("appendfsync", cmp.Or(cfg.AppendFsync, "always"))
	if cfg.Cluster {
		set("cluster-enabled", "yes")
		set("cluster-announce-ip", host)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Settings)) {
		set(name, cfg.Settings[name])
	}
	return conf.String(), nil
}

// answers makes sure that it is this server which answers, and that it serves.
func (r *Redis) answers(ctx context.Context) error {
	info, err := r.do(ctx, "INFO server")
	if err != nil {
		return err
	}
	if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", r.main.cmd.Process.Pid)) {
		return fmt.Errorf("another server answers on %s", r.addr)
	}
	if _, err := r.do(ctx, "PING"); err != nil || !r.cluster {
		return err
	}
	if info, err = r.do(ctx, "CLUSTER INFO"); err != nil {
		return err
	}
	if strings.Contains(info, "cluster_slots_assigned:0\r\n") {
		if _, err := r.do(ctx, "CLUSTER ADDSLOTSRANGE 0 16383"); err != nil {
			return err
		}
	}
	if !strings.Contains(info, "cluster_state:ok\r\n") {
		return errors.New("the cluster is not up")
	}
	return nil
}

// do sends one command and returns its answer, a string.
func (r *Redis) do(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return "", err
	}
	defer hangUp(conn)
	defer context.AfterFunc(ctx, func() { hangUp(conn) })()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case strings.HasPrefix(line, "$"):
		length, err := strconv.ParseUint(line[1:], 10, 31)
		if err != nil {
			return "", err
		}
		body := make([]byte, length)
		_, err = io.ReadFull(in, body)
		return string(body), err
	}
	return "", fmt.Errorf("redis: %s: %s", command, line)
}

// URL returns the URL of the server.
func (r *Redis) URL() string { return "redis://" + r.addr }

// FlushAll removes all keys.
func (r *Redis) FlushAll(ctx context.Context) error {
	_, err := r.do(ctx, "FLUSHALL")
	return err
}
