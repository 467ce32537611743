package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/internal/revoked"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// feedIssuer is an issuer with a revocation feed. It holds requests as the real one
// does, and can be told to misbehave.
type feedIssuer struct {
	*issuer
	pageSize int

	mu      sync.Mutex
	entries []feedEntry
	lag     time.Duration
	down    http.HandlerFunc // answers instead, if not nil
	news    chan struct{}
	asked   int
	behind  time.Duration // how far its clock was set back
}

type feedEntry struct {
	Seq  int64  `json:"seq"`
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

func newFeedIssuer(t *testing.T) *feedIssuer {
	t.Helper()
	return &feedIssuer{issuer: newIssuer(t), pageSize: 3, news: make(chan struct{})}
}

// verifier follows the feed until the test ends.
func (f *feedIssuer) verifier(t *testing.T, change ...func(*verify.Config)) *verify.Verifier {
	t.Helper()
	cfg := verify.Config{Issuer: f.url, HTTPClient: &http.Client{Transport: transport(f.serve)}, FollowRevocations: true}
	for _, c := range change {
		c(&cfg)
	}
	v := newVerifier(t, cfg)
	t.Cleanup(v.Close)
	return v
}

// transport answers in place.
type transport http.HandlerFunc

func (h transport) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := &issuer{answer: http.HandlerFunc(h)}
	return inner.RoundTrip(r)
}

func (f *feedIssuer) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/auth/revocations" {
		f.issuer.ServeHTTP(w, r)
		return
	}
	f.mu.Lock()
	f.asked++
	down := f.down
	f.mu.Unlock()
	if down != nil {
		down(w, r)
		return
	}
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	began := time.Now()
	page, news := f.page(after)
	if len(page.Entries) == 0 && !page.Snapshot {
		select {
		case <-news:
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
		page, _ = f.page(after)
		page.WaitedMS = time.Since(began).Milliseconds()
	}
	_ = json.NewEncoder(w).Encode(page)
}

type feedPage struct {
	Snapshot bool        `json:"snapshot"`
	Entries  []feedEntry `json:"entries"`
	Next     int64       `json:"next"`
	More     bool        `json:"more"`
	LagMS    int64       `json:"lag_ms"`
	WaitedMS int64       `json:"waited_ms"`
}

func (f *feedIssuer) page(after int64) (feedPage, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := int64(1)
	if n := len(f.entries); n > 0 {
		last = f.entries[n-1].Seq
	}
	page := feedPage{Entries: []feedEntry{}, Next: last, LagMS: f.lag.Milliseconds()}
	if after == 0 || after > last {
		page.Snapshot, after = true, 0
	}
	rest := slices.DeleteFunc(slices.Clone(f.entries), func(e feedEntry) bool { return e.Seq <= after })
	if len(rest) > f.pageSize {
		rest = rest[:f.pageSize]
		page.More, page.Next = true, rest[len(rest)-1].Seq
	}
	page.Entries = append(page.Entries, rest...)
	return page, f.news
}

// revoke appends entries, and tells those who wait.
func (f *feedIssuer) revoke(kind revoked.Kind, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		seq := time.Now().Add(-f.behind).UnixMicro()
		if n := len(f.entries); n > 0 {
			seq = max(seq, f.entries[n-1].Seq+1)
		}
		f.entries = append(f.entries, feedEntry{Seq: seq, Kind: string(kind), ID: id})
	}
	f.tell()
}

// restore puts back a backup that has the first n entries. Who waits is told, as by
// the real one: numbers may be given again, and must not pass a cursor unseen.
func (f *feedIssuer) restore(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = slices.Clone(f.entries[:n])
	f.tell()
}

// tell wakes those who wait, under the lock.
func (f *feedIssuer) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *feedIssuer) set(change func(*feedIssuer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *feedIssuer) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func refusedAsRevoked(t *testing.T, v *verify.Verifier, token string) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrRevoked) {
		t.Errorf("Verify = %v, want ErrRevoked", err)
	}
}

func accepted(t *testing.T, v *verify.Verifier, token string) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

