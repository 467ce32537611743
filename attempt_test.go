package innkeeper_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// What is cited as W3, W4 and E3 are NIST SP 800-63B section 3.2.2 and OWASP ASVS 6.1.1
// (limits of failures, without a lock-out), ASVS 6.3.8 (nobody learns who exists), and
// the draft of rate limit headers (Retry-After, never too early).

// guess is one try from an address.
type guess struct {
	name, password string
	from           string // empty: an address of its own, that nobody else has
	devices        []string
}

var addresses atomic.Uint32

func (i *inn) guess(g guess) (*innkeeper.Grant, error) {
	if g.from == "" {
		n := addresses.Add(1)
		g.from = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String()
	}
	return i.Login(ctx, innkeeper.LoginRequest{
		Username: g.name, Password: g.password, Delivery: innkeeper.DeliverByBody, Devices: g.devices,
		Client: innkeeper.Client{Addr: netip.MustParseAddr(g.from)},
	})
}

// wantWait checks that a try came too early, by exactly that much.
func (i *inn) wantWait(err error, want time.Duration) {
	i.t.Helper()
	var early *innkeeper.TooManyAttemptsError
	if !errors.As(err, &early) || !errors.Is(err, innkeeper.ErrTooManyAttempts) || early.RetryAfter != want {
		i.t.Fatalf("got error %v, want to wait %s", err, want)
	}
}

// exhaust uses up what an account has for strangers, each time from another address.
func (i *inn) exhaust(name string) {
	i.t.Helper()
	for range 5 {
		_, err := i.guess(guess{name: name, password: wrongPassword})
		i.want(err, innkeeper.ErrInvalidCredentials)
	}
}

// W3, W4: five free tries, whether or not there is such a user, and then nothing is
// looked at until the time is over: not even the right password. E3: nor who has the
// name, which the time that it takes would tell, also to those with a device of their own.
func TestGuessesRunOut(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.addUser("eve")
	own, err := i.guess(guess{name: "eve", password: rightPassword})
	i.must(err)
	for _, name := range []string{"ada", "nobody"} {
		i.exhaust(name)
		i.tap.forget()
		for _, plain := range []string{wrongPassword, rightPassword} {
			_, err := i.guess(guess{name: strings.ToUpper(name), password: plain}) // another spelling of it
			i.wantWait(err, time.Second)
		}
		if calls := i.tap.forget(); !maps.Equal(calls, map[string]int{"Attempts": 4}) { // of the network and of the account, twice
			t.Errorf("%s: to be refused, the store was asked %v", name, calls)
		}
		_, err := i.guess(guess{name: name, password: wrongPassword, devices: []string{own.Device.Reveal()}})
		i.wantWait(err, time.Second)
		if calls := i.tap.forget(); !maps.Equal(calls, map[string]int{"User": 1, "Attempts": 2}) { // eve's
			t.Errorf("%s: to be refused on another's device, the store was asked %v", name, calls)
		}
	}
	i.clock.advance(time.Second - time.Microsecond)
	_, err = i.guess(guess{name: "ada", password: rightPassword})
	i.wantWait(err, time.Microsecond)
	i.clock.advance(time.Microsecond)
	_, err = i.guess(guess{name: "ada", password: wrongPassword})
	i.want(err, innkeeper.ErrInvalidCredentials)
	_, err = i.guess(guess{name: "ada", password: wrongPassword})
	i.wantWait(err, 2*time.Second)

	// Who knows the password begins anew.
	i.clock.advance(2 * time.Second)
	_, err = i.guess(guess{name: "ada", password: rightPassword})
	i.must(err)
	i.exhaust("ada")

	// And everybody does after a day.
	i.clock.advance(24 * time.Hour)
	i.exhaust("ada")
}

