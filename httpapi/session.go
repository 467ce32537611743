package httpapi

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

type sessionBody struct {
	ID         string    `json:"id"`
	Device     string    `json:"device,omitempty" doc:"As named at sign-in"`
	UserAgent  string    `json:"user_agent,omitempty" doc:"Of the latest refresh"`
	IP         string    `json:"ip,omitempty" doc:"Of the latest refresh"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at" doc:"The latest refresh"`
	ExpiresAt  time.Time `json:"expires_at" doc:"The absolute end"`
	Current    bool      `json:"current" doc:"The one that asks"`
}

func sessionOf(s innkeeper.Session, current innkeeper.SessionID) sessionBody {
	body := sessionBody{
		ID: s.ID.String(), Device: s.Device, UserAgent: s.Client.UserAgent,
		CreatedAt: s.CreatedAt, LastSeenAt: s.RotatedAt, ExpiresAt: s.ExpiresAt, Current: s.ID == current,
	}
	if s.Client.Addr.IsValid() {
		body.IP = s.Client.Addr.String()
	}
	return body
}

type meOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		User    personBody  `json:"user"`
		Session sessionBody `json:"session"`
	}
}

func (a *API) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	caller := callerOf(ctx)
	out := &meOutput{CacheControl: "no-store"}
	out.Body.User = person(caller.Subject)
	out.Body.Session = sessionOf(caller.Session, caller.Session.ID)
	return out, nil
}

type sessionPageInput struct {
	After string `query:"after" doc:"The id of the last session of the page before"`
}

// cursor reads the parameter after; none begins.
func cursor(after string) (innkeeper.SessionID, error) {
	if after == "" {
		return innkeeper.SessionID{}, nil
	}
	id, err := innkeeper.ParseSessionID(after)
	if err != nil {
		return id, &innkeeper.InputError{Field: "after", Detail: "give the id of a session"}
	}
	return id, nil
}

type sessionsOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Sessions []sessionBody `json:"sessions" nullable:"false" doc:"Newest first, at most 100"`
	}
}

// sessionsOf lists the sessions of a user. current is the one that asks.
func (a *API) sessionsOf(ctx context.Context, user innkeeper.UserID, after string, current innkeeper.SessionID) (*sessionsOutput, error) {
	last, err := cursor(after)
	if err != nil {
		return nil, err
	}
	sessions, err := a.authority.Sessions(ctx, user, last)
	if err != nil {
		return nil, err
	}
	out := &sessionsOutput{CacheControl: "no-store"}
	out.Body.Sessions = make([]sessionBody, len(sessions))
	for i, session := range sessions {
		out.Body.Sessions[i] = sessionOf(session, current)
	}
	return out, nil
}

func (a *API) listOwnSessions(ctx context.Context, in *sessionPageInput) (*sessionsOutput, error) {
	return a.sessionsOf(ctx, callerOf(ctx).Subject.ID, in.After, callerOf(ctx).Session.ID)
}

type sessionInput struct {
	ID string `path:"id" doc:"The id of a session"`
}

// nothing is the answer of an operation that says all with its status.
type nothing struct {
	CacheControl string `header:"Cache-Control"`
}

func done(err error) (*nothing, error) {
	if err != nil {
		return nil, err
	}
	return &nothing{CacheControl: "no-store"}, nil
}

func (a *API) endOwnSession(ctx context.Context, in *sessionInput) (*nothing, error) {
	id, err := innkeeper.ParseSessionID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.EndOwnSession(ctx, callerOf(ctx), id, clientOf(ctx)))
}

func (a *API) endSession(ctx context.Context, in *sessionInput) (*nothing, error) {
	id, err := innkeeper.ParseSessionID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.EndSession(ctx, id, innkeeper.ReasonAdmin, byClerk(ctx)))
}
