package testengine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience bounds how long anything here may take, on a machine that is busy.
const patience = 60 * time.Second

// process is a child of ours.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and err is set
	err  error
}

// spawn starts a command that the kernel kills when we die.
func spawn(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// What the kernel calls the parent is the thread that forked, and the runtime
		// may end a thread at any time (golang/go#27505). So this goroutine keeps its
		// thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal, and nothing to a process that has ended.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wait returns when the process has ended, or an error if it does not within limit.
func (p *process) wait(limit time.Duration) error {
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("process %d still runs after %v", p.cmd.Process.Pid, limit)
	}
}

// processesIn returns the processes that work in or below a directory. Unlike its
// parent or its process group, this also tells the children of a server that died:
// each backend of PostgreSQL leads a session of its own.
func processesIn(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// One that has ended meanwhile, or is another user's, is not one of ours.
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// killIn kills the processes in a directory and returns when none is left.
func killIn(dir string) error {
	return eventually(func() (bool, error) {
		pids, err := processesIn(dir)
		if err != nil || len(pids) == 0 {
			return true, err
		}
		return false, signalAll(pids, syscall.SIGKILL)
	})
}

// freezeIn stops the processes in a directory and returns when all stand still.
func freezeIn(dir string) error {
	return eventually(func() (bool, error) {
		pids, err := processesIn(dir)
		if err != nil {
			return false, err
		}
		still := true
		for _, pid := range pids {
			if frozen(pid) {
				continue
			}
			still = false
			if err := signalAll([]int{pid}, syscall.SIGSTOP); err != nil {
				return false, err
			}
		}
		return still, nil
	})
}

func signalAll(pids []int, sig syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	return nil
}

// frozen says whether a process stands still, or is no more.
func frozen(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the name, which is in brackets and may hold brackets.
	rest := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(rest) > 0 && strings.IndexByte("TtZX", rest[0]) >= 0
}

// eventually asks until the answer is true.
func eventually(done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ok, err := done(); ok || err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("not done after %v", patience)
}

// caretaker is a shell that waits until we close its standard input, which dying
// does too. Then it kills the processes in a directory and removes that. It does
// what the kernel does not: it reaches the children of a server, also when they
// are frozen, and the data.
type caretaker struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// The 56 bytes of shared memory by which PostgreSQL knows that its data is in use
// survive a killed server: line 7 of postmaster.pid ends in their number.
const caretakerScript = `
cat
while pids=$(find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d/ -f3)
  [ -n "$pids" ]
do
  kill -KILL $pids 2>/dev/null
  sleep 0.02
done
segment=$(sed -n '7s/.* //p' "$1/data/postmaster.pid" 2>/dev/null)
[ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
rm -rf "$1"
`

func startCaretaker(dir string) (*caretaker, error) {
	cmd := exec.Command("/bin/sh", "-c", caretakerScript, "caretaker", dir) //nolint:gosec,noctx // G204: our own directory; it has to outlive us and any context
	cmd.Dir = "/"
	// In a session of its own, an interrupt from the terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &caretaker{cmd: cmd, stdin: stdin}, nil
}

// dismiss makes the caretaker do its work now.
func (c *caretaker) dismiss() error {
	return errors.Join(c.stdin.Close(), c.cmd.Wait())
}
