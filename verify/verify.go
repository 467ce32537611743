// Package verify checks access tokens in the APIs that they are sent to.
//
//	v, err := verify.New(verify.Config{
//		Issuer:   "https://auth.example.com",
//		Audience: "https://api.example.com",
//	})
//	mux.Handle("GET /mail", v.RequireAuth(mail))
//	mux.Handle("POST /mail", v.RequirePermission("mail:send", send))
//	mux.Handle("GET /admin", v.RequireRole("admin", admin))
//
// and in a handler
//
//	id, ok := verify.FromContext(r.Context())
//
// A [Verifier] fetches the issuer's public keys when it needs them first, keeps
// them, and judges every token by itself: no request waits for the issuer as
// long as the keys are known. Where there is no http.Handler, [Verifier.Verify]
// does the same for a token from anywhere.
//
// A token is taken from the Authorization header only (RFC 6750 §2.1). Tokens in
// a query end up in logs, tokens in a cookie are sent by any page that the
// browser happens to show; neither place is looked at.
//
// Refusals are challenges of RFC 6750 with a problem document of RFC 9457. They
// say what the client has to do and nothing about token, claims or keys. When
// the keys cannot be had at all the answer is 503 and never 401: that the issuer
// is unreachable proves nothing about a token, and a 401 would sign people out.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/revoked"
)

// NoSkew as [Config].Skew makes no allowance for clocks that differ.
const NoSkew time.Duration = -1

const (
	defaultSkew = 30 * time.Second
	maxSkew     = 5 * time.Minute
)

// ErrUnavailable reports that a token could not be judged because the issuer's
// keys could not be fetched. The token may be good: answer "try again later" and
// never "sign in again".
var ErrUnavailable = errors.New("signing keys of the issuer are unavailable")

// Config says whose tokens are accepted.
type Config struct {
	// Issuer is the URL of the server that signs the tokens, exactly as it stands in
	// them: with and without a final slash are two issuers. https, or http if the
	// host is this machine. Required.
	Issuer string
	// Audience is the name of this API in the tokens. The zero value means the
	// issuer, which is what the server puts in by default.
	Audience string
	// Skew is how far the clock of the issuer may differ from ours. The zero value
	// means 30 seconds, [NoSkew] none; more than 5 minutes is an error.
	Skew time.Duration
	// JWKSURL is where the issuer's keys are. https, or http if the host is this
	// machine. The zero value means /.well-known/jwks.json under Issuer.
	JWKSURL string
	// FollowRevocations keeps up with what the issuer has revoked, so that tokens of
	// ended sessions are refused within a second instead of when they expire. It takes
	// a goroutine and a connection: see [Verifier.Close]. The zero value follows
	// nothing.
	FollowRevocations bool
	// RevocationsURL is where the issuer's revocations are. https, or http if the host
	// is this machine. The zero value means /auth/revocations under Issuer.
	RevocationsURL string
	// OnFeed is told, one call after the other, when the revocation feed could not be
	// followed any more or told of old things, and when all was well again. It must not
	// block. The zero value tells nobody; [Verifier.FeedStatus] can be asked at any time.
	OnFeed func(FeedStatus)
	// CacheSize is how many good tokens are remembered, so that one that comes again
	// costs no signature. Whether it was revoked is asked every time all the same. They
	// take at most a kilobyte each on average: of larger ones, as with hundreds of
	// permissions, fewer are remembered. The zero value means 10,000, some 10 MB at worst;
	// a negative one remembers none.
	CacheSize int
	// HTTPClient fetches keys and revocations. The zero value means a client of our
	// own. With any client redirects are not followed, and times are bounded; a Timeout
	// of its own does not count for revocations, which are waited for. Without a
	// Transport it is given one that notices within ten seconds that a connection of
	// HTTP/2 is dead. One that it has should do so too, by its HTTP2.SendPingTimeout, or
	// what is revoked may not be heard of for many minutes.
	HTTPClient *http.Client
	// Logger is told when keys or revocations cannot be fetched, while known ones still
	// serve. The zero value means that nobody is.
	Logger *slog.Logger
	// Now is the clock, for tests. The zero value means [time.Now].
	Now func() time.Time
}

