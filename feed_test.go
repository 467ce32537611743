package innkeeper_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// In these tests time is that of a bubble: it moves when everybody waits. How long
// something took is how long it would have taken on an infinitely fast machine.

func withRealClock(c *innkeeper.Config) { c.Clock = time.Now }

// server is an authority whose Run can be ended.
type server struct {
	*inn
	stop func() // ends Run and waits for it
}

// servers opens authorities on one store and runs them, until they are ready.
func servers(t *testing.T, n int, changes ...func(*innkeeper.Config)) []server {
	t.Helper()
	store := memory.New()
	changes = append(changes, withRealClock, withRoots(ringOf(t, rootkey.Generate())))
	running := make([]server, n)
	for i := range running {
		running[i] = run(t, openInnOn(t, store, &clock{}, changes...))
		running[i].page(0, time.Second)
	}
	return running
}

func run(t *testing.T, i *inn) server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { i.Run(ctx) })
	stop := func() { cancel(); over.Wait() }
	t.Cleanup(stop)
	return server{inn: i, stop: stop}
}

// page is a call that must succeed.
func (i *inn) page(after int64, wait time.Duration) innkeeper.RevocationPage {
	i.t.Helper()
	page, err := i.Revocations(ctx, after, wait)
	i.must(err)
	return page
}

// revoke writes an entry behind the authorities' backs, as another process would.
func (i *inn) revoke(kind innkeeper.RevocationKind, id string) {
	i.t.Helper()
	i.must(i.store.Revoke(ctx, innkeeper.Revocation{At: i.config.Clock(), Kind: kind, ID: id}, innkeeper.Event{}))
}

func ids(page innkeeper.RevocationPage) []string {
	var ids []string
	for _, entry := range page.Entries {
		ids = append(ids, entry.ID)
	}
	return ids
}

func wantIDs(t *testing.T, page innkeeper.RevocationPage, want ...string) {
	t.Helper()
	if got := ids(page); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the page holds %v, want %v", got, want)
	}
}

// took returns how long a call takes.
func took(call func()) time.Duration {
	began := time.Now()
	call()
	return time.Since(began)
}

func TestRevocationsWithoutRun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t, withRealClock)
		_, err := i.Revocations(ctx, 0, 0)
		i.want(err, innkeeper.ErrUnavailable)
		waited := took(func() { _, err = i.Revocations(ctx, 0, 3*time.Second) })
		i.want(err, innkeeper.ErrUnavailable)
		if waited != 3*time.Second {
			t.Errorf("waited %s for Run, want 3s", waited)
		}
		i.want(i.Ready(ctx), innkeeper.ErrUnavailable)
		_, err = i.Check(ctx, "x")
		i.want(err, innkeeper.ErrUnavailable)
		if calls := i.tap.forget(); len(calls) > 0 {
			t.Errorf("the store was asked: %v", calls)
		}
	})
}

func TestRevocationsWaitForTheFirstReading(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t, withRealClock)
		i.revoke(innkeeper.RevokedSession, "a")
		i.tap.always("LastRevocation", func() error { return errors.New("not now") })
		s := run(t, i)
		time.AfterFunc(10*time.Second, func() { i.tap.forget() })
		var page innkeeper.RevocationPage
		waited := took(func() { page = s.page(0, time.Minute) })
		if waited < 10*time.Second || waited > 11*time.Second {
			t.Errorf("waited %s for a store that came back after 10s", waited)
		}
		wantIDs(t, page, "a")
		s.must(s.Ready(ctx))
	})
}

