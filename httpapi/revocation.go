package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

const revocationsPath = "/auth/revocations"

// revocationBody is one entry of the feed.
type revocationBody struct {
	Seq  int64  `json:"seq" doc:"Its place in the feed"`
	Kind string `json:"kind" enum:"session,user,key"`
	ID   string `json:"id" doc:"session: the sid; user: base64url of the first 16 bytes of SHA-256(iss, sub, epoch); key: the kid"`
}

type revocationsBody struct {
	Snapshot bool             `json:"snapshot" doc:"This begins the whole set anew: the cursor was none of ours"`
	Entries  []revocationBody `json:"entries" nullable:"false" doc:"By seq, at most 10,000"`
	Next     int64            `json:"next" doc:"The cursor of the next request"`
	More     bool             `json:"more" doc:"There are further entries: ask at once"`
	LagMS    int64            `json:"lag_ms" doc:"How old this view may have been when it was taken, in milliseconds"`
	WaitedMS int64            `json:"waited_ms" doc:"How long after the request it was taken, in milliseconds: who asked at T knows of everything until T + waited_ms - lag_ms"`
}

func revocationsOperation(a *API) route {
	return op("GET "+revocationsPath, "revocations", "What was revoked since a cursor, at once or as soon as there is something", 200, 400, 503).
		query("after", "The member next of the answer before; none begins", false, &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: new(float64)}).
		query("wait", "How long to wait for news, 0s to 60s", false, &huma.Schema{Type: huma.TypeString, Default: "0s", Examples: []any{"30s"}}).
		answers(schemaOf[revocationsBody](a, "RevocationsBody"), "Cache-Control")
}

// revocations is the feed. It is no huma operation and outside the deadline of
// requests, because thousands wait in it.
func (a *API) revocations(w http.ResponseWriter, r *http.Request) {
	after, wait, err := feedQuery(r.URL.RawQuery)
	if err != nil {
		a.refuseHTTP(w, r, err)
		return
	}
	page, err := a.authority.Revocations(r.Context(), after, 0)
	if err != nil {
		a.refuseHTTP(w, r, err)
		return
	}
	news := page.Snapshot || len(page.Entries) > 0
	if news || wait == 0 || r.Method == http.MethodHead {
		a.writePage(w, r, &page)
		return
	}
	f := &follower{api: a, after: after, wait: wait, header: w.Header()}
	if f.park(w, r) {
		return
	}
	f.waitHere(w, r)
}

func (a *API) writePage(w http.ResponseWriter, r *http.Request, page *innkeeper.RevocationPage) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	parts, err := a.pageText(r.Context(), page)
	for _, part := range append(parts, []byte{'\n'}) {
		if err == nil {
			_, err = w.Write(part) //nolint:gosec // G705: JSON of our own, sent as JSON that is not to be sniffed
		}
	}
	if err != nil {
		a.logger.Debug("answer not written", "error", err)
	}
}

func pageOf(page *innkeeper.RevocationPage) *revocationsBody {
	body := &revocationsBody{
		Snapshot: page.Snapshot, Entries: make([]revocationBody, len(page.Entries)), Next: page.Next, More: page.More,
		// Rounded so that nobody takes the view for newer than it is.
		LagMS:    (page.Lag + time.Millisecond - 1).Milliseconds(),
		WaitedMS: page.Waited.Milliseconds(),
	}
	for i := range page.Entries {
		body.Entries[i] = bodyOf(&page.Entries[i])
	}
	return body
}

func bodyOf(entry *innkeeper.Revocation) revocationBody {
	return revocationBody{Seq: entry.Seq, Kind: string(entry.Kind), ID: entry.ID}
}

// feedQuery reads the cursor and the time to wait.
func feedQuery(raw string) (after int64, wait time.Duration, err error) {
	if raw == "" {
		return 0, 0, nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return 0, 0, newProblem(http.StatusBadRequest, codeInvalidRequest, "the query is malformed; send ?after=123&wait=30s")
	}
	if values := query["after"]; len(values) > 0 {
		after, err = strconv.ParseInt(values[0], 10, 64)
		if err != nil || len(values) > 1 {
			return 0, 0, &innkeeper.InputError{Field: "after", Detail: "give the member next of the answer before; leave it out to begin"}
		}
	}
	if values := query["wait"]; len(values) > 0 {
		wait, err = time.ParseDuration(values[0])
		if err != nil || len(values) > 1 || wait < 0 || wait > innkeeper.MaxRevocationWait {
			return 0, 0, &innkeeper.InputError{Field: "wait", Detail: "give a time like 30s, at most 60s"}
		}
	}
	return after, wait, nil
}
