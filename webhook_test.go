package innkeeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// receiver is whoever listens at the other end, without the network between.
type receiver struct {
	mu       sync.Mutex
	received []innkeeper.WebhookMessage
	answer   func(ctx context.Context, m innkeeper.WebhookMessage) error // nil: fine
}

// Send implements [innkeeper.WebhookSender].
func (r *receiver) Send(ctx context.Context, m innkeeper.WebhookMessage) error {
	r.mu.Lock()
	r.received = append(r.received, m)
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, m)
}

// answers replaces what the receiver says.
func (r *receiver) answers(with func(ctx context.Context, m innkeeper.WebhookMessage) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = with
}

func (r *receiver) take() []innkeeper.WebhookMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.received
	r.received = nil
	return taken
}

func down(context.Context, innkeeper.WebhookMessage) error { return errors.New("reset") }

// message is the body of a message.
type message struct {
	Type      string         `json:"type"`
	Timestamp time.Time      `json:"timestamp"`
	Data      map[string]any `json:"data"`
}

func read(t *testing.T, m innkeeper.WebhookMessage) message {
	t.Helper()
	var body message
	if err := json.Unmarshal(m.Body, &body); err != nil {
		t.Fatalf("%s: %v", m.Body, err)
	}
	return body
}

func types(t *testing.T, messages []innkeeper.WebhookMessage) []string {
	t.Helper()
	var all []string
	for _, m := range messages {
		all = append(all, read(t, m).Type)
	}
	return all
}

func through(r innkeeper.WebhookSender) func(*innkeeper.Config) {
	return func(c *innkeeper.Config) { c.Webhooks = r }
}

const hookURL = "https://app.example.com/hook"

// moment is longer than it takes to notice an event.
const moment = 3 * time.Second

func (i *inn) hook(events ...string) *innkeeper.Webhook {
	i.t.Helper()
	hook, _, err := i.AddWebhook(ctx, hookURL, events, innkeeper.ActorOperator)
	i.must(err)
	return hook
}

func (i *inn) webhook(id innkeeper.WebhookID) innkeeper.Webhook {
	i.t.Helper()
	hooks, err := i.Webhooks(ctx)
	i.must(err)
	k := slices.IndexFunc(hooks, func(h innkeeper.Webhook) bool { return h.ID == id })
	if k < 0 {
		i.t.Fatalf("there is no webhook %s", id)
	}
	return hooks[k]
}

// TestWebhookIsToldOfThefts steals a token, and looks at what arrives, and what does not.
func TestWebhookIsToldOfThefts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		i.addUser("before")
		hook := i.hook()
		ada := i.addUser("ada")
		first := i.login("ada")
		i.refresh(first, noKey)
		_, err := i.Refresh(ctx, innkeeper.RefreshRequest{
			RefreshTokens: []string{first.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody,
			Client: innkeeper.Client{Addr: netip.MustParseAddr("203.0.113.9"), UserAgent: "thief/1"},
		})
		i.want(err, innkeeper.ErrRefreshTokenReused)
		i.must(i.SetPassword(ctx, ada.ID, otherPassword, innkeeper.ActorOperator))
		time.Sleep(moment)
		messages := r.take()
		if got, want := types(t, messages), []string{"user.created", "refresh_token.reused", "password.changed"}; !slices.Equal(got, want) {
			t.Fatalf("it was told of %v, want %v in this order", got, want)
		}
		theft := messages[1]
		body := read(t, theft)
		if theft.URL != hookURL || !strings.HasPrefix(theft.ID, "msg_") || len(theft.Secrets) != 1 || theft.At.IsZero() {
			t.Errorf("the message is %+v", theft)
		}
		detail, _ := body.Data["detail"].(map[string]any)
		if body.Data["user_id"] != ada.ID.String() || body.Data["session_id"] != first.Session.ID.String() || body.Data["ip"] != "203.0.113.9" ||
			body.Data["user_agent"] != "thief/1" || body.Data["reason"] != "reuse" || detail["generations_behind"] != "1" || body.Data["seq"] != nil {
			t.Errorf("the body is %s", theft.Body)
		}
		for _, m := range messages {
			found := innkeepertest.FindSecrets(string(m.Body))
			for _, secret := range []string{otherPassword, "$argon2"} {
				if strings.Contains(string(m.Body), secret) {
					found = append(found, secret)
				}
			}
			if found != nil {
				t.Errorf("a message holds %q: %s", found, m.Body)
			}
		}
		time.Sleep(time.Hour)
		if again := r.take(); again != nil {
			t.Errorf("it was told again: %v", types(t, again))
		}
		if state := i.webhook(hook.ID); state.Failures != 0 || state.DeliveredAt.IsZero() || !state.LeaseUntil.IsZero() {
			t.Errorf("the webhook is %+v", state)
		}
	})
}

