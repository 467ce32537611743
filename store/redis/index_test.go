package redis_test

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
	"github.com/redis/rueidis"
)

// shelf is a store and a look at its keys.
type shelf struct {
	*stage
	client rueidis.Client
	prefix string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	server := testengine.SharedRedis(t)
	prefix := storetest.NewUser("").Epoch.String() + ":"
	below := memory.New().Stores()
	store := open(t, redis.Config{URL: server.URL(), KeyPrefix: prefix}, below)
	return &shelf{stage: &stage{Stores: store.Stores(), below: below}, client: raw(t, server), prefix: prefix}
}

func (s *shelf) index(user innkeeper.User) string {
	return s.prefix + "user:{" + user.ID.String() + "}"
}

func (s *shelf) key(session innkeeper.Session) string {
	return s.prefix + "{" + session.ID.String() + "}"
}

func (s *shelf) do(t *testing.T, command ...string) rueidis.RedisResult {
	t.Helper()
	result := s.client.Do(context.Background(), s.client.B().Arbitrary(command...).Build())
	check(t, result.Error())
	return result
}

func (s *shelf) number(t *testing.T, command ...string) int64 {
	t.Helper()
	n, err := s.do(t, command...).AsInt64()
	check(t, err)
	return n
}

func ids(sessions []innkeeper.Session) (ids []innkeeper.SessionID) {
	for _, session := range sessions {
		ids = append(ids, session.ID)
	}
	return ids
}

func newestFirst(a, b innkeeper.Session) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), bytes.Compare(b.ID[:], a.ID[:]))
}

// An index that was lost is whole again when every session has been refreshed, in an
// hour after its last refresh.
func TestIndexComesBack(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	var sessions []innkeeper.Session
	for i := range 300 {
		session := storetest.NewSession(ada)
		session.CreatedAt = start.Add(time.Duration(i%100) * time.Second)
		check(t, s.Sessions.CreateSession(t.Context(), birth(session)))
		sessions = append(sessions, session)
	}
	slices.SortFunc(sessions, newestFirst)
	s.do(t, "DEL", s.index(ada))
	if left := s.list(t, ada, start); len(left) != 0 {
		t.Fatalf("%d sessions are listed without an index", len(left))
	}
	for i, session := range sessions {
		rotated, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, start.Add(70*time.Minute)))
		check(t, err)
		sessions[i] = rotated
	}
	query := innkeeper.SessionQuery{UserID: ada.ID, AliveAt: start.Add(70 * time.Minute), Limit: 77}
	var got []innkeeper.Session
	for {
		page, err := s.Sessions.Sessions(t.Context(), query)
		check(t, err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		query.After = page[len(page)-1].ID
	}
	if !slices.Equal(ids(got), ids(sessions)) {
		t.Fatalf("%d sessions are listed, want %d, the newest first", len(got), len(sessions))
	}
}

// A refresh within the hour leaves the index alone: it is one command.
func TestIndexIsTouchedOncePerHour(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	touched := 0
	for i := range 24 {
		s.do(t, "DEL", s.index(ada))
		rotated, _, err := s.Sessions.RotateSession(t.Context(), storetest.Successor(session, start.Add(time.Duration(i)*10*time.Minute)))
		check(t, err)
		session = rotated
		touched += int(s.number(t, "EXISTS", s.index(ada)))
	}
	if touched != 3 { // at 16, 17 and 18 o'clock
		t.Fatalf("refreshes of four hours touched the index %d times", touched)
	}
}

// What is gone leaves the index when somebody looks, and what is young stays.
func TestIndexDropsTheDead(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	live, gone, ended, young := s.session(t, ada), s.session(t, ada), storetest.NewSession(ada), storetest.NewSession(ada)
	s.do(t, "DEL", s.key(gone))
	check(t, s.Sessions.CreateSession(t.Context(), birth(ended)))
	entries := s.number(t, "ZCARD", s.index(ada))
	check(t, s.Sessions.EndSession(t.Context(), ending(ended, innkeeper.ReasonLogout)))
	if now := s.number(t, "ZCARD", s.index(ada)); now != entries-1 {
		t.Fatalf("the ended session left %d entries of %d", now, entries)
	}

	// Its entry is written before a session: one that has just been made may be half done.
	young.CreatedAt = start.Add(time.Hour)
	check(t, s.Sessions.CreateSession(t.Context(), birth(young)))
	s.do(t, "DEL", s.key(young))
	if got := s.list(t, ada, start.Add(time.Hour)); !slices.Equal(ids(got), ids([]innkeeper.Session{live})) {
		t.Fatalf("listed are %+v", got)
	}
	if now := s.number(t, "ZCARD", s.index(ada)); now != 2 {
		t.Fatalf("the index holds %d entries, want the live one and the young one", now)
	}
	s.list(t, ada, start.Add(2*time.Hour))
	if now := s.number(t, "ZCARD", s.index(ada)); now != 1 {
		t.Fatalf("the index holds %d entries, want the live one", now)
	}
}

