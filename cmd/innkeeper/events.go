package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

type eventsCommand struct {
	Admin adminFlags `embed:""`

	List eventsListCommand `cmd:"" help:"list what has happened"`
	Tail eventsTailCommand `cmd:"" help:"show what happened last, and go on with what happens"`
}

// Help is shown above the flags.
func (*eventsCommand) Help() string {
	return `With --output json there is one object a line, with the members of GET /admin/events. The kinds are named in docs/events.md.`
}

// eventFlags select events.
type eventFlags struct {
	User    string   `env:"-" placeholder:"USER" help:"of this user, by name or id; somebody who was deleted, by id"`
	Session string   `env:"-" placeholder:"ID" help:"of this session"`
	Kind    []string `env:"-" placeholder:"KIND" help:"of this kind, like refresh_token.reused; may repeat, for any of them"`
	Actor   string   `env:"-" help:"done by operator, server, user: and an id, or service: and a name"`
}

// filter looks up what was named.
func (f *eventFlags) filter(ctx context.Context, o *office) (innkeeper.EventFilter, error) {
	filter := innkeeper.EventFilter{Actor: innkeeper.Actor(f.Actor)}
	for _, kind := range f.Kind {
		if !innkeeper.EventKind(kind).Valid() {
			return filter, usage(fmt.Errorf("there is no kind of event %q", kind), "docs/events.md names them, like refresh_token.reused or user.disabled")
		}
		filter.Kinds = append(filter.Kinds, innkeeper.EventKind(kind))
	}
	if f.Session != "" {
		id, err := innkeeper.ParseSessionID(f.Session)
		if err != nil {
			return filter, usage(fmt.Errorf("%q is no id of a session", f.Session), "innkeeper session list USER shows those of a user")
		}
		filter.SessionID = id
	}
	if f.User != "" {
		user, err := o.find(ctx, f.User)
		if err == nil {
			filter.UserID = user.ID
			return filter, nil
		}
		id, parsed := innkeeper.ParseUserID(f.User)
		if parsed != nil {
			return filter, err
		}
		filter.UserID = id // of somebody who was deleted, perhaps
	}
	return filter, nil
}

type eventsListCommand struct {
	Filter eventFlags `embed:""`
	Since  moment     `env:"-" placeholder:"TIME" help:"from this time on: 2026-06-01, 2026-06-01T12:00:00Z, or 24h for a day ago"`
	Until  moment     `env:"-" placeholder:"TIME" help:"before this time"`
	Limit  int        `env:"-" default:"100" help:"the newest so many of them, the last one at the end; 0 for all"`
}

// Run lists events.
func (c *eventsListCommand) Run(ctx context.Context, std *stdio, parent *eventsCommand) (err error) {
	if c.Limit < 0 {
		return usage(fmt.Errorf("--limit %d is out of bounds", c.Limit), "choose 1 or more, or 0 for all")
	}
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	filter, err := c.Filter.filter(ctx, o)
	if err != nil {
		return err
	}
	filter.Since, filter.Until = c.Since.Time, c.Until.Time
	out := o.newEventWriter(std.out, parent.Admin.Output)
	if c.Limit == 0 {
		_, err := o.follow(ctx, filter, out)
		return err
	}
	events, err := o.newest(ctx, filter, c.Limit)
	if err != nil {
		return err
	}
	return out.write(ctx, events)
}

type eventsTailCommand struct {
	Filter eventFlags `embed:""`
	Lines  int        `env:"-" short:"n" default:"10" help:"begin with the newest so many"`
	Follow bool       `env:"-" short:"f" help:"go on until Ctrl-C, and look every second"`
}

// tailInterval is how often a tail that follows looks.
const tailInterval = time.Second

