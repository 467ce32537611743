package verify

import (
	"context"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// Identity is who sent a request, as of IssuedAt. The issuer vouches for it.
type Identity struct {
	// Subject identifies the user for good. Store this, and neither Username nor
	// Email, which can change and pass to somebody else.
	Subject string
	// SessionID is the sign-in that the token belongs to: one device.
	SessionID string
	// ClientID is the app that the user signed in with.
	ClientID string
	// Username and Email are for display. Email is empty if there is none.
	Username, Email string
	// Roles and Permissions are what the user may do.
	Roles, Permissions []string
	// AuthTime is when the user last proved who they are, and AuthMethods how
	// (RFC 8176), for what wants a fresh sign-in. A refresh changes neither.
	AuthTime    time.Time
	AuthMethods []string
	// IssuedAt and ExpiresAt bound the life of the token.
	IssuedAt, ExpiresAt time.Time
}

func newIdentity(c accesstoken.Claims) Identity {
	return Identity{
		Subject:     c.Subject,
		SessionID:   c.SessionID,
		ClientID:    c.ClientID,
		Username:    c.Username,
		Email:       c.Email,
		Roles:       c.Roles,
		Permissions: c.Permissions,
		AuthTime:    c.AuthTime,
		AuthMethods: c.AuthMethods,
		IssuedAt:    c.IssuedAt,
		ExpiresAt:   c.ExpiresAt,
	}
}

// HasRole reports whether the user has the role, to the letter.
func (id Identity) HasRole(role string) bool { return slices.Contains(id.Roles, role) }

// HasPermission reports whether the user has the permission, to the letter:
// "mail:*" is a name like any other.
func (id Identity) HasPermission(permission string) bool {
	return slices.Contains(id.Permissions, permission)
}

type identityKey struct{}

// NewContext returns a context that carries the identity: what the middleware
// does, for interceptors of other protocols and for tests of handlers.
func NewContext(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// FromContext returns the identity that the middleware found, or false if the
// request did not pass through it.
func FromContext(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}
