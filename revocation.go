package innkeeper

import (
	"context"
	"errors"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/revoked"
)

// RevocationKind says what a revocation entry names.
type RevocationKind string

// The kinds of revocation.
const (
	RevokedSession = RevocationKind(revoked.Session) // ID is the `sid`
	RevokedUser    = RevocationKind(revoked.User)    // ID is that of [UserRevocationID]
	RevokedKey     = RevocationKind(revoked.Key)     // ID is the `kid`; kept for good
)

// RevocationRetention is how long session and user entries are kept: the longest
// possible life of an access token, and five minutes for clocks that disagree.
const RevocationRetention = maxAccessTTL + 5*time.Minute

// RevocationRenewal is how old an entry may be when what it names is revoked again. A
// store replaces one that is older: it would be gone before the last of the tokens that
// were made until now. It is taken from the five minutes for clocks.
const RevocationRenewal = time.Minute

// Revocation is an entry of the feed by which verifiers learn, within a second,
// what no longer opens doors. It is written in the transaction that revokes.
type Revocation struct {
	Seq  int64 // given by the store: max(last + 1, microseconds since 1970)
	At   time.Time
	Kind RevocationKind
	ID   string
}

// UserRevocationID names one epoch of one user. Only someone who holds an access
// token of that epoch can recognize it, so the public feed tells nobody who
// signed out. It is base64url of SHA-256(issuer, sub, epoch), cut at 16 bytes.
func UserRevocationID(issuer string, user UserID, ended Epoch) string {
	return revoked.UserID(issuer, user.String(), ended.String())
}

// MaxRevocationWait bounds how long a call of [Authority.Revocations] may wait.
const MaxRevocationWait = time.Minute

const (
	// maxFeedWaiting bounds how many may wait at once. Further ones are answered at
	// once, which costs them a request and us no memory.
	maxFeedWaiting = 20_000
	// feedCatchUp bounds the wait for the reading that settles whether a follower is
	// ahead of us: a few polls.
	feedCatchUp = time.Second
)

// RevocationPage is a part of the feed.
type RevocationPage struct {
	// Snapshot is true for the beginning of the whole set: the cursor that was asked
	// for is none of ours, or there was none. What is added is right all the same,
	// and what the follower knows besides needs not be forgotten.
	Snapshot bool
	// Entries are in the order of their Seq, at most 10,000. They are shared by all
	// who ask: MUST NOT be changed.
	Entries []Revocation
	// Next is the cursor to go on with. It is never zero.
	Next int64
	// More says that there are further entries now: go on at once.
	More bool
	// Lag is how long ago the latest successful reading of the store began, and so how
	// old this view may be.
	Lag time.Duration
	// Waited is how long the call had waited when Lag was taken. Who asked at T knows
	// of everything until T + Waited - Lag, however long the answer was on its way.
	Waited time.Duration
}

// Revocations returns what was revoked since a cursor: the Next of the page
// before, or zero to begin. If there is nothing new it waits so long for news, at
// most one minute; the zero value does not wait. It also answers when [Authority.Run]
// ends, and at once when 20,000 calls wait already.
//
// Pages come from memory, which Run keeps like the store. Their entries are shared: here a
// page costs next to nothing, however many ask. What it costs to encode one is up to
// whoever does; package httpapi encodes entries once for all. Until the store has been read once, it waits for
// that, and then returns an error that matches [ErrUnavailable].
func (a *Authority) Revocations(ctx context.Context, after int64, wait time.Duration) (RevocationPage, error) {
	switch {
	case after < 0:
		return RevocationPage{}, &InputError{Field: "after", Detail: "give the member next of the answer before; leave it out to begin"}
	case wait < 0 || wait > MaxRevocationWait:
		return RevocationPage{}, &InputError{Field: "wait", Detail: "choose 0s to 60s"}
	}
	f := &a.feed
	reading, began := f.readingNow(), a.clock()
	look := func() (RevocationPage, pending) {
		now := a.clock()
		page, pending := f.look(after, reading, now)
		page.Waited = max(0, now.Sub(began))
		return page, pending
	}
	page, pending := look()
	patience := pending.patience(wait)
	if patience == 0 {
		return page, pending.err
	}
	if !f.enter() {
		return page, pending.err
	}
	defer f.leave()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return RevocationPage{}, ctx.Err()
		case <-timer.C:
			page, pending = look()
			return page, pending.err
		case <-pending.signal:
		}
		page, pending = look()
		if pending.patience(wait) == 0 {
			return page, pending.err
		}
	}
}

// pending is what may change an answer. The zero value says that it is final.
type pending struct {
	signal <-chan struct{} // closed when it is worth looking again
	ahead  bool            // only the next reading of the store settles where the follower is
	err    error           // the answer, if nothing changes
}

// patience is how long to wait for another answer.
func (p *pending) patience(wait time.Duration) time.Duration {
	switch {
	case p.signal == nil:
		return 0
	case p.ahead:
		return max(wait, feedCatchUp)
	}
	return wait
}

// errFeedUnread is the cause where the feed was never read.
var errFeedUnread = errors.New("the revocation feed has not been read yet: call Authority.Run, and look for errors of the store")