// A revocation of this server is felt here at once, and everywhere else at the next
// poll.
func TestRevocationsAreFelt(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		both := servers(t, 2)
		here := both[0]
		ada := here.addUser("ada")
		for name, end := range map[string]func(grant *innkeeper.Grant) error{
			"one session": func(grant *innkeeper.Grant) error {
				return here.EndSession(ctx, grant.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
			},
			"all of a user": func(*innkeeper.Grant) error {
				return here.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator)
			},
			"replaced": func(grant *innkeeper.Grant) error {
				_, err := here.Login(ctx, innkeeper.LoginRequest{
					Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByBody,
					Replaces: grant.RefreshToken.Reveal(),
				})
				return err
			},
			"reused": func(grant *innkeeper.Grant) error {
				here.refresh(here.refresh(grant, ownKey(grant)), noKey)
				_, err := here.try(grant, noKey)
				here.want(err, innkeeper.ErrRefreshTokenReused)
				return nil
			},
		} {
			grant := here.login("ada")
			for _, s := range both {
				_, err := s.Check(ctx, grant.AccessToken)
				s.must(err)
			}
			var followers sync.WaitGroup
			for i, s := range both {
				after := s.page(0, time.Second).Next
				followers.Go(func() {
					var page innkeeper.RevocationPage
					waited := took(func() { page = s.page(after, time.Minute) })
					if len(page.Entries) != 1 || page.Snapshot || page.More || page.Next != page.Entries[0].Seq {
						t.Errorf("%s: server %d answered %+v", name, i, page)
					}
					if limit := time.Duration(i) * 250 * time.Millisecond; waited-time.Second > limit {
						t.Errorf("%s: server %d answered %s after the revocation, want at most %s", name, i, waited-time.Second, limit)
					}
					_, err := s.Check(ctx, grant.AccessToken)
					s.want(err, innkeeper.ErrAccessTokenRevoked)
				})
			}
			time.Sleep(time.Second) // they wait
			here.must(end(grant))
			_, err := here.Check(ctx, grant.AccessToken)
			here.want(err, innkeeper.ErrAccessTokenRevoked)
			followers.Wait()
		}
	})
}

func TestRevocationsPages(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const n = 20_001
		s := servers(t, 1, func(c *innkeeper.Config) { c.Stores.Revocations = counted{c.Stores.Revocations, n} })[0]
		var seen []string
		after, last := int64(0), int64(0)
		for _, want := range []struct {
			entries  int
			snapshot bool
			more     bool
		}{{10_000, true, true}, {10_000, false, true}, {1, false, false}, {0, false, false}} {
			page := s.page(after, time.Second)
			if len(page.Entries) != want.entries || page.Snapshot != want.snapshot || page.More != want.more {
				t.Fatalf("after %d: %d entries, snapshot %t, more %t, want %+v", after, len(page.Entries), page.Snapshot, page.More, want)
			}
			for _, entry := range page.Entries {
				if entry.Seq <= last {
					t.Fatalf("entry %d came after %d", entry.Seq, last)
				}
				last = entry.Seq
			}
			seen = append(seen, ids(page)...)
			after = page.Next
		}
		for i, got := range seen {
			if want := fmt.Sprintf("%022d", i+1); got != want {
				t.Fatalf("entry %d is %s, want %s", i, got, want)
			}
		}
		if len(seen) != n || after != last {
			t.Errorf("saw %d entries of %d, and the cursor is %d and not %d", len(seen), n, after, last)
		}
	})
}

func TestRevocationsRefuse(t *testing.T) {
	i := openInn(t)
	for _, bad := range []struct {
		after int64
		wait  time.Duration
		field string
	}{{-1, 0, "after"}, {0, -1, "wait"}, {0, time.Minute + 1, "wait"}} {
		_, err := i.Revocations(ctx, bad.after, bad.wait)
		var input *innkeeper.InputError
		if !errors.As(err, &input) || input.Field != bad.field {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
}

// A feed without entries has a cursor too, or a follower would begin again and again.
func TestRevocationsOfAnEmptyFeed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		first := s.page(0, time.Minute)
		if !first.Snapshot || len(first.Entries) > 0 || first.Next == 0 {
			t.Fatalf("it began with %+v", first)
		}
		var second innkeeper.RevocationPage
		waited := took(func() { second = s.page(first.Next, 20*time.Second) })
		if waited != 20*time.Second || second.Waited != waited || first.Waited != 0 || second.Snapshot || len(second.Entries) > 0 || second.Next != first.Next {
			t.Fatalf("after %s it went on with %+v", waited, second)
		}
		if second.Lag > 250*time.Millisecond {
			t.Errorf("the lag is %s while the store answers", second.Lag)
		}
		s.revoke(innkeeper.RevokedSession, "a")
		wantIDs(t, s.page(second.Next, time.Second), "a")
	})
}

