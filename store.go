package innkeeper

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Stores are where an [Authority] keeps everything. They are split by role, so
// that sessions can live elsewhere than users. Package storetest is the
// definition of a correct one; store/memory is its shortest example.
//
// The contract that all of them share:
//
//   - Every method is atomic: all of it is written or nothing is. Two calls that
//     race behave as if one had come after the other.
//   - A method returns after its writes are as durable as the store makes any.
//   - The sentinel errors named at a method come back so that [errors.Is] finds
//     them, and mean that nothing was written. Any other error from a writing
//     method means that the outcome is unknown.
//   - A context that ends before the work has begun stops it; once begun, the
//     work is finished. A method never returns the context's error after writing.
//   - Times are kept to the microsecond and come back in UTC; empty lists and maps
//     come back nil.
//   - What a method returns belongs to the caller and is shared with nobody.
//   - An event without a kind is none, and is not logged. Names of roles,
//     permissions and methods are not empty and hold no white space.
type Stores struct {
	Sessions    SessionStore
	Users       UserStore
	Attempts    AttemptStore
	Roles       RoleStore
	Services    ServiceStore
	Events      EventStore
	Revocations RevocationStore
	RootKeys    RootKeyStore
	Issuer      IssuerStore
	Keys        keyring.Store
	Webhooks    WebhookStore
	Deliveries  WebhookDeliveryStore
}

// SessionStore keeps sessions: one row each, for their whole life.
type SessionStore interface {
	// CreateSession stores a session that has just authenticated, and ends the one
	// that it replaces. It returns ErrEpochMoved unless the user exists, is not
	// disabled and has the session's epoch. A replaced session that has ended
	// already is fine.
	CreateSession(ctx context.Context, birth Birth) error

	// RotateSession is the compare-and-swap of a refresh, in one statement: if the
	// session is alive, its current secret has the presented hash, and its user
	// exists, is not disabled and has the session's epoch, then the successor takes
	// its place. It returns the session after the swap and its user. Otherwise it
	// returns ErrNoMatch. Of any number of racing rotations with one presented hash
	// exactly one succeeds.
	RotateSession(ctx context.Context, rotation Rotation) (Session, Subject, error)

	// Session returns a session, ended or not, and its user, nil if deleted. It
	// sees every write that was answered before the call. It returns ErrNotFound.
	Session(ctx context.Context, id SessionID) (Session, *Subject, error)

	// EndSession ends a session and writes the event and the revocation entry. It
	// returns ErrNoMatch if the session does not exist or is over: it has ended, or
	// its user has been deleted or disabled or has another epoch. What has ended once
	// is not ended again for another reason.
	EndSession(ctx context.Context, ending Ending) error

	// Sessions lists a user's live sessions, newest first.
	Sessions(ctx context.Context, query SessionQuery) ([]Session, error)

	// SweepSessions deletes at most limit sessions that ended or expired before the
	// given time, and returns how many it deleted. Several nodes may sweep at once. A
	// store that lets go of sessions by itself has nothing to do.
	SweepSessions(ctx context.Context, before time.Time, limit int) (int, error)
}

// UserStore keeps users.
type UserStore interface {
	// CreateUser stores a user and the event. It returns ErrUsernameTaken or
	// ErrRoleUnknown. Permissions are not stored: roles give them.
	CreateUser(ctx context.Context, user User, event Event) error

	// User returns a user by ID, or ErrNotFound.
	User(ctx context.Context, id UserID) (User, error)

	// UserByUsername returns a user by canonical username, or ErrNotFound.
	UserByUsername(ctx context.Context, username string) (User, error)

	// Users lists users by username, byte by byte.
	Users(ctx context.Context, query UserQuery) ([]User, error)

	// ChangeUser changes a user, the sessions named in the change, and writes the
	// event and the revocation entry. It returns the user after the change (before
	// it, for a deletion), ErrNotFound, ErrEpochMoved if the user's epoch is not
	// IfEpoch, or ErrRoleUnknown. Its cost does not depend on how many sessions the
	// user has.
	ChangeUser(ctx context.Context, change UserChange) (User, error)
}

