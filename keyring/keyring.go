// Package keyring is the life of the keys that sign access tokens.
//
// A key is a [Record] in the [Store] that all servers of an installation share,
// and moves through four states:
//
//	published ─► active ─► retiring ─► removed
//
// A published key stands in the JWKS and signs nothing, so that every verifier
// has fetched it long before it meets a token that needs it. The active key
// signs. A retiring key signs no more and still verifies, until the last token
// that it signed has expired. A removed key is remembered by name only: its
// private half is erased.
//
// There is one active key at a time and always a published one in reserve, so
// that an emergency needs no waiting. [Open] makes both on the first start. The
// very first key may sign at once: no verifier has cached a key set without it.
//
// A [Ring] holds the keys in memory: Sign uses the active one, JWKS gives the
// public halves to the world. [Ring.Upkeep] moves what is due to move and takes over
// what another server did; every server calls it every [ReloadInterval]. Whatever
// moves is decided by one pure function, written as one conditional write, and
// therefore done once, however many servers try. [Ring.Rotate] and [Ring.Retire] are
// for people; they refuse with a [*TooEarlyError] what verifiers would suffer from.
// [Ring.Revoke] is for a key that somebody has stolen, and refuses nothing;
// [Ring.RevokeAll], for a leak of the store or of a server's memory, where the key in
// reserve lies beside the one that signs.
//
// A ring that has not read its store for [SnapshotAge] reads it before it signs, and
// signs nothing if it cannot: so no server goes on with a key long after another has
// retired it.
//
// The private half is stored encrypted under the root key (package rootkey),
// bound to the key's ID: a stolen database signs nothing. Keys are taken from
// the encrypted half only, the public one included, so that somebody who can
// write to the database, but lacks the root key, can put no key of their own
// among ours. The public half beside it is for people and for audits.
//
// Nothing here reads the clock: time is an argument.
package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// ErrUnusable reports signing keys that cannot be used as they are stored. The
// error that wraps it says which one, and what to do.
var ErrUnusable = errors.New("signing keys are unusable")

// Config says where keys live and how new ones are made.
type Config struct {
	// Store holds the keys. Required.
	Store Store
	// RootKeys encrypts them. Required. Keys are encrypted under the active root
	// key and opened with whichever one they were encrypted under.
	RootKeys rootkey.Ring
	// Algorithm is that of keys made from now on. Those that exist keep theirs: a
	// change comes into force with the second rotation that follows, since the key
	// that is next has been published already. The zero value means ES256.
	Algorithm accesstoken.Algorithm
	// RotationPeriod is how long a key signs before [Ring.Upkeep] lets the next one do
	// it. The zero value, or less, means until somebody asks.
	RotationPeriod time.Duration
	// LeaveNewKeys is for whoever visits an installation and does not know the
	// Algorithm of its servers. It makes no keys but one that has to sign now, with
	// the algorithm of the one that it replaces; servers publish what is missing at
	// their next [Ring.Upkeep]. If there are no keys at all, nothing is signed until
	// there are. The zero value makes keys.
	LeaveNewKeys bool
}

// Ring signs tokens with the active key and knows the keys that verify them. Make
// one with [Open]. It is safe for concurrent use.
type Ring struct {
	store  Store
	roots  rootkey.Ring
	alg    accesstoken.Algorithm // empty: makes none
	period time.Duration

	current atomic.Pointer[snapshot]

	// reading is held by whoever reads the store, so that an older reading never
	// replaces a newer one. failed is how many readings have failed, and lastErr what
	// the latest of those that wait for reading is told: see Fresh.
	reading chan struct{}
	failed  atomic.Int64
	lastErr error

	// mu is held for moments, to change current together with what it rests on.
	mu         sync.Mutex
	distrusted map[string]bool // keys not to be used, whatever the store says
}