// A follower that asks another server than the last time may know of what that one
// has not read yet. That is no reason to begin anew.
func TestRevocationsAheadOfThisServer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		both := servers(t, 2)
		here, there := both[0], both[1]
		ada := here.addUser("ada")
		after := here.page(0, time.Second).Next
		there.page(0, time.Second)
		time.Sleep(100 * time.Millisecond) // between two polls
		here.must(here.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		page := here.page(after, time.Minute)
		for _, wait := range []time.Duration{0, time.Nanosecond, 10 * time.Second} {
			var next innkeeper.RevocationPage
			waited := took(func() { next = there.page(page.Next, wait) })
			if next.Snapshot || len(next.Entries) > 0 || next.Next != page.Next || waited > wait+250*time.Millisecond {
				t.Errorf("waiting %s, the other server answered %+v after %s", wait, next, waited)
			}
		}

		// One that nobody has is of another store, or of the time before a restore.
		for _, wait := range []time.Duration{0, time.Minute} {
			waited := took(func() { page = there.page(page.Next+1_000_000, wait) })
			if !page.Snapshot || len(page.Entries) != 1 || page.Next != page.Entries[0].Seq || waited > 250*time.Millisecond {
				t.Errorf("a cursor of another store was answered by %+v after %s", page, waited)
			}
		}

		// Nothing is settled while the store does not answer.
		there.tap.always("LastRevocation", func() error { return errors.New("not now") })
		for wait, want := range map[time.Duration]time.Duration{0: time.Second, 10 * time.Second: 10 * time.Second} {
			var same innkeeper.RevocationPage
			waited := took(func() { same = there.page(page.Next+5, wait) })
			if same.Snapshot || len(same.Entries) > 0 || same.Next != page.Next+5 || waited != want {
				t.Errorf("it was answered by %+v after %s", same, waited)
			}
		}
	})
}

// Of two servers one was started after all had been swept. Both know where the feed
// stands, so that a follower of both has nothing to begin anew.
func TestRevocationsOfASweptFeed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		old := servers(t, 1)[0]
		old.revoke(innkeeper.RevokedSession, "a")
		after := old.page(old.page(0, 0).Next, time.Second).Next
		time.Sleep(2 * innkeeper.RevocationRetention)
		_, err := old.Sweep(ctx, innkeeper.SweepPolicy{})
		old.must(err)
		young := run(t, openInnOn(t, old.store, old.clock, withRealClock, withRoots(old.config.RootKeys)))
		young.page(0, time.Second)
		for range 3 {
			for _, s := range []server{old, young} {
				page := s.page(after, 0)
				if page.Snapshot || len(page.Entries) > 0 || page.Next != after {
					t.Errorf("after %d it answered %+v", after, page)
				}
			}
		}
		if page := young.page(0, 0); page.Next != after {
			t.Errorf("who begins is sent to %d, want %d", page.Next, after)
		}
	})
}

// An older state is put in the place of a store that is in use. Followers begin anew,
// so that they miss nothing that is written from then on, even if clocks are wrong;
// and what was revoked stays revoked here.
func TestRevocationsOfARestoredStore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		swapped := &swapped{}
		s := servers(t, 1, func(c *innkeeper.Config) {
			swapped.RevocationStore = c.Stores.Revocations
			c.Stores.Revocations = swapped
		})[0]
		s.addUser("ada")
		lost := s.login("ada")
		s.revoke(innkeeper.RevokedSession, "both")
		backup := memory.New()
		s.must(backup.Revoke(ctx, innkeeper.Revocation{At: time.Now(), Kind: innkeeper.RevokedSession, ID: "both"}, innkeeper.Event{}))
		time.Sleep(time.Second)
		s.revoke(innkeeper.RevokedSession, lost.Session.ID.String())
		time.Sleep(time.Second)
		all := s.page(0, 0)
		wantIDs(t, all, "both", lost.Session.ID.String())

		var follower sync.WaitGroup
		follower.Go(func() {
			page := s.page(all.Next, time.Minute)
			if !page.Snapshot || page.Next != all.Entries[0].Seq {
				t.Errorf("it was told %+v", page)
			}
			wantIDs(t, page, "both")
			wantIDs(t, s.page(page.Next, time.Minute), "new")
		})
		synctest.Wait()
		swapped.swap(backup)
		time.Sleep(time.Second)
		// The clock of who writes this is behind, so its number is smaller than what
		// followers had seen.
		s.must(backup.Revoke(ctx, innkeeper.Revocation{At: time.Now().Add(-time.Hour), Kind: innkeeper.RevokedSession, ID: "new"}, innkeeper.Event{}))
		follower.Wait()
		_, err := s.Check(ctx, lost.AccessToken)
		s.want(err, innkeeper.ErrAccessTokenRevoked)
	})
}

