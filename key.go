package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/keyring"
)

// keyTimeout bounds one round of work on the signing keys.
const keyTimeout = 10 * time.Second

// runKeys keeps the signing keys moving until ctx ends: it learns what other
// servers did, and does what is due. Any number of servers do that side by side.
//
// What fails is tried again a moment later. Nobody is told here, but [Authority.Ready]
// and every request that needs a signature say what is wrong once it matters.
func (a *Authority) runKeys(ctx context.Context) {
	rewrapped := !a.rewraps
	for ctx.Err() == nil {
		if !rewrapped {
			rewrapped = a.rewrapKeys(ctx) == nil
		}
		_ = a.upkeepKeys(ctx)
		// Servers that were started together must not march in step.
		_ = rest(ctx, keyring.ReloadInterval*4/5+rand.N(keyring.ReloadInterval*2/5)) //nolint:gosec // spreads work, and guards nothing
	}
}

func (a *Authority) upkeepKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	change, err := a.keys.Upkeep(ctx, a.now())
	a.logKeys(ctx, change, ActorServer)
	return err
}

// rewrapKeys encrypts the signing keys under the root key that mints. The store
// knew that one before this server started, so all servers had it before any minted
// with it, if the operator has followed the manual; if not, servers without it go on
// with the keys that they hold. It is done once and not whenever keys are found
// under another root key: while servers are being restarted, their files name the
// same root keys in two orders, and they would undo each other's work. The last one
// to start finishes it.
func (a *Authority) rewrapKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	done, err := a.keys.Rewrap(ctx)
	a.logRewrapped(ctx, done, ActorServer)
	return errors.Join(err, a.rewrapWebhooks(ctx))
}

// RewrapKeys encrypts under the root key that mints the signing keys that are still
// under another one, and returns their IDs; so it does with the secrets of webhooks.
// Servers do it when they start. Its error matches [ErrUnavailable].
func (a *Authority) RewrapKeys(ctx context.Context, by By) ([]string, error) {
	done, err := a.keys.Rewrap(ctx)
	a.logRewrapped(ctx, done, by)
	if err := errors.Join(err, a.rewrapWebhooks(ctx)); err != nil {
		return done, unavailable(err)
	}
	return done, nil
}

func (a *Authority) logRewrapped(ctx context.Context, keys []string, by By) {
	if len(keys) > 0 {
		a.logKey(ctx, Event{Kind: EventKeyRewrapped, Detail: map[string]string{
			"keys": strings.Join(keys, " "), "root_key": a.roots.Active().ID().String(),
		}}.signed(by))
	}
}

// keysRevoked is told of every key in the revocation feed, also of those that were
// revoked long ago. This server stops using the keys at once; and should whoever
// revoked them have gone no further than the feed, this finishes their work. If that
// fails now, the next round does it. All of them are distrusted before any is
// removed, so that none takes over from another.
func (a *Authority) keysRevoked(ctx context.Context, entries []Revocation) {
	unfinished := false
	for _, entry := range entries {
		if entry.Kind == RevokedKey && a.keys.Distrust(entry.ID) {
			unfinished = true
		}
	}
	if unfinished {
		_ = a.upkeepKeys(ctx)
	}
}

// canSign returns nil if [Authority.grant] will be able to sign as of now. It is asked
// before a write that would leave a client with nothing in hand if it could not.
func (a *Authority) canSign(ctx context.Context, now time.Time) error {
	if err := a.keys.Fresh(ctx, now); err != nil {
		return unavailable(err)
	}
	return nil
}

// PublicKeys returns the public signing keys as a JWK Set (RFC 7517 section 5), and
// how long others may keep it: no time at all if we do not know whether it is what
// the store holds now.
func (a *Authority) PublicKeys(ctx context.Context) (jwks []byte, maxAge time.Duration) {
	if err := a.keys.Fresh(ctx, a.now()); err != nil {
		return a.keys.JWKS(), 0
	}
	return a.keys.JWKS(), keyring.JWKSMaxAge
}

// SigningKeys returns all signing keys, without their private halves: the active one
// first, then the one that is next, those that still verify, and those that are gone.
// Its error matches [ErrUnavailable].
func (a *Authority) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	keys, err := a.keys.Keys(ctx, a.now())
	if err != nil {
		return nil, unavailable(err)
	}
	return keys, nil
}

// RotateKeys lets the next key sign now. Tokens of the present one are accepted
// until they expire, and nobody is signed out. It returns a [*keyring.TooEarlyError]
// while verifiers may not know the next key yet: then nothing is changed. [RevokeKey]
// is for a key that has been stolen, and [RevokeAllKeys] for all of them.
//
// [RevokeKey]: Authority.RevokeKey
// [RevokeAllKeys]: Authority.RevokeAllKeys
func (a *Authority) RotateKeys(ctx context.Context, by By) (keyring.Change, error) {
	change, err := a.keys.Rotate(ctx, a.now())
	return a.keysMoved(ctx, change, by, err)
}

// RetireKey ends the present state of one key, by the rules. The active key hands
// over to the next one, as in [Authority.RotateKeys]; the next one, which has signed
// nothing, is replaced by another; one that signs no more is removed once its tokens
// have expired. A key that is gone stays so. It returns [ErrNotFound] or a
// [*keyring.TooEarlyError].
func (a *Authority) RetireKey(ctx context.Context, keyID string, by By) (keyring.Change, error) {
	change, err := a.keys.Retire(ctx, keyID, a.now())
	return a.keysMoved(ctx, change, by, err)
}

