package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/revoked"
	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// Bounds of following, and of what an issuer may make us hold.
const (
	// feedWait is how long the issuer may hold a request while there is no news. A
	// route that wants a fresher view shortens it.
	feedWait = 20 * time.Second
	// feedPause is the least time between a request and the next where the answer
	// brought nothing, as from a server that lets nobody wait.
	feedPause = 250 * time.Millisecond
	// newsPause is the same where the answer brought something, after newsBurst that
	// came sooner: many revocations in a row are not a request each.
	newsPause = 20 * time.Millisecond
	newsBurst = 10
	// feedSlack is how much later than asked an answer may come.
	feedSlack = 10 * time.Second
	// feedStale is the age by which a view that the issuer tells of is out of date: its
	// store is read four times a second, and may be away for a moment.
	feedStale = 5 * time.Second
	// feedFirst is how long requests wait for the first attempt.
	feedFirst = 5 * time.Second
	// Failed attempts are repeated after a random time below a limit that doubles.
	firstFeedRetry = 100 * time.Millisecond
	lastFeedRetry  = 5 * time.Second
	// feedAge is the longest life of an access token, and five minutes for clocks that
	// disagree. Within it nothing that was revoked is forgotten.
	feedAge = time.Hour + 5*time.Minute
	// maxFeedPage bounds an answer: 10,000 entries of some 120 bytes, and then some.
	maxFeedPage = 8 << 20
	// maxRevokedKeys bounds what is kept for good: the latest, and those that are
	// published although they were revoked. A server makes a key a month.
	maxRevokedKeys = 10_000
	// maxRevokedID bounds an ID. That of a key may have 256 bytes, others have 22.
	maxRevokedID = 256
	// maxLag bounds the times that an answer claims, to what fits a Duration.
	maxLag = 1000 * time.Hour
)

// ErrRevoked reports a genuine token whose session, user or key was revoked.
// Refresh, or sign in again.
var ErrRevoked = errors.New("access token has been revoked")

// FeedStatus says how well the revocation feed is followed.
type FeedStatus struct {
	// Connected says that the latest request was answered.
	Connected bool
	// Stale says that this answer told of things as they had been more than five seconds
	// before: the issuer can be reached and does not reach its database, or something in
	// between holds answers back. It is false while the feed is not connected.
	Stale bool
	// AsOf is the time, by our clock, up to which all revocations are known. The zero
	// value means that the feed was never read.
	AsOf time.Time
	// Entries is how many revocations are known. One that was told twice may count
	// twice.
	Entries int
	// Err is why the latest request failed; nil if it did not.
	Err error
}

// feed is what we know of what the issuer has revoked, and how we learn more: one
// goroutine asks for what came after a cursor, and the issuer holds the request
// until there is something.
type feed struct {
	client   http.Client
	url      string
	now      func() time.Time
	logger   *slog.Logger
	onChange func(FeedStatus)
	keys     *keySource

	revoked revoked.Set
	asOf    atomic.Pointer[time.Time] // nil: never read
	wait    atomic.Int64              // how long the issuer may hold a request, in nanoseconds
	tried   chan struct{}             // closed after the first attempt
	stop    context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended

	mu        sync.Mutex
	connected bool // the latest attempt was answered
	stale     bool // by what was out of date
	err       error
	hurry     context.CancelCauseFunc // ends the request under way; nil: none is
}

// errMore says that an answer was not all that there is now.
var errMore = errors.New("there is more")

// errHurry ends a request that is held for longer than somebody wants by now.
var errHurry = errors.New("a fresher view is wanted")

// page is an answer of the issuer.
type page struct {
	Snapshot bool        `json:"snapshot"`
	Entries  []pageEntry `json:"entries"`
	Next     int64       `json:"next"`
	More     bool        `json:"more"`
	LagMS    int64       `json:"lag_ms"`
	WaitedMS int64       `json:"waited_ms"`

	cached time.Duration // how long a cache has kept it
}

type pageEntry struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// followFeed starts to follow.
func followFeed(cfg Config, keys *keySource) *feed {
	ctx, stop := context.WithCancel(context.Background())
	f := &feed{
		client: *cfg.HTTPClient, url: cfg.RevocationsURL, now: cfg.Now, onChange: cfg.OnFeed, keys: keys,
		logger: cfg.Logger.With("revocations_url", cfg.RevocationsURL),
		tried:  make(chan struct{}), stop: stop, stopped: make(chan struct{}),
	}
	f.client.Timeout = 0 // it may be shorter than we want to wait; every request has a limit of its own
	f.wait.Store(int64(feedWait))
	go f.run(ctx)
	return f
}

