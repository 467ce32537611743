package innkeeper_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

var someService = innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.9"), UserAgent: "mailer/1"}

func (i *inn) addService(name string, scopes ...innkeeper.ServiceScope) (*innkeeper.Service, string) {
	i.t.Helper()
	service, secret, err := i.AddService(ctx, name, scopes, innkeeper.ActorOperator)
	i.must(err)
	return service, secret.Reveal()
}

func (i *inn) knock(secret string) (*innkeeper.Service, error) {
	return i.AuthenticateService(ctx, innkeeper.ServiceLogin{Secret: secret, Client: someService})
}

func TestServiceLife(t *testing.T) {
	i := openInn(t)
	old, oldSecret := i.addService("web", innkeeper.ScopeUsersRead, innkeeper.ScopeIntrospect, innkeeper.ScopeIntrospect)
	i.clock.advance(time.Second)
	fresh, freshSecret := i.addService("web", innkeeper.ScopeIntrospect)
	if !reflect.DeepEqual(old.Scopes, []innkeeper.ServiceScope{innkeeper.ScopeIntrospect, innkeeper.ScopeUsersRead}) || old.ID == fresh.ID {
		t.Errorf("added %+v and %+v", old, fresh)
	}
	// Two secrets of one name are good side by side: that is how one is replaced.
	for secret, want := range map[string]*innkeeper.Service{oldSecret: old, freshSecret: fresh} {
		for _, name := range []string{"", "web"} {
			got, err := i.AuthenticateService(ctx, innkeeper.ServiceLogin{Name: name, Secret: secret})
			if err != nil || got.ID != want.ID || got.Actor() != "service:web" {
				t.Errorf("as %q: %+v, %v", name, got, err)
			}
		}
	}
	i.must(i.RemoveService(ctx, old.ID, innkeeper.ActorOperator))
	i.want(i.RemoveService(ctx, old.ID, innkeeper.ActorOperator), innkeeper.ErrNotFound)
	_, err := i.knock(oldSecret)
	i.want(err, innkeeper.ErrServiceInvalid)
	_, err = i.knock(freshSecret)
	i.must(err)
	services, err := i.Services(ctx)
	i.must(err)
	if len(services) != 1 || services[0].ID != fresh.ID {
		t.Errorf("left are %+v", services)
	}
	got := kinds(i.events())
	want := []innkeeper.EventKind{
		innkeeper.EventServiceAdded, innkeeper.EventServiceAdded, innkeeper.EventServiceRemoved, innkeeper.EventServiceRefused,
	}
	if !slices.Equal(got[len(got)-len(want):], want) || !slices.Equal(kinds(i.observed.events), got) {
		t.Errorf("logged %v, observed %v", got, kinds(i.observed.events))
	}
}

