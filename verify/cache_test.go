package verify_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// A token that comes again costs no signature, and expires all the same.
func TestCachedTokensExpire(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		token := iss.token(t, func(c *accesstoken.Claims) { c.ExpiresAt = time.Now().Add(time.Minute) })
		for range 3 {
			accepted(t, v, token)
		}
		if s := v.Stats(); s.Cached != 2 {
			t.Errorf("%d of 3 were cached, want 2", s.Cached)
		}
		time.Sleep(time.Minute + 30*time.Second - time.Nanosecond) // the allowance for clocks included
		accepted(t, v, token)
		time.Sleep(time.Nanosecond)
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, accesstoken.ErrExpired) {
			t.Errorf("Verify = %v, want ErrExpired", err)
		}
	})
}

// A token whose key has left the key set is not good any more, cached or not.
func TestCacheFollowsTheKeys(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		iss := newIssuer(t)
		v := iss.verifier(t)
		token := iss.token(t)
		accepted(t, v, token)
		iss.rotate(t)
		iss.withdraw()
		time.Sleep(time.Hour)
		accepted(t, v, iss.token(t)) // fetches the keys
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, accesstoken.ErrUnknownKey) {
			t.Errorf("Verify = %v, want ErrUnknownKey", err)
		}
	})
}

// A changed token is another token.
func TestCacheIsOfWholeTokens(t *testing.T) {
	iss := newIssuer(t)
	v := iss.verifier(t)
	token := iss.token(t)
	accepted(t, v, token)
	for i := range len(token) {
		changed := []byte(token)
		changed[i] ^= 1
		if _, err := v.Verify(t.Context(), string(changed)); err == nil {
			t.Fatalf("a token with another character %d is accepted", i)
		}
	}
	for _, longer := range []string{token + "A", token + "=", " " + token} {
		if _, err := v.Verify(t.Context(), longer); err == nil {
			t.Error("a longer token is accepted")
		}
	}
}

// However many good tokens come, the cache stays small, and all of them are good.
func TestFloodOfGoodTokens(t *testing.T) {
	iss := newIssuer(t)
	v := newVerifier(t, verify.Config{Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}, CacheSize: 64})
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = iss.token(t, func(c *accesstoken.Claims) { c.ID = fmt.Sprint(i) })
		accepted(t, v, tokens[i])
	}
	for _, token := range tokens {
		accepted(t, v, token)
	}
	if s := v.Stats(); s.Accepted != 2000 || s.Cached > 128 {
		t.Errorf("%+v: more were remembered than fit", s)
	}
}

// However large the good tokens are that come, the cache keeps within its bytes, and
// remembers some of them; and it remembers all that are of ordinary size.
func TestFloodOfLargeTokens(t *testing.T) {
	const limit = 12 << 20 // the docs say some 10 MB
	few := func(int) string { return "mail:read" }
	for name, test := range map[string]struct {
		tokens, permissions int
		permission          func(i int) string
		remembered          int // of all, at least
	}{
		"ordinary":         {1000, 5, few, 1000},
		"many permissions": {1500, 300, func(i int) string { return fmt.Sprintf("project-%03d:documents:write", i) }, 1},
		"short ones":       {500, 2500, func(int) string { return "a" }, 1}, // each is a string that takes more than its text
	} {
		t.Run(name, func(t *testing.T) {
			iss := newIssuer(t)
			v := newVerifier(t, verify.Config{Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}})
			var permissions []string
			for i := range test.permissions {
				permissions = append(permissions, test.permission(i))
			}
			token := func(i int) string {
				return iss.token(t, func(c *accesstoken.Claims) { c.ID, c.Permissions = fmt.Sprint(i), permissions })
			}
			accepted(t, v, iss.token(t))
			var latest []string // so many as may be remembered
			before := heap()
			for i := range test.tokens {
				good := token(i)
				accepted(t, v, good)
				if i >= test.tokens-test.remembered {
					latest = append(latest, good)
				}
			}
			if grown := heap() - before; grown > limit {
				t.Errorf("%d tokens take %d bytes, want at most %d", test.tokens, grown, limit)
			}
			for _, good := range latest {
				accepted(t, v, good)
			}
			if n := v.Stats().Cached; n < uint64(test.remembered) {
				t.Errorf("%d of the latest %d tokens were remembered", n, test.remembered)
			}
		})
	}
}

// heap returns how much memory is in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// A token that is too long to be one costs nothing, whether there is a cache or not: not
// even the hash by which others are looked for.
func TestEndlessTokens(t *testing.T) {
	iss := newIssuer(t)
	v := iss.verifier(t)
	half := strings.Repeat("a", 32<<20)
	token := half + "." + half + ".a"
	for deadline, i := time.Now().Add(time.Minute), 0; i < 10_000; i++ { // 640 GB
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, accesstoken.ErrMalformed) {
			t.Fatalf("Verify = %v, want ErrMalformed", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tokens in a minute: they are read", i)
		}
	}
}

func TestNoCache(t *testing.T) {
	iss := newIssuer(t)
	v := newVerifier(t, verify.Config{Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}, CacheSize: -1})
	token := iss.token(t)
	accepted(t, v, token)
	accepted(t, v, token)
	if s := v.Stats(); s.Cached != 0 || s.Accepted != 2 {
		t.Errorf("%+v", s)
	}
}

func TestCachedVerificationDoesNotAllocate(t *testing.T) {
	iss := newFeedIssuer(t)
	v := iss.verifier(t)
	token := iss.token(t)
	accepted(t, v, token)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(ctx, token) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	iss := newIssuer(b)
	token := iss.token(b)
	for name, size := range map[string]int{"cached": 0, "uncached": -1} {
		b.Run(name, func(b *testing.B) {
			v := newVerifier(b, verify.Config{Issuer: iss.url, HTTPClient: &http.Client{Transport: iss}, CacheSize: size})
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(ctx, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
