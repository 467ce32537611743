package innkeeper

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The policy is tested twice: as a table to be read, and against what has to hold for
// every way of trying (NIST SP 800-63B section 3.2.2; ASVS 6.1.1: STANDARDS W3).

// TestWaits is the table: how long to wait after so many tries, some time after the
// latest of them.
func TestWaits(t *testing.T) {
	curves := map[string]curve{"account": accountCurve, "network": networkCurve, "sign-ups": signUpCurve, "devices": devicesCurve}
	for _, test := range []struct {
		curve string
		count int
		since time.Duration
		want  time.Duration
	}{
		{"account", 0, 0, 0},
		{"account", 4, 0, 0},
		{"account", 5, 0, time.Second},
		{"account", 5, time.Second - time.Microsecond, time.Microsecond},
		{"account", 5, time.Second, 0},
		{"account", 6, 0, 2 * time.Second},
		{"account", 10, 0, 32 * time.Second},
		{"account", 16, 0, 2048 * time.Second},
		{"account", 17, 0, time.Hour},
		{"account", 1_000_000_000, 0, time.Hour},
		{"account", 1_000_000_000, 24*time.Hour - time.Microsecond, 0},
		{"account", 1_000_000_000, 24 * time.Hour, 0},
		{"account", 17, -time.Second, time.Hour + time.Second}, // another server's clock is ahead
		{"account", 17, -time.Hour, 2 * time.Hour},
		{"account", 17, -time.Hour - 1, 0}, // the clock was set back
		{"network", 9, 0, 0},
		{"network", 10, 0, time.Second},
		{"network", 19, 0, 512 * time.Second},
		{"network", 20, 0, 15 * time.Minute},
		{"network", 20, time.Hour, 0},
		{"sign-ups", 99, 0, 0},
		{"sign-ups", 100, 0, time.Second},
		{"sign-ups", 110, 0, 15 * time.Minute},
		{"sign-ups", 110, time.Hour, 0},
		{"devices", 19, 0, 0},
		{"devices", 20, 0, time.Second},
	} {
		seen := Attempts{Count: test.count, LastAt: noon.Add(-test.since)}
		if test.count == 0 {
			seen = Attempts{}
		}
		if got := curves[test.curve].wait(seen, noon); got != test.want {
			t.Errorf("%s, %s after try %d: wait %s, want %s", test.curve, test.since, test.count, got, test.want)
		}
	}
}

// TestTaken is the other half: what is remembered of one more try.
func TestTaken(t *testing.T) {
	for name, test := range map[string]struct{ seen, want Attempts }{
		"the first":                    {Attempts{}, Attempts{1, noon}},
		"one more":                     {Attempts{7, noon.Add(-time.Hour)}, Attempts{8, noon}},
		"after a quiet time":           {Attempts{7, noon.Add(-24 * time.Hour)}, Attempts{1, noon}},
		"on a server whose clock lags": {Attempts{7, noon.Add(time.Minute)}, Attempts{8, noon.Add(time.Minute)}},
		"after the clock was set back": {Attempts{7, noon.Add(2 * time.Hour)}, Attempts{8, noon}},
	} {
		if got := accountCurve.taken(test.seen, noon); !got.Equal(test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// TestGuessesInTime plays the best of guessers: it tries whenever it may, or stops after
// some tries and waits until they are forgotten, whichever gives it most. What
// docs/threat-model.md says of the number of guesses is computed here (W3).
func TestGuessesInTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		curve curve
		in    time.Duration
		want  int
	}{
		{"one account", accountCurve, time.Hour, 16},
		{"one account", accountCurve, 24 * time.Hour, 39},
		{"one account", accountCurve, 84 * time.Hour, 99},
		{"one account", accountCurve, 365 * 24 * time.Hour, 8775},
		{"one network", networkCurve, time.Hour, 22},
		{"one network", networkCurve, 24 * time.Hour, 415},
	} {
		best, rests := 0, 0
		for restAfter := range 40 { // 0: never
			if n := guesses(test.curve, test.in, restAfter); n > best {
				best, rests = n, restAfter
			}
		}
		t.Logf("%s, %s: %d guesses, resting after %d", test.name, test.in, best, rests)
		if best != test.want {
			t.Errorf("%s, %s: %d guesses, want %d", test.name, test.in, best, test.want)
		}
	}
}

// guesses counts what one gets who rests for the quiet time after so many tries.
func guesses(c curve, in time.Duration, restAfter int) (through int) {
	var seen Attempts
	for now := noon; now.Before(noon.Add(in)); {
		if wait := c.wait(seen, now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		seen = c.taken(seen, now)
		through++
		if seen.Count == restAfter {
			now = now.Add(c.quiet)
		}
	}
	return through
}

// TestEveryWayOfTrying tries at any times, from servers whose clocks differ by up to a
// minute, and checks what must hold for all of them.
func TestEveryWayOfTrying(t *testing.T) {
	const skew = time.Minute
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]curve{accountCurve, networkCurve, devicesCurve}).Draw(t, "curve")
		var seen Attempts
		var through []time.Time // real times, since the last quiet time
		for now, n := noon, rapid.IntRange(1, 80).Draw(t, "tries"); n > 0; n-- {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(c.longest)*2).Draw(t, "pause")))
			here := now.Add(time.Duration(rapid.Int64Range(0, int64(skew)).Draw(t, "skew"))).Truncate(time.Microsecond)
			wait := c.wait(seen, here)
			if wait < 0 || wait > c.longest+skew {
				t.Fatalf("wait %s", wait)
			}
			if wait > 0 {
				// What was promised holds: at that time, and not a moment before.
				if c.wait(seen, here.Add(wait-time.Microsecond)) == 0 || c.wait(seen, here.Add(wait)) != 0 {
					t.Fatalf("a wait of %s is not that long", wait)
				}
				continue
			}
			before := seen
			seen = c.taken(seen, here)
			switch {
			case seen.Count == 1:
				if !before.IsZero() && here.Sub(before.LastAt) < c.quiet {
					t.Fatalf("forgotten after %s", here.Sub(before.LastAt))
				}
				through = nil
			case seen.Count != before.Count+1 || seen.LastAt.Before(before.LastAt):
				t.Fatalf("%+v after %+v", seen, before)
			}
			through = append(through, now)
			if over := len(through) - 1 - c.free; over >= 0 {
				least := min(c.first<<min(over, 20), c.longest) - skew
				if pause := through[len(through)-1].Sub(through[len(through)-2]); pause < least {
					t.Fatalf("try %d came %s after the one before, want %s at least", len(through), pause, least)
				}
			}
		}
	})
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7/32",
		"::ffff:192.0.2.7":       "192.0.2.7/32", // the same machine, as a socket of both families sees it
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":    "2001:db8:1:2::/64",
		"2001:db8:1:3::":         "2001:db8:1:3::/64",
		"fe80::1%eth0":           "fe80::/64",
		"::ffff:192.0.2.7%wlan0": "192.0.2.7/32",
	} {
		if got := network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is in %s, want %s", addr, got, want)
		}
	}
	if got := network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address is in %s", got)
	}
}

