package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// seqs are the numbers of the events in an answer.
func seqs(t *testing.T, a answer) (all []int) {
	t.Helper()
	a.want(t, 200, "")
	for _, event := range a.body["events"].([]any) {
		all = append(all, int(event.(map[string]any)["seq"].(float64)))
	}
	return all
}

// TestEventPages pages through the log in both directions, and is refused what makes no
// sense.
func TestEventPages(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	j := newJanitor(t, inn)
	for i := range 9 {
		inn.AddUser(fmt.Sprint("guest", i))
	}
	all := seqs(t, j.call("GET", "/admin/events"))
	for _, order := range []string{"oldest", "newest"} {
		var got []int
		for path := "/admin/events?limit=4&order=" + order; ; {
			page := seqs(t, j.call("GET", path))
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			cursor := map[string]string{"oldest": "after", "newest": "before"}[order]
			path = fmt.Sprintf("/admin/events?limit=4&order=%s&%s=%d", order, cursor, page[len(page)-1])
		}
		want := append([]int(nil), all...)
		if order == "newest" {
			for i := range want {
				want[i] = all[len(all)-1-i]
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s first: got %v, want %v", order, got, want)
		}
	}
	if none := seqs(t, j.call("GET", "/admin/events?since=2099-01-01T00:00:00Z")); none != nil {
		t.Errorf("of the future are %v", none)
	}
	for _, query := range []string{
		"user=x", "session=x", "kind=no.such", "since=yesterday", "order=sideways", "after=-1", "after=x", "limit=0", "limit=1001",
		"after=1&order=newest", "before=1",
	} {
		j.call("GET", "/admin/events?"+query).want(t, 400, "invalid_request")
	}
	// A kind that nothing has happened of is one all the same.
	if none := seqs(t, j.call("GET", "/admin/events?kind=service.refused&kind=service.removed&kind=service.added")); none != nil {
		t.Errorf("of services are %v", none)
	}
	guest := inn.SignIn("guest1")
	for _, call := range [][2]string{
		{"GET", "/admin/events"}, {"GET", "/admin/webhooks"}, {"POST", "/admin/webhooks"}, {"DELETE", "/admin/webhooks/x"},
		{"POST", "/admin/webhooks/x/rotate-secret"}, {"GET", "/admin/webhooks/x/deliveries"}, {"POST", "/admin/webhooks/x/retry"},
	} {
		request(t, call[0], inn.URL+call[1], "", "Authorization", bearer(guest.AccessToken)).want(t, 403, "forbidden")
		request(t, call[0], inn.URL+call[1], "").want(t, 401, "access_token_invalid")
		if call[1] != "/admin/events" && call[1] != "/admin/webhooks" {
			j.call(call[0], call[1]).want(t, 404, "not_found")
		}
	}
}

// TestWhoIsTurnedAwayIsObserved knocks at /admin without the role, and signs up under a name
// that somebody has (L1). Several times are told once.
func TestWhoIsTurnedAwayIsObserved(t *testing.T) {
	var mu sync.Mutex
	var seen []innkeeper.Event
	inn := innkeepertest.New(t, &innkeepertest.Options{SignupOpen: true, Observe: func(event innkeeper.Event) {
		mu.Lock()
		defer mu.Unlock()
		if event.Kind == innkeeper.EventAdminRefused || event.Kind == innkeeper.EventSignupFailed {
			seen = append(seen, event)
		}
	}})
	ada := inn.AddUser("ada")
	guest := inn.SignIn("ada")
	for _, path := range []string{"/admin/users", "/admin/roles", "/admin/events"} {
		request(t, "GET", inn.URL+path, "", "Authorization", bearer(guest.AccessToken), "User-Agent", "prober/1").want(t, 403, "forbidden")
		request(t, "POST", inn.URL+"/auth/signup", credentials+`}`, "User-Agent", "prober/2").want(t, 409, "username_taken")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 {
		t.Fatalf("told were %+v", seen)
	}
	refused, taken := seen[0], seen[1]
	if refused.Kind != innkeeper.EventAdminRefused || refused.Actor != innkeeper.UserActor(ada.ID) || refused.UserID != ada.ID ||
		refused.SessionID.String() != guest.ID || refused.Client.Addr.String() != "127.0.0.1" || refused.Client.UserAgent != "prober/1" {
		t.Errorf("told was %+v", refused)
	}
	if taken.Kind != innkeeper.EventSignupFailed || taken.Actor != "" || taken.Client.Addr.String() != "127.0.0.1" || taken.Client.UserAgent != "prober/2" {
		t.Errorf("told was %+v", taken)
	}
}

// refusing is a receiver that is never there.
type refusing struct{}

// Send implements [innkeeper.WebhookSender].
func (refusing) Send(context.Context, innkeeper.WebhookMessage) error {
	return errors.New("nobody is there")
}

// TestWebhooksAreToldWhatTheLogSays compares what a webhook is sent with what
// GET /admin/events says of the same event.
func TestWebhooksAreToldWhatTheLogSays(t *testing.T) {
	stores, ring := memory.New().Stores(), rootkey.Generate()
	roots, err := rootkey.NewRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	inn := innkeepertest.New(t, &innkeepertest.Options{Stores: &stores, RootKeys: roots})
	j := newJanitor(t, inn)
	hook, _, err := inn.Authority.AddWebhook(t.Context(), "https://app.example.com/", []string{"refresh_token.reused"}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	stolen := inn.SignIn("root")
	inn.Refresh(stolen)
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+stolen.RefreshToken+`"}`).want(t, 401, "refresh_token_reused")

	// Another server of the stores delivers.
	other, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: inn.URL, Stores: stores, RootKeys: roots, Clock: inn.Clock.Now, Webhooks: refusing{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	over := make(chan struct{})
	go func() {
		defer close(over)
		other.Run(ctx)
	}()
	var sent []innkeeper.WebhookDelivery
	for len(sent) == 0 && ctx.Err() == nil {
		if sent, err = other.Deliveries(t.Context(), hook.ID, "", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-over
	if len(sent) != 1 {
		t.Fatalf("sent were %+v", sent)
	}
	var body struct {
		Type      string         `json:"type"`
		Timestamp string         `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}
	if err := json.Unmarshal(sent[0].Body, &body); err != nil {
		t.Fatal(err)
	}
	a := j.call("GET", "/admin/events?kind=refresh_token.reused")
	a.want(t, 200, "")
	logged := a.body["events"].([]any)[0].(map[string]any)
	delete(logged, "seq")
	if !reflect.DeepEqual(body.Data, logged) || body.Type != logged["kind"] || body.Timestamp != logged["at"] {
		t.Errorf("sent was %s\nthe log says %v", sent[0].Body, logged)
	}
	listed := j.call("GET", "/admin/webhooks/"+hook.ID.String()+"/deliveries")
	listed.want(t, 200, "")
	if d := listed.body["deliveries"].([]any)[0].(map[string]any); !reflect.DeepEqual(d["body"].(map[string]any)["data"], any(body.Data)) || d["last_error"] != "nobody is there" {
		t.Errorf("listed is %v", d)
	}
}
