package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/userfile"
	"github.com/innkeeper-auth/innkeeper/password"
)

type userImportCommand struct {
	File           string `arg:"" help:"users, one JSON object a line; - reads standard input"`
	FirebaseConfig string `type:"path" env:"-" placeholder:"FILE" help:"password hash parameters of a Firebase project, as its console shows them"`
	Rejects        string `type:"path" env:"-" placeholder:"FILE" help:"write the lines that were not imported there, each with the reason; hashes are in it, so its mode is 0600"`
	DryRun         bool   `env:"-" help:"say what would happen, and change nothing"`
}

// Help is shown above the flags.
func (*userImportCommand) Help() string {
	return `Each line is {"username":…,"email":…,"roles":[…],"password_hash":…,"disabled":…}; all but the username may be left out. Hashes of bcrypt, scrypt, PBKDF2, argon2 and Firebase are taken as they are, and replaced by argon2id when their users sign in.

Lines that cannot be imported are reported, with their numbers, and the others go on. If it is interrupted, run it again: users who are there already, as the file has them, are skipped. It is safe beside a running server.`
}

// Run imports users.
func (c *userImportCommand) Run(ctx context.Context, std *stdio, parent *userCommand) (err error) {
	file, size, err := c.open(std)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	project, err := c.firebase()
	if err != nil {
		return err
	}
	rejects, err := newRejects(c.Rejects, file, std.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rejects.close()) }()
	o, err := parent.Admin.openOrCreate(ctx, std, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()

	users := userfile.New(userfile.Config{
		Authority: o.Authority, Actor: innkeeper.ActorOperator, Firebase: project, DryRun: c.DryRun, Reject: rejects.add,
		Workers: workersFor(parent.Admin.Data.Place.place()),
	})
	stop := rejects.follow(users, size)
	err = users.Run(ctx, file)
	stop()
	done := importedOf(users.Counts(), c.DryRun)
	if printed := parent.Admin.Output.print(std.out, done, done.write); printed != nil {
		return errors.Join(err, printed)
	}
	switch {
	case err != nil:
		return hint(err, "run the same command again: it goes on where this one stopped")
	case done.Rejected > 0:
		return hint(fmt.Errorf("%d of %d lines were rejected", done.Rejected, done.Lines),
			"correct them and run the same command again: users who are there already are skipped")
	}
	return nil
}

// workersFor returns how many users a database takes at a time: SQLite as many as it
// commits together, PostgreSQL twice as many as there are connections.
func workersFor(here place) int {
	if here.sqlite() {
		return 256
	}
	return 32
}

// open opens the file, and returns its size, zero if that is not known.
func (c *userImportCommand) open(std *stdio) (file *os.File, size int64, err error) {
	if c.File == "-" {
		return std.in, 0, nil
	}
	file, err = os.Open(c.File)
	if err != nil {
		return nil, 0, usage(fmt.Errorf("open users: %w", err), "name a file of users, or - for standard input")
	}
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		_ = file.Close()
		return nil, 0, usage(fmt.Errorf("%s is no file of users", c.File), "name a file, or - for standard input")
	}
	return file, info.Size(), nil
}

// firebase reads the parameters of the project, nil if none are given.
func (c *userImportCommand) firebase() (*password.FirebaseProject, error) {
	if c.FirebaseConfig == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.FirebaseConfig)
	if err != nil {
		return nil, usage(fmt.Errorf("read parameters of Firebase: %w", err), "copy them from the console: Authentication, Users, ⋮, Password hash parameters")
	}
	project, err := password.ParseFirebaseProject(string(text))
	if err != nil {
		return nil, usage(fmt.Errorf("parameters of Firebase in %s: %w", c.FirebaseConfig, err), "copy them from the console as they are: Authentication, Users, ⋮, Password hash parameters")
	}
	return &project, nil
}

// importedObject says what has become of the lines.
type importedObject struct {
	DryRun   bool             `json:"dry_run"`
	Lines    int64            `json:"lines"`
	Imported int64            `json:"imported"`
	Present  int64            `json:"present"`
	Rejected int64            `json:"rejected"`
	Hashes   map[string]int64 `json:"hashes"` // of those imported, by algorithm; none: without a password
}

func importedOf(counts userfile.Counts, dryRun bool) importedObject {
	object := importedObject{
		DryRun: dryRun, Lines: counts.Lines, Imported: counts.Imported, Present: counts.Present, Rejected: counts.Rejected,
		Hashes: make(map[string]int64),
	}
	for scheme, n := range counts.Hashes {
		if scheme == "" {
			scheme = "none"
		}
		object.Hashes[string(scheme)] = n
	}
	return object
}

