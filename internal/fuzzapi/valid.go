package main

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

// author makes requests up.
type author struct {
	dice
	bag
	now time.Time
}

// write makes up a request that the operation should accept, as far as the description
// and the names in it tell.
func (a *author) write(o *openapi.Operation) *draft {
	d := &draft{operation: o, method: o.Method, path: o.Path}
	for _, p := range o.Parameters {
		if p.In != "path" && !a.percent(35) {
			continue
		}
		n := 1
		if p.Explode && slices.Contains(p.Schema.Types, "array") {
			n += a.IntN(3)
		}
		for range n {
			a.fill(d, &p)
		}
	}
	if o.Body != nil {
		d.mediaType = o.Body.Type
		d.isForm = o.Body.Type == formType
		if o.Body.Required || a.percent(80) {
			d.object = a.object(o, o.Body.Schema)
		}
	}
	a.authenticate(d)
	return d
}

const formType = "application/x-www-form-urlencoded"

func (a *author) fill(d *draft, p *openapi.Parameter) {
	schema := p.Schema
	if schema.Items != nil {
		schema = schema.Items
	}
	text := plain(a.value(d.operation, p.Name, schema))
	switch p.In {
	case "path":
		d.path = strings.Replace(d.path, "{"+p.Name+"}", url.PathEscape(text), 1)
	case "query":
		d.query = append(d.query, pair{p.Name, text})
	default:
		d.add(p.Name, text)
	}
}

// plain is a value outside JSON.
func plain(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	return fmt.Sprint(value)
}

func (a *author) object(o *openapi.Operation, s *openapi.Schema) object {
	made := object{}
	for _, name := range sortedNames(s.Properties) {
		if slices.Contains(s.Required, name) || a.percent(40) {
			made = append(made, member{name, a.value(o, name, s.Properties[name])})
		}
	}
	return made
}

func sortedNames(properties map[string]*openapi.Schema) []string {
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// value makes up a value: one that the name asks for, or else any that the schema allows.
func (a *author) value(o *openapi.Operation, name string, s *openapi.Schema) any {
	if len(s.Enum) > 0 {
		return pick(a.dice, s.Enum)
	}
	if slices.Contains(s.Types, "array") {
		items := []any{}
		for range a.IntN(3) {
			items = append(items, a.value(o, name, s.Items))
		}
		return items
	}
	if text := a.meant(o, name); text != "" {
		if slices.Contains(s.Types, "integer") {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return n
			}
		}
		return text
	}
	switch {
	case slices.Contains(s.Types, "boolean"):
		return a.percent(50)
	case slices.Contains(s.Types, "integer"):
		low, high := 0, 1000
		if s.Minimum != nil {
			low = int(*s.Minimum)
		}
		if s.Maximum != nil {
			high = int(*s.Maximum)
		}
		return low + a.IntN(high-low+1)
	case s.Format == "date-time":
		return a.now.Add(time.Duration(a.IntN(7200)-3600) * time.Second).Format(time.RFC3339)
	}
	return fmt.Sprintf("fuzz-%d", a.IntN(1000))
}

