package httpapi

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

// routes is the table of contents of the API.
func (a *API) routes(mux *http.ServeMux) error {
	signedIn := guard{passes: a.requireBearer}

	operation(a, op("POST /auth/signup", "signup", "Create a user and sign in", 201, 400, 403, 409, 413, 415, 422, 429, 503), a.signup)
	operation(a, op("POST /auth/login", "login", "Sign in with a password", 200, 400, 401, 403, 413, 415, 429, 503), a.login)
	operation(a, op("POST /auth/refresh", "refresh", "Trade a refresh token for the next pair", 200, 400, 401, 403, 409, 413, 415, 429, 503).unvalidated(), a.refresh)
	operation(a, op("POST /auth/logout", "logout", "End this session, the others, or all", 204, 400, 401, 403, 409, 413, 415, 503), a.logout)
	operation(a, op("GET /auth/me", "me", "The user and this session", 200, 401, 503).behind(signedIn), a.me)
	operation(a, op("GET /auth/sessions", "listOwnSessions", "My live sessions", 200, 400, 401, 503).behind(signedIn), a.listOwnSessions)
	operation(a, op("DELETE /auth/sessions/{id}", "endOwnSession", "End one of my sessions", 204, 401, 403, 404, 503).behind(signedIn), a.endOwnSession)
	operation(a, op("POST /auth/password", "changePassword", "Change my password; ends every session and opens a new one", 200, 400, 401, 403, 413, 415, 422, 429, 503).behind(signedIn), a.changePassword)
	operation(a, op("POST /auth/password/check", "checkPassword", "Say how good a new password would be; nothing is kept", 200, 400, 403, 413, 415), a.checkPassword)

	browserClient(mux)

	a.plain(mux, checkOperation(), a.check)
	a.plain(mux, revocationsOperation(a), a.revocations)
	a.adminRoutes()

	a.plain(mux, tokenOperation(a), a.oauth(a.token))
	a.plain(mux, revokeOperation(a), a.oauth(a.revoke))
	a.plain(mux, introspectOperation(a), a.oauth(a.introspect))
	operation(a, op("GET "+metadataPath, "metadata", "What clients of OAuth find here (RFC 8414)", 200), a.metadata)
	ofPath, err := a.metadataOfPath(mux)
	if err != nil {
		return err
	}
	mux.HandleFunc("GET "+metadataPath+"/{path...}", ofPath)

	operation(a, jwksOperation(a), a.jwks)
	operation(a, op("GET /healthz", "alive", "The process is alive", 200), a.alive)
	operation(a, op("GET /readyz", "ready", "The store answers and keys are ready", 200, 503), a.ready)
	return nil
}

// guard decides who may call an operation.
type guard struct {
	passes func(ctx huma.Context, next func(huma.Context))
	scope  innkeeper.ServiceScope // of services that may; empty: none may
}

// administrators are people with the role admin, and services with a scope.
func (a *API) administrators(scope innkeeper.ServiceScope) guard {
	return guard{passes: a.requireAdmin(scope), scope: scope}
}

// The names of the ways to authenticate, in the description.
const (
	serviceScheme      = "service"
	serviceBasicScheme = "serviceBasic"
)

