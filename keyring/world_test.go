package keyring_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	memorystore "github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestKeysAgainstVerifiers lets several servers with clocks of their own share keys,
// be restarted and lose their store, while people rotate, retire and revoke, and
// asks verifiers with the caches of real libraries about tokens. Time is simulated.
//
// What it claims: nobody who has a living token is refused because of keys that
// move; what the rules have removed is in no key set, and no living token needs it;
// what was revoked is used by no server that knows.
func TestKeysAgainstVerifiers(t *testing.T) {
	t.Run("by itself", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { newWorld(t).live(t, nil) })
	})
	t.Run("by hand", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { newWorld(t).live(t, []string{"rotate", "retire"}) })
	})
	t.Run("in emergencies", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { newWorld(t).live(t, []string{"rotate", "retire", "revoke", "revoke all", "learn"}) })
	})
}

// period is how long a key signs in the world: short, so that much happens.
const period = 3 * time.Hour

// world is an installation, those who rely on it, and the true time.
type world struct {
	t         *rapid.T
	now       time.Time
	roots     rootkey.Ring
	store     *shaky
	nodes     []*node
	verifiers []*verifier
	issued    []issued
	first     string // the first key, which verifiers know from the beginning

	known   map[string]keyring.Record // as of the latest look
	since   map[string]time.Time      // when each was published, in true time
	active  map[string]time.Time      // when each was first seen to sign, in true time
	removed map[string]time.Time      // in true time
	revoked map[string]bool
}

// node is a server.
type node struct {
	offset  time.Duration // of its clock
	alg     accesstoken.Algorithm
	ring    *keyring.Ring
	learned map[string]bool // what it knows to be revoked
}

// issued is a token that somebody honest holds.
type issued struct {
	text, keyID string
	expires     time.Time // as it says
}

// shaky is a store that fails when told to.
type shaky struct {
	keyring.Store
	reads, writes failure
}

type failure string

const (
	none   failure = ""
	before failure = "before it is done"
	after  failure = "after it was done" // and nobody knows
)

var errShaky = errors.New("connection reset")

func (s *shaky) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	if s.reads != none {
		return nil, errShaky
	}
	return s.Store.SigningKeys(ctx)
}

func (s *shaky) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	if s.writes == before {
		return errShaky
	}
	err := s.Store.MoveSigningKeys(ctx, moves)
	if s.writes == after {
		return errShaky
	}
	return err
}

func newWorld(t *rapid.T) *world {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, now: start(), roots: roots, store: &shaky{Store: memorystore.New()},
		known: make(map[string]keyring.Record), since: make(map[string]time.Time), active: make(map[string]time.Time),
		removed: make(map[string]time.Time), revoked: make(map[string]bool),
	}
	for range 3 {
		n := &node{
			// Any two are no further apart than keyring.ClockDifference.
			offset: w.duration("offset", -keyring.ClockDifference/2, keyring.ClockDifference/2),
			alg:    rapid.SampledFrom([]accesstoken.Algorithm{accesstoken.ES256, accesstoken.EdDSA}).Draw(t, "alg"),
		}
		w.nodes = append(w.nodes, n)
		w.open(n)
	}
	for _, kind := range kinds {
		v := &verifier{kind: kind, offset: w.duration("offset", -keyring.ClockDifference/2, keyring.ClockDifference/2)}
		w.verifiers = append(w.verifiers, v)
	}
	w.look()
	for id, rec := range w.known {
		if rec.State == keyring.Active {
			w.first = id
		}
	}
	return w
}

func (w *world) duration(name string, from, to time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(int64(from/time.Second), int64(to/time.Second)).Draw(w.t, name)) * time.Second
}

// open starts a server; if the store fails, the one that was there goes on.
func (w *world) open(n *node) {
	ring, err := keyring.Open(w.t.Context(), keyring.Config{
		Store: w.store, RootKeys: w.roots, Algorithm: n.alg, RotationPeriod: period,
	}, w.clock(n))
	if err != nil {
		if !errors.Is(err, errShaky) {
			w.t.Fatalf("start: %v", err)
		}
		return
	}
	n.ring, n.learned = ring, make(map[string]bool)
}

func (w *world) clock(n *node) time.Time { return w.now.Add(n.offset) }

func (w *world) node() *node { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(w.t, "node")] }

