package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// Credentials are what a person signs in with.
type Credentials struct {
	Username string
	Password string
	// Device is shown in the list of sessions, up to 100 characters. The zero value names
	// none.
	Device string
}

// Login signs in, stores the session, and hands out its tokens from now on. A session
// that was stored before is ended, once the new one is safe. It returns a
// [*RefusedError] for what the server does not accept, and [ErrUnavailable]; the store
// is as it was then.
func (s *Source) Login(ctx context.Context, c Credentials) error {
	var told notices
	known := s.deviceToken(ctx, &told)
	s.tell(told)
	asked := s.clock()
	answer, err := s.server.login(ctx, c, known)
	if err != nil {
		return refusedBy(err)
	}
	replaced, err := s.takeOver(ctx, answer, asked)
	if err != nil {
		return err
	}
	if replaced != nil {
		if err := s.server.logout(context.WithoutCancel(ctx), replaced.RefreshToken); err != nil && !isDead(err) {
			var told notices
			told.failure(&UnavailableError{Err: errors.Join(errors.New("end the session that was replaced"), err)})
			s.tell(told)
		}
	}
	return nil
}

// ChangePassword changes the password of whoever is signed in. It ends every session of
// theirs, and goes on with the new one that the server opens. Errors are those of
// [Source.Login] and [Source.Token].
func (s *Source) ChangePassword(ctx context.Context, current, replacement string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	asked := s.clock()
	answer, err := s.server.tokens(ctx, &s.ownCalls, "/auth/password", nil,
		map[string]string{"current_password": current, "new_password": replacement})
	if err != nil {
		return s.refusedHere(ctx, err)
	}
	_, err = s.takeOver(ctx, answer, asked)
	return err
}

// takeOver goes on with a new session, and returns the one that was stored before, nil
// if there was none. The server has opened it: that somebody has stopped waiting does
// not undo that. If it cannot be stored it is ended.
func (s *Source) takeOver(ctx context.Context, answer *tokensAnswer, asked reading) (replaced *Session, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	session := &Session{Server: s.server.url}
	session.take(answer, asked)
	if session.RefreshToken.IsZero() {
		return nil, notOurs(http.StatusOK)
	}
	if !s.begin() {
		return nil, errors.Join(ErrClosed, s.server.logout(ctx, session.RefreshToken))
	}
	defer s.running.Done()
	var told notices
	defer func() { s.tell(told) }() // when the lock is free
	epoch := s.turn()
	unlock, _, err := s.lock(ctx)
	if err == nil {
		defer unlock()
		replaced = s.replacedBy(ctx, session)
		if failed := s.store.Save(ctx, session); failed != nil {
			err = storeFailed("store session", failed)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.server.logout(ctx, session.RefreshToken))
	}
	s.keepDevice(ctx, answer.DeviceToken, &told)
	st := newState(session, asked)
	if err := s.publish(epoch, session, st); err != nil {
		return nil, err // somebody else signs in or out right now
	}
	told.refreshed = &st.token
	return replaced, nil
}

// replacedBy returns what is stored, if it can be read and our server knows it. What
// cannot be read is overwritten: signing in is how to get out of that.
func (s *Source) replacedBy(ctx context.Context, session *Session) *Session {
	old, err := s.store.Load(ctx)
	if err != nil || old.Server != session.Server || old.ID == session.ID {
		return nil
	}
	return old
}

func refusedBy(err error) error {
	var said *problem
	if errors.As(err, &said) {
		return said.refused()
	}
	return err
}

// refusedHere is refusedBy for calls with an access token. If the server has refused that
// because the session is over, then that is what there is to say.
func (s *Source) refusedHere(ctx context.Context, err error) error {
	err = refusedBy(err)
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && strings.HasPrefix(refused.Code, "access_token_") {
		if _, over := s.Token(ctx); errors.Is(over, ErrSignedOut) {
			return over
		}
	}
	return err
}

// Me is who is signed in, and in which session, as the server sees it.
type Me struct {
	User    User        `json:"user"`
	Session SessionInfo `json:"session"`
}

// SessionInfo is a session as the server lists it.
type SessionInfo struct {
	ID         string    `json:"id"`
	Device     string    `json:"device,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	IP         string    `json:"ip,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// WhoAmI asks the server. Errors are those of [Source.Token], and a [*RefusedError].
func (s *Source) WhoAmI(ctx context.Context) (*Me, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var me Me
	if err := s.server.call(ctx, &s.ownCalls, http.MethodGet, "/auth/me", nil, nil, &me); err != nil {
		return nil, s.refusedHere(ctx, err)
	}
	return &me, nil
}
