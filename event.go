package innkeeper

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// EventKind names what happened.
type EventKind string

// The kinds of event.
const (
	EventSessionStarted   EventKind = "session.started"
	EventSessionEnded     EventKind = "session.ended"
	EventSessionsEnded    EventKind = "sessions.ended"       // of a user, all or all but one
	EventAllSessionsEnded EventKind = "all_sessions.ended"   // of everybody
	EventTokenReused      EventKind = "refresh_token.reused" // a theft: the session has been ended
	EventStoreBehind      EventKind = "store.behind"         // the store has lost writes: a restored backup
	EventLoginFailed      EventKind = "login.failed"         // kept in summary, see [Authority.Run]
	EventLoginThrottled   EventKind = "login.throttled"      // refused unseen, for too many failures; kept in summary too
	EventSignupFailed     EventKind = "signup.failed"        // a name was taken; kept in summary too
	EventAdminRefused     EventKind = "admin.refused"        // of a person without [RoleAdmin]; kept in summary too
	EventPasswordChanged  EventKind = "password.changed"
	EventUserCreated      EventKind = "user.created"
	EventUserChanged      EventKind = "user.changed"
	EventUserDisabled     EventKind = "user.disabled"
	EventUserEnabled      EventKind = "user.enabled"
	EventUserDeleted      EventKind = "user.deleted"
	EventRoleSet          EventKind = "role.set"
	EventRoleDeleted      EventKind = "role.deleted"
	EventServiceAdded     EventKind = "service.added"
	EventServiceRemoved   EventKind = "service.removed"
	EventServiceRefused   EventKind = "service.refused" // at most one a minute and credential
	EventKeyPublished     EventKind = "key.published"   // a signing key is in reserve
	EventKeyRotated       EventKind = "key.rotated"     // another signing key signs
	EventKeyRemoved       EventKind = "key.removed"     // a signing key is gone
	EventKeyRevoked       EventKind = "key.revoked"     // a signing key is not to be trusted any more
	EventKeyRewrapped     EventKind = "key.rewrapped"   // a signing key is encrypted under another root key
	EventWebhookAdded     EventKind = "webhook.added"
	EventWebhookRemoved   EventKind = "webhook.removed"
	EventWebhookRotated   EventKind = "webhook.secret_rotated"
	EventWebhookRetried   EventKind = "webhook.retried"   // deliveries are to be tried again
	EventDeliveryGivenUp  EventKind = "webhook.abandoned" // a delivery is a dead letter
)

// Actor says who caused an event: "user:ID" for a signed-in person, "service:NAME"
// for a program with a service credential, "operator" for the command line, "server"
// for the servers themselves, empty for the presenter of a refresh token.
type Actor string

// ActorOperator is whoever has the command line and the database.
const ActorOperator Actor = "operator"

// ActorServer is a server that does what is due.
const ActorServer Actor = "server"

// Event is one line of the audit log. It never holds a token, a password or a
// key. A refresh writes no event: the row says when the last one was.
type Event struct {
	Seq       int64 // position in the log, given by the store
	At        time.Time
	Kind      EventKind
	Actor     Actor
	UserID    UserID    // zero value: none
	SessionID SessionID // zero value: none
	Reason    Reason    // of an end
	Client    Client
	Detail    map[string]string // facts of the kind; nil if there are none
}

// eventKinds are all kinds, in the order in which they stand above.
func eventKinds() []EventKind {
	return []EventKind{
		EventSessionStarted, EventSessionEnded, EventSessionsEnded, EventAllSessionsEnded, EventTokenReused,
		EventStoreBehind, EventLoginFailed, EventLoginThrottled, EventSignupFailed, EventAdminRefused, EventPasswordChanged, EventUserCreated, EventUserChanged,
		EventUserDisabled, EventUserEnabled, EventUserDeleted, EventRoleSet, EventRoleDeleted, EventServiceAdded,
		EventServiceRemoved, EventServiceRefused, EventKeyPublished, EventKeyRotated, EventKeyRemoved, EventKeyRevoked,
		EventKeyRewrapped, EventWebhookAdded, EventWebhookRemoved, EventWebhookRotated, EventWebhookRetried, EventDeliveryGivenUp,
	}
}

// Valid reports whether k is one of the kinds.
func (k EventKind) Valid() bool { return slices.Contains(eventKinds(), k) }

// EventQuery selects events of a store. The zero value of a field selects all. It is
// how an [Authority] asks; whoever asks an Authority uses an [EventFilter].
type EventQuery struct {
	UserID    UserID
	SessionID SessionID
	Kind      EventKind
	Actor     Actor
	// Since and Until bound At: from Since on, and before Until.
	Since, Until time.Time
	// After and Before bound Seq, and are left out themselves. A zero Before is no bound.
	After, Before int64
	// NewestFirst turns the order around.
	NewestFirst bool
	Limit       int // at least 1
}

