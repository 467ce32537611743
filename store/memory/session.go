package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// CreateSession implements [innkeeper.SessionStore].
func (s *Store) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	user, ok := s.users[birth.Session.UserID]
	if !ok || user.Disabled || user.Epoch != birth.Session.Epoch {
		return innkeeper.ErrEpochMoved
	}
	if birth.Replaces != nil {
		s.end(*birth.Replaces)
	}
	s.sessions[birth.Session.ID] = cloneSession(birth.Session)
	s.log(birth.Event)
	return nil
}

// RotateSession implements [innkeeper.SessionStore].
func (s *Store) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, err
	}
	defer s.mu.Unlock()
	session, ok := s.sessions[r.SessionID]
	if !ok || session.Ended() || session.SecretHash != r.Presented {
		return innkeeper.Session{}, innkeeper.Subject{}, innkeeper.ErrNoMatch
	}
	user, ok := s.users[session.UserID]
	if !ok || user.Disabled || user.Epoch != session.Epoch {
		return innkeeper.Session{}, innkeeper.Subject{}, innkeeper.ErrNoMatch
	}
	r.Apply(&session)
	session.RecentKeys = session.RecentKeys.Push(r.Key)
	s.sessions[session.ID] = session
	return cloneSession(session), s.subject(user), nil
}

// Session implements [innkeeper.SessionStore].
func (s *Store) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	if err := s.lock(ctx); err != nil {
		return innkeeper.Session{}, nil, err
	}
	defer s.mu.Unlock()
	session, ok := s.sessions[id]
	if !ok {
		return innkeeper.Session{}, nil, innkeeper.ErrNotFound
	}
	user, ok := s.users[session.UserID]
	if !ok {
		return cloneSession(session), nil, nil
	}
	subject := s.subject(user)
	return cloneSession(session), &subject, nil
}

// EndSession implements [innkeeper.SessionStore].
func (s *Store) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.end(ending) {
		return innkeeper.ErrNoMatch
	}
	return nil
}

// end ends a live session under the lock and reports whether there was one.
func (s *Store) end(ending innkeeper.Ending) bool {
	session, ok := s.sessions[ending.SessionID]
	if !ok || session.Ended() {
		return false
	}
	if user, ok := s.users[session.UserID]; !ok || user.Disabled || user.Epoch != session.Epoch {
		return false
	}
	session.SecretHash = innkeeper.SecretHash{}
	session.EndedAt = ending.At
	session.Reason = ending.Reason
	s.sessions[session.ID] = session
	s.log(ending.Event)
	s.revoke(ending.Revocation)
	return true
}

// Sessions implements [innkeeper.SessionStore].
func (s *Store) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	user, ok := s.users[query.UserID]
	if !ok || user.Disabled {
		return nil, nil
	}
	var live []innkeeper.Session
	for _, session := range s.sessions {
		if session.UserID == user.ID && !session.Ended() && session.Epoch == user.Epoch &&
			session.RefreshExpiresAt.After(query.AliveAt) {
			live = append(live, cloneSession(session))
		}
	}
	slices.SortFunc(live, newestFirst)
	if last, ok := s.sessions[query.After]; ok {
		live = slices.DeleteFunc(live, func(session innkeeper.Session) bool {
			return newestFirst(session, last) <= 0
		})
	}
	return live[:min(len(live), query.Limit)], nil
}

func newestFirst(a, b innkeeper.Session) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), bytes.Compare(b.ID[:], a.ID[:]))
}

// SweepSessions implements [innkeeper.SessionStore].
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	for id, session := range s.sessions {
		over := session.ExpiresAt.Before(before) || session.Ended() && session.EndedAt.Before(before)
		if over && swept < limit {
			delete(s.sessions, id)
			swept++
		}
	}
	return swept, nil
}

// cloneSession copies what a session shares with its copies.
func cloneSession(session innkeeper.Session) innkeeper.Session {
	session.Methods = slices.Clone(session.Methods)
	return session
}
