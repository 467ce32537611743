package innkeeper

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// AttemptKey names what tries are counted by. It is a keyed hash, so that whoever reads
// the store finds neither the names that were tried nor who has tried them.
type AttemptKey [16]byte

// The kinds of key. A name can be that of an address; no key of one kind is one of
// another.
const (
	byAccount = "account" // by name, whether or not somebody has it
	byNetwork = "network"
	bySignUps = "sign-ups" // of a network
	byDevice  = "device"
	byDevices = "devices" // all those of one user
	bySession = "session" // whose holder changes the password
)

func (a *Authority) attemptKey(kind string, value []byte) AttemptKey {
	mac := hmac.New(sha256.New, a.roots.Active().AttemptKey())
	mac.Write([]byte(kind))
	mac.Write([]byte{0}) // in no kind
	mac.Write(value)
	return AttemptKey(mac.Sum(nil))
}

// bucket is one count that a try goes into.
type bucket struct {
	key    AttemptKey
	curve  curve
	resets bool // a success forgets all failures; otherwise it takes back its own try only
	keeps  bool // a success counts like a failure
}

// signInBuckets are what a sign-in is counted by. Strangers and known devices have
// nothing in common: whatever strangers do, it does not stop who has been here before.
// They are the same for a name that nobody has.
func (a *Authority) signInBuckets(username string, known *DeviceToken, client Client) []bucket {
	switch {
	case a.limits == InsecureLimitNothing:
		return nil
	case known != nil:
		return []bucket{
			{key: a.attemptKey(byDevices, known.user[:]), curve: devicesCurve, resets: true},
			{key: a.attemptKey(byDevice, known.device[:]), curve: accountCurve, resets: true},
		}
	}
	if canonical, err := canonicalUsername(username); err == nil {
		username = canonical
	}
	account := bucket{key: a.attemptKey(byAccount, []byte(username)), curve: accountCurve, resets: true}
	return append(a.networkBuckets(client), account)
}

// networkBuckets are what everything is counted by that strangers can do. Whoever has an
// account of their own cannot use it to begin anew.
func (a *Authority) networkBuckets(client Client) []bucket {
	if a.limits != LimitAccountsAndNetworks {
		return nil
	}
	return []bucket{{key: a.attemptKey(byNetwork, []byte(network(client.Addr).String())), curve: networkCurve}}
}

// signUpBuckets are what sign-ups are counted by: those that find a name taken as tries to
// find out who exists, and the others too, since each leaves a user behind who may write
// more.
func (a *Authority) signUpBuckets(client Client) []bucket {
	if a.limits != LimitAccountsAndNetworks {
		return nil
	}
	signUps := bucket{key: a.attemptKey(bySignUps, []byte(network(client.Addr).String())), curve: signUpCurve, keeps: true}
	return append(a.networkBuckets(client), signUps)
}

// sessionBuckets are what changes of the password are counted by: who has stolen an
// access token can neither guess with it, nor keep the owner's other sessions from it.
func (a *Authority) sessionBuckets(id SessionID) []bucket {
	if a.limits == InsecureLimitNothing {
		return nil
	}
	return []bucket{{key: a.attemptKey(bySession, id[:]), curve: accountCurve, resets: true}}
}

// try is a try under way. It is counted as a failure until it is settled.
type try struct {
	store AttemptStore
	taken []taken
}

// taken is a try's place in one bucket.
type taken struct {
	bucket
	before, after Attempts
}

const (
	// maxSwaps bounds how often a count that others change at the same moment is
	// changed. Each round that is lost is one that somebody else has won.
	maxSwaps = 200
	// settleTimeout bounds how long it may take to write down how a try has ended.
	settleTimeout = 2 * time.Second
)

// take counts a try before the password is looked at: 500 guesses at the same moment
// must not share one try. It returns a [*TooManyAttemptsError] or an error that matches
// [ErrUnavailable], and then nothing is counted.
func (a *Authority) take(ctx context.Context, buckets []bucket) (*try, error) {
	now := a.now()
	t := &try{store: a.stores.Attempts}
	seen := make([]Attempts, len(buckets))
	var wait time.Duration
	for i, b := range buckets {
		var err error
		if seen[i], err = t.store.Attempts(ctx, b.key); err != nil {
			return nil, unavailable(fmt.Errorf("read attempts: %w", err))
		}
		wait = max(wait, b.curve.wait(seen[i], now))
	}
	// All are looked at before any is written: who is refused writes nothing.
	if wait > 0 {
		return nil, &TooManyAttemptsError{RetryAfter: wait}
	}
	for i, b := range buckets {
		if err := t.add(ctx, b, seen[i], now); err != nil {
			t.settle(ctx, err)
			return nil, err
		}
	}
	return t, nil
}

// add counts the try in one bucket, of which something was seen.
func (t *try) add(ctx context.Context, b bucket, seen Attempts, now time.Time) error {
	for range maxSwaps {
		if wait := b.curve.wait(seen, now); wait > 0 {
			return &TooManyAttemptsError{RetryAfter: wait}
		}
		next := b.curve.taken(seen, now)
		swapped, err := t.store.SwapAttempts(ctx, b.key, seen, next)
		switch {
		case err != nil:
			return unavailable(fmt.Errorf("count attempt: %w", err))
		case swapped:
			t.taken = append(t.taken, taken{bucket: b, before: seen, after: next})
			return nil
		}
		if seen, err = t.store.Attempts(ctx, b.key); err != nil {
			return unavailable(fmt.Errorf("read attempts: %w", err))
		}
	}
	return unavailable(errors.New("count attempt: the count keeps changing"))
}

// settle writes down how the try has ended. A failure stays counted, and costs no
// statement. A success is none, but where it is to be counted; and a try without a
// verdict, since a store or the hasher did not answer or somebody has hung up, was none.
//
// What cannot be written stays counted and is forgotten in time: nobody's sign-in fails
// for it.
func (t *try) settle(ctx context.Context, outcome error) {
	if errors.Is(outcome, ErrInvalidCredentials) || errors.Is(outcome, ErrUsernameTaken) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for _, place := range t.taken {
		if outcome == nil && place.keeps {
			continue
		}
		t.giveBack(ctx, place, outcome == nil && place.resets)
	}
}

// giveBack takes the try out of one bucket, or all that is in it.
func (t *try) giveBack(ctx context.Context, place taken, all bool) {
	seen := place.after
	for range maxSwaps {
		next := Attempts{Count: seen.Count - 1, LastAt: seen.LastAt}
		switch {
		case all, next.IsZero():
			next = Attempts{}
		case seen.Equal(place.after):
			next = place.before
		}
		swapped, err := t.store.SwapAttempts(ctx, place.key, seen, next)
		if swapped || err != nil {
			return
		}
		if seen, err = t.store.Attempts(ctx, place.key); err != nil || seen.IsZero() {
			return
		}
	}
}
