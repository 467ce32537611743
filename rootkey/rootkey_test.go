package rootkey_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// counting is the root key 00 01 02 … 1f.
const counting = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

func parse(t *testing.T, text string) *rootkey.Key {
	t.Helper()
	key, err := rootkey.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestDerivations fixes what every token and every wrapped key rests on: a change
// here signs everybody out. The values are HKDF-SHA256 without salt, computed
// with another implementation (Python's hmac and hashlib).
func TestDerivations(t *testing.T) {
	key := parse(t, counting)
	id, check := key.ID(), key.Check()
	for name, pair := range map[string][2]string{
		"id":      {hex.EncodeToString(id[:]), wantID},
		"check":   {hex.EncodeToString(check[:]), wantCheck},
		"ratchet": {hex.EncodeToString(key.RatchetKey()), wantRatchet},
		"tag":     {hex.EncodeToString(key.TagKey()), wantTag},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
		}
	}
}

func TestParseHasOneSpelling(t *testing.T) {
	if got := parse(t, counting).Reveal(); got != counting {
		t.Fatalf("the key prints as %s", got)
	}
	for _, text := range []string{
		"", counting[:42], counting + "A", counting + "=", counting[:42] + "9", // trailing bits
		strings.Replace(counting, "A", "\n", 1), counting + "\n", strings.Replace(counting, "E", "+", 1), " " + counting,
	} {
		if _, err := rootkey.Parse(text); !errors.Is(err, rootkey.ErrMalformed) {
			t.Errorf("%q gave %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(counting)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := rootkey.Parse(text); err == nil && key.Reveal() != text {
			t.Fatalf("%q prints as %q", text, key.Reveal())
		}
	})
}

// generateBeside makes a root key with another ID than those given. IDs have 16 bits, so
// that two random keys share one now and then.
func generateBeside(keys ...*rootkey.Key) *rootkey.Key {
	for {
		key := rootkey.Generate()
		if !slices.ContainsFunc(keys, func(other *rootkey.Key) bool { return other.ID() == key.ID() }) {
			return key
		}
	}
}

func TestReadRing(t *testing.T) {
	other := generateBeside(parse(t, counting))
	ring, err := rootkey.ReadRing(strings.NewReader("# active\n" + counting + "\n\n  " + other.Reveal() + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(ring.All()) != 2 || !ring.Active().Equal(parse(t, counting)) {
		t.Fatal("the ring does not hold both keys in order")
	}
	if key, ok := ring.ByID(other.ID()); !ok || !key.Equal(other) {
		t.Fatal("the second key is not found by its id")
	}
	for text, want := range map[string]error{
		"":                          rootkey.ErrEmpty,
		"# nothing\n":               rootkey.ErrEmpty,
		counting + "\n" + counting:  rootkey.ErrDuplicate,
		counting + "\nsecretsecret": rootkey.ErrMalformed,
	} {
		_, err := rootkey.ReadRing(strings.NewReader(text))
		if !errors.Is(err, want) {
			t.Errorf("%q gave %v, want %v", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("the error repeats the file: %v", err)
		}
	}
}

func TestWrap(t *testing.T) {
	old, err := rootkey.NewRing(parse(t, counting))
	if err != nil {
		t.Fatal(err)
	}
	fresh := generateBeside(parse(t, counting))
	both, err := rootkey.NewRing(fresh, parse(t, counting))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rootkey.NewRing(fresh)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("private key")
	wrapped := old.Wrap(secret, "kid-1")
	if bytes.Contains(wrapped, secret) {
		t.Fatal("the secret stands in the open")
	}
	if again := old.Wrap(secret, "kid-1"); bytes.Equal(again, wrapped) {
		t.Fatal("two wraps of one secret are the same")
	}
	for name, test := range map[string]struct {
		ring    rootkey.Ring
		wrapped []byte
		label   string
		want    error
	}{
		"same ring":      {old, wrapped, "kid-1", nil},
		"newer ring":     {both, wrapped, "kid-1", nil},
		"moved":          {old, wrapped, "kid-2", rootkey.ErrUnwrap},
		"unknown key":    {stranger, wrapped, "kid-1", rootkey.ErrUnknown},
		"truncated":      {old, wrapped[:len(wrapped)-1], "kid-1", rootkey.ErrUnwrap},
		"nothing":        {old, nil, "kid-1", rootkey.ErrUnwrap},
		"key id only":    {old, wrapped[:2], "kid-1", rootkey.ErrUnwrap},
		"altered nonce":  {old, flip(wrapped, 3), "kid-1", rootkey.ErrUnwrap},
		"altered secret": {old, flip(wrapped, 16), "kid-1", rootkey.ErrUnwrap},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.ring.Unwrap(test.wrapped, test.label)
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(got, secret) {
				t.Fatalf("got %q, %v; want %v", got, err, test.want)
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

func TestKeysAreNotPrinted(t *testing.T) {
	key := parse(t, counting)
	ring, err := rootkey.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", key, *key, struct{ K rootkey.Key }{*key})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", key, "value", *key)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", key, "value", *key)
	if err := json.NewEncoder(&out).Encode(map[string]any{"key": key, "value": *key, "ring": ring}); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{counting, "AAECAwQF", "000102030405", "0 1 2 3 4 5", "0x0, 0x1, 0x2", hex.EncodeToString(key.TagKey())} {
		if strings.Contains(out.String(), leak) {
			t.Fatalf("%q stands in the output:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Fatal("the output does not say that something was left out")
	}
}

const (
	wantID      = "581a"
	wantCheck   = "b05cd90309fad649d4364dc5bd7479848e71fa5ffe47b8fef4471f0da0711a19"
	wantRatchet = "e35d44ccbaccfbdd8f2a70b18063d52b77bce2204e9a66edfc0df18af36daf25"
	wantTag     = "a34de996540f59573668233d0270951ba555f863d06165d5a93c2b8108babf95"
)

func FuzzUnwrap(f *testing.F) {
	key, err := rootkey.Parse(counting)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := rootkey.NewRing(key)
	if err != nil {
		f.Fatal(err)
	}
	genuine := ring.Wrap([]byte("private key"), "kid-1")
	f.Add(genuine)
	f.Add([]byte{})
	f.Add(genuine[:14])
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		if secret, err := ring.Unwrap(wrapped, "kid-1"); err == nil && string(secret) != "private key" {
			t.Fatalf("%x opens as %q", wrapped, secret)
		}
	})
}

func FuzzReadRing(f *testing.F) {
	f.Add(counting + "\n")
	f.Add("# nothing\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := rootkey.ReadRing(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, key := range ring.All() {
			if !strings.Contains(text, key.Reveal()) {
				t.Fatalf("%q holds a key that it does not spell", text)
			}
		}
	})
}
