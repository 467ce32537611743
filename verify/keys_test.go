package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// check verifies a token and compares the outcome.
func check(t testing.TB, v *verify.Verifier, token string, want error) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
		t.Errorf("Verify = %v, want %v", err, want)
	}
}

func fetched(t testing.TB, iss *issuer, want int64) {
	t.Helper()
	if got := iss.fetches.Load(); got != want {
		t.Errorf("%d fetches, want %d", got, want)
	}
}

// New does not touch the network, and the first use fetches once.
func TestLazyFetch(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		time.Sleep(time.Hour)
		fetched(t, iss, 0)
		for range 3 {
			check(t, v, iss.token(t), nil)
		}
		fetched(t, iss, 1)
	})
}

// A18: over a real socket, many first requests share one fetch.
func TestConcurrentFirstUse(t *testing.T) {
	iss := newIssuer(t)
	iss.setAnswer(iss.slow(50 * time.Millisecond))
	server := httptest.NewServer(iss)
	defer server.Close()
	iss.url = server.URL

	v := newVerifier(t, verify.Config{Issuer: server.URL})
	token := iss.token(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { check(t, v, token, nil) })
	}
	wg.Wait()
	fetched(t, iss, 1)
}

// A18: however many unknown keys are named, the issuer is asked once in a while.
func TestUnknownKeyFlood(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		good, bad := iss.token(t), iss.stranger(t)
		check(t, v, good, nil)

		flood := func() {
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() { check(t, v, bad, accesstoken.ErrUnknownKey) })
			}
			wg.Go(func() { check(t, v, good, nil) })
			wg.Wait()
		}
		flood()
		fetched(t, iss, 1) // the first fetch is too recent for another
		for i := range int64(5) {
			time.Sleep(30 * time.Second)
			flood()
			fetched(t, iss, 2+i)
		}
	})
}

// A18: while a flood waits for an issuer that hangs, known keys serve at once,
// and the flood waits for a bounded time.
func TestFloodBlocksNobodyElse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		good, bad := iss.token(t), iss.stranger(t)
		check(t, v, good, nil)
		time.Sleep(time.Minute)

		iss.setAnswer(hang)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				check(t, v, bad, verify.ErrUnavailable)
				if waited := time.Since(begin); waited != 5*time.Second {
					t.Errorf("waited %v, want 5s", waited)
				}
			})
		}
		synctest.Wait()
		check(t, v, good, nil)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("a known key waited %v", waited)
		}
		wg.Wait()

		// After a failure there is a pause too, in which nobody waits.
		begin = time.Now()
		for range 1000 {
			check(t, v, bad, verify.ErrUnavailable)
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %v in the pause", waited)
		}
		fetched(t, iss, 2)
	})
}

func TestNewKeyIsPickedUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		old := iss.token(t)
		check(t, v, old, nil)

		iss.rotate(t)
		fresh := iss.token(t)
		time.Sleep(29 * time.Second)
		check(t, v, fresh, accesstoken.ErrUnknownKey)
		time.Sleep(time.Second)
		check(t, v, fresh, nil)
		check(t, v, old, nil)
		fetched(t, iss, 2)
	})
}

// An API that sees no traffic must not accept, for the first request after a
// quiet night, a key that was withdrawn in it.
func TestWithdrawnKeyAfterIdleTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		old := iss.token(t)
		check(t, v, old, nil)
		iss.rotate(t)
		iss.withdraw()
		time.Sleep(10*time.Minute - 1)
		synctest.Wait()
		time.Sleep(time.Nanosecond)
		check(t, v, old, accesstoken.ErrUnknownKey)
		fetched(t, iss, 2)
	})
}

// A busy API renews in the background and never waits, even for a slow issuer.
func TestBusyVerifierNeverWaits(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		token := iss.token(t)
		check(t, v, token, nil)
		iss.setAnswer(iss.slow(3 * time.Second))
		for range 3600 {
			time.Sleep(time.Second)
			begin := time.Now()
			check(t, v, token, nil)
			if waited := time.Since(begin); waited != 0 {
				t.Fatalf("waited %v", waited)
			}
		}
		synctest.Wait()
		// 7.5 minutes of 10, and a few seconds for each fetch.
		fetched(t, iss, 1+7)
	})
}