// Somebody who signs in every day and never looks at a list must not leave an entry
// behind each time.
func TestIndexOfManySignInsStaysSmall(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	var sessions []innkeeper.Session
	for day := range 200 {
		session := storetest.NewSession(ada)
		session.CreatedAt = start.Add(time.Duration(day) * 24 * time.Hour)
		session.RotatedAt = session.CreatedAt
		session.ExpiresAt = session.CreatedAt.Add(30 * 24 * time.Hour)
		session.RefreshExpiresAt = session.CreatedAt.Add(14 * 24 * time.Hour)
		check(t, s.Sessions.CreateSession(t.Context(), birth(session)))
		sessions = append(sessions, session)
		if day >= 14 { // as Redis would
			s.do(t, "DEL", s.key(sessions[day-14]))
		}
	}
	if n := s.number(t, "ZCARD", s.index(ada)); n > 35 {
		t.Fatalf("the index holds %d entries, want those of 30 days", n)
	}
}

// Signing out everywhere is one write to SQL, however many sessions there are, and
// nothing in Redis. The first list after it clears the index.
func TestLogoutEverywhereOfManySessions(t *testing.T) {
	t.Parallel()
	const many = 100_000
	s := newShelf(t)
	ada := s.user(t, "ada")
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range many / 64 {
				if err := s.Sessions.CreateSession(context.Background(), innkeeper.Birth{Session: storetest.NewSession(ada)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	entries := s.number(t, "ZCARD", s.index(ada))
	change := newEpoch(ada)
	s.changeWithoutRedis(t, change)
	if now := s.number(t, "ZCARD", s.index(ada)); now != entries {
		t.Fatalf("it changed Redis: %d entries of %d are left", now, entries)
	}
	ada.Epoch = change.NewEpoch.Epoch
	fresh := storetest.NewSession(ada)
	fresh.CreatedAt = start.Add(-time.Hour) // behind all the others
	check(t, s.Sessions.CreateSession(t.Context(), birth(fresh)))
	for _, what := range []string{"first", "second"} {
		began := time.Now()
		if got := s.list(t, ada, start.Add(time.Hour)); len(got) != 1 || got[0].ID != fresh.ID {
			t.Fatalf("%d sessions are listed, want the fresh one", len(got))
		}
		t.Logf("the %s list of %d dead sessions took %s", what, many, time.Since(began))
	}
	if now := s.number(t, "ZCARD", s.index(ada)); now != 1 {
		t.Fatalf("the index holds %d entries, want 1", now)
	}
}

// changeWithoutRedis changes a user while Redis does not answer anybody.
func (s *shelf) changeWithoutRedis(t *testing.T, change innkeeper.UserChange) {
	t.Helper()
	proxy := newProxy(t, testengine.SharedRedis(t))
	cfg := redis.Config{URL: "redis://" + proxy.Addr(), KeyPrefix: s.prefix, Timeout: time.Minute}
	silent := open(t, cfg, s.below).Stores()
	proxy.Hang()
	began := time.Now()
	_, err := silent.Users.ChangeUser(t.Context(), change)
	check(t, err)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("signing out everywhere took %s: it waits for Redis", took)
	}
	check(t, proxy.Pass())
}

// The order of the index is that of the times and IDs, to the ends of the calendar.
func TestIndexOrderAtTheEndsOfTime(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	var want []innkeeper.Session
	for _, at := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.UnixMicro(-1).UTC(), time.Unix(0, 0).UTC(), start,
		time.UnixMicro(1<<53 + 1).UTC(), time.UnixMicro(1<<53 + 2).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		session := storetest.NewSession(ada)
		session.CreatedAt = at
		check(t, s.Sessions.CreateSession(t.Context(), birth(session)))
		want = append([]innkeeper.Session{session}, want...)
	}
	if got := s.list(t, ada, start); !slices.Equal(ids(got), ids(want)) {
		t.Fatalf("listed are %v\nwant %v", ids(got), ids(want))
	}
}

func (s *shelf) keys(t *testing.T) []string {
	t.Helper()
	keys, err := s.do(t, "KEYS", s.prefix+"*").AsStrSlice()
	check(t, err)
	return keys
}

// Whatever is done, and in whatever order: every key goes by itself, none before its
// session, and none long after. The server's clock is years away from the domain's.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	random := newRandom(t)
	ada := s.user(t, "ada")
	at := start
	alive := map[innkeeper.SessionID]innkeeper.Session{}
	for range 2000 {
		at = at.Add(time.Duration(random.IntN(int(2 * time.Hour))))
		switch pick := pickOne(alive); {
		case pick == nil || random.IntN(8) == 0:
			session := storetest.NewSession(ada)
			session.CreatedAt, session.RotatedAt = at, at
			session.ExpiresAt = at.Add(time.Duration(random.IntN(72)) * time.Hour).Truncate(time.Second)
			session.RefreshExpiresAt = at.Add(time.Duration(random.IntN(72)) * time.Hour).Truncate(time.Second)
			if session.ExpiresAt.Before(session.RefreshExpiresAt) {
				session.RefreshExpiresAt = session.ExpiresAt
			}
			b := birth(session)
			if pick != nil && random.IntN(4) == 0 {
				replaced := ending(*pick, innkeeper.ReasonReplaced)
				b.Replaces = &replaced
				delete(alive, pick.ID)
			}
			check(t, s.Sessions.CreateSession(t.Context(), b))
			alive[session.ID] = session
		case random.IntN(10) == 0:
			check(t, s.Sessions.EndSession(t.Context(), ending(*pick, innkeeper.ReasonLogout)))
			delete(alive, pick.ID)
		case random.IntN(40) == 0:
			ada = s.moveEpoch(t, ada, pick, alive, random.IntN(2) == 0)
		default:
			r := storetest.Successor(*pick, at)
			r.RefreshExpiresAt = at.Add(time.Duration(random.IntN(72)) * time.Hour).Truncate(time.Second)
			rotated, _, err := s.Sessions.RotateSession(t.Context(), r)
			check(t, err)
			alive[pick.ID] = rotated
			s.wantLifetime(t, rotated, at)
		}
	}
	for _, key := range s.keys(t) {
		// 72 hours, the hour in which the index is not touched, a minute of margin.
		if ttl := s.number(t, "TTL", key); ttl <= 0 || ttl > 73*3600+61 {
			t.Errorf("key %s goes in %d s", key, ttl)
		}
	}
	longest := time.Duration(0)
	for _, session := range alive {
		longest = max(longest, time.Duration(s.number(t, "PTTL", s.key(session)))*time.Millisecond)
	}
	if ttl := time.Duration(s.number(t, "PTTL", s.index(ada))) * time.Millisecond; ttl < longest {
		t.Errorf("the index goes in %s, before a session which goes in %s", ttl, longest)
	}
}

