package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// eventLock is the upper part of the advisory locks that say that an event is being
// written. They are ours as long as nobody else's begin with these 16 bits.
const eventLock = 0x494b // "IK"

// logEvent appends an event to the audit log, if a CTE of the statement has a row:
// if what the event tells has happened. An event without a kind is none. The
// statement's arguments come from [addEvent] with the same prefix.
//
// The number of an event is given before the event can be seen, and other statements
// may overtake it. So each holds a lock, which nobody waits for, from before it takes
// its number until it has committed. The lock names a number that was given before:
// [Store.LastEvent] reads from it that what follows is not complete yet.
func logEvent(prefix, cte string) string {
	return strings.ReplaceAll(`
    insert into event (at, kind, actor, user_id, session_id, reason, addr, user_agent, detail)
    select @?_at::timestamptz, @?_kind::text, @?_actor::text, @?_user::bytea, @?_session::bytea,
        @?_reason::text, @?_addr::text, @?_user_agent::text, @?_detail::text::jsonb
    from `+cte+`, (
        select pg_advisory_xact_lock_shared(`+fmt.Sprint(eventLock<<48)+` | coalesce(max(seq), 0)) from event
    ) as held
    where @?_kind::text <> ''`, "?", prefix)
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
	statement, args := eventQuery(&query)
	events, err := readAll(ctx, s, (*row).event, statement, args)
	return events, wrap("read events", err)
}

// drift is how far apart the order of events and that of their times may be: no two
// servers have clocks that differ by more.
const drift = time.Hour

// eventQuery spells out a query. A time becomes a bound of the seq first, found in the
// index by time, so that no time is looked for event by event.
func eventQuery(query *innkeeper.EventQuery) (string, pgx.NamedArgs) {
	where, args := []string{"seq > @after"}, pgx.NamedArgs{"after": query.After, "limit": query.Limit}
	also := func(condition, name string, value any) {
		where, args[name] = append(where, condition), value
	}
	if query.Before != 0 {
		also("seq < @before", "before", query.Before)
	}
	if query.UserID != (innkeeper.UserID{}) {
		also("user_id = @user", "user", query.UserID[:])
	}
	if query.SessionID != (innkeeper.SessionID{}) {
		also("session_id = @session", "session", query.SessionID[:])
	}
	if query.Kind != "" {
		also("kind = @kind", "kind", text(string(query.Kind)))
	}
	if query.Actor != "" {
		also("actor = @actor and actor <> ''", "actor", text(string(query.Actor)))
	}
	if !query.Since.IsZero() {
		also("at >= @since and seq >= (select e.seq from event e where e.at >= @since_about order by e.at limit 1)", "since", query.Since)
		args["since_about"] = query.Since.Add(-drift)
	}
	if !query.Until.IsZero() {
		also("at < @until and seq <= (select e.seq from event e where e.at < @until_about order by e.at desc limit 1)", "until", query.Until)
		args["until_about"] = query.Until.Add(drift)
	}
	order := "seq"
	if query.NewestFirst {
		order = "seq desc"
	}
	return `
select seq, at, kind, actor, user_id, session_id, reason, addr, user_agent, detail::text
from event where ` + strings.Join(where, " and ") + ` order by ` + order + ` limit @limit`, args
}

// lastEvent is the last event that can be seen, or the one before all that are being
// written. The locks are looked at after the statement has its view of the table: who
// has let go by then has committed, and whoever asks next sees what they wrote.
var lastEvent = fmt.Sprintf(`
select least(
    coalesce((select max(seq) from event), 0),
    (select min((l.classid::bigint & 65535) << 32 | l.objid::bigint) from pg_locks l
     where l.locktype = 'advisory' and l.objsubid = 1 and l.classid::bigint >> 16 = %d
         and l.database = (select oid from pg_database where datname = current_database())))`, eventLock)

// LastEvent implements [innkeeper.EventStore].
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	last, _, err := readOne(ctx, s, (*row).integer, lastEvent)
	return last, wrap("read the last event", err)
}

// SweepEvents implements [innkeeper.EventStore].
func (s *Store) SweepEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	const statement = `
delete from event where seq = any(array(
    select seq from event where at < @before and seq <> (select max(seq) from event)
    order by at limit @limit for update skip locked))
returning 1`
	swept, err := s.count(ctx, statement, pgx.NamedArgs{"before": before, "limit": limit})
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
	if object := r.take(); object != nil {
		if err := json.Unmarshal(object, &event.Detail); err != nil {
			r.fail("no JSON object")
		}
	}
	return event
}