// adminRoutes are for administrators, and for services with a scope that fits.
func (a *API) adminRoutes() {
	admin := a.administrators(innkeeper.ScopeAdmin)
	reads, ends := a.administrators(innkeeper.ScopeUsersRead), a.administrators(innkeeper.ScopeSessionsEnd)

	operation(a, op("GET /admin/users", "listUsers", "Users by name", 200, 401, 403, 503).behind(reads), a.listUsers)
	operation(a, op("POST /admin/users", "createUser", "Create a user", 201, 400, 401, 403, 409, 413, 415, 422, 503).behind(admin), a.createUser)
	operation(a, op("GET /admin/users/{id}", "getUser", "One user", 200, 401, 403, 404, 503).behind(reads), a.getUser)
	operation(a, op("PATCH /admin/users/{id}", "updateUser", "Change email or roles, disable or enable", 200, 400, 401, 403, 404, 413, 415, 503).behind(admin), a.updateUser)
	operation(a, op("DELETE /admin/users/{id}", "deleteUser", "Delete a user and end their sessions", 204, 401, 403, 404, 503).behind(admin), a.deleteUser)
	operation(a, op("PUT /admin/users/{id}/password", "setPassword", "Set a password; ends every session", 204, 400, 401, 403, 404, 413, 415, 422, 503).behind(admin), a.setPassword)
	operation(a, op("GET /admin/users/{id}/sessions", "listUserSessions", "A user's live sessions", 200, 400, 401, 403, 404, 503).behind(reads), a.listUserSessions)
	operation(a, op("DELETE /admin/users/{id}/sessions", "endUserSessions", "End all of a user's sessions", 204, 401, 403, 404, 503).behind(ends), a.endUserSessions)
	operation(a, op("POST /admin/sessions", "openSession", "Open a session for somebody whom your back end has authenticated", 201, 400, 401, 403, 404, 413, 415, 503).behind(a.administrators(innkeeper.ScopeSessionsCreate)), a.openSession)
	operation(a, op("DELETE /admin/sessions/{id}", "endSession", "End any session", 204, 401, 403, 404, 503).behind(ends), a.endSession)
	operation(a, op("GET /admin/roles", "listRoles", "Roles and their permissions", 200, 401, 403, 503).behind(reads), a.listRoles)
	operation(a, op("PUT /admin/roles/{name}", "setRole", "Create a role or replace its permissions", 204, 400, 401, 403, 413, 415, 503).behind(admin), a.setRole)
	operation(a, op("DELETE /admin/roles/{name}", "deleteRole", "Delete a role and take it from everyone", 204, 401, 403, 404, 503).behind(admin), a.deleteRole)

	operation(a, op("GET /admin/services", "listServices", "Credentials of services", 200, 401, 403, 503).behind(admin), a.listServices)
	operation(a, op("POST /admin/services", "addService", "Make a credential for a service", 201, 400, 401, 403, 413, 415, 503).behind(admin), a.addService)
	operation(a, op("DELETE /admin/services/{id}", "removeService", "Revoke one credential of a service", 204, 401, 403, 404, 503).behind(admin), a.removeService)

	operation(a, op("GET /admin/events", "listEvents", "The audit log", 200, 400, 401, 403, 503).behind(a.administrators(innkeeper.ScopeEventsRead)), a.listEvents)
	operation(a, op("GET /admin/webhooks", "listWebhooks", "Who is told of events", 200, 401, 403, 503).behind(admin), a.listWebhooks)
	operation(a, op("POST /admin/webhooks", "addWebhook", "Let a URL be told of events from now on", 201, 400, 401, 403, 413, 415, 503).behind(admin), a.addWebhook)
	operation(a, op("DELETE /admin/webhooks/{id}", "removeWebhook", "Tell a URL nothing any more", 204, 401, 403, 404, 503).behind(admin), a.removeWebhook)
	operation(a, op("POST /admin/webhooks/{id}/rotate-secret", "rotateWebhookSecret", "Sign with a new secret, and with the one before for a while", 200, 400, 401, 403, 404, 503).behind(admin), a.rotateWebhookSecret)
	operation(a, op("GET /admin/webhooks/{id}/deliveries", "listDeliveries", "What was not delivered yet, or given up", 200, 400, 401, 403, 404, 503).behind(admin), a.listDeliveries)
	operation(a, op("POST /admin/webhooks/{id}/retry", "retryDeliveries", "Try again at once what was given up", 200, 401, 403, 404, 503).behind(admin), a.retryDeliveries)

	operation(a, op("GET /admin/keys", "listKeys", "Signing keys and how far they have come", 200, 401, 403, 503).behind(admin), a.listKeys)
	operation(a, op("POST /admin/keys/rotate", "rotateKeys", "Let the next signing key sign now; signs nobody out", 200, 401, 403, 409, 503).behind(admin), a.rotateKeys)
	operation(a, op("DELETE /admin/keys", "revokeKeys", "Revoke every signing key after a leak of the database or of a server's memory, and sign with a new one; signs nobody out", 200, 400, 401, 403, 503).behind(admin), a.revokeKeys)
	operation(a, op("DELETE /admin/keys/{kid}", "retireKey", "Retire a signing key by the rules, or revoke a stolen one", 204, 400, 401, 403, 404, 409, 503).behind(admin), a.retireKey)
}

