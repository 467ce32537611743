package password

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

// hexHash spells a vector that is given in hexadecimal.
func hexHash(head, salt, tag string) string {
	raw, err := hex.DecodeString(tag)
	if err != nil {
		panic(err)
	}
	return head + phcText([]byte(salt)) + "$" + phcText(raw)
}

const firebaseKey = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="

// foreignVectors are hashes that other programs have made, or standards print.
var foreignVectors = []struct {
	origin, encoded, password string
	scheme                    Scheme
}{
	// bcrypt: of libxcrypt and of the Go library.
	{"crypt 2a", "$2a$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS", secret, SchemeBcrypt},
	{"crypt 2b", "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS", secret, SchemeBcrypt},
	{"crypt 2y", "$2y$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS", secret, SchemeBcrypt},
	{"crypt, beyond ASCII", "$2b$04$abcdefghijklmnopqrstuuKnHl.x1yQ06jW2xtQY6ynPSc7M2jr9G", "pässwörd €", SchemeBcrypt},
	{"crypt, 72 bytes", "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", strings.Repeat("x", 72), SchemeBcrypt},
	{"crypt, 76 bytes", "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", strings.Repeat("x", 72) + "tail", SchemeBcrypt},
	{"crypt, not normalized", "$2b$04$abcdefghijklmnopqrstuuPmVlsBMG9y1D8bEQFxvH4VOHIp7VAMa", "cafe\u0301 creme", SchemeBcrypt},
	{"Go", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga", "allmine", SchemeBcrypt},
	{"Django, bcrypt", "bcrypt$$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS", secret, SchemeBcrypt},
	{"Django, bcrypt of SHA-256", "bcrypt_sha256$$2b$06$abcdefghijklmnopqrstuul5B/dAdshjIhHjT6my8nuQ0dMXgwHGG", "lètmein", SchemeBcrypt},

	// scrypt: RFC 7914 §12, and what Python's OpenSSL makes.
	{"RFC 7914", hexHash("$scrypt$ln=10,r=8,p=16$", "NaCl", "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"), "password", SchemeScrypt},
	{"RFC 7914", hexHash("$scrypt$ln=14,r=8,p=1$", "SodiumChloride", "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"), "pleaseletmein", SchemeScrypt},
	{"passlib", "$scrypt$ln=4,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$IZMORLo+NKM9sf3dDH1ZCk4hbDj0SQeYfTHU51eMJgVQT4xFjIzIjbzW15D2q2lA+Lpwv2ZHToBxonpyNJRG1w", secret, SchemeScrypt},
	{"Django", "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==", "lètmein", SchemeScrypt},
	{"Werkzeug", "scrypt:32768:8:1$AbCdEfGhIjKlMnOp$5fedea9bb0fa27ab6d6e27b05a986eeb76ddace506f89535f52d35fdb90197aeaab95c53c274c968ef612deaf864f0ab859f4f24333296f40b28c55e7eb1005e", secret, SchemeScrypt},

	// PBKDF2: RFC 6070 §2, RFC 7914 §11, and what Python makes.
	{"RFC 6070", hexHash("$pbkdf2$1$", "salt", "0c60c80f961f0e71f3a9b524af6012062fe037a6"), "password", SchemePBKDF2},
	{"RFC 6070", hexHash("$pbkdf2-sha1$i=4096$", "salt", "4b007901b765489abead49d926f721d065a429c1"), "password", SchemePBKDF2},
	{"RFC 7914", hexHash("$pbkdf2-sha256$i=1$", "salt", "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"), "passwd", SchemePBKDF2},
	{"RFC 7914", hexHash("$pbkdf2-sha256$i=80000,l=64$", "NaCl", "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"), "Password", SchemePBKDF2},
	{"Python, SHA-512", "$pbkdf2-sha512$1000$AAECAwQFBgcICQoLDA0ODw$A6AmFIti7CKlYdoPiV9jf1d9llp37o27Wms8Zx8fwMJGCOigJzAthOW3Pg.XF5PnNiYnsQsIz1N5NtynrEm78w", secret, SchemePBKDF2},
	{"Keycloak", "$pbkdf2-sha256$i=27500$AAECAwQFBgcICQoLDA0ODw==$Ca/W1uHPdOF53bPWSQyrHQQPdk6KOe20VTbaw0U+WWswH2gciKNBqwk+H7RPgAmCshFAhVRLSSar72bo1/g8dA==", secret, SchemePBKDF2},
	{"Django", "pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=", "lètmein", SchemePBKDF2},
	{"Werkzeug", "pbkdf2:sha256:1000$AbCdEfGhIjKlMnOp$5c6d6cdb09a377be4cd216a7ba877dee5d4a281c1cc35b3bdd8aa5e01d8a3f90", secret, SchemePBKDF2},

	// argon2: of the reference implementation, by way of Supabase and Django.
	{"Supabase, argon2i", "$argon2i$v=19$m=16,t=2,p=1$bGJRWThNOHJJTVBSdHl2dQ$NfEnUOuUpb7F2fQkgFUG4g", "test", SchemeForeignArgon2},
	{"Supabase, argon2id", "$argon2id$v=19$m=32,t=3,p=2$SFVpOWJ0eXhjRzVkdGN1RQ$RXnb8rh7LaDcn07xsssqqulZYXOM/EUCEFMVcAcyYVk", "test", SchemeForeignArgon2},
	{"Django, argon2i", "argon2$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YC9+jJCrQhs5R6db7LlN8Q", "secret", SchemeForeignArgon2},
	{"Django, argon2id", "argon2$argon2id$v=19$m=102400,t=2,p=8$Y041dExhNkljRUUy$TMa6A8fPJhCAUXRhJXCXdw", "secret", SchemeForeignArgon2},
	{"in our own spelling", "$argon2id$v=19$m=64,t=1,p=1$EBESExQVFhcYGRobHB0eHw$beD8YepJ5zlV4m4pJtxOm28NT9OaX699W6bWAuNAcnw", "A\u030angstrom \u210c", SchemeForeignArgon2},

	// Firebase: of its own documentation, and of Supabase.
	{"Firebase", "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=" + firebaseKey + "$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "user1password", SchemeFirebaseScrypt},
	{"Firebase, as its tool exports", "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=" + firebaseKey + "$42xEC-ixf3L2lw==$lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==", "user1password", SchemeFirebaseScrypt},
	{"Supabase, Firebase", "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=ou9tdYTGyYm8kuR6Dt0Bp0kDuAYoXrK16mbZO4yGwAn3oLspjnN0/c41v8xZnO1n14J3MjKj1b2g6AUCAlFwMw==$C0sHCg9ek77hsg==$zKVTMvnWVw5BBOZNUdnsalx4c4c7y/w7IS5p6Ut2+CfEFFlz37J9huyQfov4iizN8dbjvEJlM5tQaJP84+hfTw==", "mytestpassword", SchemeFirebaseScrypt},
}

// STANDARDS W5: verified as the source did, and replaced at the first chance.
func TestForeignVectors(t *testing.T) {
	h := newHasher(t, Config{})
	for _, v := range foreignVectors {
		t.Run(v.origin, func(t *testing.T) {
			stored, scheme, err := Import(v.encoded)
			if err != nil || scheme != v.scheme {
				t.Fatalf("%s: got %s, %v, want %s", v.encoded, scheme, err, v.scheme)
			}
			if got, err := SchemeOf(stored); err != nil || got != v.scheme {
				t.Errorf("stored as %s: %s, %v", stored, got, err)
			}
			if again, _, err := Import(stored); err != nil || again != stored {
				t.Errorf("stored as %s, and %s when imported again, %v", stored, again, err)
			}
			if rehash, err := h.Verify(t.Context(), stored, v.password); err != nil || !rehash {
				t.Errorf("%s: got %v, %v, want a match and a rehash", stored, rehash, err)
			}
			if rehash, err := h.Verify(t.Context(), stored, "?"+v.password); !errors.Is(err, ErrMismatch) || rehash {
				t.Errorf("%s with a wrong password: got %v, %v", stored, rehash, err)
			}
		})
	}
	expectIdle(t, h.gate)
}

// STANDARDS W1: nothing is truncated, but where the source did it.
func TestOnlyBcryptTruncates(t *testing.T) {
	h := newCheapHasher(t)
	long := strings.Repeat("x", 72)
	for _, v := range foreignVectors {
		if len(v.password) != 72 {
			continue
		}
		if _, err := h.Verify(t.Context(), v.encoded, long[1:]); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s with 71 bytes: %v", v.encoded, err)
		}
		rehashed, err := h.Hash(t.Context(), long+"tail")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Verify(t.Context(), rehashed, long); !errors.Is(err, ErrMismatch) {
			t.Errorf("after the rehash the rest does not count: %v", err)
		}
	}
}

// STANDARDS W7: as received, or in the one form in which it is hashed here.
func TestForeignHashesOfEitherForm(t *testing.T) {
	h := newCheapHasher(t)
	const decomposed = "$2b$04$abcdefghijklmnopqrstuuPmVlsBMG9y1D8bEQFxvH4VOHIp7VAMa" // of cafe\u0301 creme
	const composed = "$2b$04$abcdefghijklmnopqrstuuKnHl.x1yQ06jW2xtQY6ynPSc7M2jr9G"   // of p\u00e4ssw\u00f6rd €
	if _, err := h.Verify(t.Context(), decomposed, "cafe\u0301 creme"); err != nil {
		t.Errorf("as received: %v", err)
	}
	if _, err := h.Verify(t.Context(), decomposed, "caf\u00e9 creme"); !errors.Is(err, ErrMismatch) {
		t.Errorf("in the form that it never had there: %v", err)
	}
	if _, err := h.Verify(t.Context(), composed, "pa\u0308sswo\u0308rd €"); err != nil {
		t.Errorf("normalized: %v", err)
	}
}

func TestFirebaseProject(t *testing.T) {
	const console = `hash_config {
  algorithm: SCRYPT,
  base64_signer_key: ` + firebaseKey + `,
  base64_salt_separator: Bw==,
  rounds: 8,
  mem_cost: 14,
}
`
	project, err := ParseFirebaseProject(console)
	if err != nil {
		t.Fatal(err)
	}
	stored, _, err := Import(project.Hash("lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==", "42xEC-ixf3L2lw=="))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newCheapHasher(t).Verify(t.Context(), stored, "user1password"); err != nil {
		t.Error(err)
	}
	for name, change := range map[string][2]string{
		"nothing":           {console, ""},
		"another algorithm": {"SCRYPT", "BCRYPT"},
		"no key":            {"base64_signer_key", "key"},
		"no base64":         {"Bw==", "?"},
		"no number":         {"rounds: 8", "rounds: eight"},
	} {
		if _, err := ParseFirebaseProject(strings.Replace(console, change[0], change[1], 1)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
	if _, err := ParseFirebaseProject(strings.Replace(console, "mem_cost: 14", "mem_cost: 29", 1)); !errors.Is(err, ErrParams) {
		t.Errorf("too costly: got %v, want ErrParams", err)
	}
}

func TestImportRefuses(t *testing.T) {
	const salt, tag = "$AAECAwQFBgcICQoLDA0ODw", "$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU"
	const bcryptRest = "$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS"
	for encoded, want := range map[string]error{
		"":                                   ErrMalformed,
		"!":                                  ErrMalformed,
		"hunter2":                            ErrMalformed,
		"5f4dcc3b5aa765d61d8327deb882cf99":   ErrMalformed, // MD5
		"$1$abcdefgh$0123456789012345678901": ErrMalformed, // MD5 crypt
		"$6$salt$hash":                       ErrMalformed,
		strings.Repeat("$", 2000):            ErrMalformed,
		"$2x$05" + bcryptRest:                ErrMalformed,
		"$2$05" + bcryptRest:                 ErrMalformed,
		"$2b$5" + bcryptRest:                 ErrMalformed,
		"$2b$05" + bcryptRest + "a":          ErrMalformed,
		"$2b$05" + bcryptRest + "\n":         ErrMalformed,
		"$2b$05" + strings.Replace(bcryptRest, "H/qI", "H=qI", 1): ErrMalformed,
		"$2b$03" + bcryptRest:                                       ErrParams,
		"$2b$16" + bcryptRest:                                       ErrParams,
		"$2b$31" + bcryptRest:                                       ErrParams, // for months
		"$argon2d$v=19$m=64,t=1,p=1" + salt + tag:                   ErrMalformed,
		"$argon2i$v=16$m=64,t=1,p=1" + salt + tag:                   ErrMalformed,
		"$argon2id$m=64,t=1,p=1" + salt + tag:                       ErrMalformed,
		"$argon2id$v=19$m=64,t=1" + salt + tag:                      ErrMalformed,
		"$argon2id$v=19$m=064,t=1,p=1" + salt + tag:                 ErrMalformed,
		"$argon2id$v=19$m=64,t=1,p=1" + salt + "$AAECAw":            ErrMalformed, // matched by chance
		"$argon2id$v=19$m=64,t=1,p=1$" + tag:                        ErrMalformed, // no salt
		"$argon2id$v=19$m=4194304,t=1,p=1" + salt + tag:             ErrParams,    // 4 GiB
		"$argon2id$v=19$m=64,t=1,p=272" + salt + tag:                ErrParams,    // 16 modulo 256
		"$scrypt$ln=14,r=8" + salt + tag:                            ErrMalformed,
		"$scrypt$ln=14,r=8,p=1" + salt + "$?":                       ErrMalformed,
		"$scrypt$ln=20,r=8,p=1" + salt + tag:                        ErrParams, // 1 GiB
		"$scrypt$ln=64,r=8,p=1" + salt + tag:                        ErrParams,
		"$scrypt$ln=1,r=4194304,p=16" + salt + tag:                  ErrParams,
		"$scrypt$ln=14,r=4294967295,p=1" + salt + tag:               ErrParams,
		"$scrypt$ln=17,r=8,p=16" + salt + tag:                       ErrParams, // for ever
		"$scrypt$ln=0,r=8,p=1" + salt + tag:                         ErrParams,
		"scrypt$16383$seasalt$8$1" + tag:                            ErrMalformed, // no power of two
		"scrypt$0$seasalt$8$1" + tag:                                ErrMalformed,
		"scrypt:32768:8:1$salt$xyz":                                 ErrMalformed,
		"$pbkdf2-md5$i=1000" + salt + tag:                           ErrMalformed,
		"$pbkdf2-sha256$i=0" + salt + tag:                           ErrParams,
		"$pbkdf2-sha256$i=5000001" + salt + tag:                     ErrParams,
		"$pbkdf2-sha1$i=4000000" + salt + tag:                       ErrParams, // two blocks
		"$pbkdf2-sha256$i=1000,l=31" + salt + tag:                   ErrMalformed,
		"$pbkdf2-sha256$i=-1" + salt + tag:                          ErrMalformed,
		"pbkdf2_sha256$4294967296$seasalt" + tag:                    ErrMalformed,
		"pbkdf2:sha256$salt$00":                                     ErrMalformed,
		"$fbscrypt$v=1,n=14,r=8,p=1" + salt + tag:                   ErrMalformed, // no key
		"$fbscrypt$v=2,n=14,r=8,p=1,ss=Bw==,sk=AA==$AAECAw==" + tag: ErrMalformed,
		"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=AA==$AAECAw==" + tag: ErrMalformed, // another length
		"$fbscrypt$v=1,n=21,r=8,p=1,ss=Bw==,sk=gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU=$AAECAw==" + tag: ErrParams,
	} {
		if got, _, err := Import(encoded); !errors.Is(err, want) || got != "" {
			t.Errorf("%.80s: got %q, %v, want %v", encoded, got, err, want)
		}
		if _, err := newCheapHasher(t).Verify(t.Context(), encoded, secret); !errors.Is(err, want) {
			t.Errorf("verify %.80s: got %v, want %v", encoded, err, want)
		}
	}
}

// engineSpy notes what the engine is asked to compare.
type engineSpy struct {
	here
	asked []string
}

func (e *engineSpy) MatchesImported(encoded string, password []byte) bool {
	e.asked = append(e.asked, encoded+" "+string(password))
	return e.here.MatchesImported(encoded, password)
}

// Whoever computes elsewhere gets hashes in the spelling of the store, and passwords first
// as they are and then in their normal form.
func TestForeignHashesAreComparedByTheEngine(t *testing.T) {
	spy := &engineSpy{}
	h := newHasher(t, Config{Engine: spy})
	const encoded = "$pbkdf2-sha256$i=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA"
	if _, err := h.Verify(t.Context(), encoded, "wro\u0301ng"); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	if want := []string{encoded + " wro\u0301ng", encoded + " wr\u00f3ng"}; !slices.Equal(spy.asked, want) {
		t.Errorf("the engine was asked %q, want %q", spy.asked, want)
	}
	for _, malformed := range []string{"", "$argon2id$v=19$m=19456,t=2,p=1", "nonsense"} {
		if MatchesImported(malformed, []byte("wrong")) {
			t.Errorf("%q matches", malformed)
		}
	}
}

// STANDARDS W6: an imported hash takes as much of the bound as it takes memory.
func TestForeignHashesStandInLine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHasher(t, Config{Params: Params{Memory: 8 << 10}, Concurrency: 4, Queue: -1, InsecureWeakParams: true})
		f, err := parseForeign("$scrypt$ln=14,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA") // 16 MiB
		if err != nil {
			t.Fatal(err)
		}
		if got := h.slots(f.memory()); got != 3 {
			t.Errorf("takes %d slots, want 3", got)
		}
		if err := h.gate.enter(t.Context(), secondLine, 2); err != nil { // somebody is inside
			t.Fatal(err)
		}
		if _, err := h.Verify(t.Context(), f.encode(), secret); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		h.gate.leave(2)
		if _, err := h.Verify(t.Context(), f.encode(), secret); !errors.Is(err, ErrMismatch) {
			t.Errorf("got %v, want ErrMismatch", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Verify(canceled, f.encode(), secret); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		expectIdle(t, h.gate)
	})
}

// Whatever is read is bounded, and has one spelling in a store.
func FuzzImport(f *testing.F) {
	for _, v := range foreignVectors {
		f.Add(v.encoded)
	}
	f.Add(goodHash)
	f.Add("$scrypt$ln=1,r=1048576,p=16$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$pbkdf2-sha512$i=5000000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$fbscrypt$v=1,n=1,r=1,p=1,ss=,sk=AAAAAAAAAAAAAAAAAAAAAA==$AA==$AAAAAAAAAAAAAAAAAAAAAA==")
	f.Fuzz(func(t *testing.T, encoded string) {
		stored, scheme, err := Import(encoded)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrParams) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		parsed, err := parseForeign(stored)
		if err != nil || parsed.encode() != stored || parsed.scheme() != scheme {
			t.Fatalf("%q is stored as %q, which is read as %+v, %v", encoded, stored, parsed, err)
		}
		if _, err := parsePHC(stored); err == nil {
			t.Fatalf("%q is taken for our own", stored)
		}
		if parsed.memory() > maxMemory {
			t.Fatalf("%q takes %d KiB", stored, parsed.memory())
		}
		if work(parsed) <= 1<<10 {
			parsed.matches([]byte(encoded)) // must not panic
		}
	})
}

// work is a measure of the time that a hash takes, for cheap ones to be computed.
func work(f foreign) uint64 {
	switch f := f.(type) {
	case bcryptHash:
		return 1 << f.cost << 6
	case argon2Hash:
		return f.params.work()
	case pbkdf2Hash:
		return f.iterations
	case scryptHash:
		return f.cost.kibibytes() * f.cost.p
	case firebaseHash:
		return f.scrypt.kibibytes()
	}
	panic(fmt.Sprintf("%T", f))
}

func BenchmarkVerifyForeign(b *testing.B) {
	h := newHasher(b, Config{})
	for name, encoded := range map[string]string{
		"bcrypt 10":          "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga",
		"bcrypt 15":          "$2a$15$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga",
		"pbkdf2 sha256 600k": "$pbkdf2-sha256$i=600000$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU",
		"pbkdf2 the most":    "$pbkdf2-sha256$i=5000000$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU",
		"scrypt 17":          "$scrypt$ln=17,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU",
		"scrypt the most":    "$scrypt$ln=17,r=8,p=7$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU",
		"firebase 14":        foreignVectors[len(foreignVectors)-1].encoded,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := h.Verify(b.Context(), encoded, "wrong"); !errors.Is(err, ErrMismatch) {
					b.Fatal(err)
				}
			}
		})
	}
}
