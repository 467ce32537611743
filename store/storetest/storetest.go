// Package storetest is the definition of a correct store. Each store runs it
// against its real engine:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) innkeeper.Stores { return open(t) })
//	}
//
// What a store promises is written at [innkeeper.Stores]; each promise is one
// test here, contention included.
//
// What an engine's own tests need too is here once: the users, sessions and
// rotations that every store is given ([NewUser], [NewSession], [Successor]), several
// servers that start on one database ([OpenAtOnce]), and the benchmarks.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// Trait is what a store does differently from others, and may.
type Trait string

// LetsGoByItself is the trait of a store that forgets a session some time after it
// has ended or expired, whether or not anybody sweeps.
const LetsGoByItself Trait = "lets go of sessions by itself"

// RefusesTornNames is the trait of a store that joins names of roles, permissions and
// methods by spaces, and so has to refuse one that it would tear apart. The others
// need not look: no authority gives them such a name.
const RefusesTornNames Trait = "refuses names with white space"

// KeepsOnlyUnicode is the trait of a store that keeps U+FFFD in the place of a zero
// byte, and of what is no UTF-8.
const KeepsOnlyUnicode Trait = "keeps only Unicode, without zeros"

// Run tests the stores that open returns. Each call of open must return new,
// empty ones, which live until the test ends.
func Run(t *testing.T, open func(t *testing.T) innkeeper.Stores, traits ...Trait) {
	tests := append([]test{
		{"CreateSession", testCreateSession},
		{"SessionRoundTrip", testSessionRoundTrip},
		{"RotateSession", testRotateSession},
		{"RotateSession/RefusesTheDead", testRotateRefusesTheDead},
		{"RotateSession/RecentKeys", testRotateRecentKeys},
		{"RotateSession/ReturnsWhatIsStored", testRotateReturnsWhatIsStored},
		{"EndSession", testEndSession},
		{"EndSession/Once", testEndSessionOnce},
		{"Sessions", testSessions},
		{"SweepSessions", testSweepSessions},
		{"Users", testUsers},
		{"ChangeUser", testChangeUser},
		{"ChangeUser/NewEpoch", testNewEpoch},
		{"ChangeUser/Delete", testDeleteUser},
		{"SwapAttempts", testSwapAttempts},
		{"SweepAttempts", testSweepAttempts},
		{"Roles", testRoles},
		{"Roles/DeletedForGood", testDeletedRole},
		{"Services", testServices},
		{"Services/NoteUse", testNoteServiceUse},
		{"Names/OfEveryKind", testNamesOfEveryKind},
		{"Names/WithSpaces", testNamesWithSpaces},
		{"Revocations", testRevocations},
		{"Revoke", testRevoke},
		{"RevokeAgain", testRevokeAgain},
		{"HintRevocations", testHintRevocations},
		{"RootKeyChecks", testRootKeyChecks},
		{"Issuer", testIssuer},
		{"SigningKeys", testSigningKeys},
		{"MoveSigningKeys", testMoveSigningKeys},
		{"MoveSigningKeys/AllOrNothing", testMoveSigningKeysRefuses},
		{"RewrapSigningKey", testRewrapSigningKey},
		{"CancelledContext", testCancelledContext},
		{"ClockExtremes", testClockExtremes},
		{"Contention/OneRotationWins", testOneRotationWins},
		{"Contention/ManySessions", testManySessions},
		{"Contention/RotateAgainstEnd", testRotateAgainstEnd},
		{"Contention/RotateAgainstCarry", testRotateAgainstCarry},
		{"Contention/EpochMovesOnce", testEpochMovesOnce},
		{"Contention/OneRootKeyWins", testOneRootKeyWins},
		{"Contention/FeedHasNoHoles", testFeedHasNoHoles},
		{"Contention/RevokeOnce", testRevokeOnce},
		{"Contention/AttemptsUnderFire", testAttemptsUnderFire},
		{"Contention/OneRemovalWins", testOneRemovalWins},
		{"Contention/OneMoveWins", testOneMoveWins},
		{"Contention/KeysRotateOnce", testKeysRotateOnce},
		{"Contention/KeysUnderFire", testKeysUnderFire},
		{"Contention/AllKeysUnderFire", testAllKeysUnderFire},
	}, logTests()...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, &suite{Stores: open(t), t: t, traits: traits})
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, s *suite)
}

