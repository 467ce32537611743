package innkeeper

import (
	"crypto/sha256"
	"time"
)

// RevocationKind says what a revocation entry names.
type RevocationKind string

// The kinds of revocation.
const (
	RevokedSession RevocationKind = "session" // ID is the `sid`
	RevokedUser    RevocationKind = "user"    // ID is that of [UserRevocationID]
	RevokedKey     RevocationKind = "key"     // ID is the `kid`; kept for good
)

// RevocationRetention is how long session and user entries are kept: the longest
// possible life of an access token, and five minutes for clocks that disagree.
const RevocationRetention = maxAccessTTL + 5*time.Minute

// Revocation is an entry of the feed by which verifiers learn, within a second,
// what no longer opens doors. It is written in the transaction that revokes.
type Revocation struct {
	Seq  int64 // given by the store: max(last + 1, microseconds since 1970)
	At   time.Time
	Kind RevocationKind
	ID   string
}

// UserRevocationID names one epoch of one user. Only someone who holds an access
// token of that epoch can recognize it, so the public feed tells nobody who
// signed out. It is base64url of SHA-256(issuer, sub, epoch), cut at 16 bytes;
// sub and epoch have fixed lengths, so the three cannot be confused.
func UserRevocationID(issuer string, user UserID, ended Epoch) string {
	sum := sha256.Sum256([]byte(issuer + user.String() + ended.String()))
	return tokenEncoding.EncodeToString(sum[:16])
}