// What is revoked is refused, whether the token was seen before or not, and by
// session, by user and by key.
func TestRevokedTokensAreRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		v := iss.verifier(t)
		session := iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended" })
		user := iss.token(t, func(c *accesstoken.Claims) { c.Subject = "bob" })
		other := iss.token(t)
		for _, token := range []string{session, user, other} {
			accepted(t, v, token)
		}
		iss.revoke(revoked.Session, "ended", "another")
		synctest.Wait()
		refusedAsRevoked(t, v, session)
		refusedAsRevoked(t, v, iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended"; c.ID = "unseen" }))
		accepted(t, v, user)

		iss.revoke(revoked.User, revoked.UserID(iss.url, "bob", "AAAAAAAAAAA"))
		synctest.Wait()
		refusedAsRevoked(t, v, user)
		accepted(t, v, iss.token(t, func(c *accesstoken.Claims) { c.Subject, c.Epoch = "bob", "BBBBBBBBBBB" }))
		accepted(t, v, other)

		iss.revoke("something new", "ended")
		iss.revoke(revoked.Key, keyOf(t, other))
		synctest.Wait()
		refusedAsRevoked(t, v, other)
		if got, want := v.Stats(), (verify.Stats{Accepted: 6, Cached: 5, Revoked: 4}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
	})
}

// keyOf returns the kid of a token.
func keyOf(t *testing.T, token string) string {
	t.Helper()
	var kid string
	_, _ = accesstoken.Verify(token, func(id string) (accesstoken.PublicKey, bool) {
		kid = id
		return accesstoken.PublicKey{}, false
	}, accesstoken.Expectation{})
	return kid
}

// A snapshot comes in pages, and a cursor that the issuer does not know begins it
// anew. Nothing that is known is forgotten in between.
func TestSnapshotsAndGaps(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		var ids []string
		for i := range 10 {
			ids = append(ids, fmt.Sprint("session ", i))
		}
		iss.revoke(revoked.Session, ids...)
		v := iss.verifier(t)
		tokens := make([]string, len(ids))
		for i, id := range ids {
			tokens[i] = iss.token(t, func(c *accesstoken.Claims) { c.SessionID = id })
			refusedAsRevoked(t, v, tokens[i])
		}
		// The store was replaced by an older one: the numbers begin anew.
		iss.set(func(f *feedIssuer) { f.entries, f.behind = nil, time.Hour })
		iss.revoke(revoked.Session, "after the restore")
		synctest.Wait()
		time.Sleep(time.Second)
		for _, token := range tokens {
			refusedAsRevoked(t, v, token)
		}
		refusedAsRevoked(t, v, iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "after the restore" }))
	})
}

// The first request waits for the first look, and no longer than five seconds.
func TestFirstLook(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.set(func(f *feedIssuer) { f.down = hang })
		v := iss.verifier(t)
		began := time.Now()
		accepted(t, v, iss.token(t))
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("the first request waited %v, want 5s", waited)
		}
	})
}

