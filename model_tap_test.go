package innkeeper_test

import (
	"context"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// tap sits between an authority and its real store. It counts the calls, and
// lets a test do something of its own just before one.
type tap struct {
	mu     sync.Mutex
	calls  map[string]int
	before map[string]func() error
}

func newTap() *tap { return &tap{calls: make(map[string]int), before: make(map[string]func() error)} }

// call counts a call. An error means that the store must not be asked.
func (t *tap) call(method string) error {
	t.mu.Lock()
	t.calls[method]++
	hook := t.before[method]
	delete(t.before, method)
	t.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook()
}

// once runs hook before the next call of a method. If it returns an error, that
// is what the store answers.
func (t *tap) once(method string, hook func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before[method] = hook
}

// always is once for every call.
func (t *tap) always(method string, hook func() error) {
	t.once(method, func() error { t.always(method, hook); return hook() })
}

// forget returns the calls since it was last asked, and starts anew without
// hooks.
func (t *tap) forget() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := t.calls
	t.calls, t.before = make(map[string]int), make(map[string]func() error)
	return calls
}

func (t *tap) on(s innkeeper.Stores) innkeeper.Stores {
	return innkeeper.Stores{
		Sessions: tappedSessions{t, s.Sessions}, Users: tappedUsers{t, s.Users}, Roles: tappedRoles{t, s.Roles},
		Services: tappedServices{t, s.Services}, Events: tappedEvents{t, s.Events}, Revocations: tappedRevocations{t, s.Revocations},
		RootKeys: tappedRootKeys{t, s.RootKeys}, Issuer: tappedIssuer{t, s.Issuer}, Keys: tappedKeys{t, s.Keys},
		Webhooks: tappedWebhooks{s.Webhooks, t}, Deliveries: s.Deliveries, Attempts: tappedAttempts{t, s.Attempts},
	}
}

// tapped asks the tap before the store.
func tapped[T any](t *tap, method string, ask func() (T, error)) (T, error) {
	if err := t.call(method); err != nil {
		var none T
		return none, err
	}
	return ask()
}

func tappedWrite(t *tap, method string, write func() error) error {
	if err := t.call(method); err != nil {
		return err
	}
	return write()
}

type tappedSessions struct {
	tap   *tap
	store innkeeper.SessionStore
}

func (s tappedSessions) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	return tappedWrite(s.tap, "CreateSession", func() error { return s.store.CreateSession(ctx, birth) })
}

func (s tappedSessions) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	if err := s.tap.call("RotateSession"); err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, err
	}
	session, subject, err := s.store.RotateSession(ctx, r)
	if lost := s.tap.call("RotateSession/answer"); lost != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, lost
	}
	return session, subject, err
}

func (s tappedSessions) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	if err := s.tap.call("Session"); err != nil {
		return innkeeper.Session{}, nil, err
	}
	return s.store.Session(ctx, id)
}

func (s tappedSessions) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	return tappedWrite(s.tap, "EndSession", func() error { return s.store.EndSession(ctx, ending) })
}

func (s tappedSessions) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	return tapped(s.tap, "Sessions", func() ([]innkeeper.Session, error) { return s.store.Sessions(ctx, query) })
}

func (s tappedSessions) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	return tapped(s.tap, "SweepSessions", func() (int, error) { return s.store.SweepSessions(ctx, before, limit) })
}

type tappedUsers struct {
	tap   *tap
	store innkeeper.UserStore
}

func (s tappedUsers) CreateUser(ctx context.Context, user innkeeper.User, event innkeeper.Event) error {
	return tappedWrite(s.tap, "CreateUser", func() error { return s.store.CreateUser(ctx, user, event) })
}

func (s tappedUsers) User(ctx context.Context, id innkeeper.UserID) (innkeeper.User, error) {
	return tapped(s.tap, "User", func() (innkeeper.User, error) { return s.store.User(ctx, id) })
}

