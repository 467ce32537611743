package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

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
	const (
		columns = `select seq, at, kind, actor, user_id, session_id, reason, addr, user_agent, detail from event `
		ofAll   = columns + `where seq > ?1 order by seq limit ?2`
		ofUser  = columns + `where seq > ?1 and user_id = ?3 order by seq limit ?2`
	)
	statement, args := ofAll, []any{query.After, query.Limit}
	if query.UserID != (innkeeper.UserID{}) {
		statement, args = ofUser, append(args, query.UserID[:])
	}
	events, err := readAll(ctx, s.readers, (*row).event, statement, args...)
	return events, wrap("read events", err)
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
