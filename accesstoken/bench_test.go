package accesstoken_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// The difference between BenchmarkSign/ES256 and this is what the token costs
// besides the signature.
func BenchmarkBareECDSASign(b *testing.B) {
	private := newKey(b, accesstoken.ES256).private.(*ecdsa.PrivateKey)
	message := make([]byte, 700)
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(message)
		if _, err := ecdsa.SignASN1(rand.Reader, private, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareECDSAVerify(b *testing.B) {
	private := newKey(b, accesstoken.ES256).private.(*ecdsa.PrivateKey)
	digest := sha256.Sum256(make([]byte, 700))
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], signature) {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range algorithms {
		key := newKey(b, alg)
		claims := fullClaims()
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := accesstoken.Sign(key.SigningKey, claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algorithms {
		key := newKey(b, alg)
		keys, want := lookup(key), expectation()
		token, err := accesstoken.Sign(key.SigningKey, fullClaims())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := accesstoken.Verify(token, keys, want); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
