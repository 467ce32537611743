package innkeeper_test

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
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
	return i.counted(innkeeper.EventLoginFailed)
}

// counted returns what the log says of a kind that is kept in summary, and how many these
// are together.
func (i *inn) counted(kind innkeeper.EventKind) (events []innkeeper.Event, total int) {
	i.t.Helper()
	for _, event := range i.events() {
		if event.Kind != kind {
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
	bubble.Test(t, func(t *testing.T) {
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
	bubble.Test(t, func(t *testing.T) {
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
	bubble.Test(t, func(t *testing.T) {
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

// TestTurnedAwayIsLogged: people who knock at /admin, sign-ups that find names taken, and
// guesses that came too early by somebody who is signed in, are in the log once a minute (L1).
func TestTurnedAwayIsLogged(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New(), func(c *innkeeper.Config) { c.SignupOpen = true })
		ada := i.addUser("ada")
		admin, stranger := innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: "prober\n/1"}, innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.2")}
		grants := []*innkeeper.Grant{i.login("ada"), i.login("ada")}
		i.tap.forget()
		observed := len(i.observed.events)
		for n := range 5 { // three by the one session and two by the other
			grant := grants[n%2]
			i.want(i.AuthorizeAdmin(ctx, &innkeeper.Caller{Subject: grant.Subject, Session: grant.Session}, admin), innkeeper.ErrNotAdmin)
		}
		signUp := func() error {
			_, err := i.SignUp(ctx, innkeeper.SignupRequest{LoginRequest: innkeeper.LoginRequest{
				Username: "ADA", Password: otherPassword, Delivery: innkeeper.DeliverByBody, Client: stranger,
			}})
			return err
		}
		for range 10 {
			i.want(signUp(), innkeeper.ErrUsernameTaken)
		}
		for range 4 {
			i.want(signUp(), innkeeper.ErrTooManyAttempts)
		}
		caller := &innkeeper.Caller{Subject: grants[0].Subject, Session: grants[0].Session}
		change := func() error {
			_, err := i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: wrongPassword, New: otherPassword, Client: admin})
			return err
		}
		for range 5 {
			i.want(change(), innkeeper.ErrInvalidCredentials)
		}
		for range 6 {
			i.want(change(), innkeeper.ErrTooManyAttempts)
		}
		if calls := i.tap.forget(); calls["AppendEvent"] != 0 {
			t.Errorf("something was written at once: %v", calls)
		}
		// The first of each session at /admin, the first name, and each wrong password.
		if n := len(i.observed.events) - observed; n != 2+1+5 {
			t.Errorf("%d were told at once: %v", n, kinds(i.observed.events[observed:]))
		}
		stop()

		bounded := innkeeper.Client{Addr: admin.Addr, UserAgent: "prober/1"}
		refused, total := i.counted(innkeeper.EventAdminRefused)
		if len(refused) != 2 || total != 5 {
			t.Fatalf("the log tells of %d refusals in %+v", total, refused)
		}
		first := refused[0]
		if first.Actor != innkeeper.UserActor(ada.ID) || first.UserID != ada.ID || first.SessionID != grants[0].Session.ID || first.Client != bounded || first.Detail["count"] != "3" {
			t.Errorf("the row is %+v", first)
		}
		taken, total := i.counted(innkeeper.EventSignupFailed)
		if len(taken) != 1 || total != 10 || taken[0].Client != stranger || taken[0].UserID != (innkeeper.UserID{}) || taken[0].Actor != "" {
			t.Errorf("the log tells of %d taken names in %+v", total, taken)
		}
		early, total := i.counted(innkeeper.EventLoginThrottled)
		if len(early) != 2 || total != 4+6 {
			t.Fatalf("the log tells of %d tries that came too early in %+v", total, early)
		}
		for _, event := range early {
			if event.UserID == ada.ID && (event.Actor != innkeeper.UserActor(ada.ID) || event.SessionID != grants[0].Session.ID || event.Client != bounded || event.Detail["count"] != "6") ||
				event.UserID != ada.ID && (event.Client != stranger || event.Detail["count"] != "4") {
				t.Errorf("the row is %+v", event)
			}
		}
	})
}

// TestAdministratorsAreNotRefused: who holds the role leaves nothing behind.
func TestAdministratorsAreNotRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New())
		i.must(i.AuthorizeAdmin(ctx, &innkeeper.Caller{Subject: innkeeper.Subject{Roles: []string{"a", innkeeper.RoleAdmin}}}, someService))
		stop()
		if events, _ := i.counted(innkeeper.EventAdminRefused); len(events) != 0 {
			t.Errorf("the log tells of %+v", events)
		}
	})
}

// TestKnockingCannotFillTheLog lets one account knock at /admin with 530 sessions a minute
// for an hour. What is written and told is bounded, no refusal goes uncounted, and failed
// sign-ins keep their place.
func TestKnockingCannotFillTheLog(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New(), withoutLimits)
		ada := i.addUser("ada")
		observed := len(i.observed.events)
		const minutes, each = 62, 530
		time.Sleep(time.Second) // not at the moment at which it is written
		for minute := range minutes {
			for n := range each {
				caller := &innkeeper.Caller{Subject: ada.Subject, Session: innkeeper.Session{ID: innkeeper.SessionID{byte(n >> 8), byte(n), byte(minute)}}}
				for range 2 {
					i.want(i.AuthorizeAdmin(ctx, caller, someService), innkeeper.ErrNotAdmin)
				}
			}
			time.Sleep(time.Minute)
		}
		if n := len(i.observed.events) - observed; n != minutes*512 {
			t.Errorf("%d of %d were told at once", n, 2*minutes*each)
		}
		i.fails("ada", someService.Addr)
		stop()
		events, total := i.counted(innkeeper.EventAdminRefused)
		if total != 2*minutes*each || len(events) > 3*(600+60) {
			t.Errorf("%d refusals of %d in %d rows", total, 2*minutes*each, len(events))
		}
		for _, event := range events {
			if event.Detail["folded"] != "" && (event.Actor != "" || event.UserID != (innkeeper.UserID{}) || event.SessionID != (innkeeper.SessionID{}) || event.Client != (innkeeper.Client{})) {
				t.Fatalf("a folded row names %+v", event)
			}
		}
		if failed, _ := i.counted(innkeeper.EventLoginFailed); len(failed) != 1 || failed[0].UserID != ada.ID {
			t.Errorf("of the failed sign-in the log says %+v", failed)
		}
	})
}
