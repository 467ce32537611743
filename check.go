package innkeeper

import (
	"context"
	"errors"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/revoked"
)

// Checked is what an access token says of who sent it. It is as of the time when the
// token was made: a role that was taken away since stands in it until the next
// refresh. [Authority.Authenticate] asks the store instead.
type Checked struct {
	UserID      UserID
	SessionID   SessionID
	Username    string
	Email       string // may be empty
	Roles       []string
	Permissions []string
	AuthTime    time.Time // when the person authenticated, in whole seconds
	ExpiresAt   time.Time // of the token
	// Lag is how old the view of the revocations was by which the token was judged: what
	// was revoked before that long ago is refused. It is a quarter of a second and one
	// question to the store at most, unless the store does not answer.
	Lag time.Duration
}

// Check decides about an access token as a verifier does: its signature, its claims,
// and the revocation feed, all in memory. It asks no store, so an outage of the
// store changes nothing but the age of what it knows of revocations: it goes on with
// that, and [Checked.Lag] tells how old it is.
//
// It returns [ErrAccessTokenInvalid], [ErrAccessTokenExpired] or
// [ErrAccessTokenRevoked]; and an error that matches [ErrUnavailable] if
// [Authority.Run] has not read the feed yet, since then it knows of no revocation at
// all.
func (a *Authority) Check(_ context.Context, token string) (*Checked, error) {
	// Before the set is asked, which may learn of more meanwhile.
	lag, isRead := a.feed.lag(a.clock())
	if !isRead {
		return nil, unavailable(errFeedUnread)
	}
	var keyID string
	claims, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
		keyID = id
		return a.keys.PublicKey(id)
	}, accesstoken.Expectation{Issuer: a.issuer, Audience: a.audience[0], Now: a.now()})
	switch {
	case keyID != "" && a.feed.revoked.Has(revoked.Key, keyID):
		// Whether the key has been removed from the ring by now makes no difference: its
		// honest tokens are to be refreshed.
		return nil, ErrAccessTokenRevoked
	case errors.Is(err, accesstoken.ErrExpired):
		return nil, ErrAccessTokenExpired
	case err != nil:
		return nil, ErrAccessTokenInvalid
	}
	if a.feed.revoked.Has(revoked.Session, claims.SessionID) ||
		a.feed.revoked.Has(revoked.User, revoked.UserID(claims.Issuer, claims.Subject, claims.Epoch)) {
		return nil, ErrAccessTokenRevoked
	}
	user, err := ParseUserID(claims.Subject)
	if err != nil {
		return nil, ErrAccessTokenInvalid
	}
	session, err := ParseSessionID(claims.SessionID)
	if err != nil {
		return nil, ErrAccessTokenInvalid
	}
	return &Checked{
		UserID: user, SessionID: session,
		Username: claims.Username, Email: claims.Email, Roles: claims.Roles, Permissions: claims.Permissions,
		AuthTime: claims.AuthTime, ExpiresAt: claims.ExpiresAt, Lag: lag,
	}, nil
}
