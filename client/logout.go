package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// LogoutScope says which sessions a logout ends.
type LogoutScope string

// The scopes.
const (
	LogoutThis       LogoutScope = "this"       // this session; also the zero value
	LogoutOthers     LogoutScope = "others"     // all other sessions of the user
	LogoutEverywhere LogoutScope = "everywhere" // all of them
)

const reasonLogout = "logout"

// Logout ends sessions, at the server and here. There being none is no error.
//
// With [LogoutThis] nothing is handed out any more from the moment it is called, and a
// refresh under way counts no more. If the server cannot be told, it returns
// [ErrUnavailable]; the session is signed out here all the same, and the next Logout or
// Login tells the server. The other scopes need the server, and change nothing without.
func (s *Source) Logout(ctx context.Context, scope LogoutScope) error {
	switch scope {
	case "", LogoutThis:
		return s.logoutThis(ctx)
	case LogoutOthers, LogoutEverywhere:
		return s.logoutWide(ctx, scope)
	}
	return fmt.Errorf("logout scope %q: choose this, others or everywhere", string(scope))
}

// left is what the hooks are told after a logout.
func left() notices {
	return notices{signedOut: &SignedOutError{Code: codeNoSession, Reason: reasonLogout}}
}

func (s *Source) logoutThis(ctx context.Context) error {
	var told notices
	defer func() { s.tell(told) }() // when the lock is free
	defer s.leave()()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	unlock, _, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	held, err := s.store.Load(ctx)
	switch {
	case errors.Is(err, ErrNoSession):
		return nil
	case err != nil:
		return storeFailed("read session", err)
	case held.Server != s.server.url:
		return fmt.Errorf("the stored session is of %s, and not of %s", held.Server, s.server.url)
	}
	if err := s.server.logout(ctx, held.RefreshToken); err != nil && !isDead(err) {
		held.Ending, held.AccessToken = true, Secret{}
		if failed := s.store.Save(context.WithoutCancel(ctx), held); failed != nil {
			return storeFailed("store logout", errors.Join(failed, err))
		}
		told = left()
		return &UnavailableError{Err: fmt.Errorf("signed out here, but the server could not be told: %w", err)}
	}
	if err := s.store.Delete(context.WithoutCancel(ctx)); err != nil {
		return storeFailed("forget session", err)
	}
	s.counters.signedOut.Add(1)
	told = left()
	return nil
}

// logoutWide asks with an access token: the refresh token would have to be the current
// one, and an answer may be on its way.
func (s *Source) logoutWide(ctx context.Context, scope LogoutScope) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body := map[string]string{"scope": string(scope)}
	if err := s.server.call(ctx, &s.ownCalls, http.MethodPost, "/auth/logout", nil, body, nil); err != nil {
		return s.refusedHere(ctx, err)
	}
	var told notices
	defer func() { s.tell(told) }() // when the lock is free
	defer s.leave()()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	unlock, _, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if scope == LogoutEverywhere {
		if err := s.store.Delete(ctx); err != nil {
			return storeFailed("forget session", err)
		}
		s.counters.signedOut.Add(1)
		told = left()
		return nil
	}
	// This session goes on, and its access token does not: refresh before the next use.
	held, err := s.store.Load(ctx)
	if err == nil {
		held.AccessToken = Secret{}
		err = s.store.Save(ctx, held)
	}
	if err != nil && !errors.Is(err, ErrNoSession) {
		return storeFailed("store session", err)
	}
	return nil
}
