package innkeeper

import (
	"context"
	"math/rand/v2"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/revoked"
)

const (
	// feedPoll is how often the store is asked for what other servers have revoked.
	// It is the guarantee; hints only make it faster.
	feedPoll = 250 * time.Millisecond
	// feedPage is how many entries are read, or handed to a follower, at once.
	feedPage = 10_000
	// feedReadTimeout bounds one question to the store.
	feedReadTimeout = 10 * time.Second
	// feedForget is how often entries are dropped that no token can concern any more.
	feedForget = time.Minute

	// After news the store is not read again for feedRest, and feedRestEach more for
	// each follower that waits: waking thousands takes a while, and many revocations
	// in a row should wake them a few times and not each time. It never exceeds
	// feedPoll.
	feedRest     = 5 * time.Millisecond
	feedRestEach = 20 * time.Microsecond

	// A store that fails is asked again after a random time, whose mean doubles.
	feedRetryFirst = 50 * time.Millisecond
	feedRetryLast  = time.Second
)

// feed is what this server knows of the revocation feed: all of it, in memory.
type feed struct {
	revoked revoked.Set   // for lookups
	wake    chan struct{} // somebody may have written an entry
	aging   *time.Timer   // fires when the lookups are to age; one for all calls of runFeed, set by the first

	mu      sync.Mutex
	entries []Revocation  // by Seq. Pages are slices of it, so no element ever changes
	read    int64         // the greatest Seq that was read; 0: none
	dropped int64         // the greatest Seq that was forgotten
	readAt  time.Time     // when the latest successful reading began; zero: none has ended yet
	reading int64         // readings that have begun
	settled int64         // which of them was the latest that succeeded
	running int           // calls of runFeed
	waiting int           // followers
	woken   int           // how many of them waited for the latest news
	news    chan struct{} // closed when followers have to look again
	looked  chan struct{} // closed after a successful reading; nil: nobody waits for one
}

func (f *feed) init() {
	f.wake = make(chan struct{}, 1)
	f.news = make(chan struct{})
}

// nudge makes the feed look at the store now. It never blocks.
func (f *feed) nudge() {
	select {
	case f.wake <- struct{}{}:
	default: // it is about to look
	}
}

// runFeed follows the feed until ctx ends.
func (a *Authority) runFeed(ctx context.Context) {
	f := &a.feed
	var hints sync.WaitGroup
	defer hints.Wait()
	f.begin()
	end := sync.OnceFunc(f.end)
	defer end()
	// Followers are let go at once, also while a store takes its time to answer.
	defer context.AfterFunc(ctx, end)()
	if hinter, ok := a.stores.Revocations.(RevocationHinter); ok {
		hints.Go(func() { a.followHints(ctx, hinter) })
	}
	forget := time.NewTicker(feedForget)
	defer forget.Stop()
	var retry backoff
	for ctx.Err() == nil {
		news, err := a.readFeed(ctx)
		pause, wake := feedPoll, f.wake
		if err != nil {
			pause, wake = retry.next(), nil // hints do not help a store that fails
		} else {
			retry = backoff{}
		}
		if news && err == nil {
			_ = rest(ctx, f.restTime())
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(pause):
		case <-forget.C:
			f.forget(a.now().Add(-RevocationRetention))
		case <-f.aging.C:
			// The time to the next begins now, however late this is: with the beat of a
			// ticker they could be closer together than a token's life.
			f.revoked.Age()
			f.aging.Reset(RevocationRetention)
		}
	}
}

// reading is one look at all that is new in the store.
type reading struct {
	number int64
	began  time.Time
	last   int64 // the number that the store had given last
}

// readFeed reads what is new in the store, and reports whether there was anything.
func (a *Authority) readFeed(ctx context.Context) (news bool, err error) {
	f := &a.feed
	r := reading{number: f.beginReading(), began: a.clock()}
	if r.last, err = a.lastRevocation(ctx); err != nil {
		return false, err
	}
	for after := f.resume(r.last); ; {
		var entries []Revocation
		if after < r.last {
			if entries, err = a.readFeedPage(ctx, after); err != nil {
				return news, err
			}
		}
		more := len(entries) == feedPage
		if more {
			f.learn(entries, nil)
			after = entries[feedPage-1].Seq
		} else {
			f.learn(entries, &r)
		}
		a.keysRevoked(ctx, entries)
		news = news || len(entries) > 0
		if !more {
			return news, nil
		}
	}
}

func (a *Authority) lastRevocation(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, feedReadTimeout)
	defer cancel()
	return a.stores.Revocations.LastRevocation(ctx)
}

func (a *Authority) readFeedPage(ctx context.Context, after int64) ([]Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, feedReadTimeout)
	defer cancel()
	return a.stores.Revocations.Revocations(ctx, after, feedPage)
}

// followHints listens for hints until ctx ends.
func (a *Authority) followHints(ctx context.Context, hinter RevocationHinter) {
	var retry backoff
	for ctx.Err() == nil {
		var listened atomic.Bool
		// Whatever the error is, polling goes on in the meantime.
		_ = hinter.HintRevocations(ctx, func() {
			listened.Store(true)
			a.feed.nudge()
		})
		if listened.Load() {
			retry = backoff{}
		}
		_ = rest(ctx, retry.next())
	}
}

// begin and end count those who keep the feed up to date.
func (f *feed) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running++
	if f.aging == nil {
		f.aging = time.NewTimer(RevocationRetention)
	}
}

// end lets followers go once nobody would bring them news.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	f.tell()
	f.release()
}

// tell wakes all followers, under the lock.
func (f *feed) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

// release wakes those who wait for a reading, under the lock.
func (f *feed) release() {
	if f.looked != nil {
		close(f.looked)
		f.looked = nil
	}
}