// AttemptStore counts tries to prove a password, so that all servers of a store slow
// them down together, and a restart forgives none. What the counts mean is not its
// business.
type AttemptStore interface {
	// Attempts returns what is stored under a key, the zero value if nothing is. It sees
	// every write that was answered before the call.
	Attempts(ctx context.Context, key AttemptKey) (Attempts, error)
	// SwapAttempts stores next under a key if what is stored there equals old, which
	// differs from next, and reports whether it has. The zero value, as old, means that
	// nothing is stored, and as next deletes what is. Of any number of racing swaps from
	// the same old exactly one succeeds.
	SwapAttempts(ctx context.Context, key AttemptKey, old, next Attempts) (bool, error)
	// SweepAttempts deletes at most limit counts whose LastAt lies before the given time,
	// and returns how many it deleted.
	SweepAttempts(ctx context.Context, before time.Time, limit int) (int, error)
}

// RoleStore keeps roles. Every store holds [RoleAdmin] from the beginning.
type RoleStore interface {
	// SetRole creates or replaces a role and writes the event.
	SetRole(ctx context.Context, role Role, event Event) error
	// Roles lists all roles by name.
	Roles(ctx context.Context) ([]Role, error)
	// DeleteRole deletes a role, takes it from all users and writes the event. It
	// returns ErrNotFound.
	DeleteRole(ctx context.Context, name string, event Event) error
}

// ServiceStore keeps service credentials.
type ServiceStore interface {
	// CreateService stores a credential and writes the event.
	CreateService(ctx context.Context, service Service, event Event) error
	// Service returns a credential, or ErrNotFound. It sees every write that was
	// answered before the call.
	Service(ctx context.Context, id ServiceID) (Service, error)
	// Services lists all credentials by name, and those of one name by age.
	Services(ctx context.Context) ([]Service, error)
	// NoteServiceUse sets LastUsedAt, unless it is that late already. A credential
	// that does not exist is fine.
	NoteServiceUse(ctx context.Context, id ServiceID, at time.Time) error
	// DeleteService deletes a credential and writes the event. It returns ErrNotFound.
	DeleteService(ctx context.Context, id ServiceID, event Event) error
}

// EventStore keeps the audit log, which is only ever appended to, and forgotten from
// its old end.
type EventStore interface {
	// AppendEvent stores an event that belongs to no other write.
	AppendEvent(ctx context.Context, event Event) error
	// Events returns the events that the query matches, in the order of their Seq. It
	// walks no more of the log than it has to: for one user, session, kind, actor or
	// time it asks an index.
	Events(ctx context.Context, query EventQuery) ([]Event, error)
	// LastEvent returns a Seq up to which the log is complete: no event with it or a
	// smaller one will ever appear besides those that a later call of Events sees. It is
	// that of the last event, unless one that was numbered before it is being written
	// just now. Zero for an empty log.
	LastEvent(ctx context.Context) (int64, error)
	// SweepEvents deletes at most limit events that happened before the given time,
	// and returns how many it deleted. The newest event always stays, so that no Seq is
	// ever given again.
	SweepEvents(ctx context.Context, before time.Time, limit int) (int, error)
}

// RevocationStore keeps the revocation feed.
type RevocationStore interface {
	// Revocations returns at most limit entries with a greater Seq than after, in
	// that order. A reader who has seen an entry never sees a smaller one appear.
	Revocations(ctx context.Context, after int64, limit int) ([]Revocation, error)
	// LastRevocation returns the greatest Seq that was ever given, also to an entry that
	// has been swept since; zero if there was none. A reader who has seen it never sees
	// one appear that is not greater.
	LastRevocation(ctx context.Context) (int64, error)
	// Revoke appends an entry that belongs to no write of another role, and the event
	// with it. If the feed holds an entry of that kind and ID already, it writes no
	// event, which is fine: whoever was told once need not be told again. A session or
	// user entry that is older than the new one by more than [RevocationRenewal] then
	// gives way to it, with a Seq of its own; any other stays as it is.
	Revoke(ctx context.Context, entry Revocation, event Event) error
	// SweepRevocations deletes at most limit session and user entries that were
	// written before the given time, and returns how many it deleted.
	SweepRevocations(ctx context.Context, before time.Time, limit int) (int, error)
}

