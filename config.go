package innkeeper

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Limits and defaults of a [Policy].
const (
	defaultAccessTTL  = 15 * time.Minute
	minAccessTTL      = 5 * time.Second
	maxAccessTTL      = time.Hour
	defaultIdleTTL    = 14 * 24 * time.Hour
	defaultSessionTTL = 30 * 24 * time.Hour
	maxRefreshLeeway  = time.Minute

	defaultKeyRotation = 30 * 24 * time.Hour
	minKeyRotation     = 24 * time.Hour
)

// pageSize bounds every list.
const pageSize = 100

// Policy holds the times by which sessions live. Idle and absolute limits are
// both always on (NIST SP 800-63B section 7.2).
type Policy struct {
	// AccessTTL is the life of an access token: 5 seconds to 1 hour. The zero value
	// means 15 minutes.
	AccessTTL time.Duration
	// IdleTTL is how long a refresh token may lie unused. The zero value means 14
	// days.
	IdleTTL time.Duration
	// SessionTTL is the absolute end of a session, counted from the sign-in. The
	// zero value means 30 days.
	SessionTTL time.Duration
	// RefreshLeeway lets a client that sends no idempotency key repeat a refresh
	// for so long after the rotation, at most 1 minute and a second less than
	// AccessTTL. Inside it a stolen parent
	// token of such a client goes unnoticed: leave it at the zero value, off,
	// unless a client cannot send keys.
	RefreshLeeway time.Duration
}

// WithDefaults returns the policy with its zero values filled in, or an
// [*InputError] that names the flag to correct.
func (p Policy) WithDefaults() (Policy, error) {
	if p.AccessTTL == 0 {
		p.AccessTTL = defaultAccessTTL
	}
	if p.IdleTTL == 0 {
		p.IdleTTL = defaultIdleTTL
	}
	if p.SessionTTL == 0 {
		p.SessionTTL = defaultSessionTTL
	}
	switch {
	case p.AccessTTL < minAccessTTL || p.AccessTTL > maxAccessTTL:
		return p, &InputError{Field: "access-ttl", Detail: fmt.Sprintf("choose %s to %s", minAccessTTL, maxAccessTTL)}
	case p.IdleTTL < p.AccessTTL:
		return p, &InputError{Field: "refresh-idle-ttl", Detail: "choose at least the access-ttl"}
	case p.SessionTTL < p.IdleTTL:
		return p, &InputError{Field: "session-ttl", Detail: "choose at least the refresh-idle-ttl"}
	case p.RefreshLeeway < 0 || p.RefreshLeeway > maxRefreshLeeway || p.RefreshLeeway > p.AccessTTL-time.Second:
		// A replay within the leeway gives what is left of the first access token, which
		// must be something.
		return p, &InputError{Field: "refresh-leeway", Detail: fmt.Sprintf("choose 0 to %s, and a second less than the access-ttl", maxRefreshLeeway)}
	}
	return p, nil
}

// Config is what it takes to open an [Authority].
type Config struct {
	// Issuer is the public URL of the server and the `iss` of every token. Required;
	// no query, no fragment and no slash at the end, since verifiers compare it
	// byte by byte.
	Issuer string
	// Audience is the `aud` of every access token. The zero value means the issuer.
	Audience []string
	// Stores hold everything. Required, every one of them.
	Stores Stores
	// RootKeys is the secret that lives outside the stores. Required.
	RootKeys rootkey.Ring
	// Clock tells the time. Required: time.Now, or a clock that a test moves.
	Clock func() time.Time
	// Policy holds the times. Its zero value holds the defaults.
	Policy Policy
	// Algorithm is that of signing keys made from now on. The zero value means
	// ES256.
	Algorithm accesstoken.Algorithm
	// KeyRotationPeriod is how long a signing key signs before [Authority.Run] lets the
	// next one do it: 24 hours or more. The zero value means 30 days; a negative one
	// turns it off, and leaves it to [Authority.RotateKeys].
	KeyRotationPeriod time.Duration
	// Visiting is for commands beside servers, which do not know the settings of those.
	// A visitor makes no signing keys, but for one that has to sign at once in an
	// emergency, and a store that knows a root key does not learn of another one from
	// it: that is how servers show that they have it. A store without signing keys is
	// fine, as long as nothing is signed. The zero value is a server.
	Visiting bool
	// Passwords bounds and tunes password hashing. Its zero value is argon2id with
	// the parameters that OWASP recommends.
	Passwords password.Config
	// PasswordPolicy says which new passwords are accepted. Its zero value asks for
	// 8 characters; its ServiceNames are those in the issuer's host if they are nil.
	PasswordPolicy password.Policy
	// SignInLimits says by what failed sign-ins are counted and slowed down. The zero
	// value means by account and by network: tell the addresses of clients rightly, or
	// all of them share the patience of one network.
	SignInLimits SignInLimits
	// RefreshLimit is how many refreshes one session may do at once, and in each minute,
	// at one server: at most 60,000. The zero value means 60; a negative one turns it off.
	RefreshLimit int
	// SignupOpen lets anyone create a user. The zero value leaves that to operators.
	SignupOpen bool
	// Webhooks carries events to those who asked for them; package webhook has one. The
	// zero value leaves that to other servers of the stores.
	Webhooks WebhookSender
	// Observe is called after each event has been written, or could not be; of those that
	// are counted when they happen, or not at all, as docs/events.md says. It must not
	// block. The zero value observes nothing.
	Observe func(ctx context.Context, event Event)
}

// rotationPeriod is KeyRotationPeriod with its default; zero is off.
func (c *Config) rotationPeriod() (time.Duration, error) {
	switch period := c.KeyRotationPeriod; {
	case period < 0:
		return 0, nil
	case period == 0:
		return defaultKeyRotation, nil
	case period < minKeyRotation:
		return 0, &InputError{Field: "key-rotation-period", Detail: fmt.Sprintf("choose %s or more, or turn it off", minKeyRotation)}
	default:
		return period, nil
	}
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil || issuer[len(issuer)-1] == '/' {
		return &InputError{Field: "issuer", Detail: "give the public URL, like https://auth.example.com, without a slash at the end"}
	}
	return nil
}
