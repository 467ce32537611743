package testengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Nginx is an nginx server.
type Nginx struct {
	*server
}

// StartNginx starts an nginx server. The configuration is what stands inside of
// http { … }, like a file of /etc/nginx/conf.d; {{addr}} in it, as in
//
//	server { listen {{addr}}; … }
//
// becomes the address that Addr returns. The context bounds only the start.
func StartNginx(ctx context.Context, config string) (*Nginx, error) {
	program, err := find("nginx", "/usr/sbin/nginx")
	if err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	s, err := newServer("nginx", syscall.SIGQUIT, nil)
	if err != nil {
		return nil, err
	}
	n := &Nginx{server: s}
	s.command = []string{program, "-p", s.dir, "-c", n.confFile(), "-e", "stderr"}
	s.probe = n.answers(config)
	err = s.startAnywhere(ctx, func(string) error { return n.configure(config) })
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// nginxConf keeps every file of nginx in its directory. As root, its workers stay
// root: they could not enter the directory otherwise, nor read a test's key.
const nginxConf = `
daemon off;
pid nginx.pid;
error_log stderr notice;
worker_processes 2;
%s
events { worker_connections 512; }
http {
	access_log access.log;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;

%s
}
`

func (n *Nginx) confFile() string { return filepath.Join(n.dir, "nginx.conf") }

func (n *Nginx) configure(config string) error {
	workers := ""
	if os.Getuid() == 0 {
		workers = "user root root;"
	}
	conf := fmt.Sprintf(nginxConf, workers, strings.ReplaceAll(config, "{{addr}}", n.addr))
	return os.WriteFile(n.confFile(), []byte(conf), 0o600)
}

// answers waits for the file that nginx writes once it listens, and connects.
func (n *Nginx) answers(config string) func(context.Context) error {
	return func(ctx context.Context) error {
		pid, err := os.ReadFile(filepath.Join(n.dir, "nginx.pid"))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(pid)) != strconv.Itoa(n.main.cmd.Process.Pid) {
			return errors.New("it has not written nginx.pid")
		}
		if !strings.Contains(config, "{{addr}}") {
			return nil
		}
		return n.accepts(ctx)
	}
}

// Reload gives nginx another configuration, as StartNginx does, and returns when
// only workers that know it accept connections. Those of before serve the requests
// that they have.
func (n *Nginx) Reload(ctx context.Context, config string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.main.running() {
		return errors.New("reload nginx: it does not run")
	}
	if err := n.reload(ctx, config); err != nil {
		return fmt.Errorf("reload nginx: %w\n%s", err, n.tail())
	}
	return nil
}

func (n *Nginx) reload(ctx context.Context, config string) error {
	before, err := n.workers()
	if err != nil {
		return err
	}
	if err := n.configure(config); err != nil {
		return err
	}
	args := append(slices.Clone(n.command[1:]), "-t")
	if out, err := n.program(ctx, n.command[0], args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := n.main.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return eventually(func() (bool, error) {
		now, err := n.workers()
		old := func(pid int) bool { return slices.Contains(before, pid) }
		return len(now) > 0 && !slices.ContainsFunc(now, old), errors.Join(err, ctx.Err())
	})
}

// workers returns the workers that accept connections: one that does not any more
// says so in its title.
func (n *Nginx) workers() ([]int, error) {
	pids, err := processesIn(n.dir)
	return slices.DeleteFunc(pids, func(pid int) bool {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err != nil || strings.TrimRight(string(title), "\x00 ") != "nginx: worker process"
	}), err
}