// W3: 500 guesses at the same moment do not share one try.
func TestParallelGuessesShareOneBudget(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	for _, name := range []string{"ada", "nobody"} {
		var failed, refused atomic.Int32
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				switch _, err := i.guess(guess{name: name, password: wrongPassword}); {
				case errors.Is(err, innkeeper.ErrInvalidCredentials):
					failed.Add(1)
				case errors.Is(err, innkeeper.ErrTooManyAttempts):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if failed.Load() != 5 || refused.Load() != 495 {
			t.Errorf("%s: %d were looked at and %d refused", name, failed.Load(), refused.Load())
		}
	}
}

// ASVS 6.1.1, W3: a stranger cannot keep anybody out of a device that they have been on
// before, neither by the account nor by the network.
func TestStrangersDoNotLockOut(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	const cafe = "192.0.2.1"
	first, err := i.guess(guess{name: "ada", password: rightPassword, from: cafe})
	i.must(err)
	device := []string{first.Device.Reveal()}
	for n := range 10 { // everybody in the café has bad luck
		_, err := i.guess(guess{name: fmt.Sprint("guest", n), password: wrongPassword, from: cafe})
		i.want(err, innkeeper.ErrInvalidCredentials)
	}
	i.exhaust("ada")
	_, err = i.guess(guess{name: "ada", password: rightPassword, from: cafe})
	i.wantWait(err, time.Second)
	grant, err := i.guess(guess{name: "ada", password: rightPassword, from: cafe, devices: device})
	i.must(err)

	// It goes on being known: after a logout, and after a change of the password.
	i.must(i.Logout(ctx, innkeeper.LogoutRequest{RefreshTokens: []string{grant.RefreshToken.Reveal()}, Scope: innkeeper.LogoutThis}))
	grant, err = i.guess(guess{name: "ada", password: rightPassword, from: cafe, devices: device})
	i.must(err)
	_, err = i.ChangePassword(ctx, i.caller(grant), innkeeper.PasswordChange{Current: rightPassword, New: otherPassword})
	i.must(err)
	grant, err = i.guess(guess{name: "ada", password: otherPassword, from: cafe, devices: device})
	i.must(err)

	// The sign-in has begun its year anew, as the same device.
	i.clock.advance(300 * 24 * time.Hour)
	grant, err = i.guess(guess{name: "ada", password: otherPassword, from: cafe, devices: []string{grant.Device.Reveal()}})
	i.must(err)
	if got, want := grant.Device.ExpiresAt(), i.clock.Now().Add(365*24*time.Hour).Truncate(time.Second); !got.Equal(want) {
		t.Errorf("the device is known until %s, want %s", got, want)
	}
	// The known device has a budget too, and whoever has stolen its token has no more.
	device = []string{"ikd_nonsense", grant.Device.Reveal()}
	for range 5 {
		_, err = i.guess(guess{name: "ada", password: wrongPassword, devices: device})
		i.want(err, innkeeper.ErrInvalidCredentials)
	}
	_, err = i.guess(guess{name: "ada", password: otherPassword, devices: device})
	i.wantWait(err, time.Second)
	_, err = i.guess(guess{name: "ada", password: otherPassword}) // strangers have not used theirs
	i.must(err)
}

// What is no good token of that very user makes nobody known, and nobody is told why.
func TestDeviceTokensThatAreNone(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.addUser("bob")
	ada, bob := i.login("ada"), i.login("bob")
	other := openInn(t)
	other.addUser("ada")
	own := ada.Device.Reveal()
	late := openInnOn(t, i.store, &clock{now: opening.Add(-366 * 24 * time.Hour)}, withRoots(i.config.RootKeys))
	expired := late.login("ada")
	altered := []byte(own)
	altered[30] ^= 1
	i.exhaust("ada")
	for name, token := range map[string]string{
		"none":                "",
		"of another user":     bob.Device.Reveal(),
		"of another server":   other.login("ada").Device.Reveal(),
		"expired":             expired.Device.Reveal(),
		"altered":             string(altered),
		"with a line break":   own[:20] + "\n" + own[20:],
		"cut":                 own[:len(own)-1],
		"longer":              own + "A",
		"a refresh token":     ada.RefreshToken.Reveal(),
		"dressed up":          "ikd_" + strings.TrimPrefix(ada.RefreshToken.Reveal(), "ikr_"),
		"an access token":     ada.AccessToken,
		"of an unknown shape": "ikd_" + strings.Repeat("A", len(own)-4),
	} {
		_, err := i.guess(guess{name: "ada", password: rightPassword, devices: []string{token}})
		if !errors.Is(err, innkeeper.ErrTooManyAttempts) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := i.guess(guess{name: "ada", password: rightPassword, devices: []string{own}}); err != nil {
		t.Errorf("the own one: %v", err)
	}
	// And it is good for nothing else.
	_, err := i.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{"ikr_" + own[4:]}, Delivery: innkeeper.DeliverByBody})
	i.want(err, innkeeper.ErrRefreshTokenInvalid)
	_, err = i.Authenticate(ctx, own)
	i.want(err, innkeeper.ErrAccessTokenInvalid)
	if printed := fmt.Sprintf("%v %+v %#v %s", ada.Device, ada.Device, *ada, ada.Device); strings.Contains(printed, own) {
		t.Errorf("it is printed: %s", printed)
	}
}

