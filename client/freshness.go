package client

import (
	"math/rand/v2"
	"time"
)

// reading is the time on two clocks. The wall clock is set, by people and by NTP; the
// monotonic one stands still on Linux while the machine sleeps. Something is over when
// either says so.
type reading struct {
	wall time.Time
	mono time.Duration
}

// since is how long ago an earlier reading was, on the clock that says longer.
func (r reading) since(earlier reading) time.Duration {
	return max(r.wall.Sub(earlier.wall), r.mono-earlier.mono)
}

// clock reads both clocks.
type clock func() reading

// newClock returns a clock that tells what now tells.
func newClock(now func() time.Time) clock {
	start := now()
	return func() reading {
		t := now()
		return reading{wall: t.Round(0), mono: t.Sub(start)} // Round takes the monotonic part off
	}
}

type freshness int

const (
	expired freshness = iota // wait for another one
	stale                    // good, and another one should be fetched
	fresh
)

// state is the token that is handed out. It does not change.
type state struct {
	token    Token
	asked    reading // when it was asked for: it is younger than that
	lifetime time.Duration
	margin   time.Duration // before its end, in which it is stale
	doubtful bool          // the stored times cannot be right: use it, and fetch another one
	demanded bool          // the one before it was refused by an API
}

// Margins are 60 seconds, or a fifth of a short life, and up to a tenth of it more, at
// random, so that processes that signed in together do not refresh together.
const maxMargin = time.Minute

func newState(session *Session, asked reading) *state {
	lifetime := session.Lifetime
	return &state{
		token: Token{
			Access: session.AccessToken, SessionID: session.ID, Generation: session.Generation,
			UserID: session.User.ID, ExpiresAt: asked.wall.Add(lifetime),
		},
		asked: asked, lifetime: lifetime,
		margin: min(maxMargin, lifetime/5) + rand.N(lifetime/10+1), //nolint:gosec // spreads load, and guards nothing
	}
}

// restoredState is the state of a session that was read from a store. When its token
// was asked for is known by a wall clock only, which may have been set since.
func restoredState(session *Session, now reading) *state {
	age := now.wall.Sub(session.RequestedAt)
	if doubtful := age < 0 || session.Lifetime <= 0 || session.Lifetime > maxLifetime; doubtful {
		session = session.clone()
		session.Lifetime = min(max(session.Lifetime, time.Minute), maxLifetime)
		s := newState(session, now)
		s.doubtful = true
		return s
	}
	return newState(session, reading{wall: session.RequestedAt, mono: now.mono - age})
}

func (s *state) freshness(now reading) freshness {
	age := now.since(s.asked)
	switch {
	case age >= s.lifetime:
		return expired
	case s.doubtful, age >= s.lifetime-s.margin:
		return stale
	}
	return fresh
}

// maxDemandPause bounds how often tokens are refreshed because an API refuses them: one
// that refuses all of them would have us refresh with every request.
const maxDemandPause = 10 * time.Second

// demandedLately reports whether the token is so young, and came because the one
// before it was refused, that yet another one would not help.
func (s *state) demandedLately(now reading) bool {
	return s.demanded && now.mono-s.asked.mono < min(maxDemandPause, s.lifetime/10)
}
