package hashworker

import (
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"time"
)

const (
	// patience is how long a process may take for a hash: far longer than one with the
	// dearest Params on a busy machine.
	patience = 15 * time.Second
	// restartDelay bounds how often a process that keeps failing is started.
	restartDelay = time.Second
	// hungerAfter is how long a hash may be without enough spare time: a quarter of that. One
	// takes some 20 ms on a core of its own.
	hungerAfter = 250 * time.Millisecond
	// hungerLasts is how long it is left alone then, before it is tried again.
	hungerLasts = 30 * time.Second
)

var (
	errResting = errors.New("the process that hashes passwords is not started at once again")
	errStarved = errors.New("there is no spare time to hash a password in")
)

// runner keeps one process that hashes.
type runner struct {
	path  string
	args  []string
	env   []string
	spare bool // it computes in spare time, and can starve

	mu          sync.Mutex
	process     *process
	notYet      time.Time // until then no process is started
	hungryUntil time.Time // until then nothing is asked
	closed      bool
}

// ask returns what the process answers. A process that does not is ended.
func ask[T any](r *runner, method string, job any) (answer T, err error) {
	p, err := r.running()
	if err != nil {
		return answer, err
	}
	// What comes too late is written where nobody reads.
	came := new(T)
	if err := p.ask(method, job, came, r.spare); err != nil {
		return answer, r.drop(p, err)
	}
	return *came, nil
}

// running returns the process, and starts it if need be.
func (r *runner) running() (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.hungryUntil) {
		return nil, errStarved
	}
	if r.process != nil {
		return r.process, nil
	}
	if r.closed || time.Now().Before(r.notYet) {
		return nil, errResting
	}
	r.notYet = time.Now().Add(restartDelay)
	p, err := start(r.path, r.args, r.env)
	if err != nil {
		return nil, fmt.Errorf("start a process that hashes passwords: %w", err)
	}
	r.process = p
	return p, nil
}

// drop ends a process that has failed, unless somebody else has, and returns why: others
// that asked one which starved see it end.
func (r *runner) drop(p *process, why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(why, errStarved) {
		r.hungryUntil = time.Now().Add(hungerLasts)
	}
	if r.process == p {
		r.process = nil
		p.end()
	}
	if time.Now().Before(r.hungryUntil) {
		return errStarved
	}
	return why
}

func (r *runner) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.process != nil {
		r.process.end()
		r.process = nil
	}
}

// process is a running one.
type process struct {
	cmd    *exec.Cmd
	client *rpc.Client
}

func start(path string, args, env []string) (*process, error) {
	cmd := exec.Command(path) //nolint:noctx // it ends with end, or with us
	cmd.Args, cmd.Env, cmd.Stderr = args, env, os.Stderr
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

// ask waits for the answer. One that can starve is looked at now and then: a dear hash may
// take its time, but has to get on.
func (p *process) ask(method string, job, answer any, canStarve bool) error {
	call := p.client.Go(service+"."+method, job, answer, make(chan *rpc.Call, 1))
	tooLong := time.After(patience)
	var look <-chan time.Time
	if canStarve {
		ticker := time.NewTicker(hungerAfter)
		defer ticker.Stop()
		look = ticker.C
	}
	used := cpuTime(p.cmd.Process.Pid)
	for {
		select {
		case <-call.Done:
			if call.Error != nil {
				return fmt.Errorf("the process that hashes passwords: %w", call.Error)
			}
			return nil
		case <-tooLong:
			return fmt.Errorf("no hash within %s", patience)
		case <-look:
			now := cpuTime(p.cmd.Process.Pid)
			if now-used < hungerAfter/4 {
				return errStarved
			}
			used = now
		}
	}
}

// end kills the process: nobody waits for an answer of it any more.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may be gone
	_ = p.client.Close()
	_ = p.cmd.Wait()
}
