package testengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is what all servers have in common: a program that runs in a directory.
type server struct {
	name      string
	dir       string // holds all that the server writes; every process of it works below
	as        *syscall.Credential
	quit      syscall.Signal
	caretaker *caretaker

	// Set before the first start.
	addr    string
	command []string
	probe   func(context.Context) error // nil once the server answers

	mu      sync.Mutex // one verb at a time
	main    *process   // nil until the first start
	logFrom int64      // where the log of this start begins
	closed  bool
}

func newServer(name string, quit syscall.Signal, as *syscall.Credential) (*server, error) {
	dir, err := newDir(name, as)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c, err := startCaretaker(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), os.RemoveAll(dir))
	}
	return &server{name: name, dir: dir, as: as, quit: quit, caretaker: c}, nil
}

// Addr returns the address of the server, host:port. It stays the same when the
// server is started again.
func (s *server) Addr() string { return s.addr }

// Log returns what the server has written to its log since it was last started.
func (s *server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log()
}

// Start starts a server that was stopped or killed, with the same port and data.
// It returns when the server answers; the context bounds only this.
func (s *server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.main.running() {
		return fmt.Errorf("start %s: it is closed or runs already", s.name)
	}
	err := s.start(ctx)
	// Whoever has taken the port meanwhile may be a test that searches for a free
	// one and lets go of it at once.
	for range 5 {
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		time.Sleep(100 * time.Millisecond)
		err = s.start(ctx)
	}
	return err
}

// startAnywhere starts the server for the first time, on a free port; configure
// writes the configuration for it.
func (s *server) startAnywhere(ctx context.Context, configure func(addr string) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range 10 {
		if s.addr, err = FreeAddr(); err != nil {
			return err
		}
		if err = configure(s.addr); err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		// Somebody may have taken the port since we looked.
		if err = s.start(ctx); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return err
}

func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	defer hangUp(log) // the server has its own
	if s.logFrom, err = log.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	cmd := s.program(context.WithoutCancel(ctx), s.command[0], s.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	main, err := spawn(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.main = main
	if err := s.awaitReady(ctx); err != nil {
		err = fmt.Errorf("start %s: %w\n%s", s.name, err, s.tail())
		if strings.Contains(s.log(), "ddress already in use") {
			err = errors.Join(err, syscall.EADDRINUSE)
		}
		return errors.Join(err, s.kill())
	}
	return nil
}

// program returns a command that runs as the server's user, in its directory, and
// knows nothing of our environment: PGHOST and the like would change what it does.
func (s *server) program(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // G204: programs and arguments are those of a test
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C"}
	// In a process group of its own, an interrupt from the terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	return cmd
}

func (s *server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Whoever has the port of a server that could not start need not answer.
	main := s.main
	go func() {
		select {
		case <-main.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !main.running() {
				return fmt.Errorf("it ended: %v", main.cmd.ProcessState)
			}
			return fmt.Errorf("not ready: %w: %w", ctx.Err(), err)
		}
	}
}

// accepts connects to the server.
func (s *server) accepts(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Stop ends the server as an operator does, which keeps its data, and kills it if
// it has not ended when the context does, or within a minute.
func (s *server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.main.running() {
		return nil
	}
	err := s.stop(ctx)
	if err != nil {
		err = fmt.Errorf("stop %s: %w\n%s", s.name, err, s.tail())
	}
	return errors.Join(err, s.kill())
}

func (s *server) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A frozen server would not notice.
	if err := s.signalIn(syscall.SIGCONT); err != nil {
		return err
	}
	if err := s.main.signal(s.quit); err != nil {
		return err
	}
	select {
	case <-s.main.done:
		return s.main.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill kills the server and all its children with SIGKILL, and returns when they
// are gone.
func (s *server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *server) kill() error {
	if s.main.running() {
		// The parent goes first: it would replace a child that dies.
		if err := s.main.signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", s.name, err)
		}
		if err := s.main.wait(patience); err != nil {
			return fmt.Errorf("kill %s: %w", s.name, err)
		}
	}
	if err := killIn(s.dir); err != nil {
		return fmt.Errorf("kill %s: %w", s.name, err)
	}
	return nil
}

// Freeze stops the server and all its children with SIGSTOP: connections stay open
// and are accepted, and nothing is answered. It returns when all stand still.
func (s *server) Freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.main.running() {
		return fmt.Errorf("freeze %s: it does not run", s.name)
	}
	// The parent stops first, so that no child is born behind our back.
	pid := s.main.cmd.Process.Pid
	err := s.main.signal(syscall.SIGSTOP)
	if err == nil {
		err = eventually(func() (bool, error) { return frozen(pid), nil })
	}
	if err == nil {
		err = freezeIn(s.dir)
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w", s.name, err)
	}
	return nil
}

// Thaw lets a frozen server go on.
func (s *server) Thaw() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.signalIn(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw %s: %w", s.name, err)
	}
	return nil
}

func (s *server) signalIn(sig syscall.Signal) error {
	pids, err := processesIn(s.dir)
	if err != nil {
		return err
	}
	return signalAll(pids, sig)
}

// Close kills the server and removes its data. Closing it again does nothing.
func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := errors.Join(s.kill(), s.caretaker.dismiss())
	if _, statErr := os.Stat(s.dir); !errors.Is(statErr, os.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("close %s: %s is still there", s.name, s.dir))
	}
	return err
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

func (s *server) log() string {
	content, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(content[min(s.logFrom, int64(len(content))):])
}

// tail returns the end of the log, for an error.
func (s *server) tail() string {
	log := s.log()
	return s.name + " wrote:\n" + log[max(0, len(log)-4096):]
}