// logTests are those of the audit log, and of those who are told of it.
func logTests() []test {
	return []test{
		{"Events", testEvents},
		{"Events/Filters", testEventFilters},
		{"Events/Times", testEventTimes},
		{"SweepEvents", testSweepEvents},
		{"Webhooks", testWebhooks},
		{"ChangeWebhook", testChangeWebhook},
		{"ClaimWebhook", testClaimWebhook},
		{"AdvanceWebhook", testAdvanceWebhook},
		{"Deliveries", testDeliveries},
		{"RetryDeliveries", testRetryDeliveries},
		{"SweepDeliveries", testSweepDeliveries},
		{"Contention/FollowedEvents", testFollowedEvents},
		{"Contention/OneClaimWins", testOneClaimWins},
	}
}

// suite is one test's stores and what it takes to fill them.
type suite struct {
	innkeeper.Stores
	t      *testing.T
	traits []Trait
}

func (s *suite) has(trait Trait) bool { return slices.Contains(s.traits, trait) }

// Start is a moment with microseconds, which stores must keep, far from what the
// clock of any server says.
var Start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_000, time.UTC)

func (s *suite) ctx() context.Context { return s.t.Context() }

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) wantErr(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("got error %v, want %v", err, want)
	}
}

// same compares what a store returned with what it was given. Empty lists come
// back nil.
func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// random fills an ID, hash or salt.
func random[T ~[8]byte | ~[16]byte | ~[32]byte]() T {
	var out T
	rand.Read(reflect.ValueOf(&out).Elem().Bytes())
	return out
}

// browser is a client as wide as they are in production.
var browser = innkeeper.Client{
	Addr:      netip.MustParseAddr("2001:db8::7"),
	UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
}

// NewUser returns a user that is not stored yet. What it holds is as wide as in
// production, as in [NewSession] and [Successor], so that rows can be measured.
func NewUser(name string, roles ...string) innkeeper.User {
	hash := random[[32]byte]()
	return innkeeper.User{
		Subject: innkeeper.Subject{
			ID:       random[innkeeper.UserID](),
			Username: name,
			Email:    name + "@example.com",
			Epoch:    random[innkeeper.Epoch](),
			Roles:    roles,
		},
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + base64.RawStdEncoding.EncodeToString(hash[:]),
		CreatedAt:    Start,
		UpdatedAt:    Start,
	}
}

// user stores a new user.
func (s *suite) user(name string, roles ...string) innkeeper.User {
	s.t.Helper()
	user := NewUser(name, roles...)
	s.must(s.Users.CreateUser(s.ctx(), user, event(innkeeper.EventUserCreated, user.ID)))
	return user
}

// NewSession returns a session of the user that began at [Start] and is not stored
// yet.
func NewSession(user innkeeper.User) innkeeper.Session {
	return innkeeper.Session{
		ID:               random[innkeeper.SessionID](),
		UserID:           user.ID,
		Epoch:            user.Epoch,
		Delivery:         innkeeper.DeliverByCookie,
		Device:           "Ada's telephone ☎",
		Client:           browser,
		Methods:          []string{"pwd", "otp"},
		CreatedAt:        Start,
		ExpiresAt:        Start.Truncate(time.Second).Add(30 * 24 * time.Hour),
		Generation:       1,
		SecretHash:       random[innkeeper.SecretHash](),
		RotatedAt:        Start,
		RefreshExpiresAt: Start.Truncate(time.Second).Add(14 * 24 * time.Hour),
	}
}

// session stores a new session of the user.
func (s *suite) session(user innkeeper.User) innkeeper.Session {
	s.t.Helper()
	session := NewSession(user)
	s.must(s.Stores.Sessions.CreateSession(s.ctx(), birth(session)))
	return session
}