// TestWebhookSelection asks for little, and for all.
func TestWebhookSelection(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		i.hook("session.ended:admin", "session.ended:admin", "role.set")
		i.addUser("ada")
		one, two := i.login("ada"), i.login("ada")
		i.must(i.Logout(ctx, innkeeper.LogoutRequest{Scope: innkeeper.LogoutThis, RefreshTokens: []string{one.RefreshToken.Reveal()}}))
		i.must(i.EndSession(ctx, two.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.ActorOperator))
		time.Sleep(moment)
		messages := r.take()
		if got := types(t, messages); !slices.Equal(got, []string{"session.ended", "role.set"}) || read(t, messages[0]).Data["reason"] != "admin" {
			t.Errorf("it was told of %v", got)
		}

		all, err := i.Webhooks(ctx)
		i.must(err)
		i.must(i.RemoveWebhook(ctx, all[0].ID, innkeeper.ActorOperator))
		i.hook("*")
		i.login("ada")
		time.Sleep(moment)
		if got := types(t, r.take()); !slices.Equal(got, []string{"webhook.added", "session.started"}) {
			t.Errorf("it was told of %v", got)
		}
	})
}

// TestDeliveryIsTriedForADay lets a receiver be down, and notes when it is tried.
func TestDeliveryIsTriedForADay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{answer: down}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		hook := i.hook("role.set")
		began := time.Now()
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.ActorOperator))
		time.Sleep(14 * time.Hour)
		pending, err := i.Deliveries(ctx, hook.ID, innkeeper.WebhookPending, nil)
		i.must(err)
		if len(pending) != 1 || pending[0].Kind != innkeeper.EventRoleSet || pending[0].LastError != "reset" {
			t.Fatalf("pending are %+v", pending)
		}
		time.Sleep(14 * time.Hour)
		tries := r.take()
		var waits []time.Duration
		for n := range tries[1:] {
			if tries[n+1].ID != tries[n].ID || string(tries[n+1].Body) != string(tries[n].Body) {
				t.Fatalf("a try is another message: %+v", tries[n+1])
			}
			waits = append(waits, tries[n+1].At.Sub(tries[n].At).Round(time.Second))
		}
		last := tries[len(tries)-1].At.Sub(began)
		t.Logf("%d tries in %s, after %v", len(tries), last.Round(time.Minute), waits)
		if len(tries) != 12 || last < 18*time.Hour || last > 27*time.Hour {
			t.Error("that is not about a day")
		}
		for n := 1; n < len(waits)-3; n++ {
			if waits[n] < waits[n-1]*3/2 {
				t.Errorf("wait %d is %s after %s", n, waits[n], waits[n-1])
			}
		}

		// Then it is a dead letter, which somebody may find, and have tried again.
		dead, err := i.Deliveries(ctx, hook.ID, innkeeper.WebhookDead, nil)
		i.must(err)
		if len(dead) != 1 || dead[0].ID != tries[0].ID || dead[0].Attempts != 12 || i.count(innkeeper.EventDeliveryGivenUp) != 1 {
			t.Fatalf("dead are %+v", dead)
		}
		r.answers(nil)
		n, err := i.RetryDeliveries(ctx, hook.ID, "", innkeeper.Requester{Actor: "service:ops", Client: someService})
		i.must(err)
		retried, err := i.Events(ctx, innkeeper.EventFilter{Kinds: []innkeeper.EventKind{innkeeper.EventWebhookRetried}})
		i.must(err)
		if len(retried) != 1 || retried[0].Actor != "service:ops" || retried[0].Client != someService {
			t.Errorf("the log says %+v", retried)
		}
		time.Sleep(moment)
		if again := r.take(); n != 1 || len(again) != 1 || again[0].ID != tries[0].ID {
			t.Errorf("%d were tried again: %+v", n, again)
		}
		left, err := i.Deliveries(ctx, hook.ID, "", nil)
		i.must(err)
		if len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
		_, err = i.RetryDeliveries(ctx, hook.ID, tries[0].ID, innkeeper.ActorOperator)
		i.want(err, innkeeper.ErrNotFound)
	})
}

