package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// rootKeyFile is a root key file on its way to another state.
type rootKeyFile struct {
	*rootkey.File
	path string // of the file itself, behind symbolic links
	read []byte
}

// openRootKeyFile reads a root key file to change it.
func openRootKeyFile(path string) (*rootKeyFile, error) {
	if _, err := readRootKeyFile(path); err != nil { // which looks at its mode too
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	text, err := os.ReadFile(real)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	file, err := rootkey.ReadFile(bytes.NewReader(text))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return &rootKeyFile{File: file, path: real, read: text}, nil
}

// write replaces the file, by the same owner and with the same mode. At any moment
// there is the old file or the new one under its name, complete and durable.
func (f *rootKeyFile) write() (err error) {
	defer func() {
		if err != nil {
			err = hint(fmt.Errorf("write root keys: %w", err), "the file is as it was; run this where the file can be written, and give the servers what comes out")
		}
	}()
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".root.key-") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // fails when all went well
	_, err = temp.Write(f.Text())
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), keepOwner(temp, info))
	if err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	// Somebody else may be at it as well. What they did must not be lost.
	now, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, f.read) {
		return errors.New("somebody has changed the file at the same moment")
	}
	if err := os.Rename(temp.Name(), f.path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(f.path))
}

// rootKeyEntry is one key of a file.
type rootKeyEntry struct {
	ID          string    `json:"id"`
	Standing    string    `json:"standing"`
	MintedUntil time.Time `json:"minted_until,omitzero"`
}

func (f *rootKeyFile) entries() []rootKeyEntry {
	var entries []rootKeyEntry
	for _, e := range f.Entries() {
		entries = append(entries, rootKeyEntry{ID: e.Key.ID().String(), Standing: string(e.Standing), MintedUntil: e.MintedUntil})
	}
	return entries
}

// in returns the only key of a standing, or nil.
func (f *rootKeyFile) in(standing rootkey.Standing) *rootkey.Key {
	for _, e := range f.Entries() {
		if e.Standing == standing {
			return e.Key
		}
	}
	return nil
}

type rootkeyListCommand struct {
	Data   dataFlags   `embed:""`
	Output outputFlags `embed:""`
}

// Run lists root keys. It needs no database.
func (c *rootkeyListCommand) Run(std *stdio) error {
	file, err := openRootKeyFile(c.Data.rootKeyFile())
	if err != nil {
		return err
	}
	entries := file.entries()
	return c.Output.print(std.out, entries, func(w io.Writer) {
		writeRow(w, "ID", "STANDING", "MINTED UNTIL")
		for _, e := range entries {
			writeRow(w, e.ID, e.Standing, clockOr(e.MintedUntil))
		}
	})
}

type rootkeyRotateCommand struct {
	Data   dataFlags   `embed:""`
	Output outputFlags `embed:""`
}

// Help is shown above the flags.
func (*rootkeyRotateCommand) Help() string {
	return `A root key is replaced in three runs of this command, and nobody is signed out:

1. It adds a key, which verifies and mints nothing.
2. It lets that key mint. It refuses to, until a server has started with the key.
3. It makes sure that nothing is encrypted under the old key any more, and notes that it does not mint.

After the first and the second run, give the file to every server and restart them, one after another. The command says so each time, and does not go on before. When the last session that the old key has seen is over, "innkeeper rootkey remove" takes it out.`
}

// rotatedObject says which step was taken.
type rotatedObject struct {
	File      string         `json:"file"`
	Step      string         `json:"step"` // "added", "promoted" or "finished"
	RootKeys  []rootKeyEntry `json:"root_keys"`
	Rewrapped []string       `json:"rewrapped,omitempty"` // signing keys
	next      string
}

