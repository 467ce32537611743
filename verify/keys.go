package verify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// How often keys are fetched, at most. Tokens that name unknown keys cost an
// attacker nothing, so that their number must not matter to the issuer.
const (
	// fetchTimeout bounds a fetch and with it the longest wait of a request.
	fetchTimeout = 5 * time.Second
	// refetchInterval is the least time between a fetch and the next. A key is
	// published for longer than this before it signs.
	refetchInterval = 30 * time.Second
	// retryInterval is the least time between a fetch that failed and the next.
	retryInterval = 5 * time.Second
)

// keySource is what we know of the issuer's keys, and how we learn more. Keys
// are fetched
//
//   - by the first request, which waits;
//   - when three quarters of their age limit have passed, in the background, so
//     that a busy API never waits;
//   - when they are past the limit, as happens in an idle API. The request waits,
//     unless the last fetch failed: an outage is not to slow down everything;
//   - when a token names a key that we do not have, which is how a new key is
//     noticed early. Only that request waits.
//
// There is one fetch at a time and everybody waits for the same. Keys that are
// past the limit go on serving until others are there: an issuer that is down
// must not take all APIs with it.
type keySource struct {
	fetch  func(context.Context) (keySet, error)
	now    func() time.Time
	logger *slog.Logger

	known atomic.Pointer[knownKeys] // nil before the first success

	mu        sync.Mutex
	flight    *flight   // the fetch under way, or nil
	failed    bool      // whether the last one failed
	notBefore time.Time // no fetch starts earlier
}

// knownKeys is the last key set that was fetched. It is never changed.
type knownKeys struct {
	keys      map[string]accesstoken.PublicKey
	refreshAt time.Time // when to fetch in the background
	staleAt   time.Time // when to wait for a fetch
}

// flight is a fetch that any number of requests wait for.
type flight struct {
	done chan struct{} // closed at the end
	err  error         // set before done is closed
}

func newKeySource(cfg Config) *keySource {
	return &keySource{
		fetch:  newFetcher(cfg.HTTPClient, cfg.JWKSURL).fetch,
		now:    cfg.Now,
		logger: cfg.Logger.With("jwks_url", cfg.JWKSURL),
	}
}

// get returns the key with the given ID. It returns [accesstoken.ErrUnknownKey]
// if the issuer has no such key, and [ErrUnavailable] if that is not known.
func (s *keySource) get(ctx context.Context, keyID string, now time.Time) (accesstoken.PublicKey, error) {
	known := s.known.Load()
	if key, ok := known.find(keyID); ok {
		if now.Before(known.refreshAt) {
			return key, nil // the common case, without a lock
		}
		s.keepFresh(ctx, now, known.staleAt)
	} else if err := s.refresh(ctx, now); err != nil {
		return accesstoken.PublicKey{}, err
	}
	key, ok := s.known.Load().find(keyID)
	if !ok {
		return accesstoken.PublicKey{}, accesstoken.ErrUnknownKey
	}
	return key, nil
}

// withdraw takes note that a key was revoked. If it is one of those at hand, the set
// without it, and with the one that replaces it, is fetched before a token needs that:
// now or, if another fetch was just before, as soon as may be.
func (s *keySource) withdraw(keyID string) {
	if _, ok := s.known.Load().find(keyID); !ok {
		return
	}
	now := s.now()
	if f, _ := s.join(now); f != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	time.AfterFunc(s.notBefore.Sub(now), func() { s.join(s.now()) })
}

// find looks among keys that may be nil.
func (k *knownKeys) find(keyID string) (accesstoken.PublicKey, bool) {
	if k == nil {
		return accesstoken.PublicKey{}, false
	}
	key, ok := k.keys[keyID]
	return key, ok
}

// keepFresh renews keys that are due. It waits only where that is worth it, and its
// failure is not the caller's: the keys at hand have to do.
func (s *keySource) keepFresh(ctx context.Context, now, staleAt time.Time) {
	f, failed := s.join(now)
	if f != nil && !failed && !now.Before(staleAt) {
		_ = f.wait(ctx)
	}
}

// refresh returns nil when the keys are as new as they may be: fetched just now,
// or so recently that they are not to be fetched again yet.
func (s *keySource) refresh(ctx context.Context, now time.Time) error {
	f, failed := s.join(now)
	switch {
	case f != nil:
		return f.wait(ctx)
	case failed:
		return ErrUnavailable
	default:
		return nil
	}
}

// join returns the fetch under way and starts one if it is time, else nil. It
// also reports whether the last one to end has failed.
func (s *keySource) join(now time.Time) (f *flight, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && !now.Before(s.notBefore) {
		s.flight = &flight{done: make(chan struct{})}
		go s.run(s.flight)
	}
	return s.flight, s.failed
}

// run is the fetch. Its context is nobody's in particular: whoever came first may
// leave, and the others still get their keys.
func (s *keySource) run(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := s.fetch(ctx)
	now := s.now()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight, s.failed = nil, err != nil
	if err != nil {
		s.notBefore = now.Add(retryInterval)
		f.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		s.logger.Warn("signing keys cannot be fetched", "error", err, "serving_known_keys", s.known.Load() != nil)
	} else {
		s.notBefore = now.Add(refetchInterval)
		s.known.Store(&knownKeys{
			keys:      set.keys,
			refreshAt: now.Add(set.maxAge * 3 / 4),
			staleAt:   now.Add(set.maxAge),
		})
	}
	close(f.done)
}

// wait waits for the end of the fetch or of ctx.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}
