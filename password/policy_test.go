package password

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPolicyCheck(t *testing.T) {
	for _, tc := range []struct {
		name     string
		policy   Policy
		password string
		want     Reason // empty: accepted
	}{
		{"eight letters", Policy{}, "kfqzmwpx", ""},
		{"control characters", Policy{}, "pass\x00\x1b\tword", ""},
		{"eight code points of four bytes", Policy{}, "🐎🐄🐖🐏🐕🐈🐇🐀", ""},
		{"64 code points of four bytes", Policy{MaxBytes: 256}, strings.Repeat("🐎🐄🐖🐏🐕🐈🐇🐀", 8), ""},
		{"exactly 1024 bytes", Policy{}, strings.Repeat("kfqzmwpx", 128), ""},
		{"a replacement character typed as such", Policy{}, "kfqzmwp \ufffd", ""},
		{"a private character", Policy{}, "kfqzmwp \ue000", ""},
		{"empty", Policy{}, "", ReasonTooShort},
		{"seven letters", Policy{}, "abcdefg", ReasonTooShort},
		{"bytes are not characters", Policy{}, strings.Repeat("🐎", 7), ReasonTooShort},
		{"accents are not characters of their own", Policy{}, strings.Repeat("e\u0301", 4), ReasonTooShort},
		{"a ligature is one character", Policy{}, "\ufdfa", ReasonTooShort},
		{"14 where 15 are asked", Policy{MinLength: 15}, strings.Repeat("x", 14), ReasonTooShort},
		{"15 where 15 are asked", Policy{MinLength: 15}, "kfqzmwpxkfqzmwp", ""},
		{"1025 bytes", Policy{}, strings.Repeat("x", 1025), ReasonTooLong},
		{"long and broken", Policy{}, strings.Repeat("\xff", 1025), ReasonTooLong},
		{"a lone byte", Policy{}, "password\xff", ReasonInvalidUTF8},
		{"half a character", Policy{}, "password\xf0\x9f", ReasonInvalidUTF8},
		{"a surrogate", Policy{}, "password\xed\xa0\x80", ReasonInvalidUTF8},
		{"an overlong slash", Policy{}, "password\xc0\xaf", ReasonInvalidUTF8},
		{"unassigned", Policy{}, "password\u0378", ReasonUnassigned},
		{"a noncharacter", Policy{}, "password\uffff", ReasonUnassigned},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.policy.Check(tc.password, About{})
			if tc.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var rejected *RejectedError
			if !errors.As(err, &rejected) || rejected.Reason != tc.want || rejected.Detail == "" || rejected.Hint == "" {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestPolicyValidate(t *testing.T) {
	for _, good := range []Policy{{}, {MinLength: 15}, {MinLength: 64, MaxBytes: 256}, {MaxBytes: 4096}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Policy{{MinLength: 7}, {MinLength: -1}, {MinLength: 65}, {MaxBytes: 255}, {MaxBytes: -1}, {MaxBytes: 4097}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v: no error", bad)
		}
		err := bad.Check(secret, About{})
		var rejected *RejectedError
		if err == nil || errors.As(err, &rejected) {
			t.Errorf("%+v: check gives %v, want the error of the policy", bad, err)
		}
	}
}

// Whatever the policy accepts can be enrolled and is long enough in every form.
func TestPolicyAcceptsOnlyWhatCanBeHashed(t *testing.T) {
	h := newCheapHasher(t)
	anything := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(rt *rapid.T) {
		password := anything.Draw(rt, "password")
		if (Policy{}).Check(password, About{}) != nil {
			return
		}
		if utf8.RuneCountInString(password) < 8 || utf8.RuneCountInString(normalize(password)) < 8 {
			rt.Fatal("accepted a short password")
		}
		if once := normalize(password); normalize(once) != once {
			rt.Fatal("normalizing twice changes it")
		}
		encoded, err := h.Hash(t.Context(), password)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := h.Verify(t.Context(), encoded, password); err != nil {
			rt.Fatal(err)
		}
	})
}
