package accesstoken_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

func TestSignedTokenVerifies(t *testing.T) {
	for _, alg := range algorithms {
		key := newKey(t, alg)
		token, err := accesstoken.Sign(key.SigningKey, fullClaims())
		if err != nil {
			t.Fatal(err)
		}
		got, err := accesstoken.Verify(token, lookup(key), expectation())
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if want := fullClaims(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", alg, got, want)
		}
	}
}

// The bytes that other people's verifiers will see (RFC 9068 §2).
func TestTokenOnTheWire(t *testing.T) {
	key := fixedKeys(t)[0]
	decode := func(c accesstoken.Claims) (header, payload string) {
		token, err := accesstoken.Sign(key.SigningKey, c)
		if err != nil {
			t.Fatal(err)
		}
		segments := strings.Split(token, ".")
		for i, into := range []*string{&header, &payload} {
			text, err := base64.RawURLEncoding.DecodeString(segments[i])
			if err != nil {
				t.Fatal(err)
			}
			*into = string(text)
		}
		return header, payload
	}

	header, payload := decode(fullClaims())
	if want := `{"typ":"at+jwt","alg":"ES256","kid":"` + key.KeyID() + `"}`; header != want {
		t.Errorf("header = %s, want %s", header, want)
	}
	want := `{"iss":"https://auth.example.com","sub":"01JAZ4T9W7","aud":"https://api.example.com","exp":1800000900,` +
		`"iat":1800000000,"jti":"5qYxQ0sT8gk","client_id":"web","sid":"Kx3vPq9bRzqg7dY1","auth_time":1799996400,` +
		`"amr":["pwd"],"epoch":"AAAAAAAAAAA","username":"ada","email":"ada@example.com","roles":["admin"],` +
		`"permissions":["mail:read","mail:send"]}`
	if payload != want {
		t.Errorf("payload =\n%s, want\n%s", payload, want)
	}

	// What is not there is left out, and two audiences are an array.
	_, payload = decode(accesstoken.Claims{
		Issuer: issuer, Audience: []string{"a", "b"}, Subject: "s", ID: "j", ClientID: "c",
		IssuedAt: start().Add(999 * time.Millisecond), ExpiresAt: start().Add(1900 * time.Millisecond),
		Roles: []string{},
	})
	want = `{"iss":"https://auth.example.com","sub":"s","aud":["a","b"],"exp":1800000001,"iat":1800000000,"jti":"j","client_id":"c"}`
	if payload != want {
		t.Errorf("payload =\n%s, want\n%s", payload, want)
	}
}

