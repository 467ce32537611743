package innkeeper

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// SessionID names a session for its whole life: the `sid` of its access tokens.
type SessionID [16]byte

func newSessionID() SessionID {
	var id SessionID
	drawID(id[:])
	return id
}

// drawID fills an ID with random bytes whose spelling does not begin with a
// hyphen, so that on a command line it is never taken for a flag. That costs a
// fiftieth of one bit of 128.
func drawID(id []byte) {
	const hyphen = 62 // in the alphabet of base64url, six bits a character
	for {
		rand.Read(id)
		if id[0]>>2 != hyphen {
			return
		}
	}
}

// ParseSessionID reads what [SessionID.String] printed. It returns
// [ErrNotFound] for anything else, since no such session can exist.
func ParseSessionID(text string) (SessionID, error) {
	var id SessionID
	return id, parseID(id[:], text)
}

// String returns 22 characters of base64url.
func (id SessionID) String() string { return tokenEncoding.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// parseID fills id from its one canonical spelling.
func parseID(id []byte, text string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(id) || len(text) != tokenEncoding.EncodedLen(len(id)) {
		return ErrNotFound
	}
	copy(id, raw)
	return nil
}

// Delivery says how a session's refresh token travels. It is chosen at sign-in,
// stands in every token of the session and never changes, so that no script can
// talk a cookie session into showing its token in a body.
type Delivery string

// The deliveries. There is no zero delivery: an empty one is refused.
const (
	DeliverByCookie Delivery = "cookie" // HttpOnly, for browsers
	DeliverByBody   Delivery = "body"   // in JSON, for native apps and servers
)

// Valid reports whether d is one of the deliveries.
func (d Delivery) Valid() bool { return d == DeliverByCookie || d == DeliverByBody }

// Reason says why a session ended.
type Reason string

// The reasons. The zero value means that the session has not ended.
const (
	ReasonLogout           Reason = "logout"
	ReasonLogoutEverywhere Reason = "logout_everywhere"
	ReasonPasswordChanged  Reason = "password_changed"
	ReasonReuse            Reason = "reuse"
	ReasonExpired          Reason = "expired"
	ReasonAdmin            Reason = "admin"
	ReasonUserDisabled     Reason = "user_disabled"
	ReasonReplaced         Reason = "replaced"
	ReasonRestored         Reason = "restored"
)

// Valid reports whether r is one of the reasons.
func (r Reason) Valid() bool {
	switch r {
	case ReasonLogout, ReasonLogoutEverywhere, ReasonPasswordChanged, ReasonReuse, ReasonExpired,
		ReasonAdmin, ReasonUserDisabled, ReasonReplaced, ReasonRestored:
		return true
	}
	return false
}

// Client is what a request tells about the device that sent it. It is kept to
// show people their own sessions and to describe a theft; no decision rests on
// it, since all of it can be forged or change on a train.
type Client struct {
	Addr      netip.Addr // zero value: unknown
	UserAgent string     // at most 256 bytes are kept
}

// Session is one sign-in on one device: one row for its whole life. The
// literature calls it a token family.
//
// All times are UTC. RefreshExpiresAt and ExpiresAt are whole seconds.
type Session struct {
	ID       SessionID
	UserID   UserID
	Epoch    Epoch // the session lives only while this is the user's
	Delivery Delivery
	Device   string   // a name that the person gave; may be empty
	Client   Client   // of the latest rotation
	Methods  []string // how the person authenticated (RFC 8176): the `amr` claim

	CreatedAt time.Time // when the person authenticated: the `auth_time` of its access tokens
	ExpiresAt time.Time // absolute end: no refresh moves it

	Generation       uint32     // of the current refresh token; starts at 1
	SecretHash       SecretHash // of the current refresh token; meaningless once ended
	Salt             Salt       // of the latest rotation
	RecentKeys       RecentKeys // idempotency keys of the latest rotations
	RotatedAt        time.Time  // of the latest rotation; CreatedAt before the first
	RefreshExpiresAt time.Time  // of the current refresh token

	EndedAt time.Time // zero while the session lives
	Reason  Reason    // why it ended; empty while it lives
}

// Ended reports whether the session itself was ended. A session can also be
// over because its user's epoch has moved; see [Session.aliveFor].
func (s *Session) Ended() bool { return !s.EndedAt.IsZero() }

// aliveFor says whether the session may still act for its user, and if not,
// why. A nil user has been deleted.
func (s *Session) aliveFor(user *Subject) (Reason, bool) {
	switch {
	case s.Ended():
		return s.Reason, false
	case user == nil:
		return ReasonAdmin, false
	case user.Disabled:
		return ReasonUserDisabled, false
	case user.Epoch != s.Epoch:
		return user.EpochReason, false
	}
	return "", true
}

// Sessions lists the live sessions of a user, newest first. A page holds at
// most 100 of them; page on with after = the last one's ID.
func (a *Authority) Sessions(ctx context.Context, user UserID, after SessionID) ([]Session, error) {
	sessions, err := a.stores.Sessions.Sessions(ctx, SessionQuery{
		UserID: user, AliveAt: a.now(), After: after, Limit: pageSize,
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list sessions: %w", err))
	}
	return sessions, nil
}

// EndOwnSession ends one of the caller's sessions, this one or another. A
// session that has ended already is fine; one that is not the caller's does not
// exist for them: [ErrNotFound].
func (a *Authority) EndOwnSession(ctx context.Context, caller *Caller, id SessionID, client Client) error {
	session, alive, err := a.session(ctx, id)
	if err != nil {
		return err
	}
	if session.UserID != caller.Subject.ID {
		return ErrNotFound
	}
	if !alive {
		return nil
	}
	return unlessEnded(a.end(ctx, session, ReasonLogout, Event{
		Kind: EventSessionEnded, Actor: caller.actor(), Client: client.bounded(),
	}))
}

// EndSession ends any one session on behalf of an administrator. It returns
// [ErrNotFound] if there is no such session, and nil if it has ended before.
func (a *Authority) EndSession(ctx context.Context, id SessionID, reason Reason, by By) error {
	session, alive, err := a.session(ctx, id)
	if err != nil || !alive {
		return err
	}
	return unlessEnded(a.end(ctx, session, reason, Event{Kind: EventSessionEnded}.signed(by)))
}

// session returns a session and whether it is alive. It returns [ErrNotFound].
func (a *Authority) session(ctx context.Context, id SessionID) (session *Session, alive bool, err error) {
	stored, user, err := a.stores.Sessions.Session(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, false, ErrNotFound
	case err != nil:
		return nil, false, unavailable(fmt.Errorf("read session: %w", err))
	}
	_, alive = stored.aliveFor(user)
	return &stored, alive, nil
}

// end writes the end of one session: the row, the event and the revocation
// entry, in one transaction. It returns [ErrNoMatch] if the session is over
// already.
func (a *Authority) end(ctx context.Context, session *Session, reason Reason, event Event) error {
	ending := a.ending(session, reason, event)
	err := a.stores.Sessions.EndSession(ctx, ending)
	if errors.Is(err, ErrNoMatch) {
		return ErrNoMatch
	}
	if err != nil {
		return unavailable(fmt.Errorf("end session: %w", err))
	}
	a.feed.wrote(ending.Revocation)
	a.observe(ctx, ending.Event)
	return nil
}

// unlessEnded makes ending what has ended a success.
func unlessEnded(err error) error {
	if errors.Is(err, ErrNoMatch) {
		return nil
	}
	return err
}

func (a *Authority) ending(session *Session, reason Reason, event Event) Ending {
	now := a.now()
	event.At = now
	event.UserID = session.UserID
	event.SessionID = session.ID
	event.Reason = reason
	return Ending{
		SessionID:  session.ID,
		At:         now,
		Reason:     reason,
		Event:      event,
		Revocation: Revocation{At: now, Kind: RevokedSession, ID: session.ID.String()},
	}
}

// arrival is what a session is born with besides its user.
type arrival struct {
	delivery Delivery
	device   string
	client   Client
	methods  []string
	authTime time.Time // when the person proved who they are; zero value: now
}

// open prepares a session that has just authenticated, with its first refresh
// token. It lives only under the epoch that was read together with the proof. Its
// absolute end is counted from the proof.
func (a *Authority) open(user *Subject, in arrival) (Session, RefreshToken) {
	now := a.now()
	if in.authTime.IsZero() {
		in.authTime = now
	}
	first := newSecret()
	session := Session{
		ID:         newSessionID(),
		UserID:     user.ID,
		Epoch:      user.Epoch,
		Delivery:   in.delivery,
		Device:     in.device,
		Client:     in.client.bounded(),
		Methods:    in.methods,
		CreatedAt:  in.authTime,
		ExpiresAt:  wholeSeconds(in.authTime.Add(a.policy.SessionTTL)),
		Generation: 1,
		SecretHash: first.hash(),
		RotatedAt:  now,
	}
	session.RefreshExpiresAt = earlier(session.ExpiresAt, wholeSeconds(now.Add(a.policy.IdleTTL)))
	return session, mint(a.roots.Active(), &session, first)
}

// byPassword is how most people authenticate (RFC 8176 section 2).
func byPassword() []string { return []string{"pwd"} }

const maxUserAgent = 256

// bounded cuts what a stranger sends to what a row may hold, and drops what could move
// a cursor, begin a line or turn the direction of a text wherever it is shown (OWASP
// ASVS 16.4.1).
func (c Client) bounded() Client {
	if len(c.UserAgent) > maxUserAgent {
		c.UserAgent = c.UserAgent[:maxUserAgent]
	}
	c.UserAgent = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(c.UserAgent, ""))
	return c
}

// wholeSeconds drops what a token's expiry cannot express.
func wholeSeconds(t time.Time) time.Time { return t.Truncate(time.Second) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
