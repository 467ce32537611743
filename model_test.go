package innkeeper_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper"
)

// # The model
//
// Honest clients, a network that loses, doubles, delays and reorders, thieves,
// people who log out and administrators who lock up, in random order and against
// a real Authority over the memory store, with a clock that moves. After each step
// the world must look as docs/refresh.md promises:
//
//   - A session never has two live successors: of all its tokens at most one is
//     current, and no token ever has two different successors.
//   - A client that repeats its key is never signed out by bad luck, only by
//     somebody's logout, an administrator, or an expiry.
//   - Each use of a dead token without its key ends the session.
//   - What has ended stays ended, for the reason for which it ended.
//   - A late duplicate of an honest request changes nothing.
//   - A replay gives the same bytes.
//
// Beside that, each answer is compared with what the ledger of the session says
// must come: an account of everything that was handed out, kept by the test.
//
// Late duplicates are delivered as long as row 8 recognizes them, which is for
// eight rotations. After that their honesty cannot be told; TestRefreshRows has
// that case.
//
//	go test -race -run TestSessions .                        # as in every test run
//	go test -run TestSessions -rapid.checks=20000 .          # a soak
//	go test -run '^$' -fuzz FuzzSessions -fuzztime 10m .     # guided by coverage

func TestSessions(t *testing.T) { rapid.Check(t, playSessions) }

func FuzzSessions(f *testing.F) { f.Fuzz(rapid.MakeFuzz(playSessions)) }

func playSessions(t *rapid.T) {
	w := newWorld(t)
	actions := map[string]func(*rapid.T){
		"":                    w.check,
		"sign in":             w.signIn,
		"begin a refresh":     w.beginRefresh,
		"send again":          w.sendAgain,
		"deliver a request":   w.deliverRequest,
		"deliver another one": w.deliverRequest, // for a network that delivers more than it loses
		"deliver an answer":   w.deliverAnswer,
		"lose a request":      w.loseRequest,
		"a quiet time":        w.quietTime,
		"a late duplicate":    w.lateDuplicate,
		"a wrong label":       w.wrongLabel,
		"a jar rolled back":   w.rollBack,
		"time passes":         w.timePasses,
		"an ending":           w.someEnding,
		"steal":               w.steal,
		"steal and use":       w.stealAndUse,
		"a thief refreshes":   w.thiefRefreshes,
	}
	skipped := 0
	for name, action := range actions {
		if name != "" {
			actions[name] = patient(&skipped, action)
		}
	}
	// Many short stories find little: give each world time for a few generations.
	for range 3 {
		t.Repeat(actions)
	}
}

// patient makes an action that cannot be done pass for done after many such in a
// row. Rapid draws another one for each that was skipped, and gives up after 100;
// a fuzzer that draws the same bytes again and again would take that for a find.
func patient(skipped *int, action func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			*skipped++
			if fmt.Sprintf("%T", cause) == "rapid.invalidData" && *skipped > 50 {
				*skipped = 0
				return
			}
			panic(cause)
		}()
		action(t)
		*skipped = 0
	}
}

// world is everything that happens.
type world struct {
	*inn
	leeway   time.Duration
	people   []*person
	clients  []*client
	requests []*request // on their way, and may be delivered in any order
	answers  []*answer  // on their way back
	past     []*request // all honest requests that were ever sent
	thieves  []*thief
	ledgers  []*ledger
	made     int // keys, so that each is another
}

// person is a user, as the test knows them.
type person struct {
	user     *innkeeper.User
	password string
	epoch    int              // how often all their sessions have been ended
	reason   innkeeper.Reason // why, the last time
	disabled bool
}

// ledger is the account of one session.
type ledger struct {
	person  *person
	epoch   int
	session innkeeper.Session // as it was born
	tokens  []handedOut       // tokens[g-1] is that of generation g
	rotated []rotation        // rotated[g-1] is how generation g was rotated
	ended   innkeeper.Reason  // empty: the row lives
	leaks   []*thief
}

// handedOut is a token that somebody was given.
type handedOut struct {
	text    string
	hash    innkeeper.SecretHash
	expires time.Time
}

type rotation struct {
	key string // empty: none
	at  time.Time
}

