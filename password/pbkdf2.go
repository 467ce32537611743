package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2 of SHA-1 is what some databases hold; it is replaced at the next sign-in
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// maxPBKDF2Work bounds the iterations for all blocks of a tag together: some seconds
// of a core.
const maxPBKDF2Work = 5_000_000

// pbkdf2Hash is a hash of PBKDF2 (RFC 8018 §5.2).
type pbkdf2Hash struct {
	digest     string // sha1, sha256 or sha512
	iterations uint64
	salt, tag  []byte
}

func (p pbkdf2Hash) newDigest() hash.Hash {
	switch p.digest {
	case "sha1":
		return sha1.New() //nolint:gosec // see the import
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

func (p pbkdf2Hash) check() (foreign, error) {
	digest := p.newDigest()
	if digest == nil {
		return nil, ErrMalformed
	}
	if err := saltAndTag(p.salt, p.tag); err != nil {
		return nil, err
	}
	blocks := uint64((len(p.tag) + digest.Size() - 1) / digest.Size()) //nolint:gosec // lengths
	if p.iterations < 1 || p.iterations > maxPBKDF2Work/blocks {
		return nil, fmt.Errorf("%w: PBKDF2 with %d iterations for %d blocks, want 1 to %d for all together", ErrParams, p.iterations, blocks, maxPBKDF2Work)
	}
	return p, nil
}

// parsePBKDF2 reads what follows "$pbkdf2": PHC, and what passlib writes.
func parsePBKDF2(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 4 {
		return nil, ErrMalformed
	}
	p := pbkdf2Hash{digest: strings.TrimPrefix(fields[0], "-")}
	if fields[0] == "" {
		p.digest = "sha1" // as passlib calls it
	}
	var err error
	if p.salt, p.tag, err = looseSaltAndTag(fields[2], fields[3]); err != nil {
		return nil, err
	}
	count, length, hasLength := strings.Cut(strings.TrimPrefix(fields[1], "i="), ",")
	var ok bool
	if p.iterations, ok = number(count, 32); !ok || hasLength && length != fmt.Sprintf("l=%d", len(p.tag)) {
		return nil, ErrMalformed
	}
	return p.check()
}

// parseDjangoPBKDF2 reads what follows "pbkdf2_": the salt is the text itself.
func parseDjangoPBKDF2(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 4 {
		return nil, ErrMalformed
	}
	p := pbkdf2Hash{digest: fields[0]}
	var ok bool
	if p.iterations, ok = number(fields[1], 32); !ok {
		return nil, ErrMalformed
	}
	var err error
	if p.salt, p.tag, err = textSaltAndTag(fields[2], fields[3]); err != nil {
		return nil, err
	}
	return p.check()
}

// parseWerkzeugPBKDF2 reads what follows "pbkdf2:": the salt is the text itself, and
// the tag is hexadecimal.
func parseWerkzeugPBKDF2(rest string) (foreign, error) {
	method, saltText, tagText, ok := cutWerkzeug(rest)
	if !ok {
		return nil, ErrMalformed
	}
	tag, err := hex.DecodeString(tagText)
	digest, count, _ := strings.Cut(method, ":")
	iterations, ok := number(count, 32)
	if err != nil || !ok {
		return nil, ErrMalformed
	}
	return pbkdf2Hash{digest: digest, iterations: iterations, salt: []byte(saltText), tag: tag}.check()
}

// cutWerkzeug splits "method$salt$tag".
func cutWerkzeug(text string) (method, salt, tag string, ok bool) {
	fields := strings.Split(text, "$")
	if len(fields) != 3 {
		return "", "", "", false
	}
	return fields[0], fields[1], fields[2], true
}

func (pbkdf2Hash) scheme() Scheme { return SchemePBKDF2 }

func (pbkdf2Hash) memory() uint32 { return 1 }

func (p pbkdf2Hash) encode() string {
	return fmt.Sprintf("$pbkdf2-%s$i=%d$%s$%s", p.digest, p.iterations, phcText(p.salt), phcText(p.tag))
}

func (p pbkdf2Hash) matches(password []byte) bool {
	tag, err := pbkdf2.Key(p.newDigest, string(password), p.salt, int(p.iterations), len(p.tag)) //nolint:gosec // bounded by check
	return err == nil && subtle.ConstantTimeCompare(tag, p.tag) == 1
}
