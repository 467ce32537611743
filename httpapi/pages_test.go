package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper"
)

// entriesFrom returns entries whose numbers begin with first.
func entriesFrom(first int64, n int) []innkeeper.Revocation {
	entries := make([]innkeeper.Revocation, n)
	for i := range entries {
		seq := first + int64(i)
		entries[i] = innkeeper.Revocation{Seq: seq, Kind: innkeeper.RevokedSession, ID: fmt.Sprintf("%022d", seq)}
	}
	return entries
}

// pagesOf cuts a feed into pages.
func pagesOf(feed []innkeeper.Revocation, size int) around {
	return func(seq int64) []innkeeper.Revocation {
		for page := range slices.Chunk(feed, size) {
			if page[len(page)-1].Seq >= seq {
				return page
			}
		}
		return nil
	}
}

// Whatever is kept, and however the feed has changed meanwhile, an answer is what it
// would be if all of it were encoded anew.
func TestPagesAreWhatTheyWouldBeIfEncodedAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pages
		var feed []innkeeper.Revocation
		last := int64(1)
		ids := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9_-]{22}`), rapid.String())
		kinds := rapid.SampledFrom([]innkeeper.RevocationKind{innkeeper.RevokedSession, innkeeper.RevokedUser, innkeeper.RevokedKey, `"<&>"`})
		grow := func(t *rapid.T) {
			for range rapid.IntRange(1, 400).Draw(t, "more") {
				last += rapid.Int64Range(1, 3).Draw(t, "gap")
				feed = append(feed, innkeeper.Revocation{Seq: last, Kind: kinds.Draw(t, "kind"), ID: ids.Draw(t, "id")})
			}
		}
		grow(t)
		t.Repeat(map[string]func(*rapid.T){
			"grow": grow,
			"forget": func(t *rapid.T) {
				nth := rapid.IntRange(2, 50).Draw(t, "each nth")
				kept := feed[:0:0]
				for i, entry := range feed {
					if i%nth != 0 {
						kept = append(kept, entry)
					}
				}
				feed = kept
			},
			"replace": func(t *rapid.T) { // by other entries with the same numbers
				feed = slices.Clone(feed)
				for i := range feed {
					if rapid.IntRange(0, 20).Draw(t, "other") == 0 {
						feed[i].ID = ids.Draw(t, "id")
					}
				}
			},
			"ask": func(t *rapid.T) {
				first := rapid.IntRange(0, len(feed)).Draw(t, "first")
				end := rapid.IntRange(first, len(feed)).Draw(t, "end")
				page := &innkeeper.RevocationPage{
					Snapshot: rapid.Bool().Draw(t, "snapshot"), More: rapid.Bool().Draw(t, "more"),
					Entries: feed[first:end:end], Next: rapid.Int64Min(1).Draw(t, "next"),
				}
				around := pagesOf(feed, rapid.SampledFrom([]int{70, 100, 10_000}).Draw(t, "size"))
				if rapid.IntRange(0, 9).Draw(t, "moved on") == 0 {
					around = pagesOf(nil, 1)
				}
				parts, err := p.text(page, around)
				if err != nil {
					t.Fatal(err)
				}
				want, err := json.Marshal(pageOf(page))
				if err != nil {
					t.Fatal(err)
				}
				if got := bytes.Join(parts, nil); !bytes.Equal(got, want) {
					t.Fatalf("got  %s\nwant %s", got, want)
				}
				if runs := p.runs.Load(); runs != nil && len(*runs) > maxRuns {
					t.Fatalf("%d runs are kept", len(*runs))
				}
			},
		})
	})
}

// Everybody is given the same memory, wherever they begin; and of many pages no more than
// a few are kept.
func TestPagesShareTheirText(t *testing.T) {
	var p pages
	const size = 200
	feed := entriesFrom(1_000, (maxRuns+4)*size)
	ask := func(entries []innkeeper.Revocation) [][]byte {
		t.Helper()
		parts, err := p.text(&innkeeper.RevocationPage{Entries: entries, Next: 1}, pagesOf(feed, size))
		if err != nil {
			t.Fatal(err)
		}
		return parts
	}
	first := ask(feed[:size])[1]
	for cut := range size - fewEntries {
		if part := ask(feed[cut:size])[1]; &part[len(part)-1] != &first[len(first)-1] {
			t.Fatalf("who has %d entries is given a text of their own", cut)
		}
	}
	if n := len(*p.runs.Load()); n != 1 {
		t.Fatalf("%d runs are kept, want one", n)
	}
	// What grows takes the place of what it was.
	growing := feed[: size+70 : size+70]
	whole, err := p.text(&innkeeper.RevocationPage{Entries: growing, Next: 1}, pagesOf(growing, 10*size))
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) != 5 { // the head, what was there, a comma, what is new, the tail
		t.Fatalf("a page that has grown is made of %d parts, want 5", len(whole))
	}
	if n := len(*p.runs.Load()); n != 1 {
		t.Fatalf("%d runs are kept, want one", n)
	}
	ask(feed)
	if n := len(*p.runs.Load()); n != maxRuns {
		t.Fatalf("%d runs are kept, want %d", n, maxRuns)
	}
}

// BenchmarkFullPage compares an answer for everybody with one for each: what a follower
// costs who asks for a full page that others have asked for as well.
func BenchmarkFullPage(b *testing.B) {
	feed := entriesFrom(1_795_814_637_449_970, 10_000)
	page := &innkeeper.RevocationPage{Entries: feed, Next: 1}
	var p pages
	shared := func() {
		if _, err := p.text(page, pagesOf(feed, len(feed))); err != nil {
			b.Fatal(err)
		}
	}
	alone := func() {
		if _, err := json.Marshal(pageOf(page)); err != nil {
			b.Fatal(err)
		}
	}
	shared()
	var times [2]time.Duration
	for b.Loop() {
		for i, answer := range []func(){alone, shared} {
			began := time.Now()
			answer()
			times[i] += time.Since(began)
		}
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(each(times[0]), "alone-µs/op")
	b.ReportMetric(each(times[1]), "shared-µs/op")
	b.ReportMetric(each(times[0])/each(times[1]), "alone/shared")
}
