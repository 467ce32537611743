package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reason says why a [Policy] rejected a password. Its text is stable, for
// programs to branch on.
type Reason string

// Reasons to reject a password.
const (
	// ReasonTooShort: fewer code points than Policy.MinLength.
	ReasonTooShort Reason = "too_short"
	// ReasonTooLong: more bytes than Policy.MaxBytes.
	ReasonTooLong Reason = "too_long"
	// ReasonInvalidUTF8: not text.
	ReasonInvalidUTF8 Reason = "invalid_utf8"
	// ReasonUnassigned: a code point that Unicode has not assigned, as far as this
	// program knows; see the package comment. Characters younger than the program
	// are among them.
	ReasonUnassigned Reason = "unassigned_character"
	// ReasonTooCommon: a common or breached password, a variation of one, or a row or
	// repetition of characters.
	ReasonTooCommon Reason = "too_common"
	// ReasonContainsUsername: the username is in it.
	ReasonContainsUsername Reason = "contains_username"
	// ReasonContainsEmail: the part of the email address before the @ is in it.
	ReasonContainsEmail Reason = "contains_email"
	// ReasonContainsService: one of Policy.ServiceNames is in it.
	ReasonContainsService Reason = "contains_service_name"
)

// RejectedError reports a password that a [Policy] does not accept. It never
// contains the password.
type RejectedError struct {
	// Reason is for programs.
	Reason Reason
	// Detail is for people, in English, and may change: "shorter than 8
	// characters".
	Detail string
	// Hint says what to do about it, to the same people.
	Hint string
}

func (e *RejectedError) Error() string { return "password rejected: " + e.Detail }

// maxPasswordBytes is what no policy may exceed. It keeps normalizing, which may
// make text eleven times longer, far cheaper than hashing.
const maxPasswordBytes = 4096

// hashable returns nil for what can be a password at all, under any policy, and a
// [*RejectedError] for what can be neither hashed nor matched.
func hashable(password string) error {
	if len(password) > maxPasswordBytes {
		return rejectLongerThan(maxPasswordBytes)
	}
	if !utf8.ValidString(password) {
		return &RejectedError{Reason: ReasonInvalidUTF8, Detail: "not valid UTF-8", Hint: "send it as UTF-8"}
	}
	return nil
}

func rejectLongerThan(bytes int) error {
	return &RejectedError{Reason: ReasonTooLong, Detail: fmt.Sprintf("longer than %d bytes", bytes), Hint: "use a shorter one"}
}

// Policy says which new passwords are acceptable. It asks for length, and refuses
// what attackers try first: rules of composition make passwords alike and are
// advised against by NIST SP 800-63B-4 §3.1.1.2, which asks for the rest. The zero
// value is ready to use.
//
// Refused are passwords that are common or have been in breaches, and small
// variations of them: other case, characters that stand for letters (P@ssw0rd), up
// to four digits and signs around them (password1!), repetitions and rows. Refused
// are names as well, the person's own and the service's, in the same variations.
// A name of four characters or more must not stand anywhere in the password; of a
// shorter one, enough else must stand beside it to be long enough without.
//
// Ask it about new passwords only. At sign-in the stored hash decides, or a
// stricter policy would lock out whoever enrolled under a looser one.
type Policy struct {
	// MinLength is the least number of Unicode code points, 8 to 64. Zero: 8.
	// NIST asks for 15 where the password is the only factor.
	MinLength int
	// MaxBytes is the greatest length of the password as received, in bytes of
	// UTF-8, 256 to 4,096. Zero: 1,024. The lower bound lets 64 characters of any
	// script pass; beyond the upper one nothing is hashed or matched.
	MaxBytes int
	// ServiceNames are the names by which people know the service: its own, its
	// domain's, its operator's. Nil: none.
	ServiceNames []string
}

// About is what is known of the person whom a new password is for. The zero value
// is nobody in particular.
type About struct {
	Username string
	Email    string
}

const (
	defaultMinLength = 8
	defaultMaxBytes  = 1024
)

