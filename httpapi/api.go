// Package httpapi is the HTTP surface of an authority. It knows cookies, headers,
// statuses and JSON, and decides nothing about sessions.
//
// A request reads top to bottom: a row in routes.go, a handler of a few lines in
// the file named after the URL (login.go, refresh.go, session.go …), a method of
// [innkeeper.Authority], an answer. Every error goes through the one table in
// problem.go.
//
//	api, err := httpapi.New(httpapi.Config{Authority: authority})
//	server := httpapi.NewServer("127.0.0.1:8080", api)
//	err = server.ListenAndServe()
//
// The URLs, members and codes of version 1 stay; see GET /openapi.json.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
	"github.com/innkeeper-auth/innkeeper/password"
)

// Config is what it takes to make an [API].
type Config struct {
	// Authority decides. Required.
	Authority *innkeeper.Authority
	// Version is shown in the OpenAPI description. The zero value means "dev".
	Version string
	// CookieScope says where the refresh cookie is sent. The zero value means
	// CookieScopePath.
	CookieScope CookieScope
	// AllowedOrigins are the web origins, besides the issuer's own, whose pages may
	// call the API with credentials: "https://app.example.com". The zero value
	// allows none.
	AllowedOrigins []string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	// The zero value believes nobody: behind a proxy, failed sign-ins of all are then
	// counted as those of one.
	TrustedProxies []netip.Prefix
	// Logger receives failures of dependencies, and nothing about who signs in. The
	// zero value discards them.
	Logger *slog.Logger
}

// API serves the HTTP contract. It is an [http.Handler].
type API struct {
	authority *innkeeper.Authority
	cookies   cookies
	logger    *slog.Logger
	huma      huma.API
	handler   http.Handler
	followers sync.WaitGroup // requests whose connection was taken over
	pages     pages          // of the feed
	// unbelieved is done when an address was not believed for the first time.
	unbelieved sync.Once
}

// New returns the API, or an [*innkeeper.InputError] that names what to correct.
func New(cfg Config) (*API, error) {
	cookies, err := newCookies(cfg.CookieScope)
	if err != nil {
		return nil, err
	}
	a := &API{authority: cfg.Authority, cookies: cookies, logger: cfg.Logger}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	mux := http.NewServeMux()
	a.huma = humago.New(mux, describe(cfg.Version))
	a.huma.UseMiddleware(correctStatus)
	if err := a.routes(mux); err != nil {
		return nil, err
	}
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own errors, see describe
		delete(a.huma.OpenAPI().Components.Schemas.Map(), unused)
	}
	mux.Handle("/", a.fallback(mux))

	origins, err := newOrigins(cfg.Authority.Issuer(), cfg.AllowedOrigins)
	if err != nil {
		return nil, err
	}
	a.handler = withHeaders(cfg.Authority.Issuer(), a.lastResort(withDeadline(a.withClient(cfg.TrustedProxies, origins.guard(a, mux)))))
	return a, nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// maxBody bounds what a request may send, in bytes.
const maxBody = 64 << 10

// handlerTimeout bounds what a request may take once its body is read. Stores
// answer within it or the request gets a 503.
const handlerTimeout = 10 * time.Second

// operation adds an operation. Its handler returns a response or an error; the
// error is translated and, if it is our own fault, logged.
func operation[I, O any](a *API, r route, handle func(context.Context, *I) (*O, error)) {
	r.MaxBodyBytes = maxBody + 1 // the first that is too many
	if _, ok := reflect.TypeFor[I]().FieldByName("Body"); ok {
		r = r.refuses(http.StatusRequestTimeout)
	}
	if needsJSON(r) {
		r.Middlewares = append(huma.Middlewares{a.requireJSON}, r.Middlewares...)
	}
	huma.Register(a.huma, huma.Operation(r), func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.translate(ctx, err)
		}
		return out, nil
	})
	delete(r.Responses, "default") // huma's, for operations that refuse nothing
}

// translate turns an error into a problem and logs it if it is no fault of the
// caller's.
func (a *API) translate(ctx context.Context, err error) *Problem {
	problem := problemOf(err)
	switch {
	case problem.Status < http.StatusInternalServerError || ctx.Err() != nil:
	case errors.Is(err, password.ErrBusy):
		// The queue is doing what it is for; whoever waits has been told to come back.
		a.logger.WarnContext(ctx, "sign-in put off", "error", err)
	default:
		a.logger.ErrorContext(ctx, "request not answered", "error", err)
	}
	return problem
}

// refuse writes an error from where no handler runs.
func (a *API) refuse(ctx huma.Context, err error) {
	problem := a.translate(ctx.Context(), err)
	for name, values := range problem.header {
		for _, value := range values {
			ctx.SetHeader(name, value)
		}
	}
	ctx.SetHeader("Content-Type", problem.ContentType(""))
	ctx.SetStatus(problem.Status)
	a.write(ctx.BodyWriter(), problem)
}