// swapped is a store in whose place another one can be put.
type swapped struct {
	mu sync.Mutex
	innkeeper.RevocationStore
}

func (s *swapped) swap(store innkeeper.RevocationStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.RevocationStore = store
}

func (s *swapped) now() innkeeper.RevocationStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.RevocationStore
}

func (s *swapped) LastRevocation(ctx context.Context) (int64, error) {
	return s.now().LastRevocation(ctx)
}

func (s *swapped) Revocations(ctx context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	return s.now().Revocations(ctx, after, limit)
}

func TestRevocationsAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		ada := s.addUser("ada")
		grant := s.login("ada")
		s.revoke(innkeeper.RevokedSession, "old")
		s.revoke(innkeeper.RevokedKey, "key")
		time.Sleep(30 * time.Minute)
		s.must(s.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		time.Sleep(time.Second)
		all := s.page(0, 0)
		if got := ids(all); len(got) != 3 || got[0] != "old" || got[1] != "key" {
			t.Fatalf("the feed holds %v", got)
		}
		user := all.Entries[2].ID
		time.Sleep(innkeeper.RevocationRetention - 30*time.Minute - 2*time.Second)
		wantIDs(t, s.page(0, 0), "old", "key", user)
		time.Sleep(2 * time.Minute)
		wantIDs(t, s.page(0, 0), "key", user)
		if page := s.page(all.Entries[0].Seq-1, 0); !page.Snapshot {
			t.Errorf("a cursor from before what was forgotten gave %+v", page)
		}
		if page := s.page(all.Entries[0].Seq, 0); page.Snapshot || len(page.Entries) != 2 {
			t.Errorf("a cursor that has missed nothing gave %+v", page)
		}
		_, err := s.Check(ctx, grant.AccessToken)
		s.want(err, innkeeper.ErrAccessTokenExpired)
		time.Sleep(innkeeper.RevocationRetention)
		wantIDs(t, s.page(0, 0), "key")
		wantIDs(t, all, "old", "key", user) // a page that was handed out stays as it was
	})
}

// However late lookups age, what was learned just before stays known for as long as a
// token can be alive: after a store that failed, after one that took its time, and with
// two calls of Run, which begin at different times.
func TestRevokedTokensStayRevokedWhileLookupsAge(t *testing.T) {
	fail := func(time.Duration) error { return errors.New("partition") }
	hang := func(d time.Duration) error { time.Sleep(d); return nil }
	for _, test := range []struct {
		name             string
		ttl              time.Duration
		down, signIn, up time.Duration // when the store goes, when somebody signs in, and when the store is back
		fault            func(left time.Duration) error
		check            time.Duration // short of the token's end
	}{
		{"failed, short tokens", 15 * time.Minute, 60 * time.Minute, 118 * time.Minute, 119 * time.Minute, fail, 132 * time.Minute},
		{"failed, long tokens", time.Hour, 64 * time.Minute, 76 * time.Minute, 77 * time.Minute, fail, 135 * time.Minute},
		{"hung, short tokens", 15 * time.Minute, 60 * time.Minute, 118 * time.Minute, 119 * time.Minute, hang, 132 * time.Minute},
		{"hung, long tokens", time.Hour, 64 * time.Minute, 76 * time.Minute, 77 * time.Minute, hang, 135 * time.Minute},
		{"run twice", time.Hour, 40 * time.Minute, 63 * time.Minute, 64 * time.Minute, nil, 122 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				begin := time.Now()
				until := func(d time.Duration) time.Duration { return time.Until(begin.Add(d)) }
				both := servers(t, 2, func(c *innkeeper.Config) { c.Policy.AccessTTL = test.ttl })
				here, there := both[0], both[1]
				here.addUser("ada")
				time.Sleep(until(test.down))
				if test.fault == nil {
					run(t, there.inn)
				} else {
					there.tap.always("LastRevocation", func() error { return test.fault(until(test.up)) })
				}
				time.Sleep(until(test.signIn))
				grant := here.login("ada")
				here.must(here.EndSession(ctx, grant.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
				time.Sleep(until(test.up))
				there.tap.forget()
				for at := test.up + 15*time.Second; at <= test.check; at += 15 * time.Second {
					time.Sleep(until(at))
					if _, err := there.Check(ctx, grant.AccessToken); !errors.Is(err, innkeeper.ErrAccessTokenRevoked) {
						t.Fatalf("%s after the start: %v, want ErrAccessTokenRevoked", at, err)
					}
				}
			})
		})
	}
}

