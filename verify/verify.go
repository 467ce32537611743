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
	// HTTPClient fetches the keys. The zero value means a client of our own. With
	// any client redirects are not followed, and a fetch ends after 5 seconds.
	HTTPClient *http.Client
	// Logger is told when keys cannot be fetched, while known ones still serve. The
	// zero value means that nobody is.
	Logger *slog.Logger
	// Now is the clock, for tests. The zero value means [time.Now].
	Now func() time.Time
}

// Verifier judges access tokens. Make one with [New] and use it everywhere: it
// is safe for concurrent use, and keys are fetched once for each Verifier. It
// needs no closing.
type Verifier struct {
	issuer   string
	audience string
	skew     time.Duration
	now      func() time.Time
	keys     *keySource
}

// New returns a verifier. It does not touch the network, so that an API can start
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
	return &Verifier{
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		skew:     cfg.Skew,
		now:      cfg.Now,
		keys:     newKeySource(cfg),
	}, nil
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
// than ctx lasts.
//
// It returns [ErrUnavailable] if the token could not be judged, also when ctx
// ends first. Any other error is one of those of [accesstoken.Verify] and means
// that the token is refused; [accesstoken.ErrExpired] is the one that a client
// mends by a refresh.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	var keyErr error
	keys := func(keyID string) (accesstoken.PublicKey, bool) {
		var key accesstoken.PublicKey
		key, keyErr = v.keys.get(ctx, keyID)
		return key, keyErr == nil
	}
	claims, err := accesstoken.Verify(token, keys, accesstoken.Expectation{
		Issuer:   v.issuer,
		Audience: v.audience,
		Now:      v.now(),
		Skew:     v.skew,
	})
	switch {
	case errors.Is(keyErr, ErrUnavailable):
		return Identity{}, keyErr
	case err != nil:
		return Identity{}, err
	}
	return newIdentity(claims), nil
}
