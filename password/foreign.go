package password

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Scheme names the algorithm of a stored hash.
type Scheme string

// Schemes that [Hasher.Verify] knows. Hashes of all but the first come from other
// programs, by way of [Import], and are replaced when their users sign in.
const (
	SchemeArgon2id       Scheme = "argon2id" // our own
	SchemeForeignArgon2  Scheme = "argon2"   // argon2i and argon2id of others
	SchemeBcrypt         Scheme = "bcrypt"
	SchemeScrypt         Scheme = "scrypt"
	SchemePBKDF2         Scheme = "pbkdf2"
	SchemeFirebaseScrypt Scheme = "firebase-scrypt"
)

// foreign is a parsed hash of another program.
type foreign interface {
	scheme() Scheme
	// encode returns the one spelling that a store keeps.
	encode() string
	// memory is what computing the hash takes, in KiB.
	memory() uint32
	// matches computes the hash of a password and compares in constant time.
	matches(password []byte) bool
}

// Sizes in bytes of what a foreign hash is made of. A shorter tag would be matched
// by chance; longer ones nobody uses.
const (
	maxForeign     = 1024 // the whole, encoded
	maxForeignSalt = 128
	minForeignTag  = 16
	maxForeignTag  = 128
)

// Import reads a hash that another program has made, and returns the spelling that a
// store keeps for [Hasher.Verify]. It returns [ErrMalformed] for what is no hash known
// here, and [ErrParams] for one that would cost more than this server can bear. It
// reads:
//
//	$2a$… $2b$… $2y$…                     bcrypt, cost 4 to 15
//	$argon2i$v=19$… $argon2id$v=19$…      argon2 in PHC spelling
//	$scrypt$ln=…,r=…,p=…$…                scrypt in PHC spelling, as passlib has it
//	$pbkdf2-sha256$i=…$… $pbkdf2-sha256$29000$…   PBKDF2 of SHA-1, SHA-256 or SHA-512, PHC and passlib
//	$fbscrypt$v=1,n=…,r=…,p=1,ss=…,sk=…$… Firebase's scrypt, as Supabase has it; see [FirebaseProject]
//	pbkdf2_sha256$… scrypt$… argon2$… bcrypt$… bcrypt_sha256$…   Django
//	scrypt:…$… pbkdf2:sha256:…$…          Werkzeug (Flask)
//
// Our own hashes are read too, as argon2id of others.
//
// Other programs hash what they receive, and so does Verify for their hashes: the
// bytes as they are and, if those do not match, their NFKC form. Bcrypt takes no
// more than the first 72 bytes into account, here as there.
func Import(encoded string) (canonical string, scheme Scheme, err error) {
	f, err := parseForeign(encoded)
	if err != nil {
		return "", "", err
	}
	return f.encode(), f.scheme(), nil
}

// SchemeOf names the algorithm of a stored hash, or returns an error as
// [Hasher.Verify] does.
func SchemeOf(encoded string) (Scheme, error) {
	if _, err := parsePHC(encoded); err == nil {
		return SchemeArgon2id, nil
	}
	f, err := parseForeign(encoded)
	if err != nil {
		return "", err
	}
	return f.scheme(), nil
}

// parseForeign reads every spelling that Import names.
func parseForeign(encoded string) (foreign, error) {
	if len(encoded) > maxForeign || strings.ContainsAny(encoded, "\r\n") { // Go's base64 skips those
		return nil, ErrMalformed
	}
	for _, form := range []struct {
		prefix string
		parse  func(rest string) (foreign, error)
	}{
		{"$2", parseBcrypt},
		{"bcrypt$$2", parseBcrypt},
		{"bcrypt_sha256$$2", parseBcryptSHA256},
		{"$argon2", parseArgon2},
		{"argon2$argon2", parseArgon2},
		{"$scrypt$", parseScrypt},
		{"scrypt$", parseDjangoScrypt},
		{"scrypt:", parseWerkzeugScrypt},
		{"$pbkdf2", parsePBKDF2},
		{"pbkdf2_", parseDjangoPBKDF2},
		{"pbkdf2:", parseWerkzeugPBKDF2},
		{"$fbscrypt$", parseFirebase},
	} {
		if rest, ok := strings.CutPrefix(encoded, form.prefix); ok {
			return form.parse(rest)
		}
	}
	return nil, ErrMalformed
}

// verifyForeign is Verify for hashes of other programs.
func (h *Hasher) verifyForeign(ctx context.Context, f foreign, password string) error {
	if hashable(password) != nil {
		return ErrMismatch
	}
	slots := h.slots(f.memory())
	if err := h.gate.enter(ctx, h.line, slots); err != nil {
		return fmt.Errorf("verify password: %w", err)
	}
	defer h.gate.leave(slots)
	encoded := f.encode()
	if h.engine.MatchesImported(encoded, []byte(password)) {
		return nil
	}
	if normal := normalize(password); normal != password && h.engine.MatchesImported(encoded, []byte(normal)) {
		return nil
	}
	return ErrMismatch
}

// MatchesImported reports whether a password, exactly as it is, belongs to a hash that
// [Import] has read. It waits for no turn; a [Hasher] does. It is false for what is no
// such hash.
func MatchesImported(encoded string, password []byte) bool {
	f, err := parseForeign(encoded)
	return err == nil && f.matches(password)
}

// number reads a decimal number without sign, leading zeros or anything else.
func number(text string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, bits)
	return n, err == nil && strconv.FormatUint(n, 10) == text
}

// settings reads "n=14,r=8,p=1": names in this order, each once.
func settings(text string, names ...string) ([]uint64, bool) {
	fields := strings.Split(text, ",")
	if len(fields) != len(names) {
		return nil, false
	}
	values := make([]uint64, len(names))
	for i, field := range fields {
		value, ok := strings.CutPrefix(field, names[i]+"=")
		if !ok {
			return nil, false
		}
		if values[i], ok = number(value, 32); !ok {
			return nil, false
		}
	}
	return values, true
}

// looseBase64 reads all alphabets that hashes are written in: the standard one, that
// of URLs, and passlib's with a dot for the plus; with padding or without.
func looseBase64(text string) ([]byte, bool) {
	text = strings.TrimRight(text, "=")
	raw, err := phcBase64.DecodeString(strings.NewReplacer("-", "+", "_", "/", ".", "+").Replace(text))
	return raw, err == nil
}

// saltAndTag checks the sizes of both.
func saltAndTag(salt, tag []byte) error {
	if len(salt) == 0 || len(salt) > maxForeignSalt || len(tag) < minForeignTag || len(tag) > maxForeignTag {
		return ErrMalformed
	}
	return nil
}

// looseSaltAndTag reads both from base64.
func looseSaltAndTag(saltText, tagText string) (salt, tag []byte, err error) {
	salt, saltOK := looseBase64(saltText)
	tag, tagOK := looseBase64(tagText)
	if !saltOK || !tagOK {
		return nil, nil, ErrMalformed
	}
	return salt, tag, saltAndTag(salt, tag)
}

// textSaltAndTag reads a salt that is the text itself, and a tag in base64.
func textSaltAndTag(saltText, tagText string) (salt, tag []byte, err error) {
	tag, ok := looseBase64(tagText)
	if !ok {
		return nil, nil, ErrMalformed
	}
	return []byte(saltText), tag, saltAndTag([]byte(saltText), tag)
}

func phcText(raw []byte) string { return phcBase64.EncodeToString(raw) }

func paddedText(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
