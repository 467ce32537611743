package password

import (
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxScore is the best that [Estimate] says of a password.
const MaxScore = 4

// estimated bounds how many characters are looked at: whoever has typed as many has
// the best score, unless they repeat themselves.
const estimated = 64

// Estimate says how hard a password is to guess for somebody who knows how people
// choose them, from 0 (among the first million guesses) to [MaxScore] (2^50 guesses
// or more). It is for showing people a strength while they type; whether a password
// is accepted is for [Policy.Check] to say, and has nothing to do with it.
//
// It is a rough estimate, made the way zxcvbn makes it: the password is taken apart
// into common words, rows, repetitions and single characters, in the way that gives
// the fewest guesses. It looks at the beginning only, of 128 characters, and takes about a
// tenth of a millisecond at most, whatever the password: what comes after makes the
// score neither better nor worse.
func Estimate(password string) int {
	const first, step = 20, 10 // bits
	bits := guessBits(password)
	switch {
	case bits < first:
		return 0
	case bits >= first+step*(MaxScore-1):
		return MaxScore
	}
	return 1 + int(bits-first)/step
}

// guessBits returns the logarithm of how many guesses a password takes.
func guessBits(password string) float64 {
	if hashable(password) != nil {
		return 0
	}
	text := beginning(password, 2*estimated)
	bits := 0.0
	if unit, ok := repeated(text); ok {
		bits = math.Log2(float64(len(text)) / float64(len(unit)))
		text = unit
	}
	runes := []rune(text)
	runes = runes[:min(len(runes), estimated)]
	return bits + fewestBits(runes)
}

// beginning returns so many characters of a password in the form in which it is hashed,
// or all that there are. The others are not even normalized.
func beginning(password string, characters int) string {
	var pieces norm.Iter
	pieces.InitString(norm.NFKC, password)
	var text []byte
	for n := 0; n < characters && !pieces.Done(); {
		piece := pieces.Next()
		n += utf8.RuneCount(piece)
		text = append(text, piece...)
	}
	runes := []rune(string(text))
	return string(runes[:min(len(runes), characters)])
}

// fewestBits tries every way to take a text apart. cheapest[i] is what the first i
// characters take.
func fewestBits(runes []rune) float64 {
	lower := make([]rune, len(runes))
	cheapest := make([]float64, len(runes)+1)
	for i, r := range runes {
		lower[i] = unicode.ToLower(r)
		cheapest[i+1] = math.Inf(1)
	}
	reach := func(from, to int, bits float64) {
		cheapest[to] = min(cheapest[to], cheapest[from]+bits)
	}
	for from := range runes {
		reach(from, from+1, characterBits(runes[from]))
		if n := rowLength(runes[from:]); n > 2 {
			reach(from, from+n, characterBits(runes[from])+math.Log2(float64(n)))
		}
		text := string(lower[from:min(len(runes), from+longestCommon)])
		for i, spelling := range spellings(text) {
			beginnings(spelling, func(length, power int) {
				to := from + length // words are ASCII
				bits := wordBits(power, i > 0)
				if !slices.Equal(lower[from:to], runes[from:to]) {
					bits++ // for the capitals
				}
				reach(from, to, bits)
			})
		}
	}
	return cheapest[len(runes)]
}

// wordBits is what a common word takes: its rank, and a bit for characters in the place
// of letters.
func wordBits(power int, respelled bool) float64 {
	if respelled {
		power++
	}
	return float64(power + 1)
}

// characterBits is what one character takes: how many of its kind there are.
func characterBits(r rune) float64 {
	switch {
	case r >= '0' && r <= '9':
		return 3.3
	case r >= 'a' && r <= 'z':
		return 4.7
	case r >= 'A' && r <= 'Z':
		return 5.2
	case r < unicode.MaxASCII:
		return 5
	}
	return 7
}
