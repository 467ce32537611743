package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/internal/revoked"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// session changes the session of a token.
func session(id string) func(*accesstoken.Claims) {
	return func(c *accesstoken.Claims) { c.SessionID = id }
}

// later is the right answer to the first request of a follower, after a while.
func (f *feedIssuer) later(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(d)
		page, _ := f.page(0)
		_ = json.NewEncoder(w).Encode(page)
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// Routes are set up while the first look is under way. That must not end the wait
// for it: nothing would be known yet.
func TestRoutesDuringTheFirstLook(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.pageSize = 1000
		iss.revoke(revoked.Session, "ended")
		iss.set(func(f *feedIssuer) { f.down = f.later(time.Second) })
		v := iss.verifier(t)
		synctest.Wait() // the request is under way
		v.RequireFresh(3*time.Second, http.NotFoundHandler())
		synctest.Wait()
		if s := v.FeedStatus(); s.Connected {
			t.Errorf("%+v before the first answer", s)
		}
		refusedAsRevoked(t, v, iss.token(t, session("ended")))
	})
}

// Who leaves before the first look has ended has not been let in: a handler may act
// for somebody who does not wait for the answer.
func TestWhoLeavesBeforeTheFirstLook(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.set(func(f *feedIssuer) { f.down = hang })
		v := iss.verifier(t)
		accepted(t, v, iss.token(t)) // after five seconds; the keys are known now
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, iss.token(t)); !errors.Is(err, verify.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Verify = %v, want ErrUnavailable and DeadlineExceeded", err)
		}
	})
}

// The answer says what was true when it was written, not when it arrived.
func TestAnswerThatWasDelayed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		var delay atomic.Int64
		network := transport(func(w http.ResponseWriter, r *http.Request) {
			iss.serve(w, r)
			time.Sleep(time.Duration(delay.Load()))
		})
		v := iss.verifier(t, func(cfg *verify.Config) { cfg.HTTPClient = &http.Client{Transport: network} })
		careful := v.RequireFresh(time.Second, v.RequireAuth(http.HandlerFunc(greet)))
		token := "Bearer " + iss.token(t, session("ended"))
		time.Sleep(10 * time.Second)
		if rec := get(careful, token); rec.Code != http.StatusOK {
			t.Fatalf("status %d while all is well", rec.Code)
		}
		delay.Store(int64(3 * time.Second))
		time.Sleep(time.Second) // whatever was under way has arrived
		iss.revoke(revoked.Session, "ended")
		ended := time.Now()
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			if rec := get(careful, token); rec.Code == http.StatusOK && time.Since(ended) > time.Second {
				t.Fatalf("accepted %v after the session ended", time.Since(ended))
			}
		}
	})
}

// A fresh view stays fresh however news are spread.
func TestNewsDoNotMakeAViewStale(t *testing.T) {
	for _, every := range []time.Duration{10, 100, 320, 330, 340, 600, 999} {
		bubble.Test(t, func(t *testing.T) {
			iss := newFeedIssuer(t)
			iss.set(func(f *feedIssuer) { f.lag = 250 * time.Millisecond })
			v := iss.verifier(t)
			careful := v.RequireFresh(time.Second, v.RequireAuth(http.HandlerFunc(greet)))
			token := "Bearer " + iss.token(t)
			for i := range 200 {
				time.Sleep(every * time.Millisecond)
				synctest.Wait() // what is to happen at this very moment has happened
				if rec := get(careful, token); rec.Code != http.StatusOK {
					t.Fatalf("every %d ms: status %d", every, rec.Code)
				}
				iss.revoke(revoked.Session, fmt.Sprint(i))
			}
		})
	}
}

