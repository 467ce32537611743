package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// innIssuer is the issuer of every inn.
const innIssuer = "http://localhost:8080"

// door is where an API asks for access tokens.
type door struct {
	name string
	keys string // the URL below which its verifier finds keys
	feed string // and revocations
	node int    // whose feed that is; -1: of any, through a balancer
	// strict doors have routes that ask for freshness. Their verifiers ask all the time;
	// the others have one request held for as long as there is nothing new.
	strict bool
	// patience is how long its verifier may take to catch up once nothing hinders it.
	patience time.Duration
	rec      *recorder

	porter atomic.Pointer[porter]
}

// porter is a verifier, and what it has said.
type porter struct {
	*verify.Verifier

	begin time.Time // of the record
	fresh map[time.Duration]http.Handler

	mu      sync.Mutex
	refused map[*pass]bool // as revoked
}

// freshness are the bounds that routes ask for.
var freshness = []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}

// open hires a porter, who knows nothing yet.
func (d *door) open() error {
	v, err := verify.New(verify.Config{
		Issuer: innIssuer, JWKSURL: d.keys + "/.well-known/jwks.json",
		FollowRevocations: true, RevocationsURL: d.feed + "/auth/revocations",
	})
	if err != nil {
		return err
	}
	welcome := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	p := &porter{Verifier: v, begin: d.rec.begin, fresh: map[time.Duration]http.Handler{}, refused: map[*pass]bool{}}
	for _, bound := range freshness {
		if d.strict {
			p.fresh[bound] = v.RequireFresh(bound, v.RequireAuth(welcome))
		}
	}
	d.porter.Store(p)
	return nil
}

func (d *door) close() { d.porter.Load().Close() }

// reopen is a restart of the API.
func (d *door) reopen() error {
	old := d.porter.Load()
	defer old.Close()
	return d.open()
}

func (p *porter) hasRefused(token *pass) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[token]
}

func (p *porter) noteRefusal(token *pass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[token] = true
}

// knowledge is what a verifier says of its view of the revocations.
type knowledge struct {
	connected bool
	begun     bool          // it has read the feed once
	asOf      time.Duration // it knows all that was acknowledged before
	text      string
}

func (p *porter) knows() knowledge {
	s := p.FeedStatus()
	k := knowledge{connected: s.Connected, text: "it has read nothing"}
	if !s.AsOf.IsZero() {
		k.begun, k.asOf = true, s.AsOf.Sub(p.begin)
		k.text = fmt.Sprintf("connected: %t, %d entries as of %v", s.Connected, s.Entries, k.asOf)
	}
	if s.Err != nil {
		k.text += fmt.Sprintf(": %v", s.Err)
	}
	return k
}

func (d *door) knows() knowledge { return d.porter.Load().knows() }

// comesToKnow waits until the verifier follows, and knows enough. It returns false if
// that takes too long.
func (d *door) comesToKnow(ctx context.Context, enough func(knowledge) bool) bool {
	for begin := d.rec.now(); d.rec.now()-begin < d.patience && ctx.Err() == nil; sleep(ctx, 5*time.Millisecond) {
		if k := d.knows(); k.connected && k.begun && enough(k) {
			return true
		}
	}
	return false
}

// askFresh shows a pass on a route that wants its verifier to be no older than a
// bound, and returns the status.
func (p *porter) askFresh(ctx context.Context, token *pass, bound time.Duration) int {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	req.Header.Set("Authorization", "Bearer "+token.token)
	w := httptest.NewRecorder()
	p.fresh[bound].ServeHTTP(w, req)
	return w.Code
}

// guards are all doors of an experiment, and the roads from there to the nodes.
type guards struct {
	doors    []*door
	balancer *httptest.Server
	judge    *judge
}

// revocationVerifiers is how many doors there are.
const revocationVerifiers = 5

// catchUpBound is how long a verifier may take to catch up: it tries again after 5 s
// at most, and what it waits for may take as long again to be given up.
const catchUpBound = 20 * time.Second

// newGuards opens the doors. If there are several nodes, some doors follow one node
// each, and the others follow all through a balancer, which asks another each time. roads are the URLs of the nodes; strict says which doors are.
func newGuards(roads []string, strict func(door int) bool, rec *recorder) (*guards, error) {
	g := &guards{judge: newJudge(rec)}
	if len(roads) > 1 {
		balancer, err := newBalancer(roads)
		if err != nil {
			return nil, err
		}
		g.balancer = balancer
	}
	for k := range revocationVerifiers {
		d := &door{name: fmt.Sprintf("verifier %d", k+1), node: k % len(roads), keys: roads[k%len(roads)], strict: strict(k), patience: catchUpBound, rec: rec}
		if k >= len(roads) && g.balancer != nil {
			d.node, d.keys = -1, g.balancer.URL
		}
		d.feed = d.keys
		if err := d.open(); err != nil {
			g.close()
			return nil, err
		}
		g.doors = append(g.doors, d)
	}
	return g, nil
}

func (g *guards) close() {
	for _, d := range g.doors {
		d.close()
	}
	if g.balancer != nil {
		g.balancer.CloseClientConnections()
		g.balancer.Close()
	}
}

