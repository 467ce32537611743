package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// service stores a credential that was made some minutes after [Start].
func (s *suite) service(name string, minutes int, scopes ...innkeeper.ServiceScope) innkeeper.Service {
	s.t.Helper()
	service := innkeeper.Service{
		ID: random[innkeeper.ServiceID](), Name: name, Scopes: scopes, SecretHash: random[innkeeper.SecretHash](),
		CreatedAt: Start.Add(time.Duration(minutes) * time.Minute),
	}
	s.must(s.Services.CreateService(s.ctx(), service, serviceEvent(innkeeper.EventServiceAdded, service)))
	return service
}

func serviceEvent(kind innkeeper.EventKind, service innkeeper.Service) innkeeper.Event {
	return innkeeper.Event{
		At: Start, Kind: kind, Actor: innkeeper.ActorOperator, Detail: map[string]string{"service": service.Name},
	}
}

func (s *suite) services() []innkeeper.Service {
	s.t.Helper()
	services, err := s.Stores.Services.Services(s.ctx())
	s.must(err)
	return services
}

func testServices(t *testing.T, s *suite) {
	if n := len(s.services()); n != 0 {
		t.Fatalf("an empty store has %d services", n)
	}
	// One name may have several credentials; capitals sort before small letters.
	newer := s.service("web", 2, innkeeper.ScopeIntrospect, innkeeper.ScopeSessionsCreate)
	older := s.service("web", 1, innkeeper.ScopeAdmin)
	first := s.service("a-b", 3)
	second := s.service("a.b", 0, innkeeper.ScopeUsersRead)
	same(t, s.services(), []innkeeper.Service{first, second, older, newer})
	for _, want := range []innkeeper.Service{first, second, older, newer} {
		got, err := s.Services.Service(s.ctx(), want.ID)
		s.must(err)
		same(t, got, want)
	}
	_, err := s.Services.Service(s.ctx(), random[innkeeper.ServiceID]())
	s.wantErr(err, innkeeper.ErrNotFound)

	// What is returned is shared with nobody.
	clear(s.services()[3].Scopes)
	same(t, s.services()[3], newer)

	events := len(s.events())
	removed := serviceEvent(innkeeper.EventServiceRemoved, older)
	s.must(s.Services.DeleteService(s.ctx(), older.ID, removed))
	s.wantErr(s.Services.DeleteService(s.ctx(), older.ID, removed), innkeeper.ErrNotFound)
	_, err = s.Services.Service(s.ctx(), older.ID)
	s.wantErr(err, innkeeper.ErrNotFound)
	same(t, s.services(), []innkeeper.Service{first, second, newer})
	log := s.events()
	if len(log) != events+1 {
		t.Fatalf("deleting once wrote %d events", len(log)-events)
	}
	removed.Seq = log[events].Seq
	same(t, log[events], removed)

	gone, cancel := context.WithCancel(s.ctx())
	cancel()
	s.wantErr(s.Services.CreateService(gone, older, removed), context.Canceled)
	s.wantErr(s.Services.DeleteService(gone, newer.ID, removed), context.Canceled)
	s.wantErr(s.Services.NoteServiceUse(gone, newer.ID, Start), context.Canceled)
	_, err = s.Services.Service(gone, newer.ID)
	s.wantErr(err, context.Canceled)
	_, err = s.Services.Services(gone)
	s.wantErr(err, context.Canceled)
	same(t, s.services(), []innkeeper.Service{first, second, newer})
}

func testNoteServiceUse(t *testing.T, s *suite) {
	used, other := s.service("web", 0, innkeeper.ScopeAdmin), s.service("web", 1)
	// It never goes back, whichever server is the first to write.
	for _, note := range []struct{ at, want time.Duration }{{time.Hour, time.Hour}, {time.Minute, time.Hour}, {time.Hour + 1000, time.Hour + 1000}} {
		s.must(s.Services.NoteServiceUse(s.ctx(), used.ID, Start.Add(note.at)))
		used.LastUsedAt = Start.Add(note.want)
		same(t, s.services(), []innkeeper.Service{used, other})
	}
	s.must(s.Services.NoteServiceUse(s.ctx(), random[innkeeper.ServiceID](), Start))
	same(t, s.services(), []innkeeper.Service{used, other})

	// A copy of a store brings the last use along.
	used.ID = random[innkeeper.ServiceID]()
	s.must(s.Services.CreateService(s.ctx(), used, innkeeper.Event{}))
	got, err := s.Services.Service(s.ctx(), used.ID)
	s.must(err)
	same(t, got, used)
}

// testOneRemovalWins removes a credential from many sides at once: one removes it,
// and one event says so. Nobody who notes its use brings it back.
func testOneRemovalWins(t *testing.T, s *suite) {
	service := s.service("web", 0, innkeeper.ScopeAdmin)
	before := len(s.events())
	var won atomic.Int32
	Race(16, func(i int) {
		if i%2 == 0 {
			if err := s.Services.NoteServiceUse(s.ctx(), service.ID, Start.Add(time.Duration(i)*time.Second)); err != nil {
				t.Error(err)
			}
			return
		}
		switch err := s.Services.DeleteService(s.ctx(), service.ID, serviceEvent(innkeeper.EventServiceRemoved, service)); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, innkeeper.ErrNotFound):
			t.Error(err)
		}
	})
	if won.Load() != 1 || len(s.events()) != before+1 || len(s.services()) != 0 {
		t.Fatalf("%d removals, %d events and %d services are left", won.Load(), len(s.events())-before, len(s.services()))
	}
}
