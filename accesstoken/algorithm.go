package accesstoken

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithm is a JWS signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). The zero
// value is no algorithm.
type Algorithm string

// The algorithms that keys may have.
const (
	// ES256 is ECDSA on P-256 with SHA-256: small tokens, fast to sign. The default
	// of the server.
	ES256 Algorithm = "ES256"
	// RS256 is RSA PKCS#1 v1.5 with SHA-256: the one algorithm that every consumer
	// of RFC 9068 tokens must support.
	RS256 Algorithm = "RS256"
	// EdDSA is Ed25519. The curve Ed448 is not supported.
	EdDSA Algorithm = "EdDSA"
)

// ErrAlgorithm reports a name that is not one of the algorithms above, to the
// letter: "es256" and "none" are not.
var ErrAlgorithm = errors.New("signature algorithm is not ES256, RS256 or EdDSA")

// ParseAlgorithm returns the algorithm with the given name, or [ErrAlgorithm].
func ParseAlgorithm(name string) (Algorithm, error) {
	switch a := Algorithm(name); a {
	case ES256, RS256, EdDSA:
		return a, nil
	default:
		return "", ErrAlgorithm
	}
}

// method returns the implementation of an algorithm. It is written out, rather
// than asked of golang-jwt's registry, because that knows "none" and HMAC too.
func (a Algorithm) method() jwt.SigningMethod {
	switch a {
	case ES256:
		return jwt.SigningMethodES256
	case RS256:
		return jwt.SigningMethodRS256
	case EdDSA:
		return jwt.SigningMethodEdDSA
	default:
		return nil
	}
}
