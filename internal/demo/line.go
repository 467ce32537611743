package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// deskHeader tells the page what the desk made of the same refresh each time it
// arrived: an array of [arrival]. No real server has it.
const deskHeader = "Innkeeper-Demo-Desk"

// outage is how long the line stays cut once it has lost an answer. Browsers
// repeat a request by themselves, at once, when a connection that they have used
// before breaks; a client that retries waits longer than this.
const outage = 400 * time.Millisecond

const (
	maxCuts     = 64
	maxArrivals = 256
)

// line is the wire between browsers and the front desk. On demand it loses an
// answer after the desk has acted, which is the accident that no client can tell
// from one that happened before.
type line struct {
	desk  http.Handler
	roots rootkey.Ring
	clock func() time.Time

	mu sync.Mutex
	// cuts hold, for a session whose next answer is to be lost, the end of the
	// outage; the zero time before it has begun.
	cuts     *recent[innkeeper.SessionID, time.Time]
	arrivals []arrival // oldest first
}

// arrival is one refresh as the desk saw it.
type arrival struct {
	session   innkeeper.SessionID
	presented uint32
	key       [sha256.Size]byte

	Did        string `json:"did"`                  // rotated, replayed, or the code of the refusal
	Generation uint32 `json:"generation,omitempty"` // of the successor
	// Successor is the beginning of the SHA-256 of the new refresh token: enough to
	// see that two are the same, and nothing to a thief.
	Successor string `json:"successor,omitempty"`
	Answered  bool   `json:"answered"` // or the line was cut
}

func newLine(desk http.Handler, roots rootkey.Ring, clock func() time.Time) *line {
	return &line{desk: desk, roots: roots, clock: clock, cuts: newRecent[innkeeper.SessionID, time.Time](maxCuts)}
}

// ServeHTTP implements [http.Handler].
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _, genuine := cookieToken(l.roots, r.Cookies())
	if !genuine || r.Method != http.MethodPost || r.URL.Path != "/auth/refresh" {
		l.desk.ServeHTTP(w, r)
		return
	}
	answer := record(l.desk, r)
	a := arrival{
		session:   token.SessionID(),
		presented: token.Generation(),
		key:       sha256.Sum256([]byte(r.Header.Get("Idempotency-Key"))),
		Did:       answer.members().Code,
		Answered:  !l.lost(token.SessionID()),
	}
	if next, _, ok := cookieToken(l.roots, answer.cookies()); ok {
		sum := sha256.Sum256([]byte(next.Reveal()))
		a.Generation, a.Successor = next.Generation(), hex.EncodeToString(sum[:3])
	}
	seen := l.note(a)
	if !a.Answered {
		hangUp(w)
		return
	}
	w.Header().Set(deskHeader, seen)
	answer.send(w)
}

// lost reports whether the answer to a session is to be lost.
func (l *line) lost(session innkeeper.SessionID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, cut := l.cuts.get(session)
	switch {
	case !cut:
		return false
	case until.IsZero():
		l.cuts.put(session, l.clock().Add(outage))
		return true
	}
	return l.clock().Before(until)
}

// note writes an arrival down and returns all those of the same request, as
// JSON.
func (l *line) note(a arrival) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var same []arrival
	for _, earlier := range l.arrivals {
		if earlier.session == a.session && earlier.presented == a.presented && earlier.key == a.key {
			same = append(same, earlier)
		}
	}
	if a.Did == "" {
		a.Did = "rotated"
		for _, earlier := range same {
			if earlier.Generation == a.Generation {
				a.Did = "replayed"
			}
		}
	}
	if len(l.arrivals) == maxArrivals {
		l.arrivals = l.arrivals[1:]
	}
	l.arrivals = append(l.arrivals, a)
	text, err := json.Marshal(append(same, a))
	if err != nil {
		return "[]" // cannot happen to strings and numbers
	}
	return string(text)
}

// loseNextAnswer arms the line for the session whose cookie the request carries.
func (l *line) loseNextAnswer(w http.ResponseWriter, r *http.Request) {
	token, _, genuine := cookieToken(l.roots, r.Cookies())
	if !genuine {
		refuse(w, http.StatusUnauthorized, "refresh_token_missing", "there is no session to lose an answer of; sign in")
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts.put(token.SessionID(), time.Time{})
	w.WriteHeader(http.StatusNoContent)
}

// cookieToken returns the newest genuine refresh token among cookies, and the
// cookie that carries it.
func cookieToken(roots rootkey.Ring, cookies []*http.Cookie) (innkeeper.RefreshToken, *http.Cookie, bool) {
	var newest innkeeper.RefreshToken
	var carrier *http.Cookie
	for _, cookie := range cookies {
		token, err := innkeeper.ParseRefreshToken(roots, cookie.Value)
		if err == nil && (carrier == nil || token.Generation() > newest.Generation()) {
			newest, carrier = token, cookie
		}
	}
	return newest, carrier, carrier != nil
}

// hangUp resets the connection, as a phone does that enters a tunnel: the client
// gets neither an answer nor a goodbye.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the next best thing
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close with a reset
	}
	_ = conn.Close()
}