// client is an honest client: a token store, keys by generation, and at most two
// tabs that refresh at the same time.
type client struct {
	ledger    *ledger
	delivery  innkeeper.Delivery
	keyed     bool
	labels    bool // it says which generation its keys are for
	tabs      int
	jar       int            // generation of the token in its store
	keys      map[int]string // of the last three generations
	flights   []*flight
	signedOut bool
	shaken    bool // its jar was rolled back once
}

// flight is one refresh, from its first request to its last answer.
type flight struct {
	client     *client
	generation int
	superseded int // 409s in a row with an unmoved jar
}

// request is one HTTP request.
type request struct {
	flight     *flight
	ledger     *ledger
	generation int // of the token
	key        string
	label      int
	delivery   innkeeper.Delivery
}

// answer is what the server said, on its way to the client.
type answer struct {
	flight *flight
	grant  *innkeeper.Grant
	err    error
}

// thief is somebody who has copied from a client, once.
type thief struct {
	from     *client
	loot     loot
	ledger   *ledger
	tokens   []int    // generations
	keys     []string // none, one of their own, and what they have copied
	used     bool     // they have been given tokens
	survived int      // honest answers since then
}

func newWorld(t *rapid.T) *world {
	leeway := rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "leeway")
	w := &world{leeway: leeway}
	w.inn = openInn(t, withoutLimits, withPolicy(innkeeper.Policy{
		AccessTTL: 5 * time.Minute, IdleTTL: time.Hour, SessionTTL: 150 * time.Minute, RefreshLeeway: leeway,
	}))
	for _, name := range []string{"ada", "bob"} {
		w.people = append(w.people, &person{user: w.addUser(name), password: rightPassword})
	}
	w.signIn(t)
	return w
}

// --- what the server must say ---------------------------------------------------------

// verdicts that a ledger can predict.
const (
	rotated    = "rotated"
	replayed   = "replayed"
	superseded = "superseded"
	reused     = "reused"
	expired    = "expired"
	mislabeled = "mislabeled"
)

func (l *ledger) current() int { return len(l.tokens) }

func (l *ledger) token(generation int) handedOut { return l.tokens[generation-1] }

// dead tells why the session is over; empty: it lives.
func (l *ledger) dead() innkeeper.Reason {
	switch {
	case l.ended != "":
		return l.ended
	case l.person.disabled:
		return innkeeper.ReasonUserDisabled
	case l.person.epoch != l.epoch:
		return l.person.reason
	}
	return ""
}

// predict is the decision table, of a token that comes the right way.
func (l *ledger) predict(r *request, now time.Time, leeway time.Duration) string {
	behind := l.current() - r.generation
	switch {
	case r.label != 0 && r.label != r.generation:
		return mislabeled
	case !now.Before(l.token(r.generation).expires):
		return expired
	case l.dead() != "":
		return string(l.dead())
	case behind == 0:
		return rotated
	}
	made := l.rotated[r.generation-1]
	proven := behind <= 8 && r.key != "" && r.key == made.key
	covered := behind == 1 && r.key == "" && made.key == "" && now.Sub(made.at).Abs() < leeway
	switch {
	case behind == 1 && (proven || covered) && !now.Before(l.token(l.current()).expires):
		return expired // the clock was set back at the rotation, and the successor has expired first
	case behind == 1 && (proven || covered):
		return replayed
	case proven:
		return superseded
	}
	return reused
}

// said puts an answer into the words of a prediction.
func said(grant *innkeeper.Grant, err error, before int) string {
	var ended *innkeeper.SessionEndedError
	var mismatch *innkeeper.GenerationMismatchError
	switch {
	case err == nil && int(grant.Session.Generation) == before+1:
		return rotated
	case err == nil:
		return replayed
	case errors.Is(err, innkeeper.ErrRefreshSuperseded):
		return superseded
	case errors.Is(err, innkeeper.ErrRefreshTokenReused):
		return reused
	case errors.Is(err, innkeeper.ErrRefreshTokenExpired):
		return expired
	case errors.As(err, &mismatch):
		return mislabeled
	case errors.As(err, &ended):
		return string(ended.Reason)
	}
	return err.Error()
}

// serve is one refresh at the server: presented, compared with the prediction, and
// entered into the ledger.
func (w *world) serve(t *rapid.T, r *request) (*innkeeper.Grant, error) {
	t.Helper()
	l := r.ledger
	before, alarms := l.current(), w.count(innkeeper.EventTokenReused)
	want := l.predict(r, w.clock.Now(), w.leeway)
	var key innkeeper.IdempotencyKey
	if r.key != "" {
		var err error
		if key, err = innkeeper.NewIdempotencyKey(r.key, uint32(r.label)); err != nil {
			t.Fatal(err)
		}
	}
	grant, err := w.Refresh(ctx, innkeeper.RefreshRequest{
		RefreshTokens: []string{l.token(r.generation).text}, Delivery: r.delivery, Key: key,
	})
	if got := said(grant, err, before); got != want {
		t.Fatalf("generation %d of %d, key %q: the server says %s (%v), the ledger %s", r.generation, before, r.key, got, err, want)
	}
	switch want {
	case rotated:
		l.rotated = append(l.rotated, rotation{r.key, w.clock.Now()})
		l.enter(t, grant)
	case replayed:
		if grant.RefreshToken.Reveal() != l.token(before).text {
			t.Fatalf("the replay of generation %d gave other bytes", r.generation)
		}
	case reused:
		l.ended = innkeeper.ReasonReuse
		alarms++
	}
	if err == nil {
		w.checkGrant(t, l, grant)
	}
	if got := w.count(innkeeper.EventTokenReused); got != alarms {
		t.Fatalf("there are %d alarms, want %d", got, alarms)
	}
	return grant, err
}

// enter notes a token of a new generation.
func (l *ledger) enter(t *rapid.T, grant *innkeeper.Grant) {
	t.Helper()
	text := grant.RefreshToken.Reveal()
	if slices.ContainsFunc(l.tokens, func(h handedOut) bool { return h.text == text }) {
		t.Fatal("a token was handed out for a second generation")
	}
	l.tokens = append(l.tokens, handedOut{text, secretHash(t, grant), grant.RefreshToken.ExpiresAt()})
}

// checkGrant looks at what was handed out besides the refresh token.
func (w *world) checkGrant(t *rapid.T, l *ledger, grant *innkeeper.Grant) {
	t.Helper()
	if caller, err := w.Authenticate(ctx, grant.AccessToken); err != nil || caller.Session.ID != l.session.ID {
		t.Fatalf("the access token is worth nothing: %v", err)
	}
	end := l.session.ExpiresAt
	if expiryOf(t, grant.AccessToken).After(end) || grant.RefreshToken.ExpiresAt().After(end) || !grant.Session.ExpiresAt.Equal(end) {
		t.Fatal("something outlives the session")
	}
}

// --- invariants ---------------------------------------------------------------------------

func (w *world) check(t *rapid.T) {
	fed := make(map[string]int)
	for _, entry := range w.feed() {
		fed[entry.ID]++
	}
	for _, l := range w.ledgers {
		row := w.row(l.session.ID)
		if row.Reason != l.ended || row.Ended() != (l.ended != "") {
			t.Fatalf("the row says %q, the ledger %q", row.Reason, l.ended)
		}
		if int(row.Generation) != l.current() {
			t.Fatalf("the row is at generation %d, the ledger at %d", row.Generation, l.current())
		}
		var current []int
		for i, token := range l.tokens {
			if token.hash == row.SecretHash {
				current = append(current, i+1)
			}
		}
		alive := []int{l.current()}
		if l.ended != "" {
			alive = nil
		}
		if !slices.Equal(current, alive) {
			t.Fatalf("the tokens of generations %v are current, want %v", current, alive)
		}
		if want := min(1, len(l.ended)); fed[l.session.ID.String()] != want {
			t.Fatalf("the end of a session was fed %d times, want %d", fed[l.session.ID.String()], want)
		}
	}
	for _, c := range w.clients {
		if reason := c.ledger.dead(); c.honest() && (reason == innkeeper.ReasonReuse || reason == innkeeper.ReasonRestored) {
			t.Fatalf("an honest client was ended: %s", reason)
		}
	}
	for _, p := range w.people {
		w.checkList(t, p)
	}
}

// honest tells of a client that sends keys, and from which nothing was stolen.
func (c *client) honest() bool { return c.keyed && len(c.ledger.leaks) == 0 }

// checkList compares what a person is shown of their sessions.
func (w *world) checkList(t *rapid.T, p *person) {
	t.Helper()
	listed := make(map[innkeeper.SessionID]bool)
	for _, session := range w.sessions(p.user.ID) {
		listed[session.ID] = true
	}
	for _, l := range w.ledgers {
		alive := l.dead() == "" && w.clock.Now().Before(l.token(l.current()).expires)
		if l.person == p && listed[l.session.ID] != alive {
			t.Fatalf("listed %t, alive %t", listed[l.session.ID], alive)
		}
	}
}

// --- honest clients ----------------------------------------------------------------------

// pick draws one of those that fit, and skips the action if none does.
func pick[T any](t *rapid.T, label string, all []T, fits func(T) bool) T {
	t.Helper()
	fitting := slices.DeleteFunc(slices.Clone(all), func(item T) bool { return !fits(item) })
	if len(fitting) == 0 {
		t.Skip("there is no ", label)
	}
	return fitting[rapid.IntRange(0, len(fitting)-1).Draw(t, label)]
}

func active(c *client) bool { return !c.signedOut }

// seldom is true once in ten times.
func seldom(t *rapid.T, label string) bool { return rapid.IntRange(0, 9).Draw(t, label) == 9 }

