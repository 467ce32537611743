package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// A database of millions of sessions is not filled by signing in millions of
// times. Its sessions are numbered, and their IDs and first secrets are functions
// of the number that databases can compute, too. So anybody who has the root key
// can spell out the refresh token of any of them.

// numbered is what is the same in all numbered sessions.
type numbered struct {
	key       *rootkey.Key
	expiresAt time.Time
}

// sessionID is the first half of SHA-256 of the number.
func sessionID(n int64) innkeeper.SessionID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // not negative
	return innkeeper.SessionID(sum[:16])
}

// firstSecret is SHA-256 of the ID.
func firstSecret(id innkeeper.SessionID) [32]byte { return sha256.Sum256(id[:]) }

// firstToken is the refresh token of the first generation, for delivery by body,
// as docs/decisions/0002 lays it out.
func (d numbered) firstToken(n int64) string {
	id := sessionID(n)
	secret := firstSecret(id)
	keyID := d.key.ID()
	raw := append([]byte(nil), keyID[:]...)
	raw = append(raw, 1) // by body
	raw = append(raw, id[:]...)
	raw = binary.BigEndian.AppendUint32(raw, 1)
	expires := binary.BigEndian.AppendUint64(nil, uint64(d.expiresAt.Unix())) //nolint:gosec // not negative
	raw = append(raw, expires[3:]...)
	raw = append(raw, secret[:]...)
	mac := hmac.New(sha256.New, d.key.TagKey())
	mac.Write(raw)
	return innkeeper.RefreshTokenPrefix + base64.RawURLEncoding.EncodeToString(mac.Sum(raw)[:len(raw)+16])
}

// generationOf reads the generation of a token, which stands after root key,
// flags and session.
func generationOf(token string) uint32 {
	const offset, size = 2 + 1 + 16, 4
	raw, err := base64.RawURLEncoding.DecodeString(token[len(innkeeper.RefreshTokenPrefix):])
	if err != nil || len(raw) < offset+size {
		return 0
	}
	return binary.BigEndian.Uint32(raw[offset:])
}
