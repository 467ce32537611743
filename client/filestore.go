package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// FileStore keeps a session in a file that only its owner can read, and that any
// number of processes may share:
//
//	session.json        the session, replaced as a whole
//	session.json.lock   locked during a refresh; never deleted, since whoever waits for
//	                    a deleted file locks nothing
//	session.json.keys/  the idempotency keys, a file each
//	session.json.device the device token, which outlives the session
//
// Everything is written beside its place and moved there when it is on the disk, so
// that a crash leaves the old or the new. On a network file system without locks
// processes refresh more often than they need to; the keys, which are created
// atomically, see to it that nobody is signed out for it.
type FileStore struct {
	path string
}

// maxStoredFile bounds what is read, in bytes: a session takes some 2,000.
const maxStoredFile = 1 << 20

// NewFileStore returns a store that keeps its session in the file at path. The file
// and its directory, with mode 0700, are created by the first sign-in. A path that
// names a symbolic link is refused, here or later: two names of one session would have
// two locks.
func NewFileStore(path string) (*FileStore, error) {
	if path == "" || strings.HasSuffix(path, string(filepath.Separator)) {
		return nil, errors.New("session file: give the path of a file")
	}
	absolute, err := filepath.Abs(path) // the program may change its directory
	if err != nil {
		return nil, fmt.Errorf("session file: %w", err)
	}
	f := &FileStore{path: absolute}
	return f, f.checkPlace()
}

// Path returns where the session is.
func (f *FileStore) Path() string { return f.path }

// checkPlace refuses a place where somebody else decides what is read.
func (f *FileStore) checkPlace() error {
	if info, err := os.Lstat(f.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("session file %s: not a regular file; name the file itself", f.path)
	}
	return checkDirectory(filepath.Dir(f.path))
}

// Load implements [Store].
func (f *FileStore) Load(ctx context.Context) (*Session, error) {
	if err := f.checkPlace(); err != nil {
		return nil, err
	}
	text, err := readFile(ctx, f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNoSession
	case err != nil:
		return nil, err
	}
	session, err := DecodeSession(text)
	if err != nil {
		return nil, fmt.Errorf("session file %s: %w", f.path, err)
	}
	return session, nil
}

// Save implements [Store].
func (f *FileStore) Save(ctx context.Context, session *Session) error {
	text, err := session.Encode()
	if err != nil {
		return err
	}
	return f.replace(ctx, f.path, text)
}

// replace makes text the content of one of our files.
func (f *FileStore) replace(ctx context.Context, path string, text []byte) error {
	if err := f.prepare(filepath.Dir(path)); err != nil {
		return err
	}
	temporary, err := f.write(append(text, '\n'))
	if err != nil {
		return err
	}
	if err := rename(ctx, temporary, path); err != nil {
		_ = os.Remove(temporary) // what matters has failed already
		return err
	}
	f.sweep()
	return syncDirectory(filepath.Dir(path))
}

// Delete implements [Store].
func (f *FileStore) Delete(context.Context) error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(f.keys()); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Dir(f.path)); err != nil {
		return nil //nolint:nilerr // there never was anything
	}
	return syncDirectory(filepath.Dir(f.path))
}

// LoadDevice implements [DeviceStore].
func (f *FileStore) LoadDevice(ctx context.Context) (Device, error) {
	if err := f.checkPlace(); err != nil {
		return Device{}, err
	}
	text, err := readFile(ctx, f.device())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Device{}, nil
	case err != nil:
		return Device{}, err
	}
	device, err := DecodeDevice(text)
	if err != nil {
		return Device{}, fmt.Errorf("device file %s: %w", f.device(), err)
	}
	return device, nil
}

// SaveDevice implements [DeviceStore].
func (f *FileStore) SaveDevice(ctx context.Context, device Device) error {
	text, err := device.Encode()
	if err != nil {
		return err
	}
	return f.replace(ctx, f.device(), text)
}

// Key implements [Store]. A file that exists under its name is complete, and stays: a
// link is made by one caller only, whoever the others are.
func (f *FileStore) Key(ctx context.Context, sessionID string, generation uint32) (string, error) {
	if err := f.checkPlace(); err != nil {
		return "", err
	}
	prefix := keyPrefix(sessionID)
	path := filepath.Join(f.keys(), prefix+strconv.FormatUint(uint64(generation), 10))
	key, err := readFile(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = f.createKey(ctx, path)
	}
	if err != nil {
		return "", fmt.Errorf("idempotency key: %w", err)
	}
	// Whoever made the key may have been killed before it was on the disk for good.
	if err := syncDirectory(f.keys()); err != nil {
		return "", fmt.Errorf("idempotency key: %w", err)
	}
	f.forgetKeys(prefix, generation)
	return string(key), nil
}