// Matches reports whether an event is one of those that the query selects.
func (q *EventQuery) Matches(event *Event) bool {
	switch {
	case event.Seq <= q.After, q.Before != 0 && event.Seq >= q.Before,
		q.UserID != UserID{} && event.UserID != q.UserID,
		q.SessionID != SessionID{} && event.SessionID != q.SessionID,
		q.Kind != "" && event.Kind != q.Kind,
		q.Actor != "" && event.Actor != q.Actor,
		!q.Since.IsZero() && event.At.Before(q.Since),
		!q.Until.IsZero() && !event.At.Before(q.Until):
		return false
	}
	return true
}

// MaxEventPage is how many events [Authority.Events] returns at most.
const MaxEventPage = 1000

// EventFilter selects events. The zero value selects the oldest page of all.
type EventFilter struct {
	UserID    UserID      // zero value: of everyone
	SessionID SessionID   // zero value: of every session
	Kinds     []EventKind // any of them; none: of every kind
	Actor     Actor       // empty: of everyone
	// Since and Until bound the time: from Since on, and before Until. A zero time is
	// no bound.
	Since, Until time.Time
	// After goes on after an event, towards the newer ones. Zero begins with the oldest.
	After int64
	// Before goes on before an event, towards the older ones, together with NewestFirst.
	// Zero begins with the newest.
	Before int64
	// NewestFirst turns the order around.
	NewestFirst bool
	// Limit is how many events there are on a page, at most 1,000. The zero value means
	// 100.
	Limit int
}

func (f *EventFilter) check() error {
	for _, kind := range f.Kinds {
		if !kind.Valid() {
			return &InputError{Field: "kind", Detail: fmt.Sprintf("there is no kind %q; docs/events.md names them", kind)}
		}
	}
	switch {
	case f.After < 0 || f.After > 0 && f.NewestFirst:
		return &InputError{Field: "after", Detail: "give the seq of the last event of the page before, oldest first"}
	case f.Before < 0 || f.Before > 0 && !f.NewestFirst:
		return &InputError{Field: "before", Detail: "give the seq of the last event of the page before, newest first"}
	case f.Limit < 0 || f.Limit > MaxEventPage:
		return &InputError{Field: "limit", Detail: fmt.Sprintf("choose 1 to %d", MaxEventPage)}
	}
	return nil
}

// Events returns a page of the audit log. It returns an [*InputError].
//
// Oldest first it is for those who follow the log: it holds nothing back but events
// that may still be overtaken by one with a smaller Seq, for as long as the write of
// that takes, so that whoever goes on after the last event of a page misses none.
// Newest first it is for people: it shows what there is.
func (a *Authority) Events(ctx context.Context, filter EventFilter) ([]Event, error) {
	if err := filter.check(); err != nil {
		return nil, err
	}
	query := EventQuery{
		UserID: filter.UserID, SessionID: filter.SessionID, Actor: filter.Actor, Since: filter.Since, Until: filter.Until,
		After: filter.After, Before: filter.Before, NewestFirst: filter.NewestFirst, Limit: filter.Limit,
	}
	if query.Limit == 0 {
		query.Limit = pageSize
	}
	if !filter.NewestFirst {
		last, err := a.LastEvent(ctx)
		if err != nil {
			return nil, err
		}
		if last <= query.After {
			return nil, nil
		}
		query.Before = last + 1
	}
	kinds := slices.Compact(slices.Sorted(slices.Values(filter.Kinds)))
	if len(kinds) == 0 {
		kinds = []EventKind{""}
	}
	return a.mergedEvents(ctx, query, kinds)
}

// mergedEvents asks for each kind by itself, so that a store answers from its index
// however many there are, and puts the pages together.
func (a *Authority) mergedEvents(ctx context.Context, query EventQuery, kinds []EventKind) ([]Event, error) {
	var all []Event
	for _, kind := range kinds {
		query.Kind = kind
		events, err := a.stores.Events.Events(ctx, query)
		if err != nil {
			return nil, unavailable(fmt.Errorf("read events: %w", err))
		}
		all = append(all, events...)
	}
	slices.SortFunc(all, func(x, y Event) int {
		if query.NewestFirst {
			x, y = y, x
		}
		return cmp.Compare(x.Seq, y.Seq)
	})
	return all[:min(len(all), query.Limit)], nil
}

// LastEvent returns the Seq up to which the audit log is complete; zero if it is
// empty. Where to begin for whoever wants only what comes.
func (a *Authority) LastEvent(ctx context.Context) (int64, error) {
	last, err := a.stores.Events.LastEvent(ctx)
	if err != nil {
		return 0, unavailable(fmt.Errorf("read the last event: %w", err))
	}
	return last, nil
}

// log appends an event that belongs to no other write.
func (a *Authority) log(ctx context.Context, event Event) error {
	if err := a.stores.Events.AppendEvent(ctx, event); err != nil {
		return unavailable(fmt.Errorf("record event: %w", err))
	}
	return nil
}
