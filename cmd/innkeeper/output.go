package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/innkeeper-auth/innkeeper"
)

// outputFlags say for whom a command prints.
type outputFlags struct {
	Output string `enum:"text,json" default:"text" help:"text for people, json for programs, with the names of the HTTP API"`
}

// print prints a value as JSON and nothing else, or what text writes, aligned at
// its tabs.
func (f *outputFlags) print(w io.Writer, value any, text func(io.Writer)) error {
	if f.Output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// The objects below have the members of those in package httpapi. A test
// compares what both print.

type userObject struct {
	ID          string    `json:"id"`
	Username    string    `json:"username"`
	Email       string    `json:"email,omitempty"`
	Roles       []string  `json:"roles"`
	Permissions []string  `json:"permissions"`
	Disabled    bool      `json:"disabled"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func userOf(user *innkeeper.User) userObject {
	return userObject{
		ID: user.ID.String(), Username: user.Username, Email: user.Email,
		Roles: list(user.Roles), Permissions: list(user.Permissions),
		Disabled: user.Disabled, CreatedAt: user.CreatedAt, UpdatedAt: user.UpdatedAt,
	}
}

func writeUsers(w io.Writer, users []userObject) {
	writeRow(w, "USERNAME", "ID", "EMAIL", "ROLES", "STATE", "CREATED")
	for _, user := range users {
		state := "enabled"
		if user.Disabled {
			state = "disabled"
		}
		writeRow(w, user.Username, user.ID, user.Email, strings.Join(user.Roles, " "), state, clock(user.CreatedAt))
	}
}

type roleObject struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
}

func roleOf(role innkeeper.Role) roleObject {
	return roleObject{Name: role.Name, Permissions: list(role.Permissions)}
}

func writeRoles(w io.Writer, roles []roleObject) {
	writeRow(w, "ROLE", "PERMISSIONS")
	for _, role := range roles {
		writeRow(w, role.Name, strings.Join(role.Permissions, " "))
	}
}

type serviceObject struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	Secret     string    `json:"secret,omitempty"` // of one that was just added
}

func serviceOf(service *innkeeper.Service) serviceObject {
	object := serviceObject{
		ID: service.ID.String(), Name: service.Name, Scopes: []string{},
		CreatedAt: service.CreatedAt, LastUsedAt: service.LastUsedAt,
	}
	for _, scope := range service.Scopes {
		object.Scopes = append(object.Scopes, string(scope))
	}
	return object
}

func writeServices(w io.Writer, services []serviceObject) {
	writeRow(w, "NAME", "ID", "SCOPES", "CREATED", "LAST USED")
	for _, s := range services {
		writeRow(w, s.Name, s.ID, strings.Join(s.Scopes, " "), clock(s.CreatedAt), clockOr(s.LastUsedAt))
	}
}

type sessionObject struct {
	ID         string    `json:"id"`
	Device     string    `json:"device,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	IP         string    `json:"ip,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

func sessionOf(session *innkeeper.Session) sessionObject {
	object := sessionObject{
		ID: session.ID.String(), Device: session.Device, UserAgent: session.Client.UserAgent,
		CreatedAt: session.CreatedAt, LastSeenAt: session.RotatedAt, ExpiresAt: session.ExpiresAt,
	}
	if session.Client.Addr.IsValid() {
		object.IP = session.Client.Addr.String()
	}
	return object
}

func writeSessions(w io.Writer, sessions []sessionObject) {
	writeRow(w, "ID", "DEVICE", "ADDRESS", "CREATED", "LAST SEEN", "EXPIRES", "USER AGENT")
	for _, s := range sessions {
		writeRow(w, s.ID, s.Device, s.IP, clock(s.CreatedAt), clock(s.LastSeenAt), clock(s.ExpiresAt), s.UserAgent)
	}
}

// writeRow writes the cells of one line. An empty one shows as a dash, so that
// columns can be counted.
func writeRow(w io.Writer, cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		cells[i] = printable(cell)
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// printable replaces what could move the cursor or change colors: names of
// devices and browsers come from strangers.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// list makes an empty list print as [] and not as null.
func list(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}
