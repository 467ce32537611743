package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

// checkHeaders are those that a gateway passes on.
var checkHeaders = []string{
	"Cache-Control", "X-Auth-Subject", "X-Auth-Session", "X-Auth-Username", "X-Auth-Email",
	"X-Auth-Roles", "X-Auth-Permissions", "X-Auth-Time",
}

func checkOperation() route {
	names := &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}
	return op("GET /auth/check", "check", "Whether an access token opens a door, for gateways", 200, 401, 403, 503).
		query("role", "A role that the user must have; may repeat", true, names).
		query("permission", "A permission that the user must have; may repeat", true, names).
		query("fresh", "How old the server's view of revocations may be, 1s or more; 503 if it is older, because the store does not answer. Any age if absent", false,
			&huma.Schema{Type: huma.TypeString, Examples: []any{"5s"}}).
		answers(nil, checkHeaders...).
		bearer()
}

// check decides for a gateway about the access token of another request (nginx
// auth_request, Traefik ForwardAuth, Envoy ext_authz). All that nginx understands is
// 200, 401 and 403; anything else makes it answer 500. So a header that is malformed
// is 401 here, and a query that is, 403. Only who asks for a fresh view can get 503
// instead of 200: what is refused anyway, a fresher view would refuse as well.
//
// It asks no store, reads nothing but the Authorization header and the query, and
// sets no cookies.
func (a *API) check(w http.ResponseWriter, r *http.Request) {
	token, err := bearer.Token(r.Header)
	if errors.Is(err, bearer.ErrMalformed) {
		err = innkeeper.ErrAccessTokenInvalid
	}
	if err != nil {
		a.refuseHTTP(w, r, err)
		return
	}
	checked, err := a.authority.Check(r.Context(), token)
	if err == nil {
		err = demand(r.URL.RawQuery, checked)
	}
	if err != nil {
		a.refuseHTTP(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	// All of them, also those without a value: some gateways replace only the headers
	// that they get, and would let what the caller wrote into the others pass.
	h.Set("X-Auth-Subject", checked.UserID.String())
	h.Set("X-Auth-Session", checked.SessionID.String())
	h.Set("X-Auth-Username", headerText(checked.Username))
	h.Set("X-Auth-Email", headerText(checked.Email))
	h.Set("X-Auth-Roles", headerList(checked.Roles))
	h.Set("X-Auth-Permissions", headerList(checked.Permissions))
	h.Set("X-Auth-Time", strconv.FormatInt(checked.AuthTime.Unix(), 10))
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// demand refuses a token that lacks what the query asks for, or that was judged by an
// older view of revocations than it asks for. The query is written by
// whoever configures the gateway: what it means is not guessed. A misspelled
// parameter that were ignored would leave a door open.
func demand(query string, checked *innkeeper.Checked) error {
	wanted, err := url.ParseQuery(query)
	if err != nil {
		return forbidden("the query is malformed; ask for ?role=…&permission=…&fresh=5s")
	}
	fresh, err := freshness(wanted["fresh"])
	if err != nil {
		return err
	}
	for name, values := range wanted {
		held := checked.Roles
		switch name {
		case "role":
		case "permission":
			held = checked.Permissions
		case "fresh":
			continue
		default:
			return forbidden("the query has an unknown parameter; ask for ?role=…&permission=…&fresh=5s")
		}
		for _, value := range values {
			if !slices.Contains(held, value) {
				return forbidden("the access token lacks a " + name + " that this needs")
			}
		}
	}
	if checked.Lag > fresh {
		return unavailableProblem(fmt.Errorf("the revocations are known as of %v ago, and the gateway wants %v: does the store answer?",
			checked.Lag.Round(time.Millisecond), fresh), time.Second)
	}
	return nil
}

// minFresh is the least age of a view that a gateway may ask for. Even a server whose
// store answers knows nothing younger than its latest poll.
const minFresh = time.Second

// freshness reads how old the view of revocations may be.
func freshness(values []string) (time.Duration, error) {
	if len(values) == 0 {
		return math.MaxInt64, nil
	}
	fresh, err := time.ParseDuration(values[0])
	if err != nil || len(values) > 1 || fresh < minFresh {
		return 0, forbidden("fresh is malformed; ask for a time like ?fresh=5s, 1s or more")
	}
	return fresh, nil
}

// forbidden is the refusal of a genuine token (RFC 6750 section 3.1).
func forbidden(detail string) *Problem {
	p := newProblem(http.StatusForbidden, codeForbidden, detail)
	p.header.Set("WWW-Authenticate", bearer.Challenge(realm, "insufficient_scope", detail))
	return p
}

// headerList joins names, which hold no white space.
func headerList(names []string) string {
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = headerText(name)
	}
	return strings.Join(escaped, " ")
}

// headerText makes any text fit for a header: every byte that is no visible ASCII
// character, and the percent sign, is percent-encoded (RFC 3986 section 2.1). Most
// texts are left as they are.
func headerText(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
