package tempest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/client"
)

// program is a person who is signed in to a Go program, of which several processes run
// over one file. They are killed at any moment, half of the time within a refresh.
type program struct {
	*tempest

	called     string
	file       string
	goroutines int
	processes  []*process
	entering   sync.Mutex // held while somebody signs in
}

func (s *tempest) program(name string, processes, goroutines int) *program {
	p := &program{tempest: s, called: name, goroutines: goroutines, file: filepath.Join(s.Dir, name, "session.json")}
	for n := range processes {
		p.processes = append(p.processes, &process{program: p, id: strconv.Itoa(n + 1), census: make(chan bool, 1)})
	}
	return p
}

func (p *program) name() string { return p.called }

func (p *program) arrive(ctx context.Context) error {
	if err := p.signIn(ctx); err != nil {
		return err
	}
	for _, one := range p.processes {
		if err := one.start(); err != nil {
			return err
		}
	}
	p.restless.Go(p.watch)
	return nil
}

// watch sees when the session is gone from the file, whichever process has taken it out
// and has been killed before it could tell.
func (p *program) watch() {
	for sleep(p.living, 200*time.Millisecond) == nil {
		p.entering.Lock()
		if _, err := p.jar(p.living); errors.Is(err, errNoLoot) {
			p.signedOut(p, "", "no session is stored")
		}
		p.entering.Unlock()
	}
}

// signIn does what another process of the program would: the others find the session in
// the file.
func (p *program) signIn(ctx context.Context) error {
	p.entering.Lock()
	defer p.entering.Unlock()
	if p.Client == Tutorial {
		return (&tutorial{server: p.injector.url, file: p.file}).login(ctx, p.called, p.Password)
	}
	store, err := client.NewFileStore(p.file)
	if err != nil {
		return err
	}
	source, err := client.New(client.Config{Server: p.injector.url, Store: store})
	if err != nil {
		return err
	}
	return errors.Join(source.Login(ctx, client.Credentials{Username: p.called, Password: p.Password}), source.Close())
}

// live kills processes until the context ends.
func (p *program) live(ctx context.Context) error {
	rng := p.rng(uint64(60 + p.called[0]))
	for {
		if sleep(ctx, between(rng, 500*time.Millisecond, 4*time.Second)) != nil {
			return nil
		}
		victim := p.processes[rng.IntN(len(p.processes))]
		if rng.IntN(2) == 0 {
			victim = p.refreshing(ctx, rng, victim)
		}
		if err := victim.kill(); err != nil {
			return err
		}
		p.countKill("processes")
		_ = sleep(ctx, between(rng, 0, 500*time.Millisecond)) // it is started all the same
		if err := victim.start(); err != nil {
			return err
		}
	}
}

// refreshing waits for a refresh, and for some moment of it, and returns which process
// is at it; another one if there is none for a while.
func (p *program) refreshing(ctx context.Context, rng *rand.Rand, other *process) *process {
	before := p.register.look(p.called).arrived
	for range 500 {
		if sleep(ctx, 10*time.Millisecond) != nil {
			return other
		}
		now := p.register.look(p.called)
		if now.arrived == before {
			continue
		}
		_ = sleep(ctx, between(rng, 0, 100*time.Millisecond)) // or the end
		for _, one := range p.processes {
			if one.id == now.by {
				return one
			}
		}
	}
	return other
}

func (p *program) jar(ctx context.Context) (loot, error) {
	if p.Client == Tutorial {
		t := &tutorial{file: p.file}
		if t.load() != nil {
			return loot{}, errNoLoot
		}
		return loot{token: t.tokens.Refresh}, nil
	}
	store, err := client.NewFileStore(p.file)
	if err != nil {
		return loot{}, err
	}
	session, err := store.Load(ctx)
	if errors.Is(err, client.ErrNoSession) {
		return loot{}, errNoLoot
	}
	if err != nil {
		return loot{}, err
	}
	return loot{token: session.RefreshToken.Reveal()}, nil
}

func (p *program) census(ctx context.Context) (there, served int, err error) {
	for _, one := range p.processes {
		ok, err := one.isServed(ctx)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			served++
		}
	}
	return len(p.processes), served, nil
}

func (p *program) close() {
	for _, one := range p.processes {
		_ = one.kill() // there is nobody left to care
	}
}

// process is one of them. Its standard input keeps it alive.
type process struct {
	*program

	id     string
	census chan bool

	mu    sync.Mutex
	cmd   *exec.Cmd
	stdin io.WriteCloser
	heard chan struct{} // closed when all that it has printed was read
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	args := append(append([]string{}, p.Worker[1:]...),
		"--server", p.injector.url, "--file", p.file, "--client", p.Client,
		"--process", p.id, "--goroutines", strconv.Itoa(p.goroutines))
	cmd := exec.Command(p.Worker[0], args...) //nolint:gosec,noctx // a program of ours; it ends with its input
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a process of %s: %w", p.called, err)
	}
	p.cmd, p.stdin, p.heard = cmd, stdin, make(chan struct{})
	go p.listen(stdout, p.heard)
	return nil
}

func (p *process) listen(stdout io.Reader, heard chan<- struct{}) {
	defer close(heard)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var said workerLine
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue // it was killed while it wrote
		}
		switch said.Type {
		case lineSignedOut:
			p.signedOut(p.program, said.Session, said.Reason)
		case lineCensus:
			p.census <- said.Served
		}
	}
}

// kill takes the process away without a warning.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.heard
	_ = p.cmd.Wait() // it was killed
	p.cmd = nil
	return nil
}

// isServed asks whether a call of each goroutine's kind is served.
func (p *process) isServed(ctx context.Context) (bool, error) {
	p.mu.Lock()
	_, err := io.WriteString(p.stdin, "census\n")
	p.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("ask process %s: %w", p.id, err)
	}
	select {
	case ok := <-p.census:
		return ok, nil
	case <-time.After(patience):
		return false, fmt.Errorf("process %s does not answer", p.id)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