// close stops following and waits for its end. What is known goes on counting.
func (f *feed) close() {
	f.stop()
	<-f.stopped
}

// run follows until ctx ends.
func (f *feed) run(ctx context.Context) {
	defer close(f.stopped)
	aging := time.NewTimer(feedAge)
	defer aging.Stop()
	first := sync.OnceFunc(func() { close(f.tried) })
	defer first()
	var (
		cursor int64
		soon   int // answers in a row that came sooner than newsPause
		limit  = firstFeedRetry
	)
	for ctx.Err() == nil {
		select {
		case <-aging.C:
			// The time to the next begins now, however late this is: with the beat of a
			// ticker they could be closer together than a token's life.
			f.revoked.Age()
			aging.Reset(feedAge)
		default:
		}
		sent := time.Now()
		next, pause, err := f.step(ctx, cursor)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errHurry):
			continue // neither a success nor a failure: nothing is known that was not before
		case errors.Is(err, errMore):
			cursor = next
			sleep(ctx, pause)
			continue
		case err != nil:
			pause = rand.N(limit) //nolint:gosec // spreads load, and guards nothing
			limit = min(2*limit, lastFeedRetry)
		default:
			cursor, limit = next, firstFeedRetry
			took := time.Since(sent)
			if soon++; took >= newsPause {
				soon = 0
			}
			if soon > newsBurst {
				pause = max(pause, newsPause)
			}
			pause -= took
		}
		f.note(err)
		first()
		sleep(ctx, pause)
	}
}

// step asks once, and takes over what comes. It returns the next cursor, and how
// long after this request the next one may be sent at the earliest.
func (f *feed) step(ctx context.Context, cursor int64) (next int64, pause time.Duration, err error) {
	ctx, hurry := context.WithCancelCause(ctx)
	defer hurry(nil)
	// From here on a shorter wait ends this request; before, it is the wait of this.
	waiting := f.begin(hurry)
	defer f.end()
	ctx, cancel := context.WithTimeout(ctx, waiting+feedSlack)
	defer cancel()
	sent := f.now()
	answer, err := f.ask(ctx, cursor, waiting)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errHurry):
		return cursor, 0, errHurry
	case err != nil:
		return 0, 0, err
	}
	f.learn(answer.Entries)
	switch {
	case answer.More && answer.Snapshot && cursor != 0:
		return answer.Next, feedPause, errMore // the server has lost our cursor: not too often
	case answer.More:
		return answer.Next, 0, errMore
	}
	f.fresh(sent, answer)
	if len(answer.Entries) > 0 && answer.Next > cursor {
		return answer.Next, 0, nil
	}
	return answer.Next, min(feedPause, waiting), nil
}

// begin notes how to end the request that is about to be sent, and returns how long
// the issuer may hold it: not at all if we are not connected, and not for long if we are
// told old things, so that we soon know when that is over. A request that is not held is
// not to be ended either: others may be waiting for the first one.
func (f *feed) begin(hurry context.CancelCauseFunc) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.connected {
		return 0
	}
	f.hurry = hurry
	wait := time.Duration(f.wait.Load())
	if f.stale {
		wait = min(wait, feedStale)
	}
	return wait
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurry = nil
}

// learn makes entries count. Kinds that we do not know are those of a newer issuer.
func (f *feed) learn(told []pageEntry) {
	entries := make([]revoked.Entry, len(told))
	for i, entry := range told {
		entries[i] = revoked.Entry{Kind: revoked.Kind(entry.Kind), ID: entry.ID}
	}
	f.revoked.Add(entries...)
	for _, entry := range entries {
		if entry.Kind == revoked.Key {
			f.keys.withdraw(entry.ID)
		}
	}
	if f.revoked.Keys() > 2*maxRevokedKeys {
		f.revoked.KeepKeys(maxRevokedKeys, func(id string) bool { _, published := f.keys.known.Load().find(id); return published })
	}
}

// fresh notes up to when everything is known. The issuer took its view so long after
// our question, and knew its store as of lag before that. When the answer came proves
// nothing: it may have lain in a proxy, or with a machine that slept.
func (f *feed) fresh(sent time.Time, answer page) {
	took := f.now().Sub(sent) // no view is of the future, whatever is claimed
	asOf := sent.Add(min(answer.waited(), took) - answer.lag())
	// What was known before is known still, however far this server lags behind.
	if known := f.asOf.Load(); known == nil || asOf.After(*known) {
		f.asOf.Store(&asOf)
	}
}

func (p page) waited() time.Duration { return milliseconds(p.WaitedMS) }

// lag is how old the view was when it was sent to us.
func (p page) lag() time.Duration { return milliseconds(p.LagMS) + p.cached }

