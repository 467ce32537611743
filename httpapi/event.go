package httpapi

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

type eventsInput struct {
	User    string    `query:"user" doc:"The id of a user whom it happened to"`
	Session string    `query:"session" doc:"The id of a session"`
	Kind    []string  `query:"kind,explode" nullable:"false" example:"[\"refresh_token.reused\"]" doc:"A kind of event; may repeat, for any of them"`
	Actor   string    `query:"actor" example:"operator" doc:"Who did it: operator, server, user: and an id, or service: and a name"`
	Since   time.Time `query:"since" doc:"From this time on"`
	Until   time.Time `query:"until" doc:"Before this time"`
	Order   string    `query:"order" enum:"oldest,newest" default:"oldest" doc:"Which ones come first. Oldest first it is for followers, and holds an event back for a moment while one with a smaller seq is being written"`
	After   int64     `query:"after" minimum:"0" doc:"Oldest first: the seq of the last event of the page before"`
	Before  int64     `query:"before" minimum:"0" doc:"Newest first: the seq of the last event of the page before"`
	Limit   int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many there are on a page"`
}

// filter reads what was asked for.
func (in *eventsInput) filter() (innkeeper.EventFilter, error) {
	filter := innkeeper.EventFilter{
		Actor: innkeeper.Actor(in.Actor), Since: in.Since, Until: in.Until,
		After: in.After, Before: in.Before, NewestFirst: in.Order == "newest", Limit: in.Limit,
	}
	for _, kind := range in.Kind {
		filter.Kinds = append(filter.Kinds, innkeeper.EventKind(kind))
	}
	var err error
	if in.User != "" {
		if filter.UserID, err = innkeeper.ParseUserID(in.User); err != nil {
			return filter, &innkeeper.InputError{Field: "user", Detail: "give the id of a user"}
		}
	}
	if in.Session != "" {
		if filter.SessionID, err = innkeeper.ParseSessionID(in.Session); err != nil {
			return filter, &innkeeper.InputError{Field: "session", Detail: "give the id of a session"}
		}
	}
	return filter, nil
}

type eventBody struct {
	Seq       int64             `json:"seq" doc:"Its place in the log"`
	At        time.Time         `json:"at"`
	Kind      string            `json:"kind" example:"refresh_token.reused"`
	Actor     string            `json:"actor,omitempty" doc:"Who did it; empty for whoever presented a refresh token"`
	UserID    string            `json:"user_id,omitempty" doc:"Whom it happened to"`
	SessionID string            `json:"session_id,omitempty"`
	Reason    string            `json:"reason,omitempty" doc:"Of an end"`
	IP        string            `json:"ip,omitempty" doc:"Where the request came from: for what an administrator does, the administrator's"`
	UserAgent string            `json:"user_agent,omitempty" doc:"Of the request"`
	Detail    map[string]string `json:"detail,omitempty" doc:"Facts of the kind, see docs/events.md"`
}

func eventOf(event *innkeeper.Event) eventBody {
	body := eventBody{
		Seq: event.Seq, At: event.At, Kind: string(event.Kind), Actor: string(event.Actor), Reason: string(event.Reason),
		UserAgent: event.Client.UserAgent, Detail: event.Detail,
	}
	if event.UserID != (innkeeper.UserID{}) {
		body.UserID = event.UserID.String()
	}
	if event.SessionID != (innkeeper.SessionID{}) {
		body.SessionID = event.SessionID.String()
	}
	if event.Client.Addr.IsValid() {
		body.IP = event.Client.Addr.String()
	}
	return body
}

type eventsOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Events []eventBody `json:"events" nullable:"false" doc:"In the order that was asked for"`
	}
}

func (a *API) listEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	events, err := a.authority.Events(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{CacheControl: "no-store"}
	out.Body.Events = make([]eventBody, len(events))
	for i := range events {
		out.Body.Events[i] = eventOf(&events[i])
	}
	return out, nil
}
