package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// newWebhook returns a webhook that is not stored yet.
func newWebhook() innkeeper.Webhook {
	secret := random[[32]byte]()
	return innkeeper.Webhook{
		ID: random[innkeeper.WebhookID](), URL: "https://app.example.com/hooks?a=b&c=ü",
		Events: []string{"password.changed", "session.ended:admin"}, CreatedAt: Start, Secret: secret[:],
		WebhookState: innkeeper.WebhookState{Cursor: 7},
	}
}

// webhook stores a new webhook.
func (s *suite) webhook() innkeeper.Webhook {
	s.t.Helper()
	hook := newWebhook()
	s.must(s.Webhooks.CreateWebhook(s.ctx(), hook, innkeeper.Event{}))
	return hook
}

func (s *suite) storedWebhook(id innkeeper.WebhookID) innkeeper.Webhook {
	s.t.Helper()
	hooks, err := s.Webhooks.Webhooks(s.ctx())
	s.must(err)
	i := slices.IndexFunc(hooks, func(w innkeeper.Webhook) bool { return w.ID == id })
	if i < 0 {
		s.t.Fatal("the webhook is gone")
	}
	return hooks[i]
}

// claim takes the lease of a webhook at a minute after [Start], for a minute.
func (s *suite) claim(id innkeeper.WebhookID, owner string, minute int) error {
	at := Start.Add(time.Duration(minute) * time.Minute)
	_, err := s.Webhooks.ClaimWebhook(s.ctx(), innkeeper.WebhookClaim{ID: id, Owner: owner, At: at, Until: at.Add(time.Minute)})
	return err
}

func testWebhooks(t *testing.T, s *suite) {
	first, second := newWebhook(), newWebhook()
	second.CreatedAt = Start.Add(time.Second)
	second.OldSecret, second.OldSecretUntil = []byte("old"), Start.Add(time.Hour)
	second.WebhookState = innkeeper.WebhookState{
		Cursor: 9, Failures: 3, RestUntil: Start.Add(time.Minute), DeliveredAt: Start, FailedAt: Start.Add(time.Second),
		LastError: "answered 500", LeaseUntil: Start.Add(2 * time.Minute),
	}
	added := event(innkeeper.EventWebhookAdded, innkeeper.UserID{})
	s.must(s.Webhooks.CreateWebhook(s.ctx(), second, added))
	s.must(s.Webhooks.CreateWebhook(s.ctx(), first, added))
	hooks, err := s.Webhooks.Webhooks(s.ctx())
	s.must(err)
	same(t, hooks, []innkeeper.Webhook{first, second})

	s.must(s.claim(first.ID, "me", 0))
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), innkeeper.WebhookProgress{ID: first.ID, Owner: "me", Put: newDelivery("msg_1", first.ID, 0)}))
	removed := event(innkeeper.EventWebhookRemoved, innkeeper.UserID{})
	s.must(s.Webhooks.DeleteWebhook(s.ctx(), first.ID, removed))
	s.wantErr(s.Webhooks.DeleteWebhook(s.ctx(), first.ID, removed), innkeeper.ErrNotFound)
	hooks, err = s.Webhooks.Webhooks(s.ctx())
	s.must(err)
	same(t, hooks, []innkeeper.Webhook{second})
	if left := s.deliveries(innkeeper.WebhookDeliveryQuery{}); left != nil {
		t.Errorf("deliveries to a webhook that is gone: %+v", left)
	}
	if events := s.events(); len(events) != 3 || events[2].Kind != innkeeper.EventWebhookRemoved {
		t.Errorf("the log holds %+v", events)
	}
}