// route is an operation under construction.
type route huma.Operation

// op describes an operation: its method and path, its ID, what it does, the
// status of its success and those of its refusals.
func op(methodAndPath, id, summary string, success int, refusals ...int) route {
	method, path, _ := strings.Cut(methodAndPath, " ")
	r := route{
		Method: method, Path: path, OperationID: id, Summary: summary, DefaultStatus: success,
		Responses: map[string]*huma.Response{},
	}
	return r.refuses(refusals...)
}

// refuses describes refusals.
func (r route) refuses(statuses ...int) route {
	for _, status := range statuses {
		r.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content: map[string]*huma.MediaType{
				"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}},
			},
		}
	}
	return r
}

// unvalidated leaves out a check of the body for which it would be read twice:
// decoding it strictly finds the same faults.
func (r route) unvalidated() route {
	r.SkipValidateBody = true
	return r
}

// behind puts an operation behind an access token or the secret of a service. A header
// Authorization that is malformed is 400 (RFC 6750 section 3.1).
func (r route) behind(g guard) route {
	r.Middlewares = huma.Middlewares{g.passes}
	r = r.bearer().refuses(http.StatusBadRequest)
	if g.scope != "" {
		r.Security = append(r.Security, map[string][]string{serviceScheme: {string(g.scope)}})
	}
	return r
}

// bearer says in the description that an operation takes an access token.
func (r route) bearer() route {
	r.Security = []map[string][]string{{"bearer": {}}}
	return r
}

// query describes a parameter of an operation that huma does not run.
func (r route) query(name, doc string, repeats bool, schema *huma.Schema) route {
	r.Parameters = append(r.Parameters, &huma.Param{Name: name, In: "query", Description: doc, Schema: schema, Explode: &repeats})
	return r
}

// header describes a header of an operation that huma does not run.
func (r route) header(name, doc string) route {
	r.Parameters = append(r.Parameters, &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}})
	return r
}

// answers describes the success of an operation that huma does not run: its body, nil
// if there is none, and its headers.
func (r route) answers(body *huma.Schema, headers ...string) route {
	success := &huma.Response{Description: http.StatusText(r.DefaultStatus), Headers: map[string]*huma.Header{}}
	if body != nil {
		success.Content = map[string]*huma.MediaType{"application/json": {Schema: body}}
	}
	for _, name := range headers {
		success.Headers[name] = &huma.Header{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	r.Responses[strconv.Itoa(r.DefaultStatus)] = success
	return r
}

// schemaOf describes a type under a name.
func schemaOf[T any](a *API, name string) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, name)
}

// embedding adds to the schema of a type the members of one that it embeds. Huma does
// not see those of embedded types that are not exported.
func embedding[T any](r huma.Registry, s *huma.Schema) *huma.Schema {
	embedded := r.Schema(reflect.TypeFor[T](), false, "")
	maps.Copy(s.Properties, embedded.Properties)
	s.Required = append(slices.Clone(embedded.Required), s.Required...)
	return s
}

// plain adds an operation that huma describes and does not run.
func (a *API) plain(mux *http.ServeMux, r route, handle http.HandlerFunc) {
	described := huma.Operation(r)
	a.huma.OpenAPI().AddOperation(&described)
	mux.HandleFunc(r.Method+" "+r.Path, handle)
}