func (f *FileStore) createKey(ctx context.Context, path string) ([]byte, error) {
	if err := f.prepare(f.keys()); err != nil {
		return nil, err
	}
	if err := syncDirectory(filepath.Dir(f.path)); err != nil {
		return nil, err
	}
	key := []byte(newKey())
	temporary, err := f.write(key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(temporary) }() // it is linked, or worth nothing
	switch err := os.Link(temporary, path); {
	case errors.Is(err, fs.ErrExist):
		return readFile(ctx, path)
	case err != nil && !linksUnsupported(err):
		return nil, err
	case err != nil: // the lock has to do
		return key, rename(ctx, temporary, path)
	}
	return key, nil
}

// forgetKeys removes the keys of generations that nobody will be set back to, and of
// sessions that were here before. What cannot be removed is removed another time.
func (f *FileStore) forgetKeys(prefix string, generation uint32) {
	entries, err := os.ReadDir(f.keys())
	if err != nil {
		return
	}
	for _, entry := range entries {
		text, ours := strings.CutPrefix(entry.Name(), prefix)
		old, err := strconv.ParseUint(text, 10, 32)
		if !ours || err != nil || old+keptKeys <= uint64(generation) {
			_ = os.Remove(filepath.Join(f.keys(), entry.Name()))
		}
	}
}

func (f *FileStore) keys() string { return f.path + ".keys" }

func (f *FileStore) device() string { return f.path + ".device" }

// keyPrefix begins the names of a session's keys. The ID comes from a server and is no
// file name.
func keyPrefix(sessionID string) string {
	sum := sha256.Sum256([]byte(sessionID))
	return hex.EncodeToString(sum[:8]) + "-"
}

// Bounds of the pause between two looks at a lock that somebody else holds.
const (
	firstLockPause = time.Millisecond
	lastLockPause  = 50 * time.Millisecond
)

// Lock implements [Store]. The lock is looked at again and again, because no system
// call waits for one and for a context.
func (f *FileStore) Lock(ctx context.Context) (unlock func(), err error) {
	file, err := f.openLock()
	if err != nil {
		return nil, err
	}
	for limit := firstLockPause; ; limit = min(2*limit, lastLockPause) {
		locked, err := tryLock(file)
		if locked {
			return func() { _ = file.Close() }, nil // which gives the lock back
		}
		if err == nil {
			err = sleep(ctx, limit/2+rand.N(limit)) //nolint:gosec // spreads load, and guards nothing
		}
		if err != nil {
			_ = file.Close()
			return nil, err
		}
	}
}

// openLock opens the lock file, and creates it if need be. Where nothing can be
// written, a file that is there can be locked all the same.
func (f *FileStore) openLock() (*os.File, error) {
	if err := f.prepare(filepath.Dir(f.path)); err != nil {
		return nil, err
	}
	name := f.path + ".lock"
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|noFollow, 0o600) //nolint:gosec // G304: the program names the file
	if err != nil {
		readable, again := os.OpenFile(name, os.O_RDONLY|noFollow, 0) //nolint:gosec // G304: the program names the file
		if again == nil {
			return readable, nil
		}
	}
	return file, err
}

// prepare creates a directory for its owner alone.
func (f *FileStore) prepare(directory string) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	return f.checkPlace()
}

// temporaryAge is how old a temporary file is when its writer must have been killed.
const temporaryAge = time.Minute

// write writes a file beside the session, and returns when it is on the disk.
func (f *FileStore) write(text []byte) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(f.path), f.temporaryPattern()) // mode 0600; follows no link
	if err != nil {
		return "", err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

func (f *FileStore) temporaryPattern() string { return "." + filepath.Base(f.path) + ".*.tmp" }

// sweep removes what killed writers have left.
func (f *FileStore) sweep() {
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return
	}
	for _, entry := range entries {
		if left, err := filepath.Match(f.temporaryPattern(), entry.Name()); err != nil || !left {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > temporaryAge {
			_ = os.Remove(filepath.Join(filepath.Dir(f.path), entry.Name()))
		}
	}
}

func readFile(ctx context.Context, path string) ([]byte, error) {
	file, err := openFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxStoredFile+1))
	if err == nil && len(text) > maxStoredFile {
		err = fmt.Errorf("%s: longer than %d bytes", path, maxStoredFile)
	}
	return text, err
}

// sleep waits, and returns why the context ended if it does first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