func (o importedObject) write(w io.Writer) {
	verb := "imported"
	if o.DryRun {
		verb = "would import"
	}
	fmt.Fprintf(w, "%s %d users; %d were there already; %d lines rejected\n", verb, o.Imported, o.Present, o.Rejected)
	for _, scheme := range slices.Sorted(maps.Keys(o.Hashes)) {
		fmt.Fprintf(w, "  %s\t%d\n", scheme, o.Hashes[scheme])
	}
}

// rejects reports lines that were not imported, and how far the others have come.
type rejects struct {
	file     *os.File // nil: none was asked for
	terminal bool
	err      *os.File // standard error

	mu     sync.Mutex
	shown  int
	failed error // to write the file
}

// shownRejects bounds what goes to standard error, where nobody reads more.
const shownRejects = 20

// newRejects opens the file of what is rejected from users.
func newRejects(path string, users, stderr *os.File) (*rejects, error) {
	r := &rejects{err: stderr, terminal: term.IsTerminal(int(stderr.Fd()))}
	if path == "" {
		return r, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, usage(fmt.Errorf("open rejects: %w", err), "name a file that can be written")
	}
	if err := emptyOut(file, users); err != nil {
		_ = file.Close()
		return nil, err
	}
	r.file = file
	return r, nil
}

// emptyOut throws away what an earlier import has rejected, and lets nobody but the owner
// read what comes: hashes. It refuses the file of the users itself, of which nothing
// would be left.
func emptyOut(file, users *os.File) error {
	here, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open rejects: %w", err)
	}
	if there, err := users.Stat(); err == nil && os.SameFile(here, there) {
		return usage(fmt.Errorf("%s is the file of the users", file.Name()), "name another file for the rejects")
	}
	if !here.Mode().IsRegular() {
		return nil // such as a pipe
	}
	if err := errors.Join(file.Chmod(0o600), file.Truncate(0)); err != nil {
		return usage(fmt.Errorf("open rejects: %w", err), "name a file that is yours")
	}
	return nil
}

// rejectObject is one line of the file. Its record is the line itself.
type rejectObject struct {
	Line   int             `json:"line"`
	Code   string          `json:"code"`
	Detail string          `json:"detail"`
	Hint   string          `json:"hint"`
	Record json.RawMessage `json:"record,omitempty"` // a string, if the line is not JSON
}

func (r *rejects) add(rejection userfile.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil && r.failed == nil {
		r.failed = r.write(rejection)
	}
	r.shown++
	switch {
	case r.shown <= shownRejects:
		fmt.Fprintf(r.err, "%sline %d: %s: %s; %s\n", r.clearLine(), rejection.Line, rejection.Code, printable(rejection.Detail), rejection.Hint)
	case r.shown == shownRejects+1 && r.file == nil:
		fmt.Fprintf(r.err, "%smore lines are rejected: --rejects FILE keeps all of them\n", r.clearLine())
	}
}

func (r *rejects) write(rejection userfile.Rejection) error {
	object := rejectObject{Line: rejection.Line, Code: rejection.Code, Detail: rejection.Detail, Hint: rejection.Hint}
	if json.Valid(rejection.Text) {
		object.Record = rejection.Text
	} else if rejection.Text != nil {
		text, err := json.Marshal(string(rejection.Text))
		if err != nil {
			return err
		}
		object.Record = text
	}
	encoder := json.NewEncoder(r.file)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

// close makes sure that every line is in the file.
func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	if err := errors.Join(r.failed, r.file.Close()); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

// clearLine takes the progress bar away before something else is printed.
func (r *rejects) clearLine() string {
	if r.terminal {
		return "\r\x1b[K"
	}
	return ""
}

// progressLines is how many lines are settled between two reports to a program.
const progressLines = 10_000

// follow shows a person a bar, and tells a program of every ten thousand lines.
func (r *rejects) follow(users *userfile.Import, size int64) (stop func()) {
	quit, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		told := int64(0)
		for {
			select {
			case <-quit:
				fmt.Fprint(r.err, r.clearLine())
				return
			case <-ticker.C:
			}
			counts := users.Counts()
			switch {
			case r.terminal:
				r.bar(counts, size)
			case counts.Lines/progressLines > told:
				told = counts.Lines / progressLines
				fmt.Fprintf(r.err, "%d lines: %d imported, %d there already, %d rejected\n", counts.Lines, counts.Imported, counts.Present, counts.Rejected)
			}
		}
	}()
	return func() {
		close(quit)
		<-over
	}
}

// bar draws how far the import has come. Without a size it shows the numbers alone.
func (r *rejects) bar(counts userfile.Counts, size int64) {
	const width = 30
	text := fmt.Sprintf("%d imported, %d there already, %d rejected", counts.Imported, counts.Present, counts.Rejected)
	if size > 0 {
		part := min(1, float64(counts.Bytes)/float64(size))
		full := int(part * width)
		text = fmt.Sprintf("[%s%s] %3.0f%%  %s", strings.Repeat("#", full), strings.Repeat("-", width-full), part*100, text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(r.err, r.clearLine()+text)
}
