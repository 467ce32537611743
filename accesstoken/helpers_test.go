package accesstoken_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

const (
	issuer   = "https://auth.example.com"
	audience = "https://api.example.com"
)

var algorithms = []accesstoken.Algorithm{accesstoken.ES256, accesstoken.RS256, accesstoken.EdDSA}

func start() time.Time { return time.Unix(1_800_000_000, 0).UTC() }

func expectation() accesstoken.Expectation {
	return accesstoken.Expectation{Issuer: issuer, Audience: audience, Now: start()}
}

func fullClaims() accesstoken.Claims {
	return accesstoken.Claims{
		Issuer:      issuer,
		Audience:    []string{audience},
		Subject:     "01JAZ4T9W7",
		ID:          "5qYxQ0sT8gk",
		IssuedAt:    start(),
		ExpiresAt:   start().Add(15 * time.Minute),
		ClientID:    "web",
		SessionID:   "Kx3vPq9bRzqg7dY1",
		AuthTime:    start().Add(-time.Hour),
		AuthMethods: []string{"pwd"},
		Epoch:       "AAAAAAAAAAA",
		Username:    "ada",
		Email:       "ada@example.com",
		Roles:       []string{"admin"},
		Permissions: []string{"mail:read", "mail:send"},
	}
}

// issuerKey is a signing key together with its private half, so that a test can
// sign what Sign refuses to.
type issuerKey struct {
	*accesstoken.SigningKey
	private crypto.Signer
}

func newKey(t testing.TB, alg accesstoken.Algorithm) issuerKey {
	t.Helper()
	key, err := accesstoken.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	der, err := key.MarshalPKCS8()
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return issuerKey{key, private.(crypto.Signer)}
}

// fixedKeys returns the same ES256 and EdDSA keys in every run, so that a corpus
// of fuzz inputs keeps its worth.
func fixedKeys(t testing.TB) []issuerKey {
	t.Helper()
	seed := sha256.Sum256([]byte("a key for tests only"))
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	var keys []issuerKey
	for _, private := range []crypto.Signer{ec, ed25519.NewKeyFromSeed(seed[:])} {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		key, err := accesstoken.ParsePKCS8(der)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, issuerKey{key, private})
	}
	return keys
}

// lookup is the key function of a verifier that knows the given keys.
func lookup(keys ...issuerKey) func(string) (accesstoken.PublicKey, bool) {
	byID := map[string]accesstoken.PublicKey{}
	for _, k := range keys {
		byID[k.KeyID()] = k.Public()
	}
	return func(id string) (accesstoken.PublicKey, bool) {
		k, ok := byID[id]
		return k, ok
	}
}

// header returns the right header for the key, as text.
func (k issuerKey) header() string {
	return fmt.Sprintf(`{"typ":"at+jwt","alg":%q,"kid":%q}`, k.Algorithm(), k.KeyID())
}

// payload returns right claims as text, with changes made: a nil value removes
// the claim.
func payload(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": issuer, "aud": audience, "sub": "01JAZ4T9W7", "jti": "5qYxQ0sT8gk", "client_id": "web",
		"iat": start().Unix(), "exp": start().Add(15 * time.Minute).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// raw stands for itself in a payload.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign signs any two texts, however wrong.
func (k issuerKey) sign(t testing.TB, header, payload string) string {
	t.Helper()
	return k.signSegments(t, b64(header)+"."+b64(payload))
}

func (k issuerKey) signSegments(t testing.TB, signed string) string {
	t.Helper()
	method := jwt.GetSigningMethod(string(k.Algorithm()))
	signature, err := method.Sign(signed, k.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// der signs as X.509 does: an ASN.1 sequence instead of 64 bytes.
func (k issuerKey) der(t testing.TB, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := ecdsa.SignASN1(nil, k.private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// rsaJWK returns any two numbers as an RSA key.
func rsaJWK(n *big.Int, e int64) string {
	return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`,
		base64.RawURLEncoding.EncodeToString(n.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(e).Bytes()))
}

func rsaModulus(t testing.TB, k issuerKey) *big.Int {
	t.Helper()
	return new(big.Int).Set(k.private.(*rsa.PrivateKey).N)
}
