package innkeeper

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// ServiceID names a service credential.
type ServiceID [16]byte

func newServiceID() ServiceID {
	var id ServiceID
	drawID(id[:])
	return id
}

// ParseServiceID reads what [ServiceID.String] printed. It returns [ErrNotFound]
// for anything else, since no such credential can exist.
func ParseServiceID(text string) (ServiceID, error) {
	var id ServiceID
	return id, parseID(id[:], text)
}

// String returns 22 characters of base64url.
func (id ServiceID) String() string { return tokenEncoding.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (id ServiceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ServiceScope is something that a service may do.
type ServiceScope string

// The scopes. There is no zero scope: an empty one is refused.
const (
	ScopeAdmin          ServiceScope = "admin"           // all that the role admin may do, and all scopes below
	ScopeEventsRead     ServiceScope = "events:read"     // read the audit log
	ScopeIntrospect     ServiceScope = "introspect"      // ask whether tokens are good
	ScopeSessionsCreate ServiceScope = "sessions:create" // open sessions for people it has authenticated, administrators excepted
	ScopeSessionsEnd    ServiceScope = "sessions:end"    // end sessions
	ScopeUsersRead      ServiceScope = "users:read"      // read users, their sessions and roles
)

// ServiceScopes returns all scopes.
func ServiceScopes() []ServiceScope {
	return []ServiceScope{ScopeAdmin, ScopeEventsRead, ScopeIntrospect, ScopeSessionsCreate, ScopeSessionsEnd, ScopeUsersRead}
}

// Service is one credential by which a program of yours calls us. Several may have
// one name: that is how a secret is replaced without a gap.
type Service struct {
	ID         ServiceID
	Name       string         // the client_id of OAuth; see [Authority.AddService] for what may stand in it
	Scopes     []ServiceScope // sorted; none: it may say who it is, and nothing else
	SecretHash SecretHash     // of the secret; the store keeps nothing else of it
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute or so; zero if it never was
}

// Allows reports whether the credential holds a scope, or [ScopeAdmin].
func (s *Service) Allows(scope ServiceScope) bool {
	return slices.Contains(s.Scopes, scope) || slices.Contains(s.Scopes, ScopeAdmin)
}

// Actor names the service in an event.
func (s *Service) Actor() Actor { return Actor("service:" + s.Name) }

// ServiceSecretPrefix begins every secret of a service, so that secret scanners
// find leaked ones.
const ServiceSecretPrefix = "iks_"

// Layout of a secret after its prefix, in bytes:
//
//	credential id 16 | secret 32 | checksum 4
//
// The checksum, of everything before it, keeps garbage and typing errors from the
// store. It is no signature: one under the root key would have to be made anew
// whenever that is replaced, by everybody who holds a secret.
const (
	offsetServiceSecret   = 16
	offsetServiceChecksum = offsetServiceSecret + 32
	serviceSecretSize     = offsetServiceChecksum + 4
)

// ServiceSecret is what a service shows. It prints as "iks_[redacted]" wherever it
// is printed; [ServiceSecret.Reveal] is the only way to its text. The zero value is
// no secret.
type ServiceSecret struct {
	_      [0]func() // not comparable: == would compare addresses
	id     ServiceID
	secret concealed
	text   concealed
}

func newServiceSecret(id ServiceID) ServiceSecret {
	s := newSecret()
	raw := slices.Concat(id[:], s[:])
	raw = append(raw, serviceChecksum(raw)...)
	return ServiceSecret{
		id: id, secret: conceal(string(s[:])), text: conceal(ServiceSecretPrefix + tokenEncoding.EncodeToString(raw)),
	}
}

// ParseServiceSecret returns the secret that the text spells, or
// [ErrServiceInvalid]. Each has exactly one spelling. It says nothing about whether
// such a credential exists.
func ParseServiceSecret(text string) (ServiceSecret, error) {
	encoded, ok := strings.CutPrefix(text, ServiceSecretPrefix)
	if !ok || len(encoded) != tokenEncoding.EncodedLen(serviceSecretSize) || strings.ContainsAny(encoded, "\r\n") {
		return ServiceSecret{}, ErrServiceInvalid
	}
	raw, err := tokenEncoding.DecodeString(encoded)
	if err != nil || string(serviceChecksum(raw[:offsetServiceChecksum])) != string(raw[offsetServiceChecksum:]) {
		return ServiceSecret{}, ErrServiceInvalid
	}
	return ServiceSecret{
		id:     ServiceID(raw[:offsetServiceSecret]),
		secret: conceal(string(raw[offsetServiceSecret:offsetServiceChecksum])),
		text:   conceal(text),
	}, nil
}

func serviceChecksum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:serviceSecretSize-offsetServiceChecksum]
}