// Somebody who knew the password has signed in often, to be known on many devices. Once
// it is changed, all of these together are not worth more than one stranger's patience.
func TestCollectedDevicesShareABudget(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	var collected []string
	for range 40 {
		collected = append(collected, i.login("ada").Device.Reveal())
	}
	i.must(i.SetPassword(ctx, ada.ID, otherPassword, innkeeper.ActorOperator))
	tries := 0
	for _, token := range collected {
		for range 5 {
			if _, err := i.guess(guess{name: "ada", password: wrongPassword, devices: []string{token}}); errors.Is(err, innkeeper.ErrInvalidCredentials) {
				tries++
			}
		}
	}
	if tries != 20 {
		t.Errorf("40 devices gave %d tries, want 20", tries)
	}
	_, err := i.guess(guess{name: "ada", password: otherPassword}) // the owner, anywhere else
	i.must(err)
}

// One password on many accounts: the network runs out (OWASP: credential stuffing). An
// account of one's own, in between, does not make it begin anew.
func TestOneNetworkRunsOut(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	i.addUser("mallory")
	failed := 0
	var last error
	for n := range 30 {
		from := fmt.Sprintf("2001:db8:1:2::%x", n+1) // one /64
		_, err := i.guess(guess{name: "mallory", password: rightPassword, from: from})
		if err == nil {
			_, err = i.guess(guess{name: fmt.Sprint("user", n), password: otherPassword, from: from})
		}
		if errors.Is(err, innkeeper.ErrInvalidCredentials) {
			failed++
		} else {
			last = err
		}
	}
	if failed != 10 {
		t.Errorf("%d guesses were looked at, want 10", failed)
	}
	i.wantWait(last, time.Second)
	for _, from := range []string{"2001:db8:1:3::1", "192.0.2.1"} {
		_, err := i.guess(guess{name: "ada", password: rightPassword, from: from})
		i.must(err)
	}
	i.clock.advance(time.Hour)
	_, err := i.guess(guess{name: "ada", password: rightPassword, from: "2001:db8:1:2::1"})
	i.must(err)
}

// An operator may leave networks out. Accounts stay limited.
func TestLimitAccountsOnly(t *testing.T) {
	i := openInn(t, func(c *innkeeper.Config) { c.SignInLimits = innkeeper.LimitAccounts })
	for n := range 30 {
		_, err := i.guess(guess{name: fmt.Sprint("user", n), password: wrongPassword, from: "192.0.2.1"})
		i.want(err, innkeeper.ErrInvalidCredentials)
	}
	i.exhaust("ada")
	_, err := i.guess(guess{name: "ada", password: wrongPassword})
	i.wantWait(err, time.Second)

	config := i.config
	config.SignInLimits = "none"
	_, err = innkeeper.Open(ctx, config)
	var input *innkeeper.InputError
	if !errors.As(err, &input) || input.Field != "sign-in-limits" {
		t.Errorf("limits that are none: got %v", err)
	}
}

// Those without an address are not those without a limit.
func TestUnknownAddressesShareOne(t *testing.T) {
	i := openInn(t)
	for n := range 10 {
		_, err := i.Login(ctx, innkeeper.LoginRequest{Username: fmt.Sprint("user", n), Password: wrongPassword, Delivery: innkeeper.DeliverByBody})
		i.want(err, innkeeper.ErrInvalidCredentials)
	}
	_, err := i.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: wrongPassword, Delivery: innkeeper.DeliverByBody})
	i.wantWait(err, time.Second)
}

