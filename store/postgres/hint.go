package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// hintChannel is the channel of NOTIFY. Channels belong to a database; that other
// schemas of it share this one costs them a look at their own feed.
const hintChannel = "innkeeper_revocation"

// hintRest is how long not to notify again: what is revoked meanwhile is told
// together.
const hintRest = 10 * time.Millisecond

// hints tell other servers that there is something new in the feed.
//
// A NOTIFY never belongs to the statement that revokes. Its transaction would have to
// take a lock that all notifying transactions of the server share, until it has
// committed, and would fail on engines and poolers that do not have NOTIFY. So it is
// sent afterwards, by itself, and nobody waits for it or misses it: who is not told
// looks a moment later.
type hints struct {
	store *Store
	due   chan struct{} // something was written that was not told yet
	ctx   context.Context
	stop  context.CancelFunc
	over  sync.WaitGroup
}

func newHints(s *Store) *hints {
	h := &hints{store: s, due: make(chan struct{}, 1)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.over.Go(h.run)
	return h
}

// close ends notifying, and those who listen.
func (h *hints) close() {
	h.stop()
	h.over.Wait()
}

// tell has others told soon, if a write that appended to the feed has succeeded. It
// returns the error of that write, and never blocks.
func (h *hints) tell(err error) error {
	if err != nil {
		return err
	}
	select {
	case h.due <- struct{}{}:
	default: // it will be told with what was written before
	}
	return nil
}

func (h *hints) run() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.due:
		}
		if lacksHints(h.notify()) { // any other error may pass
			return
		}
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(hintRest):
		}
	}
}

// notify is not retried: by then others have looked by themselves.
func (h *hints) notify() error {
	ctx, cancel := context.WithTimeout(h.ctx, h.store.timeout)
	defer cancel()
	conn, err := h.store.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	// As simple as the protocol allows: poolers cannot prepare it.
	_, err = conn.Conn().PgConn().Exec(ctx, "notify "+hintChannel).ReadAll()
	return err
}

// HintRevocations implements [innkeeper.RevocationHinter], with LISTEN on a connection
// besides those of the pool. Behind a pooler that gives connections to transactions
// nothing is ever heard, which is no error.
func (s *Store) HintRevocations(ctx context.Context, hint func()) error {
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.hints.ctx, cancel)()
	err := s.listen(listening, hint)
	if lacksHints(err) {
		<-listening.Done()
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case s.hints.ctx.Err() != nil:
		err = ErrClosed
	}
	return wrap("listen for revocations", err)
}

// listen calls hint until something fails.
func (s *Store) listen(ctx context.Context, hint func()) error {
	conn, err := s.listener(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	for {
		hint() // also at the beginning: something may have been missed before
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

// listener returns a connection that listens.
func (s *Store) listener(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout+grace)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	if _, err := conn.PgConn().Exec(ctx, "listen "+hintChannel).ReadAll(); err != nil {
		hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// lacksHints reports whether an error says that the engine knows no LISTEN or NOTIFY.
func lacksHints(err error) bool {
	failed := refused(err)
	return failed != nil && (failed.Code == featureNotSupported || failed.Code == syntaxError)
}