func (s ServiceSecret) hash() SecretHash { return sha256.Sum256([]byte(s.secret.reveal())) }

// Reveal returns the text, to hand it to whoever asked for it. MUST NOT be logged.
func (s ServiceSecret) Reveal() string { return s.text.reveal() }

const redactedServiceSecret = ServiceSecretPrefix + "[redacted]"

// String returns a placeholder, as do the methods below: printing a secret by
// accident shows nothing.
func (s ServiceSecret) String() string { return redactedServiceSecret }

// GoString implements [fmt.GoStringer].
func (s ServiceSecret) GoString() string { return redactedServiceSecret }

// Format implements [fmt.Formatter] for every verb.
func (s ServiceSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedServiceSecret)) }

// LogValue implements [slog.LogValuer].
func (s ServiceSecret) LogValue() slog.Value { return slog.StringValue(redactedServiceSecret) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (s ServiceSecret) MarshalText() ([]byte, error) { return []byte(redactedServiceSecret), nil }

// serviceNamePattern leaves out the colon, at which HTTP Basic cuts.
var serviceNamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// AddService makes a credential and returns its secret, which nobody can look up
// again. A name that has credentials already gets one more: give the new secret to
// the service, and remove the old credential. It returns an [*InputError] for a name
// that is not 1 to 64 of a-z 0-9 . _ - or is the client_id of the apps, and for a
// scope that does not exist.
func (a *Authority) AddService(ctx context.Context, name string, scopes []ServiceScope, by By) (*Service, ServiceSecret, error) {
	if !serviceNamePattern.MatchString(name) || name == ClientID {
		return nil, ServiceSecret{}, &InputError{
			Field: "name", Detail: "use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit; " + ClientID + " itself is taken",
		}
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	for _, scope := range scopes {
		if !slices.Contains(ServiceScopes(), scope) {
			return nil, ServiceSecret{}, &InputError{Field: "scopes", Detail: "choose among " + joinScopes(ServiceScopes())}
		}
	}
	secret := newServiceSecret(newServiceID())
	service := &Service{ID: secret.id, Name: name, Scopes: scopes, SecretHash: secret.hash(), CreatedAt: a.now()}
	event := a.serviceEvent(EventServiceAdded, service, by)
	if err := a.stores.Services.CreateService(ctx, *service, event); err != nil {
		return nil, ServiceSecret{}, unavailable(fmt.Errorf("add service: %w", err))
	}
	a.observe(ctx, event)
	return service, secret, nil
}

// Services lists all service credentials by name, the oldest of a name first.
func (a *Authority) Services(ctx context.Context) ([]Service, error) {
	services, err := a.stores.Services.Services(ctx)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list services: %w", err))
	}
	return services, nil
}

// RemoveService revokes a credential: from now on nobody is let in with it. It
// returns [ErrNotFound].
func (a *Authority) RemoveService(ctx context.Context, id ServiceID, by By) error {
	service, err := a.stores.Services.Service(ctx, id)
	var event Event
	if err == nil {
		event = a.serviceEvent(EventServiceRemoved, &service, by)
		err = a.stores.Services.DeleteService(ctx, id, event)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return unavailable(fmt.Errorf("remove service: %w", err))
	}
	a.observe(ctx, event)
	return nil
}

func (a *Authority) serviceEvent(kind EventKind, service *Service, by By) Event {
	return Event{At: a.now(), Kind: kind, Detail: map[string]string{
		"service": service.Name, "credential": service.ID.String(), "scopes": joinScopes(service.Scopes),
	}}.signed(by)
}

func joinScopes(scopes []ServiceScope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, " ")
}

