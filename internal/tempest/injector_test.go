package tempest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

// token makes what looks like a refresh token.
func token(session byte, generation byte, secret string) string {
	raw := append([]byte{0, 0, 0}, make([]byte, 20)...)
	raw[3], raw[22] = session, generation
	return "ikr_" + base64.RawURLEncoding.EncodeToString(append(raw, secret...))
}

func ask(token, key string) *request {
	q := loot{token: token, cookie: true}.request()
	q.byThief = false
	if key != "" {
		q.header.Set("Idempotency-Key", key)
	}
	return q
}

// endure sends one refresh through an injector with a fault of one kind, and returns
// what the client saw and how often the server acted.
func endure(t *testing.T, strict bool, f fault) (seen string, acted int32, keys string) {
	t.Helper()
	var acts atomic.Int32
	var key atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		acts.Add(1)
		key.Store(r.Header.Get("Idempotency-Key"))
		w.Header().Set("Set-Cookie", refreshCookie+"="+token(1, 2, "successor"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"session":{"id":"s","generation":2},"user":{"username":"ada"}}`)
	}))
	t.Cleanup(server.Close)
	i, err := openInjector(server.URL, 1, strict, newRegister())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := readRequest(r)
		if err != nil {
			t.Error(err)
		}
		i.befall(w, r, q, f)
	}))
	t.Cleanup(front.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+refreshPath, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.GetBody = nil
	r.Header = ask(token(1, 1, "parent"), "a key").header
	resp, err := http.DefaultTransport.RoundTrip(r)
	seen = "nothing"
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		seen = fmt.Sprintf("%d %t", resp.StatusCode, resp.Header.Get("Set-Cookie") != "")
		if errors.Is(err, io.ErrUnexpectedEOF) || err != nil {
			seen += ", cut short"
		}
		_ = resp.Body.Close()
	}
	if err := i.close(); err != nil { // waits for late copies
		t.Error(err)
	}
	got, _ := key.Load().(string)
	return seen, acts.Load(), got
}

func TestFaults(t *testing.T) {
	cases := map[kind]struct {
		seen  string
		acted int32
	}{
		none:           {"200 true", 1},
		resetRequest:   {"nothing", 0},
		sealed:         {"nothing", 0},
		resetAnswer:    {"nothing", 1},
		resetInHeaders: {"nothing", 1},
		resetInBody:    {"200 true, cut short", 1},
		slowRequest:    {"200 true", 1},
		slowAnswer:     {"200 true", 1},
		duplicated:     {"200 true", 2},
		unavailable:    {"503 false", 0},
		tooMany:        {"429 false", 0},
		captivePortal:  {"200 false", 0},
	}
	for f, want := range cases {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			seen, acted, key := endure(t, false, fault{kind: f})
			if seen != want.seen || acted != want.acted {
				t.Errorf("the client saw %q and the server acted %d times; want %q and %d", seen, acted, want.seen, want.acted)
			}
			if acted > 0 && key != "a key" {
				t.Errorf("the server got the key %q", key)
			}
		})
	}
}

func TestStrictTakesTheKeyAway(t *testing.T) {
	if _, acted, key := endure(t, true, fault{}); acted != 1 || key != "" {
		t.Errorf("the server acted %d times, with the key %q", acted, key)
	}
}

// TestLost waits for clients that give up, and for others that do not.
func TestLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, refreshPath, nil)
		hangUp(w, r) // returns: nobody is kept for ever
		if w.Body.Len() != 0 {
			t.Errorf("it said %s", w.Body)
		}
	})
}

// TestOvertaken lets a later refresh of the same session go first, and no other.
func TestOvertaken(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := &injector{passed: map[string]*passage{}}
		passed := make(chan struct{})
		go func() {
			i.waitForNext(ask(token(1, 1, "parent"), ""))
			close(passed)
		}()
		synctest.Wait()
		i.overtake(ask(token(2, 1, "of somebody else"), ""))
		select {
		case <-passed:
			t.Error("another session overtook it")
		default:
		}
		i.overtake(ask(token(1, 1, "parent"), ""))
		<-passed
	})
}
