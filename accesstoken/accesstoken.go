// Package accesstoken turns [Claims] into signed access tokens and back: JWTs
// as RFC 9068 profiles them, short-lived, and verified offline by any API that
// has the issuer's public keys.
//
// [Generate] makes a [SigningKey]; [Sign] writes a token with it. [ParseJWK]
// reads a [PublicKey] that the issuer published; [Verify] reads a token against
// such keys and an [Expectation], and either returns claims that may be relied
// on or one of the errors below.
//
// A key has one algorithm, fixed when it is made, and a key ID, the RFC 7638
// thumbprint of its public half. The algorithm that a token names in its own
// header is compared with the key's and otherwise has no say (RFC 8725 §3.1).
//
// What is refused, always and with no option to allow it:
//
//   - tokens of another kind: typ must be at+jwt, so that an ID token, a logout
//     token or a DPoP proof signed by the same key is no access token;
//   - other algorithms than ES256, RS256 and EdDSA, and "none" in any spelling;
//   - critical headers, the JSON serialization, encryption, compression;
//   - keys that a token brings along (jwk, jku, x5u, x5c are not even read);
//   - a second spelling of the same token: base64url and JSON are read strictly.
//
// The signatures themselves are made and checked by golang-jwt. go-jose is used
// for JSON Web Keys and their thumbprints and for nothing else: its JWS half is
// laxer about encodings than we want to be.
//
// Nothing here reads the clock: time is an argument.
package accesstoken

import (
	"errors"
	"time"
)

// MaxSize is the length in bytes above which a token is refused unread. Proxies
// and servers commonly cut headers at 8 or 16 KiB, so that a longer token would
// fail on its way in any case.
const MaxSize = 16 << 10

// Errors of [Verify] to branch on. Neither they nor what wraps them contain any
// part of the token.
var (
	// ErrMalformed reports text that is not an access token in the one form that
	// is accepted. No key was looked up.
	ErrMalformed = errors.New("access token is malformed")
	// ErrUnknownKey reports a token that names a key which the caller does not
	// have: one of another issuer, or one signed with a key that is too new or
	// too old.
	ErrUnknownKey = errors.New("access token is signed with an unknown key")
	// ErrSignature reports a token that its key did not sign.
	ErrSignature = errors.New("access token signature is wrong")
	// ErrClaims reports claims that are missing or not of the required type. [Sign]
	// returns it too, so that no token is made that Verify would refuse.
	ErrClaims = errors.New("access token claims are incomplete or of the wrong type")
	// ErrIssuer reports a genuine token of another issuer.
	ErrIssuer = errors.New("access token is from another issuer")
	// ErrAudience reports a genuine token that is meant for another API.
	ErrAudience = errors.New("access token is for another audience")
	// ErrNotYetValid reports a genuine token whose nbf lies in the future.
	ErrNotYetValid = errors.New("access token is not valid yet")
	// ErrExpired reports a token that is right in every other respect.
	ErrExpired = errors.New("access token has expired")
)

// Claims is what an access token says. The fields up to ClientID are what RFC
// 9068 §2.2 requires, and [Sign] and [Verify] insist on them; the others are
// left out of the token when they are zero.
//
// Times are whole seconds: Sign and Verify both drop fractions.
type Claims struct {
	// Issuer (iss) is the URL of the server that signed the token, compared byte
	// for byte: with and without a final slash are two issuers.
	Issuer string
	// Audience (aud) names the APIs that the token is for. One value is written as
	// a JSON string, several as an array.
	Audience []string
	// Subject (sub) is the user. It is never given to another user: an account is
	// identified by Issuer and Subject together, never by Username or Email.
	Subject string
	// ID (jti) is random and names this token.
	ID string
	// IssuedAt (iat) and ExpiresAt (exp) bound the life of the token, which ends at
	// the first moment of ExpiresAt.
	IssuedAt, ExpiresAt time.Time
	// ClientID (client_id) is the app that the token was issued to.
	ClientID string

	// SessionID (sid) is the session that the token was issued in. Revocation names
	// it.
	SessionID string
	// AuthTime (auth_time) is when the user last proved who they are. A refresh does
	// not move it.
	AuthTime time.Time
	// AuthMethods (amr) says how they proved it, in the words of RFC 8176: "pwd".
	AuthMethods []string
	// Epoch (epoch) is the user's epoch when the token was issued. A later epoch
	// ends every session of the user. Opaque text.
	Epoch string
	// Username (username) is the name that the user signs in with. It can change.
	Username string
	// Email (email) is the user's address, if there is one.
	Email string
	// Roles (roles) and Permissions (permissions) are what the user may do, as of
	// IssuedAt.
	Roles, Permissions []string
}
