package password

import (
	_ "embed" // for the list
	"encoding/binary"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// commonList holds 49,233 common and breached passwords, in lower case, of zxcvbn-ts
// (see common.LICENSE). It is made by scripts/common-passwords, which describes the
// format: sorted, in blocks, each word written as what differs from the one before.
// It is read in place, so that a command that checks no password pays nothing for it.
//
//go:embed common.bin
var commonList string

const (
	listHead  = 8  // the numbers of words and of blocks
	listBlock = 16 // words in a block
	// longestCommon is that of the list, and bounds what is looked up.
	longestCommon = 20
)

// rankOf looks a word up and returns the power of two below its rank: 0 for the
// most common one, 15 for the rarest. It knows words as fold writes them.
func rankOf(word string) (power int, ok bool) {
	if word == "" || len(word) > longestCommon {
		return 0, false
	}
	shared, power, whole := nearest(word)
	return power, whole && shared == len(word)
}

// beginnings calls found for each word of the list that a text begins with and that has
// three characters or more, the longest first. It takes a few searches, however many
// words a text could begin with.
func beginnings(text string, found func(length, power int)) {
	text = text[:min(len(text), longestCommon)]
	for len(text) > 2 {
		shared, power, whole := nearest(text)
		if whole {
			if shared > 2 {
				found(shared, power)
			}
			shared--
		}
		// A longer word that the text begins with would be nearer.
		text = text[:max(shared, 0)]
	}
}

// nearest finds the last word of the list that does not sort after a text. It returns how
// many bytes they share at their beginnings, the power of that word, and whether the
// text begins with all of it.
func nearest(text string) (shared, power int, whole bool) {
	blocks := int(binary.BigEndian.Uint32([]byte(commonList[4:listHead])))
	block := sort.Search(blocks, func(i int) bool { return firstIsAfter(listAt(blocks, i), text) }) - 1
	if block < 0 {
		return 0, 0, false
	}
	rest := listAt(blocks, block)
	var space [longestCommon]byte
	candidate, next := space[:0], 0
	for range listBlock {
		if rest == "" {
			break
		}
		candidate, next, rest = nextCommon(candidate, rest)
		if string(candidate) > text {
			break
		}
		shared, power = 0, next
		for shared < min(len(candidate), len(text)) && candidate[shared] == text[shared] {
			shared++
		}
		whole = shared == len(candidate)
	}
	return shared, power, whole
}

// listAt returns the list from a block on.
func listAt(blocks, block int) string {
	start := listHead + 4*block
	offset := int(binary.BigEndian.Uint32([]byte(commonList[start : start+4])))
	return commonList[listHead+4*blocks+offset:]
}

// firstIsAfter reports whether the first word of a block, which shares nothing with
// the one before, sorts after another one.
func firstIsAfter(list, word string) bool {
	for i := 1; ; i++ {
		last, char := list[i] >= 0x80, list[i]&0x7f
		switch {
		case i > len(word): // it goes on where the word ends
			return true
		case char != word[i-1]:
			return char > word[i-1]
		case last:
			return false // equal, or the beginning of the word
		}
	}
}

// nextCommon reads one word after another one.
func nextCommon(before []byte, list string) (word []byte, power int, rest string) {
	shared, power := int(list[0]>>4), int(list[0]&0xf)
	word = before[:shared]
	for i := 1; ; i++ {
		word = append(word, list[i]&0x7f)
		if list[i] >= 0x80 {
			return word, power, list[i+1:]
		}
	}
}

// maxAdded is how many digits and signs around a common password make no
// difference: a year, or a digit and an exclamation mark.
const maxAdded = 4

// isCommon reports whether a folded password is what an attacker tries first. It is:
//
//   - one of the list, in any case, with the usual characters for letters (0 for
//     o, @ for a, $ for s...), and with up to four digits and signs around it;
//   - one such word or fewer than four characters, over and over;
//   - a row of characters: 12345678, hgfedcba.
func isCommon(folded string) bool {
	if isRow(folded) {
		return true
	}
	if unit, ok := shortlyRepeated(folded); ok && (utf8.RuneCountInString(unit) < 4 || isListed(unit)) {
		return true
	}
	return isListed(folded)
}

func isListed(folded string) bool {
	if len(folded) > longestCommon+maxAdded {
		return false
	}
	for _, trimmed := range trimmings(folded) {
		for _, spelling := range spellings(trimmed) {
			if _, ok := rankOf(spelling); ok {
				return true
			}
		}
	}
	return false
}

// fold is the form in which passwords are compared with words. It never is what is
// hashed.
func fold(text string) string { return strings.ToLower(normalize(text)) }

// trimmings returns a password as it is, and without the few digits and signs
// before it, after it and around it.
func trimmings(folded string) []string {
	isAdded := func(r rune) bool { return !unicode.IsLetter(r) }
	all := []string{folded}
	for _, trimmed := range []string{
		strings.TrimRightFunc(folded, isAdded), strings.TrimLeftFunc(folded, isAdded), strings.TrimFunc(folded, isAdded),
	} {
		if trimmed != folded && len(folded)-len(trimmed) <= maxAdded {
			all = append(all, trimmed)
		}
	}
	return all
}

// spellings returns a word as it is, and with letters for the characters that
// stand for them. A 1 and an exclamation mark stand for two.
func spellings(folded string) []string {
	all := []string{folded}
	if !strings.ContainsAny(folded, "4@305$7+1!") {
		return all
	}
	for _, one := range []rune{'i', 'l'} {
		spelled := strings.Map(func(r rune) rune {
			switch r {
			case '4', '@':
				return 'a'
			case '3':
				return 'e'
			case '0':
				return 'o'
			case '5', '$':
				return 's'
			case '7', '+':
				return 't'
			case '1', '!':
				return one
			}
			return r
		}, folded)
		if spelled != folded {
			all = append(all, spelled)
		}
	}
	return all
}

// isRow reports whether every character is the same step from the one before: none,
// one up or one down.
func isRow(folded string) bool {
	n, step, before := 0, rune(0), rune(0)
	for _, r := range folded {
		switch {
		case n == 1:
			step = r - before
		case n > 1 && r-before != step:
			return false
		}
		n, before = n+1, r
	}
	return n > 2 && step >= -1 && step <= 1
}

// rowLength returns how many characters at the beginning are a row.
func rowLength(runes []rune) int {
	if len(runes) < 2 {
		return len(runes)
	}
	step := runes[1] - runes[0]
	if step < -1 || step > 1 {
		return 1
	}
	n := 2
	for n < len(runes) && runes[n]-runes[n-1] == step {
		n++
	}
	return n
}

// shortlyRepeated is repeated for what isCommon would know: a word, with what may stand
// around it, or less. It needs no memory.
func shortlyRepeated(folded string) (unit string, ok bool) {
	for period := 1; period <= min(longestCommon+maxAdded, len(folded)/2); period++ {
		if strings.HasPrefix(folded, folded[period:]) {
			return folded[:period], true
		}
	}
	return "", false
}

// repeated returns the shortest text that makes up a password when it is written
// over and over, the last time perhaps not to its end. It takes time in proportion
// to the length: strangers choose it.
func repeated(folded string) (unit string, ok bool) {
	// border[i] is how long the longest text is that both begins and ends the first
	// i+1 bytes without being all of them: Knuth, Morris and Pratt's prefix function.
	border := make([]int, len(folded))
	for i := 1; i < len(folded); i++ {
		n := border[i-1]
		for n > 0 && folded[i] != folded[n] {
			n = border[n-1]
		}
		if folded[i] == folded[n] {
			n++
		}
		border[i] = n
	}
	if len(folded) == 0 {
		return "", false
	}
	period := len(folded) - border[len(folded)-1]
	return folded[:period], period <= len(folded)/2
}
