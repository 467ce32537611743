package verify

import (
	"crypto/sha256"
	"sync"
	"time"
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

// digest names a token. It has to resist collisions, since whoever found another
// token with the digest of a good one would need no signature.
type digest [sha256.Size]byte

func digestOf(token string) digest {
	// Tokens of usual size are hashed from the stack, so that a cached one allocates
	// nothing.
	var buffer [2048]byte
	if len(token) > len(buffer) {
		return sha256.Sum256([]byte(token))
	}
	return sha256.Sum256(buffer[:copy(buffer[:], token)])
}

// cache holds good tokens, so that one that comes again costs no signature. It is
// bounded: each shard has two generations, of which the old one goes when the young
// one is full. Whoever floods it with good tokens of their own costs others a
// signature each, and no more memory.
type cache struct {
	limit  int // of a generation of a shard; 0: nothing is kept
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.RWMutex
	young, old map[digest]*verified
}

func newCache(size int) *cache {
	if size < 0 {
		return &cache{}
	}
	if size == 0 {
		size = defaultCacheSize
	}
	return &cache{limit: max(size/cacheShards/2, 1)}
}

// get returns a token that is still good by its claims, or nil.
func (c *cache) get(name digest, now time.Time) *verified {
	if c.limit == 0 {
		return nil
	}
	shard := &c.shards[name[0]%cacheShards]
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

func (c *cache) put(name digest, token *verified) {
	if c.limit == 0 {
		return
	}
	shard := &c.shards[name[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if len(shard.young) >= c.limit {
		shard.old, shard.young = shard.young, nil
	}
	if shard.young == nil {
		shard.young = make(map[digest]*verified)
	}
	shard.young[name] = token
}