// ServiceLogin is what a program shows to say which service it is.
type ServiceLogin struct {
	Name   string // that the program claims; empty: it claims none
	Secret string
	Client Client
}

// AuthenticateService returns the service whose secret is shown. The store is asked
// each time: removing a credential is felt at once. It returns [ErrServiceInvalid]
// alike for a secret that nobody has, one that was removed and one of another name;
// or an error that matches [ErrUnavailable].
func (a *Authority) AuthenticateService(ctx context.Context, login ServiceLogin) (*Service, error) {
	secret, err := ParseServiceSecret(login.Secret)
	if err != nil {
		return nil, err // garbage: it is worth neither a look nor a line
	}
	service, err := a.stores.Services.Service(ctx, secret.id)
	switch {
	case errors.Is(err, ErrNotFound):
		a.refuseService(ctx, &Service{}, "unknown or removed", login.Client)
		return nil, ErrServiceInvalid
	case err != nil:
		return nil, unavailable(fmt.Errorf("read service: %w", err))
	}
	hash := secret.hash()
	switch {
	case subtle.ConstantTimeCompare(hash[:], service.SecretHash[:]) != 1:
		a.refuseService(ctx, &Service{}, "unknown or removed", login.Client)
		return nil, ErrServiceInvalid
	case login.Name != "" && login.Name != service.Name:
		a.refuseService(ctx, &service, "another name", login.Client)
		return nil, ErrServiceInvalid
	}
	a.noteServiceUse(ctx, &service)
	return &service, nil
}

// AuthorizeService returns [ErrServiceScope] unless the service holds a scope.
func (a *Authority) AuthorizeService(ctx context.Context, service *Service, scope ServiceScope, client Client) error {
	if service.Allows(scope) {
		return nil
	}
	a.refuseService(ctx, service, "needs the scope "+string(scope), client)
	return ErrServiceScope
}

// serviceInterval is how often at most a credential's last use is written, and a
// refusal logged.
const serviceInterval = time.Minute

// noteServiceUse notes when a credential was used last, so that people see which
// ones nobody needs. Most uses write nothing, and one that could not be noted is a
// use all the same.
func (a *Authority) noteServiceUse(ctx context.Context, service *Service) {
	now := a.now()
	age := now.Sub(service.LastUsedAt)
	if (0 <= age && age < serviceInterval) || !a.serviceUses.due(service.ID, now) {
		return
	}
	_ = a.stores.Services.NoteServiceUse(ctx, service.ID, now) // see above
	service.LastUsedAt = now
}

// refuseService tells of a credential that was turned away: one that was removed and
// is in use, or one that somebody tries to do more with than it may. It logs one
// such event a minute for each credential, and one for all unknown ones: strangers
// must not be able to fill the audit log.
func (a *Authority) refuseService(ctx context.Context, service *Service, why string, client Client) {
	event := Event{
		At: a.now(), Kind: EventServiceRefused, Client: client.bounded(), Detail: map[string]string{"why": why},
	}
	if service.Name != "" {
		event.Actor = service.Actor()
		event.Detail["credential"] = service.ID.String()
	}
	if a.serviceRefusals.due(service.ID, event.At) {
		_ = a.stores.Events.AppendEvent(ctx, event) // the refusal stands, logged or not
	}
	a.observe(ctx, event)
}

// pace says of each credential whether something is due again. The zero value is
// ready. It grows with the credentials that exist, and with nothing that a stranger
// sends.
type pace struct {
	mu   sync.Mutex
	last map[ServiceID]time.Time
}

func (p *pace) due(id ServiceID, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.last[id]
	if age := now.Sub(last); known && 0 <= age && age < serviceInterval {
		return false
	}
	if p.last == nil {
		p.last = make(map[ServiceID]time.Time)
	}
	p.last[id] = now
	return true
}
