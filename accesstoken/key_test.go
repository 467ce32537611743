package accesstoken_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

func TestKeySurvivesPKCS8(t *testing.T) {
	for _, alg := range algorithms {
		key := newKey(t, alg)
		der, err := key.MarshalPKCS8()
		if err != nil {
			t.Fatal(err)
		}
		again, err := accesstoken.ParsePKCS8(der)
		if err != nil {
			t.Fatal(err)
		}
		if again.KeyID() != key.KeyID() || again.Algorithm() != alg {
			t.Errorf("%s: got %s %s, want %s", alg, again.Algorithm(), again.KeyID(), key.KeyID())
		}
		token, err := accesstoken.Sign(again, fullClaims())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accesstoken.Verify(token, lookup(key), expectation()); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestKeysAreDistinct(t *testing.T) {
	if a, b := newKey(t, accesstoken.ES256), newKey(t, accesstoken.ES256); a.KeyID() == b.KeyID() {
		t.Error("two generated keys share an ID")
	}
}

func TestParsePKCS8Refuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string][]byte{"empty": nil, "garbage": []byte("SECRET")}
	for name, key := range map[string]any{"P-384": p384, "RSA 1024": small, "X25519": x25519} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		inputs[name] = der
	}
	for name, der := range inputs {
		_, err := accesstoken.ParsePKCS8(der)
		if !errors.Is(err, accesstoken.ErrKey) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

func TestAlgorithmNames(t *testing.T) {
	for _, alg := range algorithms {
		if got, err := accesstoken.ParseAlgorithm(string(alg)); got != alg || err != nil {
			t.Errorf("ParseAlgorithm(%q) = %q, %v", alg, got, err)
		}
	}
	for _, name := range []string{"", "none", "None", "es256", "ES256 ", "HS256", "PS256", "ES384", "Ed25519", "eddsa"} {
		if got, err := accesstoken.ParseAlgorithm(name); !errors.Is(err, accesstoken.ErrAlgorithm) || got != "" {
			t.Errorf("ParseAlgorithm(%q) = %q, %v", name, got, err)
		}
		if key, err := accesstoken.Generate(accesstoken.Algorithm(name)); !errors.Is(err, accesstoken.ErrAlgorithm) || key != nil {
			t.Errorf("Generate(%q) = %v, %v", name, key, err)
		}
	}
}

func TestSigningKeyNeverPrints(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	var out bytes.Buffer
	for _, value := range []any{key.SigningKey, *key.SigningKey, struct{ K accesstoken.SigningKey }{*key.SigningKey}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, value)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "key", value)
	}
	secretBytes, err := key.private.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := new(big.Int).SetBytes(secretBytes)
	for _, secret := range []string{d.String(), d.Text(16), fmt.Sprintf("%X", d), fmt.Sprint(secretBytes)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("output shows the private key: %s", out.String())
		}
	}
	if got := strings.Count(out.String(), "[redacted]"); got != 30 {
		t.Errorf("%d of 30 ways to print a key are redacted:\n%s", got, out.String())
	}
}

// D5, with the example of RFC 7638 §3.1.
func TestThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_" +
		"2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08" +
		"qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	key, err := accesstoken.ParseJWK(fmt.Appendf(nil, `{"kty":"RSA","n":%q,"e":"AQAB","alg":"RS256"}`, n))
	if err != nil {
		t.Fatal(err)
	}
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; key.KeyID() != want {
		t.Errorf("thumbprint = %s, want %s", key.KeyID(), want)
	}
	// A key that has a name keeps it.
	key, err = accesstoken.ParseJWK(fmt.Appendf(nil, `{"kty":"RSA","n":%q,"e":"AQAB","kid":"2011-04-29"}`, n))
	if err != nil || key.KeyID() != "2011-04-29" {
		t.Errorf("kid = %q, %v", key.KeyID(), err)
	}
}

