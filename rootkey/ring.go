package rootkey

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Errors of a ring.
var (
	// ErrEmpty reports a root key file without a key.
	ErrEmpty = errors.New("no root key given")
	// ErrDuplicate reports two root keys with one ID: the same key twice, or, once
	// in 65,536 pairs, a collision. Generate another key.
	ErrDuplicate = errors.New("two root keys share one id")
	// ErrUnknown reports something made under a root key that the ring lacks.
	ErrUnknown = errors.New("unknown root key")
	// ErrUnwrap reports a wrapped secret that was altered or belongs elsewhere.
	ErrUnwrap = errors.New("wrapped secret does not open under its root key")
)

// Ring is a non-empty list of root keys. The first one mints, all of them
// verify. The zero value is unusable; make one with [NewRing] or [ReadRing].
// A Ring is immutable and safe for concurrent use.
type Ring struct {
	keys []*Key
}

// NewRing returns a ring whose first key is the active one. It returns
// [ErrEmpty] or [ErrDuplicate].
func NewRing(keys ...*Key) (Ring, error) {
	if len(keys) == 0 {
		return Ring{}, ErrEmpty
	}
	seen := make(map[ID]bool, len(keys))
	for _, k := range keys {
		if seen[k.id] {
			return Ring{}, ErrDuplicate
		}
		seen[k.id] = true
	}
	return Ring{keys: keys}, nil
}

// ReadRing reads a root key file: one key a line, the active one first. Blank
// lines and lines that begin with # are skipped. Errors name the line and never
// its content.
func ReadRing(r io.Reader) (Ring, error) {
	var keys []*Key
	scanner := bufio.NewScanner(r)
	for line := 1; scanner.Scan(); line++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := Parse(text)
		if err != nil {
			return Ring{}, fmt.Errorf("line %d: %w", line, err)
		}
		keys = append(keys, key)
	}
	if err := scanner.Err(); err != nil {
		return Ring{}, fmt.Errorf("read root keys: %w", err)
	}
	return NewRing(keys...)
}

// Active returns the key that mints.
func (r Ring) Active() *Key { return r.keys[0] }

// All returns every key, the active one first.
func (r Ring) All() []*Key { return r.keys }

// ByID returns the key with the given ID, or false.
func (r Ring) ByID(id ID) (*Key, bool) {
	for _, k := range r.keys {
		if k.id == id {
			return k, true
		}
	}
	return nil, false
}

// Wrap encrypts a secret under the active key with AES-256-GCM and a random
// nonce. The label is authenticated but not stored: it ties the secret to its
// place, so that a wrapped secret moved to another row does not open.
//
// The result is: root key id 2 | nonce 12 | ciphertext and tag.
func (r Ring) Wrap(secret []byte, label string) []byte {
	key := r.Active()
	// Seal prefixes the nonce itself and cannot fail.
	return append(key.id[:], key.aead().Seal(nil, nil, secret, []byte(label))...)
}

// Unwrap decrypts what [Ring.Wrap] made with the same label. It returns
// [ErrUnknown] if the ring lacks the key and [ErrUnwrap] if the bytes or the
// label were altered.
func (r Ring) Unwrap(wrapped []byte, label string) ([]byte, error) {
	id, ok := WrappedUnder(wrapped)
	if !ok {
		return nil, ErrUnwrap
	}
	key, ok := r.ByID(id)
	if !ok {
		return nil, ErrUnknown
	}
	secret, err := key.aead().Open(nil, nil, wrapped[len(id):], []byte(label))
	if err != nil {
		return nil, ErrUnwrap
	}
	return secret, nil
}

// WrappedUnder returns the ID of the key that a secret was wrapped under, or false
// for what is no wrapped secret. It does not open it.
func WrappedUnder(wrapped []byte) (ID, bool) {
	var id ID
	if len(wrapped) < len(id) {
		return id, false
	}
	copy(id[:], wrapped)
	return id, true
}

func (k *Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k.wrap[:])
	if err != nil {
		panic(fmt.Sprintf("wrap key: %v", err)) // the key size is a constant
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(fmt.Sprintf("wrap key: %v", err)) // AES has the block size GCM wants
	}
	return aead
}