// Open loads the keys of an installation, or creates them if the store has none:
// one that is active at once and one published in reserve, both as of now.
// Servers that start together end up with the same keys.
//
// It returns [ErrUnusable] if the store has keys that do not open under
// cfg.RootKeys or make no sense, [accesstoken.ErrAlgorithm] if cfg.Algorithm is
// unknown, [rootkey.ErrEmpty] if there is no root key, and the store's own
// errors.
func Open(ctx context.Context, cfg Config, now time.Time) (*Ring, error) {
	if cfg.Algorithm == "" {
		cfg.Algorithm = accesstoken.ES256
	}
	if _, err := accesstoken.ParseAlgorithm(string(cfg.Algorithm)); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if len(cfg.RootKeys.All()) == 0 {
		return nil, fmt.Errorf("open keyring: %w", rootkey.ErrEmpty)
	}
	records, err := cfg.Store.SigningKeys(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open keyring: %w", err)
	case len(records) == 0 && !cfg.LeaveNewKeys:
		if err := create(ctx, cfg, now); err != nil {
			return nil, fmt.Errorf("create signing keys: %w", err)
		}
	}
	r := &Ring{
		store: cfg.Store, roots: cfg.RootKeys, alg: cfg.Algorithm, period: cfg.RotationPeriod,
		reading: make(chan struct{}, 1), distrusted: make(map[string]bool),
	}
	if cfg.LeaveNewKeys {
		r.alg = ""
	}
	if len(records) == 0 && cfg.LeaveNewKeys {
		r.current.Store(&snapshot{jwks: []byte(`{"keys":[]}`)})
		return r, nil
	}
	if err := r.Reload(ctx, now); err != nil {
		return nil, err
	}
	return r, nil
}

// create stores the first keys, unless another server was faster: then its keys
// are ours.
func create(ctx context.Context, cfg Config, now time.Time) error {
	active, err := newRecord(cfg.Algorithm, cfg.RootKeys, now)
	if err != nil {
		return err
	}
	active.State, active.ActivatedAt = Active, now
	reserve, err := newRecord(cfg.Algorithm, cfg.RootKeys, now)
	if err != nil {
		return err
	}
	err = cfg.Store.InitSigningKeys(ctx, []Record{active, reserve})
	if errors.Is(err, ErrInitialized) {
		return nil
	}
	return err
}

// Sign returns an access token signed with the active key. If what the ring knows
// is older than [SnapshotAge] it reads the store first; then an error of the store
// says that nothing was signed, and that nobody is to blame but the store. Its other
// errors are those of [accesstoken.Sign].
//
// Now is the time as of which the token is made: no claim may be later than what
// it allows.
func (r *Ring) Sign(ctx context.Context, c accesstoken.Claims, now time.Time) (string, error) {
	s := r.current.Load()
	if !s.fresh(now) {
		if err := r.Fresh(ctx, now); err != nil {
			return "", err
		}
		if s = r.current.Load(); s.active == nil {
			return "", fmt.Errorf("%w: the active one has just been revoked", ErrUnusable)
		}
	}
	return accesstoken.Sign(s.active, c)
}

// Fresh returns nil if the ring can sign as of now, and reads the store if it has to
// find out. Call it before a write that makes a signature necessary: then Sign does
// not fail after it, for the same now.
func (r *Ring) Fresh(ctx context.Context, now time.Time) error {
	if r.current.Load().fresh(now) {
		return nil
	}
	before := r.failed.Load()
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	if r.current.Load().fresh(now) {
		return nil
	}
	if r.failed.Load() > before {
		return r.lastErr // of a reading that we have waited for: another would take as long
	}
	_, err := r.refresh(ctx, now)
	if r.current.Load().fresh(now) {
		return nil // a fault of a key that does not sign is no reason to sign nothing
	}
	if err == nil {
		err = fmt.Errorf("%w: the active one has just been revoked", ErrUnusable)
	}
	r.lastErr = err
	r.failed.Add(1)
	return err
}

// Reload reads the keys again and swaps them in as a whole. If the store does not
// answer, the ring goes on with what it had. [ErrUnusable] says that some key does
// not open here, of which the ring may hold a copy; without the active one nothing
// is swapped in.
func (r *Ring) Reload(ctx context.Context, now time.Time) error {
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	_, err := r.refresh(ctx, now)
	return err
}

func (r *Ring) lock(ctx context.Context) error {
	select {
	case r.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("load signing keys: %w", ctx.Err())
	}
}

func (r *Ring) unlock() { <-r.reading }

