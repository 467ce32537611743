package password

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// scryptCost is what scrypt (RFC 7914) is told: N is two to the power of log. It may
// take as much memory, and as much time, as argon2id may; see [Params].
type scryptCost struct {
	log, r, p uint64
}

// readScryptCost checks the bounds. All of the numbers have 32 bits at most.
func readScryptCost(log, r, p uint64) (scryptCost, error) {
	c := scryptCost{log, r, p}
	if log < 1 || log > 30 || r < 1 || p < 1 || p > maxParallelism || r > 1<<20 || c.kibibytes() > maxMemory || c.kibibytes()*p > maxWork {
		return c, fmt.Errorf("%w: scrypt with N=2^%d, r=%d, p=%d, want at most %d KiB and %d KiB in all",
			ErrParams, log, r, p, maxMemory, maxWork)
	}
	return c, nil
}

// kibibytes is the memory in use: N + p blocks of 128 r bytes.
func (c scryptCost) kibibytes() uint64 { return (128*c.r*(1<<c.log+c.p) + 1023) >> 10 }

// key returns nil if the password cannot be hashed, which readScryptCost has ruled out.
func (c scryptCost) key(password, salt []byte, length int) []byte {
	key, err := scrypt.Key(password, salt, 1<<c.log, int(c.r), int(c.p), length) //nolint:gosec // bounded by readScryptCost
	if err != nil {
		return nil
	}
	return key
}

// logOf returns the logarithm of a power of two.
func logOf(n uint64) (uint64, bool) {
	return uint64(bits.Len64(n)) - 1, bits.OnesCount64(n) == 1 //nolint:gosec // n is not zero if the second is true
}

// scryptHash is a hash of scrypt.
type scryptHash struct {
	cost      scryptCost
	salt, tag []byte
}

// parseScrypt reads what follows "$scrypt$".
func parseScrypt(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return nil, ErrMalformed
	}
	values, ok := settings(fields[0], "ln", "r", "p")
	if !ok {
		return nil, ErrMalformed
	}
	salt, tag, err := looseSaltAndTag(fields[1], fields[2])
	if err != nil {
		return nil, err
	}
	return newScryptHash(values[0], values[1], values[2], salt, tag)
}

func newScryptHash(log, r, p uint64, salt, tag []byte) (foreign, error) {
	cost, err := readScryptCost(log, r, p)
	if err != nil {
		return nil, err
	}
	return scryptHash{cost, salt, tag}, nil
}

// parseDjangoScrypt reads what follows "scrypt$": N, the salt as text, r, p and the
// tag.
func parseDjangoScrypt(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 5 {
		return nil, ErrMalformed
	}
	salt, tag, err := textSaltAndTag(fields[1], fields[4])
	if err != nil {
		return nil, err
	}
	return readScryptNumbers(fields[0], fields[2], fields[3], salt, tag)
}

// parseWerkzeugScrypt reads what follows "scrypt:": N, r and p, the salt as text, and
// the tag in hexadecimal.
func parseWerkzeugScrypt(rest string) (foreign, error) {
	method, saltText, tagText, ok := cutWerkzeug(rest)
	numbers := strings.Split(method, ":")
	tag, err := hex.DecodeString(tagText)
	if !ok || len(numbers) != 3 || err != nil {
		return nil, ErrMalformed
	}
	salt := []byte(saltText)
	if err := saltAndTag(salt, tag); err != nil {
		return nil, err
	}
	return readScryptNumbers(numbers[0], numbers[1], numbers[2], salt, tag)
}

func readScryptNumbers(nText, rText, pText string, salt, tag []byte) (foreign, error) {
	n, okN := number(nText, 32)
	r, okR := number(rText, 32)
	p, okP := number(pText, 32)
	log, okLog := logOf(n)
	if !okN || !okR || !okP || !okLog {
		return nil, ErrMalformed
	}
	return newScryptHash(log, r, p, salt, tag)
}

func (scryptHash) scheme() Scheme { return SchemeScrypt }

func (s scryptHash) memory() uint32 { return uint32(s.cost.kibibytes()) } //nolint:gosec // bounded by readScryptCost

func (s scryptHash) encode() string {
	return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", s.cost.log, s.cost.r, s.cost.p, phcText(s.salt), phcText(s.tag))
}

func (s scryptHash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(s.cost.key(password, s.salt, len(s.tag)), s.tag) == 1
}
