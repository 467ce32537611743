package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/cors"

	"github.com/innkeeper-auth/innkeeper"
)

// origins decides which web pages may call the API.
//
// SameSite=Strict is not enough, because sibling subdomains are same-site; so
// every unsafe request, login and sign-up included, must come from a page of an
// allowed origin or from no page at all, and must be application/json, which no
// form can send without a preflight.
type origins struct {
	protection *http.CrossOriginProtection
	cors       *cors.Cors
}

// newOrigins allows the issuer's own origin, whatever a proxy makes of the Host
// header, and those that the operator names.
func newOrigins(issuer string, allowed []string) (*origins, error) {
	o := &origins{protection: http.NewCrossOriginProtection()}
	for _, origin := range allowed {
		if err := o.trust(origin); err != nil {
			return nil, err
		}
	}
	own, err := url.Parse(issuer)
	if err != nil {
		return nil, &innkeeper.InputError{Field: "issuer", Detail: "give a URL"}
	}
	if err := o.trust(own.Scheme + "://" + own.Host); err != nil {
		return nil, err
	}
	o.cors = cors.New(cors.Options{
		AllowOriginFunc:  allowExactly(allowed),
		AllowCredentials: true,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders:   []string{"Authorization", "Content-Type", "Idempotency-Key"},
		ExposedHeaders:   []string{"Retry-After", "WWW-Authenticate", "Date"},
		MaxAge:           600,
	})
	return o, nil
}

func (o *origins) trust(origin string) error {
	if err := o.protection.AddTrustedOrigin(origin); err != nil {
		return &innkeeper.InputError{Field: "allowed-origin", Detail: "give scheme and host, like https://app.example.com, without a path"}
	}
	return nil
}

// allowExactly compares origins byte by byte: no wildcard, no suffix.
func allowExactly(allowed []string) func(string) bool {
	set := make(map[string]bool, len(allowed))
	for _, origin := range allowed {
		set[origin] = true
	}
	return func(origin string) bool { return set[origin] }
}

// guard refuses pages of other origins before anything is looked at.
func (o *origins) guard(a *API, next http.Handler) http.Handler {
	return o.cors.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isUnsafe(r.Method) {
			w.Header().Add("Vary", "Sec-Fetch-Site") // rs/cors adds Origin
		}
		if err := o.protection.Check(r); err != nil {
			a.refuseHTTP(w, r, newProblem(http.StatusForbidden, "cross_site_request",
				"pages of this origin may not call; add it with --allowed-origin"))
			return
		}
		if !isClean(r.URL.Path) {
			// The mux would redirect to what it takes for the path that was meant. No endpoint
			// redirects: clients would send secrets along, and proxies have matched their
			// rules with what was sent.
			a.refuseHTTP(w, r, nothingHere())
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func isUnsafe(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// requireJSON refuses what a form or a page can send without a preflight: anything
// with a body that is not declared as application/json.
func (a *API) requireJSON(ctx huma.Context, next func(huma.Context)) {
	if ctx.Header("Content-Type") != "application/json" {
		a.refuse(ctx, newProblem(http.StatusUnsupportedMediaType, codeInvalidRequest, "send Content-Type: application/json"))
		return
	}
	next(ctx)
}

// needsJSON reports whether an operation is behind requireJSON. Those below /auth are,
// where a cookie may speak for the user. A DELETE needs a preflight whatever its type.
func needsJSON(r route) bool {
	return strings.HasPrefix(r.Path, "/auth/") && isUnsafe(r.Method) && r.Method != http.MethodDelete
}

// isClean reports whether a path is spelled as in the description: from the root,
// without empty segments and dots.
func isClean(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || clean != "/" && p == clean+"/")
}
