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
// that it signed has expired. A removed key is remembered by name only.
//
// There is one active key at a time and always a published one in reserve, so
// that an emergency needs no waiting. [Open] makes both on the first start. The
// very first key may sign at once: no verifier has cached a key set without it.
//
// A [Ring] holds the keys in memory: Sign uses the active one, JWKS gives the
// public halves to the world, and Reload takes over what another server did.
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
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// JWKSMaxAge is how long others may cache the document of [Ring.JWKS]. Whoever
// serves it says so in Cache-Control, and a key is not used for signing before
// it has been published for longer than this.
const JWKSMaxAge = 10 * time.Minute

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
	// Algorithm is that of keys made from now on. Those that exist keep theirs, so
	// that a change comes into force with the rotations that follow. The zero value
	// means ES256.
	Algorithm accesstoken.Algorithm
}

// Ring signs tokens with the active key and knows the keys that verify them. Make
// one with [Open]. It is safe for concurrent use.
type Ring struct {
	store Store
	roots rootkey.Ring

	// reloading keeps an older reading of the store from replacing a newer one.
	reloading sync.Mutex
	current   atomic.Pointer[snapshot]
}

// Open loads the keys of an installation, or creates them if the store has none:
// one that is active at once and one published in reserve, both as of now.
// Servers that start together end up with the same keys.
//
// It returns [ErrUnusable] if the store has keys that do not open under
// cfg.RootKeys or make no sense, [accesstoken.ErrAlgorithm] if cfg.Algorithm is
// unknown, [rootkey.ErrEmpty] if there is no root key, and the store's own errors.
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
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if len(records) == 0 {
		if err := create(ctx, cfg, now); err != nil {
			return nil, fmt.Errorf("create signing keys: %w", err)
		}
	}
	r := &Ring{store: cfg.Store, roots: cfg.RootKeys}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// create stores the first keys, unless another server was faster: then its keys
// are ours.
func create(ctx context.Context, cfg Config, now time.Time) error {
	active, err := newRecord(cfg, now)
	if err != nil {
		return err
	}
	active.State, active.ActivatedAt = Active, now
	reserve, err := newRecord(cfg, now)
	if err != nil {
		return err
	}
	err = cfg.Store.InitSigningKeys(ctx, []Record{active, reserve})
	if errors.Is(err, ErrInitialized) {
		return nil
	}
	return err
}

// Reload reads the keys again and swaps them in as a whole. If it returns an
// error, [ErrUnusable] or one of the store, the ring goes on with what it had.
func (r *Ring) Reload(ctx context.Context) error {
	r.reloading.Lock()
	defer r.reloading.Unlock()

	records, err := r.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	s, err := newSnapshot(records, r.roots)
	if err != nil {
		return err
	}
	r.current.Store(s)
	return nil
}

// Sign returns an access token signed with the active key. Its errors are those
// of [accesstoken.Sign].
func (r *Ring) Sign(c accesstoken.Claims) (string, error) {
	return accesstoken.Sign(r.current.Load().active, c)
}

// PublicKey returns the key with the given ID if its tokens are to be accepted:
// if it is published, active or retiring. A published key signs nothing as far
// as this server knows, but another one may have activated it a moment ago.
func (r *Ring) PublicKey(keyID string) (accesstoken.PublicKey, bool) {
	key, ok := r.current.Load().public[keyID]
	return key, ok
}

// Algorithm returns the algorithm of the active key.
func (r *Ring) Algorithm() accesstoken.Algorithm { return r.current.Load().active.Algorithm() }

// JWKS returns the JWK set (RFC 7517 §5) of all keys that are not removed: public
// members only, each with kid, alg and use. The active key comes first. Equal
// keys give equal bytes.
func (r *Ring) JWKS() []byte { return bytes.Clone(r.current.Load().jwks) }
