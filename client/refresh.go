package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// attempt gets a token once: from the store, if another process was faster, else from
// the server.
func (s *Source) attempt(ctx context.Context, r request, epoch uint64, told *notices) (Token, error) {
	// Without the lock first: what another process has fetched may be read while a third
	// one refreshes, or where nothing can be written.
	session, err := s.load(ctx)
	if err != nil {
		return Token{}, s.withoutSession(err, epoch, told)
	}
	if token, ok, err := s.adopt(session, r, epoch, told); ok || err != nil {
		return token, err
	}
	unlock, locked, err := s.lock(ctx)
	if err != nil {
		return Token{}, err
	}
	defer unlock() // after what is stored has been published
	if session, err = s.load(ctx); err != nil {
		return Token{}, s.withoutSession(err, epoch, told)
	}
	if session, err = s.storeUnsaved(ctx, session); err != nil {
		return Token{}, err
	}
	if token, ok, err := s.adopt(session, r, epoch, told); ok || err != nil {
		return token, err
	}
	if err := s.cold(); err != nil {
		return Token{}, err
	}
	return (&rotation{Source: s, request: r, epoch: epoch, told: told, locked: locked}).run(ctx, session)
}

// load reads the store, and accepts what belongs to our server and to our user.
func (s *Source) load(ctx context.Context) (*Session, error) {
	session, err := s.store.Load(ctx)
	switch {
	case errors.Is(err, ErrNoSession):
		return nil, &SignedOutError{Code: codeNoSession}
	case err != nil:
		return nil, storeFailed("read session", err)
	case session.Server != s.server.url:
		return nil, fmt.Errorf("the stored session is of %s, and not of %s", session.Server, s.server.url)
	case session.Ending:
		return nil, &SignedOutError{Code: codeNoSession, Reason: reasonLogout}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user != "" && s.user != session.User.ID {
		return nil, ErrUserChanged
	}
	return session, nil
}

// withoutSession hands out nothing any more, if that is what an error means.
func (s *Source) withoutSession(err error, epoch uint64, told *notices) error {
	var over *SignedOutError
	switch {
	case errors.As(err, &over):
		if s.withdraw(epoch) {
			told.signedOut = over
		}
	case errors.Is(err, ErrUserChanged):
		s.withdraw(epoch)
	}
	return err
}

// adopt hands out the token of a stored session, if it is good and not the one to
// avoid. A generation never follows a later one.
func (s *Source) adopt(session *Session, r request, epoch uint64, told *notices) (Token, bool, error) {
	if session.AccessToken.IsZero() || session.ID == r.avoid.SessionID && session.Generation <= r.avoid.Generation {
		return Token{}, false, nil
	}
	now := s.clock()
	st := restoredState(session, now)
	if st.freshness(now) == expired {
		return Token{}, false, nil
	}
	if err := s.publish(epoch, session, st); err != nil {
		return Token{}, false, err
	}
	s.counters.adopted.Add(1)
	told.refreshed = &st.token
	return st.token, true, nil
}

// lock takes the store's lock, or says that there is none to be had.
func (s *Source) lock(ctx context.Context) (unlock func(), locked bool, err error) {
	unlock, err = s.store.Lock(ctx)
	switch {
	case errors.Is(err, ErrNoLock):
		s.lockNoted.Do(func() {
			s.hooks.logger.Warn("the store has no lock; processes refresh more often than they need to")
		})
		return func() {}, false, nil
	case err != nil:
		return nil, false, storeFailed("lock store", err)
	}
	return unlock, true, nil
}

// rotation is one refresh with a server, under the lock.
type rotation struct {
	*Source
	request

	epoch  uint64
	told   *notices
	locked bool
	looked bool // the store was found moved, or the refusal is the second one
}

// supersededPause is how long somebody else, who works without the lock, gets to store
// what they have.
const supersededPause = 10 * time.Second

// run trades the stored token, and judges the answer. A refusal is believed when the
// store has not moved: another process may have signed in or refreshed meanwhile.
func (r *rotation) run(ctx context.Context, held *Session) (Token, error) {
	for {
		asked := r.clock()
		answer, err := r.ask(ctx, held)
		if err == nil {
			return r.commit(ctx, held, answer, asked)
		}
		var said *problem
		if !errors.As(err, &said) {
			return Token{}, err
		}
		superseded := said.status == http.StatusConflict && said.Code == codeSuperseded
		if !superseded && !said.dead() {
			return Token{}, &UnavailableError{RetryAfter: said.retryAfter, Err: said, passing: true}
		}
		if superseded && !r.locked && held.Superseded != held.Generation {
			if err := sleep(ctx, supersededPause); err != nil {
				return Token{}, &UnavailableError{Err: said}
			}
		}
		now, err := r.load(ctx)
		if err != nil {
			return Token{}, r.withoutSession(err, r.epoch, r.told)
		}
		switch moved := !now.sameAs(held); {
		case moved && r.looked:
			return Token{}, &UnavailableError{Err: said, passing: true} // it moves all the time
		case moved:
			if token, ok, err := r.adopt(now, r.request, r.epoch, r.told); ok || err != nil {
				return token, err
			}
			r.looked, held = true, now
		case superseded && held.Superseded != held.Generation:
			if held, err = r.noteSuperseded(ctx, held); err != nil {
				return Token{}, err
			}
		default:
			return Token{}, r.end(ctx, held, said)
		}
	}
}

// ask sends the refresh token with the key of its generation. Should the server know
// better which generation that is, nothing was consumed, and it gets that one's key.
func (r *rotation) ask(ctx context.Context, held *Session) (*tokensAnswer, error) {
	generation := held.Generation
	for second := false; ; second = true {
		// Stored before it leaves: after a crash the same key proves that it was us.
		key, err := r.store.Key(ctx, held.ID, generation)
		if err != nil {
			return nil, storeFailed("store idempotency key", err)
		}
		r.counters.requests.Add(1)
		answer, err := r.server.refresh(ctx, held.RefreshToken, key, generation)
		var said *problem
		if !second && errors.As(err, &said) && said.Code == codeMismatch && said.Generation > 0 {
			generation = said.Generation
			continue
		}
		return answer, err
	}
}

// noteSuperseded remembers that the server has called this generation superseded. A
// restart must not make us forget it, and try for ever.
func (r *rotation) noteSuperseded(ctx context.Context, held *Session) (*Session, error) {
	noted := held.clone()
	noted.Superseded = held.Generation
	if err := r.store.Save(ctx, noted); err != nil {
		return nil, storeFailed("store session", err)
	}
	return noted, nil
}

// commit stores what the server gave, and hands it out then: a process that crashes
// with a token that nobody has stored does no harm, since its parent is presented
// again with the same key. Whoever has left since does not stop it.
func (r *rotation) commit(ctx context.Context, held *Session, answer *tokensAnswer, asked reading) (Token, error) {
	if answer.Session.ID != held.ID || answer.User.ID != held.User.ID {
		return Token{}, errors.New("the server answered with the tokens of another session; they were dropped")
	}
	next := held.clone()
	next.take(answer, asked)
	if err := r.store.Save(context.WithoutCancel(ctx), next); err != nil {
		r.counters.unsaved.Add(1)
		r.told.failure(storeFailed("store session", err))
		r.keepTrying(r.epoch, next)
	}
	st := newState(next, asked)
	st.demanded = r.demanded
	if err := r.publish(r.epoch, next, st); err != nil {
		return Token{}, err
	}
	r.counters.refreshed.Add(1)
	r.told.refreshed = &st.token
	return st.token, nil
}

// take puts an answer into a session. One without a refresh token leaves the old one
// (RFC 6749 section 6).
func (s *Session) take(answer *tokensAnswer, asked reading) {
	s.ID, s.Generation, s.ExpiresAt = answer.Session.ID, answer.Session.Generation, answer.Session.ExpiresAt
	s.User = answer.User
	s.AccessToken, s.RequestedAt, s.Lifetime = NewSecret(answer.AccessToken), asked.wall, answer.lifetime()
	if answer.RefreshToken != "" {
		s.RefreshToken = NewSecret(answer.RefreshToken)
	}
	s.Superseded = 0
}

// end forgets a session that the server has called over, or that we give up because
// the store holds an old token of it only. Somebody who has stored another one
// meanwhile keeps it.
func (r *rotation) end(ctx context.Context, held *Session, said *problem) error {
	over := said.signedOut()
	if !said.dead() { // it lives on, with whoever has the newer token: that must not be a thief
		if err := r.server.logout(ctx, held.RefreshToken); err != nil && !isDead(err) {
			return &UnavailableError{Err: fmt.Errorf("end session: %w", err), passing: true}
		}
	}
	if now, err := r.store.Load(ctx); err != nil || now.sameAs(held) {
		if err := errors.Join(notMissing(err), r.store.Delete(context.WithoutCancel(ctx))); err != nil {
			return storeFailed("forget session", err)
		}
	}
	r.counters.signedOut.Add(1)
	r.withdraw(r.epoch)
	r.told.signedOut = over
	return over
}

func notMissing(err error) error {
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	return err
}

func isDead(err error) bool {
	var said *problem
	return errors.As(err, &said) && said.dead()
}

// keepTrying stores a successor that the store did not take, in the background. Until
// it is stored its parent is what is presented, which the server answers with the same
// successor.
func (s *Source) keepTrying(epoch uint64, next *Session) {
	s.mu.Lock()
	trying := s.unsaved != nil
	if s.epoch == epoch {
		s.unsaved = next
	}
	s.mu.Unlock()
	if trying || !s.begin() {
		return
	}
	go func() {
		defer s.running.Done()
		for try := 0; sleep(s.lifetime, backOff(try+1, 0)) == nil; try++ {
			if s.saveUnsaved(s.lifetime) == nil {
				return
			}
		}
	}()
}

// saveUnsaved takes the lock and tries once. It returns nil if there is nothing to do
// any more.
func (s *Source) saveUnsaved(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	unlock, _, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	held, err := s.store.Load(ctx)
	if errors.Is(err, ErrNoSession) {
		s.forgetUnsaved()
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.storeUnsaved(ctx, held)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved != nil {
		return errors.Join(err, errUnsaved)
	}
	return err
}

var errUnsaved = errors.New("the latest refresh token is not stored")

// storeUnsaved stores the successor that could not be stored before, if the store still
// has nothing newer, and returns what it holds then. Of a session that may be stored
// without being safe on the disk the token is not to be used.
func (s *Source) storeUnsaved(ctx context.Context, held *Session) (*Session, error) {
	s.mu.Lock()
	unsaved := s.unsaved
	s.mu.Unlock()
	switch {
	case unsaved == nil:
		return held, nil
	case held.ID != unsaved.ID, held.Generation > unsaved.Generation, held.Ending:
		s.forgetUnsaved()
		return held, nil
	}
	err := s.store.Save(ctx, unsaved)
	switch {
	case err == nil:
		s.forgetUnsaved()
		return unsaved.clone(), nil
	case held.Generation == unsaved.Generation:
		return nil, storeFailed("store session", err)
	}
	return held, nil // the parent, which is answered with the same successor
}

func (s *Source) forgetUnsaved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = nil
}

// closeUnsaved tries for the last time.
func (s *Source) closeUnsaved() error {
	s.mu.Lock()
	unsaved := s.unsaved
	s.mu.Unlock()
	if unsaved == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.saveUnsaved(ctx); err != nil {
		return storeFailed("close token source", err)
	}
	return nil
}