// RevocationHinter is what a RevocationStore may implement besides, so that servers
// learn of each other's entries within milliseconds. Without it, and whenever a hint
// is lost, they learn of them when they next look, a quarter of a second later at
// most: a hint promises nothing.
type RevocationHinter interface {
	// HintRevocations calls hint whenever another process may have appended an entry,
	// and once after it has begun to listen. It returns nil when ctx ends, and an
	// error when it can no longer listen; the caller tries again after a while. A
	// store that finds out that its engine has no such thing waits for ctx to end.
	HintRevocations(ctx context.Context, hint func()) error
}

// RootKeyStore remembers which root keys belong to the store.
type RootKeyStore interface {
	// RootKeyChecks returns the check values; none for a store that is new.
	RootKeyChecks(ctx context.Context) ([]rootkey.Check, error)
	// AddRootKeyChecks adds those check values that are missing. It returns
	// ErrWrongRootKey if the store has some and none of these: it belongs to others.
	// Of servers that race for a new store with different keys, one wins.
	AddRootKeyChecks(ctx context.Context, checks []rootkey.Check) error
}

// IssuerStore remembers for which issuer the store is served. It goes into the
// revocation entries, so that commands beside a server have to know it.
type IssuerStore interface {
	// Issuer returns what was set last; empty for a store that is new.
	Issuer(ctx context.Context) (string, error)
	// SetIssuer replaces the issuer.
	SetIssuer(ctx context.Context, issuer string) error
}

// WebhookStore keeps webhooks, of which there are few.
type WebhookStore interface {
	// CreateWebhook stores a webhook and writes the event.
	CreateWebhook(ctx context.Context, hook Webhook, event Event) error
	// Webhooks returns all webhooks, by CreatedAt and then ID, each with its NextRetry.
	Webhooks(ctx context.Context) ([]Webhook, error)
	// ChangeWebhook replaces the secrets of a webhook whose secret is the expected one,
	// byte for byte, and writes the event. It returns ErrNoMatch.
	ChangeWebhook(ctx context.Context, change WebhookChange) error
	// DeleteWebhook deletes a webhook and its deliveries, and writes the event. It
	// returns ErrNotFound.
	DeleteWebhook(ctx context.Context, id WebhookID, event Event) error
	// ClaimWebhook gives an owner the lease of a webhook whose lease is over at the time
	// of the claim, and returns the webhook as it is then. It returns ErrNoMatch if
	// somebody has it, also the owner, or there is no such webhook. Of any number of
	// racing claims exactly one succeeds.
	ClaimWebhook(ctx context.Context, claim WebhookClaim) (Webhook, error)
	// AdvanceWebhook replaces the state of a webhook and stores or deletes the delivery
	// that has moved. It returns ErrNoMatch unless the owner was the last one to be given
	// the lease: it does not matter whether that is over, as long as nobody else has it.
	AdvanceWebhook(ctx context.Context, progress WebhookProgress) error
}

// WebhookDeliveryStore keeps the deliveries to webhooks that did not succeed at once, until
// they do. They are written with the progress of their webhook.
type WebhookDeliveryStore interface {
	// Deliveries lists deliveries by NextAt and then ID.
	Deliveries(ctx context.Context, query WebhookDeliveryQuery) ([]WebhookDelivery, error)
	// RetryDeliveries makes deliveries due at a time, whatever their state, as if they
	// had never been tried; lets their webhook rest no more; and writes the event. It
	// returns how many there were; none is fine, and writes no event.
	RetryDeliveries(ctx context.Context, retry WebhookDeliveryRetry) (int, error)
	// SweepDeliveries deletes at most limit deliveries that were given up, and tried last
	// before the given time, and returns how many it deleted.
	SweepDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
}