func TestSignRefuses(t *testing.T) {
	key := newKey(t, accesstoken.EdDSA)
	for name, change := range map[string]func(*accesstoken.Claims){
		"no issuer":           func(c *accesstoken.Claims) { c.Issuer = "" },
		"no audience":         func(c *accesstoken.Claims) { c.Audience = nil },
		"empty audience":      func(c *accesstoken.Claims) { c.Audience = []string{audience, ""} },
		"no subject":          func(c *accesstoken.Claims) { c.Subject = "" },
		"no id":               func(c *accesstoken.Claims) { c.ID = "" },
		"no client":           func(c *accesstoken.Claims) { c.ClientID = "" },
		"no issue time":       func(c *accesstoken.Claims) { c.IssuedAt = time.Time{} },
		"no expiry":           func(c *accesstoken.Claims) { c.ExpiresAt = time.Time{} },
		"expiry before 1970":  func(c *accesstoken.Claims) { c.ExpiresAt = time.Unix(-1, 0) },
		"expiry in year 9999": func(c *accesstoken.Claims) { c.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"auth before 1970":    func(c *accesstoken.Claims) { c.AuthTime = time.Unix(-1, 0) },
		"subject not UTF-8":   func(c *accesstoken.Claims) { c.Subject = "ada\xff" },
		"role not UTF-8":      func(c *accesstoken.Claims) { c.Roles = []string{"\xff"} },
		"too large":           func(c *accesstoken.Claims) { c.Roles = []string{strings.Repeat("r", accesstoken.MaxSize)} },
	} {
		claims := fullClaims()
		change(&claims)
		if token, err := accesstoken.Sign(key.SigningKey, claims); !errors.Is(err, accesstoken.ErrClaims) || token != "" {
			t.Errorf("%s: Sign = %q, %v, want ErrClaims", name, token, err)
		}
	}
}

// The largest token that Sign makes is one that Verify takes.
func TestSizeLimitIsShared(t *testing.T) {
	key := newKey(t, accesstoken.EdDSA)
	largest := 0
	for n := accesstoken.MaxSize / 2; n < accesstoken.MaxSize; n++ {
		claims := fullClaims()
		claims.Roles = []string{strings.Repeat("r", n)}
		token, err := accesstoken.Sign(key.SigningKey, claims)
		if err != nil {
			break
		}
		largest = len(token)
		if largest < accesstoken.MaxSize-8 {
			n += (accesstoken.MaxSize - 8 - largest) * 3 / 4
			continue
		}
		if _, err := accesstoken.Verify(token, lookup(key), expectation()); err != nil {
			t.Fatalf("%d bytes: %v", len(token), err)
		}
	}
	if largest < accesstoken.MaxSize-2 {
		t.Errorf("largest token has %d bytes", largest)
	}
}

// Any claims that can be signed come back as they were.
func TestClaimsRoundTrip(t *testing.T) {
	keys := fixedKeys(t)
	keys = append(keys, newKey(t, accesstoken.RS256))
	known := lookup(keys...)

	text := rapid.String().Filter(func(s string) bool { return s != "" && s == strings.ToValidUTF8(s, "") })
	list := rapid.Custom(func(t *rapid.T) []string {
		return rapid.SliceOfN(rapid.String().Filter(func(s string) bool { return s == strings.ToValidUTF8(s, "") }), 1, 5).Draw(t, "list")
	})
	moment := rapid.Map(rapid.Int64Range(0, 253402300799), func(s int64) time.Time { return time.Unix(s, 0).UTC() })
	perhaps := func(t *rapid.T, label string) bool { return rapid.Bool().Draw(t, label) }

	rapid.Check(t, func(t *rapid.T) {
		want := accesstoken.Claims{
			Issuer: text.Draw(t, "iss"), Audience: rapid.SliceOfN(text, 1, 3).Draw(t, "aud"),
			Subject: text.Draw(t, "sub"), ID: text.Draw(t, "jti"), ClientID: text.Draw(t, "client"),
			IssuedAt: moment.Draw(t, "iat"), ExpiresAt: moment.Draw(t, "exp"),
		}
		if perhaps(t, "more") {
			want.SessionID, want.Epoch = text.Draw(t, "sid"), text.Draw(t, "epoch")
			want.Username, want.Email = text.Draw(t, "username"), text.Draw(t, "email")
			want.AuthTime = moment.Draw(t, "auth_time")
		}
		if perhaps(t, "lists") {
			want.AuthMethods, want.Roles, want.Permissions = list.Draw(t, "amr"), list.Draw(t, "roles"), list.Draw(t, "perms")
		}
		token, err := accesstoken.Sign(rapid.SampledFrom(keys).Draw(t, "key").SigningKey, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := accesstoken.Verify(token, known, accesstoken.Expectation{
			Issuer: want.Issuer, Audience: rapid.SampledFrom(want.Audience).Draw(t, "expected"),
			Now: want.ExpiresAt.Add(-time.Nanosecond),
		})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("\n got %+v\nwant %+v", got, want)
		}
	})
}

// FuzzParse feeds whole tokens. What passes was signed: its first two segments
// are those of a seed, because nobody else has the keys.
func FuzzParse(f *testing.F) {
	keys := fixedKeys(f)
	signed := map[string]bool{}
	for _, key := range keys {
		// Ed25519 and the text below are deterministic, so that the corpus stays valid.
		for _, header := range []string{key.header(), strings.Replace(key.header(), "at+jwt", "application/at+jwt", 1)} {
			token := key.sign(f, header, payload(f, nil))
			signed[token[:strings.LastIndexByte(token, '.')]] = true
			f.Add(token)
		}
		f.Add(key.sign(f, `{"typ":"JWT","alg":"none"}`, payload(f, nil)))
		f.Add(key.sign(f, key.header(), `{"iss":1e400,"ISS":[],"aud":{}}`))
	}
	f.Add("..")
	f.Add("a.b.c")
	f.Add(b64(`{"typ":"at+jwt","alg":"ES256","kid":"x","crit":["b64"]}`) + "." + b64("{}") + ".AA")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := accesstoken.Verify(token, lookup(keys...), expectation())
		if err != nil {
			if !reflect.DeepEqual(claims, accesstoken.Claims{}) {
				t.Errorf("claims %+v beside the error %v", claims, err)
			}
			return
		}
		if !signed[token[:strings.LastIndexByte(token, '.')]] {
			t.Fatalf("a token that nobody signed passes: %q", token)
		}
	})
}

// FuzzClaims signs whatever it is given, as a faulty issuer would. What passes
// must mean the same when it is written again.
func FuzzClaims(f *testing.F) {
	key := fixedKeys(f)[1]
	f.Add(payload(f, nil))
	f.Add(payload(f, map[string]any{"aud": []string{audience, "x"}, "exp": raw("1.8000009e9"), "nbf": 0, "roles": nil}))
	f.Add(payload(f, map[string]any{"roles": []string{"admin"}, "amr": []string{}, "auth_time": 1, "extra": map[string]any{}}))
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := accesstoken.Verify(key.sign(t, key.header(), text), lookup(key), expectation())
		if err != nil {
			return
		}
		var lenient map[string]any
		if err := json.Unmarshal([]byte(text), &lenient); err != nil || lenient["sub"] != claims.Subject {
			t.Fatalf("%q is read as subject %q, and by others as %v (%v)", text, claims.Subject, lenient["sub"], err)
		}
		token, err := accesstoken.Sign(key.SigningKey, claims)
		if err != nil {
			t.Fatalf("claims that passed cannot be signed: %v", err)
		}
		again, err := accesstoken.Verify(token, lookup(key), expectation())
		if err != nil {
			t.Fatal(err)
		}
		// An empty list is left out when written.
		for _, list := range []*[]string{&claims.AuthMethods, &claims.Roles, &claims.Permissions} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		if !reflect.DeepEqual(again, claims) {
			t.Fatalf("\nread  %+v\nagain %+v", claims, again)
		}
	})
}