// Keys that are past their age go on serving while the issuer is down, and only
// the first request notices.
func TestIssuerDown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		var log bytes.Buffer
		v := newVerifier(t, verify.Config{
			Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		token := iss.token(t)
		check(t, v, token, nil)
		iss.setAnswer(hang)

		time.Sleep(3 * time.Hour)
		begin := time.Now()
		check(t, v, token, nil)
		if waited := time.Since(begin); waited != 5*time.Second {
			t.Errorf("the first request waited %v", waited)
		}
		begin = time.Now()
		for range 60 {
			time.Sleep(time.Second)
			check(t, v, token, nil)
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("later requests waited: %v for a minute", took)
		}
		synctest.Wait() // a fetch that fails just now is still writing its line
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "serving_known_keys=true") {
			t.Errorf("log: %s", log.String())
		}
		if strings.Contains(log.String(), token[:20]) {
			t.Errorf("the log shows the token: %s", log.String())
		}

		// It comes back with another key.
		iss.rotate(t)
		iss.withdraw()
		iss.setAnswer(nil)
		time.Sleep(10 * time.Second)
		check(t, v, iss.token(t), nil)
		check(t, v, token, accesstoken.ErrUnknownKey)
	})
}

// The same over a real socket, with a server that stops and starts again.
func TestIssuerRestarts(t *testing.T) {
	iss := newIssuer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	serve := func(l net.Listener) *httptest.Server {
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: iss}}
		server.Start()
		return server
	}
	server := serve(listener)
	iss.url = "http://" + address

	var offset atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	v := newVerifier(t, verify.Config{Issuer: iss.url, Now: clock})
	old := iss.token(t)
	check(t, v, old, nil)

	server.Close()
	offset.Add(int64(time.Hour))
	check(t, v, old, nil)
	iss.rotate(t)
	fresh := iss.token(t)
	check(t, v, fresh, verify.ErrUnavailable)

	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Skipf("somebody took the port: %v", err)
	}
	server = serve(listener)
	defer server.Close()
	check(t, v, fresh, verify.ErrUnavailable) // in the pause after a failure
	offset.Add(int64(5 * time.Second))
	check(t, v, fresh, nil)
	check(t, v, old, nil)
}

// Without any keys a token is neither good nor bad.
func TestNoKeysAtAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		iss.setAnswer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		for range 100 {
			check(t, v, iss.token(t), verify.ErrUnavailable)
		}
		fetched(t, iss, 1)
		time.Sleep(5 * time.Second)
		check(t, v, iss.token(t), verify.ErrUnavailable)
		fetched(t, iss, 2)
		// What is malformed needs no key to be refused.
		check(t, v, "ikr_not-an-access-token", accesstoken.ErrMalformed)
		iss.setAnswer(nil)
		time.Sleep(5 * time.Second)
		check(t, v, iss.token(t), nil)
	})
}

// Who came first may leave: the fetch goes on for the others.
func TestCancelledCallerHarmsNobody(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		iss.setAnswer(iss.slow(time.Second))
		v := iss.verifier(t)
		token := iss.token(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := v.Verify(ctx, token)
			if !errors.Is(err, verify.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Verify = %v, want ErrUnavailable and DeadlineExceeded", err)
			}
			if waited := time.Since(begin); waited != 100*time.Millisecond {
				t.Errorf("waited %v", waited)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() { check(t, v, token, nil) })
		}
		wg.Wait()
		fetched(t, iss, 1)
	})
}

func TestCacheControl(t *testing.T) {
	for _, tt := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, 10 * time.Minute},
		{[]string{"public"}, 10 * time.Minute},
		{[]string{"public, max-age=600"}, 10 * time.Minute},
		{[]string{"public, max-age=1200, must-revalidate"}, 20 * time.Minute},
		{[]string{"public", "max-age=1200"}, 20 * time.Minute},
		{[]string{"Max-Age=1200"}, 20 * time.Minute},
		{[]string{`max-age="1200"`}, 20 * time.Minute},
		{[]string{"s-maxage=60"}, 10 * time.Minute},
		{[]string{"max-age=0"}, time.Minute},
		{[]string{"max-age=1"}, time.Minute},
		{[]string{"max-age=-1"}, time.Minute},
		{[]string{"max-age=soon"}, time.Minute},
		{[]string{"no-store, max-age=1200"}, time.Minute},
		{[]string{"max-age=1200, no-cache"}, time.Minute},
		{[]string{"max-age=31536000"}, time.Hour},
		{[]string{"max-age=99999999999999999999"}, time.Minute},
	} {
		t.Run(strings.Join(tt.header, "+"), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				iss := newIssuer(t)
				iss.header["Cache-Control"] = tt.header
				v := iss.verifier(t)
				token := iss.token(t)
				check(t, v, token, nil)

				time.Sleep(tt.want*3/4 - 1)
				check(t, v, token, nil)
				synctest.Wait()
				fetched(t, iss, 1)
				time.Sleep(time.Nanosecond)
				check(t, v, token, nil)
				synctest.Wait()
				fetched(t, iss, 2)
			})
		})
	}
}