// refuseHTTP is refuse for plain handlers.
func (a *API) refuseHTTP(w http.ResponseWriter, r *http.Request, err error) {
	if strings.HasPrefix(r.URL.Path, oauthPrefix) {
		a.refuseOAuth(w, r, err)
		return
	}
	problem := a.translate(r.Context(), err)
	for name, values := range problem.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problem.ContentType(""))
	w.WriteHeader(problem.Status)
	a.write(w, problem)
}

func (a *API) write(w io.Writer, problem *Problem) {
	if err := huma.DefaultJSONFormat.Marshal(w, problem); err != nil {
		a.logger.Debug("answer not written", "error", err)
	}
}

// lastResort answers where a handler has panicked. It is a fault of ours and no
// verdict about anybody's session.
func (a *API) lastResort(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // a recovered value, compared as net/http does
				panic(cause)
			}
			a.refuseHTTP(w, r, fmt.Errorf("panic: %v", cause))
		}()
		next.ServeHTTP(w, r)
	})
}

// withDeadline gives every request an end. Those to the feed bring their own.
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == revocationsPath {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), handlerTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// fallback answers what no route matches: 405 if another method would, else 404.
func (a *API) fallback(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
				w.Header().Add("Allow", method)
			}
		}
		if w.Header().Get("Allow") != "" {
			a.refuseHTTP(w, r, newProblem(http.StatusMethodNotAllowed, codeInvalidRequest, "use a method named in the header Allow"))
			return
		}
		a.refuseHTTP(w, r, nothingHere())
	})
}

func nothingHere() *Problem {
	return newProblem(http.StatusNotFound, codeNotFound, "there is nothing at this URL; see /openapi.json")
}

// statusKey leads to the status that replaces the one huma chose.
type statusKey struct{}

// statusContext is a huma context whose status can be corrected until it is
// written.
type statusContext struct {
	humaContext
	corrected *int
}

// humaContext is embedded under a name that its method Context leaves free.
type humaContext huma.Context

// SetStatus implements [huma.Context].
func (c statusContext) SetStatus(status int) {
	if *c.corrected != 0 {
		status = *c.corrected
	}
	c.humaContext.SetStatus(status)
}

// Header implements [huma.Context]. A header that is there several times is one list
// (RFC 9110 section 5.3, RFC 9113 section 8.2.3): who took the first of them would act
// on another than a proxy has looked at.
//
// There is one format and nothing to negotiate, so that Accept is not read. Huma looks
// at it when the work is done, and one that is malformed would turn a committed
// rotation into a fault.
func (c statusContext) Header(name string) string {
	r, _ := humago.Unwrap(c.humaContext)
	switch name {
	case "Accept":
		return ""
	case "Cookie":
		return strings.Join(r.Header.Values(name), "; ")
	case "Content-Type": // its case does not matter, and huma thinks it does
		value := strings.Join(r.Header.Values(name), ", ")
		if mediaType, _, err := mime.ParseMediaType(value); err == nil {
			return mediaType
		}
		return value
	}
	return strings.Join(r.Header.Values(name), ", ")
}

// SetReadDeadline implements [huma.Context]. Huma would give each body a time of its
// own, which begins when all headers are there. The server has one for both.
func (c statusContext) SetReadDeadline(time.Time) error { return nil }

// correctStatus lets describe's transformer replace the status of an error that
// huma made. The other way to do this is a variable that all users of huma in a
// process share, which a library must not touch.
func correctStatus(ctx huma.Context, next func(huma.Context)) {
	corrected := new(int)
	next(statusContext{humaContext: huma.WithValue(ctx, statusKey{}, corrected), corrected: corrected})
}

// describe configures the OpenAPI description, JSON and errors.
func describe(version string) huma.Config {
	config := huma.DefaultConfig("Innkeeper", version)
	config.Info.Description = "Sign-in sessions: short-lived access tokens, refresh tokens that rotate on every use, revocation."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil // they would add a $schema member to every answer
	config.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":           {Type: "http", Scheme: "bearer", BearerFormat: "at+jwt (RFC 9068)"},
		serviceScheme:      {Type: "http", Scheme: "bearer", BearerFormat: "iks_…", Description: "The secret of a service; one of its scopes is named"},
		serviceBasicScheme: {Type: "http", Scheme: "basic", Description: "The name and the secret of a service"},
	}
	// Unknown members are ignored, duplicate ones refused. The second name stands
	// for everything that ends in +json: problems.
	strict := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: strictjson.Unmarshal}
	config.Formats = map[string]huma.Format{"application/json": strict, "json": strict}
	config.Transformers = []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
		var model *huma.ErrorModel
		if err, ok := v.(error); !ok || !errors.As(err, &model) {
			return v, nil
		}
		problem := humaProblem(model)
		if corrected, ok := ctx.Context().Value(statusKey{}).(*int); ok {
			*corrected = problem.Status
		}
		for name, values := range problem.header {
			ctx.SetHeader(name, values[0])
		}
		return problem, nil
	}}
	return config
}
