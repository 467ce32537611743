package accesstoken_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// attack is a token that must be refused, or a variant that must not be.
type attack struct {
	name  string
	token string
	want  error
}

// run verifies each token, and that errors tell nothing and come without claims.
func run(t *testing.T, attacks []attack, keys ...issuerKey) {
	t.Helper()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			claims, err := accesstoken.Verify(a.token, lookup(keys...), expectation())
			if !errors.Is(err, a.want) {
				t.Fatalf("Verify = %v, want %v", err, a.want)
			}
			if err == nil {
				return
			}
			if !reflect.DeepEqual(claims, accesstoken.Claims{}) {
				t.Errorf("claims beside an error: %+v", claims)
			}
			for _, part := range strings.Split(a.token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part[:8]) {
					t.Errorf("error shows the token: %v", err)
				}
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("error shows the token: %v", err)
			}
		})
	}
}

// A1, A20: a token of another kind, though genuinely signed, is no access token.
func TestTokenKinds(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	with := func(typ string) string {
		return key.sign(t, strings.Replace(key.header(), `"typ":"at+jwt",`, typ, 1), payload(t, nil))
	}
	attacks := []attack{
		{"A1 no typ", with(``), accesstoken.ErrMalformed},
		{"A1 typ null", with(`"typ":null,`), accesstoken.ErrMalformed},
		{"A1 typ number", with(`"typ":1,`), accesstoken.ErrMalformed},
		{"A1 at+jwt", with(`"typ":"at+jwt",`), nil},
		{"A1 application/at+jwt", with(`"typ":"application/at+jwt",`), nil},
		{"A1 AT+JWT", with(`"typ":"AT+JWT",`), nil},
		{"A1 Application/At+Jwt", with(`"typ":"Application/At+Jwt",`), nil},
	}
	for _, typ := range []string{
		"", "JWT", "jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "dbsc+jwt", "id+jwt", "at+jwt ", " at+jwt",
		"at jwt", "at+jws", "text/at+jwt", "application/application/at+jwt", "/at+jwt", "at+jwt;v=1", "at+jwt\x00",
	} {
		attacks = append(attacks, attack{"A20 " + typ, with(fmt.Sprintf(`"typ":"%s",`, strings.ReplaceAll(typ, "\x00", `\u0000`))), accesstoken.ErrMalformed})
	}
	run(t, attacks, key)
}