// beginReading returns the number of a reading.
func (f *feed) beginReading() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading++
	return f.reading
}

// resume returns where a reading goes on in a store that has given the number last. If
// it had given a greater one before, an older state of it has been put in its place.
// Then all is read anew, and followers begin anew; what we knew stays revoked here.
func (f *feed) resume(last int64) (after int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last < f.read {
		f.entries, f.read, f.dropped = nil, 0, 0
		f.tell()
	}
	return f.read
}

// learn adds what was read and wakes followers. Lookups find it first: no follower is
// ever ahead of our own verdicts. With the last page of a reading comes the reading
// itself: then all is known that was in the store when it began.
func (f *feed) learn(page []Revocation, done *reading) {
	for i := range page {
		page[i].Kind = constant(page[i].Kind)
		f.revoked.Add(page[i].entry())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, entry := range page {
		if entry.Seq > f.read {
			f.entries = append(f.entries, entry)
			f.read = entry.Seq
		}
	}
	first := f.readAt.IsZero()
	if done != nil {
		f.readAt = done.began
		f.read = max(f.read, done.last)
		f.settled = max(f.settled, done.number)
		f.release()
	}
	if len(page) > 0 || first {
		f.woken = f.waiting
		f.tell()
	}
}

// wrote is called after a write of ours that appended an entry. It counts here before
// the caller is told of the write, and elsewhere as soon as the feed is read.
func (f *feed) wrote(entry Revocation) {
	f.mu.Lock()
	running := f.running > 0
	f.mu.Unlock()
	if running { // or nobody would let it age
		f.revoked.Add(entry.entry())
		f.nudge()
	}
}

func (r *Revocation) entry() revoked.Entry {
	return revoked.Entry{Kind: revoked.Kind(r.Kind), ID: r.ID}
}

// constant returns the same text without the memory that a store has put it in.
func constant(kind RevocationKind) RevocationKind {
	for _, known := range []RevocationKind{RevokedSession, RevokedUser, RevokedKey} {
		if kind == known {
			return known
		}
	}
	return kind
}

// forget drops session and user entries that were written before. Pages that were
// handed out keep what they hold.
func (f *feed) forget(before time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	over := func(entry Revocation) bool { return entry.Kind != RevokedKey && entry.At.Before(before) }
	old := 0
	for _, entry := range f.entries {
		if over(entry) {
			old++
		}
	}
	if old == 0 {
		return
	}
	kept := make([]Revocation, 0, len(f.entries)-old)
	for _, entry := range f.entries {
		if over(entry) {
			f.dropped = max(f.dropped, entry.Seq)
			continue
		}
		kept = append(kept, entry)
	}
	f.entries = kept
}

// isRead reports whether the store has been read once.
func (f *feed) isRead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.readAt.IsZero()
}

// lag is how old the view is; false if there is none yet.
func (f *feed) lag(now time.Time) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.age(now), !f.readAt.IsZero()
}

// age is how long ago the latest successful reading of the store began. Of two clocks the
// one counts by which more time has passed: the monotonic one may stand still while a
// machine sleeps, the other may be set back. The caller holds mu.
func (f *feed) age(now time.Time) time.Duration {
	return max(0, now.Sub(f.readAt), now.Round(0).Sub(f.readAt.Round(0)))
}

// readingNow returns the number of the latest reading that has begun.
func (f *feed) readingNow() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reading
}

// last is the cursor of someone who has everything. It is never zero, which would
// mean to begin anew: no entry has the number 1, which is the first microsecond of
// 1970.
func (f *feed) last() int64 { return max(f.read, 1) }

// look returns what there is for a follower, and what it may wait for. Reading is the
// number of the latest reading when it asked.
func (f *feed) look(after, reading int64, now time.Time) (RevocationPage, pending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readAt.IsZero() {
		return RevocationPage{}, pending{signal: f.news, err: unavailable(errFeedUnread)}
	}
	page := RevocationPage{Next: after, Lag: f.age(now)}
	if after > f.last() && f.settled <= reading {
		// Another server may have told the follower of what we have not read yet, or the
		// store has been replaced by an older one. A reading that begins now settles it.
		if f.running == 0 {
			return page, pending{}
		}
		if f.looked == nil {
			f.looked = make(chan struct{})
		}
		return page, pending{signal: f.looked, ahead: true}
	}
	if after == 0 || after > f.last() || f.missed(after) {
		page.Snapshot = true
		after = 0
	}
	first := sort.Search(len(f.entries), func(i int) bool { return f.entries[i].Seq > after })
	end := min(first+feedPage, len(f.entries))
	page.Entries = f.entries[first:end:end]
	page.More = end < len(f.entries)
	page.Next = f.last()
	if page.More {
		page.Next = f.entries[end-1].Seq
	}
	if page.Snapshot || len(page.Entries) > 0 || f.running == 0 {
		return page, pending{}
	}
	return page, pending{signal: f.news}
}

// missed reports whether a cursor is older than all that we have, and we had more.
func (f *feed) missed(after int64) bool {
	return after < f.dropped && (len(f.entries) == 0 || after < f.entries[0].Seq)
}

// enter counts a follower that is about to wait, or says that there are too many.
func (f *feed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting >= maxFeedWaiting {
		return false
	}
	f.waiting++
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
}

// restTime is how long to leave followers alone after news.
func (f *feed) restTime() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return min(feedPoll, feedRest+time.Duration(f.woken)*feedRestEach)
}

// backoff is how long to wait before the next try of what has failed.
type backoff struct{ mean time.Duration }

func (b *backoff) next() time.Duration {
	b.mean = min(max(2*b.mean, feedRetryFirst), feedRetryLast/2)
	return b.mean/2 + rand.N(b.mean) //nolint:gosec // spreads work, and guards nothing
}