// While the issuer fails, what is known goes on counting; a route that wants to know
// better refuses with 503; and both recover by themselves.
func TestStaleness(t *testing.T) {
	for name, failure := range map[string]http.HandlerFunc{
		"hangs": hang,
		"500":   status(500),
		"503":   status(503),
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusFound)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>captive portal")) },
		"half an entry": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"entries":[{"kind":"session","id":"Kx3`))
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 9<<20))) },
		"twice next": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"entries":[],"next":5,"next":6}`))
		},
		"other JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"never ends":    func(w http.ResponseWriter, r *http.Request) { more(w, r) },
		"reads no more": nil, // the server itself lags behind its store
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { testStaleness(t, failure) })
		})
	}
}

// more says for ever that there is more where it is.
func more(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, `{"entries":[],"next":%s,"more":true}`, r.URL.Query().Get("after"))
}

func testStaleness(t *testing.T, failure http.HandlerFunc) {
	t.Helper()
	iss := newFeedIssuer(t)
	iss.revoke(revoked.Session, "ended")
	var seen []verify.FeedStatus
	v := iss.verifier(t, func(cfg *verify.Config) {
		cfg.OnFeed = func(s verify.FeedStatus) { seen = append(seen, s) }
	})
	careful := v.RequireFresh(3*time.Second, v.RequireAuth(http.HandlerFunc(greet)))
	good, ended := iss.token(t), iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended" })

	for range 20 { // however long nothing happens
		time.Sleep(time.Second)
		if rec := get(careful, "Bearer "+good); rec.Code != http.StatusOK {
			t.Fatalf("status %d while all is well", rec.Code)
		}
	}
	iss.set(func(f *feedIssuer) {
		f.down = failure
		if failure == nil {
			f.lag = time.Hour
		}
	})
	time.Sleep(time.Minute)
	accepted(t, v, good)
	refusedAsRevoked(t, v, ended)
	rec := get(careful, "Bearer "+good)
	if p := readProblem(t, rec); rec.Code != http.StatusServiceUnavailable || p.Code != "unavailable" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, %+v, Retry-After %q; want 503", rec.Code, p, rec.Header().Get("Retry-After"))
	}
	if _, err := v.VerifyFresh(t.Context(), good, 3*time.Second); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("VerifyFresh = %v, want ErrUnavailable", err)
	}
	if s := v.FeedStatus(); (failure == nil) != s.Connected || time.Since(s.AsOf) < 50*time.Second || s.Entries == 0 {
		t.Errorf("FeedStatus = %+v after a minute", s)
	}

	iss.set(func(f *feedIssuer) { f.down, f.lag = nil, 0 })
	time.Sleep(20 * time.Second)
	if rec := get(careful, "Bearer "+good); rec.Code != http.StatusOK {
		t.Errorf("status %d after the issuer came back", rec.Code)
	}
	if rec := get(careful, "Bearer "+ended); readProblem(t, rec).Code != "access_token_revoked" {
		t.Errorf("an ended session is not refused as such: %d", rec.Code)
	}
	v.Close()
	var well, stale []bool
	for _, s := range seen {
		well = append(well, s.Connected && !s.Stale)
		stale = append(stale, s.Stale)
	}
	if want := []bool{true, false, true}; !slices.Equal(well, want) {
		t.Errorf("OnFeed was told that all is well = %v, want %v", well, want)
	}
	if want := []bool{false, failure == nil, false}; !slices.Equal(stale, want) {
		t.Errorf("OnFeed was told stale = %v, want %v", stale, want)
	}
}

// An issuer that answers and does not reach its database is reported as well, and soon;
// and so is its end. A moment without the database is nothing to report.
func TestIssuerWithoutItsDatabase(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		var seen []verify.FeedStatus
		var log bytes.Buffer
		v := iss.verifier(t, func(cfg *verify.Config) {
			cfg.OnFeed = func(s verify.FeedStatus) { seen = append(seen, s) }
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		wantSeen := func(n int, stale bool, text string) {
			t.Helper()
			synctest.Wait()
			if s := v.FeedStatus(); len(seen) != n || seen[n-1].Stale != stale || s.Stale != stale || !s.Connected || s.Err != nil {
				t.Errorf("FeedStatus = %+v; OnFeed was told %+v, want %d calls, the last with Stale = %t", s, seen, n, stale)
			}
			if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != n || !strings.Contains(lines[n-1], text) {
				t.Errorf("log:\n%s\nwant %d lines, the last with %q", &log, n, text)
			}
		}
		lag := func(d time.Duration) { iss.set(func(f *feedIssuer) { f.lag = d }) }
		lag(4 * time.Second)
		time.Sleep(time.Minute)
		wantSeen(1, false, "level=INFO")

		gone := time.Now()
		for time.Since(gone) < 10*time.Minute {
			lag(time.Since(gone))
			time.Sleep(time.Second)
			if time.Since(gone) == 30*time.Second {
				wantSeen(2, true, "level=WARN")
			}
		}
		wantSeen(2, true, "as_of=")
		lag(250 * time.Millisecond)
		time.Sleep(6 * time.Second)
		wantSeen(3, false, "level=INFO")
	})
}

// An answer that was on its way for long is no proof of how things are now.
func TestAnswerThatLayAround(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		v := iss.verifier(t)
		accepted(t, v, iss.token(t))
		iss.set(func(f *feedIssuer) {
			f.down = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(29 * time.Second) // of 20 that were asked for
				_, _ = w.Write([]byte(`{"entries":[],"next":1,"waited_ms":20000}`))
			}
		})
		time.Sleep(50 * time.Second) // the request before is over, and one of these has been answered
		if age := time.Since(v.FeedStatus().AsOf); age < 9*time.Second {
			t.Errorf("the view counts as %v old, want at least 9s", age)
		}
	})
}

// An issuer that answers at once without news is not asked all the time.
func TestFollowerIsNoFlood(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.set(func(f *feedIssuer) {
			f.down = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"entries":[],"next":7}`)) }
		})
		v := iss.verifier(t)
		accepted(t, v, iss.token(t))
		time.Sleep(time.Minute)
		if n := iss.requests(); n > 245 {
			t.Errorf("%d requests in a minute", n)
		}
		iss.set(func(f *feedIssuer) { f.down, f.asked = status(500), 0 })
		time.Sleep(time.Minute)
		if n := iss.requests(); n > 60 || n < 10 {
			t.Errorf("%d requests in a minute of failure", n)
		}
	})
}

