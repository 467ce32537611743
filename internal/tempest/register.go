package tempest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// register is what the injector has seen: which token was traded for which, and who is
// in which session.
type register struct {
	mu         sync.Mutex
	successors map[fingerprint]fingerprint // of each refresh token that was rotated
	forks      int                         // second, different successors of one parent: never
	outcomes   map[string]int              // of refreshes that the server has acted on
	rolledBack int                         // refreshes after a crash with a token older than the newest
	faults     map[kind]int
	stays      map[string]*stay // by session id
	present    map[string]*stay // by user name: the latest session
}

// stay is one session, from sign-in to its end.
type stay struct {
	session   string
	person    string
	newest    uint32    // generation that the server has given out
	arrived   int       // refreshes that came in, acted on or not
	by        string    // which process sent the latest one
	refreshed time.Time // the latest 200 to a refresh
	history   []string  // the latest refreshes, for whoever wants to know how it came to its end
}

// remembered is how many lines of history a stay keeps.
const remembered = 60

func (s *stay) remember(format string, args ...any) {
	s.history = append(s.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	s.history = s.history[max(0, len(s.history)-remembered):]
}

func newRegister() *register {
	return &register{
		successors: map[fingerprint]fingerprint{}, outcomes: map[string]int{}, faults: map[kind]int{},
		stays: map[string]*stay{}, present: map[string]*stay{},
	}
}

// tokensAnswer is what the register reads of an answer.
type tokensAnswer struct {
	Code    string `json:"code"`
	Session struct {
		ID         string `json:"id"`
		Generation uint32 `json:"generation"`
	} `json:"session"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	RefreshToken string `json:"refresh_token"`
}

// arrive notes a request before anything befalls it.
func (r *register) arrive(q *request, f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.kind != none {
		r.faults[f.kind]++
	}
	if q.path != refreshPath {
		return
	}
	session, generation := readToken(q.refreshToken())
	if s := r.stays[session]; s != nil {
		s.arrived++
		s.by = q.header.Get(processHeader)
		s.remember("generation %d arrives with %s %s", generation, q.key(), f.kind)
	}
}

// note notes what the server has made of a request, whether or not its answer arrives.
func (r *register) note(q *request, a *answer) {
	switch q.path {
	case refreshPath, "/auth/login":
	default:
		return
	}
	var said tokensAnswer
	_ = json.Unmarshal(a.body, &said) // what is no JSON says nothing
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.status == http.StatusOK {
		s := r.stays[said.Session.ID]
		if s == nil {
			s = &stay{session: said.Session.ID, person: said.User.Username}
			r.stays[s.session], r.present[s.person] = s, s
		}
		s.newest = max(s.newest, said.Session.Generation)
		if q.path == refreshPath && !q.byThief {
			s.refreshed = time.Now()
		}
	}
	if q.path == refreshPath {
		outcome := r.outcome(q, a, said)
		r.outcomes[outcome]++
		session, generation := readToken(q.refreshToken())
		if s := r.stays[session]; s != nil {
			s.remember("generation %d with %s: %s", generation, q.key(), outcome)
		}
	}
}

// key tells one idempotency key from another.
func (q *request) key() string {
	key := q.header.Get("Idempotency-Key")
	if key == "" {
		return "no key"
	}
	sum := fingerprintOf(key)
	return "key " + hex.EncodeToString(sum[:3])
}

// historyOf returns the latest refreshes of a session.
func (r *register) historyOf(session string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.stays[session]; s != nil {
		return slices.Clone(s.history)
	}
	return nil
}

// outcome names what became of a refresh. Two different successors of one parent are
// what must never be.
func (r *register) outcome(q *request, a *answer, said tokensAnswer) string {
	if a.status != http.StatusOK {
		if said.Code == "" {
			return http.StatusText(a.status)
		}
		return said.Code
	}
	parent, successor := fingerprintOf(q.refreshToken()), fingerprintOf(a.refreshToken(said))
	switch known, seen := r.successors[parent]; {
	case !seen:
		r.successors[parent] = successor
		return "rotated"
	case known == successor:
		return "replayed"
	default:
		r.forks++
		return "forked"
	}
}

// look returns the present session of somebody; the zero value if there is none.
func (r *register) look(person string) stay {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.present[person]; s != nil {
		return *s
	}
	return stay{}
}

// personOf returns whose session it is or was.
func (r *register) personOf(session string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stays[session]
	if s == nil {
		return "", false
	}
	return s.person, true
}

// noteRollback notes that a crash has set somebody's jar back.
func (r *register) noteRollback() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rolledBack++
}

// sums copies the counts into a report.
func (r *register) sums(o *Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.Outcomes, o.Forks, o.RolledBack = maps.Clone(r.outcomes), r.forks, r.rolledBack
	o.Faults = make(map[string]int, len(r.faults))
	for kind, n := range r.faults {
		o.Faults[string(kind)] = n
	}
	for _, n := range r.outcomes {
		o.Refreshes += n
	}
}