// D4: public members only, with kid, alg and use.
func TestJWKRoundTrip(t *testing.T) {
	want := map[accesstoken.Algorithm][]string{
		accesstoken.ES256: {"kty", "kid", "alg", "use", "crv", "x", "y"},
		accesstoken.RS256: {"kty", "kid", "alg", "use", "n", "e"},
		accesstoken.EdDSA: {"kty", "kid", "alg", "use", "crv", "x"},
	}
	for _, alg := range algorithms {
		key := newKey(t, alg)
		text, err := key.Public().MarshalJWK()
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]string
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		for _, name := range want[alg] {
			if members[name] == "" {
				t.Errorf("%s lacks %s: %s", alg, name, text)
			}
		}
		if len(members) != len(want[alg]) {
			t.Errorf("%s has other members than %v: %s", alg, want[alg], text)
		}
		if members["use"] != "sig" || members["alg"] != string(alg) || members["kid"] != key.KeyID() {
			t.Errorf("%s: %s", alg, text)
		}
		again, err := accesstoken.ParseJWK(text)
		if err != nil {
			t.Fatal(err)
		}
		if again.KeyID() != key.KeyID() || again.Algorithm() != alg {
			t.Errorf("%s parsed as %s %s", text, again.Algorithm(), again.KeyID())
		}
	}
}

