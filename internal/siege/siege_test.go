package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The tests are short runs that assert what no clock decides: what gets through, and that
// no owner is kept out. What is measured is for `go run`.

func TestMain(m *testing.M) {
	attackIfAsked()
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
			s := storm{out: &out, attackers: 100, sessions: 40, strangers: strangers, phase: time.Second, rounds: 1}
			err := s.run(t.Context())
			t.Log(out.String())
			if err != nil {
				t.Fatal(err)
			}
			if s.told[401] == 0 || s.refreshes[1].count() == 0 || s.patience.count() == 0 {
				t.Error("somebody was not there")
			}
		})
	}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := timing{out: &out, tries: 20, bytesOnly: true}
	err := s.run(t.Context())
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}
