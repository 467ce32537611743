package postgres

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/innkeeper-auth/innkeeper"
)

const (
	// maxReaders is how many statements that read users are under way at once.
	maxReaders = 2
	// maxReads bounds how many users share a statement.
	maxReads = 256
)

// reads reads users by ID. Where sessions live in another store, every refresh does
// that first, so those that arrive at the same moment share a statement, as
// rotations do. One that finds a reader free is sent at once.
type reads struct {
	store *Store

	mu      sync.Mutex
	queue   []*read
	readers int
}

// read is one caller's question and its answer.
type read struct {
	id    innkeeper.UserID
	user  innkeeper.User
	found bool
	err   error
	done  chan struct{} // closed when the answer is there
}

// user returns a user, and false if there is none.
func (r *reads) user(ctx context.Context, id innkeeper.UserID) (innkeeper.User, bool, error) {
	if err := ctx.Err(); err != nil {
		return innkeeper.User{}, false, err
	}
	item := &read{id: id, done: make(chan struct{})}
	r.enqueue(item)
	select {
	case <-item.done:
		return item.user, item.found, item.err
	case <-ctx.Done():
		return innkeeper.User{}, false, ctx.Err() // the answer is for nobody
	}
}

func (r *reads) enqueue(item *read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, item)
	if r.readers < maxReaders {
		r.readers++
		go r.work()
	}
}

// work answers what is in line until there is nothing left.
func (r *reads) work() {
	for {
		runtime.Gosched() // whoever is ready to ask may come along, see line.work
		items := r.take()
		if len(items) == 0 {
			return
		}
		r.answer(items)
	}
}

// take returns nothing if the reader is to end.
func (r *reads) take() []*read {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.readers--
		return nil
	}
	n := min(len(r.queue), maxReads)
	items := slices.Clone(r.queue[:n])
	r.queue = slices.Delete(r.queue, 0, n)
	return items
}

func (r *reads) answer(items []*read) {
	asked := make(map[innkeeper.UserID][]*read, len(items))
	ids := make([][]byte, 0, len(items))
	for _, item := range items {
		if asked[item.id] == nil {
			ids = append(ids, item.id[:])
		}
		asked[item.id] = append(asked[item.id], item)
	}
	// Nobody's context: whoever asked first may leave, and the others still get their
	// answer. It ends with the store's own time-out.
	users, err := readAll(context.Background(), r.store, (*row).user, selectUser+`where u.id = any($1::bytea[])`, ids)
	for i := range users {
		for _, item := range asked[users[i].ID] {
			item.user, item.found = users[i], true
			// What a caller gets is shared with nobody.
			item.user.Roles, item.user.Permissions = slices.Clone(users[i].Roles), slices.Clone(users[i].Permissions)
		}
	}
	for _, item := range items {
		item.err = err
		close(item.done)
	}
}
