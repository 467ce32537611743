package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/innkeeper-auth/innkeeper"
)

// Most of an answer of the feed is the same for all who ask, and all may ask: a full
// page takes milliseconds to encode and is 700 KB. So entries are encoded once for
// everybody. An answer is made of parts: what is the asker's own, and pieces of text that
// belong to all. Whoever does not read what they asked for keeps no text but that.

const (
	// fewEntries are encoded anew for each who asks, as what is new mostly is: that costs
	// less than to look for them.
	fewEntries = 64
	// maxRuns bounds the text that is kept, at up to 1.5 MB each. It is that of 160,000
	// entries, so many as a server holds at 40 revocations a second.
	maxRuns = 16
)

// pages keeps the text of entries. The zero value is empty and ready to use. It is safe
// for concurrent use.
type pages struct {
	runs atomic.Pointer[[]*run] // the latest first
	mu   sync.Mutex             // held by whoever encodes: one processor at most does
}

// run is a piece of the feed and its text.
type run struct {
	entries []innkeeper.Revocation
	text    []byte // the entries as JSON, with a comma between two
	ends    []int  // where in it each of them ends
}

func newRun(entries []innkeeper.Revocation) (run, error) {
	// A copy, for the feed's own is as large as the feed.
	r := run{entries: slices.Clone(entries), ends: make([]int, len(entries))}
	for i := range entries {
		text, err := json.Marshal(bodyOf(&entries[i]))
		if err != nil {
			return run{}, err
		}
		if i > 0 {
			r.text = append(r.text, ',')
		}
		r.text = append(r.text, text...)
		r.ends[i] = len(r.text)
	}
	r.text = slices.Clip(r.text)
	return r, nil
}

// find returns the text of those of the entries, from the first on, that the run has,
// and how many they are. They are compared one by one, since the feed may have forgotten
// some in between, or been replaced.
func (r *run) find(entries []innkeeper.Revocation) (text []byte, n int) {
	first, ok := slices.BinarySearchFunc(r.entries, entries[0].Seq, func(e innkeeper.Revocation, seq int64) int {
		return cmp.Compare(e.Seq, seq)
	})
	if !ok {
		return nil, 0
	}
	for n < len(entries) && first+n < len(r.entries) && sameText(&r.entries[first+n], &entries[n]) {
		n++
	}
	if n == 0 {
		return nil, 0
	}
	begin := 0
	if first > 0 {
		begin = r.ends[first-1] + len(",")
	}
	end := r.ends[first+n-1]
	return r.text[begin:end:end], n
}

func sameText(a, b *innkeeper.Revocation) bool {
	return a.Seq == b.Seq && a.ID == b.ID && a.Kind == b.Kind
}

// find returns the longest text that is kept of the entries, from the first on.
func (p *pages) find(entries []innkeeper.Revocation) (text []byte, n int) {
	if runs := p.runs.Load(); runs != nil {
		for _, r := range *runs {
			if more, m := r.find(entries); m > n {
				text, n = more, m
			}
			if n == len(entries) {
				break
			}
		}
	}
	return text, n
}

// keep remembers a run in place of those that it holds all of, and of the oldest.
func (p *pages) keep(r *run) {
	kept := []*run{r}
	if runs := p.runs.Load(); runs != nil {
		for _, old := range *runs {
			if _, n := r.find(old.entries); n < len(old.entries) && len(kept) < maxRuns {
				kept = append(kept, old)
			}
		}
	}
	p.runs.Store(&kept)
}

// around returns that one of the pages of someone who begins anew in which an entry
// stands, or nothing. Whatever cursors are asked for, all text is that of these.
type around func(seq int64) []innkeeper.Revocation

// encode returns the text of entries, from the first on, and of how many. Whoever asks
// for what is being encoded just now waits for that.
func (p *pages) encode(entries []innkeeper.Revocation, around around) ([]byte, int, error) {
	if text, n := p.find(entries); n > 0 {
		return text, n, nil
	}
	if len(entries) <= fewEntries {
		r, err := newRun(entries)
		return r.text, len(entries), err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text, n := p.find(entries); n > 0 {
		return text, n, nil
	}
	r, err := newRun(around(entries[0].Seq))
	if err != nil {
		return nil, 0, err
	}
	text, n := r.find(entries)
	if n > 0 {
		p.keep(&r)
		return text, n, nil
	}
	r, err = newRun(entries) // the feed has moved on since
	return r.text, len(entries), err
}

// text returns an answer as JSON, in parts.
func (p *pages) text(page *innkeeper.RevocationPage, around around) ([][]byte, error) {
	if len(page.Entries) <= fewEntries {
		text, err := json.Marshal(pageOf(page))
		return [][]byte{text}, err
	}
	frame := *page
	frame.Entries = nil
	text, err := json.Marshal(pageOf(&frame))
	if err != nil {
		return nil, err
	}
	const list = `"entries":[`
	before, after, _ := strings.Cut(string(text), list)
	parts := [][]byte{[]byte(before + list)}
	for rest := page.Entries; len(rest) > 0; {
		if len(parts) > 1 {
			parts = append(parts, []byte{','})
		}
		entries, n, err := p.encode(rest, around)
		if err != nil {
			return nil, err
		}
		parts, rest = append(parts, entries), rest[n:]
	}
	return append(parts, []byte(after)), nil
}

// pageText returns an answer as JSON, in parts.
func (a *API) pageText(ctx context.Context, page *innkeeper.RevocationPage) ([][]byte, error) {
	return a.pages.text(page, func(seq int64) []innkeeper.Revocation {
		for after := int64(0); ; {
			page, err := a.authority.Revocations(ctx, after, 0)
			switch n := len(page.Entries); {
			case err != nil || n == 0:
				return nil
			case page.Entries[n-1].Seq >= seq:
				return page.Entries
			case !page.More:
				return nil
			}
			after = page.Next
		}
	})
}