// milliseconds keeps what others claim within bounds.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(n, maxLag.Milliseconds())) * time.Millisecond
}

// ask sends one request.
func (f *feed) ask(ctx context.Context, cursor int64, wait time.Duration) (page, error) {
	query := url.Values{"after": {strconv.FormatInt(cursor, 10)}, "wait": {wait.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"?"+query.Encode(), nil)
	if err != nil {
		return page{}, fmt.Errorf("ask for revocations: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return page{}, fmt.Errorf("ask for revocations: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return page{}, fmt.Errorf("ask for revocations: status %d", resp.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxFeedPage+1))
	switch {
	case err != nil:
		return page{}, fmt.Errorf("read revocations: %w", err)
	case len(document) > maxFeedPage:
		return page{}, fmt.Errorf("read revocations: longer than %d bytes", maxFeedPage)
	}
	return parsePage(document, cursor, resp.Header)
}

// parsePage reads an answer to someone with a cursor, or refuses it as a whole.
func parsePage(document []byte, cursor int64, header http.Header) (page, error) {
	answer := page{Next: -1}
	if err := strictjson.Unmarshal(document, &answer); err != nil {
		return page{}, fmt.Errorf("read revocations: %w", err)
	}
	onward := answer.Next > cursor || answer.Snapshot || answer.Next == cursor && !answer.More
	if answer.Next < 0 || !onward || answer.More && (len(answer.Entries) == 0 || answer.Next == 0) {
		return page{}, errors.New("read revocations: the cursor does not move on; is this the feed of an issuer?")
	}
	if answer.LagMS < 0 || answer.WaitedMS < 0 {
		return page{}, errors.New("read revocations: lag_ms or waited_ms is negative")
	}
	for _, entry := range answer.Entries {
		// An empty name would be that of every token without a session.
		if entry.ID == "" || len(entry.ID) > maxRevokedID {
			return page{}, fmt.Errorf("read revocations: an ID does not have 1 to %d bytes", maxRevokedID)
		}
	}
	// RFC 9111 §5.1. Nobody may keep these answers, and somebody will.
	if seconds, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil {
		answer.cached = min(time.Duration(seconds)*time.Second, maxLag)
	}
	return answer, nil
}

// note remembers how the latest attempt went, and tells when that has changed.
func (f *feed) note(err error) {
	stale := err == nil && !f.isFresh(feedStale)
	f.mu.Lock()
	changed := f.connected != (err == nil) || f.stale != stale || f.err == nil && err != nil
	f.connected, f.stale, f.err = err == nil, stale, err
	f.mu.Unlock()
	if !changed {
		return
	}
	switch {
	case err != nil:
		f.logger.Warn("revocations cannot be followed; those that are known go on counting", "error", err)
	case stale:
		f.logger.Warn("the issuer tells of revocations as they were; those that are known go on counting", "as_of", f.asOf.Load())
	default:
		f.logger.Info("following revocations")
	}
	if f.onChange != nil {
		f.onChange(f.status())
	}
}

func (f *feed) status() FeedStatus {
	status := FeedStatus{Entries: f.revoked.Len()}
	if asOf := f.asOf.Load(); asOf != nil {
		status.AsOf = *asOf
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	status.Connected, status.Stale, status.Err = f.connected, f.stale, f.err
	return status
}

// ready waits until the feed was asked once, so that an API does not begin its life
// with open doors. It waits for a while and not for ever: an issuer that is down must
// not take all APIs with it. It returns [ErrUnavailable] if ctx ends before that:
// leaving early must not open doors either.
func (f *feed) ready(ctx context.Context) error {
	select {
	case <-f.tried:
		return nil
	default:
	}
	timer := time.NewTimer(feedFirst)
	defer timer.Stop()
	select {
	case <-f.tried:
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return nil
}

// isFresh reports whether everything that was revoked until d ago is known. Of two
// clocks the one counts by which more time has passed: the monotonic one may stand
// still while a machine sleeps, the other may be set back.
func (f *feed) isFresh(d time.Duration) bool {
	asOf := f.asOf.Load()
	if asOf == nil {
		return false
	}
	now := f.now()
	return now.Sub(*asOf) <= d && now.Round(0).Sub(asOf.Round(0)) <= d
}

// keepWithin makes the view no older than d, as far as that is in our hands: the
// issuer is asked at least twice in that time.
func (f *feed) keepWithin(d time.Duration) {
	d /= 2
	if f.wait.Load() <= int64(d) {
		return // the common case, without a lock
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wait.Load() <= int64(d) {
		return
	}
	f.wait.Store(int64(d))
	if f.hurry != nil {
		f.hurry(errHurry)
	}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