// RevokeKey is for a key that somebody else may have. Whatever its state, it goes at
// once and for good: it is put into the revocation feed, so that servers and
// verifiers that follow the feed refuse every token that it signed within a second;
// then it is removed, and if it was the active one, the next one signs. Sessions
// live: clients refresh. It returns [ErrNotFound]. Whoever took the key from the
// database or from a server's memory has the next one too: then [RevokeAllKeys].
//
// After an error that matches [ErrUnavailable], do it again. If the key is in the feed
// already, servers finish by themselves.
//
// [RevokeAllKeys]: Authority.RevokeAllKeys
func (a *Authority) RevokeKey(ctx context.Context, keyID string, by By) (keyring.Change, error) {
	records, err := a.stores.Keys.SigningKeys(ctx)
	if err != nil {
		return keyring.Change{}, unavailable(fmt.Errorf("read signing keys: %w", err))
	}
	if !slices.ContainsFunc(records, func(rec keyring.Record) bool { return rec.KeyID == keyID }) {
		return keyring.Change{}, ErrNotFound
	}
	return a.revokeKeys(ctx, []string{keyID}, by)
}

// RevokeAllKeys is for a leak of the database together with the root key, or of a
// server's memory: with the key that signs, whoever has that holds the one that is
// next and those that still verify. Every key that there is goes, as in [RevokeKey],
// and a new one signs. Without keys it does nothing.
//
// After an error that matches [ErrUnavailable], do it again: keys that are not in the
// feed yet are still accepted. Until the one that signs has gone, some may remain;
// once it has, none does. Keys that were made meanwhile are revoked as well, which
// harms nobody.
//
// [RevokeKey]: Authority.RevokeKey
func (a *Authority) RevokeAllKeys(ctx context.Context, by By) (keyring.Change, error) {
	records, err := a.stores.Keys.SigningKeys(ctx)
	if err != nil {
		return keyring.Change{}, unavailable(fmt.Errorf("read signing keys: %w", err))
	}
	return a.revokeKeys(ctx, leaked(records), by)
}

// leaked are all keys that are not gone, in the order in which they may be revoked:
// the key in reserve first, since servers that learn of the active one alone would
// let it sign; the active one last, so that all is done once it has gone.
func leaked(records []keyring.Record) []string {
	var keyIDs []string
	for _, state := range []keyring.State{keyring.Published, keyring.Retiring, keyring.Active} {
		for _, rec := range records {
			if rec.State == state {
				keyIDs = append(keyIDs, rec.KeyID)
			}
		}
	}
	return keyIDs
}

// revokeKeys writes the feed first, and then moves the keys: whatever stops it in
// between, servers distrust what they have read of and finish.
func (a *Authority) revokeKeys(ctx context.Context, keyIDs []string, by By) (keyring.Change, error) {
	now := a.now()
	for _, keyID := range keyIDs {
		entry := Revocation{At: now, Kind: RevokedKey, ID: keyID}
		event := Event{At: now, Kind: EventKeyRevoked, Detail: map[string]string{"key": keyID}}.signed(by)
		if err := a.stores.Revocations.Revoke(ctx, entry, event); err != nil {
			return keyring.Change{}, unavailable(fmt.Errorf("revoke signing key: %w", err))
		}
		a.feed.wrote(entry)
		a.observe(ctx, event)
	}
	change, err := a.keys.RevokeAll(ctx, keyIDs, now)
	return a.keysMoved(ctx, change, by, err)
}

// keysMoved logs what was done, and translates the error if nothing was.
func (a *Authority) keysMoved(ctx context.Context, change keyring.Change, by By, err error) (keyring.Change, error) {
	a.logKeys(ctx, change, by)
	var early *keyring.TooEarlyError
	switch {
	case err == nil:
		return change, nil
	case errors.As(err, &early):
		return change, early
	case errors.Is(err, keyring.ErrUnknownKey):
		return change, ErrNotFound
	default:
		return change, unavailable(err)
	}
}

// logKeys logs what has become of the keys. The keys themselves say when they moved:
// an event that could not be written is no reason to say that nothing has happened.
func (a *Authority) logKeys(ctx context.Context, change keyring.Change, by By) {
	if change.Activated != "" {
		detail := map[string]string{"key": change.Activated}
		if change.Retired != "" {
			detail["retired"] = change.Retired
		}
		a.logKey(ctx, Event{Kind: EventKeyRotated, Detail: detail}.signed(by))
	}
	if change.Published != "" {
		a.logKey(ctx, Event{Kind: EventKeyPublished, Detail: map[string]string{"key": change.Published}}.signed(by))
	}
	for _, keyID := range change.Removed {
		a.logKey(ctx, Event{Kind: EventKeyRemoved, Detail: map[string]string{"key": keyID}}.signed(by))
	}
}

func (a *Authority) logKey(ctx context.Context, event Event) {
	event.At = a.now()
	_ = a.stores.Events.AppendEvent(ctx, event) // see logKeys
	a.observe(ctx, event)
}