func testChangeWebhook(t *testing.T, s *suite) {
	hook := s.webhook()
	s.must(s.claim(hook.ID, "me", 0)) // which a change does not touch
	rotated := event(innkeeper.EventWebhookRotated, innkeeper.UserID{})
	change := innkeeper.WebhookChange{
		ID: hook.ID, IfSecret: hook.Secret, Secret: []byte("new"), OldSecret: hook.Secret,
		OldSecretUntil: Start.Add(time.Hour), Event: rotated,
	}
	s.must(s.Webhooks.ChangeWebhook(s.ctx(), change))
	s.wantErr(s.Webhooks.ChangeWebhook(s.ctx(), change), innkeeper.ErrNoMatch)
	hook.Secret, hook.OldSecret, hook.OldSecretUntil = change.Secret, change.OldSecret, change.OldSecretUntil
	hook.LeaseUntil = Start.Add(time.Minute)
	same(t, s.storedWebhook(hook.ID), hook)

	s.must(s.Webhooks.ChangeWebhook(s.ctx(), innkeeper.WebhookChange{ID: hook.ID, IfSecret: change.Secret, Secret: []byte("newer")}))
	hook.Secret, hook.OldSecret, hook.OldSecretUntil = []byte("newer"), nil, time.Time{}
	same(t, s.storedWebhook(hook.ID), hook)
	change.ID = random[innkeeper.WebhookID]()
	s.wantErr(s.Webhooks.ChangeWebhook(s.ctx(), change), innkeeper.ErrNoMatch)
	if events := s.events(); len(events) != 1 {
		t.Errorf("the log holds %+v, want the one rotation", events)
	}
}

func testClaimWebhook(t *testing.T, s *suite) {
	hook := s.webhook()
	at := Start.Add(time.Minute)
	held, err := s.Webhooks.ClaimWebhook(s.ctx(), innkeeper.WebhookClaim{ID: hook.ID, Owner: "me", At: at, Until: at.Add(time.Minute)})
	s.must(err)
	hook.LeaseUntil = at.Add(time.Minute)
	same(t, held, hook)
	s.wantErr(s.claim(hook.ID, "me", 1), innkeeper.ErrNoMatch)
	s.wantErr(s.claim(hook.ID, "you", 1), innkeeper.ErrNoMatch)
	s.must(s.claim(hook.ID, "you", 2)) // mine is over by then
	s.wantErr(s.claim(random[innkeeper.WebhookID](), "me", 0), innkeeper.ErrNoMatch)

	// Whoever gives a lease back lets others have it at once.
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), innkeeper.WebhookProgress{ID: hook.ID, Owner: "you", State: hook.WebhookState}))
	free := hook.WebhookState
	free.LeaseUntil = time.Time{}
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), innkeeper.WebhookProgress{ID: hook.ID, Owner: "you", State: free}))
	s.must(s.claim(hook.ID, "me", 0))

	gone, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err = s.Webhooks.ClaimWebhook(gone, innkeeper.WebhookClaim{ID: hook.ID, Owner: "me", At: at.Add(time.Hour), Until: at.Add(2 * time.Hour)})
	s.wantErr(err, context.Canceled)
	if got := s.storedWebhook(hook.ID); !got.LeaseUntil.Equal(Start.Add(time.Minute)) {
		t.Errorf("the lease is until %s", got.LeaseUntil)
	}
}

// newDelivery returns a delivery that is due so many minutes after [Start].
func newDelivery(id string, hook innkeeper.WebhookID, minutes int) *innkeeper.WebhookDelivery {
	return &innkeeper.WebhookDelivery{
		ID: id, WebhookID: hook, Kind: innkeeper.EventTokenReused, EventAt: Start, Body: []byte(`{"type":"☎"}`),
		State: innkeeper.WebhookPending, Attempts: 2, NextAt: Start.Add(time.Duration(minutes) * time.Minute),
		TriedAt: Start.Add(time.Second), LastError: "answered 500",
	}
}

func (s *suite) deliveries(query innkeeper.WebhookDeliveryQuery) []innkeeper.WebhookDelivery {
	s.t.Helper()
	query.Limit = 100
	found, err := s.Deliveries.Deliveries(s.ctx(), query)
	s.must(err)
	return found
}