// A2, A4, A6: claims that are missing or of the wrong type.
func TestClaims(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	with := func(claim string, value any) string {
		return key.sign(t, key.header(), payload(t, map[string]any{claim: value}))
	}
	attacks := []attack{
		{"A4 iss of another", with("iss", "https://evil.example.com"), accesstoken.ErrIssuer},
		{"A4 iss with a slash", with("iss", issuer+"/"), accesstoken.ErrIssuer},
		{"A4 iss in upper case", with("iss", "https://AUTH.example.com"), accesstoken.ErrIssuer},
		{"A4 aud of another", with("aud", "https://other.example.com"), accesstoken.ErrAudience},
		{"A4 aud with a slash", with("aud", audience+"/"), accesstoken.ErrAudience},
		{"A4 aud among others", with("aud", []string{"x", audience}), nil},
		{"A4 aud array without us", with("aud", []string{"x", "y"}), accesstoken.ErrAudience},
		{"A4 aud empty", with("aud", ""), accesstoken.ErrClaims},
		{"A4 aud empty array", with("aud", []string{}), accesstoken.ErrClaims},
		{"A4 aud with an empty value", with("aud", []string{audience, ""}), accesstoken.ErrClaims},
		{"A4 aud with null", with("aud", []any{audience, nil}), accesstoken.ErrClaims},
		{"A4 aud nested", with("aud", []any{[]string{audience}}), accesstoken.ErrClaims},
		{"A4 aud object", with("aud", map[string]any{audience: true}), accesstoken.ErrClaims},
		{"A4 aud null", with("aud", raw("null")), accesstoken.ErrClaims},
		{"roles not a list", with("roles", "admin"), accesstoken.ErrClaims},
		{"roles of numbers", with("roles", []int{1}), accesstoken.ErrClaims},
		{"email not text", with("email", 1), accesstoken.ErrClaims},
		{"auth_time text", with("auth_time", "SECRET"), accesstoken.ErrClaims},
		{"unknown claim", with("custom", map[string]any{"deep": []int{1}}), nil},
		{"A6 nbf in the past", with("nbf", start().Unix()-1), nil},
		{"A6 nbf now", with("nbf", start().Unix()), nil},
		{"A6 nbf in the future", with("nbf", start().Unix()+1), accesstoken.ErrNotYetValid},
		{"A6 exp with a fraction", with("exp", raw("1800000900.75")), nil},
		{"A6 exp with an exponent", with("exp", raw("18000009E2")), nil},
	}
	for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		attacks = append(attacks,
			attack{"A2 no " + claim, with(claim, nil), accesstoken.ErrClaims},
			attack{"A2 null " + claim, with(claim, raw("null")), accesstoken.ErrClaims},
			attack{"A2 true " + claim, with(claim, true), accesstoken.ErrClaims})
	}
	for _, claim := range []string{"iss", "sub", "client_id", "jti"} {
		attacks = append(attacks,
			attack{"A4 empty " + claim, with(claim, ""), accesstoken.ErrClaims},
			attack{"A4 number " + claim, with(claim, 7), accesstoken.ErrClaims},
			attack{"A4 array " + claim, with(claim, []string{issuer}), accesstoken.ErrClaims})
	}
	for _, claim := range []string{"exp", "iat", "nbf"} {
		for _, value := range []string{
			`"1800000900"`, `1e400`, `-1`, `-1e400`, `1e300`, `253402300800`, `null`, `[1800000900]`, `"NaN"`, `true`, `{}`, `-0`,
		} {
			attacks = append(attacks, attack{"A6 " + claim + " " + value, with(claim, raw(value)), accesstoken.ErrClaims})
		}
		for _, value := range []string{"NaN", "Infinity", "-Infinity", "0x7fffffff", "01800000900", "1_800_000_900", "+1800000900"} {
			text := strings.Replace(payload(t, map[string]any{claim: 4242}), "4242", value, 1)
			attacks = append(attacks, attack{"A6 " + claim + " " + value, key.sign(t, key.header(), text), accesstoken.ErrClaims})
		}
	}
	run(t, attacks, key)
}

