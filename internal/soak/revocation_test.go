package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRevocationReachesEveryVerifier is a short run of `go run ./internal/soak
// revocation`, without a look at how long it takes.
func TestRevocationReachesEveryVerifier(t *testing.T) {
	t.Parallel()
	for _, store := range []string{onSQLite, onPostgres, onRedis} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			i := open(t, innConfig{store: store, nodes: 3})
			f, err := timeRevocations(t.Context(), i, store, uint64(time.Now().Unix()), 60)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(f)
			if len(f.Violations) > 0 || f.All.Count < 60 || f.Controls == 0 {
				t.Error("the promises do not hold, or nobody has looked")
			}
		})
	}
}

// TestRevocationUnderFaults is a short run of `go run ./internal/soak revocation
// --faults`.
func TestRevocationUnderFaults(t *testing.T) {
	t.Parallel()
	cases := []struct {
		store string
		first []string // faults, one for each history
	}{
		{onSQLite, []string{"server killed"}},
		{onPostgres, []string{"postgres killed", "listeners lost"}},
		{onRedis, []string{"followers black-holed"}},
	}
	for _, c := range cases {
		t.Run(c.store, func(t *testing.T) {
			t.Parallel()
			i := open(t, innConfig{store: c.store, nodes: 3})
			var out strings.Builder
			seed := uint64(time.Now().Unix()) / withdrawEvery * withdrawEvery // a key is withdrawn
			b, err := besiege(i, c.store, seed, 2, &out)
			if err != nil {
				t.Fatal(err)
			}
			b.first = c.first
			err = b.run(t.Context(), seed, uint64(len(c.first)), 36)
			t.Logf("from seed %d: %s", seed, &out)
			if err != nil {
				t.Error(err)
			}
			for _, kind := range c.first {
				if !strings.Contains(out.String(), " "+kind) {
					t.Errorf("there was no %q", kind)
				}
			}
			if err := b.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestJudgeFindsBrokenFeeds puts something between servers and verifiers that spoils
// the feed, in ways in which one may well be broken. The judge has to see that in what
// the verifiers answer.
func TestJudgeFindsBrokenFeeds(t *testing.T) {
	t.Parallel()
	i := open(t, innConfig{store: onSQLite, nodes: 1})
	cases := []struct {
		name  string
		spoil func(*feedSpoiler, *feedAnswer)
		want  []string // any of these
	}{
		{"as it should be", func(*feedSpoiler, *feedAnswer) {}, nil},
		{"an entry in five is lost", (*feedSpoiler).lose, []string{"said that it knew all", "accepts when all is mended"}},
		{"old news is told as new", (*feedSpoiler).late, []string{"said that it knew all", "has to be fresh"}},
		{"nothing comes any more, and all is said to be well", (*feedSpoiler).stop, []string{"said that it knew all", "has not caught up"}},
		{"another session is named besides", (*feedSpoiler).slander, []string{"refuses what nobody has revoked"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			patience := 2 * time.Second // is enough to wait for what never comes
			if c.want == nil {
				patience = catchUpBound
			}
			found := playSpoiled(t, i, c.spoil, patience)
			if c.want == nil && found != "" {
				t.Errorf("found %s", found)
			}
			for _, want := range c.want {
				if strings.Contains(found, want) {
					first, _, _ := strings.Cut(found, "\n")
					t.Log(first)
					return
				}
			}
			if c.want != nil {
				t.Errorf("found %q, want any of %q", found, c.want)
			}
		})
	}
}

// playSpoiled plays a history without faults, with a spoiled feed, and returns the
// violations.
func playSpoiled(t *testing.T, i *inn, spoil func(*feedSpoiler, *feedAnswer), patience time.Duration) string {
	t.Helper()
	seed := uint64(time.Now().UnixNano())/withdrawEvery*withdrawEvery + 1 // no key is withdrawn
	b, err := besiege(i, onSQLite, seed, 0, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	s := &feedSpoiler{ledger: b.ledger, spoil: spoil}
	target, err := url.Parse("http://" + b.roads[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: s.modify,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(proxy.Close)
	t.Cleanup(proxy.CloseClientConnections)
	for _, d := range b.guards.doors {
		d.feed, d.patience = proxy.URL, patience
		if err := d.reopen(); err != nil {
			t.Fatal(err)
		}
	}
	b.strike = func(ctx context.Context, _ uint64) error {
		sleep(ctx, time.Second)
		return nil
	}
	if err := b.play(t.Context(), seed, 24); err != nil {
		t.Fatal(err)
	}
	return strings.Join(b.guards.judge.verdict(), "\n")
}

// feedAnswer is an answer of the feed, as far as it is spoiled.
type feedAnswer struct {
	Snapshot bool        `json:"snapshot"`
	Entries  []feedEntry `json:"entries"`
	Next     int64       `json:"next"`
	More     bool        `json:"more"`
	LagMS    int64       `json:"lag_ms"`
	WaitedMS int64       `json:"waited_ms"`

	after int64 // that was asked for
}

type feedEntry struct {
	Seq  int64  `json:"seq"`
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// feedSpoiler changes answers on their way.
type feedSpoiler struct {
	ledger *ledger
	spoil  func(*feedSpoiler, *feedAnswer)
	told   atomic.Int64 // entries
}

func (s *feedSpoiler) modify(resp *http.Response) error {
	if resp.Request.URL.Path != "/auth/revocations" || resp.StatusCode != http.StatusOK {
		return nil
	}
	defer resp.Body.Close()
	var answer feedAnswer
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	answer.after, _ = strconv.ParseInt(resp.Request.URL.Query().Get("after"), 10, 64)
	s.spoil(s, &answer)
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

func (s *feedSpoiler) lose(a *feedAnswer) {
	kept := a.Entries[:0]
	for _, entry := range a.Entries {
		// By the entry: verifiers ask one after the other, and all are to lose the same.
		if entry.Seq%5 != 0 {
			kept = append(kept, entry)
		}
	}
	a.Entries = kept
}

// late is a server that takes the time of its answer for that of its view.
func (*feedSpoiler) late(a *feedAnswer) {
	const late = 700 * time.Millisecond
	time.Sleep(late)
	a.WaitedMS += late.Milliseconds()
}

// stop is a server that has lost its store and does not know.
func (s *feedSpoiler) stop(a *feedAnswer) {
	if s.told.Add(int64(len(a.Entries))) > 40 {
		a.Entries, a.Next = nil, a.after
	}
}

func (s *feedSpoiler) slander(a *feedAnswer) {
	for _, p := range s.ledger.all() {
		if len(a.Entries) > 0 && p.lives() {
			a.Entries = append(a.Entries, feedEntry{Kind: "session", ID: strings.TrimPrefix(p.session.what, "session ")})
			return
		}
	}
}