func testAdvanceWebhook(t *testing.T, s *suite) {
	hook := s.webhook()
	state := innkeeper.WebhookState{
		Cursor: 12, Failures: 1, RestUntil: Start.Add(time.Second), DeliveredAt: Start, FailedAt: Start.Add(time.Minute),
		LastError: "timed out", LeaseUntil: Start.Add(3 * time.Minute),
	}
	progress := innkeeper.WebhookProgress{ID: hook.ID, Owner: "me", State: state, Put: newDelivery("msg_1", hook.ID, 5)}
	s.wantErr(s.Webhooks.AdvanceWebhook(s.ctx(), progress), innkeeper.ErrNoMatch)
	s.must(s.claim(hook.ID, "me", 0))
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), progress))
	hook.WebhookState, hook.NextRetry = state, progress.Put.NextAt
	same(t, s.storedWebhook(hook.ID), hook)
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{}), []innkeeper.WebhookDelivery{*progress.Put})

	// Again, in the place of the one before; then another, and the first one is done.
	again := *newDelivery("msg_1", hook.ID, 6)
	again.Attempts, again.LastError, again.TriedAt = 3, "reset", Start.Add(time.Minute)
	progress.Put = &again
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), progress))
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{}), []innkeeper.WebhookDelivery{again})
	progress.Put, progress.Done = newDelivery("msg_2", hook.ID, 7), "msg_1"
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), progress))
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{}), []innkeeper.WebhookDelivery{*progress.Put})

	// A lease that is over is as good as one that is not, until somebody has it.
	progress.Put, progress.Done, progress.State.Cursor = nil, "", 13
	s.must(s.Webhooks.AdvanceWebhook(s.ctx(), progress))
	s.must(s.claim(hook.ID, "you", 3))
	s.wantErr(s.Webhooks.AdvanceWebhook(s.ctx(), progress), innkeeper.ErrNoMatch)
	progress.ID = random[innkeeper.WebhookID]()
	s.wantErr(s.Webhooks.AdvanceWebhook(s.ctx(), progress), innkeeper.ErrNoMatch)
	if got := s.storedWebhook(hook.ID); got.Cursor != 13 || !got.NextRetry.Equal(Start.Add(7*time.Minute)) {
		t.Errorf("the webhook is %+v", got)
	}
}

// put stores deliveries.
func (s *suite) put(hook innkeeper.Webhook, deliveries ...*innkeeper.WebhookDelivery) {
	s.t.Helper()
	s.must(s.claim(hook.ID, "me", 0))
	for _, d := range deliveries {
		s.must(s.Webhooks.AdvanceWebhook(s.ctx(), innkeeper.WebhookProgress{ID: hook.ID, Owner: "me", State: hook.WebhookState, Put: d}))
	}
}

func testDeliveries(t *testing.T, s *suite) {
	one, two := s.webhook(), s.webhook()
	a, b, c, d := newDelivery("msg_b", one.ID, 1), newDelivery("msg_a", one.ID, 2), newDelivery("msg_c", one.ID, 2), newDelivery("msg_b", two.ID, 3)
	c.State = innkeeper.WebhookDead
	s.put(one, c, b, a)
	s.put(two, d)
	type query = innkeeper.WebhookDeliveryQuery
	for _, test := range []struct {
		query query
		want  []*innkeeper.WebhookDelivery
	}{
		{query{}, []*innkeeper.WebhookDelivery{a, b, c, d}},
		{query{WebhookID: one.ID}, []*innkeeper.WebhookDelivery{a, b, c}},
		{query{State: innkeeper.WebhookPending}, []*innkeeper.WebhookDelivery{a, b, d}},
		{query{WebhookID: one.ID, State: innkeeper.WebhookPending, DueAt: a.NextAt}, []*innkeeper.WebhookDelivery{a}},
		{query{WebhookID: one.ID, After: a}, []*innkeeper.WebhookDelivery{b, c}},
		{query{WebhookID: one.ID, After: b}, []*innkeeper.WebhookDelivery{c}},
		{query{WebhookID: two.ID, State: innkeeper.WebhookDead}, nil},
	} {
		var want []innkeeper.WebhookDelivery
		for _, d := range test.want {
			want = append(want, *d)
		}
		same(t, s.deliveries(test.query), want)
	}
	first, err := s.Deliveries.Deliveries(s.ctx(), query{Limit: 2})
	s.must(err)
	same(t, first, []innkeeper.WebhookDelivery{*a, *b})
}

