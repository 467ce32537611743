package innkeeper_test

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// running opens an authority on the bubble's time, and runs it until stop is called.
func running(t *testing.T, store *memory.Store, changes ...func(*innkeeper.Config)) (i *inn, stop func()) {
	t.Helper()
	onBubbleTime := func(c *innkeeper.Config) { c.Clock = time.Now }
	i = openInnOn(t, store, &clock{now: time.Now()}, append([]func(*innkeeper.Config){onBubbleTime}, changes...)...)
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { i.Run(ctx) })
	return i, sync.OnceFunc(func() {
		cancel()
		over.Wait()
	})
}

// fails tries a wrong password from an address.
func (i *inn) fails(username string, addr netip.Addr) {
	i.t.Helper()
	_, err := i.Login(ctx, innkeeper.LoginRequest{
		Username: username, Password: wrongPassword, Delivery: innkeeper.DeliverByBody,
		Client: innkeeper.Client{Addr: addr, UserAgent: "guesser/1"},
	})
	i.want(err, innkeeper.ErrInvalidCredentials)
}

// failures returns what the log says of failed sign-ins, and how many these are.
func (i *inn) failures() (events []innkeeper.Event, total int) {
	i.t.Helper()
	for _, event := range i.events() {
		if event.Kind != innkeeper.EventLoginFailed {
			continue
		}
		events = append(events, event)
		n := 1
		if text, ok := event.Detail["count"]; ok {
			var err error
			n, err = strconv.Atoi(text)
			i.must(err)
		}
		total += n
	}
	return events, total
}

// TestFailedSignInsAreLogged fails in every way, and looks at the log a minute later.
func TestFailedSignInsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New())
		defer stop()
		ada, off := i.addUser("ada"), i.addUser("carol")
		disabled := true
		_, err := i.UpdateUser(ctx, off.ID, innkeeper.UserUpdate{Disabled: &disabled}, innkeeper.ActorOperator)
		i.must(err)
		addr := netip.MustParseAddr("192.0.2.1")
		began := time.Now().UTC()
		i.tap.forget()
		for range 3 {
			i.fails("ada", addr)
			time.Sleep(time.Second)
		}
		i.fails("nobody", addr)
		i.fails("carol", addr)
		i.fails("ada", netip.MustParseAddr("2001:db8::1"))
		i.fails("ada", netip.MustParseAddr("2001:db8::2")) // of the same /64
		if calls := i.tap.forget(); calls["AppendEvent"] != 0 {
			t.Errorf("a failure wrote at once: %v", calls)
		}
		time.Sleep(time.Minute)
		events, total := i.failures()
		if total != 7 || len(events) != 4 {
			t.Fatalf("the log tells of %d failures in %d rows: %+v", total, len(events), events)
		}
		first := events[0]
		if first.UserID != ada.ID || first.Client.Addr != addr || first.Client.UserAgent != "guesser/1" || first.Actor != "" ||
			!first.At.Equal(began) || first.Detail["count"] != "3" || first.Detail["until"] != began.Add(2*time.Second).Format(time.RFC3339Nano) {
			t.Errorf("the row is %+v", first)
		}
		if unknown := events[2]; unknown.UserID != (innkeeper.UserID{}) || unknown.Detail != nil {
			t.Errorf("the row of nobody is %+v", unknown)
		}
	})
}

// TestFailedSignInsAreWrittenWhenAServerStops loses none to an orderly restart.
func TestFailedSignInsAreWrittenWhenAServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New())
		i.fails("ada", netip.MustParseAddr("192.0.2.1"))
		stop()
		if _, total := i.failures(); total != 1 {
			t.Errorf("the log tells of %d failures", total)
		}
	})
}

// TestStrangersCannotFillTheLog lets 530 networks a minute fail for an hour. What is
// written is bounded, by the hour, and no failure goes uncounted.
func TestStrangersCannotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New(), withoutLimits)
		i.addUser("ada")
		const minutes, each = 62, 530
		rows, networks := map[time.Time]int{}, 0
		for range minutes {
			for range each {
				networks++
				i.fails([]string{"ada", "nobody"}[networks%2], netip.AddrFrom4([4]byte{byte(20 + networks>>16), byte(networks >> 8), byte(networks), 1}))
			}
			time.Sleep(time.Minute)
		}
		stop()
		events, total := i.failures()
		if total != minutes*each {
			t.Errorf("the log tells of %d failures of %d", total, minutes*each)
		}
		folded := 0
		for _, event := range events {
			if event.Detail["folded"] != "" {
				folded++
				if event.UserID != (innkeeper.UserID{}) || event.Client != (innkeeper.Client{}) {
					t.Fatalf("a folded row names %+v", event)
				}
				continue
			}
			rows[event.At.Truncate(time.Hour)]++
		}
		for hour, n := range rows {
			if n > 600+512 { // a window may begin in one hour and be written in the next
				t.Errorf("%d rows in the hour of %s", n, hour)
			}
		}
		if len(events) > 3*(600+60) || folded == 0 || folded > minutes+1 {
			t.Errorf("%d failures made %d rows, %d of them folded", total, len(events), folded)
		}
		t.Logf("%d failures of %d networks in %d minutes made %d rows", total, networks, minutes, len(events))
	})
}
