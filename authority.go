package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/revoked"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Authority is the front desk: it checks who people are, opens, refreshes and
// ends their sessions, and manages users. Make one with [Open] and let it
// [Authority.Run]; it holds no state of its own besides copies of the signing keys
// and of the revocation feed, and how fast sessions refresh, so any number of them may share a store. It is safe
// for concurrent use.
type Authority struct {
	issuer   string
	audience []string
	stores   Stores
	roots    rootkey.Ring
	keys     *keyring.Ring
	rewraps  bool // signing keys are to be wrapped under our own root key once
	hasher   *password.Hasher
	rules    password.Policy
	policy   Policy
	clock    func() time.Time
	signup   bool
	observer func(ctx context.Context, event Event)
	feed     feed
	failures failures           // to sign in
	refusals failures           // of tries that came too early
	refused  chan refusedSignIn // not counted yet
	limits   SignInLimits
	courier  WebhookSender // nil: somebody else delivers

	takenNames failures // that sign-ups have found
	intrusions failures // of people who are no administrators

	refreshes                    refreshLimit
	firstLine                    allowance[UserID]
	serviceUses, serviceRefusals pace
}

// Open returns an Authority over the given stores. On a store that is new it
// remembers the root keys and creates the first signing keys. It returns
// [ErrWrongRootKey] for a store that was made under another root key, and an
// [*InputError] for a configuration that cannot work.
func Open(ctx context.Context, cfg Config) (*Authority, error) {
	if cfg.Clock == nil {
		return nil, &InputError{Field: "clock", Detail: "give time.Now"}
	}
	if err := checkIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	policy, err := cfg.Policy.WithDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.PasswordPolicy.Validate(); err != nil {
		return nil, fmt.Errorf("password policy: %w", err)
	}
	hasher, err := password.New(cfg.Passwords)
	if err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	period, err := cfg.rotationPeriod()
	if err != nil {
		return nil, err
	}
	known, err := claimStore(ctx, cfg.Stores.RootKeys, cfg.RootKeys, cfg.Visiting)
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Open(ctx, keyring.Config{
		Store:          cfg.Stores.Keys,
		RootKeys:       cfg.RootKeys,
		Algorithm:      cfg.Algorithm,
		RotationPeriod: period,
		LeaveNewKeys:   cfg.Visiting,
	}, cfg.Clock().UTC().Truncate(time.Microsecond))
	if err != nil {
		return nil, fmt.Errorf("open signing keys: %w", err)
	}
	a := &Authority{
		issuer:   cfg.Issuer,
		audience: slices.Clone(cfg.Audience),
		stores:   cfg.Stores,
		roots:    cfg.RootKeys,
		keys:     keys,
		rewraps:  known,
		hasher:   hasher,
		rules:    cfg.PasswordPolicy,
		policy:   policy,
		clock:    cfg.Clock,
		signup:   cfg.SignupOpen,
		observer: cfg.Observe,
		courier:  cfg.Webhooks,
		refused:  make(chan refusedSignIn, maxRefusedUnknown),
	}
	a.feed.init()
	if err := a.fillIn(&cfg); err != nil {
		return nil, err
	}
	return a, nil
}

// fillIn sets what has a default.
func (a *Authority) fillIn(cfg *Config) (err error) {
	if a.rules.ServiceNames == nil {
		a.rules.ServiceNames = serviceNames(cfg.Issuer)
	}
	if len(a.audience) == 0 {
		a.audience = []string{a.issuer}
	}
	a.firstLine.perMinute(firstLinePerMinute)
	if a.limits, err = cfg.SignInLimits.withDefault(); err != nil {
		return err
	}
	return a.refreshes.perMinute(cfg.RefreshLimit)
}

// claimStore makes sure that the store and the root keys belong together, before
// anything is read from the one with the other. It reports whether the store knew
// the active root key before: then some server has started with it, as all are to
// do before it mints.
func claimStore(ctx context.Context, store RootKeyStore, ring rootkey.Ring, visiting bool) (activeKnown bool, err error) {
	known, err := store.RootKeyChecks(ctx)
	if err != nil {
		return false, fmt.Errorf("read root key checks: %w", err)
	}
	var ours []rootkey.Check
	for _, key := range ring.All() {
		ours = append(ours, key.Check())
	}
	missing := func(check rootkey.Check) bool { return !slices.Contains(known, check) }
	found := slices.ContainsFunc(ours, func(check rootkey.Check) bool { return !missing(check) })
	if found && (visiting || !slices.ContainsFunc(ours, missing)) {
		return !missing(ours[0]), nil // as at every start but the first: nothing is written
	}
	switch err := store.AddRootKeyChecks(ctx, ours); {
	case errors.Is(err, ErrWrongRootKey):
		return false, ErrWrongRootKey
	case err != nil:
		return false, fmt.Errorf("remember root keys: %w", err)
	}
	return len(ours) > 0 && !missing(ours[0]), nil
}

// Issuer returns the `iss` of every token.
func (a *Authority) Issuer() string { return a.issuer }

// JWKS returns the public signing keys as a JWK Set (RFC 7517 section 5).
func (a *Authority) JWKS() []byte { return a.keys.JWKS() }

// Ready reports whether the stores answer, keys can sign, and [Authority.Run] has
// read the revocation feed. Its error matches [ErrUnavailable].
func (a *Authority) Ready(ctx context.Context) error {
	if !a.feed.isRead() {
		return unavailable(errFeedUnread)
	}
	if _, err := a.stores.RootKeys.RootKeyChecks(ctx); err != nil {
		return unavailable(fmt.Errorf("ask the store: %w", err))
	}
	if err := a.keys.Ready(ctx, a.now()); err != nil {
		return unavailable(err)
	}
	// Sessions may live elsewhere. Nobody has the zero ID.
	if _, _, err := a.stores.Sessions.Session(ctx, SessionID{}); err != nil && !errors.Is(err, ErrNotFound) {
		return unavailable(fmt.Errorf("ask the store of sessions: %w", err))
	}
	return nil
}

