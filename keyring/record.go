package keyring

import (
	"context"
	"errors"
	"fmt"
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
	// store.
	Wrapped []byte
	// PublicJWK is the public half, for people and for audits. Not relied on.
	PublicJWK []byte
	// The times of the three moves; zero for one that has not happened.
	PublishedAt, ActivatedAt, RetiredAt time.Time
}

// ErrInitialized reports a store that already has signing keys.
var ErrInitialized = errors.New("signing keys exist already")

// Store holds the signing keys that all servers of an installation share.
//
// Both methods return the error of ctx if it ends first, possibly wrapped, and
// are safe for concurrent use, by several processes too. Any other error means
// that the store could not answer; the ring then keeps the keys it has.
type Store interface {
	// SigningKeys returns all keys, removed ones included, in any order, and none
	// and no error if there are none. Times come back to the second or finer.
	SigningKeys(ctx context.Context) ([]Record, error)

	// InitSigningKeys inserts the first keys, all or none, and only if there is no
	// key at all, removed ones included; otherwise it changes nothing and returns
	// [ErrInitialized], possibly wrapped. Of several callers at the same time exactly
	// one succeeds, and after ErrInitialized SigningKeys returns what the winner
	// stored. An error other than ErrInitialized leaves open whether the keys were
	// inserted.
	InitSigningKeys(ctx context.Context, records []Record) error
}

// wrapLabel binds a wrapped private key to its name, so that one row
// cannot be given the key of another.
func wrapLabel(keyID string) string { return "innkeeper/v1 signing key " + keyID }

// newRecord makes a key that is published as of now.
func newRecord(cfg Config, now time.Time) (Record, error) {
	key, err := accesstoken.Generate(cfg.Algorithm)
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
		Wrapped:     cfg.RootKeys.Wrap(private, wrapLabel(key.KeyID())),
		PublicJWK:   public,
		PublishedAt: now,
	}, nil
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
