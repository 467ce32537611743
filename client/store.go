package client

import (
	"context"
	"crypto/rand"
	"sync"
)

// Store keeps one session, and the idempotency keys with which it is refreshed.
// Several processes may share one store. All methods are safe for concurrent use and
// honor their context.
//
// An error that is none of those named here means that the store is unavailable. It
// never ends a session.
type Store interface {
	// Load returns what is stored, or [ErrNoSession]. It sees every Save and Delete that
	// has returned, in any process. The caller owns the result.
	Load(ctx context.Context) (*Session, error)
	// Save replaces what is stored, as a whole: whoever loads sees the old session or
	// the new one. When it returns nil the session survives a power failure; when it
	// returns an error either of the two is stored.
	Save(ctx context.Context, session *Session) error
	// Delete forgets the session and its keys. It returns nil if there was none.
	Delete(ctx context.Context) error
	// Key returns the idempotency key of one generation of one session: a new one when
	// it is asked for first, and from then on the same for everybody, also for those who
	// hold no lock and after a power failure. It may forget the keys of all but the three
	// latest generations it was asked for.
	Key(ctx context.Context, sessionID string, generation uint32) (string, error)
	// Lock waits until no other process and no other goroutine has the lock, and no
	// longer than ctx lasts. The lock is gone when its process is. [ErrNoLock] says that
	// there is none to be had, ever; others go on without it.
	Lock(ctx context.Context) (unlock func(), err error)
}

// keptKeys is how many generations' keys are kept. A store that is set back by one or
// two generations, by a crash or a slow writer, still holds what proves it honest.
const keptKeys = 3

// newKey makes an idempotency key: 26 letters and digits, 130 random bits.
func newKey() string { return rand.Text() }

// MemoryStore keeps a session until the program ends: a person has to sign in at every
// start. Nobody gets it by accident.
type MemoryStore struct {
	lock chan struct{} // holds the lock while it is not taken

	mu      sync.Mutex
	session *Session
	device  Device
	keys    map[keyName]string
}

type keyName struct {
	sessionID  string
	generation uint32
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	m := &MemoryStore{lock: make(chan struct{}, 1), keys: make(map[keyName]string)}
	m.lock <- struct{}{}
	return m
}

// Load implements [Store].
func (m *MemoryStore) Load(context.Context) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return nil, ErrNoSession
	}
	return m.session.clone(), nil
}

// Save implements [Store].
func (m *MemoryStore) Save(_ context.Context, session *Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = session.clone()
	return nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = nil
	clear(m.keys)
	return nil
}

// Key implements [Store].
func (m *MemoryStore) Key(_ context.Context, sessionID string, generation uint32) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := keyName{sessionID, generation}
	if _, ok := m.keys[name]; !ok {
		m.keys[name] = newKey()
	}
	for old := range m.keys {
		if old.sessionID != sessionID || uint64(old.generation)+keptKeys <= uint64(generation) {
			delete(m.keys, old)
		}
	}
	return m.keys[name], nil
}

// LoadDevice implements [DeviceStore].
func (m *MemoryStore) LoadDevice(context.Context) (Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.device, nil
}

// SaveDevice implements [DeviceStore].
func (m *MemoryStore) SaveDevice(_ context.Context, device Device) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.device = device
	return nil
}

// Lock implements [Store].
func (m *MemoryStore) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case <-m.lock:
		return func() { m.lock <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
