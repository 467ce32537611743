package keyring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// State is how far a key has come in its life. It only moves forward.
type State string

// The states of a key, in order.
const (
	// Published keys are in the JWKS and sign nothing yet.
	Published State = "published"
	// Active is the state of the one key that signs.
	Active State = "active"
	// Retiring keys sign no more; tokens that they signed may still be alive.
	Retiring State = "retiring"
	// Removed keys are gone, except for their names.
	Removed State = "removed"
)

// Record is a signing key as a store holds it.
type Record struct {
	// KeyID is the RFC 7638 thumbprint of the key, and unique.
	KeyID string
	// Algorithm is the only one that the key is used with.
	Algorithm accesstoken.Algorithm
	// State is one of the four above.
	State State
	// Wrapped is the private key, PKCS#8 under [rootkey.Ring.Wrap]. Opaque to the
	// store. Empty once the key is removed.
	Wrapped []byte
	// PublicJWK is the public half, for people and for audits. Not relied on.
	PublicJWK []byte
	// The times of the four moves; zero for one that has not happened.
	PublishedAt, ActivatedAt, RetiredAt, RemovedAt time.Time
}

// Step is one move of one key.
type Step struct {
	KeyID    string
	From, To State
	At       time.Time
}

// Apply makes of a record what the step stores. A removed key loses its private
// half, which nobody needs any more.
func (s Step) Apply(rec *Record) {
	rec.State = s.To
	switch s.To {
	case Published:
	case Active:
		rec.ActivatedAt = s.At
	case Retiring:
		rec.RetiredAt = s.At
	case Removed:
		rec.RemovedAt, rec.Wrapped = s.At, nil
	}
}

// Moves are what happens to the keys at one moment: all of it or nothing.
type Moves struct {
	// Steps name each key at most once.
	Steps []Step
	// New keys come after the steps.
	New []Record
}

// Errors of a [Store].
var (
	// ErrInitialized reports a store that already has signing keys.
	ErrInitialized = errors.New("signing keys exist already")
	// ErrMoved reports that the keys are no longer as the caller has read them: another
	// server was faster. Nothing was written.
	ErrMoved = errors.New("the signing keys have moved")
)

// Store holds the signing keys that all servers of an installation share.
//
// All methods return the error of ctx if it ends first, possibly wrapped, and are
// safe for concurrent use, by several processes too. Any other error means that
// the store could not answer; the ring then keeps the keys it has.
type Store interface {
	// SigningKeys returns all keys, removed ones included, in any order, and none
	// and no error if there are none. It sees every write that was answered before
	// the call. Times come back to the second or finer, and an empty Wrapped as nil.
	SigningKeys(ctx context.Context) ([]Record, error)

	// InitSigningKeys inserts the first keys, all or none, and only if there is no
	// key at all, removed ones included; otherwise it changes nothing and returns
	// [ErrInitialized], possibly wrapped. Of several callers at the same time exactly
	// one succeeds, and after ErrInitialized SigningKeys returns what the winner
	// stored. An error other than ErrInitialized leaves open whether the keys were
	// inserted.
	InitSigningKeys(ctx context.Context, records []Record) error

	// MoveSigningKeys does what [Step.Apply] says to each key of the steps, and inserts
	// the new ones, if every key is in the state that its step begins with, and if
	// afterwards at most one key is active and at most one is published. Otherwise it
	// changes nothing and returns [ErrMoved], possibly wrapped. Of several callers at
	// the same time that begin with the same states exactly one succeeds. Any other
	// error leaves open whether the keys have moved.
	MoveSigningKeys(ctx context.Context, moves Moves) error

	// RewrapSigningKey replaces the wrapped private half of a key if it is still the
	// old one, byte for byte. Otherwise it changes nothing and returns [ErrMoved],
	// possibly wrapped.
	RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error
}

// wrapLabel binds a wrapped private key to its name, so that one row
// cannot be given the key of another.
func wrapLabel(keyID string) string { return "innkeeper/v1 signing key " + keyID }

// newRecord makes a key that is published as of now.
func newRecord(alg accesstoken.Algorithm, roots rootkey.Ring, now time.Time) (Record, error) {
	key, err := generate(alg)
	if err != nil {
		return Record{}, err
	}
	private, err := key.MarshalPKCS8()
	if err != nil {
		return Record{}, err
	}
	public, err := key.Public().MarshalJWK()
	if err != nil {
		return Record{}, err
	}
	return Record{
		KeyID:       key.KeyID(),
		Algorithm:   key.Algorithm(),
		State:       Published,
		Wrapped:     roots.Wrap(private, wrapLabel(key.KeyID())),
		PublicJWK:   public,
		PublishedAt: now,
	}, nil
}

// generate returns a key whose name does not begin with a hyphen, so that on a
// command line it is never taken for a flag.
func generate(alg accesstoken.Algorithm) (*accesstoken.SigningKey, error) {
	for {
		key, err := accesstoken.Generate(alg)
		if err != nil || !strings.HasPrefix(key.KeyID(), "-") {
			return key, err
		}
	}
}

// open returns the key of a record, and fails closed if anything about the record
// does not agree with the key inside.
func (rec Record) open(roots rootkey.Ring) (*accesstoken.SigningKey, error) {
	private, err := roots.Unwrap(rec.Wrapped, wrapLabel(rec.KeyID))
	switch {
	case errors.Is(err, rootkey.ErrUnknown):
		return nil, fmt.Errorf("%w: %s: %w: add the root key that the servers had when this key was made",
			ErrUnusable, rec.KeyID, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w: the row was altered or the root key is another one with the same id; "+
			"restore the row or the root key from a backup", ErrUnusable, rec.KeyID, err)
	}
	key, err := accesstoken.ParsePKCS8(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnusable, rec.KeyID, err)
	}
	if key.KeyID() != rec.KeyID || key.Algorithm() != rec.Algorithm {
		return nil, fmt.Errorf("%w: %s: the row holds a %s key with id %s",
			ErrUnusable, rec.KeyID, key.Algorithm(), key.KeyID())
	}
	return key, nil
}
