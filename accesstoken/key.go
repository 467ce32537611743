package accesstoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// ErrKey reports a key that must not be used, or not as what it claims to be.
var ErrKey = errors.New("unusable key")

// Bounds of RSA keys in bits. New keys have the least that RFC 7518 §3.3 allows:
// they live for weeks, and a key of 3072 bits takes three times as long for
// every signature, on the hot path of a refresh. The upper bound limits the work
// that a foreign key can make us do.
const (
	rsaBits    = 2048
	rsaMaxBits = 4096
)

// SigningKey is the private half of a key, its algorithm and its ID. The zero
// value is unusable; make one with [Generate] or [ParsePKCS8]. A SigningKey is
// immutable and safe for concurrent use. It prints as "[redacted]" through fmt,
// log/slog and encoding/json.
type SigningKey struct {
	public  PublicKey
	private crypto.Signer
	// header is the first segment of every token that the key signs.
	header string
}

// Generate returns a new random key for the algorithm. It returns [ErrAlgorithm]
// if that is not one of the three.
func Generate(alg Algorithm) (*SigningKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, ErrAlgorithm
	}
	if err != nil {
		return nil, fmt.Errorf("generate %s key: %w", alg, err)
	}
	return newSigningKey(private)
}

// ParsePKCS8 reads what [SigningKey.MarshalPKCS8] wrote. The algorithm follows
// from the type of the key. It returns [ErrKey] for anything else, with nothing
// of the input in it.
func ParsePKCS8(der []byte) (*SigningKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS#8", ErrKey)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: it cannot sign", ErrKey)
	}
	return newSigningKey(private)
}

func newSigningKey(private crypto.Signer) (*SigningKey, error) {
	public, err := newPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	header, err := encodeHeader(public)
	if err != nil {
		return nil, err
	}
	return &SigningKey{public: public, private: private, header: header}, nil
}

// KeyID returns the RFC 7638 SHA-256 thumbprint of the public half.
func (k *SigningKey) KeyID() string { return k.public.id }

// Algorithm returns the only algorithm that the key signs with.
func (k *SigningKey) Algorithm() Algorithm { return k.public.alg }

// Public returns the half that verifies.
func (k *SigningKey) Public() PublicKey { return k.public }

// MarshalPKCS8 returns the private key in the clear, to be encrypted before it
// is stored. MUST NOT be logged.
func (k *SigningKey) MarshalPKCS8() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("marshal signing key: %w", err)
	}
	return der, nil
}

const redacted = "signing key [redacted]"

// String returns a placeholder. It has a value receiver, as have the methods
// below, so that no way of printing a key shows it.
func (k SigningKey) String() string { return redacted }

// GoString implements [fmt.GoStringer] for the %#v verb.
func (k SigningKey) GoString() string { return redacted }

// Format implements [fmt.Formatter]: every verb prints the placeholder.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON and YAML.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// PublicKey verifies tokens. The zero value verifies none. A PublicKey is
// immutable and safe for concurrent use.
type PublicKey struct {
	id  string
	alg Algorithm
	key crypto.PublicKey // of the type that golang-jwt wants for alg
}

// newPublicKey decides the algorithm of a key and refuses keys too weak to be
// worth having. The ID is the thumbprint.
func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
	alg, err := algorithmOf(key)
	if err != nil {
		return PublicKey{}, err
	}
	jwk := jose.JSONWebKey{Key: key}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: no thumbprint", ErrKey)
	}
	return PublicKey{id: base64.RawURLEncoding.EncodeToString(thumbprint), alg: alg, key: key}, nil
}

// algorithmOf pins a key to its one algorithm (RFC 8725 §3.1), by its type.
func algorithmOf(key crypto.PublicKey) (Algorithm, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", fmt.Errorf("%w: the curve is not P-256", ErrKey)
		}
		return ES256, nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < rsaBits || bits > rsaMaxBits {
			return "", fmt.Errorf("%w: RSA of %d bits is not within %d and %d", ErrKey, bits, rsaBits, rsaMaxBits)
		}
		if key.N.Bit(0) == 0 || key.E%2 == 0 || key.E < 3 {
			return "", fmt.Errorf("%w: RSA modulus and exponent must be odd, the exponent above 1", ErrKey)
		}
		if isROCA(key.N) {
			return "", fmt.Errorf("%w: the RSA key has the weakness ROCA (CVE-2017-15361) and can be factored", ErrKey)
		}
		return RS256, nil
	case ed25519.PublicKey:
		return EdDSA, nil
	default:
		return "", fmt.Errorf("%w: not P-256, RSA or Ed25519", ErrKey)
	}
}

// isROCA reports whether a modulus was made by the faulty generator of Infineon's
// chips (CVE-2017-15361; Nemec et al., "The Return of Coppersmith's Attack", CCS
// 2017). It made primes that are a power of 65537 modulo every small prime, and
// so is their product. Of the primes that it used for all sizes we allow, these
// are the 16 that tell most: a sound key passes for a faulty one once in 2^70.
func isROCA(n *big.Int) bool {
	var remainder big.Int
	for _, p := range [...]int64{37, 97, 229, 233, 239, 241, 257, 331, 349, 397, 461, 523, 541, 571, 673, 691} {
		r := remainder.Mod(n, big.NewInt(p)).Int64()
		power := 65537 % p
		for power != r && power != 1 {
			power = power * 65537 % p
		}
		if power != r {
			return false
		}
	}
	return true
}

// KeyID returns the name of the key: for our own keys the RFC 7638 thumbprint.
func (k PublicKey) KeyID() string { return k.id }

// Algorithm returns the only algorithm that the key verifies.
func (k PublicKey) Algorithm() Algorithm { return k.alg }
