package innkeeper

import (
	"sync"
	"time"
)

// maxAllowances is how many are remembered in each of two maps: 5 MB together, when they
// are full.
const maxAllowances = 1 << 15

// allowance bounds how often each of many does something at one server: so often at
// once, and so often in each minute. The zero value is no bound.
//
// It is kept in memory, and writes nothing. What is forgotten, by a restart or since
// more have come within a minute than there is room for, begins anew, which is what
// honest ones do anyway. Who does not rest is never forgotten for those who do.
type allowance[K comparable] struct {
	every time.Duration // in which one is earned; zero: no bound
	burst time.Duration // in which as many are earned as may be saved up

	mu sync.Mutex
	// For each the time at which all that it has used is earned again. Older ones than
	// the burst are of no more use.
	recent, older map[K]time.Time
	turnedAt      time.Time // when recent was begun
}

// perMinute sets the bound: so many at once, and in each minute.
func (l *allowance[K]) perMinute(n int) {
	l.every = time.Minute / time.Duration(n)
	l.burst = l.every * time.Duration(n)
}

// take uses up one, or returns how long to wait for the next one.
func (l *allowance[K]) take(who K, now time.Time) (wait time.Duration) {
	if l.every == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	earned, ok := l.recent[who]
	if !ok {
		earned = l.older[who]
	}
	if earned.Before(now) || earned.After(now.Add(l.burst)) { // or the clock was set back
		earned = now
	}
	if over := earned.Add(l.every).Sub(now) - l.burst; over > 0 {
		l.recent[who] = earned // it is remembered for as long as it goes on asking
		return over
	}
	l.recent[who] = earned.Add(l.every)
	return 0
}

// turn forgets what was not used for as long as it takes to earn everything again, or
// what was not used lately when there is no more room.
func (l *allowance[K]) turn(now time.Time) {
	if l.recent != nil && len(l.recent) < maxAllowances && !now.Before(l.turnedAt) && now.Sub(l.turnedAt) < l.burst {
		return
	}
	l.older, l.recent, l.turnedAt = l.recent, make(map[K]time.Time), now
}