// However an issuer is mistaken, it is not asked all the time.
func TestMistakenIssuersAreNotFlooded(t *testing.T) {
	var n atomic.Int64
	for name, answer := range map[string]http.HandlerFunc{
		"the same news for ever":     text(`{"entries":[{"seq":7,"kind":"session","id":"x"}],"next":7}`),
		"the same snapshot for ever": text(`{"snapshot":true,"entries":[{"seq":7,"kind":"session","id":"x"}],"next":7}`),
		"pages that go round": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"entries":[{"seq":7,"kind":"session","id":"x"}],"next":%d,"more":true}`, 7+n.Add(1)%2)
		},
		"snapshots without end": text(`{"snapshot":true,"entries":[{"seq":7,"kind":"session","id":"x"}],"next":7,"more":true}`),
		"pages with nothing": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"entries":[],"next":%d,"more":true}`, n.Add(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				iss := newFeedIssuer(t)
				iss.set(func(f *feedIssuer) {
					f.down = func(w http.ResponseWriter, r *http.Request) {
						if iss.requests() > 1000 {
							t.Errorf("%d requests", iss.requests())
							hang(w, r)
							return
						}
						answer(w, r)
					}
				})
				v := iss.verifier(t)
				time.Sleep(time.Minute)
				if got := iss.requests(); got > 245 {
					t.Errorf("%d requests in a minute", got)
				}
				v.Close()
			})
		})
	}
}