// Validate returns an error for a policy out of the bounds that its fields name.
// Call it when reading the configuration.
func (p Policy) Validate() error {
	p = p.withDefaults()
	if p.MinLength < 8 || p.MinLength > 64 {
		return fmt.Errorf("password policy: minimum length %d, want 8 to 64", p.MinLength)
	}
	if p.MaxBytes < 256 || p.MaxBytes > maxPasswordBytes {
		return fmt.Errorf("password policy: maximum of %d bytes, want 256 to %d", p.MaxBytes, maxPasswordBytes)
	}
	return nil
}

func (p Policy) withDefaults() Policy {
	if p.MinLength == 0 {
		p.MinLength = defaultMinLength
	}
	if p.MaxBytes == 0 {
		p.MaxBytes = defaultMaxBytes
	}
	return p
}

// Check returns nil for an acceptable password and a [*RejectedError] otherwise.
// A policy that [Policy.Validate] refuses accepts nothing: Check then fails
// closed and returns that error.
func (p Policy) Check(password string, about About) error {
	if err := p.Validate(); err != nil {
		return err
	}
	p = p.withDefaults()
	if len(password) > p.MaxBytes {
		return rejectLongerThan(p.MaxBytes)
	}
	if err := hashable(password); err != nil {
		return err
	}
	for _, r := range password {
		if unicode.Is(unicode.Cn, r) {
			return &RejectedError{
				Reason: ReasonUnassigned,
				Detail: "contains a character that is not assigned, or too new to be known here",
				Hint:   "leave out the newest signs",
			}
		}
	}
	normal := normalize(password) // once: of long passwords it is what costs most
	if length(password, normal) < p.MinLength {
		return &RejectedError{
			Reason: ReasonTooShort,
			Detail: fmt.Sprintf("shorter than %d characters", p.MinLength),
			Hint:   "use a longer one: " + goodAdvice,
		}
	}
	return p.checkGuess(normal, about)
}

// goodAdvice is what to do about most bad passwords.
const goodAdvice = "three or four words that have nothing to do with each other are strong and easy to remember"

// checkGuess refuses what whoever knows the person and the service tries first. The
// password is normalized.
func (p Policy) checkGuess(normal string, about About) error {
	local, _, _ := strings.Cut(about.Email, "@")
	mailbox, _, _ := strings.Cut(local, "+")
	name, _, _ := strings.Cut(about.Username, "@") // some usernames are addresses
	folded := strings.ToLower(normal)
	written := spellings(folded)
	for _, names := range []struct {
		words  []string
		reason Reason
		what   string
	}{
		{[]string{about.Username, name}, ReasonContainsUsername, "the username"},
		{[]string{local, mailbox}, ReasonContainsEmail, "the name in the email address"},
		{p.ServiceNames, ReasonContainsService, "the name of this service"},
	} {
		for _, word := range names.words {
			if p.leansOn(written, word) {
				return &RejectedError{
					Reason: names.reason, Detail: "contains " + names.what,
					Hint: "leave names out, which are guessed first: " + goodAdvice,
				}
			}
		}
	}
	if isCommon(folded) {
		return &RejectedError{
			Reason: ReasonTooCommon, Detail: "one of the passwords that are guessed first, or nearly so",
			Hint: "use one that nobody else would think of: " + goodAdvice,
		}
	}
	return nil
}

// minName is the length from which a name may not stand anywhere in a password. A
// shorter one stands in many words by chance.
const minName = 4

// leansOn reports whether a password, given in all its spellings, is too much made of
// a name.
func (p Policy) leansOn(written []string, name string) bool {
	name = fold(name)
	if name == "" {
		return false
	}
	for _, spelling := range written {
		switch {
		case !strings.Contains(spelling, name):
		case utf8.RuneCountInString(name) >= minName,
			utf8.RuneCountInString(strings.ReplaceAll(spelling, name, "")) < p.MinLength:
			return true
		}
	}
	return false
}

// length counts code points as typed or as hashed, whichever are fewer.
// Normalizing can shorten a password (e and an accent become é) and can lengthen
// it (one ligature becomes 18 letters); neither may help to reach the minimum.
func length(password, normal string) int {
	return min(utf8.RuneCountInString(password), utf8.RuneCountInString(normal))
}