// live lets things happen. Deeds are what people do.
func (w *world) live(t *rapid.T, deeds []string) {
	do := map[string]func(*rapid.T){
		"pass": func(*rapid.T) {
			w.now = w.now.Add(rapid.SampledFrom([]time.Duration{
				time.Second, 25 * time.Second, time.Minute, 5 * time.Minute, 14 * time.Minute, time.Hour, 3 * time.Hour, 26 * time.Hour,
			}).Draw(t, "for"))
		},
		"work":    func(*rapid.T) { w.work(25) },
		"restart": func(*rapid.T) { w.open(w.node()) },
		"fail": func(*rapid.T) {
			w.store.reads = rapid.SampledFrom([]failure{none, before}).Draw(t, "reads fail")
			w.store.writes = rapid.SampledFrom([]failure{none, before, after}).Draw(t, "writes fail")
			w.work(5)
			w.store.reads, w.store.writes = none, none
		},
		"": func(*rapid.T) { w.look() },
	}
	all := map[string]func(*rapid.T){
		"rotate": func(*rapid.T) {
			n := w.node()
			_, err := n.ring.Rotate(w.t.Context(), w.clock(n))
			w.allow(err)
		},
		"retire": func(*rapid.T) {
			n := w.node()
			_, err := n.ring.Retire(w.t.Context(), w.key(), w.clock(n))
			w.allow(err)
		},
		"revoke":     func(*rapid.T) { w.revoke(w.key()) },
		"revoke all": func(*rapid.T) { w.revoke(w.living()...) },
		"learn":      func(*rapid.T) { w.learn(w.node()) },
	}
	for _, deed := range deeds {
		do[deed] = all[deed]
	}
	t.Repeat(do)
	if testing.Verbose() {
		t.Logf("%d keys, %d tokens, %s", len(w.known), len(w.issued), w.now.Sub(start()))
	}
}

// allow accepts refusals.
func (w *world) allow(err error) {
	w.t.Helper()
	var early *keyring.TooEarlyError
	if err != nil && !errors.As(err, &early) && !errors.Is(err, errShaky) {
		w.t.Fatal(err)
	}
}

// key is any key that there ever was.
func (w *world) key() string {
	records := w.keys()
	return records[rapid.IntRange(0, len(records)-1).Draw(w.t, "key")].KeyID
}

// living are the keys that are not gone.
func (w *world) living() []string {
	var living []string
	for _, rec := range w.keys() {
		if rec.State != keyring.Removed {
			living = append(living, rec.KeyID)
		}
	}
	return living
}

func (w *world) keys() []keyring.Record {
	records, err := w.store.Store.SigningKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(records, func(a, b keyring.Record) int { return a.PublishedAt.Compare(b.PublishedAt) })
	return records
}

// work is a while of ordinary life, of so many events.
func (w *world) work(events int) {
	for range events {
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{
			0, time.Second, 4 * time.Second, 11 * time.Second, 40 * time.Second, 3 * time.Minute,
		}).Draw(w.t, "later"))
		switch rapid.IntRange(0, 3).Draw(w.t, "event") {
		case 0:
			n := w.node()
			_, err := n.ring.Upkeep(w.t.Context(), w.clock(n))
			w.allow(err)
			w.look()
		case 1:
			w.sign(w.node())
		default:
			w.verify(w.verifiers[rapid.IntRange(0, len(w.verifiers)-1).Draw(w.t, "verifier")])
		}
	}
}

// sign issues a token, if the server may.
func (w *world) sign(n *node) {
	now := w.clock(n)
	c := claims()
	c.IssuedAt, c.ExpiresAt = now, now.Add(w.duration("life", 5*time.Second, time.Hour))
	text, err := n.ring.Sign(w.t.Context(), c, now)
	w.look() // a server that reads the store may finish an emergency
	if err != nil {
		if w.store.reads == none && w.store.writes == none {
			w.t.Fatalf("a server does not sign: %v", err)
		}
		return
	}
	token := issued{text: text, keyID: keyOf(w.t, text), expires: c.ExpiresAt.Truncate(time.Second)}
	if n.learned[token.keyID] {
		w.t.Fatalf("a server signs with the key %s, which it knows to be revoked", token.keyID)
	}
	w.issued = append(w.issued, token)
}

// verify asks a verifier about a token.
func (w *world) verify(v *verifier) {
	if len(w.issued) == 0 {
		return
	}
	// The latest are the most interesting.
	recent := w.issued[max(0, len(w.issued)-8):]
	token := recent[rapid.IntRange(0, len(recent)-1).Draw(w.t, "token")]
	now := w.now.Add(v.offset)
	accepted := v.accepts(w, token, now)
	alive := now.Before(token.expires.Add(v.kind.skew))
	switch {
	case accepted && v.kind.follows && w.revoked[token.keyID]:
		w.t.Fatalf("%s follows the feed, and accepts a token of the revoked key %s", v.kind.name, token.keyID)
	case accepted || !alive || w.revoked[token.keyID] || v.document == nil:
	case w.excused(v, token.keyID):
	default:
		w.t.Fatalf("%s refuses a living token of the key %s, which was published at %s and signed from %s on; now is %s, it fetched at %s",
			v.kind.name, token.keyID, w.since[token.keyID], w.active[token.keyID], w.now, v.fetched)
	}
}

