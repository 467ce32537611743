package innkeeper

import (
	"context"
	"errors"
	"fmt"
)

// LogoutScope says which sessions a logout ends.
type LogoutScope string

// The scopes. The zero value is refused; the HTTP API defaults to "this".
const (
	LogoutThis       LogoutScope = "this"
	LogoutOthers     LogoutScope = "others"
	LogoutEverywhere LogoutScope = "everywhere"
)

// LogoutRequest is a logout by whoever holds a session's tokens.
type LogoutRequest struct {
	Scope  LogoutScope
	Caller *Caller // from a valid access token; nil: none was sent
	// RefreshTokens are those presented; none if there is a Caller. A browser sends
	// several when another site of its domain has tossed a cookie in.
	RefreshTokens []string
	Client        Client
}

// Logout ends sessions.
//
// Scope "this" accepts any genuine refresh token of the session, dead or alive,
// since a refresh may have been committed unseen; and what has ended stays ended
// without complaint. Of several tokens it ends every session. The wider scopes
// need an access token or the current refresh token; for a token that has been
// rotated they return [ErrRefreshSuperseded]: refresh, and try again. Tokens of
// which none is ours give [ErrRefreshTokenInvalid].
func (a *Authority) Logout(ctx context.Context, req LogoutRequest) error {
	switch req.Scope {
	case LogoutThis:
		return a.logoutThis(ctx, req)
	case LogoutOthers, LogoutEverywhere:
		session, err := a.bearerOfSession(ctx, req)
		if err != nil {
			return err
		}
		return a.logoutWide(ctx, req, session)
	}
	return &InputError{Field: "scope", Detail: `choose "this", "others" or "everywhere"`}
}

// logoutThis ends the session of each credential that was shown: a browser whose
// page and cookie have come to belong to different sessions leaves both.
func (a *Authority) logoutThis(ctx context.Context, req LogoutRequest) error {
	event := Event{Kind: EventSessionEnded, Client: req.Client.bounded()}
	if req.Caller != nil {
		event.Actor = req.Caller.actor()
		if err := unlessEnded(a.end(ctx, &req.Caller.Session, ReasonLogout, event)); err != nil {
			return err
		}
	}
	genuine := 0
	for _, text := range req.RefreshTokens {
		token, err := ParseRefreshToken(a.roots, text)
		if err != nil {
			continue
		}
		genuine++
		if err := a.logoutToken(ctx, &token, event); err != nil {
			return err
		}
	}
	if genuine == 0 && req.Caller == nil {
		return ErrRefreshTokenInvalid
	}
	return nil
}

func (a *Authority) logoutToken(ctx context.Context, token *RefreshToken, event Event) error {
	session, alive, err := a.session(ctx, token.session)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case !alive:
		return nil
	}
	return unlessEnded(a.end(ctx, session, ReasonLogout, event))
}

// RevokeToken ends the session of a token, refresh or access, on behalf of whoever
// presents it (RFC 7009): of a refresh token of any generation, as [Authority.Logout]
// does, and of an access token that is good. Text that is no such token is fine.
// Without an actor it is the act of the holder of the token. The only errors match
// [ErrUnavailable].
func (a *Authority) RevokeToken(ctx context.Context, text string, by By) error {
	event := Event{Kind: EventSessionEnded}.signed(by)
	if token, err := ParseRefreshToken(a.roots, text); err == nil {
		return a.logoutToken(ctx, &token, event)
	}
	caller, err := a.Authenticate(ctx, text)
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case err != nil:
		return nil // what it opened is closed already
	}
	if event.Actor == "" {
		event.Actor = caller.actor()
	}
	return unlessEnded(a.end(ctx, &caller.Session, ReasonLogout, event))
}

// bearerOfSession returns the live session whose access token or current refresh
// token was shown.
func (a *Authority) bearerOfSession(ctx context.Context, req LogoutRequest) (*Session, error) {
	if req.Caller != nil {
		return &req.Caller.Session, nil
	}
	token, err := a.pick(req.RefreshTokens)
	if err != nil {
		return nil, err
	}
	if !a.now().Before(token.ExpiresAt()) {
		return nil, ErrRefreshTokenExpired
	}
	session, user, err := a.stores.Sessions.Session(ctx, token.session)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, &SessionEndedError{Reason: ReasonExpired}
	case err != nil:
		return nil, unavailable(fmt.Errorf("read session: %w", err))
	}
	if reason, alive := session.aliveFor(user); !alive {
		return nil, &SessionEndedError{Reason: reason}
	}
	if token.ratchet().hash() != session.SecretHash {
		return nil, ErrRefreshSuperseded
	}
	return &session, nil
}

// logoutWide replaces the user's epoch: one write, whatever the number of
// sessions. With scope "others" the calling session goes on under the new one;
// its access token is refused once, and one refresh renews it.
func (a *Authority) logoutWide(ctx context.Context, req LogoutRequest, session *Session) error {
	_, err := a.changeUser(ctx, session.UserID, func(user *User) (UserChange, error) {
		if user.Epoch != session.Epoch {
			// Somebody else was faster: this session is over, and with it the right to
			// end others.
			return UserChange{}, &SessionEndedError{Reason: user.EpochReason}
		}
		replacement := a.newEpoch(user, ReasonLogoutEverywhere)
		if req.Scope == LogoutOthers {
			replacement.Carry = &session.ID
		}
		return UserChange{
			NewEpoch: replacement,
			Event: Event{
				Kind: EventSessionsEnded, Actor: UserActor(user.ID), SessionID: session.ID, Client: req.Client,
				Detail: map[string]string{"scope": string(req.Scope)},
			},
		}, nil
	})
	if errors.Is(err, ErrNotFound) {
		return &SessionEndedError{Reason: ReasonAdmin}
	}
	return err
}