// Verifier judges access tokens. Make one with [New] and use it everywhere: it
// is safe for concurrent use, and keys are fetched once for each Verifier. One that
// follows revocations is closed at the end; others need no closing.
type Verifier struct {
	issuer   string
	audience string
	skew     time.Duration
	now      func() time.Time
	keys     *keySource
	cache    *cache          // nil: no token is remembered
	feed     *feed           // nil: revocations are not followed
	own      *http.Transport // nil: the connections are somebody else's
	counters counters
}

// New returns a verifier. It does not wait for the network, so that an API can start
// before its issuer. It returns an error if a field of cfg is not as required.
func New(cfg Config) (*Verifier, error) {
	if err := checkURL(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if strings.ContainsAny(cfg.Issuer, "?#") { // RFC 8414 §2
		return nil, errors.New("issuer: a query or fragment is not allowed")
	}
	if cfg.Audience == "" {
		cfg.Audience = cfg.Issuer
	}
	if cfg.JWKSURL == "" {
		cfg.JWKSURL = strings.TrimSuffix(cfg.Issuer, "/") + "/.well-known/jwks.json"
	}
	if err := checkURL(cfg.JWKSURL); err != nil {
		return nil, fmt.Errorf("JWKS URL: %w", err)
	}
	if cfg.RevocationsURL == "" {
		cfg.RevocationsURL = strings.TrimSuffix(cfg.Issuer, "/") + "/auth/revocations"
	}
	if err := checkURL(cfg.RevocationsURL); err != nil {
		return nil, fmt.Errorf("revocations URL: %w", err)
	}
	switch {
	case cfg.Skew == 0:
		cfg.Skew = defaultSkew
	case cfg.Skew == NoSkew:
		cfg.Skew = 0
	case cfg.Skew < 0 || cfg.Skew > maxSkew:
		return nil, fmt.Errorf("skew: %v is not between 0 and %v", cfg.Skew, maxSkew)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var own *http.Transport
	cfg.HTTPClient, own = clientFor(cfg.HTTPClient)
	v := &Verifier{
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		skew:     cfg.Skew,
		now:      cfg.Now,
		keys:     newKeySource(cfg),
		cache:    newCache(cfg.CacheSize),
		own:      own,
	}
	if cfg.FollowRevocations {
		v.feed = followFeed(cfg, v.keys)
	}
	return v, nil
}

// Close stops following revocations. What is known by then goes on counting, so that
// requests which are under way, and later ones, are judged as before. It may be
// called more than once, and where there is nothing to close.
func (v *Verifier) Close() {
	if v.feed != nil {
		v.feed.close()
	}
	if v.own != nil {
		v.own.CloseIdleConnections()
	}
}

// FeedStatus says how well revocations are followed. It is the zero value where they
// are not.
func (v *Verifier) FeedStatus() FeedStatus {
	if v.feed == nil {
		return FeedStatus{}
	}
	return v.feed.status()
}

// checkURL insists on https. Whoever can change what is fetched over http signs
// tokens at will; on the way to this very machine there is nobody.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL") // the cause quotes it, password and all
	case u.Host == "" || u.User != nil:
		return errors.New("not an absolute URL without user name and password")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("https is required, except for localhost")
	}
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Verify returns who is behind a token. If the keys are not known yet, or the
// token names an unknown one, it waits for them at most 5 seconds and no longer
// than ctx lasts; and as long, once, for the first look at revocations. The slices of
// the identity are shared by all who present the token: do not change them.
//
// It returns [ErrUnavailable] if the token could not be judged, also when ctx
// ends first, and [ErrRevoked] for one that is good in itself. Any other error is one
// of those of [accesstoken.Verify] and means that the token is refused;
// [accesstoken.ErrExpired] is the one that a client mends by a refresh.
//
// If revocations cannot be followed for a while, those that are known go on counting,
// and no token is refused for want of news. [Verifier.VerifyFresh] does.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	found, err := v.look(ctx, token)
	v.counters.count(err)
	if err != nil {
		return Identity{}, err
	}
	return found.identity, nil
}

func (v *Verifier) look(ctx context.Context, token string) (*verified, error) {
	if v.feed != nil {
		if err := v.feed.ready(ctx); err != nil {
			return nil, err
		}
	}
	found, err := v.find(ctx, token)
	if err == nil && v.isRevoked(found) {
		return nil, ErrRevoked
	}
	return found, err
}