// Create stores a user and a session of theirs, and logs neither.
func Create(t testing.TB, stores innkeeper.Stores, user innkeeper.User, session innkeeper.Session) {
	t.Helper()
	if err := stores.Users.CreateUser(t.Context(), user, innkeeper.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := stores.Sessions.CreateSession(t.Context(), innkeeper.Birth{Session: session}); err != nil {
		t.Fatal(err)
	}
}

func birth(session innkeeper.Session) innkeeper.Birth {
	e := event(innkeeper.EventSessionStarted, session.UserID)
	e.SessionID = session.ID
	return innkeeper.Birth{Session: session, Event: e}
}

// Successor returns the next rotation of a session, by the same client.
func Successor(session innkeeper.Session, at time.Time) innkeeper.Rotation {
	return innkeeper.Rotation{
		SessionID:        session.ID,
		Presented:        session.SecretHash,
		Generation:       session.Generation + 1,
		SecretHash:       random[innkeeper.SecretHash](),
		Salt:             random[innkeeper.Salt](),
		Key:              random[innkeeper.KeyHash](),
		At:               at,
		RefreshExpiresAt: at.Truncate(time.Second).Add(14 * 24 * time.Hour),
		Client:           session.Client,
	}
}

// rotation returns the next rotation of a session, a minute after the last, by
// another client.
func rotation(session innkeeper.Session) innkeeper.Rotation {
	r := Successor(session, session.RotatedAt.Add(time.Minute))
	r.Client = innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: "curl/8"}
	return r
}

// rotated is what a session must be after a rotation.
func rotated(session innkeeper.Session, r innkeeper.Rotation) innkeeper.Session {
	session.Generation = r.Generation
	session.SecretHash = r.SecretHash
	session.Salt = r.Salt
	session.RecentKeys = session.RecentKeys.Push(r.Key)
	session.RotatedAt = r.At
	session.RefreshExpiresAt = r.RefreshExpiresAt
	if session.ExpiresAt.Before(session.RefreshExpiresAt) {
		session.RefreshExpiresAt = session.ExpiresAt
	}
	session.Client = r.Client
	return session
}

func ending(session innkeeper.Session, reason innkeeper.Reason) innkeeper.Ending {
	at := session.RotatedAt.Add(time.Minute)
	e := event(innkeeper.EventSessionEnded, session.UserID)
	e.SessionID, e.Reason = session.ID, reason
	return innkeeper.Ending{
		SessionID:  session.ID,
		At:         at,
		Reason:     reason,
		Event:      e,
		Revocation: innkeeper.Revocation{At: at, Kind: innkeeper.RevokedSession, ID: session.ID.String()},
	}
}

func event(kind innkeeper.EventKind, user innkeeper.UserID) innkeeper.Event {
	return innkeeper.Event{At: Start, Kind: kind, Actor: innkeeper.ActorOperator, UserID: user}
}

// newEpoch returns a change that replaces the user's epoch.
func newEpoch(user innkeeper.User, reason innkeeper.Reason) innkeeper.UserChange {
	at := Start.Add(time.Hour)
	e := event(innkeeper.EventSessionsEnded, user.ID)
	e.Reason = reason
	return innkeeper.UserChange{
		ID: user.ID, IfEpoch: user.Epoch, At: at, Event: e,
		NewEpoch: &innkeeper.EpochReplacement{
			Epoch:  random[innkeeper.Epoch](),
			Reason: reason,
			Revocation: innkeeper.Revocation{
				At: at, Kind: innkeeper.RevokedUser,
				ID: innkeeper.UserRevocationID("https://auth.example", user.ID, user.Epoch),
			},
		},
	}
}

func (s *suite) stored(id innkeeper.SessionID) innkeeper.Session {
	s.t.Helper()
	session, _, err := s.Stores.Sessions.Session(s.ctx(), id)
	s.must(err)
	return session
}

func (s *suite) storedUser(id innkeeper.UserID) innkeeper.User {
	s.t.Helper()
	user, err := s.Users.User(s.ctx(), id)
	s.must(err)
	return user
}

func (s *suite) events() []innkeeper.Event {
	s.t.Helper()
	events, err := s.Events.Events(s.ctx(), innkeeper.EventQuery{Limit: 1000})
	s.must(err)
	return events
}

func (s *suite) feed() []innkeeper.Revocation {
	s.t.Helper()
	feed, err := s.Revocations.Revocations(s.ctx(), 0, 1000)
	s.must(err)
	return feed
}
