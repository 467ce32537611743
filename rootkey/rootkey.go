// Package rootkey holds the one secret that lives outside the database.
//
// A [Key] is 32 random bytes. Everything else that must stay secret is derived
// from it with HKDF-SHA256 (RFC 5869) under separate labels: the key that
// ratchets refresh tokens forward, the key that tags them, the key that wraps
// signing keys, the key that tags device tokens, and the key under whose hashes
// failed sign-ins are counted. A stolen database without the root key signs nobody in;
// a stolen root key without the database or a token does not either.
//
// A [Ring] holds several keys at once so that a root key can be replaced
// without signing anyone out: the first one mints, all of them verify.
//
// Keys print as "[redacted]" through fmt, log/slog and encoding/json.
package rootkey

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
)

// Size is the length of a root key in bytes.
const Size = 32

// ErrMalformed reports text that is not a root key in base64url.
var ErrMalformed = errors.New("root key is not 32 bytes of unpadded base64url")

// ID names a root key inside a refresh token. It is derived from the key
// itself, so that two servers given the same key agree on its name without
// talking to each other.
type ID [2]byte

// String returns the ID as people see it: four hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Check proves possession of a root key without revealing it. A store keeps it,
// so that a server given the wrong root key refuses to start.
type Check [32]byte

// Key is a root key together with the subkeys derived from it. The zero value
// is unusable; make one with [Generate] or [Parse].
type Key struct {
	secret  [Size]byte
	id      ID
	check   Check
	ratchet [Size]byte
	tag     [Size]byte
	wrap    [Size]byte
	attempt [Size]byte
	device  [Size]byte
}

// Generate returns a new random root key.
func Generate() *Key {
	var secret [Size]byte
	rand.Read(secret[:]) // never fails: crypto/rand aborts the program instead
	return derive(secret)
}

// Parse reads the one canonical spelling of a root key: 43 characters of
// base64url without padding. It returns [ErrMalformed] for anything else.
func Parse(text string) (*Key, error) {
	var secret [Size]byte
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != Size || base64.RawURLEncoding.EncodeToString(raw) != text {
		return nil, ErrMalformed
	}
	copy(secret[:], raw)
	return derive(secret), nil
}

func derive(secret [Size]byte) *Key {
	k := &Key{secret: secret}
	expand(secret, "innkeeper/v1 root key id", k.id[:])
	expand(secret, "innkeeper/v1 root key check", k.check[:])
	expand(secret, "innkeeper/v1 refresh token ratchet", k.ratchet[:])
	expand(secret, "innkeeper/v1 refresh token tag", k.tag[:])
	expand(secret, "innkeeper/v1 signing key wrap", k.wrap[:])
	expand(secret, "innkeeper/v1 attempt name", k.attempt[:])
	expand(secret, "innkeeper/v1 device token tag", k.device[:])
	return k
}

func expand(secret [Size]byte, label string, into []byte) {
	out, err := hkdf.Key(sha256.New, secret[:], nil, label, len(into))
	if err != nil {
		// Only a length above 255 hashes can fail, and all lengths are constants.
		panic(fmt.Sprintf("derive %s: %v", label, err))
	}
	copy(into, out)
}

// ID returns the name of the key.
func (k *Key) ID() ID { return k.id }

// Check returns the value that a store keeps to recognize the key.
func (k *Key) Check() Check { return k.check }

// RatchetKey returns the HMAC key that derives a refresh token's successor.
func (k *Key) RatchetKey() []byte { return k.ratchet[:] }

// TagKey returns the HMAC key that marks a refresh token as ours.
func (k *Key) TagKey() []byte { return k.tag[:] }

// AttemptKey returns the HMAC key that hides whose failed sign-ins a store counts.
func (k *Key) AttemptKey() []byte { return k.attempt[:] }

// DeviceKey returns the HMAC key that marks a device token as ours.
func (k *Key) DeviceKey() []byte { return k.device[:] }

// Reveal returns the canonical spelling of the key, for the root key file and
// for nothing else. MUST NOT be logged.
func (k *Key) Reveal() string { return base64.RawURLEncoding.EncodeToString(k.secret[:]) }

// Equal reports in constant time whether both are the same key.
func (k *Key) Equal(other *Key) bool {
	return subtle.ConstantTimeCompare(k.secret[:], other.secret[:]) == 1
}

const redacted = "root key [redacted]"

// String returns a placeholder. It has a value receiver, as have the methods
// below, so that no way of printing a key shows it.
func (k Key) String() string { return redacted }

// GoString implements [fmt.GoStringer] for the %#v verb.
func (k Key) GoString() string { return redacted }

// Format implements [fmt.Formatter]: every verb prints the placeholder.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON and YAML.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
