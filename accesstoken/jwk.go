package accesstoken

import (
	"crypto"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// maxKeyID bounds what ParseJWK takes for a key ID. A thumbprint has 43 bytes.
const maxKeyID = 256

// MarshalJWK returns the key as a JSON Web Key (RFC 7517) with the members kid,
// alg and use, ready to stand in a JWK set.
func (k PublicKey) MarshalJWK() ([]byte, error) {
	jwk := jose.JSONWebKey{Key: k.key, KeyID: k.id, Algorithm: string(k.alg), Use: "sig"}
	text, err := jwk.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("marshal public key: %w", err)
	}
	return text, nil
}

// wireJWK is a JSON Web Key as read. The members that hold private or symmetric
// keys are here to be refused: whoever publishes one of them must be told, not
// served.
type wireJWK struct {
	Type       string          `json:"kty"`
	Use        *string         `json:"use"`
	Operations *[]string       `json:"key_ops"`
	Algorithm  *string         `json:"alg"`
	KeyID      *string         `json:"kid"`
	Curve      string          `json:"crv"`
	X          string          `json:"x"`
	Y          string          `json:"y"`
	N          string          `json:"n"`
	E          string          `json:"e"`
	D          json.RawMessage `json:"d"`
	P          json.RawMessage `json:"p"`
	Q          json.RawMessage `json:"q"`
	DP         json.RawMessage `json:"dp"`
	DQ         json.RawMessage `json:"dq"`
	QI         json.RawMessage `json:"qi"`
	Others     json.RawMessage `json:"oth"`
	Symmetric  json.RawMessage `json:"k"`
	Seed       json.RawMessage `json:"priv"`
}

// ParseJWK reads a public key from a JSON Web Key. The key ID is the member kid
// or, without one, the thumbprint. It returns [ErrKey] for
//
//   - a key with private members;
//   - a key that is not meant to verify signatures: use other than "sig", key_ops
//     without "verify" (RFC 7517 §4.2, §4.3), or alg other than the one that
//     goes with its type;
//   - RSA below 2048 or above 4096 bits, with a public exponent that is even or
//     1, or with the weakness ROCA (CVE-2017-15361), a point that is not on
//     P-256, and types and curves of no algorithm that we know.
//
// Certificates in the key are ignored: trust comes from where it was fetched.
func ParseJWK(text []byte) (PublicKey, error) {
	var wire wireJWK
	if err := strictjson.Unmarshal(text, &wire); err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if err := wire.checkPurpose(); err != nil {
		return PublicKey{}, err
	}
	parsed, err := wire.decode()
	if err != nil {
		return PublicKey{}, err
	}
	key, err := newPublicKey(parsed)
	if err != nil {
		return PublicKey{}, err
	}
	if wire.Algorithm != nil && *wire.Algorithm != string(key.alg) {
		return PublicKey{}, fmt.Errorf("%w: alg is not %s", ErrKey, key.alg)
	}
	if wire.KeyID != nil {
		if *wire.KeyID == "" || len(*wire.KeyID) > maxKeyID {
			return PublicKey{}, fmt.Errorf("%w: kid is empty or too long", ErrKey)
		}
		key.id = *wire.KeyID
	}
	return key, nil
}

func (w *wireJWK) checkPurpose() error {
	for _, secret := range []json.RawMessage{w.D, w.P, w.Q, w.DP, w.DQ, w.QI, w.Others, w.Symmetric, w.Seed} {
		if secret != nil {
			return fmt.Errorf("%w: it has private members", ErrKey)
		}
	}
	if w.Use != nil && *w.Use != "sig" {
		return fmt.Errorf("%w: use is not sig", ErrKey)
	}
	if w.Operations != nil && !slices.Contains(*w.Operations, "verify") {
		return fmt.Errorf("%w: key_ops lacks verify", ErrKey)
	}
	return nil
}

// decode has go-jose read the public members, and sees none of the others: it
// would otherwise parse certificates, and take laxer base64.
func (w *wireJWK) decode() (crypto.PublicKey, error) {
	members := map[string]string{"kty": w.Type}
	for name, value := range map[string]string{"x": w.X, "y": w.Y, "n": w.N, "e": w.E} {
		if value == "" {
			continue
		}
		if _, err := decodeSegment(value); err != nil {
			return nil, fmt.Errorf("%w: %s is not base64url", ErrKey, name)
		}
		members[name] = value
	}
	if w.Curve != "" {
		members["crv"] = w.Curve
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil || !jwk.IsPublic() {
		return nil, fmt.Errorf("%w: not a public key of a known type", ErrKey)
	}
	return jwk.Key, nil
}
