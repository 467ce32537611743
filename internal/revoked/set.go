package revoked

import (
	"sync"
	"sync/atomic"
)

// Set is a set of entries. The zero value is empty and ready to use. It is safe
// for concurrent use. Has allocates nothing and waits for nobody.
type Set struct {
	// An entry is looked for in young before it is looked for in old, and Age moves
	// it the other way round. So no entry is ever in between.
	young, old generation
	keys       atomic.Pointer[table] // never age

	mu sync.Mutex // held by whoever changes the set
}

// generation holds what was added between two calls of Age.
type generation struct{ sessions, users atomic.Pointer[table] }

// Add adds entries. They are all there when it returns. Entries of other kinds than
// those above name nothing that could be looked up, and are left out.
func (s *Set) Add(entries ...Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		switch e.Kind {
		case Session:
			insert(&s.young.sessions, e.ID)
		case User:
			insert(&s.young.users, e.ID)
		case Key:
			insert(&s.keys, e.ID)
		}
	}
}

// insert adds an ID to the table that a pointer holds, or to a larger copy.
func insert(held *atomic.Pointer[table], id string) {
	t := held.Load()
	if t == nil {
		t = newTable(minSlots)
		held.Store(t)
	}
	if t.add(id) {
		return
	}
	larger := t.grown()
	larger.add(id)
	held.Store(larger)
}

// Age forgets sessions and users that were not added since the call before this
// one, and no key ever. Called at intervals no shorter than the longest life of an
// access token, it bounds a set without asking a clock how old an entry is: those
// of issuer and verifier may differ.
func (s *Set) Age() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old.sessions.Store(s.young.sessions.Load())
	s.old.users.Store(s.young.users.Load())
	s.young.sessions.Store(nil)
	s.young.users.Store(nil)
}

// KeepKeys forgets the keys that were added first, down to the given number, except
// those that are needed: whoever cannot trust the source of the set to be small may
// bound what is kept for good.
func (s *Set) KeepKeys(most int, needed func(id string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.keys.Load()
	if t == nil || t.count <= most {
		return
	}
	var kept atomic.Pointer[table]
	excess := t.count - most
	for id := range t.all() {
		if excess > 0 && !needed(id) {
			excess--
			continue
		}
		insert(&kept, id)
	}
	s.keys.Store(kept.Load())
}

// Has reports whether the set has the entry.
func (s *Set) Has(kind Kind, id string) bool {
	switch kind {
	case Session:
		return s.young.sessions.Load().has(id) || s.old.sessions.Load().has(id)
	case User:
		return s.young.users.Load().has(id) || s.old.users.Load().has(id)
	case Key:
		return s.keys.Load().has(id)
	default:
		return false
	}
}

// Len returns the number of entries. One that was added again after it had aged
// counts twice.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.young.len() + s.old.len() + s.keys.Load().len()
}

// Keys returns the number of keys among the entries.
func (s *Set) Keys() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.Load().len()
}

func (g *generation) len() int { return g.sessions.Load().len() + g.users.Load().len() }
