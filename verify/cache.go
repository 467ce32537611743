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
	// cacheBytes is how much memory there is for each token of the size of a cache. Most
	// take less; of those that take more, as with hundreds of permissions, fewer fit.
	cacheBytes = 1 << 10
	// minCacheBytes is the least that there is in a generation of a shard, so that a small
	// cache has room for large tokens.
	minCacheBytes = 16 << 10
	// slotBytes is what a token takes in the map of a generation.
	slotBytes = 112
)

// verified is a token that was found good, and what has to be asked of it again
// every time.
type verified struct {
	identity  Identity
	keyID     string    // of the key that signed it
	userEntry string    // what the revocation feed would call its user
	expiresAt time.Time // skew included
	bytes     int       // of memory that all this takes
}

// footprint estimates the memory that a token takes, in bytes.
func (v *verified) footprint() int {
	id := &v.identity
	n := int(unsafe.Sizeof(*v)) + slotBytes
	for _, text := range [...]string{id.Subject, id.SessionID, id.ClientID, id.Username, id.Email, v.keyID, v.userEntry} {
		n += textBytes(text)
	}
	for _, list := range [...][]string{id.Roles, id.Permissions, id.AuthMethods} {
		n += cap(list) * int(unsafe.Sizeof(""))
		for _, text := range list {
			n += textBytes(text)
		}
	}
	return n
}

// textBytes is a little more than the length: memory is handed out in certain sizes.
func textBytes(text string) int { return len(text) + len(text)/8 + 8 }

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
// bounded, in tokens and in bytes, since there are tokens of all sizes: each shard has
// two generations, of which the old one goes when the young one is full. Whoever floods
// it with good tokens of their own costs others a signature each, and no more memory.
type cache struct {
	seed   maphash.Seed
	limit  int // of a generation of a shard, in tokens
	bytes  int // the same, in bytes
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.RWMutex
	young, old map[fingerprint]*verified
	bytes      int // that the young take
}

// newCache returns nil for a negative size.
func newCache(size int) *cache {
	if size < 0 {
		return nil
	}
	if size == 0 {
		size = defaultCacheSize
	}
	limit := max(size/cacheShards/2, 1)
	return &cache{seed: maphash.MakeSeed(), limit: limit, bytes: max(limit*cacheBytes, minCacheBytes)}
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

// put remembers a token, unless it is larger than all that there is room for.
func (c *cache) put(name fingerprint, token *verified) {
	if token.bytes > c.bytes {
		return
	}
	shard := &c.shards[name.signed[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, known := shard.young[name]; known {
		return // somebody else was faster
	}
	if len(shard.young) >= c.limit || shard.bytes+token.bytes > c.bytes {
		shard.old, shard.young, shard.bytes = shard.young, nil, 0
	}
	if shard.young == nil {
		shard.young = make(map[fingerprint]*verified)
	}
	shard.young[name] = token
	shard.bytes += token.bytes
}
