package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// Introspection is what there is to know of a token that is good (RFC 7662).
type Introspection struct {
	Caller
	// Claims are those of an access token; nil for a refresh token.
	Claims *accesstoken.Claims
	// ExpiresAt is the end of the token, in whole seconds.
	ExpiresAt time.Time
}

// Introspect says what a token is good for at this moment, with the user as the
// store has them now. It changes nothing, whatever it is shown: a refresh token that
// was used before is inactive, and raises no alarm. It returns [ErrTokenInactive]
// alike for a token that is not ours, has expired, was revoked or used; and for a
// refresh token that travels in a cookie, which nobody but a browser may present. Or
// an error that matches [ErrUnavailable].
func (a *Authority) Introspect(ctx context.Context, text string) (*Introspection, error) {
	if strings.HasPrefix(text, RefreshTokenPrefix) {
		return a.introspectRefreshToken(ctx, text)
	}
	claims, caller, err := a.authenticate(ctx, text)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, ErrTokenInactive
	}
	return &Introspection{Caller: *caller, Claims: claims, ExpiresAt: claims.ExpiresAt}, nil
}

func (a *Authority) introspectRefreshToken(ctx context.Context, text string) (*Introspection, error) {
	token, err := ParseRefreshToken(a.roots, text)
	if err != nil || token.delivery != DeliverByBody || !a.now().Before(token.ExpiresAt()) {
		return nil, ErrTokenInactive
	}
	session, user, err := a.stores.Sessions.Session(ctx, token.session)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrTokenInactive
	case err != nil:
		return nil, unavailable(fmt.Errorf("read session: %w", err))
	}
	if _, alive := session.aliveFor(user); !alive || token.ratchet().hash() != session.SecretHash {
		return nil, ErrTokenInactive
	}
	return &Introspection{Caller: Caller{Subject: *user, Session: session}, ExpiresAt: token.ExpiresAt()}, nil
}