// TestReceiverThatIsDownIsLeftAlone makes 3,000 events within an outage of an hour. The
// receiver is not asked 3,000 times, and misses nothing.
func TestReceiverThatIsDownIsLeftAlone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{answer: down}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		i.hook("role.set")
		for n := range 3000 {
			i.must(i.SetRole(ctx, innkeeper.Role{Name: fmt.Sprint("role", n)}, innkeeper.ActorOperator))
			time.Sleep(time.Hour / 3000)
		}
		if asked := len(r.take()); asked > 40 {
			t.Errorf("it was asked %d times in an hour", asked)
		} else {
			t.Logf("it was asked %d times in an hour", asked)
		}
		r.answers(nil)
		time.Sleep(6 * time.Hour)
		ids := map[string]bool{}
		for _, m := range r.take() {
			if ids[m.ID] {
				t.Errorf("%s arrived twice", m.ID)
			}
			ids[m.ID] = true
		}
		if len(ids) != 3000 {
			t.Errorf("%d of 3000 arrived", len(ids))
		}
	})
}

// TestPoisonHoldsNothingUp lets a receiver refuse one message for good.
func TestPoisonHoldsNothingUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{}
		r.answer = func(_ context.Context, m innkeeper.WebhookMessage) error {
			if strings.Contains(string(m.Body), "poison") {
				return &innkeeper.WebhookRefusedError{Status: 500}
			}
			return nil
		}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		i.hook("role.set")
		for _, name := range []string{"one", "poison", "two", "three"} {
			i.must(i.SetRole(ctx, innkeeper.Role{Name: name}, innkeeper.ActorOperator))
		}
		time.Sleep(moment)
		if got := len(r.take()); got != 4 {
			t.Errorf("%d messages were sent, want the four, the bad one once", got)
		}
	})
}

// TestWhatReceiversAnswer obeys those who say how long, and those who say never again.
func TestWhatReceiversAnswer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		hook := i.hook("role.set")
		say := func(refused *innkeeper.WebhookRefusedError) {
			r.answers(func(context.Context, innkeeper.WebhookMessage) error { return refused })
		}
		say(&innkeeper.WebhookRefusedError{Status: 429, RetryAfter: time.Hour})
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "a"}, innkeeper.ActorOperator))
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "b"}, innkeeper.ActorOperator))
		time.Sleep(59 * time.Minute)
		if got := r.take(); len(got) != 1 {
			t.Errorf("it was asked %d times in the hour", len(got))
		}
		r.answers(nil)
		time.Sleep(2 * time.Minute)
		if got := r.take(); len(got) != 2 {
			t.Errorf("then %d messages came", len(got))
		}
		say(&innkeeper.WebhookRefusedError{Status: 410})
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "c"}, innkeeper.ActorOperator))
		time.Sleep(time.Hour)
		dead, err := i.Deliveries(ctx, hook.ID, innkeeper.WebhookDead, nil)
		i.must(err)
		if got := r.take(); len(got) != 1 || len(dead) != 1 || dead[0].LastError != "answered 410" {
			t.Errorf("after never again, it was asked %d times, and dead are %+v", len(got), dead)
		}
	})
}

// TestSlowReceiverDelaysNobody has one that never answers beside one that does.
func TestSlowReceiverDelaysNobody(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, m innkeeper.WebhookMessage) error {
			if strings.Contains(m.URL, "slow") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r := &receiver{answer: slow}
		i, stop := running(t, memory.New(), through(r))
		_, _, err := i.AddWebhook(ctx, "https://slow.example.com/", []string{"role.set"}, innkeeper.ActorOperator)
		i.must(err)
		i.hook("role.set")
		for range 10 {
			began := time.Now()
			i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.ActorOperator))
			if took := time.Since(began); took > 0 {
				t.Fatalf("the act itself took %s", took)
			}
			time.Sleep(moment)
			var told bool
			for _, m := range r.take() {
				told = told || m.URL == hookURL
			}
			if !told {
				t.Fatal("the other one was not told")
			}
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("a stop waited %s for the slow one", took)
		}
	})
}