// W4: where sign-up is open, it tells which names are taken. It tells a network so ten
// times, and then takes its time. Names that are free cost next to nothing.
func TestSignUpsThatFindNames(t *testing.T) {
	i := openInn(t, withSignupOpen)
	i.addUser("ada")
	for n := range 30 {
		i.must(i.signUp(fmt.Sprint("user", n), "192.0.2.1"))
	}
	for range 10 {
		i.want(i.signUp("ada", "192.0.2.1"), innkeeper.ErrUsernameTaken)
	}
	i.wantWait(i.signUp("ada", "192.0.2.1"), time.Second)
	_, err := i.guess(guess{name: "ada", password: rightPassword}) // the account is untouched
	i.must(err)
	i.exhaust("ada")
}

// A network that makes one account after the other waits in the end, but only to make
// more: its people sign in as before. What was refused for another reason does not count.
func TestSignUpsRunOut(t *testing.T) {
	i := openInn(t, withSignupOpen)
	const here = "2001:db8::1"
	for n := range 100 {
		var rejected *password.RejectedError
		if err := i.signUpWith(fmt.Sprint("user", n), "password", here); !errors.As(err, &rejected) {
			t.Fatalf("a bad password: %v", err)
		}
		i.must(i.signUp(fmt.Sprint("user", n), here))
	}
	i.wantWait(i.signUp("one-more", "2001:db8::2"), time.Second)
	i.must(i.signUp("elsewhere", "2001:db8:0:1::1"))
	for range 20 {
		_, err := i.guess(guess{name: "user1", password: rightPassword, from: here})
		i.must(err)
	}
	through := 0
	for began := i.clock.Now(); i.clock.Now().Before(began.Add(24 * time.Hour)); i.clock.advance(10 * time.Second) {
		switch err := i.signUp(fmt.Sprint("later", through), here); {
		case err == nil:
			through++
		case !errors.Is(err, innkeeper.ErrTooManyAttempts):
			t.Fatal(err)
		}
	}
	if through < 90 || through > 110 {
		t.Errorf("%d more accounts in a day", through)
	}
}

func (i *inn) signUp(name, from string) error { return i.signUpWith(name, rightPassword, from) }

func (i *inn) signUpWith(name, password, from string) error {
	_, err := i.SignUp(ctx, innkeeper.SignupRequest{LoginRequest: innkeeper.LoginRequest{
		Username: name, Password: password, Delivery: innkeeper.DeliverByBody, Client: innkeeper.Client{Addr: netip.MustParseAddr(from)},
	}})
	return err
}

// W8: who holds an access token cannot guess the password with it, and neither that nor
// strangers keep the owner from changing it in another session.
func TestPasswordChangesRunOut(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	stolen, own := i.login("ada"), i.login("ada")
	change := func(grant *innkeeper.Grant, current string) error {
		_, err := i.ChangePassword(ctx, i.caller(grant), innkeeper.PasswordChange{Current: current, New: otherPassword})
		return err
	}
	for range 5 {
		i.want(change(stolen, wrongPassword), innkeeper.ErrInvalidCredentials)
	}
	i.wantWait(change(stolen, rightPassword), time.Second)
	i.exhaust("ada")
	i.must(change(own, rightPassword))
}

// afterSwap does something after each count that was written.
type afterSwap struct {
	innkeeper.AttemptStore
	do func()
}

func (s afterSwap) SwapAttempts(ctx context.Context, key innkeeper.AttemptKey, old, next innkeeper.Attempts) (bool, error) {
	swapped, err := s.AttemptStore.SwapAttempts(ctx, key, old, next)
	s.do()
	return swapped, err
}