// Sessions are forgotten when no token of theirs can be alive, and not before.
func TestOldEntriesAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.revoke(revoked.Session, "ended")
		v := iss.verifier(t)
		token := iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended" })
		refusedAsRevoked(t, v, token)
		time.Sleep(65 * time.Minute)
		refusedAsRevoked(t, v, token)
		time.Sleep(66 * time.Minute)
		if n := v.FeedStatus().Entries; n != 0 {
			t.Errorf("%d entries are still kept after more than two hours", n)
		}
	})
}

// However late the set ages, what was learned just before is known for the whole time:
// after a request that was held, and after pages that took minutes.
func TestEntriesAreKeptAfterALateAging(t *testing.T) {
	pages := func() http.HandlerFunc {
		next := time.Now().UnixMicro()
		return func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			next++
			_, _ = fmt.Fprintf(w, `{"entries":[{"seq":%d,"kind":"session","id":"x"}],"next":%d,"more":true}`, next, next)
		}
	}
	for name, test := range map[string]struct {
		busy         func() http.HandlerFunc // answers instead until the session ends
		ended, check time.Duration
	}{
		"held":  {nil, 65*time.Minute + time.Second, 130*time.Minute + 500*time.Millisecond},
		"pages": {pages, 67 * time.Minute, 131 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				iss := newFeedIssuer(t)
				begin := time.Now()
				at := func(d time.Duration) { time.Sleep(time.Until(begin.Add(d))) }
				v := iss.verifier(t)
				token := iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended" })
				at(65*time.Minute - time.Second)
				if test.busy != nil {
					iss.set(func(f *feedIssuer) { f.down = test.busy() })
				}
				iss.revoke(revoked.Session, "another") // a request begins
				at(test.ended)
				iss.set(func(f *feedIssuer) { f.down = nil })
				iss.revoke(revoked.Session, "ended")
				at(test.check - 300*time.Millisecond)
				iss.revoke(revoked.Session, "a third") // a request ends
				at(test.check)
				refusedAsRevoked(t, v, token)
			})
		})
	}
}

func TestCloseIsPromptAndHarmless(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.revoke(revoked.Session, "ended")
		v := iss.verifier(t)
		token := iss.token(t, func(c *accesstoken.Claims) { c.SessionID = "ended" })
		refusedAsRevoked(t, v, token)
		began := time.Now()
		v.Close()
		v.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		refusedAsRevoked(t, v, token)
		iss.issuer.verifier(t).Close() // one that follows nothing
	})
}

func TestRequireFreshNeedsAFeed(t *testing.T) {
	if !panics(func() { newIssuer(t).verifier(t).RequireFresh(time.Second, http.NotFoundHandler()) }) {
		t.Error("RequireFresh did not panic")
	}
}

func panics(call func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	call()
	return false
}

