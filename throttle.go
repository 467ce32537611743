package innkeeper

import (
	"fmt"
	"net/netip"
	"time"
)

// How fast passwords can be guessed is decided here, from what a store has counted and
// the time, and nowhere else. Nothing in this file looks at a clock or a store.
//
// A try costs a bit of patience before it is known how it ends: of any number of tries
// at the same moment only as many are let through as one after the other would be. Who
// is refused is told for how long, and nothing is written: to keep asking makes no wait
// longer. See docs/decisions/0019.

// SignInLimits says by what failed sign-ins are counted and slowed down.
type SignInLimits string

// The limits. The zero value means LimitAccountsAndNetworks.
const (
	LimitAccountsAndNetworks SignInLimits = "all"
	// LimitAccounts leaves out the networks from which people come, for servers behind
	// something that limits addresses itself, or where everybody has the same one. One
	// password can then be tried on any number of accounts.
	LimitAccounts SignInLimits = "accounts"
	// InsecureLimitNothing lets everybody guess as fast as passwords can be hashed. It
	// MUST NOT be used where strangers can reach the server: it is for tests and for
	// measurements.
	InsecureLimitNothing SignInLimits = "off"
)

func (l SignInLimits) withDefault() (SignInLimits, error) {
	switch l {
	case "":
		return LimitAccountsAndNetworks, nil
	case LimitAccountsAndNetworks, LimitAccounts, InsecureLimitNothing:
		return l, nil
	}
	return l, &InputError{Field: "sign-in-limits", Detail: `choose "all", "accounts" or "off"`}
}

// Attempts is what a store remembers of the tries to prove a password under one key:
// those that have failed, and those that are under way. The zero value is no try.
type Attempts struct {
	Count  int
	LastAt time.Time // of the latest one
}

// IsZero reports whether there is nothing to remember.
func (t Attempts) IsZero() bool { return t.Count == 0 }

// Equal reports whether both remember the same.
func (t Attempts) Equal(other Attempts) bool {
	return t.Count == other.Count && t.LastAt.Equal(other.LastAt)
}

// curve is how patience runs out: some tries are free, after each further one there is
// a wait of twice the length, and after a time without any all is forgotten.
type curve struct {
	free           int
	first, longest time.Duration // waits
	quiet          time.Duration // what it takes to forget; more than longest
}

// The curves. A person mistypes a password a few times and then waits for seconds. Who
// guesses at one account gets 16 tries in the first hour and one in each hour after
// that: 39 in a day, and the 100 in a row of NIST SP 800-63B section 3.2.2 in three and
// a half days of never letting go. Nothing is locked then: that is what a stranger
// could do to the owner.
var (
	accountCurve = curve{free: 5, first: time.Second, longest: time.Hour, quiet: 24 * time.Hour}
	// More people than one share a network, and one person can change it.
	networkCurve = curve{free: 10, first: time.Second, longest: 15 * time.Minute, quiet: time.Hour}
	// Sign-ups that succeed, of all the people in a class room or an office. Who wants more
	// accounts than that gets four in an hour.
	signUpCurve = curve{free: 100, first: time.Second, longest: 15 * time.Minute, quiet: time.Hour}
	// All devices of one person together. It bounds what somebody gains who has known the
	// password, and has collected tokens of devices with it, once it is changed.
	devicesCurve = curve{free: 20, first: time.Second, longest: time.Hour, quiet: 24 * time.Hour}
)

// attemptRetention is how long a store keeps what no curve remembers.
const attemptRetention = 24 * time.Hour

// wait returns how long to wait for the next try. Zero lets it through.
func (c curve) wait(seen Attempts, now time.Time) time.Duration {
	if seen.Count < c.free || c.forgotten(seen, now) || c.ahead(seen, now) {
		return 0
	}
	const enough = 30 // doublings: more than any longest, and less than overflows
	wait := min(c.first<<min(seen.Count-c.free, enough), c.longest)
	return max(0, seen.LastAt.Add(wait).Sub(now))
}

// forgotten reports whether the latest try is so long ago that none counts any more.
func (c curve) forgotten(seen Attempts, now time.Time) bool {
	return seen.IsZero() || !now.Before(seen.LastAt.Add(c.quiet))
}

// ahead reports whether a try lies so far in the future that clocks of servers which
// differ do not explain it: the clock was set back. To wait for that could take for
// ever; a try is let through, and puts the time right.
func (c curve) ahead(seen Attempts, now time.Time) bool { return seen.LastAt.After(now.Add(c.longest)) }

// taken returns what to remember once one more try is under way. Servers whose clocks
// differ a little never move the latest one back: who goes from one to the other gains
// nothing.
func (c curve) taken(seen Attempts, now time.Time) Attempts {
	if c.forgotten(seen, now) {
		return Attempts{Count: 1, LastAt: now}
	}
	if now.After(seen.LastAt) || c.ahead(seen, now) {
		seen.LastAt = now
	}
	seen.Count++
	return seen
}

// network is what one stranger can easily have all of: one address of IPv4, a /64 of
// IPv6. The zero value means that no address is known, which is a network as well:
// people without an address share the patience of one.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = addr.BitLen()
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// TooManyAttemptsError reports a try that came too early. Nothing was looked at and
// nothing was consumed. It matches [ErrTooManyAttempts].
type TooManyAttemptsError struct {
	RetryAfter time.Duration // until then every other try is refused as well
}

func (e *TooManyAttemptsError) Error() string {
	return fmt.Sprintf("%v; try again in %s", ErrTooManyAttempts, e.RetryAfter)
}

// Is makes every TooManyAttemptsError match [ErrTooManyAttempts].
func (e *TooManyAttemptsError) Is(target error) bool { return target == ErrTooManyAttempts }