// Birth is a new session and all that is written with it.
type Birth struct {
	Session  Session
	Replaces *Ending // nil: it replaces none
	Event    Event
}

// Rotation is the compare-and-swap of one refresh.
type Rotation struct {
	SessionID        SessionID
	Presented        SecretHash // must be the current one
	Generation       uint32     // of the successor
	SecretHash       SecretHash // of the successor
	Salt             Salt
	Key              KeyHash // pushed onto RecentKeys; the zero value too
	At               time.Time
	RefreshExpiresAt time.Time // the earlier of this and the session's ExpiresAt is stored
	Client           Client
}

// Apply makes of a session what the rotation stores, but for its RecentKeys, which
// belong to the row. The session needs its ExpiresAt. Times come out as stores keep
// them.
func (r *Rotation) Apply(session *Session) {
	session.Generation = r.Generation
	session.SecretHash = r.SecretHash
	session.Salt = r.Salt
	session.RotatedAt = kept(r.At)
	session.RefreshExpiresAt = earlier(session.ExpiresAt, kept(r.RefreshExpiresAt))
	session.Client = r.Client
}

// kept is a time as stores keep it.
func kept(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// Ending is the end of one session.
type Ending struct {
	SessionID  SessionID
	At         time.Time
	Reason     Reason
	Event      Event
	Revocation Revocation
}

// SessionQuery selects live sessions of one user.
type SessionQuery struct {
	UserID  UserID
	AliveAt time.Time // sessions whose refresh token has expired by then are left out
	After   SessionID // the last one of the page before; the zero value begins, and so does one that was swept
	Limit   int       // at least 1
}

// UserQuery selects users.
type UserQuery struct {
	After string // only usernames that sort after; empty begins
	Limit int    // at least 1
}

// UserChange is one conditional write to a user. Nil fields stay as they are.
type UserChange struct {
	ID      UserID
	IfEpoch Epoch // must be the user's present one
	At      time.Time

	Email        *string
	Roles        *[]string
	PasswordHash *string
	Disabled     *bool
	Delete       bool
	NewEpoch     *EpochReplacement // nil: sessions live on

	Event Event
}

// EpochReplacement ends every session of a user, but for those it names.
type EpochReplacement struct {
	Epoch      Epoch
	Reason     Reason
	Revocation Revocation
	Carry      *SessionID // a live session that goes on under the new epoch; nil: none
	Open       *Session   // a session to create under the new epoch; nil: none
}

// WebhookChange is one conditional write to the secrets of a webhook. Both are replaced.
type WebhookChange struct {
	ID                WebhookID
	IfSecret          []byte // must be the present one
	Secret, OldSecret []byte
	OldSecretUntil    time.Time
	Event             Event
}

// WebhookClaim asks for the lease of a webhook.
type WebhookClaim struct {
	ID    WebhookID
	Owner string // not empty, and nobody else's
	At    time.Time
	Until time.Time
}

// WebhookProgress is what the holder of a lease has done.
type WebhookProgress struct {
	ID    WebhookID
	Owner string
	State WebhookState
	Put   *WebhookDelivery // stored in the place of the one of its ID, if there is one; nil: none
	Done  string           // ID of a delivery that has succeeded; empty: none
}

// WebhookDeliveryQuery selects deliveries. The zero value of a field selects all.
type WebhookDeliveryQuery struct {
	WebhookID WebhookID
	State     WebhookDeliveryState
	DueAt     time.Time        // NextAt is not after it
	After     *WebhookDelivery // the last one of the page before; nil begins
	Limit     int              // at least 1
}

// WebhookDeliveryRetry selects deliveries of one webhook.
type WebhookDeliveryRetry struct {
	WebhookID WebhookID
	ID        string // empty: all that were given up
	At        time.Time
	Event     Event
}
