package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// AppendEvent implements [innkeeper.EventStore].
func (s *Store) AppendEvent(ctx context.Context, event innkeeper.Event) error {
	err := s.writer.write(ctx, func(c *conn) error { return logEvent(c, event) })
	return wrap("append event", err)
}

// logEvent appends an event to the audit log. An event without a kind is none.
func logEvent(c *conn, event innkeeper.Event) error {
	const query = `insert into event (at, kind, actor, user_id, session_id, reason, addr, user_agent, detail)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	if event.Kind == "" {
		return nil
	}
	var user, session, detail any
	if event.UserID != (innkeeper.UserID{}) {
		user = event.UserID[:]
	}
	if event.SessionID != (innkeeper.SessionID{}) {
		session = event.SessionID[:]
	}
	if event.Detail != nil {
		text, err := json.Marshal(event.Detail)
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		detail = string(text)
	}
	_, err := c.exec(query, event.At, string(event.Kind), string(event.Actor), user, session,
		string(event.Reason), event.Client.Addr, event.Client.UserAgent, detail)
	return err
}

// Events implements [innkeeper.EventStore].
func (s *Store) Events(ctx context.Context, query innkeeper.EventQuery) ([]innkeeper.Event, error) {
	statement, args := eventQuery(&query)
	events, err := readAll(ctx, s.readers, (*row).event, statement, args...)
	return events, wrap("read events", err)
}

// drift is how far apart the order of events and that of their times may be: no two
// servers have clocks that differ by more.
const drift = time.Hour

// eventQuery spells out a query. A time becomes a bound of the seq first, found in the
// index by time, so that no time is looked for event by event.
func eventQuery(query *innkeeper.EventQuery) (string, []any) {
	where, args := []string{"seq > ?"}, []any{query.After}
	also := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if query.Before != 0 {
		also("seq < ?", query.Before)
	}
	if query.UserID != (innkeeper.UserID{}) {
		also("user_id = ?", query.UserID[:])
	}
	if query.SessionID != (innkeeper.SessionID{}) {
		also("session_id = ?", query.SessionID[:])
	}
	if query.Kind != "" {
		also("kind = ?", string(query.Kind))
	}
	if query.Actor != "" {
		also("actor = ? and actor <> ''", string(query.Actor))
	}
	// The plus sign keeps SQLite from walking the index by time itself.
	if !query.Since.IsZero() {
		also("+at >= ? and seq >= (select seq from event where at >= ? order by at limit 1)", query.Since, query.Since.Add(-drift))
	}
	if !query.Until.IsZero() {
		also("+at < ? and seq <= (select seq from event where at < ? order by at desc limit 1)", query.Until, query.Until.Add(drift))
	}
	order := "seq"
	if query.NewestFirst {
		order = "seq desc"
	}
	return `select seq, at, kind, actor, user_id, session_id, reason, addr, user_agent, detail from event where ` +
		strings.Join(where, " and ") + " order by " + order + " limit ?", append(args, query.Limit)
}

// LastEvent implements [innkeeper.EventStore]. There is one writer at a time, so events
// appear in the order of their numbers.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	last, _, err := readOne(ctx, s.readers, (*row).integer, `select seq from event order by seq desc limit 1`)
	return last, wrap("read the last event", err)
}

// SweepEvents implements [innkeeper.EventStore].
func (s *Store) SweepEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	const query = `delete from event where seq in (
    select seq from event where at < ? and seq <> (select max(seq) from event) order by at limit ?)`
	swept, err := s.remove(ctx, query, before, limit)
	return swept, wrap("sweep events", err)
}

func (r *row) event() (event innkeeper.Event) {
	event.Seq = r.integer()
	event.At = r.time()
	event.Kind = innkeeper.EventKind(r.text())
	event.Actor = innkeeper.Actor(r.text())
	r.optional(event.UserID[:])
	r.optional(event.SessionID[:])
	event.Reason = innkeeper.Reason(r.text())
	event.Client = r.client()
	if !r.null() {
		if err := json.Unmarshal([]byte(r.text()), &event.Detail); err != nil {
			r.fail("no JSON object")
		}
	}
	return event
}
