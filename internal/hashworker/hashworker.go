// Package hashworker computes password hashes in processes of their own, which give
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
	"runtime"

	"github.com/innkeeper-auth/innkeeper/password"
)

const (
	// niceness makes the kernel give a busy thread that hashes a third of what it gives to
	// one of the server beside it, and all of what that leaves.
	niceness = 5
	// service is what a process offers to [net/rpc].
	service = "Hashes"
)

// SpareTime is the last argument of a process that is to compute only while a core
// has nothing else to do. Without it, one gives way, and has a share of a busy machine.
const SpareTime = "--spare-time"

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

// Worker hands hashes to its processes, each of which it starts at its first hash and
// again when it has died. One computes in spare time, so that nobody else waits for it.
// When it gets next to none, the other one computes for half a minute, so that people
// can sign in while refreshes keep all cores busy.
//
// It is safe for concurrent use; make one with [New]. It is a [password.Engine], which
// computes here, and logs why, where no process answers: no sign-in fails for it.
type Worker struct {
	log          *slog.Logger
	spare, share *runner
}

// New returns a worker whose processes are the program at path, with the arguments, of
// which the first one is its name, and with [SpareTime] behind them where that is meant.
// They get no variables of our environment: what is in there is not their business. They
// use as many cores as a [password.Hasher] of this process does, made at the same time.
func New(log *slog.Logger, path string, args ...string) *Worker {
	env := []string{fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.GOMAXPROCS(0)-1))}
	return &Worker{
		log:   log,
		spare: &runner{path: path, args: append(args[:len(args):len(args)], SpareTime), env: env, spare: true},
		share: &runner{path: path, args: args, env: env},
	}
}

// Argon2id implements [password.Engine].
func (w *Worker) Argon2id(p password.Params, salt, secret []byte) []byte {
	if tag, ok := compute[[]byte](w, "Argon2id", Derivation{p, salt, secret}); ok {
		return tag
	}
	return password.Argon2id(p, salt, secret)
}

// MatchesImported implements [password.Engine].
func (w *Worker) MatchesImported(encoded string, secret []byte) bool {
	if matches, ok := compute[bool](w, "MatchesImported", Comparison{encoded, secret}); ok {
		return matches
	}
	return password.MatchesImported(encoded, secret)
}

// compute asks the processes, and reports whether one has answered.
func compute[T any](w *Worker, method string, job any) (answer T, ok bool) {
	if hasSpareTime {
		answer, err := ask[T](w.spare, method, job)
		if err == nil {
			return answer, true
		}
		if !errors.Is(err, errResting) && !errors.Is(err, errStarved) {
			w.log.Warn("passwords are hashed with more weight for now", "error", err)
		}
	}
	answer, err := ask[T](w.share, method, job)
	if err != nil && !errors.Is(err, errResting) {
		w.log.Warn("passwords are hashed beside the requests for now", "error", err)
	}
	return answer, err == nil
}

// Close ends the processes. What is hashed later is hashed here.
func (w *Worker) Close() {
	w.spare.close()
	w.share.close()
}

// Serve computes hashes until in ends, which it does when the process that asks does,
// however that ends. It lets all other processes of the machine go first, unless a sandbox
// forbids that: then it says so in the log. In spare time it computes only while a core
// has nothing else to do, and pauses now and then (Linux; elsewhere it makes no difference).
func Serve(log *slog.Logger, in, out *os.File, spareTime bool) error {
	if err := giveWay(spareTime); err != nil {
		log.Warn("the process that hashes passwords may not give way to the server", "error", err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName(service, hashes{pause: spareTime}); err != nil {
		return err
	}
	server.ServeConn(pipes{pollable(in), out})
	return nil
}

type hashes struct {
	pause bool // now and then
}

// Argon2id is called by [net/rpc].
func (h hashes) Argon2id(job Derivation, tag *[]byte) error {
	defer h.begin()()
	*tag = password.Argon2id(job.Params, job.Salt, job.Password)
	return nil
}

// MatchesImported is called by [net/rpc].
func (h hashes) MatchesImported(job Comparison, matches *bool) error {
	defer h.begin()()
	*matches = password.MatchesImported(job.Encoded, job.Password)
	return nil
}

// begin returns what to call when a hash is computed.
func (h hashes) begin() (end func()) {
	if !h.pause {
		return func() {}
	}
	return pauseMeanwhile(func() { nap(pauseLength) })
}

// pipes are a connection of two one-way streams.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

// Close closes both.
func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }
