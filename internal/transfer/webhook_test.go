package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/transfer"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// mailbox receives what webhooks are told, except for what it refuses.
type mailbox struct {
	mu      sync.Mutex
	refuses bool
	got     []string // URL and ID
	tries   int
}

// Send implements [innkeeper.WebhookSender].
func (m *mailbox) Send(_ context.Context, message innkeeper.WebhookMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.refuses && strings.Contains(message.URL, "one") {
		return errors.New("refused")
	}
	m.got = append(m.got, message.URL+" "+message.ID)
	return nil
}

func (m *mailbox) has(done func(m *mailbox) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return done(m)
}

// deliver runs an authority until the mailbox has what it should.
func deliver(t *testing.T, stores innkeeper.Stores, roots rootkey.Ring, m *mailbox, done func(*mailbox) bool) {
	t.Helper()
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: stores, RootKeys: roots, Clock: time.Now, Webhooks: m,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	var over sync.WaitGroup
	over.Go(func() { authority.Run(ctx) })
	for !m.has(done) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("the mailbox has %v after %d tries", m.got, m.tries)
	}
	cancel()
	over.Wait()
}

// TestWebhooksGoOn moves webhooks of which one is behind, one has a delivery that has
// failed, and one is new. After the move each is told what it has not been, and nothing
// else, under the same IDs.
func TestWebhooksGoOn(t *testing.T) {
	for _, name := range []string{"file", "postgres"} {
		t.Run(name, func(t *testing.T) {
			from, to, roots := inMemory(t), engines[name](t), newRoots(t)
			i := openInn(t, from, roots)
			hook := func(name string) *innkeeper.Webhook {
				hook, _, err := i.AddWebhook(t.Context(), "https://app.example.com/"+name, []string{"role.set"}, innkeeper.ActorOperator)
				i.must(err)
				return hook
			}
			act := func(n int) {
				i.must(i.SetRole(t.Context(), innkeeper.Role{Name: fmt.Sprint("role", n)}, innkeeper.ActorOperator))
			}
			hook("one") // its first delivery fails
			hook("two")
			m := &mailbox{refuses: true}
			act(0)
			deliver(t, from, roots, m, func(m *mailbox) bool { return m.tries >= 2 })
			for n := range 520 { // they are behind, by more than a page
				act(1 + n)
			}
			hook("three")
			act(2000)

			counts := mustRun(t, transfer.Config{From: from, To: to})
			if counts.Webhooks != 3 {
				t.Errorf("counted %+v", counts)
			}
			m.refuses = false
			deliver(t, to, roots, m, func(m *mailbox) bool { return len(m.got) >= 2*522+1 })
			got := map[string]int{}
			for _, message := range m.got {
				url, _, _ := strings.Cut(message, " ")
				got[url]++
			}
			if unique := slices.Compact(slices.Sorted(slices.Values(m.got))); len(unique) != len(m.got) {
				t.Errorf("%d messages of %d arrived twice", len(m.got)-len(unique), len(m.got))
			}
			for name, want := range map[string]int{"one": 522, "two": 522, "three": 1} {
				if got["https://app.example.com/"+name] != want {
					t.Errorf("%s got %d messages, want %d", name, got["https://app.example.com/"+name], want)
				}
			}
		})
	}
}
