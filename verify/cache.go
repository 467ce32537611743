package verify

import (
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"sync"
	"time"
	"unsafe"
)

const (
	defaultCacheSize = 10_000
	cacheShards      = 32
)

// verified is a token that was found good, and what has to be asked of it again
// every time.
type verified struct {
	identity  Identity
	keyID     string    // of the key that signed it
	userEntry string    // what the revocation feed would call its user
	expiresAt time.Time // skew included
}

// fingerprint names a token. Whoever found another token with that of a good one would
// need no signature.
type fingerprint struct {
	// signed is the SHA-256 of what was signed, which a stranger may know and try to
	// replace: it has to resist collisions.
	signed [sha256.Size]byte
	// signature is a hash under a key of our own. Only who holds the token knows the
	// signature, a guess hits once in 2^64, and it takes as long whether or not it is
	// nearly right. An RSA signature costs a tenth of what SHA-256 would take for it.
	signature uint64
}

func (c *cache) fingerprint(token string) fingerprint {
	cut := strings.IndexByte(token, '.') + 1
	cut += max(strings.IndexByte(token[cut:], '.'), 0)
	// The bytes are read where they are: a copy is a tenth of what a cached token costs.
	signed := unsafe.Slice(unsafe.StringData(token), cut) //nolint:gosec // Sum256 writes nothing
	return fingerprint{sha256.Sum256(signed), maphash.String(c.seed, token[cut:])}
}

// cache holds good tokens, so that one that comes again costs no signature. It is
// bounded: each shard has two generations, of which the old one goes when the young
// one is full. Whoever floods it with good tokens of their own costs others a
// signature each, and no more memory.
type cache struct {
	seed   maphash.Seed
	limit  int // of a generation of a shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.RWMutex
	young, old map[fingerprint]*verified
}

// newCache returns nil for a negative size.
func newCache(size int) *cache {
	if size < 0 {
		return nil
	}
	if size == 0 {
		size = defaultCacheSize
	}
	return &cache{seed: maphash.MakeSeed(), limit: max(size/cacheShards/2, 1)}
}

// get returns a token that is still good by its claims, or nil.
func (c *cache) get(name fingerprint, now time.Time) *verified {
	shard := &c.shards[name.signed[0]%cacheShards]
	shard.mu.RLock()
	found, young := shard.young[name]
	if !young {
		found = shard.old[name]
	}
	shard.mu.RUnlock()
	if found == nil || !now.Before(found.expiresAt) {
		return nil
	}
	if !young {
		c.put(name, found) // it is in use: let it stay
	}
	return found
}

func (c *cache) put(name fingerprint, token *verified) {
	shard := &c.shards[name.signed[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if len(shard.young) >= c.limit {
		shard.old, shard.young = shard.young, nil
	}
	if shard.young == nil {
		shard.young = make(map[fingerprint]*verified)
	}
	shard.young[name] = token
}