// Answers that cannot be right are refused as a whole, and reported.
func TestAnswersThatCannotBeRight(t *testing.T) {
	for name, body := range map[string]string{
		"no ID":         `{"snapshot":true,"entries":[{"seq":7,"kind":"session"}],"next":7}`,
		"an endless ID": `{"snapshot":true,"entries":[{"seq":7,"kind":"key","id":"` + strings.Repeat("x", 257) + `"}],"next":7}`,
		"negative wait": `{"snapshot":true,"entries":[],"next":7,"waited_ms":-1}`,
		"negative lag":  `{"snapshot":true,"entries":[],"next":7,"lag_ms":-1}`,
		"lag as text":   `{"snapshot":true,"entries":[],"next":7,"lag_ms":"1"}`,
		"backwards":     `{"entries":[],"next":0}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				iss := newFeedIssuer(t)
				v := iss.verifier(t)
				time.Sleep(time.Minute)
				iss.set(func(f *feedIssuer) { f.down = text(body) })
				time.Sleep(time.Minute)
				if s := v.FeedStatus(); s.Connected || s.Err == nil || time.Since(s.AsOf) < 30*time.Second {
					t.Errorf("FeedStatus = %+v", s)
				}
				accepted(t, v, iss.token(t, session("")))
			})
		})
	}
}

// A lag of a year, or of all times, is as good as no view, however long the issuer
// claims to have waited.
func TestLagOfTheServer(t *testing.T) {
	for _, times := range []string{
		`"lag_ms":31536000000`, `"lag_ms":9223372036854775807`, `"lag_ms":9223372036854775807,"waited_ms":9223372036854775807`,
	} {
		bubble.Test(t, func(t *testing.T) {
			iss := newFeedIssuer(t)
			iss.set(func(f *feedIssuer) { f.down = text(`{"snapshot":true,"entries":[],"next":7,` + times + `}`) })
			v := iss.verifier(t)
			rec := get(v.RequireFresh(time.Hour, v.RequireAuth(http.HandlerFunc(greet))), "Bearer "+iss.token(t))
			if rec.Code != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d, want 503", times, rec.Code)
			}
		})
	}
}

// What a cache has kept says how things were (RFC 9111 §5.1).
func TestAnswersFromACache(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.set(func(f *feedIssuer) {
			f.down = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Age", "60")
				_, _ = io.WriteString(w, `{"snapshot":true,"entries":[],"next":7}`)
			}
		})
		v := iss.verifier(t)
		accepted(t, v, iss.token(t))
		if age := time.Since(v.FeedStatus().AsOf); age < time.Minute {
			t.Errorf("the view counts as %v old, want a minute", age)
		}
		if s := v.FeedStatus(); !s.Connected || !s.Stale {
			t.Errorf("FeedStatus = %+v, want it to be stale", s)
		}
	})
}

// A client's own time limit is for answers that come soon, and these do not.
func TestClientWithATimeout(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		var seen []verify.FeedStatus
		client := &http.Client{Transport: transport(iss.serve), Timeout: 5 * time.Second}
		v := iss.verifier(t, func(cfg *verify.Config) {
			cfg.HTTPClient = client
			cfg.OnFeed = func(s verify.FeedStatus) { seen = append(seen, s) }
		})
		time.Sleep(10 * time.Minute)
		v.Close()
		if len(seen) != 1 || !seen[0].Connected {
			t.Errorf("OnFeed was told %+v, want to hear once that it is connected", seen)
		}
		if client.Timeout != 5*time.Second {
			t.Error("the caller's client was changed")
		}
	})
}

// An issuer that is back is noticed at the next attempt, not when there is news.
func TestRecoveryIsNoticedAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		v := iss.verifier(t)
		time.Sleep(time.Minute)
		iss.set(func(f *feedIssuer) { f.down = status(502) })
		time.Sleep(time.Minute)
		iss.set(func(f *feedIssuer) { f.down = nil })
		time.Sleep(5 * time.Second)
		if s := v.FeedStatus(); !s.Connected || time.Since(s.AsOf) > 5*time.Second {
			t.Errorf("FeedStatus = %+v, %v old", s, time.Since(s.AsOf))
		}
	})
}

// After a key was revoked, its tokens cost the issuer no questions, and the keys are
// fetched again without a token that would need a new one.
func TestRevokedKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		v := iss.verifier(t)
		old := iss.token(t)
		accepted(t, v, old)
		time.Sleep(10 * time.Second)
		iss.rotate(t)
		iss.withdraw()
		iss.revoke(revoked.Key, keyOf(t, old))
		synctest.Wait()
		fetched(t, iss.issuer, 1) // too soon for another
		unseen := iss.keys[0]
		for range 100 {
			refusedAsRevoked(t, v, old)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		refusedAsRevoked(t, v, old)
		fetched(t, iss.issuer, 2)
		begin := time.Now()
		token, err := accesstoken.Sign(unseen, iss.claims())
		if err != nil {
			t.Fatal(err)
		}
		iss.setAnswer(hang)
		accepted(t, v, token)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("the new key was waited for: %v", waited)
		}
		iss.revoke(revoked.Key, "of somebody else")
		time.Sleep(time.Minute)
		fetched(t, iss.issuer, 2)
	})
}

// An issuer that revokes keys without end costs a bounded amount of memory, and it is
// the latest that count.
func TestKeysWithoutEnd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newFeedIssuer(t)
		iss.pageSize = 10_000
		first := iss.token(t)
		ids := []string{keyOf(t, first)}
		for i := range 50_000 {
			ids = append(ids, fmt.Sprint("key ", i))
		}
		iss.rotate(t)
		last := iss.token(t)
		ids = append(ids, keyOf(t, last))
		v := iss.verifier(t)
		accepted(t, v, first) // the keys are known
		iss.revoke(revoked.Key, ids...)
		synctest.Wait()
		time.Sleep(time.Second)
		if n := v.FeedStatus().Entries; n > 20_000 {
			t.Errorf("%d keys are kept", n)
		}
		refusedAsRevoked(t, v, first) // which is old, but still published
		refusedAsRevoked(t, v, last)
	})
}

// Whatever happens to issuer and network in between, what was revoked in the end is
// refused, and nothing else.
func TestFollowerIsLikeItsModel(t *testing.T) {
	for seed := range uint64(60) {
		bubble.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			iss := newFeedIssuer(t)
			iss.pageSize = 1 + rng.IntN(4)
			v := iss.verifier(t)
			ended := map[string]bool{}
			for range 30 {
				switch rng.IntN(8) {
				case 0: // a restored backup, and perhaps a clock that was set back: lower numbers
					iss.restore(rng.IntN(len(iss.entries) + 1))
					iss.set(func(f *feedIssuer) { f.behind += time.Duration(rng.IntN(2)) * time.Hour })
				case 1:
					iss.set(func(f *feedIssuer) {
						f.down = []http.HandlerFunc{hang, status(500), text(`{"entries":[{"seq":1`), text("")}[rng.IntN(4)]
					})
				case 2, 3:
					iss.set(func(f *feedIssuer) { f.down = nil })
				default:
					id := fmt.Sprint("session ", rng.IntN(20))
					ended[id] = true
					iss.revoke(revoked.Session, id)
				}
				time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
			}
			// What a restored backup lost before anybody had learned of it is lost. So is what
			// came to it while the follower was away, where a clock that was set back made it
			// give the same numbers again, and as many as were lost: the cursor looks like one
			// of its own then. All is revoked once more for a follower that is back.
			iss.set(func(f *feedIssuer) { f.down = nil })
			time.Sleep(40 * time.Second)
			for id := range ended {
				iss.revoke(revoked.Session, id)
			}
			time.Sleep(40 * time.Second)
			for i := range 20 {
				id := fmt.Sprint("session ", i)
				_, err := v.Verify(t.Context(), iss.token(t, session(id)))
				if errors.Is(err, verify.ErrRevoked) != ended[id] {
					t.Errorf("seed %d, %s: %v, ended = %v", seed, id, err, ended[id])
				}
			}
			if s := v.FeedStatus(); !s.Connected {
				t.Errorf("seed %d: %+v", seed, s)
			}
			v.Close()
		})
	}
}

// The same over real connections: answers that break off, that drip, that are cut.
func TestFaultsOfRealConnections(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"snapshot":true,"entries":[{"seq":7,"kind":"session","id":"x`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}
	for name, fault := range map[string]http.HandlerFunc{"cut": cut, "drip": drip, "reset": reset} {
		t.Run(name, func(t *testing.T) {
			iss := newFeedIssuer(t)
			server := httptest.NewServer(http.HandlerFunc(iss.serve))
			defer server.Close()
			iss.url = server.URL
			v := newVerifier(t, verify.Config{Issuer: server.URL, FollowRevocations: true})
			defer v.Close()
			token := iss.token(t, session("ended"))
			accepted(t, v, token)
			iss.set(func(f *feedIssuer) { f.down = fault })
			iss.revoke(revoked.Session, "another") // lets the request go that waits
			for asked := iss.requests(); iss.requests() < asked+2 && name != "drip"; {
				time.Sleep(time.Millisecond)
			}
			accepted(t, v, token)
			iss.set(func(f *feedIssuer) { f.down = nil })
			iss.revoke(revoked.Session, "ended")
			server.CloseClientConnections() // what drips would go on for half a minute
			awaitRevoked(t, v, token)
		})
	}
}

// trust lets clients of our own trust a server: what is like the transport of net/http
// is like this one.
func trust(t *testing.T, server *httptest.Server) (undo func()) {
	t.Helper()
	standard := http.DefaultTransport
	trusting := standard.(*http.Transport).Clone()
	trusting.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	http.DefaultTransport = trusting
	return func() { http.DefaultTransport = standard }
}

// A connection of HTTP/2 that has died in silence is given up: a request that timed out
// would leave it to the next one. It does not matter which client is ours: that of who
// has only set a time limit is.
func TestDeadConnection(t *testing.T) {
	for name, client := range map[string]*http.Client{"our own": nil, "without a transport": {Timeout: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			iss := newFeedIssuer(t)
			var old atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					old.Add(1)
				}
				iss.serve(w, r)
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			t.Cleanup(server.Close)
			line, err := testengine.NewProxy(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = line.Close() })
			iss.url = "https://" + line.Addr()
			undo := trust(t, server)
			v := newVerifier(t, verify.Config{Issuer: iss.url, FollowRevocations: true, HTTPClient: client})
			undo()
			t.Cleanup(v.Close)
			t.Parallel()
			token := iss.token(t, session("ended"))
			accepted(t, v, token)
			for iss.requests() < 2 { // one is held
				time.Sleep(time.Millisecond)
			}
			line.Freeze()
			iss.revoke(revoked.Session, "ended")
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if _, err := v.Verify(t.Context(), token); errors.Is(err, verify.ErrRevoked) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("still accepted a minute after the connection died")
				}
			}
			if n := old.Load(); n > 0 {
				t.Errorf("%d requests were not of HTTP/2", n)
			}
		})
	}
}

// Close ends the request that waits.
func TestCloseWhileWaiting(t *testing.T) {
	gone := make(chan struct{})
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.WriteString(w, `{"snapshot":true,"entries":[],"next":7}`)
			return
		}
		<-r.Context().Done()
		close(gone)
	}))
	defer server.Close()
	v := newVerifier(t, verify.Config{Issuer: server.URL, FollowRevocations: true})
	for asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	v.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the request goes on")
	}
}