// TestWebhookSecretsOverlap rotates a secret, and one in an emergency.
func TestWebhookSecretsOverlap(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := &receiver{}
		i, stop := running(t, memory.New(), through(r))
		defer stop()
		hook, first, err := i.AddWebhook(ctx, hookURL, []string{"role.set"}, innkeeper.ActorOperator)
		i.must(err)
		signedBy := func(want ...innkeeper.WebhookSecret) {
			t.Helper()
			i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.ActorOperator))
			time.Sleep(moment)
			messages := r.take()
			if len(messages) != 1 {
				t.Fatalf("%d messages came", len(messages))
			}
			var got, wanted []string
			for _, secret := range messages[0].Secrets {
				got = append(got, secret.Reveal())
			}
			for _, secret := range want {
				wanted = append(wanted, secret.Reveal())
			}
			if !slices.Equal(got, wanted) {
				t.Errorf("signed by %d secrets, want %d others", len(got), len(wanted))
			}
		}
		signedBy(first)
		second, err := i.RotateWebhookSecret(ctx, hook.ID, time.Hour, innkeeper.ActorOperator)
		i.must(err)
		signedBy(second, first)
		time.Sleep(time.Hour)
		signedBy(second)
		third, err := i.RotateWebhookSecret(ctx, hook.ID, -1, innkeeper.ActorOperator)
		i.must(err)
		signedBy(third)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if text := fmt.Sprintf(verb, third); strings.Contains(text, third.Reveal()) || !strings.Contains(text, "redacted") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
		text, err := json.Marshal(third)
		if err != nil || strings.Contains(string(text), third.Reveal()) || slog.AnyValue(third).Resolve().String() != third.String() {
			t.Errorf("it is encoded as %s, %v", text, err)
		}
	})
}

// TestWebhookSecretsFollowTheRootKey replaces the root key. The secrets move to the new
// one, and are what they were.
func TestWebhookSecretsFollowTheRootKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		store, r := memory.New(), &receiver{}
		old := rootkey.Generate()
		fresh := generateBeside(old)
		with := func(keys ...*rootkey.Key) func(*innkeeper.Config) {
			return func(c *innkeeper.Config) { c.RootKeys = ringOf(t, keys...) }
		}
		i, stop := running(t, store, with(old))
		hook, secret, err := i.AddWebhook(ctx, hookURL, []string{"role.set"}, innkeeper.ActorOperator)
		i.must(err)
		stop()
		_, stop = running(t, store, with(old, fresh))
		time.Sleep(time.Minute)
		stop()
		_, stop = running(t, store, with(fresh, old))
		time.Sleep(time.Minute)
		stop()
		i, stop = running(t, store, with(fresh), through(r))
		defer stop()
		if under, _ := rootkey.WrappedUnder(i.webhook(hook.ID).Secret); under != fresh.ID() {
			t.Errorf("the secret is under %s", under)
		}
		i.must(i.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.ActorOperator))
		time.Sleep(moment)
		if messages := r.take(); len(messages) != 1 || messages[0].Secrets[0].Reveal() != secret.Reveal() {
			t.Errorf("after the root key was replaced it was sent %d messages, or with another secret", len(messages))
		}
	})
}

// TestWebhooksOfSeveralServers runs three on one store. Each event arrives once, also
// when a server stops in the middle. What is different when one dies there is shown by
// TestWebhookArrivesAgainWhenItsServerDies.
func TestWebhooksOfSeveralServers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		store, r := memory.New(), &receiver{}
		root := rootkey.Generate()
		same := func(c *innkeeper.Config) { c.RootKeys = ringOf(t, root) }
		i, stop := running(t, store, same, through(r))
		_, stop2 := running(t, store, same, through(r))
		_, stop3 := running(t, store, same, through(r))
		defer stop3()
		i.hook("role.set")
		r.answers(func(ctx context.Context, _ innkeeper.WebhookMessage) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		const acts = 200
		for n := range acts {
			i.must(i.SetRole(ctx, innkeeper.Role{Name: fmt.Sprint("role", n)}, innkeeper.ActorOperator))
			time.Sleep(50 * time.Millisecond)
			switch n {
			case 50:
				stop()
			case 100:
				stop2()
			}
		}
		time.Sleep(2 * time.Minute)
		ids := map[string]int{}
		for _, m := range r.take() {
			ids[m.ID]++
		}
		for id, n := range ids {
			if n != 1 {
				t.Errorf("%s arrived %d times", id, n)
			}
		}
		if len(ids) != acts {
			t.Errorf("%d of %d arrived", len(ids), acts)
		}
	})
}

