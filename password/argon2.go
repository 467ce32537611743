package password

import (
	"crypto/subtle"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argon2Hash is a hash of argon2 that we have not made: of any size, and of the
// password as it was received. It is kept in Django's spelling, which tells it from
// ours.
type argon2Hash struct {
	hybrid    bool // argon2id, not argon2i
	params    Params
	salt, tag []byte
}

// parseArgon2 reads what follows "$argon2".
func parseArgon2(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 5 || fields[0] != "i" && fields[0] != "id" || fields[1] != "v=19" {
		return nil, ErrMalformed
	}
	values, ok := settings(fields[2], "m", "t", "p")
	if !ok {
		return nil, ErrMalformed
	}
	const beyondBounds = maxParallelism + 1
	a := argon2Hash{hybrid: fields[0] == "id", params: Params{
		Memory: uint32(values[0]), Iterations: uint32(values[1]), Parallelism: uint8(min(values[2], beyondBounds)), //nolint:gosec // 32 bits were read
	}}
	if err := a.params.checkStored(); err != nil {
		return nil, err
	}
	var err error
	a.salt, a.tag, err = looseSaltAndTag(fields[3], fields[4])
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (argon2Hash) scheme() Scheme { return SchemeForeignArgon2 }

func (a argon2Hash) memory() uint32 { return a.params.Memory }

func (a argon2Hash) encode() string {
	kind := "i"
	if a.hybrid {
		kind = "id"
	}
	return fmt.Sprintf("argon2$argon2%s$v=19$m=%d,t=%d,p=%d$%s$%s",
		kind, a.params.Memory, a.params.Iterations, a.params.Parallelism, phcText(a.salt), phcText(a.tag))
}

func (a argon2Hash) matches(password []byte) bool {
	compute := argon2.Key
	if a.hybrid {
		compute = argon2.IDKey
	}
	tag := compute(password, a.salt, a.params.Iterations, a.params.Memory, a.params.Parallelism, uint32(len(a.tag))) //nolint:gosec // at most 128
	return subtle.ConstantTimeCompare(tag, a.tag) == 1
}
