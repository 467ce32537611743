package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests are short runs that assert what no clock decides: what gets through, and that
// no owner is kept out. What is measured is for `go run`.

func TestMain(m *testing.M) {
	beChildIfAsked()
	os.Exit(m.Run())
}

func TestStuffing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := stuffing{out: &out, accounts: 120, addresses: 12, one: 2 * time.Second}
	err := s.run(t.Context())
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		// Ten tries from each address are less than anything that shared networks can do
		// without; what is guessed at once gets through.
		"round 1, 120 accounts from 12 addresses, one password each: 1 got in, 119 wrong, 0 refused",
		"50 of 50 at once on a device that is known, 50 of 50 at once on a new one",
		"and was refused 0 times",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing was said of %q", want)
		}
	}
}

func TestStorm(t *testing.T) {
	t.Parallel()
	for name, strangers := range map[string]int{"at names that nobody has": 0, "at people who were imported": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := storm{out: &out, attackers: 100, sessions: 40, strangers: strangers, phase: time.Second, rounds: 1, countsOnly: true}
			err := s.run(t.Context())
			t.Log(out.String())
			if err != nil {
				t.Fatal(err)
			}
			if s.told[401] == 0 || s.refreshes[besideLoop].count() == 0 || s.refreshes[inStorm].count() == 0 || s.visits.lasted.count() < owners {
				t.Error("somebody was not there")
			}
		})
	}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := timing{out: &out, tries: 10, bytesOnly: true}
	err := s.run(t.Context())
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}

// TestAStormThatCostsTooMuchFails hands made-up measurements to the verdict: what the
// short storms above do not judge as well.
func TestAStormThatCostsTooMuchFails(t *testing.T) {
	t.Parallel()
	const ordinary = 10 * time.Millisecond
	for name, test := range map[string]struct {
		slow   time.Duration // the refreshes in the storm; 0: there are none
		memory int           // MiB
		spoil  func(s *storm)
		want   string // in the error; empty: there is none
	}{
		"as the figures want it":            {slow: 2 * ordinary, memory: maxMemory},
		"refreshes are slow":                {slow: 2*ordinary + time.Millisecond, want: "2.10 times as slow"},
		"memory":                            {slow: ordinary, memory: maxMemory + 64*maxMemoryPerCore*runtime.GOMAXPROCS(0), want: "MiB"},
		"nobody refreshed in quiet":         {spoil: func(s *storm) { s.refreshes[inQuiet].each = nil }, want: "NaN times"},
		"an owner gave up":                  {slow: ordinary, spoil: func(s *storm) { s.visits.gaveUp.Add(1) }, want: "1 visits ended without patience"},
		"an owner was refused":              {slow: ordinary, spoil: func(s *storm) { s.visits.refused.Add(1) }, want: "1 were refused"},
		"an owner never got in":             {slow: ordinary, spoil: func(s *storm) { s.visits.each[3].Store(0) }, want: "1 of 10 were never let in"},
		"and a short storm leaves out time": {slow: 9 * ordinary, memory: 1 << 20, spoil: func(s *storm) { s.countsOnly = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storm{out: io.Discard}
			for n := range owners {
				s.visits.each[n].Store(1)
			}
			s.refreshes[inQuiet].add(ordinary)
			if test.slow > 0 {
				s.refreshes[inStorm].add(test.slow)
			}
			if test.spoil != nil {
				test.spoil(&s)
			}
			err := s.verdict(0, test.memory)
			if got := fmt.Sprint(err); (err == nil) != (test.want == "") || !strings.Contains(got, test.want) && err != nil {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestTimeThatTellsFails asks made-up questions, and expects an error of those whose two
// ways do not look the same.
func TestTimeThatTellsFails(t *testing.T) {
	t.Parallel()
	answers := func(status int, slower time.Duration) way {
		n := 0
		return func(context.Context, int) (answer, error) {
			n++
			return answer{status: status, took: time.Duration(n%50)*time.Millisecond + slower}, nil
		}
	}
	for name, test := range map[string]struct {
		two     way
		differs string
		want    string // in the error; empty: there is none
	}{
		"nothing":                       {two: answers(401, 0)},
		"a tenth of the time":           {two: answers(401, 5*time.Millisecond), want: "time tells one from two"},
		"the same, and it is known to":  {two: answers(401, 5*time.Millisecond), differs: "it is known"},
		"the answer":                    {two: answers(403, 0), want: "the answers differ"},
		"the answer, where time may be": {two: answers(403, 0), differs: "it is known", want: "the answers differ"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge := timing{out: io.Discard, tries: 2000}
			err := judge.compare(t.Context(), question{name: "q", one: "one", two: "two", ask: ways(answers(401, 0), test.two), differs: test.differs})
			if got := fmt.Sprint(err); (err == nil) != (test.want == "") || !strings.Contains(got, test.want) && err != nil {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestGuessesThatGetThroughFail counts one more than there may be.
func TestGuessesThatGetThroughFail(t *testing.T) {
	t.Parallel()
	count := func(looked, other int64) *tally {
		one, sum := &tally{}, &tally{}
		one.looked.Store(looked)
		one.other.Store(other)
		sum.add(one)
		return sum
	}
	for name, test := range map[string]struct {
		tally *tally
		took  time.Duration
		fails bool
	}{
		"as many as may":        {tally: count(hourOfAccount, 0), took: time.Minute},
		"one more":              {tally: count(hourOfAccount+1, 0), took: time.Minute, fails: true},
		"something unheard of":  {tally: count(1, 1), took: time.Minute, fails: true},
		"longer than the bound": {tally: count(1, 0), took: time.Hour + 1, fails: true},
	} {
		if err := test.tally.within(hourOfAccount, test.took); (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		fails      bool
	}{
		"in": {status: 200}, "an hour": {status: 429, retryAfter: "3600"}, "longer": {status: 429, retryAfter: "3601", fails: true},
		"for ever": {status: 429, fails: true}, "another answer": {status: 503, retryAfter: "1", fails: true},
	} {
		if err := waits(answer{status: test.status, header: http.Header{"Retry-After": {test.retryAfter}}}); (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestArguments needs no server: all of these are wrong.
func TestArguments(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"say what to try":  {},
		"unknown attack":   {"flood"},
		`"b" is too much`:  {"timing", "a", "b"},
		`"a" is too much`:  {"storm", "a"},
		"not defined: -no": {"stuffing", "-no"},
	} {
		if err := run(t.Context(), io.Discard, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestOneQuestionIsAskedAlone(t *testing.T) {
	t.Parallel()
	var asked []string
	ask := func(name string) question {
		each := func(context.Context, int) (answer, error) {
			asked = append(asked, name)
			return answer{took: time.Duration(len(asked))}, nil
		}
		return question{name: name, ask: ways(each, each)}
	}
	judge := timing{out: io.Discard, tries: 2, only: "this", bytesOnly: true}
	if err := judge.compareAll(t.Context(), []question{ask("that"), ask("this")}); err != nil || !slices.Equal(asked, []string{"this", "this"}) {
		t.Errorf("%v, and %q were asked", err, asked)
	}
}