// now is the authority's time, to the microsecond that stores keep.
func (a *Authority) now() time.Time { return a.clock().UTC().Truncate(time.Microsecond) }

func (a *Authority) observe(ctx context.Context, event Event) {
	if a.observer != nil && event.Kind != "" {
		a.observer(ctx, event)
	}
}

// ClientID is the `client_id` of every access token (RFC 9068 section 2.2). The
// apps that sign people in here are all first-party and share it.
const ClientID = "innkeeper"

// Grant is what a sign-in or a refresh hands out.
type Grant struct {
	AccessToken      string
	ExpiresIn        time.Duration // remaining life of the access token, in whole seconds as in the token
	RefreshToken     RefreshToken
	RefreshExpiresIn time.Duration // remaining life of the refresh token
	Session          Session
	Subject          Subject
	// Device is for the device that has signed in with a password, to be shown at its next
	// sign-in. The zero value for every other grant.
	Device          DeviceToken
	DeviceExpiresIn time.Duration
}

// grant signs an access token as of issuedAt and puts the pair together. No
// access token outlives the absolute end of its session.
func (a *Authority) grant(ctx context.Context, session *Session, user *Subject, refresh RefreshToken, issuedAt, now time.Time) (*Grant, error) {
	expiresAt := earlier(session.ExpiresAt, wholeSeconds(issuedAt.Add(a.policy.AccessTTL)))
	if !now.Before(expiresAt) || !now.Before(session.RefreshExpiresAt) {
		// Nothing is left to give: this is the very last second of the session, or the
		// replay of a successor that has expired, since the idle limit was lowered.
		return nil, ErrRefreshTokenExpired
	}
	token, err := a.keys.Sign(ctx, accesstoken.Claims{
		Issuer:      a.issuer,
		Subject:     user.ID.String(),
		SessionID:   session.ID.String(),
		Audience:    a.audience,
		ExpiresAt:   expiresAt,
		IssuedAt:    issuedAt,
		AuthTime:    session.CreatedAt,
		ID:          newTokenID(),
		ClientID:    ClientID,
		AuthMethods: session.Methods,
		Epoch:       session.Epoch.String(),
		Username:    user.Username,
		Email:       user.Email,
		Roles:       user.Roles,
		Permissions: user.Permissions,
	}, now)
	if err != nil {
		return nil, unavailable(fmt.Errorf("sign access token: %w", err))
	}
	return &Grant{
		AccessToken:      token,
		ExpiresIn:        expiresAt.Sub(wholeSeconds(now)),
		RefreshToken:     refresh,
		RefreshExpiresIn: session.RefreshExpiresAt.Sub(wholeSeconds(now)),
		Session:          *session,
		Subject:          *user,
	}, nil
}

// newTokenID returns a random `jti`.
func newTokenID() string { return newSessionID().String() }

// Caller is who sent an access token: a live session and its user, as the store
// has them now and not as the token remembers them.
type Caller struct {
	Subject Subject
	Session Session
}

func (c *Caller) actor() Actor { return UserActor(c.Subject.ID) }

// UserActor names a signed-in person in an event.
func UserActor(id UserID) Actor { return Actor("user:" + id.String()) }

// Authenticate returns who sent an access token. Unlike a verifier in an API,
// which works offline, it asks the store whether the session is alive. It returns
// [ErrAccessTokenInvalid], [ErrAccessTokenExpired], [ErrAccessTokenRevoked], or an
// error that matches [ErrUnavailable].
func (a *Authority) Authenticate(ctx context.Context, token string) (*Caller, error) {
	_, caller, err := a.authenticate(ctx, token)
	return caller, err
}

// authenticate is Authenticate, with what the token itself says.
func (a *Authority) authenticate(ctx context.Context, token string) (*accesstoken.Claims, *Caller, error) {
	now := a.now()
	if err := a.keys.Fresh(ctx, now); err != nil {
		return nil, nil, unavailable(err)
	}
	var keyID string
	claims, err := accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
		keyID = id
		return a.keys.PublicKey(id)
	}, accesstoken.Expectation{Issuer: a.issuer, Audience: a.audience[0], Now: now})
	switch {
	case keyID != "" && (a.feed.revoked.Has(revoked.Key, keyID) || a.keys.Distrusts(keyID)):
		return nil, nil, ErrAccessTokenRevoked // its honest tokens are to be refreshed, as in Check
	case errors.Is(err, accesstoken.ErrExpired):
		return nil, nil, ErrAccessTokenExpired
	case err != nil:
		return nil, nil, ErrAccessTokenInvalid
	}
	id, err := ParseSessionID(claims.SessionID)
	if err != nil {
		return nil, nil, ErrAccessTokenInvalid
	}
	session, user, err := a.stores.Sessions.Session(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil, ErrAccessTokenRevoked
	case err != nil:
		return nil, nil, unavailable(fmt.Errorf("read session: %w", err))
	}
	// A session that was carried to another epoch is alive, but this token, made
	// under the old one, is in the revocation feed and refused everywhere.
	if _, alive := session.aliveFor(user); !alive || claims.Epoch != session.Epoch.String() {
		return nil, nil, ErrAccessTokenRevoked
	}
	return &claims, &Caller{Subject: *user, Session: session}, nil
}
