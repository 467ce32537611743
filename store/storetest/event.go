package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// testEventFilters asks for every combination of filters, and compares with what
// [innkeeper.EventQuery.Matches] says.
func testEventFilters(t *testing.T, s *suite) {
	users := []innkeeper.UserID{random[innkeeper.UserID](), random[innkeeper.UserID]()}
	sessions := []innkeeper.SessionID{random[innkeeper.SessionID](), random[innkeeper.SessionID]()}
	kinds := []innkeeper.EventKind{innkeeper.EventSessionStarted, innkeeper.EventTokenReused}
	actors := []innkeeper.Actor{innkeeper.ActorOperator, innkeeper.UserActor(users[0])}
	for i := range 48 {
		s.must(s.Events.AppendEvent(s.ctx(), innkeeper.Event{
			At: Start.Add(time.Duration(i) * time.Minute), Kind: kinds[i%2], UserID: users[i/2%2],
			SessionID: sessions[i/4%2], Actor: actors[i/8%2],
		}))
	}
	all := s.events()
	queries := []innkeeper.EventQuery{{}}
	cross := func(change func(*innkeeper.EventQuery)) {
		for _, query := range slices.Clone(queries) {
			change(&query)
			queries = append(queries, query)
		}
	}
	cross(func(q *innkeeper.EventQuery) { q.UserID = users[1] })
	cross(func(q *innkeeper.EventQuery) { q.SessionID = sessions[0] })
	cross(func(q *innkeeper.EventQuery) { q.Kind = kinds[1] })
	cross(func(q *innkeeper.EventQuery) { q.Actor = actors[1] })
	cross(func(q *innkeeper.EventQuery) { q.Since, q.Until = all[5].At, all[40].At })
	cross(func(q *innkeeper.EventQuery) { q.After = all[7].Seq })
	cross(func(q *innkeeper.EventQuery) { q.Before = all[42].Seq })
	cross(func(q *innkeeper.EventQuery) { q.NewestFirst = true })
	for _, query := range queries {
		for _, query.Limit = range []int{3, 100} {
			var want []innkeeper.Event
			for _, event := range all {
				if query.Matches(&event) {
					want = append(want, event)
				}
			}
			if query.NewestFirst {
				slices.Reverse(want)
			}
			got, err := s.Events.Events(s.ctx(), query)
			s.must(err)
			if want := want[:min(len(want), query.Limit)]; !slices.EqualFunc(got, want, sameSeq) {
				t.Fatalf("%+v gave %d events, want %d\n%+v\n%+v", query, len(got), len(want), got, want)
			}
		}
	}
}

func sameSeq(a, b innkeeper.Event) bool { return a.Seq == b.Seq }

// testEventTimes asks by time where the clocks of servers disagree.
func testEventTimes(t *testing.T, s *suite) {
	for _, minutes := range []int{0, 50, 10, 20, 15, 60} {
		s.must(s.Events.AppendEvent(s.ctx(), innkeeper.Event{At: Start.Add(time.Duration(minutes) * time.Minute), Kind: innkeeper.EventUserChanged}))
	}
	at := func(minutes int) time.Time { return Start.Add(time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		since, until time.Time
		want         []int
	}{
		{at(15), at(60), []int{50, 20, 15}},
		{at(15), time.Time{}, []int{50, 20, 15, 60}},
		{time.Time{}, at(20), []int{0, 10, 15}},
		{at(61), time.Time{}, nil},
		{at(24 * 60), at(25 * 60), nil},
		{time.Time{}, at(0), nil},
		{time.Time{}, at(-24 * 60), nil},
		{at(20), at(20), nil},
	} {
		events, err := s.Events.Events(s.ctx(), innkeeper.EventQuery{Since: c.since, Until: c.until, Limit: 10})
		s.must(err)
		var got []int
		for _, event := range events {
			got = append(got, int(event.At.Sub(Start)/time.Minute))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %s until %s: got %v, want %v", c.since, c.until, got, c.want)
		}
	}
}

func testSweepEvents(t *testing.T, s *suite) {
	last := func() int64 {
		t.Helper()
		seq, err := s.Events.LastEvent(s.ctx())
		s.must(err)
		return seq
	}
	if got := last(); got != 0 {
		t.Fatalf("the last event of an empty log is %d", got)
	}
	sweep := func(before time.Time, limit, want int) {
		t.Helper()
		swept, err := s.Events.SweepEvents(s.ctx(), before, limit)
		s.must(err)
		if swept != want {
			t.Fatalf("swept %d events, want %d", swept, want)
		}
	}
	sweep(Start.Add(time.Hour), 10, 0)
	for i := range 5 {
		s.must(s.Events.AppendEvent(s.ctx(), innkeeper.Event{At: Start.Add(time.Duration(i) * time.Minute), Kind: innkeeper.EventUserChanged}))
	}
	all := s.events()
	if got := last(); got != all[4].Seq {
		t.Fatalf("the last event is %d, want %d", got, all[4].Seq)
	}
	sweep(Start.Add(2*time.Minute), 1, 1)
	sweep(Start.Add(2*time.Minute), 10, 1)
	same(t, s.events(), all[2:])

	// Not even when all are old does the newest go: its number would be given again.
	sweep(Start.Add(time.Hour), 10, 2)
	same(t, s.events(), all[4:])
	sweep(Start.Add(time.Hour), 10, 0)
	s.must(s.Events.AppendEvent(s.ctx(), innkeeper.Event{At: Start, Kind: innkeeper.EventUserChanged}))
	if got := last(); got <= all[4].Seq {
		t.Fatalf("the next event has the seq %d, after %d", got, all[4].Seq)
	}
}

// testFollowedEvents follows the log while many write to it, also in transactions of
// several steps. Whoever goes on after the last event that was complete misses none.
func testFollowedEvents(t *testing.T, s *suite) {
	const writers, each = 8, 40
	ada := s.user("ada")
	before, err := s.Events.LastEvent(s.ctx())
	s.must(err)
	var done atomic.Int32
	over := make(chan struct{})
	go func() {
		defer close(over)
		Race(writers, func(i int) {
			defer done.Add(1)
			for j := range each {
				var err error
				if j%2 == 0 {
					session := NewSession(ada)
					err = s.Stores.Sessions.CreateSession(s.ctx(), birth(session))
				} else {
					err = s.Events.AppendEvent(s.ctx(), event(innkeeper.EventUserChanged, ada.ID))
				}
				if err != nil {
					t.Error(fmt.Errorf("writer %d: %w", i, err))
					return
				}
			}
		})
	}()
	seen := 0
	for after := before; ; {
		finished := done.Load() == writers
		last, err := s.Events.LastEvent(s.ctx())
		s.must(err)
		if last > after {
			page, err := s.Events.Events(s.ctx(), innkeeper.EventQuery{After: after, Before: last + 1, Limit: 10_000})
			s.must(err)
			seen += len(page)
			after = last
		} else if finished {
			break
		}
	}
	<-over
	if seen != writers*each {
		t.Errorf("whoever followed has seen %d events of %d", seen, writers*each)
	}
}