func (w *world) signIn(t *rapid.T) {
	if len(w.clients) >= 10 {
		t.Skip("the house is full")
	}
	p := pick(t, "person", w.people, func(p *person) bool { return !p.disabled })
	c := &client{
		delivery: rapid.SampledFrom([]innkeeper.Delivery{innkeeper.DeliverByBody, innkeeper.DeliverByCookie}).Draw(t, "delivery"),
		keyed:    rapid.IntRange(0, 3).Draw(t, "keyed") > 0,
		labels:   rapid.Bool().Draw(t, "labels"),
		tabs:     rapid.IntRange(1, 2).Draw(t, "tabs"),
	}
	req := innkeeper.LoginRequest{Username: p.user.Username, Password: p.password, Delivery: c.delivery}
	var replaced *ledger
	if len(w.clients) > 0 && rapid.IntRange(0, 3).Draw(t, "replaces") == 0 {
		old := pick(t, "browser", w.clients, func(c *client) bool { return active(c) && c.ledger.settled() })
		old.signedOut = true // the same browser: its jar is overwritten
		replaced = old.ledger
		req.Replaces = replaced.token(old.jar).text
	}
	grant, err := w.Login(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if replaced != nil {
		replaced.end(innkeeper.ReasonReplaced)
	}
	w.open(t, c, p, grant)
}

// open gives a client a new session.
func (w *world) open(t *rapid.T, c *client, p *person, grant *innkeeper.Grant) {
	t.Helper()
	l := &ledger{person: p, epoch: p.epoch, session: grant.Session}
	l.enter(t, grant)
	w.checkGrant(t, l, grant)
	w.ledgers = append(w.ledgers, l)
	c.ledger, c.jar, c.keys, c.flights = l, 1, make(map[int]string), nil
	w.clients = append(w.clients, c)
}

// key gets or makes the client's key for a generation, and forgets those that are
// older than three.
func (w *world) key(c *client, generation int) string {
	if !c.keyed {
		return ""
	}
	if _, ok := c.keys[generation]; !ok {
		c.keys[generation] = w.newKey()
	}
	for g := range c.keys {
		if g <= generation-3 {
			delete(c.keys, g)
		}
	}
	return c.keys[generation]
}

func (w *world) newKey() string {
	w.made++
	return fmt.Sprintf("an idempotency key, number %d", w.made)
}

func (w *world) beginRefresh(t *rapid.T) {
	c := pick(t, "client", w.clients, func(c *client) bool { return active(c) && len(c.flights) < c.tabs })
	f := &flight{client: c, generation: c.jar}
	c.flights = append(c.flights, f)
	w.send(f)
}

// send puts a request of a flight on its way.
func (w *world) send(f *flight) {
	c := f.client
	r := &request{flight: f, ledger: c.ledger, generation: f.generation, key: w.key(c, f.generation), delivery: c.delivery}
	if c.labels && r.key != "" {
		r.label = f.generation
	}
	w.requests = append(w.requests, r)
	w.past = append(w.past, r)
}

func (w *world) flights() []*flight {
	var all []*flight
	for _, c := range w.clients {
		if active(c) {
			all = append(all, c.flights...)
		}
	}
	return all
}

// sendAgain is a retry after silence: the same token with the same key.
func (w *world) sendAgain(t *rapid.T) {
	if len(w.requests) > 12 {
		t.Skip("the network is full")
	}
	w.send(pick(t, "flight", w.flights(), func(*flight) bool { return true }))
}

func take[T any](t *rapid.T, label string, from *[]T) T {
	t.Helper()
	if len(*from) == 0 {
		t.Skip("there is no ", label)
	}
	i := rapid.IntRange(0, len(*from)-1).Draw(t, label)
	item := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return item
}

func (w *world) loseRequest(t *rapid.T) { take(t, "request", &w.requests) }

// deliverRequest lets one of the requests arrive, whichever was sent first. Its
// answer arrives at once, later, or never; a copy of it may stay on the way.
func (w *world) deliverRequest(t *rapid.T) {
	r := take(t, "request", &w.requests)
	if rapid.IntRange(0, 4).Draw(t, "duplicated") == 0 {
		w.requests = append(w.requests, r)
	}
	if w.harmful(r) {
		return // it has been under way for too long: see the comment on top
	}
	grant, err := w.serve(t, r)
	a := &answer{r.flight, grant, err}
	switch rapid.SampledFrom([]string{"now", "now", "later", "never"}).Draw(t, "answer") {
	case "now":
		w.hear(t, a)
	case "later":
		w.answers = append(w.answers, a)
	}
}

// harmful tells of an honest request that is too old to be recognized.
func (w *world) harmful(r *request) bool {
	return r.key != "" && r.ledger.current()-r.generation > 8 && r.ledger.predict(r, w.clock.Now(), w.leeway) == reused
}

func (w *world) deliverAnswer(t *rapid.T) { w.hear(t, take(t, "answer", &w.answers)) }

// hear is what a client does with an answer.
func (w *world) hear(t *rapid.T, a *answer) {
	t.Helper()
	f, c := a.flight, a.flight.client
	if c.signedOut || !slices.Contains(c.flights, f) {
		return // nobody waits for it any more
	}
	w.countForThieves(c, a)
	moved := c.jar != f.generation
	switch {
	case a.err == nil:
		c.jar = max(c.jar, int(a.grant.Session.Generation))
		c.land(f)
	case moved:
		c.land(f) // another tab was faster: look again, and go on with what it got
	case errors.Is(a.err, innkeeper.ErrRefreshSuperseded):
		f.superseded++
		if f.superseded < 2 {
			w.send(f)
			return
		}
		if c.honest() {
			t.Fatal("an honest client was superseded twice, and nobody else has its token")
		}
		w.logOutClient(t, c)
	default:
		c.land(f)
		c.signedOut = true
		if c.honest() && !errors.Is(a.err, innkeeper.ErrRefreshTokenExpired) && c.ledger.dead() == "" {
			t.Fatalf("an honest client was signed out of a session that lives: %v", a.err)
		}
	}
}

func (c *client) land(f *flight) {
	c.flights = slices.DeleteFunc(c.flights, func(other *flight) bool { return other == f })
}

// quietTime is a number of refreshes of one client without any trouble.
func (w *world) quietTime(t *rapid.T) {
	c := pick(t, "client", w.clients, func(c *client) bool { return active(c) && len(c.flights) == 0 })
	for range rapid.IntRange(1, 10).Draw(t, "refreshes") {
		if !active(c) {
			return
		}
		f := &flight{client: c, generation: c.jar}
		c.flights = append(c.flights, f)
		w.send(f)
		for n := 0; slices.Contains(c.flights, f) && active(c) && n < 3; n++ {
			r := w.requests[len(w.requests)-1]
			w.requests = w.requests[:len(w.requests)-1]
			grant, err := w.serve(t, r)
			w.hear(t, &answer{f, grant, err})
		}
		w.clock.advance(time.Minute)
	}
}

// lateDuplicate delivers an honest request of long ago once more. Nobody waits for
// its answer.
func (w *world) lateDuplicate(t *rapid.T) {
	dead := seldom(t, "of a dead session")
	r := pick(t, "past request", w.past, func(r *request) bool { return !w.harmful(r) && (r.ledger.dead() != "") == dead })
	l := r.ledger
	late := r.key != "" && l.current() > r.generation && len(l.leaks) == 0
	before := w.row(l.session.ID)
	_, err := w.serve(t, r)
	if after := w.row(l.session.ID); late && !reflect.DeepEqual(before, after) {
		t.Fatalf("a late duplicate (%v) has changed\n%+v\nto\n%+v", err, *before, *after)
	}
}

// wrongLabel is a client that is wrong about what its jar holds. It learns the
// truth, and nothing is consumed.
func (w *world) wrongLabel(t *rapid.T) {
	c := pick(t, "client", w.clients, func(c *client) bool { return active(c) && c.keyed && c.ledger.dead() == "" })
	before := w.row(c.ledger.session.ID)
	_, err := w.serve(t, &request{
		ledger: c.ledger, generation: c.jar, key: w.newKey(), label: c.jar + rapid.SampledFrom([]int{1, 2, 7}).Draw(t, "off by"),
		delivery: c.delivery,
	})
	var mismatch *innkeeper.GenerationMismatchError
	if !errors.As(err, &mismatch) || int(mismatch.Generation) != c.jar {
		t.Fatalf("got %v, want to be told of generation %d", err, c.jar)
	}
	if after := w.row(c.ledger.session.ID); !reflect.DeepEqual(before, after) {
		t.Fatalf("a mislabeled request has changed\n%+v\nto\n%+v", *before, *after)
	}
}

// rollBack is a browser that was killed before it had written its cookies down.
func (w *world) rollBack(t *rapid.T) {
	c := pick(t, "client at rest", w.clients, func(c *client) bool {
		return active(c) && c.keyed && len(c.flights) == 0 && c.jar > 1 && c.jar == c.ledger.current() &&
			len(c.ledger.leaks) == 0
	})
	c.jar--
	c.shaken = true
}

// timePasses moves the clock, and sometimes sets it back.
func (w *world) timePasses(t *rapid.T) {
	w.clock.advance(rapid.SampledFrom([]time.Duration{
		time.Microsecond, time.Second, 9 * time.Second, 11 * time.Second, time.Minute, 10 * time.Minute, 40 * time.Minute,
		-time.Second, -5 * time.Second, -time.Minute,
	}).Draw(t, "time"))
}

// --- endings ---------------------------------------------------------------------------------

// settled tells of a session that is alive, or whose row says that it has ended.
// What becomes of one that only its epoch has ended, when it is ended once more, is
// a question for TestWhatTheEpochHasEndedIsNotEndedAgain.
func (l *ledger) settled() bool { return l.ended != "" || l.dead() == "" }

func (l *ledger) end(reason innkeeper.Reason) {
	if l.ended == "" {
		l.ended = reason
	}
}

// someEnding is one of the many ways in which sessions end. They come rarely, or
// there would be nobody left to refresh.
func (w *world) someEnding(t *rapid.T) {
	endings := map[string]func(*rapid.T){
		"a client logs out":      w.logOut,
		"of the others":          w.logOutOthers,
		"everywhere":             w.logOutEverywhere,
		"the password changes":   w.changePassword,
		"a user is disabled":     w.disable,
		"an administrator":       w.endSession,
		"a thief logs out":       w.thiefLogsOut,
		"no ending, another day": func(*rapid.T) {},
	}
	endings[rapid.SampledFrom(slices.Sorted(maps.Keys(endings))).Draw(t, "ending")](t)
}

func (w *world) logOut(t *rapid.T) {
	c := pick(t, "client", w.clients, func(c *client) bool { return active(c) && c.ledger.settled() })
	w.logOutClient(t, c)
}

// logOutClient is scope "this", with any token that the client ever had.
func (w *world) logOutClient(t *rapid.T, c *client) {
	t.Helper()
	c.signedOut = true
	if !c.ledger.settled() {
		return
	}
	w.logOutThis(t, c.ledger, rapid.IntRange(1, c.jar).Draw(t, "generation"))
}

func (w *world) logOutThis(t *rapid.T, l *ledger, generation int) {
	t.Helper()
	if err := w.logout(innkeeper.LogoutThis, l.token(generation).text); err != nil {
		t.Fatal(err)
	}
	l.end(innkeeper.ReasonLogout)
}

func (w *world) logOutOthers(t *rapid.T) {
	if l := w.wideLogout(t, innkeeper.LogoutOthers); l != nil {
		l.epoch = l.person.epoch // carried over
	}
}

func (w *world) logOutEverywhere(t *rapid.T) { w.wideLogout(t, innkeeper.LogoutEverywhere) }

// wideLogout returns the ledger of the session that asked for it, nil if it was
// refused.
func (w *world) wideLogout(t *rapid.T, scope innkeeper.LogoutScope) *ledger {
	t.Helper()
	c := pick(t, "client", w.clients, active)
	l := c.ledger
	err := w.logout(scope, l.token(c.jar).text)
	var ended *innkeeper.SessionEndedError
	switch {
	case !w.clock.Now().Before(l.token(c.jar).expires):
		w.wantError(t, err, innkeeper.ErrRefreshTokenExpired)
	case l.dead() != "":
		if !errors.As(err, &ended) || ended.Reason != l.dead() {
			t.Fatalf("got %v, want: ended (%s)", err, l.dead())
		}
	case c.jar != l.current():
		w.wantError(t, err, innkeeper.ErrRefreshSuperseded)
	default:
		w.wantError(t, err, nil)
		l.person.move(innkeeper.ReasonLogoutEverywhere)
		return l
	}
	return nil
}

func (w *world) wantError(t *rapid.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// move gives a person another epoch.
func (p *person) move(reason innkeeper.Reason) {
	p.epoch++
	p.reason = reason
}

func (w *world) changePassword(t *rapid.T) {
	c := pick(t, "client", w.clients, func(c *client) bool { return active(c) && c.ledger.dead() == "" })
	p := c.ledger.person
	session, subject, err := w.store.Session(ctx, c.ledger.session.ID)
	w.wantError(t, err, nil)
	next := rightPassword
	if p.password == rightPassword {
		next = otherPassword
	}
	grant, err := w.ChangePassword(ctx, &innkeeper.Caller{Subject: *subject, Session: session},
		innkeeper.PasswordChange{Current: p.password, New: next})
	w.wantError(t, err, nil)
	p.password = next
	p.move(innkeeper.ReasonPasswordChanged)
	c.signedOut = true
	w.open(t, &client{delivery: c.delivery, keyed: c.keyed, labels: c.labels, tabs: c.tabs}, p, grant)
}

// disable locks a user up, and mostly lets them out again.
func (w *world) disable(t *rapid.T) {
	p := pick(t, "person", w.people, func(*person) bool { return true })
	if !p.disabled {
		w.wantError(t, w.inn.disable(p.user.ID), nil)
		p.disabled = true
		p.move(innkeeper.ReasonUserDisabled)
	}
	if rapid.IntRange(0, 3).Draw(t, "enable") > 0 {
		w.wantError(t, w.enable(p.user.ID), nil)
		p.disabled = false
	}
}

func (w *world) endSession(t *rapid.T) {
	l := pick(t, "session", w.ledgers, (*ledger).settled)
	if rapid.Bool().Draw(t, "all of the person") {
		w.wantError(t, w.EndUserSessions(ctx, l.person.user.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator), nil)
		l.person.move(innkeeper.ReasonAdmin)
		return
	}
	w.wantError(t, w.EndSession(ctx, l.session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator), nil)
	l.end(innkeeper.ReasonAdmin)
}

// --- thieves -----------------------------------------------------------------------------------

func (w *world) steal(t *rapid.T) {
	w.stealFrom(t, pick(t, "victim", w.clients, func(c *client) bool { return active(c) && len(c.ledger.leaks) == 0 }))
}

func (w *world) stealFrom(t *rapid.T, c *client) *thief {
	_, keyMade := c.keys[c.jar]
	offers := []loot{lootToken, lootStorage}
	switch {
	case !c.keyed:
		offers = []loot{lootToken}
	case keyMade:
		offers = []loot{lootKey, lootToken}
	}
	th := &thief{
		from: c, loot: rapid.SampledFrom(offers).Draw(t, "loot"), ledger: c.ledger,
		tokens: []int{c.jar}, keys: []string{"", w.newKey()},
	}
	if th.loot != lootToken {
		for _, generation := range slices.Sorted(maps.Keys(c.keys)) {
			th.keys = append(th.keys, c.keys[generation])
		}
	}
	c.ledger.leaks = append(c.ledger.leaks, th)
	w.thieves = append(w.thieves, th)
	return th
}

// stealAndUse is a thief who is quick: they copy in the middle of a refresh, and
// come to the server before the owner's own request does.
func (w *world) stealAndUse(t *rapid.T) {
	c := pick(t, "victim", w.clients, func(c *client) bool {
		return active(c) && len(c.ledger.leaks) == 0 && c.ledger.dead() == "" && len(c.flights) < c.tabs
	})
	f := &flight{client: c, generation: c.jar}
	c.flights = append(c.flights, f)
	w.send(f)
	th := w.stealFrom(t, c)
	for range rapid.IntRange(1, 3).Draw(t, "uses") {
		w.use(t, th)
	}
}

func (w *world) thiefRefreshes(t *rapid.T) {
	dead := seldom(t, "of a dead session")
	w.use(t, pick(t, "thief", w.thieves, func(th *thief) bool { return (th.ledger.dead() != "") == dead }))
}

// use presents any token that the thief has, with any key; mostly the newest, or
// it would all be over soon.
func (w *world) use(t *rapid.T, th *thief) {
	l := th.ledger
	r := &request{
		ledger: l, delivery: th.from.delivery,
		generation: th.tokens[len(th.tokens)-1],
		key:        rapid.SampledFrom(th.keys).Draw(t, "key"),
	}
	if rapid.IntRange(0, 3).Draw(t, "any token") == 3 {
		r.generation = rapid.SampledFrom(th.tokens).Draw(t, "token")
	}
	alive := l.dead() == "" && w.clock.Now().Before(l.token(r.generation).expires)
	unproven := r.generation < l.current() && (r.key == "" || r.key != l.rotated[r.generation-1].key)
	grant, err := w.serve(t, r)
	if err == nil {
		th.gain(t, int(grant.Session.Generation), w.leeway)
		return
	}
	if alive && unproven && w.row(l.session.ID).Reason != innkeeper.ReasonReuse {
		t.Fatalf("a dead token was used without its key, and the session lives on: %v", err)
	}
}

// gain notes that the thief was given tokens, and holds it to the bound.
func (th *thief) gain(t *rapid.T, generation int, leeway time.Duration) {
	t.Helper()
	th.used = true
	if !slices.Contains(th.tokens, generation) {
		th.tokens = append(th.tokens, generation)
	}
	bound := 0
	switch {
	case !th.from.keyed && leeway > 0, th.from.tabs > 1, th.from.shaken:
		return // the bound is for clients that send keys, one refresh at a time
	case th.loot == lootKey:
		bound = 2
	}
	if th.survived > bound {
		t.Fatalf("a theft of %s has survived %d honest refreshes, %d are allowed", th.loot, th.survived, bound)
	}
}

// countForThieves notes that an honest refresh has been answered. An owner who has
// come back too late does not count: row 2 does not look at the session. See
// TestThiefOutlivesAnOwnerWhoComesBackTooLate.
func (w *world) countForThieves(c *client, a *answer) {
	if errors.Is(a.err, innkeeper.ErrRefreshTokenExpired) {
		return
	}
	for _, th := range c.ledger.leaks {
		if th.used {
			th.survived++
		}
	}
}

func (w *world) thiefLogsOut(t *rapid.T) {
	th := pick(t, "thief", w.thieves, func(th *thief) bool { return th.ledger.settled() })
	w.logOutThis(t, th.ledger, rapid.SampledFrom(th.tokens).Draw(t, "token"))
}