// TestRefreshLimit lets a session use up what it has saved, and earn it again.
func TestRefreshLimit(t *testing.T) {
	var l refreshLimit
	if err := l.perMinute(0); err != nil {
		t.Fatal(err)
	}
	wild, calm := SessionID{1}, SessionID{2}
	for i := range 60 {
		if wait := l.take(wild, noon); wait != 0 {
			t.Fatalf("refresh %d has to wait %s", i+1, wait)
		}
	}
	for range 100 { // asking makes it no longer
		if wait := l.take(wild, noon); wait != time.Second {
			t.Fatalf("wait %s", wait)
		}
	}
	if wait := l.take(calm, noon); wait != 0 {
		t.Fatalf("another session has to wait %s", wait)
	}
	now := noon.Add(time.Second)
	if l.take(wild, now) != 0 || l.take(wild, now) != time.Second {
		t.Fatal("one second does not earn one refresh")
	}
	// It goes on asking, and is not forgotten.
	through := 0
	for range 3600 * 10 {
		now = now.Add(100 * time.Millisecond)
		if l.take(wild, now) == 0 {
			through++
		}
	}
	if through != 3600 {
		t.Errorf("%d refreshes got through in an hour", through)
	}
	if n := len(l.recent) + len(l.older); n > 2 {
		t.Errorf("%d sessions are remembered", n)
	}
	now = now.Add(-time.Hour) // the clock is set back: nobody waits for that
	if wait := l.take(wild, now); wait != 0 {
		t.Errorf("wait %s after the clock was set back", wait)
	}
	now = now.Add(3 * time.Minute)
	l.take(calm, now)
	now = now.Add(3 * time.Minute)
	l.take(calm, now)
	if _, kept := l.older[wild]; kept || len(l.recent) != 1 || len(l.older) != 1 {
		t.Errorf("what is of no use is remembered: %v and %v", l.recent, l.older)
	}
}

// TestRefreshLimitIsBounded lets more sessions refresh than there is room for. The one
// that does not rest is remembered all the time.
func TestRefreshLimitIsBounded(t *testing.T) {
	var l refreshLimit
	if err := l.perMinute(2); err != nil {
		t.Fatal(err)
	}
	wild := SessionID{1}
	through := 0
	for i := range 3 * maxAllowances {
		l.take(SessionID{2, byte(i >> 16), byte(i >> 8), byte(i)}, noon)
		if l.take(wild, noon) == 0 {
			through++
		}
	}
	if n := len(l.recent) + len(l.older); n > 2*maxAllowances {
		t.Errorf("%d sessions are remembered", n)
	}
	if through != 2 {
		t.Errorf("the wild one refreshed %d times, want 2", through)
	}
}

func TestRefreshLimitSettings(t *testing.T) {
	var off, wrong refreshLimit
	if err := off.perMinute(-1); err != nil || off.take(SessionID{}, noon) != 0 || off.recent != nil {
		t.Error("it is not off")
	}
	if err := wrong.perMinute(maxRefreshLimit + 1); err == nil {
		t.Error("a limit that is none was accepted")
	}
}