// A time that cannot be kept is refused at the start, and does not turn into refusals of
// most requests; one that is not refused is kept.
func TestShortestTimesOfAFreshView(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.set(func(f *feedIssuer) { f.lag = 250 * time.Millisecond }) // as that of a server
		v := iss.verifier(t)
		for _, maxAge := range []time.Duration{-time.Second, 0, time.Nanosecond, 300 * time.Millisecond, time.Second - 1} {
			if !panics(func() { v.RequireFresh(maxAge, http.NotFoundHandler()) }) {
				t.Errorf("RequireFresh(%v) did not panic", maxAge)
			}
			if !panics(func() { v.KeepWithin(maxAge) }) {
				t.Errorf("KeepWithin(%v) did not panic", maxAge)
			}
		}
		careful := v.RequireFresh(time.Second, v.RequireAuth(http.HandlerFunc(greet)))
		token := "Bearer " + iss.token(t)
		accepted(t, v, iss.token(t))
		time.Sleep(10 * time.Second)
		if n := iss.requests(); n > 30 {
			t.Errorf("%d requests in 10 s", n)
		}
		for range 2000 {
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if rec := get(careful, token); rec.Code != http.StatusOK {
				t.Fatalf("status %d while all is well", rec.Code)
			}
		}
	})
}

// RFC 9470: the challenge says how recent a sign-in is wanted.
func TestRequireRecentAuth(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		careful := v.RequireRecentAuth(10*time.Minute, http.HandlerFunc(greet))
		signedIn := func(ago time.Duration) string {
			return "Bearer " + iss.token(t, func(c *accesstoken.Claims) { c.AuthTime = time.Now().Add(-ago) })
		}
		for ago, want := range map[time.Duration]int{
			0: 200, 10 * time.Minute: 200, 10*time.Minute + 30*time.Second: 200, // clocks may differ
			10*time.Minute + 31*time.Second: 401, time.Hour: 401,
		} {
			rec := get(careful, signedIn(ago))
			if rec.Code != want {
				t.Errorf("signed in %v ago: status %d, want %d", ago, rec.Code, want)
			}
			if want != 401 {
				continue
			}
			challenge := realm + `, error="insufficient_user_authentication", ` +
				`error_description="sign in again: this needs a more recent sign-in", max_age=600`
			if got := rec.Header().Get("WWW-Authenticate"); got != challenge {
				t.Errorf("WWW-Authenticate = %s, want %s", got, challenge)
			}
			if p := readProblem(t, rec); p.Code != "recent_auth_required" {
				t.Errorf("code %s", p.Code)
			}
		}
		if rec := get(careful); rec.Code != 401 || rec.Header().Get("WWW-Authenticate") != realm {
			t.Errorf("without a token: %d, %s", rec.Code, rec.Header().Get("WWW-Authenticate"))
		}
	})
}

// The same against the real server: what people do ends what verifiers accept.
func TestRealServer(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	v := newVerifier(t, verify.Config{Issuer: inn.URL, FollowRevocations: true, Now: inn.Clock.Now})
	defer v.Close()
	first, second, third := inn.SignIn("ada"), inn.SignIn("ada"), inn.SignIn("ada")
	for _, s := range []innkeepertest.Session{first, second, third} {
		accepted(t, v, s.AccessToken)
	}
	post := func(session innkeepertest.Session, body string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, inn.URL+"/auth/logout", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+session.AccessToken)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("logout: status %d", resp.StatusCode)
		}
	}
	post(first, `{}`)
	awaitRevoked(t, v, first.AccessToken)
	accepted(t, v, second.AccessToken)
	post(second, `{"scope":"others"}`)
	awaitRevoked(t, v, third.AccessToken)
	awaitRevoked(t, v, second.AccessToken) // of the old epoch, as said in the docs
	second = inn.Refresh(second)
	accepted(t, v, second.AccessToken)
	post(second, `{"scope":"everywhere"}`)
	awaitRevoked(t, v, second.AccessToken)
}

func awaitRevoked(t *testing.T, v *verify.Verifier, token string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := v.Verify(t.Context(), token)
		if errors.Is(err, verify.ErrRevoked) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("Verify = %v, want ErrRevoked", err)
		}
	}
}