// A try without a verdict is none: the hasher was busy, somebody has hung up, a store
// did not answer.
func TestTriesWithoutAVerdictAreGivenBack(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	request := innkeeper.LoginRequest{Username: "ada", Password: wrongPassword, Delivery: innkeeper.DeliverByBody}
	left := func() (n int) { // it uses up what is left
		for ; ; n++ {
			if _, err := i.Login(ctx, request); errors.Is(err, innkeeper.ErrTooManyAttempts) {
				return n
			}
		}
	}

	hungUp, cancel := context.WithCancel(ctx)
	impatient := openInnOn(t, i.store, i.clock, withRoots(i.config.RootKeys), func(c *innkeeper.Config) {
		c.Stores.Attempts = afterSwap{c.Stores.Attempts, cancel}
	})
	_, err := impatient.Login(hungUp, request)
	i.want(err, innkeeper.ErrUnavailable)

	i.tap.once("UserByUsername", func() error { return errors.New("no answer") })
	_, err = i.Login(ctx, request)
	i.want(err, innkeeper.ErrUnavailable)
	for _, failing := range []string{"Attempts", "SwapAttempts"} {
		i.tap.once(failing, func() error { return errors.New("no answer") })
		_, err := i.Login(ctx, request)
		i.want(err, innkeeper.ErrUnavailable)
	}
	// The second of two counts fails: the first one is taken back.
	swaps := 0
	i.tap.always("SwapAttempts", func() error {
		if swaps++; swaps == 2 {
			return errors.New("no answer")
		}
		return nil
	})
	_, err = i.Login(ctx, request)
	i.want(err, innkeeper.ErrUnavailable)
	i.tap.forget()
	if n := left(); n != 5 {
		t.Errorf("%d tries were left, want 5", n)
	}

	// That a success cannot be written down costs nobody their session.
	i.clock.advance(24 * time.Hour)
	swaps = 0
	i.tap.always("SwapAttempts", func() error {
		if swaps++; swaps > 2 {
			return errors.New("no answer")
		}
		return nil
	})
	i.login("ada")
}

// A hasher with one place, for which nobody may wait, puts off whoever is second.
func TestABusyHasherCostsNoTry(t *testing.T) {
	i := openInn(t, func(c *innkeeper.Config) {
		c.Passwords = password.Config{Concurrency: 1, Queue: -1}
	})
	i.addUser("ada")
	var failed, busy atomic.Int32
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for { // until each of them has had its verdict
				_, err := i.guess(guess{name: "ada", password: wrongPassword})
				if !errors.Is(err, innkeeper.ErrUnavailable) {
					i.want(err, innkeeper.ErrInvalidCredentials)
					failed.Add(1)
					return
				}
				busy.Add(1)
			}
		})
	}
	all.Wait()
	if failed.Load() != 5 {
		t.Errorf("%d had a verdict, and %d were put off", failed.Load(), busy.Load())
	}
	t.Logf("%d were put off", busy.Load())
}

// W3: a restart forgives nothing. What two servers of one database share is tested in
// store/postgres.
func TestLimitsSurviveARestart(t *testing.T) {
	roots, now := ringOf(t, rootkey.Generate()), &clock{now: opening}
	path := filepath.Join(t.TempDir(), "innkeeper.db")
	serve := func(do func(*inn)) {
		store, err := sqlite.Open(ctx, sqlite.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		do(openInnOn(t, memory.New(), now, withRoots(roots), func(c *innkeeper.Config) { c.Stores = store.Stores() }))
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	try := func(i *inn, times int, want error) {
		t.Helper()
		for range times {
			_, err := i.guess(guess{name: "ada", password: wrongPassword})
			i.want(err, want)
		}
	}
	serve(func(i *inn) { i.addUser("ada"); try(i, 3, innkeeper.ErrInvalidCredentials) })
	serve(func(i *inn) { try(i, 2, innkeeper.ErrInvalidCredentials); try(i, 1, innkeeper.ErrTooManyAttempts) })
	serve(func(i *inn) {
		_, err := i.guess(guess{name: "ada", password: rightPassword})
		i.wantWait(err, time.Second)
		now.advance(time.Second)
		_, err = i.guess(guess{name: "ada", password: rightPassword})
		i.must(err)
	})
}

// A session that refreshes without a rest is slowed down, loses nothing by it, and is
// alone with that. Nobody is counted by address, and the store is not asked.
func TestRefreshIsLimitedBySession(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	wild, calm := i.login("ada"), i.login("ada")
	i.tap.forget()
	for range 60 {
		wild = i.refresh(wild, ownKey(wild))
	}
	if calls := i.tap.forget(); !maps.Equal(calls, map[string]int{"RotateSession": 60, "RotateSession/answer": 60}) {
		t.Errorf("60 refreshes asked the store %v", calls)
	}
	_, err := i.try(wild, ownKey(wild))
	i.wantWait(err, time.Second)
	if calls := i.tap.forget(); len(calls) != 0 {
		t.Errorf("to be refused, the store was asked %v", calls)
	}
	i.refresh(calm, ownKey(calm))
	for range 100 { // what is no token of that session cannot use up what it has
		_, err := i.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{wild.RefreshToken.Reveal() + "A"}, Delivery: innkeeper.DeliverByBody})
		i.want(err, innkeeper.ErrRefreshTokenInvalid)
	}
	i.clock.advance(time.Second)
	next := i.refresh(wild, ownKey(wild))
	if next.Session.Generation != 62 {
		t.Errorf("generation %d", next.Session.Generation)
	}

	config := i.config
	config.RefreshLimit = 60_001
	_, err = innkeeper.Open(ctx, config)
	var input *innkeeper.InputError
	if !errors.As(err, &input) || input.Field != "refresh-limit" {
		t.Errorf("a limit that is none: got %v", err)
	}
}

