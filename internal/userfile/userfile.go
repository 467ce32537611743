// Package userfile reads the users that another program has kept, one JSON object a
// line, and gives them to an authority:
//
//	{"username":"ada","email":"ada@example.com","roles":["clerk"],"password_hash":"$2b$12$…","disabled":false}
//
// A line that cannot be imported is handed to Config.Reject, with its number, a
// stable code and what to do, and the others go on. Everything may be repeated: who is
// there already is counted and left alone, so that an import that was killed is
// resumed by running it again.
package userfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/password"
)

// Config describes an [Import].
type Config struct {
	// Authority takes the users. Required.
	Authority *innkeeper.Authority
	// Actor is who imports, for the audit log. Required.
	Actor innkeeper.Actor
	// Firebase is what the hashes of a Firebase project have in common. Nil: none of
	// the lines has a member "salt".
	Firebase *password.FirebaseProject
	// DryRun finds out what would happen, and writes nothing. The zero value imports.
	DryRun bool
	// Workers is how many users are on their way to the store at a time. Zero: 32.
	// More than a store takes at once only wait.
	Workers int
	// Tries is how often each user is tried while the store does not answer, a second
	// apart. Zero: 30, in which a database restarts or fails over.
	Tries int
	// Reject is called for each line that is not imported, never twice at the same
	// time. Required.
	Reject func(Rejection)
}

// Counts say how far an import has come.
type Counts struct {
	Bytes    int64 // read
	Lines    int64 // settled, but for empty ones
	Imported int64
	Present  int64 // were there already
	Rejected int64
	Hashes   map[password.Scheme]int64 // of those imported, by scheme; empty for those without a password
}

// Import is one import. Make it with [New], and run it once.
type Import struct {
	cfg  Config
	seed maphash.Seed

	mu     sync.Mutex // holds the counts, and the calls of Reject
	counts Counts
	// planned are the users that a dry run would have imported, by name.
	planned map[string]innkeeper.ImportedUser
	failure error
}

// New prepares an import.
func New(cfg Config) *Import {
	if cfg.Workers == 0 {
		cfg.Workers = 32
	}
	if cfg.Tries == 0 {
		cfg.Tries = 30
	}
	return &Import{
		cfg: cfg, seed: maphash.MakeSeed(),
		counts:  Counts{Hashes: make(map[password.Scheme]int64)},
		planned: make(map[string]innkeeper.ImportedUser),
	}
}

// Counts returns how far the import has come; it may be called while it runs.
func (i *Import) Counts() Counts {
	i.mu.Lock()
	defer i.mu.Unlock()
	counts := i.counts
	counts.Hashes = maps.Clone(counts.Hashes)
	return counts
}

// line is one line and what it says.
type line struct {
	number int
	text   []byte
	user   innkeeper.ImportedUser // canonical
}

// Run imports all lines. It returns an error if it had to stop before the end: if the
// file cannot be read, the store does not answer, or ctx has ended. Everything that
// was counted as imported is.
func (i *Import) Run(ctx context.Context, file io.Reader) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Lines of one user go to one worker, and so keep their order: the first one wins.
	queues := make([]chan line, i.cfg.Workers)
	var workers sync.WaitGroup
	for n := range queues {
		queues[n] = make(chan line, 4)
		workers.Go(func() {
			for l := range queues[n] {
				if err := i.settle(ctx, l); err != nil {
					i.fail(err)
					stop()
				}
			}
		})
	}
	err := i.read(ctx, file, func(l line) {
		worker := maphash.String(i.seed, l.user.Username) % uint64(len(queues))
		select {
		case queues[worker] <- l:
		case <-ctx.Done():
		}
	})
	for _, queue := range queues {
		close(queue)
	}
	workers.Wait()
	if i.failure != nil {
		return i.failure
	}
	return err
}

// fail keeps the first error that stops the import.
func (i *Import) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure == nil {
		i.failure = err
	}
}

// maxLine is the greatest length of a line in bytes, as of a request to the API.
const maxLine = 64 << 10

// read parses every line and passes on those that make sense.
func (i *Import) read(ctx context.Context, file io.Reader, pass func(line)) error {
	reader := bufio.NewReaderSize(file, maxLine)
	for number := 1; ; number++ {
		text, size, err := nextLine(reader)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read users: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.mu.Lock()
		i.counts.Bytes += size
		i.mu.Unlock()
		if number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		l := line{number: number, text: bytes.TrimSpace(text)}
		switch {
		case size > maxLine:
			i.reject(Rejection{Line: number, Code: codeTooLong, Detail: "longer than 64 KiB", Hint: "leave out what is not needed"})
		case len(l.text) == 0:
		default:
			var fault *Rejection
			if l.user, fault = i.parse(l.text); fault != nil {
				fault.Line, fault.Text = number, l.text
				i.reject(*fault)
				break
			}
			pass(l)
		}
		if err != nil {
			return nil
		}
	}
}

// nextLine reads one line, and how many bytes it takes. The text of one that is too
// long is not kept.
func nextLine(reader *bufio.Reader) (text []byte, size int64, err error) {
	for {
		part, err := reader.ReadSlice('\n')
		size += int64(len(part))
		if size <= maxLine {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, size, err
		}
	}
}

// settle imports one user. It returns only errors that stop the import.
func (i *Import) settle(ctx context.Context, l line) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	imported, err := i.patiently(ctx, l.user)
	switch fault := rejectionOf(err); {
	case fault != nil:
		fault.Line, fault.Text = l.number, l.text
		i.reject(*fault)
	case err != nil:
		return err
	default:
		i.count(imported, l.user)
	}
	return nil
}

// patiently imports one user, and tries again while the store does not answer. What
// has been written unseen is there at the next try.
func (i *Import) patiently(ctx context.Context, user innkeeper.ImportedUser) (imported bool, err error) {
	for try := 1; ; try++ {
		imported, err = i.tryImport(ctx, user)
		var unavailable *innkeeper.UnavailableError
		if !errors.As(err, &unavailable) || try == i.cfg.Tries {
			return imported, err
		}
		select {
		case <-time.After(unavailable.RetryAfter):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (i *Import) tryImport(ctx context.Context, user innkeeper.ImportedUser) (bool, error) {
	if !i.cfg.DryRun {
		return i.cfg.Authority.ImportUser(ctx, user, i.cfg.Actor)
	}
	i.mu.Lock()
	before, ok := i.planned[user.Username]
	i.mu.Unlock()
	if ok {
		if members := user.Differences(before); len(members) > 0 {
			return false, &innkeeper.DiffersError{Members: members}
		}
		return false, nil
	}
	wouldImport, err := i.cfg.Authority.PlanImport(ctx, user)
	if wouldImport {
		i.mu.Lock()
		i.planned[user.Username] = user
		i.mu.Unlock()
	}
	return wouldImport, err
}

func (i *Import) count(imported bool, user innkeeper.ImportedUser) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts.Lines++
	if !imported {
		i.counts.Present++
		return
	}
	i.counts.Imported++
	scheme, _ := password.SchemeOf(user.PasswordHash) // empty for no hash, which is what is to be counted
	i.counts.Hashes[scheme]++
}

func (i *Import) reject(r Rejection) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts.Lines++
	i.counts.Rejected++
	i.cfg.Reject(r)
}