// excused are verifiers that are known to suffer: those that could not fetch what is
// true; for a while after an emergency, those that could not know the next key
// before; and those that fetch once an hour, whatever is said, after somebody has
// rotated in haste.
func (w *world) excused(v *verifier, keyID string) bool {
	switch {
	case v.failed:
		return true
	case keyID == w.first:
		return false
	}
	young := w.active[keyID].Sub(w.since[keyID])
	switch {
	case v.kind.cooldown == never && v.kind.maxAge > keyring.JWKSMaxAge:
		return young < keyring.AutoPublished-keyring.ClockDifference
	case young < keyring.MinPublished-keyring.ClockDifference:
		return v.kind.cooldown == never || w.now.Sub(v.tried) < v.kind.cooldown
	}
	return false
}

// revoke is an emergency: the feed first, then the keys.
func (w *world) revoke(keyIDs ...string) {
	n := w.node()
	for _, keyID := range keyIDs {
		w.revoked[keyID], n.learned[keyID] = true, true
	}
	w.store.writes = rapid.SampledFrom([]failure{none, none, before, after}).Draw(w.t, "writes fail")
	_, err := n.ring.RevokeAll(w.t.Context(), keyIDs, w.clock(n))
	w.store.writes = none
	w.allow(err)
	w.checkLearned(n)
	w.look()
	for _, keyID := range keyIDs {
		if err == nil && w.known[keyID].State != keyring.Removed {
			w.t.Fatalf("the key %s was revoked, and is %s", keyID, w.known[keyID].State)
		}
	}
}

// learn lets a server read the feed.
func (w *world) learn(n *node) {
	unfinished := false
	for keyID := range w.revoked {
		n.learned[keyID] = true
		unfinished = n.ring.Distrust(keyID) || unfinished
	}
	if unfinished {
		_, err := n.ring.Upkeep(w.t.Context(), w.clock(n))
		w.allow(err)
	}
	w.checkLearned(n)
	w.look()
	for keyID := range w.revoked { // and it has finished what was left undone
		if w.known[keyID].State != keyring.Removed {
			w.t.Fatalf("the revoked key %s is %s", keyID, w.known[keyID].State)
		}
	}
}

// checkLearned checks that a server does not use a key that it knows to be revoked.
func (w *world) checkLearned(n *node) {
	document := keysOf(w.t, n.ring.JWKS())
	for keyID := range n.learned {
		if _, ok := n.ring.PublicKey(keyID); ok {
			w.t.Fatalf("a server accepts tokens of the key %s, which it knows to be revoked", keyID)
		}
		if _, ok := document[keyID]; ok {
			w.t.Fatalf("a server publishes the key %s, which it knows to be revoked", keyID)
		}
	}
}

// look compares the store with what it was, and with the rules.
func (w *world) look() {
	records, err := w.store.Store.SigningKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	count := make(map[keyring.State]int)
	for _, rec := range records {
		count[rec.State]++
		was, ok := w.known[rec.KeyID]
		if !ok {
			w.since[rec.KeyID] = w.now
		}
		w.known[rec.KeyID] = rec
		if rank[rec.State] < rank[was.State] {
			w.t.Fatalf("the key %s was %s and is %s", rec.KeyID, was.State, rec.State)
		}
		if rec.State == was.State {
			continue
		}
		switch rec.State {
		case keyring.Active:
			w.active[rec.KeyID] = w.now
			w.checkActivated(rec)
		case keyring.Removed:
			w.removed[rec.KeyID] = w.now
			w.checkRemoved(rec)
		}
	}
	if count[keyring.Active] != 1 || count[keyring.Published] > 1 {
		w.t.Fatalf("the keys are %v", count)
	}
}

var rank = map[keyring.State]int{"": 0, keyring.Published: 1, keyring.Active: 2, keyring.Retiring: 3, keyring.Removed: 4}