func TestServiceNamesAndScopes(t *testing.T) {
	i := openInn(t)
	var input *innkeeper.InputError
	// The name of the apps is taken; a colon would be cut by HTTP Basic.
	for _, name := range []string{"", "innkeeper", "Web", "a:b", "a b", "-a", strings.Repeat("a", 65)} {
		if _, _, err := i.AddService(ctx, name, nil, innkeeper.ActorOperator); !errors.As(err, &input) || input.Field != "name" {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, _, err := i.AddService(ctx, "web", []innkeeper.ServiceScope{"everything"}, innkeeper.ActorOperator); !errors.As(err, &input) || input.Field != "scopes" {
		t.Errorf("unknown scope: %v", err)
	}
	none, _ := i.addService("none")
	admin, _ := i.addService("admin", innkeeper.ScopeAdmin)
	reader, _ := i.addService("reader", innkeeper.ScopeUsersRead)
	for _, scope := range innkeeper.ServiceScopes() {
		if none.Allows(scope) || !admin.Allows(scope) || reader.Allows(scope) != (scope == innkeeper.ScopeUsersRead) {
			t.Errorf("scope %s: %v %v %v", scope, none.Allows(scope), admin.Allows(scope), reader.Allows(scope))
		}
	}
	i.must(i.AuthorizeService(ctx, reader, innkeeper.ScopeUsersRead, someService))
	i.want(i.AuthorizeService(ctx, reader, innkeeper.ScopeAdmin, someService), innkeeper.ErrServiceScope)
}

// Garbage never reaches the store, and what has the right checksum and is not ours
// reaches it with one read.
// TestServiceSecretsThatAreNone is what there is of T26: guesses at 256 bits need no limit,
// and those that are no secret at all cost the store nothing.
func TestServiceSecretsThatAreNone(t *testing.T) {
	i := openInn(t)
	_, secret := i.addService("web", innkeeper.ScopeAdmin)
	_, removed := i.addService("gone", innkeeper.ScopeAdmin)
	services, err := i.Services(ctx)
	i.must(err)
	i.must(i.RemoveService(ctx, services[0].ID, innkeeper.ActorOperator))
	last := secret[len(secret)-1:]
	for name, text := range map[string]string{
		"nothing": "", "the prefix": "iks_", "another prefix": "ikr_" + secret[4:], "upper case": strings.ToUpper(secret[:4]) + secret[4:],
		"cut": secret[:len(secret)-1], "longer": secret + "A", "a line break": secret[:20] + "\n" + secret[21:],
		"padding": secret[:len(secret)-1] + "=", "the other alphabet": secret[:len(secret)-1] + "+",
		"a typing error": secret[:10] + map[bool]string{true: "A", false: "B"}[secret[10] != 'A'] + secret[11:],
		"stray bits":     secret[:len(secret)-1] + string(rune(last[0]+1)),
		"a space":        " " + secret,
	} {
		i.tap.forget()
		_, err := i.knock(text)
		if calls := i.tap.forget(); !errors.Is(err, innkeeper.ErrServiceInvalid) || len(calls) != 0 {
			t.Errorf("%s: %v, and the store was asked %v", name, err, calls)
		}
	}
	i.tap.forget()
	for range 3 {
		_, err := i.knock(removed)
		i.want(err, innkeeper.ErrServiceInvalid)
	}
	// One event a minute, however many strangers knock.
	if calls := i.tap.forget(); calls["Service"] != 3 || calls["AppendEvent"] != 1 {
		t.Errorf("the store was asked %v", calls)
	}
	_, err = i.AuthenticateService(ctx, innkeeper.ServiceLogin{Name: "gone", Secret: secret, Client: someService})
	i.want(err, innkeeper.ErrServiceInvalid)
	refused := i.events()[len(i.events())-1]
	if refused.Actor != "service:web" || refused.Kind != innkeeper.EventServiceRefused || refused.Client != someService || refused.Detail["why"] == "" {
		t.Errorf("logged %+v", refused)
	}
}

func TestServiceUseIsNotedOnceAMinute(t *testing.T) {
	i := openInn(t)
	service, secret := i.addService("web", innkeeper.ScopeIntrospect)
	beside := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys)) // another server, and one that was started again
	uses := func(n int) int {
		i.t.Helper()
		i.tap.forget()
		beside.tap.forget()
		for range n {
			_, err := i.knock(secret)
			i.must(err)
			_, err = beside.knock(secret)
			i.must(err)
		}
		return i.tap.forget()["NoteServiceUse"] + beside.tap.forget()["NoteServiceUse"]
	}
	used := func() time.Time {
		i.t.Helper()
		stored, err := i.store.Service(ctx, service.ID)
		i.must(err)
		return stored.LastUsedAt
	}
	if n := uses(50); n != 1 || !used().Equal(opening) {
		t.Errorf("100 uses wrote %d times, and the last one was at %s", n, used())
	}
	i.clock.advance(time.Minute - time.Microsecond)
	if n := uses(50); n != 0 {
		t.Errorf("uses within a minute wrote %d times", n)
	}
	i.clock.advance(time.Microsecond)
	if n := uses(50); n != 1 || !used().Equal(opening.Add(time.Minute)) {
		t.Errorf("uses after a minute wrote %d times, and the last one was at %s", n, used())
	}
}

// A store that does not answer is no verdict on a credential, and one that cannot
// note a use does not keep a service out.
func TestServiceStoreAway(t *testing.T) {
	i := openInn(t)
	_, secret := i.addService("web", innkeeper.ScopeIntrospect)
	away := func() error { return errors.New("the store is away") }
	i.tap.once("Service", away)
	_, err := i.knock(secret)
	i.want(err, innkeeper.ErrUnavailable)
	if errors.Is(err, innkeeper.ErrServiceInvalid) || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	i.tap.once("NoteServiceUse", away)
	service, err := i.knock(secret)
	i.must(err)
	i.tap.once("AppendEvent", away)
	i.want(i.AuthorizeService(ctx, service, innkeeper.ScopeAdmin, someService), innkeeper.ErrServiceScope)
}

// Every way in which a program prints things by accident.
func TestServiceSecretIsRedacted(t *testing.T) {
	i := openInn(t)
	_, secret, err := i.AddService(ctx, "web", nil, innkeeper.ActorOperator)
	i.must(err)
	clear := func(what, got string) {
		t.Helper()
		if body := secret.Reveal()[4:]; strings.Contains(got, body[30:50]) || strings.Contains(got, fmt.Sprintf("%x", body[30:40])) {
			t.Errorf("%s shows the secret: %s", what, got)
		}
	}
	holder := struct{ Inner innkeeper.ServiceSecret }{secret}
	hidden := struct{ inner innkeeper.ServiceSecret }{secret}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, secret); got != "iks_[redacted]" {
			t.Errorf("%s prints %q", verb, got)
		}
		clear(verb, fmt.Sprintf(verb, holder)+fmt.Sprintf(verb, &hidden)+fmt.Sprintf(verb, hidden))
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("added", "secret", secret, "holder", holder)
	clear("slog", log.String())
	encoded, err := json.Marshal(holder)
	i.must(err)
	clear("JSON", string(encoded))
	if !strings.Contains(string(encoded), "iks_[redacted]") {
		t.Errorf("JSON is %s", encoded)
	}
}

// What parses prints back to the same bytes, and nothing else spells it.
func FuzzParseServiceSecret(f *testing.F) {
	i := openInn(f)
	_, secret := i.addService("web")
	for _, seed := range []string{secret, secret[:40], "iks_", "", secret + "=", strings.ToLower(secret)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := innkeeper.ParseServiceSecret(text)
		switch {
		case err == nil && parsed.Reveal() != text:
			t.Errorf("%q prints back as %q", text, parsed.Reveal())
		case err != nil && !errors.Is(err, innkeeper.ErrServiceInvalid):
			t.Error(err)
		}
	})
}
