package postgres_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// TestLastEventWaitsForWhoIsWriting overtakes an event that has its number already and
// cannot be seen yet. Whoever goes on from the last event must not pass it.
func TestLastEventWaitsForWhoIsWriting(t *testing.T) {
	store := open(t, newDatabase(t))
	event := func(kind innkeeper.EventKind) innkeeper.Event { return innkeeper.Event{At: start, Kind: kind} }
	want := func(last int64, page ...innkeeper.EventKind) {
		t.Helper()
		got, err := store.LastEvent(t.Context())
		if err != nil || got != last {
			t.Fatalf("the last event is %d, %v, want %d", got, err, last)
		}
		events, err := store.Events(t.Context(), innkeeper.EventQuery{Before: got + 1, Limit: 10})
		if err != nil || len(events) != len(page) {
			t.Fatalf("up to there are %+v, %v, want %v", events, err, page)
		}
		for i, kind := range page {
			if events[i].Kind != kind {
				t.Fatalf("event %d is %s, want %s", i, events[i].Kind, kind)
			}
		}
	}
	must(t, store.AppendEvent(t.Context(), event("first")))
	want(1, "first")
	commit := store.AppendAndWait(t, event("slow")) // has the number 2
	want(1, "first")
	must(t, store.AppendEvent(t.Context(), event("fast")))
	must(t, store.AppendEvent(t.Context(), event("faster")))
	want(1, "first")
	commit()
	want(4, "first", "slow", "fast", "faster")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEventFiltersDoNotScan asks a long log for what is rare in it. No answer may take
// more than a few pages of the table and its indexes, however long it is.
func TestEventFiltersDoNotScan(t *testing.T) {
	const n = 60_000 // about 1,000 pages
	database := newDatabase(t)
	admin, store := connect(t, database), open(t, database)
	exec(t, admin, `set statement_timeout = 0`)
	exec(t, admin, `
insert into event (at, kind, actor, user_id, session_id, reason, addr, user_agent)
select timestamptz '2026-01-01 00:00:00+00' + i * interval '1 second',
    case when i % 20000 = 1 then 'refresh_token.reused' else 'session.started' end, 'user:' || i % 1000,
    decode(lpad(to_hex(i % 1000), 32, '0'), 'hex'), decode(lpad(to_hex(i), 32, '0'), 'hex'), '', '192.0.2.1', 'Mozilla/5.0'
from generate_series(1, 60000) i`)
	exec(t, admin, `vacuum analyze event`)

	id := func(i uint32) (id [16]byte) {
		binary.BigEndian.PutUint32(id[12:], i)
		return id
	}
	moment := func(i int) time.Time { return time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC) }
	for name, query := range map[string]innkeeper.EventQuery{
		"all":                {},
		"newest":             {NewestFirst: true},
		"kind":               {Kind: innkeeper.EventTokenReused},
		"newest of kind":     {Kind: innkeeper.EventTokenReused, NewestFirst: true},
		"common kind":        {Kind: innkeeper.EventSessionStarted, After: n / 2},
		"unknown kind":       {Kind: innkeeper.EventStoreBehind},
		"user":               {UserID: id(77), After: n / 2},
		"unknown user":       {UserID: id(5000)},
		"session":            {SessionID: id(n / 2)},
		"actor":              {Actor: "user:77", NewestFirst: true},
		"unknown actor":      {Actor: innkeeper.ActorOperator},
		"since":              {Since: moment(n / 2)},
		"until":              {Until: moment(n / 2), NewestFirst: true},
		"between":            {Since: moment(n / 2), Until: moment(n/2 + 10)},
		"kind since":         {Kind: innkeeper.EventTokenReused, Since: moment(n - 100)},
		"user between":       {UserID: id(77), Since: moment(n / 2), Until: moment(n/2 + 100)},
		"kind of a user":     {UserID: id(1), Kind: innkeeper.EventTokenReused},
		"nothing any more":   {Since: moment(2 * n)},
		"nothing before":     {Until: moment(-n)},
		"session, by an end": {SessionID: id(7), Kind: innkeeper.EventSessionEnded},
	} {
		query.Limit = 100
		// Between two times may be as many events as in the two hours for which clocks
		// may be wrong, which is 7,200 here.
		if plan, pages := store.EventPlan(t, query); pages > 500 {
			t.Errorf("%s: looked at %d pages\n%s", name, pages, plan)
		} else {
			t.Logf("%s: %d pages", name, pages)
		}
	}
}