// Run shows the end of the log, and follows it.
func (c *eventsTailCommand) Run(ctx context.Context, std *stdio, parent *eventsCommand) (err error) {
	if c.Lines < 0 {
		return usage(fmt.Errorf("--lines %d is out of bounds", c.Lines), "choose 0 or more")
	}
	o, err := parent.Admin.open(ctx, passwordFlags{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	filter, err := c.Filter.filter(ctx, o)
	if err != nil {
		return err
	}
	last, err := o.LastEvent(ctx)
	if err != nil {
		return err
	}
	out := o.newEventWriter(std.out, parent.Admin.Output)
	if c.Lines > 0 {
		events, err := o.newestUpTo(ctx, filter, last, c.Lines)
		if err == nil {
			err = out.write(ctx, events)
		}
		if err != nil {
			return err
		}
	}
	filter.After = last
	for c.Follow && sleep(ctx, tailInterval) {
		if filter.After, err = o.follow(ctx, filter, out); err != nil && ctx.Err() == nil {
			fmt.Fprintf(std.err, "innkeeper: %v\nhint: trying again\n", err)
		}
	}
	return nil
}

// follow writes all events after a cursor, oldest first, and returns the cursor after
// them.
func (o *office) follow(ctx context.Context, filter innkeeper.EventFilter, out *eventWriter) (int64, error) {
	filter.Limit = innkeeper.MaxEventPage
	for {
		page, err := o.Events(ctx, filter)
		if err == nil && len(page) > 0 {
			err = out.write(ctx, page)
		}
		if err != nil || len(page) == 0 {
			return filter.After, err
		}
		filter.After = page[len(page)-1].Seq
	}
}

// newest returns the newest events, the last one at the end.
func (o *office) newest(ctx context.Context, filter innkeeper.EventFilter, n int) ([]innkeeper.Event, error) {
	filter.NewestFirst = true
	var all []innkeeper.Event
	for len(all) < n {
		filter.Limit = min(n-len(all), innkeeper.MaxEventPage)
		page, err := o.Events(ctx, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < filter.Limit {
			break
		}
		filter.Before = page[len(page)-1].Seq
	}
	slices.Reverse(all)
	return all, nil
}

// newestUpTo is newest without what comes after a cursor.
func (o *office) newestUpTo(ctx context.Context, filter innkeeper.EventFilter, last int64, n int) ([]innkeeper.Event, error) {
	filter.Before = last + 1
	return o.newest(ctx, filter, n)
}

// moment is a time on the command line: a day, a time, or how long ago.
type moment struct{ time.Time }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is no time like 2026-06-01, 2026-06-01T12:00:00Z or 24h", text)
}

// eventObject has the members of that in package httpapi.
type eventObject struct {
	Seq       int64             `json:"seq"`
	At        time.Time         `json:"at"`
	Kind      string            `json:"kind"`
	Actor     string            `json:"actor,omitempty"`
	UserID    string            `json:"user_id,omitempty"`
	SessionID string            `json:"session_id,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	IP        string            `json:"ip,omitempty"`
	UserAgent string            `json:"user_agent,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
}

func eventOf(event *innkeeper.Event) eventObject {
	object := eventObject{
		Seq: event.Seq, At: event.At, Kind: string(event.Kind), Actor: string(event.Actor), Reason: string(event.Reason),
		UserAgent: event.Client.UserAgent, Detail: event.Detail,
	}
	if event.UserID != (innkeeper.UserID{}) {
		object.UserID = event.UserID.String()
	}
	if event.SessionID != (innkeeper.SessionID{}) {
		object.SessionID = event.SessionID.String()
	}
	if event.Client.Addr.IsValid() {
		object.IP = event.Client.Addr.String()
	}
	return object
}

// eventWriter writes events, a line each.
type eventWriter struct {
	office *office
	out    io.Writer
	json   bool
	names  map[string]string // of users, by ID
}

func (o *office) newEventWriter(out io.Writer, output outputFlags) *eventWriter {
	return &eventWriter{office: o, out: out, json: output.Output == "json", names: make(map[string]string)}
}

func (w *eventWriter) write(ctx context.Context, events []innkeeper.Event) error {
	if w.json {
		encoder := json.NewEncoder(w.out)
		encoder.SetEscapeHTML(false)
		for i := range events {
			if err := encoder.Encode(eventOf(&events[i])); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	for i := range events {
		event := eventOf(&events[i])
		writeRow(table, clock(event.At), event.Kind, w.person(ctx, event.UserID), w.actor(ctx, event.Actor),
			event.Reason, event.SessionID, event.IP, event.UserAgent, facts(event.Detail))
	}
	return table.Flush()
}

// actor is who did it, as people know them.
func (w *eventWriter) actor(ctx context.Context, actor string) string {
	id, isUser := strings.CutPrefix(actor, "user:")
	if !isUser {
		return actor
	}
	return "user:" + w.person(ctx, id)
}

// person is the name of a user, or the ID of one who is gone.
func (w *eventWriter) person(ctx context.Context, text string) string {
	if name, ok := w.names[text]; ok || text == "" {
		return name
	}
	name := text
	if id, err := innkeeper.ParseUserID(text); err == nil {
		if user, err := w.office.User(ctx, id); err == nil {
			name = user.Username
		}
	}
	w.names[text] = name
	return name
}

// facts writes the details in the order of their names, quoted so that none can look
// like two.
func facts(detail map[string]string) string {
	words := make([]string, 0, len(detail))
	for _, name := range slices.Sorted(maps.Keys(detail)) {
		words = append(words, fmt.Sprintf("%s=%q", name, detail[name]))
	}
	return strings.Join(words, " ")
}
