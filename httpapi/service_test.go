package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

func TestServices(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	_, root := addService(t, inn, "root", innkeeper.ScopeAdmin)
	as := func(secret, method, path, body string) answer {
		t.Helper()
		return request(t, method, inn.URL+path, body, "Authorization", bearer(secret))
	}
	created := as(root, "POST", "/admin/services", `{"name":"mailer","scopes":["users:read"]}`)
	created.want(t, 201, "")
	secret, id := created.body["secret"].(string), created.body["id"].(string)
	if !strings.HasPrefix(secret, "iks_") || len(secret) != 74 || created.header.Get("Cache-Control") != "no-store" {
		t.Errorf("created %s", created.text)
	}
	as(root, "POST", "/admin/services", `{"name":"mailer","scopes":["everything"]}`).want(t, 400, "invalid_request")
	as(root, "POST", "/admin/services", `{"name":"innkeeper"}`).want(t, 400, "invalid_request")
	as(secret, "GET", "/admin/users", "").want(t, 200, "")

	list := as(root, "GET", "/admin/services", "")
	list.want(t, 200, "")
	if strings.Contains(list.text, secret[10:30]) || strings.Contains(list.text, "hash") {
		t.Errorf("the list shows a secret: %s", list.text)
	}
	var services struct {
		Services []struct {
			ID, Name   string
			Scopes     []string
			LastUsedAt time.Time `json:"last_used_at"`
		}
	}
	if err := json.Unmarshal([]byte(list.text), &services); err != nil {
		t.Fatal(err)
	}
	mailer := services.Services[0]
	if len(services.Services) != 2 || mailer.ID != id || mailer.Name != "mailer" || mailer.Scopes[0] != "users:read" || mailer.LastUsedAt.IsZero() {
		t.Errorf("the list is %s", list.text)
	}

	// Removing is felt at once.
	as(root, "DELETE", "/admin/services/"+id, "").want(t, 204, "")
	as(root, "DELETE", "/admin/services/"+id, "").want(t, 404, "not_found")
	as(root, "DELETE", "/admin/services/x", "").want(t, 404, "not_found")
	refused := as(secret, "GET", "/admin/users", "")
	refused.want(t, 401, "invalid_credentials")
	wellFormed(t, refused)
	if got := refused.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("challenge %s", got)
	}
}

// TestServiceScopes asks for every operation of /admin with every scope (B2).
func TestServiceScopes(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada").ID.String()
	secrets := make(map[innkeeper.ServiceScope]string)
	for _, scope := range innkeeper.ServiceScopes() {
		_, secrets[scope] = addService(t, inn, "s-"+strings.ReplaceAll(string(scope), ":", "-"), scope)
	}
	description := request(t, "GET", inn.URL+"/openapi.json", "")
	needs := map[string]innkeeper.ServiceScope{ // all others need admin
		"GET /admin/users": innkeeper.ScopeUsersRead, "GET /admin/users/{id}": innkeeper.ScopeUsersRead,
		"GET /admin/users/{id}/sessions": innkeeper.ScopeUsersRead, "GET /admin/roles": innkeeper.ScopeUsersRead,
		"DELETE /admin/users/{id}/sessions": innkeeper.ScopeSessionsEnd, "DELETE /admin/sessions/{id}": innkeeper.ScopeSessionsEnd,
		"POST /admin/sessions": innkeeper.ScopeSessionsCreate, "GET /admin/events": innkeeper.ScopeEventsRead,
	}
	operations := 0
	for path, methods := range description.body["paths"].(map[string]any) {
		if !strings.HasPrefix(path, "/admin/") {
			continue
		}
		for method := range methods.(map[string]any) {
			operations++
			operation := strings.ToUpper(method) + " " + path
			need := needs[operation]
			if need == "" {
				need = innkeeper.ScopeAdmin
			}
			target := inn.URL + strings.NewReplacer("{id}", ada, "{kid}", "none", "{name}", "none").Replace(path)
			for scope, secret := range secrets {
				// Allowed requests are malformed on purpose, so that they do nothing.
				body := ""
				if method != "get" && method != "delete" {
					body = "{"
				}
				if operation == "POST /admin/keys/rotate" {
					body = ""
				}
				if method == "delete" {
					target = inn.URL + strings.NewReplacer("{id}", "x", "{kid}", "none", "{name}", "none").Replace(path)
				}
				a := request(t, strings.ToUpper(method), target, body, "Authorization", bearer(secret))
				allowed := scope == need || scope == innkeeper.ScopeAdmin
				if forbidden := a.status == 403; forbidden == allowed || a.status == 401 || a.status >= 500 {
					t.Errorf("%s with %s: %d %s", operation, scope, a.status, a.text)
				}
				if !allowed && !strings.HasSuffix(a.header.Get("WWW-Authenticate"), `error="insufficient_scope", error_description="this needs the scope `+string(need)+`", scope="`+string(need)+`"`) {
					t.Errorf("%s with %s: challenge %s", operation, scope, a.header.Get("WWW-Authenticate"))
				}
			}
		}
	}
	if operations < 18 {
		t.Errorf("only %d operations", operations)
	}
	// A secret opens nothing but /admin and /oauth.
	for _, path := range []string{"/auth/me", "/auth/check", "/auth/sessions"} {
		request(t, "GET", inn.URL+path, "", "Authorization", bearer(secrets[innkeeper.ScopeAdmin])).want(t, 401, "access_token_invalid")
	}
}

func TestServiceActs(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	_, root := addService(t, inn, "deploy", innkeeper.ScopeAdmin)
	request(t, "POST", inn.URL+"/admin/users", `{"username":"bob","password":"`+innkeepertest.Password+`"}`, "Authorization", bearer(root)).want(t, 201, "")
	events, err := inn.Authority.Events(t.Context(), innkeeper.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last.Kind != innkeeper.EventUserCreated || last.Actor != "service:deploy" {
		t.Errorf("the last event is %+v", last)
	}
}