func testRetryDeliveries(t *testing.T, s *suite) {
	hook, other := s.webhook(), s.webhook()
	hook.Failures, hook.RestUntil = 9, Start.Add(time.Hour)
	dead1, dead2, pending, others := newDelivery("msg_1", hook.ID, 1), newDelivery("msg_2", hook.ID, 2), newDelivery("msg_3", hook.ID, 3), newDelivery("msg_1", other.ID, 4)
	dead1.State, dead2.State, others.State = innkeeper.WebhookDead, innkeeper.WebhookDead, innkeeper.WebhookDead
	s.put(hook, dead1, dead2, pending)
	s.put(other, others)
	at := Start.Add(time.Hour)
	retry := func(id string, want int) {
		t.Helper()
		n, err := s.Deliveries.RetryDeliveries(s.ctx(), innkeeper.WebhookDeliveryRetry{
			WebhookID: hook.ID, ID: id, At: at, Event: event(innkeeper.EventWebhookRetried, innkeeper.UserID{}),
		})
		s.must(err)
		if n != want {
			t.Fatalf("%d deliveries are to be tried again, want %d", n, want)
		}
	}
	retry("msg_4", 0)
	if got := s.storedWebhook(hook.ID); got.Failures != 9 || len(s.events()) != 0 {
		t.Errorf("for nothing, the webhook became %+v", got)
	}
	retry("msg_3", 1)
	retry("", 2)
	retry("", 0)
	for _, d := range []*innkeeper.WebhookDelivery{dead1, dead2, pending} {
		d.State, d.Attempts, d.NextAt = innkeeper.WebhookPending, 0, at
	}
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{WebhookID: hook.ID}), []innkeeper.WebhookDelivery{*dead1, *dead2, *pending})
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{WebhookID: other.ID}), []innkeeper.WebhookDelivery{*others})
	if got := s.storedWebhook(hook.ID); got.Failures != 0 || !got.RestUntil.IsZero() || !got.NextRetry.Equal(at) {
		t.Errorf("the webhook is %+v", got)
	}
	if events := s.events(); len(events) != 2 {
		t.Errorf("the log holds %+v", events)
	}
}

func testSweepDeliveries(t *testing.T, s *suite) {
	hook := s.webhook()
	old, older, young, pending := newDelivery("msg_1", hook.ID, 1), newDelivery("msg_2", hook.ID, 1), newDelivery("msg_3", hook.ID, 1), newDelivery("msg_4", hook.ID, 1)
	old.State, older.State, young.State = innkeeper.WebhookDead, innkeeper.WebhookDead, innkeeper.WebhookDead
	young.TriedAt = Start.Add(time.Hour)
	s.put(hook, old, older, young, pending)
	for _, want := range []int{1, 1, 0} {
		swept, err := s.Deliveries.SweepDeliveries(s.ctx(), Start.Add(time.Minute), 1)
		s.must(err)
		if swept != want {
			t.Fatalf("swept %d deliveries, want %d", swept, want)
		}
	}
	same(t, s.deliveries(innkeeper.WebhookDeliveryQuery{}), []innkeeper.WebhookDelivery{*young, *pending})
}

// testOneClaimWins holds what two servers rely on to deliver once.
func testOneClaimWins(t *testing.T, s *suite) {
	hook := s.webhook()
	for minute := range 10 {
		var won atomic.Int32
		Race(8, func(i int) {
			if s.claim(hook.ID, fmt.Sprint("server", i), minute*2) == nil {
				won.Add(1)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d servers have the lease", won.Load())
		}
	}
}
