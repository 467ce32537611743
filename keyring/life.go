package keyring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// The times by which keys live. They are not settings: what they guard against
// does not depend on taste.
const (
	// JWKSMaxAge is how long others may cache the document of [Ring.JWKS]. Whoever
	// serves it says so in Cache-Control.
	JWKSMaxAge = 10 * time.Minute

	// ReloadInterval is how often a server should call [Ring.Upkeep], and so how soon it
	// usually knows what another has done.
	ReloadInterval = 10 * time.Second

	// SnapshotAge is how old what a ring knows may be. A ring that has not read its
	// store for longer reads it before it signs, or signs nothing.
	SnapshotAge = time.Minute

	// ClockDifference is how far two clocks may be apart, of any two servers, and of a
	// server and a verifier, without harm.
	ClockDifference = time.Minute

	// MinPublished is how long a key must have been published before somebody may make
	// it sign. A verifier that keeps to the Cache-Control of the JWKS has fetched it by
	// then: JWKSMaxAge after the last server that did not publish it yet, which is
	// SnapshotAge later, and the clock that wrote the time may be ClockDifference ahead.
	// Three minutes more are for a server that took its time to write.
	MinPublished = JWKSMaxAge + SnapshotAge + ClockDifference + 3*time.Minute

	// AutoPublished is how long a key must have been published before it is made to
	// sign without anybody asking. There are verifiers that fetch the JWKS once an hour,
	// whatever its headers say, and nothing is in a hurry here: they may miss one fetch.
	AutoPublished = 2 * time.Hour

	// RetiredFor is how long a key that signs no more goes on to verify: an access token
	// lives for 1 hour at most, a server may sign for SnapshotAge with a key that has
	// been retired, and verifiers allow for clocks up to 5 minutes late, besides twice
	// ClockDifference. That is 1 h 8 min; the rest is for a server that took its time to
	// write, and costs nothing.
	RetiredFor = 2 * time.Hour
)

// ErrUnknownKey reports a key that the store has never held.
var ErrUnknownKey = errors.New("no such signing key")

// TooEarlyError reports a move that would let verifiers refuse tokens of people who
// have done nothing wrong. Nothing was written.
type TooEarlyError struct {
	KeyID    string        // empty: there is none in reserve
	State    State         // Published: it is too young to sign; Retiring: tokens that it signed may be alive
	Earliest time.Time     // when the move is allowed, unless something else moves the keys before
	Wait     time.Duration // how long that is from now
}

// tooEarly refuses a move of a key, or of none if rec is nil.
func tooEarly(rec *Record, now time.Time) error {
	e := &TooEarlyError{State: Published, Earliest: now.Add(MinPublished)}
	if rec != nil {
		e = &TooEarlyError{KeyID: rec.KeyID, State: rec.State, Earliest: rec.NextAt()}
	}
	e.Wait = e.Earliest.Sub(now)
	return e
}

func (e *TooEarlyError) Error() string {
	at := e.Earliest.UTC().Format(time.RFC3339)
	switch {
	case e.KeyID == "":
		return fmt.Sprintf("no key is in reserve: servers publish one at once, and it cannot sign before %s", at)
	case e.State == Retiring:
		return fmt.Sprintf("tokens that key %s has signed may be alive until %s; it is removed then", e.KeyID, at)
	}
	return fmt.Sprintf("key %s is next, and cannot sign before %s: verifiers that have cached the key set do not know it yet",
		e.KeyID, at)
}

// NextAt is when the key may leave its state: a published one becomes active, by
// hand; a retiring one is removed. It is zero for the others: an active key stays
// for as long as the next one lets it, and a removed one for good.
func (rec Record) NextAt() time.Time {
	switch rec.State {
	case Published:
		return rec.PublishedAt.Add(MinPublished)
	case Retiring:
		return rec.RetiredAt.Add(RetiredFor)
	case Active, Removed:
	}
	return time.Time{}
}

// wish is what somebody wants of the keys.
type wish struct {
	kind wishKind
	// keys are the one to retire, or those that are not to be trusted any more.
	keys []string
}

type wishKind int

const (
	// upkeep wants what is due anyway.
	upkeep wishKind = iota
	// rotate wants the next key to sign now.
	rotate
	// retire wants one key to end its present state, by the rules.
	retire
	// revoke wants keys gone, at once and whatever it costs.
	revoke
)

// circumstances are what a decision about keys rests on, besides the keys.
type circumstances struct {
	now time.Time
	// period is how long a key signs; zero or less: until somebody asks.
	period time.Duration
	// alg is that of new keys. Empty: whoever decides does not know it, and makes no key
	// as long as there is one that can sign.
	alg accesstoken.Algorithm
	// opens tells whether the private half of a key can be used here. One that cannot
	// must not be made to sign.
	opens func(keyID string) bool
}

// plan is what is to be written.
type plan struct {
	steps []Step
	makes []newKey
}

// newKey is a key to be made.
type newKey struct {
	state State
	alg   accesstoken.Algorithm
}

func (p *plan) empty() bool { return len(p.steps)+len(p.makes) == 0 }