// Run takes the next step.
func (c *rootkeyRotateCommand) Run(ctx context.Context, std *stdio) (err error) {
	file, err := openRootKeyFile(c.Data.rootKeyFile())
	if err != nil {
		return err
	}
	d, err := c.Data.openExisting(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	known, err := d.stores.RootKeys.RootKeyChecks(ctx)
	if err != nil {
		return fmt.Errorf("read root key checks: %w", err)
	}
	done, err := d.rotateRootKey(ctx, file, known)
	if err != nil {
		return err
	}
	done.File, done.RootKeys = file.path, file.entries()
	return c.Output.print(std.out, done, func(w io.Writer) { fmt.Fprint(w, done.next) })
}

// rotateRootKey takes the step that the file is ready for.
func (d *data) rotateRootKey(ctx context.Context, file *rootKeyFile, known []rootkey.Check) (*rotatedObject, error) {
	minting := file.Entries()[0].Key
	if !slices.Contains(known, minting.Check()) {
		return nil, hint(fmt.Errorf("no server has started with the root key %s, which is first in %s", minting.ID(), file.path),
			"is this the file of the servers of this database?")
	}
	if key := file.in(rootkey.Unmarked); key != nil {
		return nil, hint(fmt.Errorf("nothing says what the root key %s is there for", key.ID()),
			"write a line above it: # %s is next  if it is new, or  # %s is replaced  if it was first before", key.ID(), key.ID())
	}
	if next := file.in(rootkey.Next); next != nil {
		if !slices.Contains(known, next.Check()) {
			return nil, hint(fmt.Errorf("no server has started with the root key %s yet", next.ID()),
				"give %s to every server and restart them, one after another; then run this again", file.path)
		}
		return promoteRootKey(file, minting, next)
	}
	if old := file.in(rootkey.Replaced); old != nil {
		return d.finishRootKey(ctx, file, minting, old)
	}
	return addRootKey(file)
}

// addRootKey is the first step.
func addRootKey(file *rootKeyFile) (*rotatedObject, error) {
	key := rootkey.Generate()
	for err := file.Add(key); err != nil; err = file.Add(key) {
		if !errors.Is(err, rootkey.ErrDuplicate) { // once in 65,536 times
			return nil, err
		}
		key = rootkey.Generate()
	}
	if err := file.write(); err != nil {
		return nil, err
	}
	return &rotatedObject{Step: "added", next: fmt.Sprintf(`added the root key %s to %s; it verifies, and mints nothing yet
next: keep a copy of the file, give it to every server, and restart them, one after another
then: run this again, when ALL servers have been restarted
`, key.ID(), file.path)}, nil
}

// promoteRootKey is the second step.
func promoteRootKey(file *rootKeyFile, old, next *rootkey.Key) (*rotatedObject, error) {
	if err := file.Promote(); err != nil {
		return nil, err
	}
	if err := file.write(); err != nil {
		return nil, err
	}
	return &rotatedObject{Step: "promoted", next: fmt.Sprintf(`put the root key %s first in %s; servers that start with it mint with it
next: keep a copy of the file, give it to every server, and restart them, one after another
then: run this again, when ALL servers have been restarted; sessions move from %s to the new key with their next refresh
`, next.ID(), file.path, old.ID())}, nil
}

// finishRootKey is the third step. That some signing key is under the new root key
// shows that a server has started with it: they see to that when they start.
func (d *data) finishRootKey(ctx context.Context, file *rootKeyFile, minting, old *rootkey.Key) (*rotatedObject, error) {
	records, err := d.stores.Keys.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	if len(wrappedUnder(records, minting.ID())) == 0 {
		return nil, hint(fmt.Errorf("no server has started with the root key %s as the first one yet", minting.ID()),
			"give %s to every server and restart them, one after another; then run this again", file.path)
	}
	office, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer: "http://localhost", Stores: d.stores, RootKeys: d.roots, Clock: time.Now, Visiting: true,
	})
	if err != nil {
		return nil, err
	}
	rewrapped, err := office.RewrapKeys(ctx, innkeeper.ActorOperator)
	if err != nil {
		return nil, err
	}
	file.Retire(time.Now())
	if err := file.write(); err != nil {
		return nil, err
	}
	return &rotatedObject{Step: "finished", Rewrapped: rewrapped, next: fmt.Sprintf(`nothing is encrypted under the root key %s any more, and no server mints with it
next: keep it in the file until the sessions that it has seen are over: the longest --session-ttl that you have had, counted from now
then: innkeeper rootkey remove %s
`, old.ID(), old.ID())}, nil
}

// wrappedUnder returns the names of the signing keys that are encrypted under a root
// key.
func wrappedUnder(records []keyring.Record, id rootkey.ID) []string {
	var names []string
	for _, rec := range records {
		if under, ok := rootkey.WrappedUnder(rec.Wrapped); ok && under == id && rec.State != keyring.Removed {
			names = append(names, rec.KeyID)
		}
	}
	return names
}