// TestRefusalsAreLogged: the audit log tells of sign-ins that were refused unseen, in
// summary, alike for those who exist and those who do not.
func TestRefusalsAreLogged(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i, stop := running(t, memory.New())
		ada := i.addUser("ada")
		i.exhaust("ada")
		i.exhaust("nobody")
		observed := len(i.observed.events)
		for range 7 {
			for _, name := range []string{"ada", "nobody"} {
				_, err := i.guess(guess{name: name, password: wrongPassword, from: "192.0.2.1"})
				i.want(err, innkeeper.ErrTooManyAttempts)
			}
		}
		if n := len(i.observed.events) - observed; n != 0 {
			t.Errorf("%d were told at once", n)
		}
		stop()
		var counted []string
		for _, event := range i.events() {
			if event.Kind == innkeeper.EventLoginThrottled {
				counted = append(counted, fmt.Sprintf("%t %s %s", event.UserID == ada.ID, event.Client.Addr, event.Detail["count"]))
			}
		}
		slices.Sort(counted)
		if want := []string{"false 192.0.2.1 7", "true 192.0.2.1 7"}; !slices.Equal(counted, want) {
			t.Errorf("the log tells of %v, want %v", counted, want)
		}
	})
}

// TestSweepForgetsAttempts deletes what no limit remembers any more.
func TestSweepForgetsAttempts(t *testing.T) {
	i := openInn(t)
	i.exhaust("ada")
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{24 * time.Hour, 0}, {time.Microsecond, 6}, {0, 0}} { // five networks and an account
		i.clock.advance(test.after)
		swept, err := i.Sweep(ctx, innkeeper.SweepPolicy{Batch: 4})
		i.must(err)
		if swept.Attempts != test.want {
			t.Errorf("swept %d, want %d", swept.Attempts, test.want)
		}
	}
}

// slowEngine takes the time of a real hash.
type slowEngine struct{}

func (slowEngine) Argon2id(p password.Params, salt, plain []byte) []byte {
	time.Sleep(30 * time.Millisecond)
	return password.Argon2id(p, salt, plain)
}

func (slowEngine) MatchesImported(encoded string, plain []byte) bool {
	return password.MatchesImported(encoded, plain)
}

// TestNobodyFillsTheFirstLine has one user ask for more checks at once than may wait, with
// many sessions of hers. Somebody else on a known device gets in all the same.
func TestNobodyFillsTheFirstLine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t, func(cfg *innkeeper.Config) {
			cfg.Clock = time.Now
			cfg.Passwords.Concurrency, cfg.Passwords.Engine = 1, slowEngine{}
		})
		i.addUser("ada")
		i.addUser("eve")
		ada := i.login("ada")
		var callers []*innkeeper.Caller
		for range 20 {
			callers = append(callers, i.caller(i.login("eve")))
		}
		var asking sync.WaitGroup
		var busy atomic.Int32
		for _, caller := range callers {
			for range 5 {
				asking.Go(func() {
					_, err := i.ChangePassword(ctx, caller, innkeeper.PasswordChange{Current: wrongPassword, New: otherPassword})
					if errors.Is(err, innkeeper.ErrUnavailable) {
						busy.Add(1)
					}
				})
			}
		}
		synctest.Wait() // all of them wait, or were turned away
		began := time.Now()
		_, err := i.Login(ctx, innkeeper.LoginRequest{
			Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody, Devices: []string{ada.Device.Reveal()},
		})
		if took := time.Since(began); err != nil || took > time.Second {
			t.Errorf("she is told %v after %v", err, took)
		}
		asking.Wait()
		if busy.Load() == 0 {
			t.Error("the other one was never turned away: the test proves nothing")
		}
	})
}