func (p *plan) move(rec *Record, to State, at time.Time) {
	p.steps = append(p.steps, Step{KeyID: rec.KeyID, From: rec.State, To: to, At: at})
}

// lives are keys by their states.
type lives struct {
	active, published *Record // nil: there is none
	retiring          []*Record
	all               []Record
}

func livesOf(records []Record) lives {
	l := lives{all: slices.Clone(records)}
	slices.SortFunc(l.all, func(a, b Record) int { return cmp.Compare(a.KeyID, b.KeyID) })
	for i := range l.all {
		switch rec := &l.all[i]; rec.State {
		case Published:
			l.published = rec
		case Active:
			l.active = rec
		case Retiring:
			l.retiring = append(l.retiring, rec)
		case Removed:
		}
	}
	return l
}

// next decides how keys move. It is the whole of the rules, and a pure function: of
// the keys, of what somebody wants, and of the time. It returns a
// [*TooEarlyError] or [ErrUnknownKey] for a wish that cannot be granted; an empty
// plan if there is nothing to do.
func next(records []Record, w wish, c circumstances) (plan, error) {
	l := livesOf(records)
	switch w.kind {
	case upkeep:
		return l.upkeep(c), nil
	case rotate:
		return l.rotate(c)
	case retire:
		return l.retire(w.keys[0], c)
	case revoke:
		return l.revoke(w.keys, c), nil
	}
	return plan{}, nil
}

// upkeep is what is due without anybody asking: a key to be next if there is none,
// the change to it when the active one has signed for long enough, and the end of
// those that nothing needs any more.
func (l lives) upkeep(c circumstances) plan {
	var p plan
	for _, rec := range l.retiring {
		if !c.now.Before(rec.NextAt()) {
			p.move(rec, Removed, c.now)
		}
	}
	switch {
	case l.published == nil:
		p.reserve(c)
	case l.due(c):
		p.move(l.active, Retiring, c.now)
		p.move(l.published, Active, c.now)
		p.reserve(c)
	}
	return p
}

// due tells whether it is time to rotate.
func (l lives) due(c circumstances) bool {
	return c.period > 0 && l.active != nil && c.opens(l.published.KeyID) &&
		!c.now.Before(l.active.ActivatedAt.Add(c.period)) &&
		!c.now.Before(l.published.PublishedAt.Add(AutoPublished))
}

// reserve publishes a new key, which is next after the others.
func (p *plan) reserve(c circumstances) {
	if c.alg != "" {
		p.makes = append(p.makes, newKey{state: Published, alg: c.alg})
	}
}

// rotate lets the published key sign, if verifiers can know it by now.
func (l lives) rotate(c circumstances) (plan, error) {
	var p plan
	switch {
	case l.published == nil:
		// Somebody has made use of it a moment ago, and the next one is about to come.
		return p, tooEarly(nil, c.now)
	case c.now.Before(l.published.NextAt()):
		return p, tooEarly(l.published, c.now)
	case !c.opens(l.published.KeyID):
		return p, fmt.Errorf("%w: %s is next, and does not open here", ErrUnusable, l.published.KeyID)
	}
	if l.active != nil {
		p.move(l.active, Retiring, c.now)
	}
	p.move(l.published, Active, c.now)
	p.reserve(c)
	return p, nil
}

// retire takes one key out of its state. A published one has signed nothing, so it
// may go at once; another takes its place.
func (l lives) retire(keyID string, c circumstances) (plan, error) {
	i := slices.IndexFunc(l.all, func(rec Record) bool { return rec.KeyID == keyID })
	if i < 0 {
		return plan{}, fmt.Errorf("%w: %s", ErrUnknownKey, keyID)
	}
	var p plan
	switch rec := &l.all[i]; rec.State {
	case Active:
		return l.rotate(c)
	case Published:
		p.move(rec, Removed, c.now)
		p.reserve(c)
	case Retiring:
		if c.now.Before(rec.NextAt()) {
			return p, tooEarly(rec, c.now)
		}
		p.move(rec, Removed, c.now)
	case Removed: // it is what was asked for
	}
	return p, nil
}

// revoke removes keys that somebody else may have. If one of them signs, the
// published one takes over, however young: verifiers that do not know it yet look
// again, while tokens of the revoked key are nobody's.
func (l lives) revoke(keyIDs []string, c circumstances) plan {
	var p plan
	gone := func(rec *Record) bool { return slices.Contains(keyIDs, rec.KeyID) && rec.State != Removed }
	for i := range l.all {
		if gone(&l.all[i]) {
			p.move(&l.all[i], Removed, c.now)
		}
	}
	spare := l.published
	if spare != nil && gone(spare) {
		spare = nil
	}
	if l.active != nil && gone(l.active) {
		if spare != nil && c.opens(spare.KeyID) {
			p.move(spare, Active, c.now)
			spare = nil
		} else {
			p.makes = append(p.makes, newKey{state: Active, alg: cmp.Or(c.alg, l.active.Algorithm)})
		}
	}
	if spare == nil && !p.empty() {
		p.reserve(c)
	}
	return p
}