func (s *shelf) wantLifetime(t *testing.T, session innkeeper.Session, at time.Time) {
	t.Helper()
	want := max(session.RefreshExpiresAt.Sub(at), 0)
	ttl := time.Duration(s.number(t, "PTTL", s.key(session))) * time.Millisecond
	if ttl < want+30*time.Second || ttl > want+62*time.Second {
		t.Fatalf("the key goes in %s, its refresh token in %s", ttl, want)
	}
}

// moveEpoch carries one session to a new epoch, or opens one under it.
func (s *shelf) moveEpoch(t *testing.T, user innkeeper.User, pick *innkeeper.Session, alive map[innkeeper.SessionID]innkeeper.Session, carry bool) innkeeper.User {
	t.Helper()
	change := newEpoch(user)
	next := *pick
	if !carry {
		next = storetest.NewSession(user)
		next.CreatedAt, next.RotatedAt, next.RefreshExpiresAt = pick.RotatedAt, pick.RotatedAt, pick.RotatedAt.Add(72*time.Hour)
	}
	next.Epoch = change.NewEpoch.Epoch
	if carry {
		change.NewEpoch.Carry = &next.ID
	} else {
		change.NewEpoch.Open = &next
	}
	user, err := s.Users.ChangeUser(t.Context(), change)
	check(t, err)
	clear(alive)
	alive[next.ID] = next
	return user
}

func pickOne(sessions map[innkeeper.SessionID]innkeeper.Session) *innkeeper.Session {
	for _, session := range sessions {
		return &session
	}
	return nil
}

// A user whose index someone else has written to is an error, not a crash.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	ada := s.user(t, "ada")
	session := s.session(t, ada)
	s.do(t, "ZADD", s.index(ada), "0", "not an entry")
	_, err := s.Sessions.Sessions(t.Context(), innkeeper.SessionQuery{UserID: ada.ID, AliveAt: start, Limit: 5})
	unknown(t, err)
	for _, field := range []string{"b", "e", "h", "k", "r"} {
		other := s.session(t, ada)
		s.do(t, "HSET", s.key(other), field, "\x01short")
		_, _, err := s.Sessions.Session(t.Context(), other.ID)
		unknown(t, err)
	}
	s.lives(t, session)
}