// A store that fails costs nothing but freshness.
func TestRevocationsWhileTheStoreFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		s.revoke(innkeeper.RevokedSession, "a")
		page := s.page(0, time.Second)
		page = s.page(page.Next, time.Second)
		s.tap.forget()
		s.tap.always("LastRevocation", func() error { return errors.New("not now") })
		later := s.page(page.Next, 10*time.Second)
		if later.Lag < 9*time.Second || later.Lag > 11*time.Second || later.Next != page.Next || later.Snapshot {
			t.Errorf("after 10s without the store it answered %+v", later)
		}
		if tries := s.tap.forget()["LastRevocation"]; tries < 10 || tries > 40 {
			t.Errorf("the store was tried %d times in 10s", tries)
		}
		s.tap.always("LastRevocation", func() error { return errors.New("not now") })
		s.revoke(innkeeper.RevokedSession, "b")
		time.Sleep(10 * time.Second)
		s.tap.forget()
		waited := took(func() { page = s.page(later.Next, time.Minute) })
		if waited > time.Second {
			t.Errorf("it took %s to notice that the store is back", waited)
		}
		wantIDs(t, page, "b")
		if page.Lag > time.Second {
			t.Errorf("the lag is %s", page.Lag)
		}
	})
}

func TestRevocationsEndWithRun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		s.revoke(innkeeper.RevokedSession, "a")
		time.Sleep(time.Second)
		after := s.page(0, 0).Next
		var followers sync.WaitGroup
		for _, cursor := range []int64{after, after + 1_000_000} {
			followers.Go(func() {
				var page innkeeper.RevocationPage
				waited := took(func() { page = s.page(cursor, time.Minute) })
				if waited > time.Second || len(page.Entries) > 0 && !page.Snapshot {
					t.Errorf("it answered %+v after %s", page, waited)
				}
			})
		}
		synctest.Wait()
		s.stop()
		followers.Wait()
		waited := took(func() { s.page(after, time.Minute) })
		if waited > 0 {
			t.Errorf("it waited %s for news that nobody brings", waited)
		}
		wantIDs(t, s.page(0, 0), "a")

		again := run(t, s.inn) // and goes on where it was
		synctest.Wait()
		s.revoke(innkeeper.RevokedSession, "b")
		wantIDs(t, again.page(after, time.Minute), "b")
	})
}

// A store that takes long to answer must not keep followers from leaving.
func TestRevocationsEndWithRunWhileTheStoreHangs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t, withRealClock)
		s := run(t, i)
		after := s.page(0, time.Second).Next
		s.tap.always("LastRevocation", func() error { time.Sleep(5 * time.Second); return nil })
		time.Sleep(time.Second)
		var follower sync.WaitGroup
		follower.Go(func() {
			if waited := took(func() { s.page(after, time.Minute) }); waited > 0 {
				t.Errorf("it waited %s", waited)
			}
		})
		synctest.Wait()
		s.stop()
		follower.Wait()
	})
}

func TestRevocationsWhoGoesAway(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		after := s.page(0, time.Second).Next
		gone, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := s.Revocations(gone, after, time.Minute)
		s.want(err, context.DeadlineExceeded)
	})
}