// hooksUnder counts the webhooks whose secret is encrypted under a root key.
func hooksUnder(hooks []innkeeper.Webhook, id rootkey.ID) int {
	held := 0
	for _, hook := range hooks {
		if under, ok := rootkey.WrappedUnder(hook.Secret); ok && under == id {
			held++
		}
	}
	return held
}

type rootkeyRemoveCommand struct {
	ID         string        `arg:"" help:"id of the root key, see innkeeper rootkey list"`
	Data       dataFlags     `embed:""`
	SessionTTL time.Duration `default:"720h" help:"as the servers have it: tokens of an old root key live for so long"`
	Force      bool          `env:"-" help:"do it even if tokens of the key may be alive: whoever holds one has to sign in again"`
	Output     outputFlags   `embed:""`
}

// Help is shown above the flags.
func (*rootkeyRemoveCommand) Help() string {
	return `Servers go on with the keys that they have read until they are restarted. With --force, sessions that have not been refreshed since the key was replaced are refused (refresh_token_invalid) once the servers are restarted, and their people sign in again; all others live on. A backup of the database that is older than the rotation can only be restored with the old key, so keep a copy.`
}

// removedObject says what is left.
type removedObject struct {
	File     string         `json:"file"`
	Removed  string         `json:"removed"`
	RootKeys []rootKeyEntry `json:"root_keys"`
}

// Run removes a root key.
func (c *rootkeyRemoveCommand) Run(ctx context.Context, std *stdio) (err error) {
	file, err := openRootKeyFile(c.Data.rootKeyFile())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(file.Entries(), func(e rootkey.Entry) bool { return e.Key.ID().String() == c.ID })
	if i < 0 {
		return hint(fmt.Errorf("there is no root key %q in %s", c.ID, file.path), "innkeeper rootkey list shows all of them")
	}
	entry := file.Entries()[i]
	if err := c.allows(entry, time.Now()); err != nil {
		return err
	}
	d, err := c.Data.openExisting(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	records, err := d.stores.Keys.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	if held := wrappedUnder(records, entry.Key.ID()); len(held) > 0 {
		return hint(fmt.Errorf("%d signing keys are encrypted under the root key %s", len(held), c.ID),
			"innkeeper rootkey rotate takes the step that is missing; without the key no server could start")
	}
	hooks, err := d.stores.Webhooks.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("read webhooks: %w", err)
	}
	if held := hooksUnder(hooks, entry.Key.ID()); held > 0 {
		return hint(fmt.Errorf("the secrets of %d webhooks are encrypted under the root key %s", held, c.ID),
			"innkeeper rootkey rotate takes the step that is missing; without the key nothing could be delivered to them")
	}
	if err := file.Remove(entry.Key.ID()); err != nil {
		return err
	}
	if err := file.write(); err != nil {
		return err
	}
	done := removedObject{File: file.path, Removed: c.ID, RootKeys: file.entries()}
	return c.Output.print(std.out, done, func(w io.Writer) {
		fmt.Fprintf(w, "removed the root key %s from %s\nnext: give the file to every server and restart them, one after another\n", c.ID, file.path)
	})
}

// allows says whether tokens of a key can be alive.
func (c *rootkeyRemoveCommand) allows(entry rootkey.Entry, now time.Time) error {
	if c.SessionTTL <= 0 {
		return usage(fmt.Errorf("--session-ttl %s is out of bounds", c.SessionTTL), "give what the servers have")
	}
	switch entry.Standing {
	case rootkey.Minting:
		return hint(fmt.Errorf("the root key %s mints", c.ID), "replace it first: innkeeper rootkey rotate")
	case rootkey.Next: // it has minted nothing
		return nil
	case rootkey.Replaced:
		if !c.Force {
			return hint(fmt.Errorf("servers may mint with the root key %s still", c.ID), "restart them with this file, and run: innkeeper rootkey rotate")
		}
	case rootkey.Unmarked:
		if !c.Force {
			return hint(fmt.Errorf("nothing says since when the root key %s does not mint", c.ID),
				"write a line above it: # %s minted until 2026-01-31T00:00:00Z", c.ID)
		}
	case rootkey.Retired:
		if over := entry.MintedUntil.Add(c.SessionTTL); now.Before(over) && !c.Force {
			return hint(fmt.Errorf("sessions that have seen the root key %s may be alive until %s", c.ID, clock(over)),
				"wait, or sign out those that have not been refreshed since: --force")
		}
	}
	return nil
}
