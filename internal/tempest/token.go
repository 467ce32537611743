package tempest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// fingerprint stands for a refresh token where only its identity matters.
type fingerprint [sha256.Size]byte

func fingerprintOf(token string) fingerprint { return sha256.Sum256([]byte(token)) }

// readToken returns the session and the generation of a refresh token (docs/refresh.md),
// or "" if it is none. No client may look into a token; whoever tests it may.
func readToken(token string) (session string, generation uint32) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "ikr_"))
	if err != nil || len(raw) < 23 {
		return "", 0
	}
	return base64.RawURLEncoding.EncodeToString(raw[3:19]), binary.BigEndian.Uint32(raw[19:23])
}