// refresh reads the store, under the lock, and finishes a revocation that somebody
// has begun: that is the change.
func (r *Ring) refresh(ctx context.Context, now time.Time) (change Change, err error) {
	if err := r.load(ctx, now); err != nil {
		return Change{}, err
	}
	if pending := r.pending(); len(pending) > 0 {
		if change, err = r.change(ctx, wish{kind: revoke, keys: pending}, now); err != nil {
			return change, err
		}
	}
	return change, r.current.Load().faults
}

// load reads the store and swaps in what it says.
func (r *Ring) load(ctx context.Context, now time.Time) error {
	records, err := r.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var held map[string]*accesstoken.SigningKey
	if before := r.current.Load(); before != nil {
		held = before.held
	}
	s, err := newSnapshot(records, r.roots, held, r.distrusted)
	if err != nil {
		return err
	}
	s.readAt = now.Round(0)
	if r.current.Load() == nil && s.faults != nil {
		return s.faults // a server that starts wants all of them
	}
	r.current.Store(s)
	return nil
}

// pending are the keys that are not to be trusted, and not removed yet.
func (r *Ring) pending() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var pending []string
	for _, rec := range r.current.Load().records {
		if rec.State != Removed && r.distrusted[rec.KeyID] {
			pending = append(pending, rec.KeyID)
		}
	}
	return pending
}

// Distrust makes the ring use a key no more, from now on and whatever the store says
// of it: it signs nothing, verifies nothing, and is left out of the JWKS. It reports
// whether the key is still to be removed; the next reading does that, see
// [Ring.Reload]. It asks no store.
func (r *Ring) Distrust(keyID string) (pending bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.current.Load()
	if s.state(keyID) == Removed {
		return false
	}
	if !r.distrusted[keyID] {
		// It may be one that we have not read of yet.
		r.distrusted[keyID] = true
		r.current.Store(s.without(keyID))
	}
	return true
}

// Distrusts reports whether a key was named to [Ring.Distrust] or [Ring.Revoke]
// before it was removed.
func (r *Ring) Distrusts(keyID string) bool {
	if _, ok := r.current.Load().held[keyID]; ok {
		return false // the common case, without a lock
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.distrusted[keyID]
}

// PublicKey returns the key with the given ID if its tokens are to be accepted:
// if it is published, active or retiring. A published key signs nothing as far
// as this server knows, but another one may have activated it a moment ago.
func (r *Ring) PublicKey(keyID string) (accesstoken.PublicKey, bool) {
	key, ok := r.current.Load().held[keyID]
	if !ok {
		return accesstoken.PublicKey{}, false
	}
	return key.Public(), true
}

// Algorithm returns the algorithm of the active key; empty if that is not to be
// trusted.
func (r *Ring) Algorithm() accesstoken.Algorithm {
	if active := r.current.Load().active; active != nil {
		return active.Algorithm()
	}
	return ""
}

// JWKS returns the JWK set (RFC 7517 §5) of all keys that are not removed: public
// members only, each with kid, alg and use. The active key comes first. Equal
// keys give equal bytes. Call [Ring.Fresh] before, and let nobody keep the answer if
// that fails.
func (r *Ring) JWKS() []byte { return bytes.Clone(r.current.Load().jwks) }

// Ready returns nil if the ring can sign, and open every key that is not removed. It
// reads the store if what it knows is too old. A server that cannot open a key works
// on until it is that key's turn: its operator has so much time to give it the root
// key that the others have.
func (r *Ring) Ready(ctx context.Context, now time.Time) error {
	if err := r.Fresh(ctx, now); err != nil {
		return err
	}
	return r.current.Load().faults
}

// Keys reads the store and returns all keys in the order of their states, without
// their private halves.
func (r *Ring) Keys(ctx context.Context, now time.Time) ([]Record, error) {
	if err := r.lock(ctx); err != nil {
		return nil, err
	}
	defer r.unlock()
	if err := r.load(ctx, now); err != nil {
		return nil, err
	}
	records := slices.Clone(r.current.Load().records)
	for i := range records {
		records[i].Wrapped = nil
		records[i].PublicJWK = bytes.Clone(records[i].PublicJWK)
	}
	return records, nil
}
