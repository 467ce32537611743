package password

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	goodSalt = "AAECAwQFBgcICQoLDA0ODw"
	goodTag  = "gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU"
	goodHash = "$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "$" + goodTag
)

func TestParsePHCRefuses(t *testing.T) {
	with := func(params string) string {
		return "$argon2id$v=19$" + params + "$" + goodSalt + "$" + goodTag
	}
	replace := func(old, new string) string { return strings.Replace(goodHash, old, new, 1) }
	for _, tc := range []struct {
		name, encoded string
		want          error
	}{
		{"empty", "", ErrMalformed},
		{"dollars", "$$$$$", ErrMalformed},
		{"no leading dollar", goodHash[1:], ErrMalformed},
		{"text before", "x" + goodHash, ErrMalformed},
		{"field after", goodHash + "$", ErrMalformed},
		{"line break after", goodHash + "\n", ErrMalformed},
		{"line break in the salt", replace("AAEC", "AA\nEC"), ErrMalformed},
		{"carriage return in the tag", replace("gYJZ", "gY\rJZ"), ErrMalformed},
		{"another type", replace("argon2id", "argon2i"), ErrMalformed},
		{"upper case", replace("argon2id", "Argon2id"), ErrMalformed},
		{"another version", replace("v=19", "v=16"), ErrMalformed},
		{"no version", replace("$v=19", ""), ErrMalformed},
		{"leading zero", with("m=019456,t=2,p=1"), ErrMalformed},
		{"sign", with("m=+19456,t=2,p=1"), ErrMalformed},
		{"underscore", with("m=19_456,t=2,p=1"), ErrMalformed},
		{"space", with("m=19456, t=2,p=1"), ErrMalformed},
		{"negative", with("m=19456,t=-2,p=1"), ErrMalformed},
		{"no number", with("m=19456,t=,p=1"), ErrMalformed},
		{"other order", with("t=2,m=19456,p=1"), ErrMalformed},
		{"repeated", with("m=19456,m=19456,t=2,p=1"), ErrMalformed},
		{"missing", with("m=19456,t=2"), ErrMalformed},
		{"key id", with("m=19456,t=2,p=1,keyid=x"), ErrMalformed},
		{"beyond 32 bits", with("m=4294967297,t=2,p=1"), ErrMalformed},
		{"padding", goodHash + "=", ErrMalformed},
		{"url alphabet", replace("q8/bB7", "q8_bB7"), ErrMalformed},
		{"trailing bits in the salt", replace("DA0ODw$", "DA0ODx$"), ErrMalformed},
		{"trailing bits in the tag", replace("SkIU", "SkIV"), ErrMalformed},
		{"short salt", replace(goodSalt, "c29tZXNhbHQ"), ErrMalformed},
		{"long salt", replace(goodSalt, goodTag), ErrMalformed},
		{"short tag", replace(goodTag, goodSalt), ErrMalformed},
		{"no tag", replace(goodTag, ""), ErrMalformed},
		{"endless", goodHash + strings.Repeat("A", 1<<20), ErrMalformed},
		{"a terabyte", with("m=1073741824,t=1,p=1"), ErrParams},
		{"all of 32 bits", with("m=4294967295,t=4294967295,p=255"), ErrParams},
		{"a little more than 256 MiB", with("m=262145,t=1,p=1"), ErrParams},
		{"for ever", with("m=8,t=4294967295,p=1"), ErrParams},
		{"a little too long", with("m=262144,t=5,p=1"), ErrParams},
		{"no memory", with("m=0,t=2,p=1"), ErrParams},
		{"too little memory", with("m=15,t=1,p=2"), ErrParams},
		{"no passes", with("m=19456,t=0,p=1"), ErrParams},
		{"no lanes", with("m=19456,t=2,p=0"), ErrParams},
		{"many lanes", with("m=19456,t=2,p=17"), ErrParams},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parsePHC(tc.encoded); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestParsePHCAccepts(t *testing.T) {
	for _, params := range []string{
		"m=8,t=1,p=1", "m=128,t=1,p=16", "m=7168,t=5,p=1", "m=19456,t=2,p=1",
		"m=65536,t=3,p=4", "m=262144,t=4,p=1", "m=16384,t=64,p=1",
	} {
		encoded := "$argon2id$v=19$" + params + "$" + goodSalt + "$" + goodTag
		d, err := parsePHC(encoded)
		if err != nil {
			t.Errorf("%s: %v", params, err)
		}
		if d.encode() != encoded {
			t.Errorf("%s prints as %s", encoded, d.encode())
		}
	}
}

func TestPHCRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := digest{params: Params{
			Memory:      rapid.Uint32Range(8*16, 16384).Draw(rt, "memory"),
			Iterations:  rapid.Uint32Range(1, 64).Draw(rt, "iterations"),
			Parallelism: rapid.Uint8Range(1, 16).Draw(rt, "parallelism"),
		}}
		copy(d.salt[:], rapid.SliceOfN(rapid.Byte(), saltSize, saltSize).Draw(rt, "salt"))
		copy(d.tag[:], rapid.SliceOfN(rapid.Byte(), tagSize, tagSize).Draw(rt, "tag"))
		if got, err := parsePHC(d.encode()); err != nil || got != d {
			rt.Fatalf("got %+v, %v, want %+v", got, err, d)
		}
	})
}

// What parses prints back to the same bytes and costs no more than we can bear.
func FuzzParsePHC(f *testing.F) {
	f.Add(goodHash)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$" + goodSalt + "$" + goodTag)
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$" + goodSalt + "$" + goodTag)
	f.Add("$argon2id$v=19$m=019456,t=2,p=1$" + goodSalt + "$" + goodTag)
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "\n$" + goodTag)
	f.Add("$2b$12$abcdefghijklmnopqrstuv")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, encoded string) {
		d, err := parsePHC(encoded)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrParams) {
				t.Fatalf("unexpected error %v", err)
			}
			if d != (digest{}) {
				t.Fatalf("an error and %+v", d)
			}
			return
		}
		if d.encode() != encoded {
			t.Fatalf("%q prints as %q", encoded, d.encode())
		}
		if d.params.Memory > maxMemory || d.params.work() > maxWork || d.params.Parallelism > maxParallelism {
			t.Fatalf("%+v is out of bounds", d.params)
		}
	})
}