// A15, A16 and D4: keys that must not be used.
func TestParseJWKRefuses(t *testing.T) {
	es, rs, ed := newKey(t, accesstoken.ES256), newKey(t, accesstoken.RS256), newKey(t, accesstoken.EdDSA)
	with := func(k issuerKey, changes string) string {
		text, err := k.Public().MarshalJWK()
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		// A change overrides, for encoding/json takes the last and reuses the map.
		if err := json.Unmarshal([]byte(changes), &members); err != nil {
			t.Fatal(err)
		}
		text, err = json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	n := rsaModulus(t, rs)
	even := new(big.Int).Add(n, big.NewInt(1))
	half := new(big.Int).SetBit(new(big.Int).Rsh(n, 1024), 0, 1)
	huge := new(big.Int).SetBit(new(big.Int).Lsh(n, 4096), 0, 1)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := jose.JSONWebKey{Key: &other.PublicKey}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	x := b64(strings.Repeat("x", 32))

	for name, text := range map[string]string{
		"A15 RSA 1024":                 rsaJWK(half, 65537),
		"A15 RSA 6144":                 rsaJWK(huge, 65537),
		"A15 RSA exponent 1":           rsaJWK(n, 1),
		"A15 RSA exponent even":        rsaJWK(n, 65536),
		"A15 RSA exponent 0":           rsaJWK(n, 0),
		"A15 RSA modulus even":         rsaJWK(even, 65537),
		"A15 RSA without n":            `{"kty":"RSA","e":"AQAB"}`,
		"A15 RSA padded":               strings.Replace(rsaJWK(n, 65537), `"AQAB"`, `"AQAB=="`, 1),
		"A15 RSA line break":           strings.Replace(rsaJWK(n, 65537), `"AQAB"`, `"AQ\nAB"`, 1),
		"A15 RSA spare bits":           strings.Replace(rsaJWK(n, 3), `"Aw"`, `"Ax"`, 1),
		"A15 use enc":                  with(es, `{"use":"enc"}`),
		"A15 use empty":                with(es, `{"use":""}`),
		"A15 use SIG":                  with(es, `{"use":"SIG"}`),
		"A15 key_ops sign only":        with(es, `{"key_ops":["sign"]}`),
		"A15 key_ops empty":            with(es, `{"key_ops":[]}`),
		"A15 key_ops string":           with(es, `{"key_ops":"verify"}`),
		"A7 alg of another type":       with(es, `{"alg":"RS256"}`),
		"A7 alg PS256":                 with(rs, `{"alg":"PS256"}`),
		"A7 alg none":                  with(ed, `{"alg":"none"}`),
		"A7 alg empty":                 with(ed, `{"alg":""}`),
		"A7 alg in lower case":         with(es, `{"alg":"es256"}`),
		"A16 off the curve":            with(es, `{"x":"`+x+`"}`),
		"A16 point at infinity":        with(es, `{"x":"`+b64(strings.Repeat("\x00", 32))+`","y":"`+b64(strings.Repeat("\x00", 32))+`"}`),
		"A16 short coordinate":         with(es, `{"x":"AQ"}`),
		"A16 crv of another":           with(es, `{"crv":"P-384"}`),
		"A16 crv unknown":              with(es, `{"crv":"secp256k1"}`),
		"A16 P-384":                    string(p384),
		"A16 Ed25519 short":            with(ed, `{"x":"AQ"}`),
		"A16 Ed448":                    with(ed, `{"crv":"Ed448"}`),
		"A16 X25519":                   with(ed, `{"crv":"X25519"}`),
		"D4 EC private":                with(es, `{"d":"`+x+`"}`),
		"D4 private, not a string":     with(es, `{"d":0}`),
		"D4 private, null":             with(es, `{"d":null}`),
		"D4 RSA prime":                 with(rs, `{"p":"AQ"}`),
		"D4 RSA other primes":          with(rs, `{"oth":[]}`),
		"D4 symmetric member":          with(rs, `{"k":"AQ"}`),
		"D4 ML-DSA seed":               with(rs, `{"priv":"AQ"}`),
		"symmetric key":                `{"kty":"oct","k":"` + x + `"}`,
		"no type":                      `{"crv":"Ed25519","x":"` + x + `"}`,
		"unknown type":                 `{"kty":"XYZ","x":"` + x + `"}`,
		"kid empty":                    with(es, `{"kid":""}`),
		"kid of 1 MB":                  with(es, `{"kid":"`+strings.Repeat("k", 1<<20)+`"}`),
		"kid not a string":             with(es, `{"kid":7}`),
		"duplicate member":             `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","x":"` + x + `"}`,
		"not an object":                `[]`,
		"null":                         `null`,
		"empty":                        ``,
		"trailing data":                with(es, `{}`) + `{}`,
		"members in another case":      `{"KTY":"OKP","CRV":"Ed25519","X":"` + x + `"}`,
		"exponent beyond 64 bits":      strings.Replace(rsaJWK(n, 65537), `"AQAB"`, `"AQAAAAAAAAAB"`, 1),
		"certificate instead of a key": `{"kty":"RSA","x5c":["MIIB"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if key, err := accesstoken.ParseJWK([]byte(text)); !errors.Is(err, accesstoken.ErrKey) {
				t.Errorf("ParseJWK = %v %v, want ErrKey", key.Algorithm(), err)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing changed":      with(es, `{}`),
		"verify among key_ops": with(es, `{"key_ops":["sign","verify"]}`),
		"members we ignore":    with(es, `{"x5c":["not a certificate"],"x5u":"::","ext":true}`),
	} {
		if _, err := accesstoken.ParseJWK([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What parses as a key prints back as the same key.
func FuzzParseJWK(f *testing.F) {
	for _, algorithm := range []accesstoken.Algorithm{accesstoken.ES256, accesstoken.RS256, accesstoken.EdDSA} {
		key, err := accesstoken.Generate(algorithm)
		if err != nil {
			f.Fatal(err)
		}
		jwk, err := key.Public().MarshalJWK()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(jwk)
	}
	f.Add([]byte(`{"kty":"oct","k":"AAAA","kid":"x","alg":"HS256"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := accesstoken.ParseJWK(text)
		if err != nil {
			return
		}
		printed, err := key.MarshalJWK()
		if err != nil {
			t.Fatalf("%s parses and does not print: %v", text, err)
		}
		again, err := accesstoken.ParseJWK(printed)
		if err != nil || again.KeyID() != key.KeyID() || again.Algorithm() != key.Algorithm() {
			t.Fatalf("%s prints as %s, which gives %v", text, printed, err)
		}
	})
}
