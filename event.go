package innkeeper

import (
	"context"
	"fmt"
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
	EventLoginFailed      EventKind = "login.failed"         // observed, and not kept
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
	EventServiceRefused   EventKind = "service.refused"
	EventKeyPublished     EventKind = "key.published" // a signing key is in reserve
	EventKeyRotated       EventKind = "key.rotated"   // another signing key signs
	EventKeyRemoved       EventKind = "key.removed"   // a signing key is gone
	EventKeyRevoked       EventKind = "key.revoked"   // a signing key is not to be trusted any more
	EventKeyRewrapped     EventKind = "key.rewrapped" // a signing key is encrypted under another root key
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

// EventQuery selects events. The zero value selects the oldest page of all.
type EventQuery struct {
	UserID UserID // zero value: of everyone
	After  int64  // only events with a greater Seq
	Limit  int    // at least 1
}

// Events returns a page of the audit log, oldest first: at most 100 events with
// a Seq greater than after, of one user or, with the zero ID, of everyone.
func (a *Authority) Events(ctx context.Context, user UserID, after int64) ([]Event, error) {
	events, err := a.stores.Events.Events(ctx, EventQuery{UserID: user, After: after, Limit: pageSize})
	if err != nil {
		return nil, unavailable(fmt.Errorf("read events: %w", err))
	}
	return events, nil
}
