// Package revoked is the set of what no longer opens doors: sessions, epochs of
// users, and signing keys. Servers and verifiers look it up on every request.
package revoked

import (
	"crypto/sha256"
	"encoding/base64"
)

// Kind says what an entry names. The values stand in the revocation feed.
type Kind string

// The kinds of entry.
const (
	Session Kind = "session" // ID is the `sid`
	User    Kind = "user"    // ID is that of [UserID]
	Key     Kind = "key"     // ID is the `kid`; revoked for good
)

// Entry is one thing that was revoked.
type Entry struct {
	Kind Kind
	ID   string
}

// UserID names one epoch of one user. Only someone who holds an access token of
// that epoch can recognize it, so the public feed tells nobody who signed out. It
// is base64url of SHA-256(issuer, sub, epoch), cut at 16 bytes; sub and epoch have
// fixed lengths, so the three cannot be confused.
func UserID(issuer, subject, epoch string) string {
	var room [128]byte // on the stack, for what is short as a rule
	sum := sha256.Sum256(append(append(append(room[:0], issuer...), subject...), epoch...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