func TestRevocationsHaveRoomForSoManyFollowers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const room = 20_000
		s := servers(t, 1)[0]
		after := s.page(0, time.Second).Next
		var followers sync.WaitGroup
		var told atomic.Int64
		for range room {
			followers.Go(func() {
				if page := s.page(after, time.Minute); len(page.Entries) == 1 {
					told.Add(1)
				}
			})
		}
		synctest.Wait()
		if waited := took(func() { s.page(after, time.Minute) }); waited > 0 {
			t.Errorf("one too many waited %s", waited)
		}
		s.revoke(innkeeper.RevokedSession, "a")
		followers.Wait()
		if told.Load() != room {
			t.Errorf("%d of %d followers were told", told.Load(), room)
		}
		time.Sleep(time.Second)
		if waited := took(func() { s.page(s.page(0, 0).Next, time.Minute) }); waited != time.Minute {
			t.Errorf("after they had left, one waited %s", waited)
		}
	})
}

// Many revocations in a row wake followers a few times, and not each time.
func TestRevocationsInARowAreToldTogether(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		ada := s.addUser("ada")
		after := s.page(0, time.Second).Next
		const followers, revocations = 1_000, 200
		var wg sync.WaitGroup
		var answers atomic.Int64
		for range followers {
			wg.Go(func() {
				for cursor, seen := after, 0; seen < revocations; {
					page := s.page(cursor, time.Minute)
					answers.Add(1)
					seen += len(page.Entries)
					cursor = page.Next
				}
			})
		}
		synctest.Wait()
		for range revocations {
			s.must(s.EndUserSessions(ctx, ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if n := answers.Load() / followers; n > revocations/20+2 {
			t.Errorf("each follower was told of %d revocations %d times", revocations, n)
		}
	})
}

// hinting is a store that gives hints when it is told to.
type hinting struct {
	innkeeper.RevocationStore
	hints chan error // nil: a hint; otherwise listening ends with it
	tries atomic.Int64
}

func (h *hinting) HintRevocations(ctx context.Context, hint func()) error {
	h.tries.Add(1)
	hint()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-h.hints:
			if err != nil {
				return err
			}
			hint()
		}
	}
}

func TestRevocationsFollowHints(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := &hinting{hints: make(chan error)}
		s := servers(t, 1, func(c *innkeeper.Config) {
			h.RevocationStore = c.Stores.Revocations
			c.Stores.Revocations = h
		})[0]
		after := s.page(0, time.Second).Next
		for _, id := range []string{"a", "b"} {
			time.Sleep(10*time.Second + 100*time.Millisecond) // between two polls
			s.revoke(innkeeper.RevokedSession, id)
			h.hints <- nil
			var page innkeeper.RevocationPage
			if waited := took(func() { page = s.page(after, time.Minute) }); waited > 0 {
				t.Errorf("in spite of a hint it took %s", waited)
			}
			wantIDs(t, page, id)
			after = page.Next
			h.hints <- errors.New("connection lost")
		}
		time.Sleep(10 * time.Second)
		if tries := h.tries.Load(); tries != 3 {
			t.Errorf("it has begun to listen %d times, want 3", tries)
		}
		s.stop()
	})
}

// What an entry costs in memory stands in docs/revocation.md.
func TestRevocationsTakeLittleMemory(t *testing.T) {
	const n, limit = 200_000, 400
	i := openInn(t, func(c *innkeeper.Config) { c.Stores.Revocations = counted{c.Stores.Revocations, n} })
	before := heap()
	s := run(t, i)
	page, err := s.Revocations(ctx, 0, time.Minute)
	i.must(err)
	each := (heap() - before) / n
	t.Logf("an entry takes %d bytes", each)
	if len(page.Entries) == 0 || each > limit {
		t.Errorf("an entry takes %d bytes, want at most %d", each, limit)
	}
}

// counted is a store of so many entries, made when they are asked for.
type counted struct {
	innkeeper.RevocationStore
	n int64
}

func (c counted) LastRevocation(context.Context) (int64, error) { return c.n, nil }

func (c counted) Revocations(_ context.Context, after int64, limit int) ([]innkeeper.Revocation, error) {
	var page []innkeeper.Revocation
	for seq := after + 1; seq <= c.n && len(page) < limit; seq++ {
		page = append(page, innkeeper.Revocation{
			Seq: seq, At: opening, Kind: innkeeper.RevocationKind([]byte("session")), ID: fmt.Sprintf("%022d", seq),
		})
	}
	return page, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