// checkActivated: nobody signs with a key that is young, but the first server, and
// in emergencies.
func (w *world) checkActivated(rec keyring.Record) {
	young := w.now.Sub(w.since[rec.KeyID]) < keyring.MinPublished-keyring.ClockDifference
	if young && len(w.known) > 2 && len(w.revoked) == 0 {
		w.t.Fatalf("the key %s signs after %s", rec.KeyID, w.now.Sub(w.since[rec.KeyID]))
	}
}

// checkRemoved: no living token needs a key that is gone, and nobody has its
// private half.
func (w *world) checkRemoved(rec keyring.Record) {
	if len(rec.Wrapped) > 0 {
		w.t.Fatalf("the private half of the removed key %s is still there", rec.KeyID)
	}
	if w.revoked[rec.KeyID] {
		return
	}
	for _, token := range w.issued {
		for _, v := range w.verifiers {
			if token.keyID == rec.KeyID && w.now.Add(v.offset).Before(token.expires.Add(v.kind.skew)) {
				w.t.Fatalf("the key %s was removed at %s, while %s accepts a token of it until %s",
					rec.KeyID, w.now, v.kind.name, token.expires.Add(v.kind.skew))
			}
		}
	}
}

// kind is how a library caches the JWKS.
type kind struct {
	name     string
	maxAge   time.Duration // fetches when what it has is older
	cooldown time.Duration // fetches for an unknown key, if the latest try was so long ago
	skew     time.Duration // allows for
	follows  bool          // the revocation feed
}

const never = 1<<63 - 1

// kinds are as measured against real libraries, at their defaults.
var kinds = []kind{
	{name: "jose", maxAge: 10 * time.Minute, cooldown: 30 * time.Second},
	{name: "oauth4webapi", maxAge: 5 * time.Minute, cooldown: time.Minute, skew: 30 * time.Second},
	{name: "keyfunc", maxAge: time.Hour, cooldown: time.Minute},
	{name: "keyfunc, refreshing by time only", maxAge: time.Hour, cooldown: never, skew: 5 * time.Minute},
	{name: "a cache that keeps to max-age", maxAge: keyring.JWKSMaxAge, cooldown: never},
	{name: "package verify", maxAge: keyring.JWKSMaxAge, cooldown: 30 * time.Second, skew: 30 * time.Second, follows: true},
}

// verifier is an API.
type verifier struct {
	kind     kind
	offset   time.Duration                    // of its clock
	document map[string]accesstoken.PublicKey // nil: none was fetched yet
	fetched  time.Time                        // in true time
	tried    time.Time
	failed   bool // the latest try
}

func (v *verifier) accepts(w *world, token issued, now time.Time) bool {
	if v.document == nil || w.now.Sub(v.fetched) >= v.kind.maxAge {
		v.fetch(w)
	}
	if _, ok := v.document[token.keyID]; !ok && w.now.Sub(v.tried) >= v.kind.cooldown {
		v.fetch(w)
	}
	if v.kind.follows && w.revoked[token.keyID] {
		return false
	}
	_, err := accesstoken.Verify(token.text, func(id string) (accesstoken.PublicKey, bool) {
		key, ok := v.document[id]
		return key, ok
	}, accesstoken.Expectation{Issuer: claims().Issuer, Audience: claims().Audience[0], Now: now, Skew: v.kind.skew})
	return err == nil
}

// fetch asks any server for the JWKS. One that does not know whether it is up to date
// says that nobody may keep its answer.
func (v *verifier) fetch(w *world) {
	n := w.node()
	v.tried = w.now
	if err := n.ring.Fresh(w.t.Context(), w.clock(n)); err != nil {
		if w.store.reads == none && w.store.writes == none {
			w.t.Fatalf("a server does not know its keys: %v", err)
		}
		v.document, v.failed = keysOf(w.t, n.ring.JWKS()), true
		return
	}
	document := keysOf(w.t, n.ring.JWKS())
	for keyID := range document {
		at, gone := w.removed[keyID]
		if gone && w.now.Sub(at) > keyring.SnapshotAge {
			w.t.Fatalf("the key %s was removed %s ago, and is published", keyID, w.now.Sub(at))
		}
	}
	v.document, v.fetched, v.failed = document, w.now, false
	w.look()
}

// keysOf reads a JWKS.
func keysOf(t rapid.TB, jwks []byte) map[string]accesstoken.PublicKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]accesstoken.PublicKey)
	for _, text := range set.Keys {
		key, err := accesstoken.ParseJWK(text)
		if err != nil {
			t.Fatal(err)
		}
		keys[key.KeyID()] = key
	}
	return keys
}

// keyOf reads the kid of a token.
func keyOf(t rapid.TB, token string) string {
	segment, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}