// meant is what a name asks for; empty if it says nothing.
func (a *author) meant(o *openapi.Operation, name string) string {
	if name == "id" || name == "name" || name == "kid" {
		return a.named(o)
	}
	switch name {
	case "after":
		return a.cursor(o)
	case "scope": // that of OAuth; the other is an enumeration
		return ""
	case "token":
		return pick(a.dice, a.bag[pick(a.dice, []string{"access", "refresh:body", "refresh:cookie", "secret"})])
	case "device_token":
		return pick(a.dice, a.bag["device"])
	case "refresh_token":
		return pick(a.dice, a.bag["refresh:body"])
	case "password", "current_password", "new_password":
		return pick(a.dice, passwords)
	case "username":
		if strings.HasPrefix(o.ID, "sign") || o.ID == "createUser" {
			return fmt.Sprintf("guest-%d", a.IntN(1_000_000))
		}
		return pick(a.dice, a.bag["username"])
	case "email":
		return fmt.Sprintf("guest-%d@example.com", a.IntN(1000))
	case "client_id":
		return "innkeeper"
	case "client_secret":
		return pick(a.dice, a.bag["secret"])
	case "Idempotency-Key":
		return fmt.Sprintf(`"fuzz-key-%09d"`, a.IntN(50))
	case "url":
		return fmt.Sprintf("https://hooks.example/%d", a.IntN(1000))
	case "wait":
		return pick(a.dice, []string{"0s", "1ms", "2ms"})
	case "fresh": // its clock leaps, and what is older is 503
		return "9999h"
	case "actor":
		return pick(a.dice, []string{"operator", "server", "service:service", "user:" + pick(a.dice, a.bag["user"])})
	case "events", "kind":
		return pick(a.dice, []string{"user.created", "session.ended", "session.ended:admin", "refresh_token.reused", "*"})
	case "amr":
		return pick(a.dice, []string{"hwk", "user", "otp"})
	case "auth_time":
		return strconv.FormatInt(a.now.Unix()-int64(a.IntN(1000)), 10)
	case "ip":
		return pick(a.dice, []string{"192.0.2.7", "2001:db8::7"})
	case "user", "user_id":
		return pick(a.dice, a.bag["user"])
	case "role", "roles":
		return pick(a.dice, a.bag["role"])
	case "permission", "permissions":
		return pick(a.dice, a.bag["permission"])
	case "session", "delivery":
		return pick(a.dice, a.bag[name])
	case "after_id":
		return pick(a.dice, a.bag["delivery"])
	}
	return ""
}

// named returns what the path names before its parameter, or what is to be made.
func (a *author) named(o *openapi.Operation) string {
	switch {
	case o.ID == "addService":
		return "service"
	case strings.Contains(o.Path, "/users/"):
		return pick(a.dice, a.bag["user"])
	case strings.Contains(o.Path, "/sessions/"):
		return pick(a.dice, a.bag["session"])
	case strings.Contains(o.Path, "/services/"):
		return pick(a.dice, a.bag["service"])
	case strings.Contains(o.Path, "/webhooks/"):
		return pick(a.dice, a.bag["webhook"])
	case strings.Contains(o.Path, "/keys/"):
		return pick(a.dice, a.bag["key"])
	case strings.Contains(o.Path, "/roles/"):
		return pick(a.dice, []string{"guest", "clerk", fmt.Sprintf("role-%d", a.IntN(9))})
	}
	return ""
}

func (a *author) cursor(o *openapi.Operation) string {
	switch o.ID {
	case "listUsers":
		return pick(a.dice, a.bag["username"])
	case "listEvents", "revocations":
		return strconv.Itoa(a.IntN(500))
	}
	return pick(a.dice, a.bag["session"])
}

// authenticate lets the request speak for somebody who may, most of the time.
func (a *author) authenticate(d *draft) {
	if d.operation.Method == "POST" && strings.HasPrefix(d.operation.Path, "/auth/") && a.percent(40) {
		d.add("Cookie", refreshCookie+"="+pick(a.dice, a.bag["refresh:cookie"]))
		if d.operation.ID == "refresh" {
			d.object = nil
		}
	}
	security := pick(a.dice, d.operation.Security)
	if security == nil {
		if a.percent(10) || d.operation.ID == "logout" {
			d.add("Authorization", "Bearer "+pick(a.dice, a.bag["access"]))
		}
		return
	}
	if _, ok := security["bearer"]; ok {
		kind := "access"
		if strings.HasPrefix(d.operation.Path, "/admin/") && a.percent(90) {
			kind = "access:admin"
		}
		d.add("Authorization", "Bearer "+pick(a.dice, a.bag[kind]))
	}
	for _, scheme := range []string{"service", "serviceBasic"} {
		scopes, ok := security[scheme]
		if !ok {
			continue
		}
		secret := pick(a.dice, a.bag["secret"])
		if len(scopes) > 0 && a.percent(90) {
			secret = pick(a.dice, a.bag["secret:"+scopes[0]])
		}
		if scheme == "service" {
			d.add("Authorization", "Bearer "+secret)
			continue
		}
		d.add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("service:"+secret)))
		d.object = slices.DeleteFunc(d.object, func(m member) bool { return strings.HasPrefix(m.name, "client_") })
	}
}

const refreshCookie = "__Secure-innkeeper-refresh"
