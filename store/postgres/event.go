package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// logEvent appends an event to the audit log, if a CTE of the statement has a row:
// if what the event tells has happened. An event without a kind is none. The
// statement's arguments come from [addEvent] with the same prefix.
func logEvent(prefix, cte string) string {
	return strings.ReplaceAll(`
    insert into event (at, kind, actor, user_id, session_id, reason, addr, user_agent, detail)
    select @?_at::timestamptz, @?_kind::text, @?_actor::text, @?_user::bytea, @?_session::bytea,
        @?_reason::text, @?_addr::text, @?_user_agent::text, @?_detail::text::jsonb
    from `+cte+` where @?_kind::text <> ''`, "?", prefix)
}

func addEvent(args pgx.NamedArgs, prefix string, event innkeeper.Event) error {
	var user, session []byte
	if event.UserID != (innkeeper.UserID{}) {
		user = event.UserID[:]
	}
	if event.SessionID != (innkeeper.SessionID{}) {
		session = event.SessionID[:]
	}
	detail, err := details(event.Detail)
	if err != nil {
		return err
	}
	args[prefix+"_at"] = event.At
	args[prefix+"_kind"] = text(string(event.Kind))
	args[prefix+"_actor"] = text(string(event.Actor))
	args[prefix+"_user"] = user
	args[prefix+"_session"] = session
	args[prefix+"_reason"] = text(string(event.Reason))
	args[prefix+"_addr"] = addr(event.Client.Addr)
	args[prefix+"_user_agent"] = text(event.Client.UserAgent)
	args[prefix+"_detail"] = detail
	return nil
}

// details encodes the facts of an event as a JSON object, and none as NULL.
func details(facts map[string]string) (*string, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	// JSON can spell a NUL, but jsonb keeps it no more than text does.
	kept := make(map[string]string, len(facts))
	for key, value := range facts {
		kept[text(key)] = text(value)
	}
	object, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return new(string(object)), nil
}

var appendEvent = `with told as (select 1)` + logEvent("event", "told")

// AppendEvent implements [innkeeper.EventStore].
func (s *Store) AppendEvent(ctx context.Context, event innkeeper.Event) error {
	args := pgx.NamedArgs{}
	err := addEvent(args, "event", event)
	if err == nil {
		err = s.write(ctx, appendEvent, args, nil)
	}
	return wrap("append event", err)
}

// Events implements [innkeeper.EventStore].
func (s *Store) Events(ctx context.Context, query innkeeper.EventQuery) ([]innkeeper.Event, error) {
	const (
		columns = `
select seq, at, kind, actor, user_id, session_id, reason, addr, user_agent, detail::text
from event `
		ofAll  = columns + `where seq > @after order by seq limit @limit`
		ofUser = columns + `where user_id = @user and seq > @after order by seq limit @limit`
	)
	statement, args := ofAll, pgx.NamedArgs{"after": query.After, "limit": query.Limit}
	if query.UserID != (innkeeper.UserID{}) {
		statement, args["user"] = ofUser, query.UserID[:]
	}
	events, err := readAll(ctx, s, (*row).event, statement, args)
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
	if object := r.take(); object != nil {
		if err := json.Unmarshal(object, &event.Detail); err != nil {
			r.fail("no JSON object")
		}
	}
	return event
}