func (s tappedUsers) UserByUsername(ctx context.Context, username string) (innkeeper.User, error) {
	return tapped(s.tap, "UserByUsername", func() (innkeeper.User, error) { return s.store.UserByUsername(ctx, username) })
}

func (s tappedUsers) Users(ctx context.Context, query innkeeper.UserQuery) ([]innkeeper.User, error) {
	return tapped(s.tap, "Users", func() ([]innkeeper.User, error) { return s.store.Users(ctx, query) })
}

func (s tappedUsers) ChangeUser(ctx context.Context, change innkeeper.UserChange) (innkeeper.User, error) {
	return tapped(s.tap, "ChangeUser", func() (innkeeper.User, error) { return s.store.ChangeUser(ctx, change) })
}

type tappedRoles struct {
	tap   *tap
	store innkeeper.RoleStore
}

func (s tappedRoles) SetRole(ctx context.Context, role innkeeper.Role, event innkeeper.Event) error {
	return tappedWrite(s.tap, "SetRole", func() error { return s.store.SetRole(ctx, role, event) })
}

func (s tappedRoles) Roles(ctx context.Context) ([]innkeeper.Role, error) {
	return tapped(s.tap, "Roles", func() ([]innkeeper.Role, error) { return s.store.Roles(ctx) })
}

func (s tappedRoles) DeleteRole(ctx context.Context, name string, event innkeeper.Event) error {
	return tappedWrite(s.tap, "DeleteRole", func() error { return s.store.DeleteRole(ctx, name, event) })
}

type tappedServices struct {
	tap   *tap
	store innkeeper.ServiceStore
}

func (s tappedServices) CreateService(ctx context.Context, service innkeeper.Service, event innkeeper.Event) error {
	return tappedWrite(s.tap, "CreateService", func() error { return s.store.CreateService(ctx, service, event) })
}

func (s tappedServices) Service(ctx context.Context, id innkeeper.ServiceID) (innkeeper.Service, error) {
	return tapped(s.tap, "Service", func() (innkeeper.Service, error) { return s.store.Service(ctx, id) })
}

func (s tappedServices) Services(ctx context.Context) ([]innkeeper.Service, error) {
	return tapped(s.tap, "Services", func() ([]innkeeper.Service, error) { return s.store.Services(ctx) })
}

func (s tappedServices) NoteServiceUse(ctx context.Context, id innkeeper.ServiceID, at time.Time) error {
	return tappedWrite(s.tap, "NoteServiceUse", func() error { return s.store.NoteServiceUse(ctx, id, at) })
}

func (s tappedServices) DeleteService(ctx context.Context, id innkeeper.ServiceID, event innkeeper.Event) error {
	return tappedWrite(s.tap, "DeleteService", func() error { return s.store.DeleteService(ctx, id, event) })
}

type tappedEvents struct {
	tap   *tap
	store innkeeper.EventStore
}

func (s tappedEvents) AppendEvent(ctx context.Context, event innkeeper.Event) error {
	return tappedWrite(s.tap, "AppendEvent", func() error { return s.store.AppendEvent(ctx, event) })
}

func (s tappedEvents) Events(ctx context.Context, query innkeeper.EventQuery) ([]innkeeper.Event, error) {
	return tapped(s.tap, "Events", func() ([]innkeeper.Event, error) { return s.store.Events(ctx, query) })
}

func (s tappedEvents) LastEvent(ctx context.Context) (int64, error) {
	return tapped(s.tap, "LastEvent", func() (int64, error) { return s.store.LastEvent(ctx) })
}

func (s tappedEvents) SweepEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return tapped(s.tap, "SweepEvents", func() (int, error) { return s.store.SweepEvents(ctx, before, limit) })
}

type tappedRevocations struct {
	tap   *tap
	store innkeeper.RevocationStore
}

func (s tappedRevocations) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	return tapped(s.tap, "Revocations", func() ([]innkeeper.Revocation, error) { return s.store.Revocations(ctx, after, limit) })
}

