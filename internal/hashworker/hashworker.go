// Package hashworker computes password hashes in a process of its own, which gives
// way to all others: a storm of sign-ins then takes the cores that refreshes leave, and
// the memory that each hash throws away is nothing to the garbage collector of the
// server. See docs/decisions/0027.
//
//	worker := hashworker.New(log, path, "innkeeper", "hash-worker")
//	defer worker.Close()
//	password.New(password.Config{Engine: worker})
//
// The process that is started calls [Serve].
package hashworker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/password"
)

const (
	// patience is how long the process may take for a hash: far longer than one with the
	// dearest Params on a busy machine.
	patience = 15 * time.Second
	// restartDelay bounds how often a process that keeps failing is started.
	restartDelay = time.Second
	// niceness makes the kernel give a busy thread of ours a third of what it gives to one of
	// the server beside it, and all of what that leaves.
	niceness = 5
	// service is what the process offers to [net/rpc].
	service = "Hashes"
)

// Derivation is a hash to be computed.
type Derivation struct {
	Params         password.Params
	Salt, Password []byte
}

// Comparison is with a hash of another program.
type Comparison struct {
	Encoded  string
	Password []byte
}

// Worker hands hashes to its process, which it starts at the first one and again when it
// has died. It is safe for concurrent use; make one with [New]. It is a [password.Engine],
// which computes here, and logs why, where the process does not answer: no sign-in fails
// for it.
type Worker struct {
	log  *slog.Logger
	path string
	args []string

	mu      sync.Mutex
	process *process
	notYet  time.Time // until then no process is started
	closed  bool
}

// New returns a worker whose process is the program at path, with the arguments, of
// which the first one is its name. It gets no variables of our environment: what is in
// there is not its business.
func New(log *slog.Logger, path string, args ...string) *Worker {
	return &Worker{log: log, path: path, args: args}
}

// Argon2id implements [password.Engine].
func (w *Worker) Argon2id(p password.Params, salt, secret []byte) []byte {
	var tag []byte
	if w.compute("Argon2id", Derivation{p, salt, secret}, &tag) {
		return tag
	}
	return password.Argon2id(p, salt, secret)
}

// MatchesImported implements [password.Engine].
func (w *Worker) MatchesImported(encoded string, secret []byte) bool {
	var matches bool
	if w.compute("MatchesImported", Comparison{encoded, secret}, &matches) {
		return matches
	}
	return password.MatchesImported(encoded, secret)
}

// compute asks the process, and reports whether it has answered.
func (w *Worker) compute(method string, job, answer any) bool {
	p, err := w.running()
	if err == nil {
		if err = p.ask(method, job, answer); err == nil {
			return true
		}
		w.drop(p)
	}
	if !errors.Is(err, errResting) {
		w.log.Warn("passwords are hashed beside the requests for now", "error", err)
	}
	return false
}

var errResting = errors.New("the process that hashes passwords is not started at once again")

// running returns the process, and starts it if need be.
func (w *Worker) running() (*process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process != nil {
		return w.process, nil
	}
	if w.closed || time.Now().Before(w.notYet) {
		return nil, errResting
	}
	w.notYet = time.Now().Add(restartDelay)
	p, err := start(w.path, w.args)
	if err != nil {
		return nil, fmt.Errorf("start a process that hashes passwords: %w", err)
	}
	w.process = p
	return p, nil
}

// drop ends a process that has failed, unless somebody else has.
func (w *Worker) drop(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == p {
		w.process = nil
		p.end()
	}
}

// Close ends the process. What is hashed later is hashed here.
func (w *Worker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.process != nil {
		w.process.end()
		w.process = nil
	}
}

// process is a running one.
type process struct {
	cmd    *exec.Cmd
	client *rpc.Client
}

func start(path string, args []string) (*process, error) {
	cmd := exec.Command(path) //nolint:noctx // it ends with end, or with us
	cmd.Args, cmd.Env, cmd.Stderr = args, []string{}, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, client: rpc.NewClient(pipes{out, in})}, nil
}

func (p *process) ask(method string, job, answer any) error {
	call := p.client.Go(service+"."+method, job, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-time.After(patience):
		return fmt.Errorf("no hash within %s", patience)
	}
	if call.Error != nil {
		return fmt.Errorf("the process that hashes passwords: %w", call.Error)
	}
	return nil
}

// end kills the process: nobody waits for an answer of it any more.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may be gone
	_ = p.client.Close()
	_ = p.cmd.Wait()
}

// Serve computes hashes until in ends, which it does when the process that asks does,
// however that ends. It lets all other processes of the machine go first, unless a sandbox
// forbids that: then it says so in the log.
func Serve(log *slog.Logger, in io.ReadCloser, out io.WriteCloser) error {
	if err := giveWay(); err != nil {
		log.Warn("the process that hashes passwords may not give way to the server", "error", err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName(service, hashes{}); err != nil {
		return err
	}
	server.ServeConn(pipes{in, out})
	return nil
}

type hashes struct{}

// Argon2id is called by [net/rpc].
func (hashes) Argon2id(job Derivation, tag *[]byte) error {
	*tag = password.Argon2id(job.Params, job.Salt, job.Password)
	return nil
}

// MatchesImported is called by [net/rpc].
func (hashes) MatchesImported(job Comparison, matches *bool) error {
	*matches = password.MatchesImported(job.Encoded, job.Password)
	return nil
}

// pipes are a connection of two one-way streams.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

// Close closes both.
func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }
