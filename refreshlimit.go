package innkeeper

import (
	"fmt"
	"sync"
	"time"
)

// defaultRefreshLimit is far beyond what an honest client needs, which refreshes once in
// the life of an access token, and what many tabs and retries make of that.
const defaultRefreshLimit = 60

// maxRefreshLimit keeps a moment longer than what a time can hold.
const maxRefreshLimit = 60_000

// maxLimitedSessions is how many sessions are remembered in each of two maps: 5 MB
// together, when they are full.
const maxLimitedSessions = 1 << 15

// refreshLimit bounds how often one session is refreshed at one server: a client gone
// wild costs the store no more than 60 honest ones. It is never about an address, so
// nobody is slowed down for a neighbor; and it stands behind the check of the token's
// tag, so nobody can use up what is another's.
//
// It is kept in memory, and writes nothing: a refresh stays one row and one statement.
// What is forgotten, by a restart or since more sessions refresh within a minute than
// there is room for, begins anew, which is what honest clients do anyway. A session that
// does not rest is never forgotten for those that do.
type refreshLimit struct {
	every time.Duration // in which one refresh is earned; zero: no limit
	burst time.Duration // in which as many are earned as may be saved up

	mu sync.Mutex
	// For each session the time at which all that it has used is earned again. Older
	// ones than the burst are of no more use.
	recent, older map[SessionID]time.Time
	turnedAt      time.Time // when recent was begun
}

// perMinute sets the limit: so many refreshes at once, and in each minute.
func (l *refreshLimit) perMinute(n int) error {
	switch {
	case n < 0:
		return nil
	case n == 0:
		n = defaultRefreshLimit
	case n > maxRefreshLimit:
		return &InputError{Field: "refresh-limit", Detail: fmt.Sprintf("choose 1 to %d, or turn it off", maxRefreshLimit)}
	}
	l.every = time.Minute / time.Duration(n)
	l.burst = l.every * time.Duration(n)
	return nil
}

// take uses up one refresh of a session, or returns how long to wait for the next one.
func (l *refreshLimit) take(session SessionID, now time.Time) (wait time.Duration) {
	if l.every == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	earned, ok := l.recent[session]
	if !ok {
		earned = l.older[session]
	}
	if earned.Before(now) || earned.After(now.Add(l.burst)) { // or the clock was set back
		earned = now
	}
	if over := earned.Add(l.every).Sub(now) - l.burst; over > 0 {
		l.recent[session] = earned // it is remembered for as long as it goes on asking
		return over
	}
	l.recent[session] = earned.Add(l.every)
	return 0
}

// turn forgets what was not used for as long as it takes to earn everything again, or
// what was not used lately when there is no more room.
func (l *refreshLimit) turn(now time.Time) {
	if l.recent != nil && len(l.recent) < maxLimitedSessions && !now.Before(l.turnedAt) && now.Sub(l.turnedAt) < l.burst {
		return
	}
	l.older, l.recent, l.turnedAt = l.recent, make(map[SessionID]time.Time), now
}
