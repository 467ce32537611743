package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// fate is what can be revoked: a session, an epoch of a user, or a signing key. All
// access tokens that stand on it share it.
type fate struct {
	what string // for whoever reads of it

	mu     sync.Mutex
	way    string        // in which it was revoked
	asked  time.Duration // when somebody first asked for its end; zero: nobody has
	over   time.Duration // when the end was acknowledged; zero: it was not
	passes []*pass
}

// ask notes that its end is about to be asked for. From now on nobody knows.
func (f *fate) ask(way string, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == 0 {
		f.way, f.asked = way, now
	}
}

// end notes that its end was acknowledged.
func (f *fate) end(now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == 0 {
		f.over = now
	}
}

func (f *fate) times() (asked, over time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.over
}

// holders are the passes that stand on it.
func (f *fate) holders() []*pass {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passes[:len(f.passes):len(f.passes)]
}

func (f *fate) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.asked == 0:
		return f.what + " lives"
	case f.over == 0:
		return fmt.Sprintf("%s: %s asked for at %v and never acknowledged", f.what, f.way, f.asked)
	}
	return fmt.Sprintf("%s: %s asked for at %v, acknowledged at %v", f.what, f.way, f.asked, f.over)
}

// pass is an access token, and what is known of its revocation.
type pass struct {
	token               string
	user                string // the sub
	expires             time.Time
	session, epoch, key *fate
}

func (p *pass) fates() [3]*fate { return [3]*fate{p.session, p.epoch, p.key} }

// lives says that nobody has asked for anything that would revoke the pass.
func (p *pass) lives() bool {
	for _, f := range p.fates() {
		if asked, _ := f.times(); asked != 0 {
			return false
		}
	}
	return true
}

// over is since when the pass is known to be revoked.
func (p *pass) over() (since time.Duration, known bool) {
	for _, f := range p.fates() {
		if _, over := f.times(); over != 0 && (!known || over < since) {
			since, known = over, true
		}
	}
	return since, known
}

func (p *pass) String() string {
	texts := make([]string, 0, 3)
	for _, f := range p.fates() {
		texts = append(texts, f.String())
	}
	return strings.Join(texts, "; ")
}

// ledger is all access tokens that were handed out.
type ledger struct {
	rec *recorder

	mu     sync.Mutex
	fates  map[string]*fate
	passes []*pass
	hot    []*pass // those that somebody has lately asked to revoke
}

// hotPasses is how many of the latest victims are looked at more often than others:
// what goes wrong goes wrong right after a revocation.
const hotPasses = 24

func newLedger(rec *recorder) *ledger { return &ledger{rec: rec, fates: map[string]*fate{}} }

// admit enters an access token that a server has just made.
func (l *ledger) admit(token string) (*pass, error) {
	c, err := readClaims(token)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &pass{
		token: token, user: c.Subject, expires: time.Unix(c.Expires, 0),
		session: l.fate("session " + c.Session), epoch: l.fate("epoch " + c.Epoch + " of user " + c.Subject), key: l.fate("key " + c.KeyID),
	}
	l.passes = append(l.passes, p)
	for _, f := range p.fates() {
		f.mu.Lock()
		f.passes = append(f.passes, p)
		f.mu.Unlock()
	}
	return p, nil
}

func (l *ledger) fate(what string) *fate {
	f := l.fates[what]
	if f == nil {
		f = &fate{what: what}
		l.fates[what] = f
	}
	return f
}

// ask notes that somebody is about to ask for the end of something.
func (l *ledger) ask(f *fate, way string) {
	f.ask(way, l.rec.now())
	victims := f.holders()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hot = append(l.hot, victims[max(0, len(victims)-hotPasses):]...)
	l.hot = l.hot[max(0, len(l.hot)-hotPasses):]
}

// pick chooses a pass to look at: one of the latest victims, or any.
func (l *ledger) pick(rng *rand.Rand) *pass {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.passes
	if len(l.hot) > 0 && rng.IntN(2) == 0 {
		from = l.hot
	}
	if len(from) == 0 {
		return nil
	}
	return from[rng.IntN(len(from))]
}

// all returns every pass, the latest last.
func (l *ledger) all() []*pass {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passes[:len(l.passes):len(l.passes)]
}

// forget drops passes that expire before a time, which prove nothing any more.
func (l *ledger) forget(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []*pass
	for _, p := range l.passes {
		if !p.expires.Before(before) {
			kept = append(kept, p)
		}
	}
	l.passes, l.hot = kept, nil
}

// tokenClaims is what an access token stands on. Its signature is checked by those
// to whom it is shown.
type tokenClaims struct {
	KeyID   string `json:"kid"`
	Session string `json:"sid"`
	Subject string `json:"sub"`
	Epoch   string `json:"epoch"`
	Expires int64  `json:"exp"`
}

func readClaims(token string) (tokenClaims, error) {
	var c tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("%q is no access token", token)
	}
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			return c, fmt.Errorf("read access token: %w", err)
		}
	}
	if c.KeyID == "" || c.Session == "" || c.Subject == "" || c.Epoch == "" || c.Expires == 0 {
		return c, fmt.Errorf("access token without one of kid, sid, sub, epoch and exp: %+v", c)
	}
	return c, nil
}
