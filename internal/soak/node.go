package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// node is one server process, and what stands between it and its clients.
type node struct {
	name    string
	addr    string
	command []string
	dir     string // to run in
	logFile string
	front   *testengine.Proxy

	mu   sync.Mutex // one verb at a time
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and err is set
	err  error
}

// url is where clients find the node.
func (n *node) url() string { return "http://" + n.front.Addr() }

// start starts the process and waits until it is ready.
func (n *node) start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.spawn(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for !n.ready(ctx) {
		select {
		case <-n.done:
			return fmt.Errorf("start %s: it ended: %w\n%s", n.name, n.err, n.log())
		case <-ctx.Done():
			return fmt.Errorf("start %s: not ready: %w\n%s", n.name, ctx.Err(), n.log())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// spawn starts the process. What it writes goes to its log.
func (n *node) spawn() error {
	log, err := os.OpenFile(n.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()                  // the process has a descriptor of its own
	cmd := exec.Command(n.command[0], n.command[1:]...) //nolint:gosec,noctx // the program that we have built; it outlives the context of its start
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = cleanEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	n.cmd, n.done = cmd, make(chan struct{})
	started := make(chan error)
	go func(done chan<- struct{}) {
		// To the kernel, the parent that a child dies with is a thread: this one stays
		// for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			n.err = cmd.Wait()
		}
		close(done)
	}(n.done)
	return <-started
}

// cleanEnvironment keeps settings of ours, like INNKEEPER_DATABASE, from a server.
func cleanEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir()}
}

// ready asks the node itself, past the proxy.
func (n *node) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // the status is all
	return resp.StatusCode == http.StatusOK
}

// kill takes the process away without a warning.
func (n *node) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.end(syscall.SIGKILL)
}

// stop asks the process to stop, as an operator does. It must do so orderly.
func (n *node) stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.end(syscall.SIGTERM); err != nil {
		return err
	}
	if n.err != nil {
		return fmt.Errorf("stop %s: %w\n%s", n.name, n.err, n.log())
	}
	return nil
}

func (n *node) end(sig syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", n.name, err)
	}
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		// A Go program answers this signal with the stacks of all goroutines.
		err := n.cmd.Process.Signal(syscall.SIGQUIT)
		<-n.done
		return errors.Join(fmt.Errorf("end %s: it still ran after 30 s\n%s", n.name, n.log()), err)
	}
	n.cmd = nil
	return nil
}

// pid is the number of the process.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// freeze stands the process still; thaw lets it go on.
func (n *node) freeze() error { return n.signal(syscall.SIGSTOP) }
func (n *node) thaw() error   { return n.signal(syscall.SIGCONT) }

func (n *node) signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil
	}
	return n.cmd.Process.Signal(sig)
}

// log returns the end of what the node has written.
func (n *node) log() string {
	text, err := os.ReadFile(n.logFile)
	if err != nil {
		return err.Error()
	}
	const end = 32 << 10
	return n.name + " wrote:\n" + string(text[max(0, len(text)-end):])
}