func (s tappedRevocations) LastRevocation(ctx context.Context) (int64, error) {
	return tapped(s.tap, "LastRevocation", func() (int64, error) { return s.store.LastRevocation(ctx) })
}

func (s tappedRevocations) Revoke(ctx context.Context, entry innkeeper.Revocation, event innkeeper.Event) error {
	return tappedWrite(s.tap, "Revoke", func() error { return s.store.Revoke(ctx, entry, event) })
}

func (s tappedRevocations) SweepRevocations(ctx context.Context, before time.Time, limit int) (int, error) {
	return tapped(s.tap, "SweepRevocations", func() (int, error) { return s.store.SweepRevocations(ctx, before, limit) })
}

type tappedRootKeys struct {
	tap   *tap
	store innkeeper.RootKeyStore
}

func (s tappedRootKeys) RootKeyChecks(ctx context.Context) ([]rootkey.Check, error) {
	return tapped(s.tap, "RootKeyChecks", func() ([]rootkey.Check, error) { return s.store.RootKeyChecks(ctx) })
}

func (s tappedRootKeys) AddRootKeyChecks(ctx context.Context, checks []rootkey.Check) error {
	return tappedWrite(s.tap, "AddRootKeyChecks", func() error { return s.store.AddRootKeyChecks(ctx, checks) })
}

type tappedIssuer struct {
	tap   *tap
	store innkeeper.IssuerStore
}

func (s tappedIssuer) Issuer(ctx context.Context) (string, error) {
	return tapped(s.tap, "Issuer", func() (string, error) { return s.store.Issuer(ctx) })
}

func (s tappedIssuer) SetIssuer(ctx context.Context, issuer string) error {
	return tappedWrite(s.tap, "SetIssuer", func() error { return s.store.SetIssuer(ctx, issuer) })
}

type tappedKeys struct {
	tap   *tap
	store keyring.Store
}

func (s tappedKeys) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	return tapped(s.tap, "SigningKeys", func() ([]keyring.Record, error) { return s.store.SigningKeys(ctx) })
}

func (s tappedKeys) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	return tappedWrite(s.tap, "InitSigningKeys", func() error { return s.store.InitSigningKeys(ctx, records) })
}

func (s tappedKeys) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	return tappedWrite(s.tap, "MoveSigningKeys", func() error { return s.store.MoveSigningKeys(ctx, moves) })
}

func (s tappedKeys) RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error {
	return tappedWrite(s.tap, "RewrapSigningKey", func() error { return s.store.RewrapSigningKey(ctx, keyID, old, wrapped) })
}

// tappedWebhooks is tapped where a server notes what it has delivered.
type tappedWebhooks struct {
	innkeeper.WebhookStore
	tap *tap
}

func (s tappedWebhooks) AdvanceWebhook(ctx context.Context, progress innkeeper.WebhookProgress) error {
	return tappedWrite(s.tap, "AdvanceWebhook", func() error { return s.WebhookStore.AdvanceWebhook(ctx, progress) })
}

type tappedAttempts struct {
	tap   *tap
	store innkeeper.AttemptStore
}

func (s tappedAttempts) Attempts(ctx context.Context, key innkeeper.AttemptKey) (innkeeper.Attempts, error) {
	return tapped(s.tap, "Attempts", func() (innkeeper.Attempts, error) { return s.store.Attempts(ctx, key) })
}

func (s tappedAttempts) SwapAttempts(ctx context.Context, key innkeeper.AttemptKey, old, next innkeeper.Attempts) (bool, error) {
	return tapped(s.tap, "SwapAttempts", func() (bool, error) { return s.store.SwapAttempts(ctx, key, old, next) })
}

func (s tappedAttempts) SweepAttempts(ctx context.Context, before time.Time, limit int) (int, error) {
	return tapped(s.tap, "SweepAttempts", func() (int, error) { return s.store.SweepAttempts(ctx, before, limit) })
}
