package password

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// ErrMalformed reports a hash in no spelling that is known here: for one of ours,
// argon2id, version 19, with a salt of 16 and a tag of 32 bytes, in its one spelling.
var ErrMalformed = errors.New("not a password hash that is known here")

const (
	saltSize = 16
	tagSize  = 32
	// maxEncoded is more than any hash within bounds needs.
	maxEncoded = 128
)

// phcBase64 is what the PHC string format calls B64: standard alphabet, no
// padding.
var phcBase64 = base64.RawStdEncoding.Strict()

// digest is a parsed hash.
type digest struct {
	params Params
	salt   [saltSize]byte
	tag    [tagSize]byte
}

// encode returns the one spelling of a digest.
func (d digest) encode() string {
	b := make([]byte, 0, maxEncoded)
	b = append(b, "$argon2id$v=19$m="...)
	b = strconv.AppendUint(b, uint64(d.params.Memory), 10)
	b = append(b, ",t="...)
	b = strconv.AppendUint(b, uint64(d.params.Iterations), 10)
	b = append(b, ",p="...)
	b = strconv.AppendUint(b, uint64(d.params.Parallelism), 10)
	b = append(b, '$')
	b = phcBase64.AppendEncode(b, d.salt[:])
	b = append(b, '$')
	b = phcBase64.AppendEncode(b, d.tag[:])
	return string(b)
}

// parsePHC reads what encode prints and nothing else. It returns [ErrMalformed],
// or [ErrParams] for a well-formed hash that would cost too much.
func parsePHC(encoded string) (digest, error) {
	if len(encoded) > maxEncoded {
		return digest{}, ErrMalformed
	}
	fields := strings.Split(encoded, "$")
	if len(fields) != 6 {
		return digest{}, ErrMalformed
	}
	params, ok := parseParams(fields[3])
	if !ok {
		return digest{}, ErrMalformed
	}
	d := digest{params: params}
	if !decodeExactly(d.salt[:], fields[4]) || !decodeExactly(d.tag[:], fields[5]) {
		return digest{}, ErrMalformed
	}
	// Printing it again covers the rest: algorithm and version, leading zeros, and
	// the line breaks that Go's decoder skips.
	if d.encode() != encoded {
		return digest{}, ErrMalformed
	}
	if err := params.checkStored(); err != nil {
		return digest{}, err
	}
	return d, nil
}

// parseParams reads "m=19456,t=2,p=1".
func parseParams(text string) (Params, bool) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return Params{}, false
	}
	memory, okM := parseParam(fields[0], "m=", 32)
	iterations, okT := parseParam(fields[1], "t=", 32)
	parallelism, okP := parseParam(fields[2], "p=", 8)
	return Params{
		Memory:      uint32(memory),
		Iterations:  uint32(iterations),
		Parallelism: uint8(parallelism),
	}, okM && okT && okP
}

func parseParam(text, name string, bits int) (uint64, bool) {
	number, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 10, bits)
	return n, err == nil
}

// decodeExactly fills dst from its base64 text and reports whether it fits.
func decodeExactly(dst []byte, text string) bool {
	raw, err := phcBase64.DecodeString(text)
	if err != nil || len(raw) != len(dst) {
		return false
	}
	copy(dst, raw)
	return true
}
