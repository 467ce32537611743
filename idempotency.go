package innkeeper

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// Bounds of an idempotency key, in characters.
const (
	minIdempotencyKey = 16
	maxIdempotencyKey = 255
)

// IdempotencyKey is a random value that a client makes before it refreshes a
// given generation, the same for every try at it. Showing it again proves that
// a repeated request comes from whoever made the first one. The zero value
// means that no key was sent; it never equals anything.
//
// The name and the header are those of draft-ietf-httpapi-idempotency-key-header.
type IdempotencyKey struct {
	hash       KeyHash
	generation uint32 // that the client made it for; 0 if it did not say
}

// NewIdempotencyKey takes a client's key of 16 to 255 characters and the
// generation that it was made for, 0 if the client did not say. Only a hash of
// the key is kept, so that neither logs nor a stolen database replay it. It
// returns an [*InputError] for a key of the wrong length.
func NewIdempotencyKey(text string, generation uint32) (IdempotencyKey, error) {
	if len(text) < minIdempotencyKey || len(text) > maxIdempotencyKey {
		return IdempotencyKey{}, &InputError{
			Field:  "Idempotency-Key",
			Detail: fmt.Sprintf("send %d to %d characters, made at random for this generation", minIdempotencyKey, maxIdempotencyKey),
		}
	}
	sum := sha256.Sum256([]byte(text))
	return IdempotencyKey{hash: KeyHash(sum[:len(KeyHash{})]), generation: generation}, nil
}

// KeyHash is the first 16 bytes of the SHA-256 of an idempotency key. The zero
// value stands for "no key was sent" and matches nothing, not even itself.
type KeyHash [16]byte

func (h KeyHash) matches(other KeyHash) bool {
	return h != KeyHash{} && subtle.ConstantTimeCompare(h[:], other[:]) == 1
}

// RecentKeys are the idempotency keys of a session's last eight rotations, the
// latest first. An empty slot means that no key was sent, or that there was no
// such rotation.
type RecentKeys [8]KeyHash

// rotated reports whether h is the key of the rotation that consumed the token
// which is so many generations behind the current one.
func (k *RecentKeys) rotated(behind uint32, h KeyHash) bool {
	return behind >= 1 && behind <= uint32(len(k)) && k[behind-1].matches(h)
}

// Push returns the keys after one more rotation. Stores that keep the keys as
// bytes do the same by prepending 16 bytes and cutting at 128.
func (k RecentKeys) Push(h KeyHash) RecentKeys {
	copy(k[1:], k[:len(k)-1])
	k[0] = h
	return k
}
