package password

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxBcryptCost = 15 // two seconds of a core
	maxBcrypt     = 72 // bytes of a password that bcrypt looks at
	bcryptDigits  = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// bcryptHash is a hash of bcrypt, "2b$12$" and 53 characters of salt and tag. The
// letter says which mistake of an old implementation it was made without; 2a, 2b and
// 2y are the same algorithm. 2x, which has the mistake, is not read.
type bcryptHash struct {
	letter byte
	cost   uint64
	rest   string
	// sha256 says that bcrypt was given the hexadecimal SHA-256 of the password, as
	// Django does it.
	sha256 bool
}

func parseBcrypt(rest string) (foreign, error) { return readBcrypt(rest, false) }

func parseBcryptSHA256(rest string) (foreign, error) { return readBcrypt(rest, true) }

// readBcrypt reads what follows "$2".
func readBcrypt(text string, prehashed bool) (foreign, error) {
	letter, text, _ := strings.Cut(text, "$")
	cost, rest, _ := strings.Cut(text, "$")
	if letter != "a" && letter != "b" && letter != "y" || len(cost) != 2 || len(rest) != 53 ||
		strings.Trim(rest, bcryptDigits) != "" {
		return nil, ErrMalformed
	}
	n, ok := number(strings.TrimPrefix(cost, "0"), 8)
	switch {
	case !ok:
		return nil, ErrMalformed
	case n < uint64(bcrypt.MinCost) || n > maxBcryptCost:
		return nil, fmt.Errorf("%w: bcrypt of cost %d, want %d to %d", ErrParams, n, bcrypt.MinCost, maxBcryptCost)
	}
	return bcryptHash{letter: letter[0], cost: n, rest: rest, sha256: prehashed}, nil
}

func (bcryptHash) scheme() Scheme { return SchemeBcrypt }

func (bcryptHash) memory() uint32 { return 5 }

func (b bcryptHash) encode() string {
	if b.sha256 {
		return "bcrypt_sha256$" + b.plain()
	}
	return b.plain()
}

func (b bcryptHash) plain() string { return fmt.Sprintf("$2%c$%02d$%s", b.letter, b.cost, b.rest) }

func (b bcryptHash) matches(password []byte) bool {
	if b.sha256 {
		digest := sha256.Sum256(password)
		password = hex.AppendEncode(nil, digest[:])
	}
	return bcrypt.CompareHashAndPassword([]byte(b.plain()), password[:min(len(password), maxBcrypt)]) == nil
}
