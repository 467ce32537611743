package innkeeper

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Two fixed root keys, the ones of testdata/refreshtoken.txt.
const (
	firstRoot  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	secondRoot = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
)

func ringOf(t rapid.TB, texts ...string) rootkey.Ring {
	t.Helper()
	keys := make([]*rootkey.Key, len(texts))
	for i, text := range texts {
		key, err := rootkey.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	ring, err := rootkey.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// sampleSecret is what no printer may show.
func sampleSecret() secret {
	var s secret
	for i := range s {
		s[i] = byte(0xc0 + i)
	}
	return s
}

func sampleToken(t rapid.TB) RefreshToken {
	t.Helper()
	session := Session{ID: SessionID{1, 2, 3}, Delivery: DeliverByBody, Generation: 7, RefreshExpiresAt: noon}
	return mint(ringOf(t, firstRoot).Active(), &session, sampleSecret())
}

func mustParse(t rapid.TB, ring rootkey.Ring, text string) RefreshToken {
	t.Helper()
	token, err := ParseRefreshToken(ring, text)
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return token
}

// wantInvalid checks that a text is refused with the one error that row 1 knows,
// and that nothing of it comes back.
func wantInvalid(t rapid.TB, ring rootkey.Ring, what, text string) {
	t.Helper()
	token, err := ParseRefreshToken(ring, text)
	if !errors.Is(err, ErrRefreshTokenInvalid) || token.Reveal() != "" || token.SessionID() != (SessionID{}) {
		t.Errorf("%s: accepted, or not refused as invalid: %v", what, err)
	}
}

// same reports whether two tokens agree in all that they say.
func (t RefreshToken) same(other RefreshToken) bool {
	return t.Reveal() == other.Reveal() && t.SessionID() == other.SessionID() && t.Generation() == other.Generation() &&
		t.Delivery() == other.Delivery() && t.ExpiresAt().Equal(other.ExpiresAt()) &&
		t.rootKey == other.rootKey && t.ratchet() == other.ratchet()
}

// vector is one line of testdata/refreshtoken.txt.
type vector []string

func (v vector) bytes(t *testing.T, i int) []byte {
	t.Helper()
	raw, err := hex.DecodeString(v[i])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (v vector) number(t *testing.T, i int) int64 {
	t.Helper()
	n, err := strconv.ParseInt(v[i], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// vectors reads the lines of one kind.
func vectors(t *testing.T, kind string, fields int) []vector {
	t.Helper()
	file, err := os.Open("testdata/refreshtoken.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var found []vector
	for lines := bufio.NewScanner(file); lines.Scan(); {
		v := vector(strings.Fields(lines.Text()))
		if len(v) == 0 || v[0] != kind {
			continue
		}
		if len(v) != fields+1 {
			t.Fatalf("%s has %d fields, want %d", v, len(v)-1, fields)
		}
		found = append(found, v[1:])
	}
	if len(found) == 0 {
		t.Fatalf("there are no %s lines", kind)
	}
	return found
}

func vectorRings(t *testing.T) map[string]rootkey.Ring {
	t.Helper()
	rings := make(map[string]rootkey.Ring)
	for _, v := range vectors(t, "root", 2) {
		rings[v[0]] = ringOf(t, v[1])
	}
	return rings
}

// Tokens that were handed out must be understood by every later version.
func TestRefreshTokenVectors(t *testing.T) {
	rings := vectorRings(t)
	for _, v := range vectors(t, "token", 7) {
		ring, text := rings[v[0]], v[6]
		session := Session{
			ID: SessionID(v.bytes(t, 2)), Delivery: Delivery(v[1]), Generation: uint32(v.number(t, 3)),
			RefreshExpiresAt: time.Unix(v.number(t, 4), 0),
		}
		if got := mint(ring.Active(), &session, secret(v.bytes(t, 5))); got.Reveal() != text {
			t.Errorf("mint:\ngot  %s\nwant %s", got.Reveal(), text)
		}
		got := mustParse(t, ring, text)
		switch {
		case got.SessionID() != session.ID, got.Delivery() != session.Delivery,
			got.Generation() != session.Generation, !got.ExpiresAt().Equal(session.RefreshExpiresAt),
			got.ratchet() != secret(v.bytes(t, 5)), got.rootKey != ring.Active().ID():
			t.Errorf("parse %s:\ngot  %s, %s, generation %d, expires %s", text,
				got.SessionID(), got.Delivery(), got.Generation(), got.ExpiresAt())
		}
	}
}

// The ratchet is a format too: a replay across an upgrade must find the successor.
func TestSuccessorVectors(t *testing.T) {
	rings := vectorRings(t)
	for _, v := range vectors(t, "successor", 6) {
		got := successorSecret(rings[v[0]].Active(), Salt(v.bytes(t, 1)), SessionID(v.bytes(t, 2)),
			uint32(v.number(t, 3)), secret(v.bytes(t, 4)))
		if want := secret(v.bytes(t, 5)); got != want {
			t.Errorf("%v: got %x, want %x", v, got, want)
		}
	}
}

// What is minted parses to what went in, and prints back to the same bytes.
func TestRefreshTokenRoundTrip(t *testing.T) {
	ring := ringOf(t, firstRoot, secondRoot)
	rapid.Check(t, func(t *rapid.T) {
		session := Session{
			ID:               SessionID(bytesOf(t, "session", 16)),
			Delivery:         rapid.SampledFrom([]Delivery{DeliverByCookie, DeliverByBody}).Draw(t, "delivery"),
			Generation:       rapid.Uint32().Draw(t, "generation"),
			RefreshExpiresAt: time.Unix(rapid.Int64Range(0, maxExpires).Draw(t, "expires"), 0),
		}
		key := rapid.SampledFrom(ring.All()).Draw(t, "key index")
		s := secret(bytesOf(t, "secret", 32))
		minted := mint(key, &session, s)
		if len(minted.Reveal()) != 106 {
			t.Errorf("it has %d characters, want 106", len(minted.Reveal()))
		}
		parsed := mustParse(t, ring, minted.Reveal())
		if !parsed.same(minted) {
			t.Errorf("the parsed token is not the minted one")
		}
		if !mint(key, &session, s).same(minted) {
			t.Errorf("minted twice, two tokens")
		}
		other := rapid.SampledFrom([]string{firstRoot, secondRoot}).Draw(t, "other ring")
		alone := ringOf(t, other)
		if _, err := ParseRefreshToken(alone, minted.Reveal()); (err == nil) != (alone.Active().ID() == key.ID()) {
			t.Errorf("a ring of one key judges a token of key %x: %v", key.ID(), err)
		}
	})
}

func bytesOf(t *rapid.T, label string, n int) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label)
}

// An expiry that the format cannot express is cut to the nearest that it can.
func TestRefreshTokenExpiryIsBounded(t *testing.T) {
	key := ringOf(t, firstRoot).Active()
	for stored, want := range map[int64]int64{
		-1: 0, 0: 0, 1: 1, 1<<32 - 1: 1<<32 - 1, 1 << 32: 1 << 32, maxExpires: maxExpires, maxExpires + 1: maxExpires,
	} {
		session := Session{Delivery: DeliverByCookie, RefreshExpiresAt: time.Unix(stored, 0)}
		token := mint(key, &session, secret{})
		if got := token.ExpiresAt().Unix(); got != want {
			t.Errorf("expires %d: minted as %d, want %d", stored, got, want)
		}
		if parsed := mustParse(t, ringOf(t, firstRoot), token.Reveal()); !parsed.same(token) {
			t.Errorf("expires %d: parsed as %s", stored, parsed.ExpiresAt())
		}
	}
}

// TestRefreshTokenHasNoTamperedCopy holds T20: nobody makes a token of another session out
// of their own, to end that.
func TestRefreshTokenHasNoTamperedCopy(t *testing.T) {
	ring, text := ringOf(t, firstRoot), sampleToken(t).Reveal()
	raw, err := base64.RawURLEncoding.DecodeString(text[4:])
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(raw) {
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		wantInvalid(t, ring, fmt.Sprintf("bit %d of the content flipped", bit),
			RefreshTokenPrefix+base64.RawURLEncoding.EncodeToString(flipped))
	}
	for bit := range 8 * len(text) {
		flipped := []byte(text)
		flipped[bit/8] ^= 1 << (bit % 8)
		wantInvalid(t, ring, fmt.Sprintf("bit %d of the text flipped", bit), string(flipped))
	}
	for n := range len(text) {
		wantInvalid(t, ring, fmt.Sprintf("cut to %d characters", n), text[:n])
		wantInvalid(t, ring, fmt.Sprintf("without the first %d characters", n+1), text[n+1:])
		wantInvalid(t, ring, fmt.Sprintf("without character %d", n), text[:n]+text[n+1:])
	}
}

func TestRefreshTokenHasOneSpelling(t *testing.T) {
	ring := ringOf(t, firstRoot)
	// A token with a character that standard and URL base64 spell differently.
	session := Session{Delivery: DeliverByCookie, RefreshExpiresAt: noon}
	token := mint(ring.Active(), &session, secret{2: 0xff, 0xff, 0xff, 0xfb, 0xef, 0xbe})
	text := token.Reveal()
	body := text[len(RefreshTokenPrefix):]
	if !strings.Contains(body, "_") || !strings.Contains(body, "-") {
		t.Fatalf("%s has not both of _ and -", body)
	}
	for what, other := range map[string]string{
		"nothing":                    "",
		"the prefix alone":           RefreshTokenPrefix,
		"no prefix":                  body,
		"prefix in capitals":         "IKR_" + body,
		"prefix twice":               RefreshTokenPrefix + text,
		"another prefix":             "ikx_" + body,
		"padding":                    text + "==",
		"a pad in place of a letter": text[:len(text)-1] + "=",
		"standard alphabet":          RefreshTokenPrefix + strings.NewReplacer("-", "+", "_", "/").Replace(body),
		"a leading space":            " " + text,
		"a trailing space":           text + " ",
		"a trailing line feed":       text + "\n",
		"a trailing NUL":             text + "\x00",
		"quotes":                     `"` + text + `"`,
		"the token twice":            text + text,
		"the token, a comma, itself": text + "," + text,
		"hexadecimal":                RefreshTokenPrefix + hex.EncodeToString([]byte(body)),
	} {
		wantInvalid(t, ring, what, other)
	}
	// The decoder of the standard library skips line breaks: they must not get there,
	// not even where the length stays right.
	for _, lineBreak := range []string{"\n", "\r"} {
		for i := range len(body) + 1 {
			wantInvalid(t, ring, "a line break put in", RefreshTokenPrefix+body[:i]+lineBreak+body[i:])
			if i < len(body) {
				wantInvalid(t, ring, "a line break in place of a letter", RefreshTokenPrefix+body[:i]+lineBreak+body[i+1:])
				wantInvalid(t, ring, "line breaks in place of the rest", RefreshTokenPrefix+body[:i]+strings.Repeat(lineBreak, len(body)-i))
			}
		}
	}
	// 76 bytes fill 102 characters and leave four bits over. They are zero.
	for c := range 256 {
		if other := text[:len(text)-1] + string([]byte{byte(c)}); other != text {
			wantInvalid(t, ring, fmt.Sprintf("another last letter: %d", c), other)
		}
	}
	if !mustParse(t, ring, text).same(token) {
		t.Error("the one spelling does not parse")
	}
}

// A tag proves who made a token, and not that this server understands it: flags
// of a newer server are refused.
func TestRefreshTokenFlagsOfANewerServer(t *testing.T) {
	key := ringOf(t, firstRoot).Active()
	for flags := range 256 {
		raw := tagged(key, make([]byte, offsetTag), byte(flags))
		_, err := ParseRefreshToken(ringOf(t, firstRoot), spell(raw))
		if known := flags <= 1; (err == nil) != known {
			t.Errorf("flags %08b: %v", flags, err)
		}
	}
}

func TestRefreshTokenOfAnotherRootKey(t *testing.T) {
	text := sampleToken(t).Reveal()
	wantInvalid(t, ringOf(t, secondRoot), "a token of a root key that the ring lacks", text)

	// With the other key's ID written over, it is a forgery.
	raw, err := base64.RawURLEncoding.DecodeString(text[4:])
	if err != nil {
		t.Fatal(err)
	}
	id := ringOf(t, secondRoot).Active().ID()
	copy(raw, id[:])
	wantInvalid(t, ringOf(t, firstRoot, secondRoot), "relabeled to another root key", spell(raw))
}

// tagged returns the bytes of a genuine token with the given body, whose root
// key ID and flags are overwritten.
func tagged(key *rootkey.Key, body []byte, flags byte) []byte {
	raw := bytes.Clone(body[:offsetTag])
	id := key.ID()
	copy(raw, id[:])
	raw[offsetFlags] = flags
	return append(raw, tag(key, raw)...)
}

func spell(raw []byte) string {
	return RefreshTokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

func TestRatchet(t *testing.T) {
	first, second := ringOf(t, firstRoot).Active(), ringOf(t, secondRoot).Active()
	rapid.Check(t, func(t *rapid.T) {
		salt, id := Salt(bytesOf(t, "salt", 16)), SessionID(bytesOf(t, "session", 16))
		generation := rapid.Uint32Range(2, maxGeneration).Draw(t, "generation")
		parent := secret(bytesOf(t, "parent", 32))
		successor := successorSecret(first, salt, id, generation, parent)

		if successorSecret(first, salt, id, generation, parent) != successor {
			t.Error("the same parent and row gave two successors: a session can fork")
		}
		otherSalt, otherID, otherParent := salt, id, parent
		otherSalt[rapid.IntRange(0, 15).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		otherID[0] ^= 1
		otherParent[31] ^= 1
		for what, other := range map[string]secret{
			"salt":       successorSecret(first, otherSalt, id, generation, parent),
			"session":    successorSecret(first, salt, otherID, generation, parent),
			"generation": successorSecret(first, salt, id, generation-1, parent),
			"parent":     successorSecret(first, salt, id, generation, otherParent),
			"root key":   successorSecret(second, salt, id, generation, parent),
			"nothing":    parent,
		} {
			if other == successor {
				t.Errorf("another %s gives the same successor", what)
			}
		}
	})
}

// Whoever finds an old token in a log, and has the root key and today's row,
// still lacks the salts in between.
func TestRatchetDoesNotLeadFromAnOldTokenToThePresentOne(t *testing.T) {
	key, id := ringOf(t, firstRoot).Active(), SessionID{1}
	old := sampleSecret()
	lost, kept := newSalt(), newSalt()
	parent := successorSecret(key, lost, id, 2, old)
	present := successorSecret(key, kept, id, 3, parent)
	for _, guess := range []secret{
		successorSecret(key, kept, id, 3, old),
		successorSecret(key, kept, id, 3, successorSecret(key, kept, id, 2, old)),
		successorSecret(key, kept, id, 3, successorSecret(key, Salt{}, id, 2, old)),
	} {
		if guess == present {
			t.Error("the present secret was found without the salt of the rotation before")
		}
	}
}

// Every way in which a program prints things by accident.
func TestRefreshTokenIsRedacted(t *testing.T) {
	token := sampleToken(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08.3f", "%t", "%o", "% x", "%#x"} {
		for what, value := range map[string]any{"a token": token, "a pointer": &token} {
			if got := fmt.Sprintf(verb, value); got != "ikr_[redacted]" {
				t.Errorf("%s of %s prints %q", verb, what, got)
			}
		}
		for what, value := range holders(token) {
			got := fmt.Sprintf(verb, value)
			wantNoSecret(t, verb+" of "+what, got)
			if !strings.Contains(got, "ikr_[redacted]") {
				t.Errorf("%s of %s does not say that it hides something: %s", verb, what, got)
			}
		}
	}
	for name, render := range map[string]func(any) string{
		"Sprint":   func(v any) string { return fmt.Sprint(v) },
		"Sprintln": func(v any) string { return fmt.Sprintln(v) },
		"Errorf":   func(v any) string { return fmt.Errorf("refresh: %v", v).Error() },
		"slog text": func(v any) string {
			var out strings.Builder
			slog.New(slog.NewTextHandler(&out, nil)).Info("refresh", "value", v)
			return out.String()
		},
		"slog JSON": func(v any) string {
			var out strings.Builder
			slog.New(slog.NewJSONHandler(&out, nil)).Info("refresh", "value", v, slog.Group("group", "value", v))
			return out.String()
		},
	} {
		values := holders(token)
		values["a token"], values["a pointer"] = token, &token
		for what, value := range values {
			wantNoSecret(t, name+" of "+what, render(value))
		}
	}
}

func TestRefreshTokenIsRedactedWhenMarshaled(t *testing.T) {
	token := sampleToken(t)
	values := holders(token)
	values["a token"], values["a pointer"] = token, &token
	for what, value := range values {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		wantNoSecret(t, "JSON of "+what, string(encoded))
		if !bytes.Contains(encoded, []byte(`ikr_[redacted]`)) {
			t.Errorf("JSON of %s does not say that it hides something: %s", what, encoded)
		}
	}
	encoded, err := xml.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, "XML", string(encoded))
}

// fmt does not ask the methods of an unexported field, nor those of a value whose
// verb is wrong, and prints what is inside.
func TestRefreshTokenIsRedactedWhereFmtDoesNotAsk(t *testing.T) {
	token := sampleToken(t)
	type handler struct{ token RefreshToken }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		wantNoSecret(t, verb+" of an unexported field", fmt.Sprintf(verb, handler{token}))
		wantNoSecret(t, verb+" of a pointer to one", fmt.Sprintf(verb, &handler{token}))
	}
	for _, verb := range []string{"%p", "%w"} { // vet finds these only where the format is a constant
		wantNoSecret(t, verb, fmt.Sprintf(verb, token))
	}
}

// holders are values that carry a token about.
func holders(token RefreshToken) map[string]any {
	grant := Grant{RefreshToken: token, Session: Session{ID: token.session}}
	return map[string]any{
		"a grant":                &grant,
		"a grant by value":       grant,
		"a slice":                []RefreshToken{token},
		"a map":                  map[string]RefreshToken{"refresh_token": token},
		"a presentation":         []any{token, Presentation{Token: &token}.Token},
		"an interface in a list": []any{token},
		"a struct in a struct":   struct{ Inner struct{ Token RefreshToken } }{struct{ Token RefreshToken }{token}},
	}
}

// wantNoSecret checks that an output holds no part of the sample token from which
// it could be put together again.
func wantNoSecret(t *testing.T, what, output string) {
	t.Helper()
	s := sampleSecret()
	decimal := strings.Trim(fmt.Sprint(s[:8]), "[]")
	hexes := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", s[:8]), "[]byte{"), "}")
	text := sampleToken(t).Reveal()
	for _, needle := range []string{
		text[4:40], text[40:80], base64.StdEncoding.EncodeToString(s[:])[:20], base64.URLEncoding.EncodeToString(s[:])[:20],
		hex.EncodeToString(s[:8]), strings.ToUpper(hex.EncodeToString(s[:8])), hex.EncodeToString([]byte(text[40:60])),
		decimal, hexes,
	} {
		if strings.Contains(output, needle) {
			t.Errorf("%s shows the token, by %q: %.200s", what, needle, output)
			return
		}
	}
}

// What parses prints back to the same bytes, and nothing makes the parser panic.
func FuzzParseRefreshToken(f *testing.F) {
	ring := ringOf(f, firstRoot, secondRoot)
	text := sampleToken(f).Reveal()
	for _, seed := range []string{
		text, text[:105], text + "A", text[4:], "ikr_", "", strings.Repeat("ikr_", 27), text[:50] + "\n" + text[51:],
		"ikr_" + strings.Repeat("A", 102), "ikr_" + strings.Repeat("_", 102),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseRefreshToken(ring, text)
		if err != nil {
			if !errors.Is(err, ErrRefreshTokenInvalid) || token.Reveal() != "" {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		wantSameBytes(t, ring, token, text)
	})
}

// No fuzzer guesses a tag. This one gets it for free, and so comes to what is
// decoded behind it.
func FuzzParseTaggedRefreshToken(f *testing.F) {
	ring := ringOf(f, firstRoot, secondRoot)
	f.Add(make([]byte, offsetTag), false)
	f.Add(bytes.Repeat([]byte{0xff}, offsetTag), true)
	f.Fuzz(func(t *testing.T, body []byte, second bool) {
		if len(body) < offsetTag {
			return
		}
		key := ring.All()[0]
		if second {
			key = ring.All()[1]
		}
		raw := tagged(key, body, body[offsetFlags])
		token, err := ParseRefreshToken(ring, spell(raw))
		if unknown := body[offsetFlags] > 1; (err != nil) != unknown {
			t.Fatalf("flags %08b: %v", body[offsetFlags], err)
		}
		if err == nil {
			wantSameBytes(t, ring, token, spell(raw))
		}
	})
}

// wantSameBytes mints a token anew from what was understood of it.
func wantSameBytes(t *testing.T, ring rootkey.Ring, token RefreshToken, text string) {
	t.Helper()
	key, ok := ring.ByID(token.rootKey)
	if !ok {
		t.Fatal("its root key is not in the ring")
	}
	session := Session{
		ID: token.SessionID(), Delivery: token.Delivery(), Generation: token.Generation(), RefreshExpiresAt: token.ExpiresAt(),
	}
	if again := mint(key, &session, token.ratchet()); !again.same(token) || token.Reveal() != text {
		t.Fatalf("%s prints back as %s", text, again.Reveal())
	}
}

// TestSecretsHave256RandomBits holds T27, and is why nobody counts the guesses at them
// (T26): of some hundred secrets of each kind, each of 256 bits has been both. That one is
// not, by chance, happens once in 2^190 runs.
func TestSecretsHave256RandomBits(t *testing.T) {
	for kind, fresh := range map[string]func() []byte{
		"refresh token": func() []byte { s := newSecret(); return s[:] },
		"service":       func() []byte { return []byte(newServiceSecret(ServiceID{}).secret.reveal()) },
		"webhook":       func() []byte { return newWebhookSecret().Key() },
	} {
		ones, all := make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)
		for range 200 {
			secret := fresh()
			if len(secret) != 32 {
				t.Fatalf("%s: the secret has %d bytes", kind, len(secret))
			}
			for i, b := range secret {
				ones[i] |= b
				all[i] &= b
			}
		}
		if !bytes.Equal(ones, bytes.Repeat([]byte{0xff}, 32)) || !bytes.Equal(all, make([]byte, 32)) {
			t.Errorf("%s: some bits are never set, or always: %x %x", kind, ones, all)
		}
	}
}
