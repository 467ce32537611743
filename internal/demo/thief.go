package demo

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// maxLoot bounds how many stolen cookies are remembered.
const maxLoot = 64

// thief plays somebody who has copied a browser's cookie jar, as malware does.
// It goes through the same doors as everybody else. What it does not have is the
// idempotency key, which is made just before a refresh and belongs to that one
// alone.
type thief struct {
	desk, mail http.Handler
	roots      rootkey.Ring

	mu   sync.Mutex
	loot *recent[string, loot]
}

// loot is what the thief holds of one victim.
type loot struct {
	cookie      string // the refresh token, as it stands in a Cookie header
	generation  uint32 // of it
	accessToken string // of the thief's last refresh; empty before the first
}

func newThief(desk, mail http.Handler, roots rootkey.Ring) *thief {
	return &thief{desk: desk, mail: mail, roots: roots, loot: newRecent[string, loot](maxLoot)}
}

// handle names a theft, so that the page can say which copy is to be used. It is
// not a credential: whoever has it may watch the thief fail.
type handle struct {
	Thief string `json:"thief"`
}

type copyAnswer struct {
	handle
	Generation uint32 `json:"generation"`
}

// copyCookie keeps the refresh cookie that the request carries. The page learns
// its generation and, as always, nothing else of it.
func (t *thief) copyCookie(w http.ResponseWriter, r *http.Request) {
	token, cookie, genuine := cookieToken(t.roots, r.Cookies())
	if !genuine {
		refuse(w, http.StatusUnauthorized, "refresh_token_missing", "there is no session to steal; sign in")
		return
	}
	answer := copyAnswer{handle: handle{Thief: rand.Text()}, Generation: token.Generation()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loot.put(answer.Thief, loot{cookie: cookie.Name + "=" + cookie.Value, generation: token.Generation()})
	writeJSON(w, http.StatusOK, answer)
}

// deed is one request of the thief's and what came of it.
type deed struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Presented uint32 `json:"presented,omitempty"` // generation of the refresh token
	Status    int    `json:"status"`
	Code      string `json:"code,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Obtained  uint32 `json:"obtained,omitempty"` // generation of the successor
}

type useAnswer struct {
	Deeds []deed `json:"deeds"`
}

// useCookie lets the thief refresh with its copy, and then read mail with the
// newest key card that it has.
func (t *thief) useCookie(w http.ResponseWriter, r *http.Request) {
	var theft handle
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil || json.Unmarshal(body, &theft) != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", `send {"thief":"…"}`)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	held, known := t.loot.get(theft.Thief)
	if !known {
		refuse(w, http.StatusNotFound, "not_found", "the thief has no such copy; let it copy the jar first")
		return
	}
	answer := useAnswer{Deeds: []deed{t.refresh(r, &held)}}
	if held.accessToken != "" {
		answer.Deeds = append(answer.Deeds, t.readMail(r, held))
	}
	t.loot.put(theft.Thief, held)
	writeJSON(w, http.StatusOK, answer)
}

// refresh presents the copy. A thief who gets a successor keeps it.
func (t *thief) refresh(r *http.Request, held *loot) deed {
	req := disguised(r, http.MethodPost, "/auth/refresh", `{}`)
	req.Header.Set("Cookie", held.cookie)
	answer := record(t.desk, req)
	got := answer.members()
	done := deed{
		Method: req.Method, Path: req.URL.Path, Presented: held.generation,
		Status: answer.status, Code: got.Code, Reason: got.Reason,
	}
	if next, cookie, ok := cookieToken(t.roots, answer.cookies()); ok {
		done.Obtained = next.Generation()
		held.cookie = cookie.Name + "=" + cookie.Value
		held.generation, held.accessToken = next.Generation(), got.AccessToken
	}
	return done
}

func (t *thief) readMail(r *http.Request, held loot) deed {
	req := disguised(r, http.MethodGet, "/api/mail", "")
	req.Header.Set("Authorization", "Bearer "+held.accessToken)
	answer := record(t.mail, req)
	return deed{Method: req.Method, Path: req.URL.Path, Status: answer.status, Code: answer.members().Code}
}

// disguised returns a request that comes from far away, with nothing of the one
// that asked for it but its deadline.
func disguised(r *http.Request, method, path, body string) *http.Request {
	req, err := http.NewRequestWithContext(r.Context(), method, path, strings.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler) // cannot happen to the two paths above
	}
	req.RemoteAddr = "203.0.113.66:6666" // RFC 5737: nobody's address
	req.Header.Set("User-Agent", "thief/1.0")
	req.Header.Set("Content-Type", "application/json")
	return req
}