// newBalancer sends each request to the next node, whether that one lives or not.
func newBalancer(nodes []string) (*httptest.Server, error) {
	targets := make([]*url.URL, len(nodes))
	for k, node := range nodes {
		var err error
		if targets[k], err = url.Parse(node); err != nil {
			return nil, err
		}
	}
	var turn atomic.Uint64
	return httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(targets[turn.Add(1)%uint64(len(targets))]) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}), nil
}

// judge knows what a door may answer, and writes down where one did not keep to it.
type judge struct {
	rec *recorder

	accepted, refused, unavailable atomic.Int64 // answers
	controls                       atomic.Int64 // of them, to passes that lived all the while

	mu         sync.Mutex
	violations []string
	alike      map[string]int // violations of one rule by one door, since the history began
	underWay   *Fault         // that has not ended; nil: none
}

func newJudge(rec *recorder) *judge { return &judge{rec: rec, alike: map[string]int{}} }

// violation writes down that something, which is a door most of the time, broke a
// rule, the first time in a history: one bug does so again and again.
func (j *judge) violation(who, rule string, args ...any) {
	now := j.rec.now()
	text := fmt.Sprintf("at %v: %s ", now, who) + fmt.Sprintf(rule, args...) + j.rec.lately()
	j.mu.Lock()
	defer j.mu.Unlock()
	if f := j.underWay; f != nil {
		text += fmt.Sprintf("\n\tfault: %s since %v", f.Kind, f.Begin)
	}
	j.alike[who+rule]++
	if j.alike[who+rule] == 1 {
		j.violations = append(j.violations, text)
	}
}

// fault notes which fault is under way, for whoever reads of a violation.
func (j *judge) fault(f *Fault) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.underWay = f
}

// verdict returns the violations of a history, and begins another.
func (j *judge) verdict() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := j.violations
	more := -len(found)
	for _, n := range j.alike {
		more += n
	}
	if more > 0 {
		found = append(found, fmt.Sprintf("and %d times more the same", more))
	}
	j.violations, j.alike = nil, map[string]int{}
	return found
}

// lately are the latest faults, for whoever has to find out what happened.
func (r *recorder) lately() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := ""
	for _, f := range r.history.Faults[max(0, len(r.history.Faults)-3):] {
		text += fmt.Sprintf("\n\tfault: %s %s from %v to %v", f.Kind, f.On, f.Begin, f.End)
	}
	return text
}

// show shows a pass at a door with the default policy, which is to go on with what
// the verifier knows, and checks the answer:
//
//   - what was acknowledged as revoked before the time as of which the verifier says
//     that it knows everything, is refused;
//   - what it has refused as revoked once, it refuses again;
//   - what nobody has asked to revoke is refused for no reason but silence.
func (j *judge) show(ctx context.Context, d *door, p *pass) error {
	porter, lived := d.porter.Load(), p.lives()
	before, known := porter.knows(), porter.hasRefused(p)
	_, err := porter.Verify(ctx, p.token)
	since, over := p.over()
	switch {
	case err == nil:
		j.accepted.Add(1)
		if known {
			j.violation(d.name, "accepts what it has refused as revoked before: %s", p)
		}
		if over && before.begun && since < before.asOf {
			j.violation(d.name, "said that it knew all as of %v (%s), and accepts %s", before.asOf, before.text, p)
		}
	case errors.Is(err, verify.ErrUnavailable):
		j.unavailable.Add(1)
	default:
		j.refused.Add(1)
		if errors.Is(err, verify.ErrRevoked) {
			porter.noteRefusal(p)
		}
		if lived && p.lives() {
			j.violation(d.name, "refuses what nobody has revoked: %v (%s): %s", err, before.text, p)
		}
	}
	if lived {
		j.controls.Add(1)
	}
	return err
}

// showFresh shows a pass on a route that wants to know all that was acknowledged so
// long ago. It gets that, or 503.
func (j *judge) showFresh(ctx context.Context, d *door, p *pass, bound time.Duration) {
	porter, lived := d.porter.Load(), p.lives()
	before, begin := porter.knows(), j.rec.now()
	status := porter.askFresh(ctx, p, bound)
	switch status {
	case http.StatusNoContent:
		j.accepted.Add(1)
		if since, over := p.over(); over && since < begin-bound {
			j.violation(d.name, "has to be fresh within %v, and accepts at %v (%s): %s", bound, begin, before.text, p)
		}
	case http.StatusServiceUnavailable:
		j.unavailable.Add(1)
	case http.StatusUnauthorized:
		j.refused.Add(1)
		if lived && p.lives() {
			j.violation(d.name, "has to be fresh within %v, and refuses what nobody has revoked (%s): %s", bound, before.text, p)
		}
	default:
		j.violation(d.name, "has to be fresh within %v, and answers %d", bound, status)
	}
	if lived {
		j.controls.Add(1)
	}
}

// watch shows passes at a door until the context ends.
func (g *guards) watch(ctx context.Context, d *door, l *ledger, rng *rand.Rand, pause time.Duration) {
	for ctx.Err() == nil {
		p := l.pick(rng)
		if p == nil || time.Until(p.expires) < time.Minute {
			sleep(ctx, pause)
			continue
		}
		// A verifier that is asked finishes: half an answer proves nothing.
		if d.strict && rng.IntN(2) == 0 {
			g.judge.showFresh(context.WithoutCancel(ctx), d, p, freshness[rng.IntN(len(freshness))])
		} else {
			_ = g.judge.show(context.WithoutCancel(ctx), d, p)
		}
		sleep(ctx, pause)
	}
}