// VerifyFresh is [Verifier.Verify] for what must not happen in a session that ended
// more than maxAge ago: it returns [ErrUnavailable] if the revocations that are known
// are older than that. The verifier has to follow them, and [Verifier.KeepWithin]
// makes it ask often enough, which it can for a second or more.
func (v *Verifier) VerifyFresh(ctx context.Context, token string, maxAge time.Duration) (Identity, error) {
	if err := v.checkFresh(ctx, maxAge); err != nil {
		return Identity{}, err
	}
	return v.Verify(ctx, token)
}

// minFresh is the shortest time within which a view can be kept. The issuer reads its
// store four times a second, and half of this is left for the way there and back.
const minFresh = time.Second

// KeepWithin makes the verifier ask for revocations so often that what it knows is no
// older than maxAge, as long as the issuer answers: at least twice in that time. It is
// for the times of [Verifier.VerifyFresh]; [Verifier.RequireFresh] calls it itself. It
// panics if maxAge is less than a second: the view of the issuer itself may be a
// quarter of that old, and most requests would find it too old.
func (v *Verifier) KeepWithin(maxAge time.Duration) {
	if maxAge < minFresh {
		panic("verify: KeepWithin needs a second or more")
	}
	if v.feed != nil {
		v.feed.keepWithin(maxAge)
	}
}

func (v *Verifier) checkFresh(ctx context.Context, maxAge time.Duration) error {
	if v.feed == nil {
		return fmt.Errorf("%w: set FollowRevocations", errStale)
	}
	if err := v.feed.ready(ctx); err != nil {
		return err
	}
	if !v.feed.isFresh(maxAge) {
		return errStale
	}
	return nil
}

// errStale reports a view of the revocations that is older than somebody wants.
var errStale = fmt.Errorf("%w: revocations are not known up to now", ErrUnavailable)

// find returns a token that is good by signature and claims, and what is to be asked
// about it besides.
func (v *Verifier) find(ctx context.Context, token string) (*verified, error) {
	now := v.now()
	// What is too long to be a token is refused unread, and not hashed before that.
	if v.cache == nil || len(token) > accesstoken.MaxSize {
		return v.judge(ctx, token, now)
	}
	name := v.cache.fingerprint(token)
	if found := v.cache.get(name, now); found != nil {
		if _, err := v.keys.get(ctx, found.keyID, now); err == nil {
			v.counters.cached.Add(1)
			return found, nil
		}
	}
	found, err := v.judge(ctx, token, now)
	if err == nil {
		v.cache.put(name, found)
	}
	return found, err
}

// judge verifies a token.
func (v *Verifier) judge(ctx context.Context, token string, now time.Time) (*verified, error) {
	var (
		keyErr error
		id     string
	)
	keys := func(keyID string) (accesstoken.PublicKey, bool) {
		var key accesstoken.PublicKey
		id = keyID
		if v.feed != nil && v.feed.revoked.Has(revoked.Key, keyID) {
			keyErr = ErrRevoked // whoever has been told needs not ask for the keys again
			return key, false
		}
		key, keyErr = v.keys.get(ctx, keyID, now)
		return key, keyErr == nil
	}
	claims, err := accesstoken.Verify(token, keys, accesstoken.Expectation{
		Issuer:   v.issuer,
		Audience: v.audience,
		Now:      now,
		Skew:     v.skew,
	})
	switch {
	case errors.Is(keyErr, ErrUnavailable), errors.Is(keyErr, ErrRevoked):
		return nil, keyErr
	case err != nil:
		return nil, err
	}
	found := &verified{
		identity:  newIdentity(claims),
		keyID:     strings.Clone(id), // and not the token with it
		userEntry: revoked.UserID(v.issuer, claims.Subject, claims.Epoch),
		expiresAt: claims.ExpiresAt.Add(v.skew),
	}
	found.bytes = found.footprint()
	return found, nil
}

// isRevoked asks about session, user and key.
func (v *Verifier) isRevoked(token *verified) bool {
	if v.feed == nil {
		return false
	}
	known := &v.feed.revoked
	return known.Has(revoked.Session, token.identity.SessionID) ||
		known.Has(revoked.User, token.userEntry) ||
		known.Has(revoked.Key, token.keyID)
}
