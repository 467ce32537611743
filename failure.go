package innkeeper

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds on what strangers can make one server write by being turned away. Together they
// are 660 rows an hour for each of the four kinds, or 5 MB a day of a database.
const (
	// failureWindow is how long failures are counted together.
	failureWindow = time.Minute
	// maxFailuresCounted is how many pairs of a user and a network are told apart within
	// a window. It bounds the memory.
	maxFailuresCounted = 512
	// maxFailureRows is how many of them are written in an hour.
	maxFailureRows = 600
	// flushTimeout bounds one writing, also the last one of a server that stops.
	flushTimeout = 5 * time.Second
)

// failures counts refusals of one kind until they are written down, together, by
// [Authority.Run]: beside the requests, and for failed sign-ins alike for users who exist
// and for those who do not. To count costs the same for both, so no time tells one from
// the other; what is written is bounded, so nobody fills the disk. What is beyond the
// bounds is counted without names, in one row for each minute: the log never says less
// than how many there were. See docs/decisions/0026.
//
// The name that was typed in is not kept: people type their password there.
//
// Each kind is counted by itself, so that however many there are of one, they take no room
// from the others.
type failures struct {
	mu      sync.Mutex
	counted map[failureKey]failure
	rest    failure // of those that found no place
	hour    time.Time
	written int // in this hour
}

type failureKey struct {
	user    UserID       // zero value: nobody's name
	session SessionID    // that tried; zero value: none
	network netip.Prefix // of the address: one of IPv4, a /64 of IPv6
}

type failure struct {
	event Event // the first one, with the client of the latest
	until time.Time
	times int
}

func (f *failure) add(other failure) {
	if f.times == 0 {
		*f = other
		return
	}
	f.times += other.times
	f.event.Client = other.event.Client
	f.until = other.until
}

// count takes note of one refusal, and reports whether it is the first of its user, session
// and network in this window. It is false for those that found no place.
func (l *failures) count(event Event) (first bool) {
	key := failureKey{event.UserID, event.SessionID, network(event.Client.Addr)}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.counted[key]
	l.add(key, failure{event: event, until: event.At, times: 1})
	_, counted := l.counted[key]
	return counted && !known
}

// countNameless takes note of one without saying whose it was.
func (l *failures) countNameless(event Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fold(failure{event: event, until: event.At, times: 1})
}

func (l *failures) add(key failureKey, f failure) {
	known, ok := l.counted[key]
	switch {
	case ok, len(l.counted) < maxFailuresCounted:
		if l.counted == nil {
			l.counted = make(map[failureKey]failure)
		}
		known.add(f)
		l.counted[key] = known
	default:
		l.fold(f)
	}
}

// fold counts a failure without saying whose it was.
func (l *failures) fold(f failure) {
	f.event = Event{At: f.event.At, Kind: f.event.Kind}
	l.rest.add(f)
}

// take returns what there is to write, and begins anew. Those with the most failures
// come first, and what the hour has no room for is folded into the last one.
func (l *failures) take(now time.Time) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if hour := now.Truncate(time.Hour); !hour.Equal(l.hour) {
		l.hour, l.written = hour, 0
	}
	all := make([]failure, 0, len(l.counted))
	for _, f := range l.counted {
		all = append(all, f)
	}
	slices.SortFunc(all, func(x, y failure) int {
		return cmp.Or(cmp.Compare(y.times, x.times), x.event.At.Compare(y.event.At), bytes.Compare(x.event.UserID[:], y.event.UserID[:]))
	})
	room := max(0, maxFailureRows-l.written)
	for _, f := range all[min(room, len(all)):] {
		l.fold(f)
	}
	all = all[:min(room, len(all))]
	l.written += len(all)
	events := make([]Event, 0, len(all)+1)
	for _, f := range all {
		events = append(events, f.told(nil))
	}
	if l.rest.times > 0 {
		events = append(events, l.rest.told(map[string]string{"folded": "too many to name"}))
	}
	l.counted, l.rest = nil, failure{}
	return events
}

// told is the event that is written.
func (f *failure) told(detail map[string]string) Event {
	event := f.event
	if f.times > 1 || detail != nil {
		if detail == nil {
			detail = make(map[string]string)
		}
		detail["count"] = fmt.Sprint(f.times)
		detail["until"] = f.until.Format(time.RFC3339Nano)
		event.Detail = detail
	}
	return event
}

// refusedSignIn is one that was refused unseen: it is not known yet whose name it was.
type refusedSignIn struct {
	username string
	event    Event
}

// maxRefusedUnknown is how many of them wait to be known. Further ones are counted
// without names.
const maxRefusedUnknown = 64

// runFailures finds out whose sign-ins were refused, and writes failures down, once in
// a window, until ctx ends, and then once more.
func (a *Authority) runFailures(ctx context.Context) {
	window := time.NewTicker(failureWindow)
	defer window.Stop()
	for {
		select {
		case <-ctx.Done():
			a.flushFailures(ctx)
			return
		case refused := <-a.refused:
			a.recognize(context.WithoutCancel(ctx), refused)
		case <-window.C:
			a.flushFailures(ctx)
		}
	}
}

// recognize counts a refusal as that of the user whose name it was, if it was anybody's
// and the store answers.
func (a *Authority) recognize(ctx context.Context, refused refusedSignIn) {
	if user, err := a.UserByUsername(ctx, refused.username); err == nil {
		refused.event.UserID = user.ID
	}
	a.refusals.count(refused.event)
}

// flushFailures writes what was counted, one row after the other: nobody's refresh
// waits for more than one of them. What cannot be written is lost here, and was
// observed when it happened. A writing that has begun is finished when ctx ends.
func (a *Authority) flushFailures(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	for range len(a.refused) { // nobody else takes them out
		a.recognize(ctx, <-a.refused)
	}
	now := a.now()
	for _, event := range slices.Concat(
		a.failures.take(now), a.intrusions.take(now), a.takenNames.take(now), a.refusals.take(now),
	) {
		if a.stores.Events.AppendEvent(ctx, event) != nil {
			return
		}
	}
}
