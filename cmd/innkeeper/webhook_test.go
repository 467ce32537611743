package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/webhook"
)

// listener is a receiver of webhooks that verifies what arrives with the reference
// library.
type listener struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	verifier *standardwebhooks.Webhook
	arrived  []string // webhook-id
	changed  chan struct{}
	on       func(arrived int) // called before it answers; set before it listens
}

func newListener(t *testing.T) *listener {
	l := &listener{t: t, changed: make(chan struct{}, 1)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the server has died meanwhile
		}
		l.mu.Lock()
		if err := l.verifier.Verify(body, r.Header); err != nil {
			t.Errorf("%v: %v %s", err, r.Header, body)
		}
		l.arrived = append(l.arrived, r.Header.Get("Webhook-Id"))
		n, on := len(l.arrived), l.on
		l.mu.Unlock()
		if on != nil {
			on(n)
		}
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// listen adds the webhook.
func (l *listener) listen(s *server, events ...string) {
	l.t.Helper()
	args := []string{"webhook", "add", l.URL, "--output", "json"}
	for _, event := range events {
		args = append(args, "--event", event)
	}
	cmd := s.command(args...)
	cmd.Stdout = nil
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("innkeeper %v: %v %s", args, err, stderrOf(err))
	}
	var added webhookObject
	if err := json.Unmarshal(out, &added); err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.verifier, err = standardwebhooks.NewWebhook(added.Secret); err != nil {
		l.t.Fatal(err)
	}
}

func stderrOf(err error) string {
	if failed, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as exec returns it
		return string(failed.Stderr)
	}
	return ""
}

// wait waits until so many messages have arrived, and returns their IDs.
func (l *listener) wait(n int) []string {
	l.t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		l.mu.Lock()
		arrived := append([]string(nil), l.arrived...)
		l.mu.Unlock()
		if len(arrived) >= n {
			return arrived
		}
		select {
		case <-l.changed:
		case <-timeout:
			l.t.Fatalf("%d messages arrived, want %d", len(arrived), n)
		}
	}
}

// TestWebhookKill9 kills the server when a message has arrived and before that can have
// been noted. The next one sends it again, under the same ID, and goes on.
func TestWebhookKill9(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--log-level", "warn")
	l := newListener(t)
	s.run(testPassword, "user", "add", "ada", "--password-stdin")
	s.start()
	killed := make(chan struct{})
	l.on = func(arrived int) {
		if arrived == 2 {
			s.kill()
			close(killed)
		}
	}
	l.listen(s, "role.set")
	for i := range 5 {
		s.run("", "role", "set", fmt.Sprint("role", i))
	}
	<-killed
	s.start()
	arrived := l.wait(6)
	if arrived[1] != arrived[2] {
		t.Errorf("what was in the air when the server died did not come again: %v", arrived)
	}
	seen := map[string]bool{}
	for _, id := range arrived {
		seen[id] = true
	}
	if len(arrived) != 6 || len(seen) != 5 {
		t.Errorf("%d messages of %d events arrived", len(arrived), len(seen))
	}
}

// TestWebhookOfThreeServers has three servers on PostgreSQL make events at the same time,
// and be restarted meanwhile. Each event arrives once.
func TestWebhookOfThreeServers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	l := newListener(t)
	l.listen(f.operator, "role.set")
	f.operator.run(testPassword, "user", "add", "root", "--role", "admin", "--password-stdin")
	root := f.must(f.servers[0].call(http.DefaultClient, "POST", "/auth/login",
		map[string]string{"username": "root", "password": testPassword, "delivery": "body"}))
	const each = 60
	var acts sync.WaitGroup
	for i, s := range f.servers {
		acts.Go(func() {
			for n := range each {
				a, err := s.call(http.DefaultClient, "PUT", fmt.Sprintf("/admin/roles/role-%d-%d", i, n), map[string]any{"permissions": []string{}},
					"Authorization", "Bearer "+root.AccessToken)
				if err != nil || a.status != http.StatusNoContent {
					t.Errorf("got %v, %v", a, err)
				}
			}
		})
	}
	acts.Wait()
	l.wait(len(f.servers) * each / 2)
	f.servers[0].stop() // perhaps in the middle of it
	arrived := l.wait(len(f.servers) * each)
	f.servers[0].start()

	// One more comes after all others, in the order of the log.
	f.operator.run("", "role", "set", "last")
	arrived = l.wait(len(arrived) + 1)
	times := map[string]int{}
	for _, id := range arrived {
		if times[id]++; times[id] > 1 {
			t.Errorf("%s arrived %d times", id, times[id])
		}
	}
	if len(times) != len(f.servers)*each+1 {
		t.Errorf("%d events arrived, want %d", len(times), len(f.servers)*each+1)
	}
	if strings.Contains(f.servers[0].out.String(), "whsec_") {
		t.Error("a secret is in the log of a server")
	}
}

// TestWebhooksOfThisMachine is about who may be told on the machine of the server. There
// are services there that trust whoever can reach them, and every administrator can add
// a webhook: nobody, but in development, or if the operator says so.
func TestWebhooksOfThisMachine(t *testing.T) {
	told := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer told.Close()
	loopback := webhookFlags{WebhookNetwork: []network{{netip.MustParsePrefix("127.0.0.0/8")}}}
	for _, test := range []struct {
		issuer string
		flags  webhookFlags
		want   bool
	}{
		{"http://localhost:8080", webhookFlags{}, true},
		{"http://127.0.0.1:8080", webhookFlags{}, true},
		{"https://auth.example.com", webhookFlags{}, false},
		{"https://localhost.example.com", webhookFlags{}, false},
		{"https://auth.example.com", loopback, true},
	} {
		err := test.flags.sender(test.issuer).Send(t.Context(), innkeeper.WebhookMessage{URL: told.URL, At: time.Now()})
		var refused *webhook.AddressError
		if told := err == nil; told != test.want || !told && !errors.As(err, &refused) {
			t.Errorf("%s, %v: %v", test.issuer, test.flags, err)
		}
	}
}