// A5: the boundary of exp, with and without skew, and nbf likewise.
func TestExpiryBoundary(t *testing.T) {
	key := newKey(t, accesstoken.EdDSA)
	exp, nbf := start().Add(time.Minute), start()
	token := key.sign(t, key.header(), payload(t, map[string]any{"exp": exp.Unix(), "nbf": nbf.Unix()}))
	const skew = 30 * time.Second
	for _, tt := range []struct {
		name string
		now  time.Time
		skew time.Duration
		want error
	}{
		{"just before exp", exp.Add(-1), 0, nil},
		{"at exp", exp, 0, accesstoken.ErrExpired},
		{"after exp", exp.Add(1), 0, accesstoken.ErrExpired},
		{"just before exp and skew", exp.Add(skew - 1), skew, nil},
		{"at exp and skew", exp.Add(skew), skew, accesstoken.ErrExpired},
		{"at nbf", nbf, 0, nil},
		{"just before nbf", nbf.Add(-1), 0, accesstoken.ErrNotYetValid},
		{"at nbf less skew", nbf.Add(-skew), skew, nil},
		{"just before nbf less skew", nbf.Add(-skew - 1), skew, accesstoken.ErrNotYetValid},
		{"no time at all", time.Time{}, 0, accesstoken.ErrExpired},
		{"no time at all, skew", time.Time{}, skew, accesstoken.ErrExpired},
	} {
		want := accesstoken.Expectation{Issuer: issuer, Audience: audience, Now: tt.now, Skew: tt.skew}
		if _, err := accesstoken.Verify(token, lookup(key), want); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	// A fraction never prolongs a token.
	token = key.sign(t, key.header(), payload(t, map[string]any{"exp": raw(fmt.Sprintf("%d.999", exp.Unix()))}))
	want := expectation()
	want.Now = exp
	if _, err := accesstoken.Verify(token, lookup(key), want); !errors.Is(err, accesstoken.ErrExpired) {
		t.Errorf("fraction: %v, want ErrExpired", err)
	}
}

func TestEmptyExpectationMatchesNothing(t *testing.T) {
	key := newKey(t, accesstoken.EdDSA)
	token := key.sign(t, key.header(), payload(t, nil))
	for name, change := range map[string]struct {
		want accesstoken.Expectation
		err  error
	}{
		"no issuer":   {accesstoken.Expectation{Audience: audience, Now: start()}, accesstoken.ErrIssuer},
		"no audience": {accesstoken.Expectation{Issuer: issuer, Now: start()}, accesstoken.ErrAudience},
	} {
		if _, err := accesstoken.Verify(token, lookup(key), change.want); !errors.Is(err, change.err) {
			t.Errorf("%s: %v, want %v", name, err, change.err)
		}
	}
}

// A3, A7, A13, A23: the algorithm comes from the key.
func TestAlgorithmConfusion(t *testing.T) {
	es, rs, ed := newKey(t, accesstoken.ES256), newKey(t, accesstoken.RS256), newKey(t, accesstoken.EdDSA)
	header := func(alg string, key issuerKey) string {
		return fmt.Sprintf(`{"typ":"at+jwt","alg":%q,"kid":%q}`, alg, key.KeyID())
	}
	var attacks []attack
	for _, none := range []string{"none", "None", "NONE", "nOnE", "none ", ""} {
		attacks = append(attacks,
			attack{"A23 " + none + " unsigned", b64(header(none, es)) + "." + b64(payload(t, nil)) + ".", accesstoken.ErrMalformed},
			attack{"A23 " + none + " signed", es.sign(t, header(none, es), payload(t, nil)), accesstoken.ErrMalformed})
	}
	for _, alg := range []string{"es256", "HS256", "HS512", "ES384", "ES512", "ES256K", "RS384", "PS256", "RS1", "Ed25519", "EDDSA"} {
		attacks = append(attacks, attack{"A7 header says " + alg, es.sign(t, header(alg, es), payload(t, nil)), accesstoken.ErrMalformed})
	}
	attacks = append(attacks,
		attack{"A3 RS256", rs.sign(t, rs.header(), payload(t, nil)), nil},
		attack{"A3 no alg", es.sign(t, fmt.Sprintf(`{"typ":"at+jwt","kid":%q}`, es.KeyID()), payload(t, nil)), accesstoken.ErrMalformed},
		attack{"A3 no signature", b64(es.header()) + "." + b64(payload(t, nil)) + ".", accesstoken.ErrSignature},
		attack{"A7 RS256 under the kid of ES256", rs.sign(t, header("RS256", es), payload(t, nil)), accesstoken.ErrSignature},
		attack{"A7 EdDSA under the kid of ES256", ed.sign(t, header("EdDSA", es), payload(t, nil)), accesstoken.ErrSignature},
		attack{"A7 ES256 signature called RS256", es.sign(t, header("RS256", es), payload(t, nil)), accesstoken.ErrSignature},
		attack{"A7 RS256 signature called ES256", rs.sign(t, header("ES256", rs), payload(t, nil)), accesstoken.ErrSignature},
		attack{"A7 alg is an array", es.sign(t, strings.Replace(es.header(), `"ES256"`, `["ES256"]`, 1), payload(t, nil)), accesstoken.ErrMalformed},
	)

	// The classic: HMAC with the public key, which everybody has, as the secret.
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{
		"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		for _, alg := range []string{"HS256", "RS256"} {
			signed := b64(header(alg, rs)) + "." + b64(payload(t, nil))
			mac, err := jwt.SigningMethodHS256.Sign(signed, secret)
			if err != nil {
				t.Fatal(err)
			}
			want := accesstoken.ErrMalformed
			if alg == "RS256" {
				want = accesstoken.ErrSignature
			}
			attacks = append(attacks, attack{"A7 HMAC with the public key " + name + " called " + alg,
				signed + "." + base64.RawURLEncoding.EncodeToString(mac), want})
		}
	}

	// PSS, whatever its salt, is not PKCS#1 v1.5.
	signed := b64(rs.header()) + "." + b64(payload(t, nil))
	digest := sha256.Sum256([]byte(signed))
	pss, err := rsa.SignPSS(rand.Reader, rs.private.(*rsa.PrivateKey), crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	attacks = append(attacks, attack{"A13 PSS called RS256", signed + "." + base64.RawURLEncoding.EncodeToString(pss), accesstoken.ErrSignature})
	run(t, attacks, es, rs, ed)
}

// A8, A9, A17: what a header may say beyond the three members.
func TestHeaderExtras(t *testing.T) {
	key, foreign := newKey(t, accesstoken.ES256), newKey(t, accesstoken.ES256)
	with := func(k issuerKey, extra string) string {
		return k.sign(t, strings.Replace(key.header(), "}", ","+extra+"}", 1), payload(t, nil))
	}
	jwk, err := foreign.Public().MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	attacks := []attack{
		{"A8 crit unknown", with(key, `"crit":["exp"],"exp":1`), accesstoken.ErrMalformed},
		{"A8 crit b64", with(key, `"crit":["b64"],"b64":true`), accesstoken.ErrMalformed},
		{"A8 crit empty", with(key, `"crit":[]`), accesstoken.ErrMalformed},
		{"A8 crit null", with(key, `"crit":null`), accesstoken.ErrMalformed},
		{"A8 crit string", with(key, `"crit":"b64"`), accesstoken.ErrMalformed},
		{"A8 Crit is another member", with(key, `"Crit":["b64"]`), nil},
		{"A9 jwk of the attacker", with(foreign, `"jwk":`+string(jwk)), accesstoken.ErrSignature},
		{"A9 x5c of the attacker", with(foreign, `"x5c":["MIIB"]`), accesstoken.ErrSignature},
		{"A9 jku of the attacker", with(foreign, `"jku":"https://evil.example.com/jwks"`), accesstoken.ErrSignature},
		{"A9 ignored in a genuine token", with(key, `"jwk":`+string(jwk)+`,"jku":"x","x5u":"y","x5c":[],"zip":"DEF"`), nil},
	}
	for name, kid := range map[string]string{
		"path": `"../../../../dev/null"`, "SQL": `"' OR 1=1 --"`, "NUL": `"\u0000"`, "URL": `"https://evil.example.com"`,
		"large": `"` + strings.Repeat("k", 8<<10) + `"`, "of a stranger": `"` + foreign.KeyID() + `"`,
		"in another case": `"` + strings.ToUpper(key.KeyID()) + `"`, "with space": `"` + key.KeyID() + ` "`,
	} {
		header := `{"typ":"at+jwt","alg":"ES256","kid":` + kid + `}`
		attacks = append(attacks, attack{"A17 kid " + name, key.sign(t, header, payload(t, nil)), accesstoken.ErrUnknownKey})
	}
	for name, kid := range map[string]string{
		"empty": `""`, "null": `null`, "number": `1`, "array": `["` + key.KeyID() + `"]`,
		"of 1 MB": `"` + strings.Repeat("k", 1<<20) + `"`,
	} {
		header := `{"typ":"at+jwt","alg":"ES256","kid":` + kid + `}`
		attacks = append(attacks, attack{"A17 kid " + name, key.sign(t, header, payload(t, nil)), accesstoken.ErrMalformed})
	}
	run(t, attacks, key)
}

// Tokens that no key can make acceptable cause no look-up: it may be a fetch.
func TestMalformedTokensLookUpNothing(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	good := key.sign(t, key.header(), payload(t, nil))
	for _, token := range []string{
		"", "..", good + ".", good + "=", strings.Repeat("a", accesstoken.MaxSize+1),
		key.sign(t, `{"typ":"JWT","alg":"ES256","kid":"x"}`, "{}"),
		key.sign(t, `{"typ":"at+jwt","alg":"none","kid":"x"}`, "{}"),
		key.sign(t, `{"typ":"at+jwt","alg":"ES256","kid":"x","crit":["x"]}`, "{}"),
		key.sign(t, `{"typ":"at+jwt","alg":"ES256"}`, "{}"),
	} {
		_, err := accesstoken.Verify(token, func(string) (accesstoken.PublicKey, bool) {
			t.Errorf("look-up for %.40q", token)
			return accesstoken.PublicKey{}, false
		}, expectation())
		if !errors.Is(err, accesstoken.ErrMalformed) {
			t.Errorf("%.40q: %v, want ErrMalformed", token, err)
		}
	}
	// A careless look-up that answers with the zero key opens nothing.
	careless := func(string) (accesstoken.PublicKey, bool) { return accesstoken.PublicKey{}, true }
	if _, err := accesstoken.Verify(good, careless, expectation()); !errors.Is(err, accesstoken.ErrUnknownKey) {
		t.Errorf("zero key: %v, want ErrUnknownKey", err)
	}
}

// A10, A11, A19: one form, one spelling, bounded.
func TestForm(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	good := key.sign(t, key.header(), payload(t, nil))
	s := strings.Split(good, ".")
	join := func(segments ...string) string { return strings.Join(segments, ".") }
	swap := strings.NewReplacer("-", "+", "_", "/")

	attacks := []attack{
		{"good", good, nil},
		{"A10 empty", "", accesstoken.ErrMalformed},
		{"A10 one segment", s[0], accesstoken.ErrMalformed},
		{"A10 two segments", join(s[0], s[1]), accesstoken.ErrMalformed},
		{"A10 four segments", good + ".", accesstoken.ErrMalformed},
		{"A10 leading dot", "." + good, accesstoken.ErrMalformed},
		{"A10 JWE", join(s[0], s[1], s[2], s[0], s[1]), accesstoken.ErrMalformed},
		{"A10 JSON flattened", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, s[0], s[1], s[2]), accesstoken.ErrMalformed},
		{"A10 JSON general", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, s[1], s[0], s[2]), accesstoken.ErrMalformed},
		{"A10 empty header", join("", s[1], s[2]), accesstoken.ErrMalformed},
		{"A10 empty payload", join(s[0], "", s[2]), accesstoken.ErrSignature},
		{"A10 empty payload, signed", key.signSegments(t, s[0]+"."), accesstoken.ErrClaims},
		{"A10 scheme left in", "Bearer " + good, accesstoken.ErrMalformed},
		{"A11 space after", good + " ", accesstoken.ErrMalformed},
		{"A11 line feed after", good + "\n", accesstoken.ErrMalformed},
		{"A11 other payload alphabet", join(s[0], swap.Replace(s[1])+"+", s[2]), accesstoken.ErrMalformed},
		{"A19 too large", good + strings.Repeat("A", accesstoken.MaxSize), accesstoken.ErrMalformed},
		{"A19 deep header", key.sign(t, strings.Replace(key.header(), "}", `,"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+"}", 1), payload(t, nil)), accesstoken.ErrMalformed},
		{"A19 deep payload", key.sign(t, key.header(), payload(t, map[string]any{"x": raw(strings.Repeat("[", 99) + strings.Repeat("]", 99))})), accesstoken.ErrClaims},
	}
	for i, segment := range []string{"header", "payload", "signature"} {
		for name, change := range map[string]func(string) string{
			"padded":          func(s string) string { return s + "=" },
			"padded twice":    func(s string) string { return s + "==" },
			"with space":      func(s string) string { return s[:4] + " " + s[4:] },
			"with line feed":  func(s string) string { return s[:4] + "\n" + s[4:] },
			"with return":     func(s string) string { return s[:4] + "\r" + s[4:] },
			"ending in CR LF": func(s string) string { return s + "\r\n" },
			"with plus":       func(s string) string { return s[:4] + "+" + s[5:] },
			"with slash":      func(s string) string { return s[:4] + "/" + s[5:] },
			"with NUL":        func(s string) string { return s[:4] + "\x00" + s[5:] },
			"with é":          func(s string) string { return s[:4] + "é" + s[5:] },
		} {
			changed := append([]string(nil), s...)
			changed[i] = change(s[i])
			attacks = append(attacks, attack{"A11 " + segment + " " + name, join(changed...), accesstoken.ErrMalformed})
			if i < 2 { // and with a right signature over the wrong spelling
				attacks = append(attacks, attack{"A11 " + segment + " " + name + ", signed",
					key.signSegments(t, changed[0]+"."+changed[1]), accesstoken.ErrMalformed})
			}
		}
	}
	run(t, attacks, key)
}

// A11: spare bits of the last character. Without this check every token has
// several spellings, and a deny-list of spellings is worth nothing.
func TestSpareBits(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	key := newKey(t, accesstoken.ES256)
	good := key.sign(t, key.header(), payload(t, nil))
	// 64 bytes leave two characters for the last one: four spare bits.
	last := strings.IndexByte(alphabet, good[len(good)-1])
	for bits := 1; bits < 16; bits++ {
		token := good[:len(good)-1] + string(alphabet[last+bits])
		if _, err := accesstoken.Verify(token, lookup(key), expectation()); !errors.Is(err, accesstoken.ErrMalformed) {
			t.Errorf("spare bits %04b: %v, want ErrMalformed", bits, err)
		}
	}
}

// A12: documents that two readers would read differently.
func TestAmbiguousJSON(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	plain := payload(t, nil)
	head := func(from, to string) string {
		return key.sign(t, strings.Replace(key.header(), from, to, 1), plain)
	}
	body := func(prefix string) string { return key.sign(t, key.header(), prefix+plain[1:]) }
	attacks := []attack{
		{"A12 alg twice", head(`"alg"`, `"alg":"none","alg"`), accesstoken.ErrMalformed},
		{"A12 alg twice by escape", head(`"alg"`, `"\u0061lg":"none","alg"`), accesstoken.ErrMalformed},
		{"A12 Alg besides alg", head(`"alg"`, `"Alg":"none","alg"`), nil},
		{"A12 alg then ALG", head(`"kid"`, `"ALG":"none","kid"`), nil},
		{"A12 Alg only", head(`"alg"`, `"Alg"`), accesstoken.ErrMalformed},
		{"A12 Typ only", head(`"typ"`, `"Typ"`), accesstoken.ErrMalformed},
		{"A12 KID only", head(`"kid"`, `"KID"`), accesstoken.ErrMalformed},
		{"A12 sub twice", body(`{"sub":"root",`), accesstoken.ErrClaims},
		{"A12 exp twice", body(`{"exp":9999999999,`), accesstoken.ErrClaims},
		{"A12 unknown twice", body(`{"SECRET":1,"SECRET":1,`), accesstoken.ErrClaims},
		{"A12 nested twice", body(`{"x":{"a":1,"a":2},`), accesstoken.ErrClaims},
		{"A12 ISS instead of iss", key.sign(t, key.header(), strings.Replace(plain, `"iss"`, `"ISS"`, 1)), accesstoken.ErrClaims},
		{"A12 trailing data", key.sign(t, key.header(), plain+"{}"), accesstoken.ErrClaims},
		{"A12 not an object", key.sign(t, key.header(), `["iss"]`), accesstoken.ErrClaims},
		{"A12 null", key.sign(t, key.header(), `null`), accesstoken.ErrClaims},
		{"A12 header null", key.sign(t, `null`, plain), accesstoken.ErrMalformed},
		{"A12 invalid UTF-8", key.sign(t, key.header(), strings.Replace(plain, "01JAZ", "\xff", 1)), accesstoken.ErrClaims},
		{"A12 byte order mark", key.sign(t, key.header(), "\ufeff"+plain), accesstoken.ErrClaims},
	}
	run(t, attacks, key)

	// Another case is another claim, and does not win.
	token := key.sign(t, key.header(), strings.TrimSuffix(plain, "}")+`,"SUB":"root","Roles":["admin"]}`)
	claims, err := accesstoken.Verify(token, lookup(key), expectation())
	if err != nil || claims.Subject != "01JAZ4T9W7" || claims.Roles != nil {
		t.Errorf("claims = %+v, %v", claims, err)
	}
}

// A14: the signature of ES256 is 64 bytes with both halves in range.
func TestSignatureForm(t *testing.T) {
	key := newKey(t, accesstoken.ES256)
	good := key.sign(t, key.header(), payload(t, nil))
	signed := good[:strings.LastIndexByte(good, '.')]
	signature, err := base64.RawURLEncoding.DecodeString(good[len(signed)+1:])
	if err != nil {
		t.Fatal(err)
	}
	with := func(signature []byte) string {
		return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	order, err := base64.StdEncoding.DecodeString("/////wAAAAD//////////7zm+q2nF56E87nKwvxjJVE=")
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 32)
	r, s := signature[:32], signature[32:]
	cat := func(parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	flipped := cat(signature)
	flipped[63] ^= 1
	attacks := []attack{
		{"A14 DER", key.der(t, key.header(), payload(t, nil)), accesstoken.ErrSignature},
		{"A14 63 bytes", with(signature[:63]), accesstoken.ErrSignature},
		{"A14 65 bytes", with(cat(signature, []byte{0})), accesstoken.ErrSignature},
		{"A14 leading zeros", with(cat([]byte{0}, r, []byte{0}, s)), accesstoken.ErrSignature},
		{"A14 psychic", with(cat(zero, zero)), accesstoken.ErrSignature},
		{"A14 r zero", with(cat(zero, s)), accesstoken.ErrSignature},
		{"A14 s zero", with(cat(r, zero)), accesstoken.ErrSignature},
		{"A14 r is the order", with(cat(order, s)), accesstoken.ErrSignature},
		{"A14 s is the order", with(cat(r, order)), accesstoken.ErrSignature},
		{"A14 r and s swapped", with(cat(s, r)), accesstoken.ErrSignature},
		{"A14 one bit", with(flipped), accesstoken.ErrSignature},
		{"A14 P-384 size", with(cat(signature, zero)), accesstoken.ErrSignature},
		{"A14 of other claims", b64(key.header()) + "." + b64(payload(t, map[string]any{"sub": "root"})) + "." + good[len(signed)+1:], accesstoken.ErrSignature},
	}
	run(t, attacks, key)

	ed := newKey(t, accesstoken.EdDSA)
	good = ed.sign(t, ed.header(), payload(t, nil))
	attacks = nil
	for _, n := range []int{0, 63, 65, 66, 128} {
		signature := make([]byte, n)
		attacks = append(attacks, attack{fmt.Sprintf("EdDSA %d bytes", n),
			good[:strings.LastIndexByte(good, '.')+1] + base64.RawURLEncoding.EncodeToString(signature), accesstoken.ErrSignature})
	}
	run(t, attacks, ed)
}

// A header that was read before, because the token before had the same, opens nothing:
// key, signature and kind are looked at each time.
func TestHeaderSeenBefore(t *testing.T) {
	key, other := newKey(t, accesstoken.ES256), newKey(t, accesstoken.ES256)
	good := key.sign(t, key.header(), payload(t, nil))
	untyped := strings.Replace(key.header(), `"typ":"at+jwt",`, "", 1)
	verify := func(token string, keys func(string) (accesstoken.PublicKey, bool)) error {
		t.Helper()
		if _, err := accesstoken.Verify(good, lookup(key), expectation()); err != nil {
			t.Fatal(err)
		}
		_, err := accesstoken.Verify(token, keys, expectation())
		return err
	}
	changed := newKey(t, accesstoken.RS256).Public()
	for name, tried := range map[string]struct {
		token string
		keys  func(string) (accesstoken.PublicKey, bool)
		want  error
	}{
		"once more":              {good, lookup(key), nil},
		"another key":            {other.sign(t, other.header(), payload(t, nil)), lookup(other), nil},
		"signed by another":      {other.sign(t, key.header(), payload(t, nil)), lookup(key), accesstoken.ErrSignature},
		"the key is gone":        {good, lookup(other), accesstoken.ErrUnknownKey},
		"its algorithm differs":  {good, func(string) (accesstoken.PublicKey, bool) { return changed, true }, accesstoken.ErrSignature},
		"its beginning":          {good[:10] + good[strings.IndexByte(good, '.'):], lookup(key), accesstoken.ErrMalformed},
		"more than it":           {"e30" + good, lookup(key), accesstoken.ErrMalformed},
		"one of another kind":    {key.sign(t, untyped, payload(t, nil)), lookup(key), accesstoken.ErrMalformed},
		"unsigned, and the same": {good[:strings.LastIndexByte(good, '.')+1], lookup(key), accesstoken.ErrSignature},
	} {
		if err := verify(tried.token, tried.keys); !errors.Is(err, tried.want) {
			t.Errorf("%s: %v, want %v", name, err, tried.want)
		}
	}
	// The other way round: what counts where no kind is asked for is not an access token.
	token := key.sign(t, untyped, payload(t, nil))
	if _, err := accesstoken.VerifyJWS(token, lookup(key)); err != nil {
		t.Fatal(err)
	}
	if _, err := accesstoken.Verify(token, lookup(key), expectation()); !errors.Is(err, accesstoken.ErrMalformed) {
		t.Errorf("a token of no kind: %v", err)
	}
}