// TestWebhookArrivesAgainWhenItsServerDies lets a server die, or lose its store, between a
// message and the note of it. Nobody knows then that it has arrived: as soon as the lease
// has run out it is sent once more, by another server or by the same one, under the same
// ID and byte for byte, and nothing is lost or sent a third time.
func TestWebhookArrivesAgainWhenItsServerDies(t *testing.T) {
	const lease = 30 * time.Second
	for name, test := range map[string]struct {
		retried bool // the message has failed before, and is not new in the log
		dies    bool // the server; otherwise its store is away for a moment
	}{
		"a new event, the server dies":                  {dies: true},
		"a delivery that is tried again, and it dies":   {dies: true, retried: true},
		"a new event, the store is away":                {},
		"a delivery that is tried again, without store": {retried: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				store, r := memory.New(), &receiver{}
				root := rootkey.Generate()
				same := func(c *innkeeper.Config) { c.RootKeys = ringOf(t, root) }
				first, stop := running(t, store, same, through(r))
				defer stop()
				hook := first.hook("role.set")
				set := func(role string) {
					first.must(first.SetRole(ctx, innkeeper.Role{Name: role}, innkeeper.ActorOperator))
				}
				if test.retried {
					r.answers(down)
					set("one")
					time.Sleep(moment)
					r.take()
				}
				died := make(chan struct{}, 1)
				r.answers(func(context.Context, innkeeper.WebhookMessage) error {
					first.tap.always("AdvanceWebhook", func() error { return errors.New("nobody there") })
					r.answers(nil)
					died <- struct{}{}
					return nil
				})
				if !test.retried {
					set("one")
				}
				<-died
				at := time.Now()
				if test.dies {
					stop()
					_, stop2 := running(t, store, same, through(r))
					defer stop2()
				} else {
					synctest.Wait()
					first.tap.forget()
				}
				lost := r.take()
				set("two")
				time.Sleep(lease - moment)
				if early := r.take(); len(early) != 0 {
					t.Errorf("%d messages were sent before the lease was over", len(early))
				}
				time.Sleep(2 * moment)
				again := r.take()
				if len(lost) != 1 || len(again) != 2 {
					t.Fatalf("%d messages were sent before, and %d after the lease, want 1 and 2", len(lost), len(again))
				}
				if again[0].ID != lost[0].ID || string(again[0].Body) != string(lost[0].Body) {
					t.Errorf("%s %s came again as %s %s", lost[0].ID, lost[0].Body, again[0].ID, again[0].Body)
				}
				if again[1].ID == lost[0].ID || again[0].At.Sub(at) < lease-moment {
					t.Errorf("after %s there came %s and %s", again[0].At.Sub(at), again[0].ID, again[1].ID)
				}
				time.Sleep(5 * time.Minute)
				if more := r.take(); len(more) != 0 {
					t.Errorf("%d messages were sent again after that", len(more))
				}
				if pending, err := first.Deliveries(ctx, hook.ID, "", nil); err != nil || len(pending) != 0 {
					t.Errorf("%d deliveries are left: %v", len(pending), err)
				}
			})
		})
	}
}

// TestAddWebhookRefuses what could never be delivered to.
func TestAddWebhookRefuses(t *testing.T) {
	i := openInn(t)
	for url, events := range map[string][]string{
		"": nil, "app.example.com": nil, "http://app.example.com/": nil, "ftp://app.example.com/": nil, "https://": nil, "https://:443/": nil,
		"https://user:password@app.example.com/": nil, "https://app.example.com/#x": nil, "http://127.0.0.1.example.com/": nil,
		"http://localhost.example.com/": nil, "https://app.example.com/" + strings.Repeat("x", 2000): nil, "javascript:alert(1)": nil,
		"https://a.example.com/": {"no.such"}, "https://b.example.com/": {"session.ended:no_such"}, "https://c.example.com/": {"webhook.abandoned"},
		"https://d.example.com/": {""}, "https://e.example.com/": {"*:admin"},
	} {
		var input *innkeeper.InputError
		if _, _, err := i.AddWebhook(ctx, url, events, innkeeper.ActorOperator); !errors.As(err, &input) {
			t.Errorf("%s %v gave %v", url, events, err)
		}
	}
	for _, url := range []string{"http://localhost:8080/x", "http://127.0.0.1/", "http://[::1]:1/", "https://10.0.0.1/"} {
		_, _, err := i.AddWebhook(ctx, url, nil, innkeeper.ActorOperator)
		i.must(err)
	}
	for n := range 16 {
		_, _, err := i.AddWebhook(ctx, fmt.Sprintf("https://app.example.com/%d", n), nil, innkeeper.ActorOperator)
		i.must(err)
	}
	var input *innkeeper.InputError
	if _, _, err := i.AddWebhook(ctx, hookURL, nil, innkeeper.ActorOperator); !errors.As(err, &input) {
		t.Errorf("the twenty-first gave %v", err)
	}
	i.want(i.RemoveWebhook(ctx, innkeeper.WebhookID{}, innkeeper.ActorOperator), innkeeper.ErrNotFound)
	_, err := i.RotateWebhookSecret(ctx, innkeeper.WebhookID{}, 0, innkeeper.ActorOperator)
	i.want(err, innkeeper.ErrNotFound)
	_, err = i.Deliveries(ctx, innkeeper.WebhookID{}, "", nil)
	i.want(err, innkeeper.ErrNotFound)
}