// Documents and answers that are no key set. The keys known before stay.
func TestBadKeySets(t *testing.T) {
	iss := newIssuer(t)
	good := string(jwks(iss.keys...))
	key := strings.TrimSuffix(strings.TrimPrefix(good, `{"keys":[`), `]}`)
	other, err := accesstoken.Generate(accesstoken.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	namesake := strings.ReplaceAll(string(jwks(other)), other.KeyID(), iss.keys[0].KeyID())
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	many := func(n int) string {
		var keys []string
		for i := range n {
			keys = append(keys, strings.Replace(key, iss.keys[0].KeyID(), fmt.Sprintf("key %d", i), 1))
		}
		keys = append(keys, key)
		return `{"keys":[` + strings.Join(keys, ",") + `]}`
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		ok     bool
	}{
		"good":            {text(good), true},
		"unknown members": {text(`{"x":1,` + good[1:]), true},
		"keys of unknown kinds besides": {text(`{"keys":[{"kty":"XYZ"},{"kty":"oct","k":"AQ"},7,null,` +
			`{"kty":"EC","crv":"P-384"},` + key + `]}`), true},
		"64 keys":         {text(many(63)), true},
		"65 keys":         {text(many(64)), false},
		"two of one name": {text(`{"keys":[` + key + `,` + key + `]}`), false},
		"two of one name, other types": {text(`{"keys":[` + key + `,` + strings.TrimPrefix(namesake, `{"keys":[`)),
			false},
		"no keys":         {text(`{"keys":[]}`), false},
		"keys missing":    {text(`{}`), false},
		"Keys":            {text(`{"Keys":[` + key + `]}`), false},
		"keys twice":      {text(`{"keys":[],"keys":[` + key + `]}`), false},
		"not JSON":        {text(`<html>sign in to the hotel Wi-Fi</html>`), false},
		"empty":           {text(``), false},
		"trailing data":   {text(good + "x"), false},
		"1 MiB":           {text(good + strings.Repeat(" ", 1<<20-len(good))), true},
		"over 1 MiB":      {text(good + strings.Repeat(" ", 1<<20+1-len(good))), false},
		"use enc":         {text(strings.Replace(good, `"use":"sig"`, `"use":"enc"`, 1)), false},
		"private members": {text(strings.Replace(good, `"use"`, `"d":"AQ","use"`, 1)), false},
		"status 201": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(good))
		}, false},
		"status 500": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(good))
		}, false},
		"redirect to the very same": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, "/.well-known/jwks.json?again", http.StatusFound)
				return
			}
			_, _ = w.Write([]byte(good))
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				iss := &issuer{url: iss.url, keys: iss.keys, answer: tt.answer}
				want := verify.ErrUnavailable
				if tt.ok {
					want = nil
				}
				check(t, iss.verifier(t), iss.token(t), want)

				v := iss.verifier(t)
				iss.setAnswer(nil)
				check(t, v, iss.token(t), nil)
				iss.setAnswer(tt.answer)
				time.Sleep(time.Hour)
				check(t, v, iss.token(t), nil)
			})
		})
	}
}

// The caller's client is used, but not changed, and follows no redirect either.
func TestHTTPClientIsCopied(t *testing.T) {
	iss := newIssuer(t)
	client := &http.Client{Transport: iss}
	v := newVerifier(t, verify.Config{Issuer: iss.url, HTTPClient: client})
	check(t, v, iss.token(t), nil)
	if client.CheckRedirect != nil || client.Timeout != 0 {
		t.Error("the caller's client was changed")
	}
	fetched(t, iss, 1)
}

// Many tokens of old and new keys while the issuer rotates and fails (run with
// -race).
func TestConcurrentUse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		first := iss.token(t)
		check(t, v, first, nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					check(t, v, first, nil)
					time.Sleep(7 * time.Second)
				}
			})
			wg.Go(func() {
				for range 50 {
					_, err := v.Verify(t.Context(), iss.token(t))
					if err != nil && !errors.Is(err, accesstoken.ErrUnknownKey) && !errors.Is(err, verify.ErrUnavailable) {
						t.Error(err)
					}
					time.Sleep(13 * time.Second)
				}
			})
		}
		for i := range 10 {
			time.Sleep(time.Minute)
			if i%2 == 0 {
				iss.rotate(t)
			} else {
				iss.setAnswer(hang)
				time.Sleep(20 * time.Second)
				iss.setAnswer(nil)
			}
		}
		wg.Wait()
	})
}
