package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/openapi"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestEveryStatus provokes every status of every operation in the description, and
// judges each answer by it. A pair of both that nobody knows how to provoke fails, and
// so it cannot be promised: add it to special, or take it from routes.go.
func TestEveryStatus(t *testing.T) {
	s := newStage(t)
	pairs := 0
	for _, operation := range s.description.Operations {
		for _, status := range operation.Statuses() {
			pairs++
			t.Run(fmt.Sprintf("%s %d", operation.ID, status), func(t *testing.T) {
				a := s.in(t).provoke(operation, status)
				if a.status != status {
					t.Fatalf("got %d %s", a.status, a.text)
				}
				if err := operation.Judge(operation.Method, a.status, a.header, []byte(a.text)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Logf("%d operations, %d pairs of operation and status", len(s.description.Operations), pairs)
}

// stage is a server whose store can go away.
type stage struct {
	t           *testing.T
	inn         *innkeepertest.Inn
	stores      innkeeper.Stores
	api         http.Handler // of inn
	away        *atomic.Bool
	description *openapi.Description
	serial      *int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, stores: memory.New().Stores(), away: new(atomic.Bool), serial: new(int)}
	s.inn = innkeepertest.New(t, &innkeepertest.Options{Stores: &s.stores, SignupOpen: true, Wrap: func(api http.Handler) http.Handler {
		s.api = api
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.away.Load() { // no store answers to a context that has ended
				ctx, cancel := context.WithCancel(r.Context())
				cancel()
				r = r.WithContext(ctx)
			}
			api.ServeHTTP(w, r)
		})
	}})
	root, roles := s.inn.AddUser("root"), []string{innkeeper.RoleAdmin}
	if _, err := s.inn.Authority.UpdateUser(t.Context(), root.ID, innkeeper.UserUpdate{Roles: &roles}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.description, err = openapi.Read([]byte(request(t, "GET", s.inn.URL+"/openapi.json", "").text)); err != nil {
		t.Fatal(err)
	}
	return s
}

// in is the stage for a subtest.
func (s *stage) in(t *testing.T) *stage {
	part := *s
	part.t = t
	return &part
}

// call is a request to be sent.
type call struct {
	path, body string
	headers    []string // pairs
}

func (s *stage) send(o *openapi.Operation, c call) answer {
	s.t.Helper()
	return request(s.t, o.Method, s.inn.URL+c.path, c.body, c.headers...)
}

// guest is a new user who has signed in.
func (s *stage) guest() (user *innkeeper.User, session innkeepertest.Session) {
	s.t.Helper()
	*s.serial++
	name := fmt.Sprintf("guest-%d", *s.serial)
	return s.inn.AddUser(name), s.inn.SignIn(name)
}

func (s *stage) admin() []string {
	s.t.Helper()
	return []string{"Authorization", bearer(s.inn.SignIn("root").AccessToken)}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// provoke gets an answer with a status out of an operation.
func (s *stage) provoke(o *openapi.Operation, status int) answer {
	s.t.Helper()
	if provoke := special[fmt.Sprintf("%s %d", o.ID, status)]; provoke != nil {
		return provoke(s, o)
	}
	c := s.good(o)
	isForm := o.Body != nil && o.Body.Type == oauthForm
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
	case http.StatusBadRequest:
		switch {
		case len(o.Security) > 0 && !isForm:
			c.headers = append(c.headers, c.headers...) // Authorization twice
		default:
			c.body = "{"
		}
	case http.StatusUnauthorized:
		c.headers = nil
		if isForm {
			c.headers = []string{"Content-Type", oauthForm, "Authorization", basic("nobody", "x")}
		}
	case http.StatusForbidden:
		if o.Method == http.MethodGet {
			_, other := s.guest()
			c.headers = []string{"Authorization", bearer(other.AccessToken)}
			break
		}
		c.headers = append(c.headers, "Sec-Fetch-Site", "cross-site")
	case http.StatusNotFound:
		c.path = s.nowhere(o)
	case http.StatusRequestTimeout:
		return s.slowly(o, c)
	case http.StatusRequestEntityTooLarge:
		c.body = strings.Repeat(" ", 64<<10) + c.body
	case http.StatusUnsupportedMediaType:
		c.headers = append(c.headers, "Content-Type", "text/plain")
	case http.StatusServiceUnavailable:
		s.away.Store(true)
		defer s.away.Store(false)
	default:
		s.t.Fatalf("nobody knows how to provoke it: add it to special")
	}
	return s.send(o, c)
}

// nowhere is the path of something that does not exist.
func (s *stage) nowhere(o *openapi.Operation) string {
	before, after, _ := strings.Cut(o.Path, "{")
	_, after, _ = strings.Cut(after, "}")
	return before + "AAAAAAAAAAAAAAAAAAAAAA" + after
}

// slowly sends a request whose body does not come, to a server that has little patience.
func (s *stage) slowly(o *openapi.Operation, c call) answer {
	s.t.Helper()
	server := httpapi.NewServer("", s.api)
	server.ReadTimeout = 50 * time.Millisecond
	conn := dial(s.t, serve(s.t, server))
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: inn\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", o.Method, c.path, len(c.body)+1)
	for i := 0; i < len(c.headers); i += 2 {
		fmt.Fprintf(&head, "%s: %s\r\n", c.headers[i], c.headers[i+1])
	}
	return exchange(s.t, conn, head.String()+"\r\n"+c.body)
}

// dial connects to a server of ours, for what no client of HTTP would send.
func dial(t *testing.T, target string) net.Conn {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a server that hangs fails the test
		t.Fatal(err)
	}
	return conn
}

// exchange sends text and reads one answer.
func exchange(t *testing.T, conn net.Conn, text string) answer {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Logf("not all was written: %v", err) // it may have been refused before
	}
	return readAnswer(t, bufio.NewReader(conn), text)
}

// special provokes what takes a story, by operation and status.
var special = map[string]func(s *stage, o *openapi.Operation) answer{
	"login 401": func(s *stage, o *openapi.Operation) answer {
		return s.send(o, call{path: o.Path, body: `{"username":"root","password":"nonsense"}`})
	},
	"refresh 401": func(s *stage, o *openapi.Operation) answer { return s.send(o, call{path: o.Path, body: `{}`}) },
	"logout 401":  func(s *stage, o *openapi.Operation) answer { return s.send(o, call{path: o.Path, body: `{}`}) },
	"check 403": func(s *stage, o *openapi.Operation) answer {
		c := s.good(o)
		c.path += "?role=king"
		return s.send(o, c)
	},
	"introspect 403": func(s *stage, o *openapi.Operation) answer {
		_, secret, err := s.inn.Authority.AddService(s.t.Context(), "blind", nil, innkeeper.ActorOperator)
		s.must(err)
		return s.send(o, call{o.Path, "token=x", []string{"Content-Type", oauthForm, "Authorization", basic("blind", secret.Reveal())}})
	},
	"openSession 404": func(s *stage, o *openapi.Operation) answer {
		return s.send(o, call{o.Path, `{"username":"nobody"}`, s.admin()})
	},
	"signup 409":     taken,
	"createUser 409": taken,
	"refresh 409": func(s *stage, o *openapi.Operation) answer {
		c := s.good(o)
		c.headers = []string{"Idempotency-Key", `"k3vT0c8mZ1q9fWxY";generation=7`}
		return s.send(o, c)
	},
	// Whoever signs out the others has to hold the latest token.
	"logout 409": func(s *stage, o *openapi.Operation) answer {
		_, session := s.guest()
		s.inn.Refresh(s.inn.Refresh(session))
		return s.send(o, call{path: o.Path, body: `{"scope":"others","refresh_token":"` + session.RefreshToken + `"}`})
	},
	"rotateKeys 200": func(s *stage, o *openapi.Operation) answer {
		s.inn.Clock.Advance(2 * keyring.MinPublished)
		return s.send(o, s.good(o))
	},
	"rotateKeys 409": func(s *stage, o *openapi.Operation) answer {
		s.inn.Clock.Advance(2 * keyring.MinPublished)
		c := s.good(o)
		s.send(o, c)
		return s.send(o, c)
	},
	"revokeKeys 200": func(s *stage, o *openapi.Operation) answer {
		c := s.good(o)
		c.path += "?emergency=true"
		return s.send(o, c)
	},
	"retireKey 409": func(s *stage, o *openapi.Operation) answer {
		return s.send(o, call{path: "/admin/keys/" + s.key("active"), headers: s.admin()})
	},
	"signup 422": func(s *stage, o *openapi.Operation) answer {
		return s.send(o, call{path: o.Path, body: `{"username":"eve","password":"short"}`})
	},
	"createUser 422": func(s *stage, o *openapi.Operation) answer {
		return s.send(o, call{o.Path, `{"username":"eve","password":"short"}`, s.admin()})
	},
	"changePassword 422": func(s *stage, o *openapi.Operation) answer {
		c := s.good(o)
		c.body = `{"current_password":"` + innkeepertest.Password + `","new_password":"short"}`
		return s.send(o, c)
	},
	"setPassword 422": func(s *stage, o *openapi.Operation) answer {
		c := s.good(o)
		c.body = `{"password":"short"}`
		return s.send(o, c)
	},
	"revocations 400": func(s *stage, o *openapi.Operation) answer { return s.send(o, call{path: o.Path + "?after=x"}) },
	"login 429": func(s *stage, o *openapi.Operation) answer {
		return s.until429(o, func(answer) call { return call{path: o.Path, body: `{"username":"root","password":"nonsense"}`} })
	},
	"signup 429": func(s *stage, o *openapi.Operation) answer {
		return s.until429(o, func(answer) call { return call{path: o.Path, body: credentialsOf("root")} })
	},
	"changePassword 429": func(s *stage, o *openapi.Operation) answer {
		c := call{o.Path, `{"current_password":"nonsense","new_password":"tr0ub4dor and three more"}`, s.admin()}
		return s.until429(o, func(answer) call { return c })
	},
	"refresh 429": func(s *stage, o *openapi.Operation) answer {
		first := s.good(o)
		return s.until429(o, func(last answer) call {
			if token, ok := last.body["refresh_token"].(string); ok {
				return call{path: o.Path, body: `{"refresh_token":"` + token + `"}`}
			}
			return first
		})
	},
	"token 429": func(s *stage, o *openapi.Operation) answer {
		first := s.good(o)
		return s.until429(o, func(last answer) call {
			if token, ok := last.body["refresh_token"].(string); ok {
				return call{o.Path, "grant_type=refresh_token&refresh_token=" + token, first.headers}
			}
			return first
		})
	},
	"revocations 503": unread,
	"check 503":       unread,
}

func credentialsOf(username string) string {
	return `{"username":"` + username + `","password":"` + innkeepertest.Password + `"}`
}

func taken(s *stage, o *openapi.Operation) answer {
	return s.send(o, call{o.Path, credentialsOf("ROOT"), s.admin()})
}

// until429 sends one request after the other, each made from the answer before, until
// there have been too many; and then lets time pass, so that others may try.
func (s *stage) until429(o *openapi.Operation, next func(last answer) call) answer {
	s.t.Helper()
	defer s.inn.Clock.Advance(48 * time.Hour)
	var last answer
	for range 200 {
		if last = s.send(o, next(last)); last.status == http.StatusTooManyRequests {
			break
		}
	}
	return last
}

// unread asks a server that has not read the revocation feed yet.
func unread(s *stage, o *openapi.Operation) answer {
	_, api := openAPI(s.t)
	return request(s.t, o.Method, serve(s.t, httpapi.NewServer("", api))+o.Path, "", "Authorization", "Bearer x")
}

// key is the ID of a signing key in some state.
func (s *stage) key(state string) string {
	s.t.Helper()
	keys, err := s.inn.Authority.SigningKeys(s.t.Context())
	s.must(err)
	for _, key := range keys {
		if string(key.State) == state {
			return key.KeyID
		}
	}
	s.t.Fatalf("no key is %s", state)
	return ""
}

// webhook is the ID of a new webhook, the only one.
func (s *stage) webhook() string {
	s.t.Helper()
	hooks, err := s.inn.Authority.Webhooks(s.t.Context())
	s.must(err)
	for i := range hooks {
		s.must(s.inn.Authority.RemoveWebhook(s.t.Context(), hooks[i].ID, innkeeper.ActorOperator))
	}
	hook, _, err := s.inn.Authority.AddWebhook(s.t.Context(), "https://hooks.example.com/", nil, innkeeper.ActorOperator)
	s.must(err)
	return hook.ID.String()
}

// good is a request that succeeds.
func (s *stage) good(o *openapi.Operation) call {
	s.t.Helper()
	if strings.HasPrefix(o.Path, "/admin/") {
		return s.goodOfAdmin(o)
	}
	user, session := s.guest()
	c := call{path: strings.Replace(o.Path, "{id}", session.ID, 1)}
	if len(o.Security) > 0 {
		c.headers = []string{"Authorization", bearer(session.AccessToken)}
	}
	withToken := `{"refresh_token":"` + session.RefreshToken + `"}`
	switch o.ID {
	case "signup":
		c.body = `{"username":"new-` + user.Username + `","password":"` + innkeepertest.Password + `"}`
	case "login":
		c.body = `{"username":"` + user.Username + `","password":"` + innkeepertest.Password + `"}`
	case "refresh", "logout":
		c.body = withToken
	case "changePassword":
		c.body = `{"current_password":"` + innkeepertest.Password + `","new_password":"tr0ub4dor and three more"}`
	case "checkPassword":
		c.body = `{"password":"x"}`
	case "token":
		c.body, c.headers = "grant_type=refresh_token&refresh_token="+session.RefreshToken, []string{"Content-Type", oauthForm}
	case "revoke":
		c.body, c.headers = "token="+session.RefreshToken, []string{"Content-Type", oauthForm}
	case "introspect":
		_, secret, err := s.inn.Authority.AddService(s.t.Context(), "api", []innkeeper.ServiceScope{innkeeper.ScopeIntrospect}, innkeeper.ActorOperator)
		s.must(err)
		c.body, c.headers = "token="+session.RefreshToken, []string{"Content-Type", oauthForm, "Authorization", basic("api", secret.Reveal())}
	}
	return c
}

func (s *stage) goodOfAdmin(o *openapi.Operation) call {
	s.t.Helper()
	user, session := s.guest()
	c := call{path: o.Path, headers: s.admin()}
	fill := func(name, value string) { c.path = strings.Replace(c.path, "{"+name+"}", value, 1) }
	switch {
	case strings.HasPrefix(o.Path, "/admin/users/"):
		fill("id", user.ID.String())
	case strings.HasPrefix(o.Path, "/admin/sessions/"):
		fill("id", session.ID)
	case strings.HasPrefix(o.Path, "/admin/services/"):
		service, _, err := s.inn.Authority.AddService(s.t.Context(), "old", nil, innkeeper.ActorOperator)
		s.must(err)
		fill("id", service.ID.String())
	case strings.HasPrefix(o.Path, "/admin/webhooks/"):
		fill("id", s.webhook())
	case strings.HasPrefix(o.Path, "/admin/roles/"):
		fill("name", user.Username)
		s.must(s.inn.Authority.SetRole(s.t.Context(), innkeeper.Role{Name: user.Username}, innkeeper.ActorOperator))
	case strings.HasPrefix(o.Path, "/admin/keys/"):
		fill("kid", s.key("published"))
	}
	switch o.ID {
	case "createUser":
		c.body = `{"username":"new-` + user.Username + `","password":"` + innkeepertest.Password + `"}`
	case "updateUser":
		c.body = `{"email":"new@example.com"}`
	case "setPassword":
		c.body = `{"password":"tr0ub4dor and three more"}`
	case "setRole":
		c.body = `{"permissions":["mail:read"]}`
	case "addService":
		c.body = `{"name":"mailer"}`
	case "addWebhook":
		c.body = `{"url":"https://hooks.example.com/x"}`
	case "openSession":
		c.body = `{"user_id":"` + user.ID.String() + `","delivery":"body"}`
	}
	return c
}

// TestEveryActOfAdministratorsSaysFromWhere does everything at /admin that changes
// something, as a person and as a service, and looks for who it was and from where.
func TestEveryActOfAdministratorsSaysFromWhere(t *testing.T) {
	s := newStage(t)
	_, secret := addService(t, s.inn, "ops", innkeeper.ScopeAdmin)
	acts := 0
	for _, o := range s.description.Operations {
		if !strings.HasPrefix(o.Path, "/admin/") || o.Method == http.MethodGet {
			continue
		}
		acts++
		const emergency = "?emergency=true"
		queries := []string{""}
		switch o.ID {
		case "retireKey":
			queries = []string{"", emergency}
		case "revokeKeys":
			queries = []string{emergency}
		}
		for _, query := range queries {
			t.Run(o.ID+query+" by a person", func(t *testing.T) {
				s.in(t).doneFrom(o, query, "")
			})
			t.Run(o.ID+query+" by a service", func(t *testing.T) {
				s.in(t).doneFrom(o, query, secret)
			})
		}
	}
	t.Logf("%d operations", acts)
}

// doneFrom does something as a service, or as a person if there is no secret, and judges
// what the log says of it.
func (s *stage) doneFrom(o *openapi.Operation, query, secret string) {
	s.t.Helper()
	if o.ID == "rotateKeys" {
		s.inn.Clock.Advance(2 * keyring.MinPublished)
	}
	c := s.good(o)
	if o.ID == "retryDeliveries" {
		s.giveUp()
	}
	user, err := s.inn.Authority.UserByUsername(s.t.Context(), "root")
	s.must(err)
	root := s.inn.SignIn("root")
	actor, token, bySession := innkeeper.UserActor(user.ID), root.AccessToken, root.ID
	if secret != "" {
		actor, token, bySession = "service:ops", secret, ""
	}
	before, err := s.inn.Authority.LastEvent(s.t.Context())
	s.must(err)
	a := request(s.t, o.Method, s.inn.URL+c.path+query, c.body, "Authorization", bearer(token), "User-Agent", "clerk/7")
	if a.status >= 300 {
		s.t.Fatalf("got %d %s", a.status, a.text)
	}
	events, err := s.inn.Authority.Events(s.t.Context(), innkeeper.EventFilter{After: before, Actor: actor})
	s.must(err)
	if len(events) == 0 {
		s.t.Error("the log says nothing")
	}
	for _, event := range events {
		ip, agent := event.Client.Addr.String(), event.Client.UserAgent
		if o.ID == "openSession" { // those of the person, as they were claimed, and here are not
			if event.Client != (innkeeper.Client{}) {
				s.t.Errorf("the person is at %+v", event.Client)
			}
			ip, agent = event.Detail["by_ip"], event.Detail["by_user_agent"]
		}
		if ip != "127.0.0.1" || agent != "clerk/7" || event.Detail["by_session"] != bySession {
			s.t.Errorf("%s is from %q %q, by the session %q: %+v", event.Kind, ip, agent, event.Detail["by_session"], event)
		}
	}
}

// giveUp leaves a dead letter to the only webhook.
func (s *stage) giveUp() {
	s.t.Helper()
	hooks, err := s.stores.Webhooks.Webhooks(s.t.Context())
	s.must(err)
	now := s.inn.Clock.Now()
	claimed, err := s.stores.Webhooks.ClaimWebhook(s.t.Context(), innkeeper.WebhookClaim{ID: hooks[0].ID, Owner: "test", At: now, Until: now.Add(time.Minute)})
	s.must(err)
	s.must(s.stores.Webhooks.AdvanceWebhook(s.t.Context(), innkeeper.WebhookProgress{
		ID: claimed.ID, Owner: "test", State: claimed.WebhookState,
		Put: &innkeeper.WebhookDelivery{
			ID: "msg", WebhookID: claimed.ID, Kind: innkeeper.EventUserCreated, EventAt: now, Body: []byte("{}"),
			State: innkeeper.WebhookDead, NextAt: now, TriedAt: now,
		},
	}))
}
