package password

import (
	"encoding/binary"
	"errors"
	"maps"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// check returns the reason why a password is refused, empty if it is not.
func check(t *testing.T, p Policy, password string, about About) Reason {
	t.Helper()
	err := p.Check(password, about)
	if err == nil {
		return ""
	}
	var rejected *RejectedError
	if !errors.As(err, &rejected) {
		t.Fatalf("%q: %v", password, err)
	}
	return rejected.Reason
}

// STANDARDS W1, W2 (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.4, 6.2.12).
func TestPolicyRefusesCommonPasswords(t *testing.T) {
	for _, bad := range []string{
		"password", "12345678", "qwertyuiop", "football", "trustno1", "1qaz2wsx", "admin123", // of the list
		"PASSWORD", "Password", "ＰＡＳＳＷＯＲＤ", // in other letters
		"P@ssw0rd", "p455w0rd", "$unsh1ne", "m1chael1", "l3tm31n!", "b@s3b@ll", // with signs for letters
		"password1!", "Password1!", "P@ssw0rd1!", "!!sunshine", "dragon2024", "2024dragon", "1monkey!", "welcome123", // with something around
		"passwordpassword", "dragondragondragon", "Dragon1Dragon1", "monkeymonkeym", // over and over
		"aaaaaaaa", "        ", "121212121212", "abcabcabcabc", "🐎🐎🐎🐎🐎🐎🐎🐎",
		"abcdefgh", "hgfedcba", "23456789", "98765432", "ijklmnopqrstuvwxyz", "αβγδεζηθ", // rows
	} {
		if got := check(t, Policy{}, bad, About{}); got != ReasonTooCommon {
			t.Errorf("%q: got %q, want %s", bad, got, ReasonTooCommon)
		}
	}
	for _, good := range []string{
		secret, "correcthorsebatterystaple", "analytical engine", "kfqzmwpx", "monkey in a dragon", "dragon8817453",
		"sunshineswimmer", "пароль на завтра", "abcdefghx", "abcabcabcabd", "twelve chars",
	} {
		if got := check(t, Policy{}, good, About{}); got != "" {
			t.Errorf("%q: refused as %s", good, got)
		}
	}
}

// STANDARDS W2 (ASVS 6.2.11): names that are guessed first for this person, here.
func TestPolicyRefusesNames(t *testing.T) {
	p := Policy{ServiceNames: []string{"Innkeeper", "inn"}}
	ada := About{Username: "lovelace", Email: "Ada.King+inn@example.com"}
	for password, want := range map[string]Reason{
		"lovelace":                   ReasonContainsUsername,
		"my dear Lovelace, hello":    ReasonContainsUsername,
		"L0v3lac3-analytic":          ReasonContainsUsername,
		"ｌｏｖｅｌａｃｅ and babbage":       ReasonContainsUsername,
		"ada.king+inn is me":         ReasonContainsEmail,
		"ada.king is me":             ReasonContainsEmail,
		"1nnk33p3r in the evening":   ReasonContainsService,
		"INNKEEPER":                  ReasonContainsService,
		"inn 1234":                   ReasonContainsService, // too little beside it
		"winning every other inning": "",
		"example.com is no name":     "",
		"love lace and so on":        "",
	} {
		if got := check(t, p, password, ada); got != want {
			t.Errorf("%q: got %q, want %q", password, got, want)
		}
	}
	if got := check(t, p, "bob@example.org says", About{Username: "bob@example.org"}); got != ReasonContainsUsername {
		t.Errorf("an address for a username: %q", got)
	}
	if got := check(t, p, "bobolink meadow", About{Username: "bob@example.org"}); got != "" {
		t.Errorf("a short name by chance: %q", got)
	}
	if got := check(t, p, "bobbob77", About{Username: "bob@example.org"}); got != ReasonContainsUsername {
		t.Errorf("a short name and nothing else: %q", got)
	}
}

// Every word of the list is found under its own rank, and nothing beside it.
func TestListIsFoundWhole(t *testing.T) {
	words := readList(t)
	if got := binary.BigEndian.Uint32([]byte(commonList)); int(got) != len(words) || len(words) < 40_000 {
		t.Fatalf("the list says %d and has %d words", got, len(words))
	}
	if !sort.StringsAreSorted(words) {
		t.Fatal("the list is not sorted")
	}
	ranks := make(map[int]int)
	for i, word := range words {
		power, ok := rankOf(word)
		if !ok {
			t.Fatalf("%q is not found", word)
		}
		ranks[power]++
		if word != fold(word) || len(word) > longestCommon {
			t.Fatalf("%q can never be found", word)
		}
		beside := word + "\x01"
		if i+1 < len(words) && words[i+1] == beside {
			continue
		}
		if _, ok := rankOf(beside); ok {
			t.Fatalf("%q is found", beside)
		}
	}
	for power := range 15 {
		if ranks[power] != 1<<power {
			t.Errorf("%d words of rank 2^%d", ranks[power], power)
		}
	}
	for _, word := range []string{"", "\x00", "~~~~~~~~", "!", strings.Repeat("x", 21)} {
		if _, ok := rankOf(word); ok {
			t.Errorf("%q is found", word)
		}
	}
}

// readList unpacks the list.
func readList(t *testing.T) (words []string) {
	t.Helper()
	blocks := int(binary.BigEndian.Uint32([]byte(commonList[4:])))
	rest := listAt(blocks, 0)
	var word []byte
	for rest != "" {
		if len(words)%listBlock == 0 && len(rest) != len(listAt(blocks, len(words)/listBlock)) {
			t.Fatalf("block %d begins elsewhere", len(words)/listBlock)
		}
		word, _, rest = nextCommon(word, rest)
		words = append(words, string(word))
	}
	return words
}

// STANDARDS W2 (ASVS 6.2.4): the 3,000 most common ones that are long enough.
func TestPolicyRefusesTheTop3000(t *testing.T) {
	checked := 0
	for _, word := range readList(t) {
		if power, _ := rankOf(word); power >= 12 || len(word) < defaultMinLength {
			continue // beyond the 4,096th, or too short anyway
		}
		checked++
		if got := check(t, Policy{}, word, About{}); got != ReasonTooCommon {
			t.Errorf("%q: got %q", word, got)
		}
	}
	if checked < 500 {
		t.Errorf("only %d were checked", checked)
	}
}

func TestEstimate(t *testing.T) {
	for password, want := range map[string]int{
		"":                            0,
		"password":                    0,
		"P@ssw0rd":                    0,
		"aaaaaaaaaaaaaaaaaaaaaaaa":    0,
		"12345678901234567890":        0,
		"dragondragondragon":          0,
		"abc\xff":                     0,
		strings.Repeat("x", 5000):     0,
		"monkey dragon":               0,
		"kfqzmwpx":                    2,
		"kfqz mwpx":                   3,
		"correct horse":               1,
		"kfqzmwpxwj":                  3,
		secret:                        4,
		"Vq8#x2Lm!t0Z":                4,
		"пароль на завтра":            4,
		strings.Repeat("kfqz8mw ", 9): 2,
	} {
		if got := Estimate(password); got != want {
			t.Errorf("%q: got %d (%.1f bits), want %d", password, got, guessBits(password), want)
		}
	}
}

// Whatever is added to a password, it never gets weaker but for a repetition or a
// word that it completes; a random character always counts.
func TestEstimateGrowsWithLength(t *testing.T) {
	const random = "q9vk2xw7hz4mb8td"
	last := 0.0
	for n := range random {
		bits := guessBits(random[:n+1])
		if bits <= last {
			t.Errorf("%q: %.1f bits, and %.1f without the last character", random[:n+1], bits, last)
		}
		last = bits
	}
}

// Forms ask at every key, and anybody may. What is counted is memory, since time is the
// machine's; to look each part of a password up by itself took four times as much.
func TestEstimateCostsLittle(t *testing.T) {
	for name, password := range longPasswords {
		if n := testing.AllocsPerRun(10, func() { Estimate(password) }); n > 4*estimated {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

// What comes after the beginning that is looked at changes nothing.
func TestEstimateOfLongPasswords(t *testing.T) {
	for name, test := range map[string]struct {
		beginning string
		want      int
	}{
		"strong":           {strings.Repeat(secret, 2*estimated/len(secret)+2), 4},
		"a row":            {strings.Repeat("x", 2*estimated+2), 0},
		"a repeated word":  {strings.Repeat("dragon", 2*estimated/6+2), 0},
		"many characters":  {strings.Repeat("q9vk2xw7hz4mb8td", 2*estimated/16)[1:] + "Jq!", 4},
		"letters from one": {strings.Repeat("\ufdfa", 2*estimated), 4},
	} {
		for _, tail := range []string{"", "x", " and three more words", strings.Repeat("\ufdfa", 100)} {
			if got := Estimate(test.beginning + tail); got != test.want {
				t.Errorf("%s: got %d, want %d", name, got, test.want)
			}
		}
	}
}

// TestBeginnings compares it with looking up every length.
func TestBeginnings(t *testing.T) {
	words := readList(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom(words).Draw(t, "word")
		text = text[:rapid.IntRange(0, len(text)).Draw(t, "cut")] + rapid.OneOf(rapid.SampledFrom(words), rapid.String()).Draw(t, "rest")
		got, want := map[int]int{}, map[int]int{}
		beginnings(text, func(length, power int) { got[length] = power })
		for length := 3; length <= len(text); length++ {
			if power, ok := rankOf(text[:length]); ok {
				want[length] = power
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	})
}

// TestWhatIsCommonIsFoundFast compares the short cuts with the long ways.
func TestWhatIsCommonIsFoundFast(t *testing.T) {
	words := readList(t)
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.OneOf(rapid.SampledFrom(words), rapid.String(), rapid.StringMatching("[0-9!]{0,5}[a-f]{1,3}[0-9!]{0,5}")).Draw(t, "unit")
		text := fold(strings.Repeat(unit, rapid.IntRange(1, 5).Draw(t, "times")))
		text += text[:rapid.IntRange(0, len(text)).Draw(t, "more")]
		known := func(unit string, ok bool) bool { return ok && (utf8.RuneCountInString(unit) < 4 || isListed(unit)) }
		if fast, slow := known(shortlyRepeated(text)), known(repeated(text)); fast != slow {
			t.Errorf("%q is repeated: %v, and the long way %v", text, fast, slow)
		}
		first := rapid.RuneFrom([]rune("agä09")).Draw(t, "first")
		row := []rune{first}
		for range rapid.IntRange(0, 6).Draw(t, "steps") {
			row = append(row, row[len(row)-1]+rapid.Int32Range(-2, 2).Draw(t, "step"))
		}
		if fast, slow := isRow(string(row)), len(row) > 2 && rowLength(row) == len(row); fast != slow {
			t.Errorf("%q is a row: %v, and the long way %v", string(row), fast, slow)
		}
	})
}

// longPasswords are what it costs most to judge.
var longPasswords = map[string]string{
	"short":                    secret,
	"signs that stand for two": strings.Repeat("p1$tEr!ng0la5+q7w3@", 60)[:1024],
	"letters":                  strings.Repeat("password1 ", 102),
	"one letter for eighteen":  strings.Repeat("\ufdfa", 1024/3),
}

func BenchmarkEstimate(b *testing.B) {
	for name, password := range longPasswords {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Estimate(password)
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	about := About{Username: "lovelace", Email: "ada@example.com"}
	for name, password := range longPasswords {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = Policy{}.Check(password, about)
			}
		})
	}
}
