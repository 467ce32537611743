package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	memorystore "github.com/innkeeper-auth/innkeeper/store/memory"
)

// memory is the memory store, with a hand in it: a test can reach in and do what an
// operator or an intruder does to a table.
type memory struct {
	mu      sync.Mutex
	records []keyring.Record
	err     error // what every call returns, if not nil
}

// with calls the store of package memory on what is there.
func (m *memory) with(ctx context.Context, call func(keyring.Store) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.err); err != nil {
		return err
	}
	store := memorystore.New()
	if len(m.records) > 0 {
		if err := store.InitSigningKeys(ctx, m.records); err != nil {
			return err
		}
	}
	if err := call(store); err != nil {
		return err
	}
	var err error
	m.records, err = store.SigningKeys(ctx)
	return err
}

func (m *memory) SigningKeys(ctx context.Context) (found []keyring.Record, err error) {
	err = m.with(ctx, func(s keyring.Store) (err error) { found, err = s.SigningKeys(ctx); return err })
	return found, err
}

func (m *memory) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	return m.with(ctx, func(s keyring.Store) error { return s.InitSigningKeys(ctx, records) })
}

func (m *memory) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	return m.with(ctx, func(s keyring.Store) error { return s.MoveSigningKeys(ctx, moves) })
}

func (m *memory) RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error {
	return m.with(ctx, func(s keyring.Store) error { return s.RewrapSigningKey(ctx, keyID, old, wrapped) })
}

// change edits the records in place.
func (m *memory) change(edit func([]keyring.Record) []keyring.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = edit(m.records)
}

// in returns the only record in the given state.
func (m *memory) in(t *testing.T, state keyring.State) *keyring.Record {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *keyring.Record
	for i := range m.records {
		if m.records[i].State != state {
			continue
		}
		if found != nil {
			t.Fatalf("several keys are %s", state)
		}
		found = &m.records[i]
	}
	if found == nil {
		t.Fatalf("no key is %s", state)
	}
	return found
}

func start() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func newRoots(t testing.TB) rootkey.Ring {
	t.Helper()
	return rootsOf(t, rootkey.Generate())
}

func rootsOf(t testing.TB, keys ...*rootkey.Key) rootkey.Ring {
	t.Helper()
	roots, err := rootkey.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// generateBeside makes a root key with another ID than those given. IDs have 16 bits, so
// that two random keys share one now and then.
func generateBeside(keys ...*rootkey.Key) *rootkey.Key {
	for {
		key := rootkey.Generate()
		if !slices.ContainsFunc(keys, func(other *rootkey.Key) bool { return other.ID() == key.ID() }) {
			return key
		}
	}
}

func open(t testing.TB, store keyring.Store, roots rootkey.Ring) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: store, RootKeys: roots}, start())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func claims() accesstoken.Claims {
	return accesstoken.Claims{
		Issuer: "https://auth.example.com", Audience: []string{"https://api.example.com"}, Subject: "ada",
		ID: "1", ClientID: "web", IssuedAt: start(), ExpiresAt: start().Add(15 * time.Minute),
	}
}

// accepts reports whether the ring's own keys verify the token.
func accepts(ring *keyring.Ring, token string) error {
	_, err := accesstoken.Verify(token, ring.PublicKey, accesstoken.Expectation{
		Issuer: "https://auth.example.com", Audience: "https://api.example.com", Now: start(),
	})
	return err
}

func sign(t testing.TB, ring *keyring.Ring) string {
	t.Helper()
	token, err := ring.Sign(context.Background(), claims(), start())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// published returns the key IDs of the JWKS in order, and checks each key (D4).
func published(t testing.TB, ring *keyring.Ring) []string {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(ring.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, text := range set.Keys {
		var members map[string]string
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, ok := members[secret]; ok {
				t.Errorf("the JWKS shows the private member %s", secret)
			}
		}
		key, err := accesstoken.ParseJWK(text) // which refuses private members too
		if err != nil {
			t.Fatal(err)
		}
		if members["kid"] != key.KeyID() || members["use"] != "sig" || members["alg"] != string(key.Algorithm()) {
			t.Errorf("JWK lacks kid, use or alg: %s", text)
		}
		ids = append(ids, key.KeyID())
	}
	return ids
}

func TestFirstStart(t *testing.T) {
	for _, alg := range []accesstoken.Algorithm{"", accesstoken.ES256, accesstoken.RS256, accesstoken.EdDSA} {
		store := &memory{}
		ring, err := keyring.Open(t.Context(), keyring.Config{Store: store, RootKeys: newRoots(t), Algorithm: alg}, start())
		if err != nil {
			t.Fatal(err)
		}
		want := alg
		if alg == "" {
			want = accesstoken.ES256
		}
		if ring.Algorithm() != want {
			t.Errorf("algorithm = %s, want %s", ring.Algorithm(), want)
		}
		active, reserve := store.in(t, keyring.Active), store.in(t, keyring.Published)
		if len(store.records) != 2 {
			t.Errorf("%d keys, want 2", len(store.records))
		}
		if !active.PublishedAt.Equal(start()) || !active.ActivatedAt.Equal(start()) || !active.RetiredAt.IsZero() {
			t.Errorf("times of the active key: %+v", active)
		}
		if !reserve.PublishedAt.Equal(start()) || !reserve.ActivatedAt.IsZero() || !reserve.RetiredAt.IsZero() {
			t.Errorf("times of the reserve: %+v", reserve)
		}
		for _, rec := range []*keyring.Record{active, reserve} {
			if rec.Algorithm != want {
				t.Errorf("%s key has algorithm %s, want %s", rec.State, rec.Algorithm, want)
			}
			if key, err := accesstoken.ParseJWK(rec.PublicJWK); err != nil || key.KeyID() != rec.KeyID {
				t.Errorf("public half of the %s key: %s, %v", rec.State, rec.PublicJWK, err)
			}
			if _, err := accesstoken.ParsePKCS8(rec.Wrapped); err == nil {
				t.Errorf("the %s key is stored in the clear", rec.State)
			}
		}
		if got, want := published(t, ring), []string{active.KeyID, reserve.KeyID}; !slices.Equal(got, want) {
			t.Errorf("JWKS has %v, want %v", got, want)
		}
		if err := accepts(ring, sign(t, ring)); err != nil {
			t.Error(err)
		}
	}
}

func TestLaterStartsUseTheSameKeys(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	first := open(t, store, roots)
	token := sign(t, first)

	// The algorithm is that of new keys only.
	second, err := keyring.Open(t.Context(), keyring.Config{Store: store, RootKeys: roots, Algorithm: accesstoken.RS256},
		start().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := accepts(second, token); err != nil {
		t.Error(err)
	}
	if err := accepts(first, sign(t, second)); err != nil {
		t.Error(err)
	}
	if second.Algorithm() != accesstoken.ES256 || len(store.records) != 2 {
		t.Errorf("%s, %d keys", second.Algorithm(), len(store.records))
	}
	if string(first.JWKS()) != string(second.JWKS()) {
		t.Error("two servers publish different documents")
	}
}

// Servers that start together on an empty store end up with the same keys.
func TestConcurrentFirstStart(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	rings := make([]*keyring.Ring, 16)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			ring, err := keyring.Open(t.Context(), keyring.Config{Store: store, RootKeys: roots}, start())
			if err != nil {
				t.Error(err)
			}
			rings[i] = ring
		})
	}
	wg.Wait()
	if len(store.records) != 2 {
		t.Fatalf("%d keys, want 2", len(store.records))
	}
	token := sign(t, rings[0])
	for i, ring := range rings {
		if err := accepts(ring, token); err != nil {
			t.Errorf("server %d: %v", i, err)
		}
	}
}

func TestReloadFollowsTheStore(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	ring := open(t, store, roots)
	before := sign(t, ring)
	old, reserve := store.in(t, keyring.Active).KeyID, store.in(t, keyring.Published).KeyID

	// Another server rotates: the reserve signs, and a new reserve is published.
	other := &memory{}
	open(t, other, roots)
	fresh := *other.in(t, keyring.Published)
	fresh.PublishedAt = start().Add(time.Hour)
	store.change(func(records []keyring.Record) []keyring.Record {
		for i := range records {
			switch records[i].KeyID {
			case old:
				records[i].State, records[i].RetiredAt = keyring.Retiring, start().Add(time.Hour)
			case reserve:
				records[i].State, records[i].ActivatedAt = keyring.Active, start().Add(time.Hour)
			}
		}
		return append(records, fresh)
	})

	if got := published(t, ring); !slices.Equal(got, []string{old, reserve}) {
		t.Errorf("JWKS changed without a reload: %v", got)
	}
	if err := ring.Reload(t.Context(), start()); err != nil {
		t.Fatal(err)
	}
	if got, want := published(t, ring), []string{reserve, fresh.KeyID, old}; !slices.Equal(got, want) {
		t.Errorf("JWKS has %v, want %v", got, want)
	}
	if err := accepts(ring, before); err != nil {
		t.Errorf("token of the retiring key: %v", err)
	}
	after := sign(t, ring)
	if err := accepts(ring, after); err != nil {
		t.Error(err)
	}

	// Once the old key is removed, so are its tokens.
	store.in(t, keyring.Retiring).State = keyring.Removed
	if err := ring.Reload(t.Context(), start()); err != nil {
		t.Fatal(err)
	}
	if err := accepts(ring, before); !errors.Is(err, accesstoken.ErrUnknownKey) {
		t.Errorf("token of a removed key: %v, want ErrUnknownKey", err)
	}
	if err := accepts(ring, after); err != nil {
		t.Error(err)
	}
	if got := published(t, ring); slices.Contains(got, old) {
		t.Errorf("JWKS has the removed key: %v", got)
	}
}

// A server that does not know yet of an activation accepts what its neighbor signs.
func TestPublishedKeyVerifies(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	behind := open(t, store, roots)
	reserve := store.in(t, keyring.Published)
	store.in(t, keyring.Active).State = keyring.Retiring
	reserve.State = keyring.Active
	ahead := open(t, store, roots)
	if err := accepts(behind, sign(t, ahead)); err != nil {
		t.Error(err)
	}
}

func TestReloadKeepsTheKeysOnError(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	ring := open(t, store, roots)
	token, document := sign(t, ring), string(ring.JWKS())

	down := errors.New("connection refused")
	store.err = down
	if err := ring.Reload(t.Context(), start()); !errors.Is(err, down) {
		t.Errorf("Reload = %v, want the store's error", err)
	}
	store.err = nil
	store.in(t, keyring.Active).Wrapped[20] ^= 1
	if err := ring.Reload(t.Context(), start()); !errors.Is(err, keyring.ErrUnusable) {
		t.Errorf("Reload = %v, want ErrUnusable", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ring.Reload(canceled, start()); !errors.Is(err, context.Canceled) {
		t.Errorf("Reload = %v, want Canceled", err)
	}
	if err := accepts(ring, token); err != nil || string(ring.JWKS()) != document {
		t.Errorf("a failed reload changed the keys: %v", err)
	}
	sign(t, ring)
}

func TestOpenRefuses(t *testing.T) {
	rightRoot := newRoots(t)
	wrongRoot := rootsOf(t, generateBeside(rightRoot.Active()))
	edit := func(f func(active, reserve *keyring.Record)) func([]keyring.Record) []keyring.Record {
		return func(records []keyring.Record) []keyring.Record {
			a, r := 0, 1
			if records[0].State != keyring.Active {
				a, r = 1, 0
			}
			f(&records[a], &records[r])
			return records
		}
	}
	tests := map[string]struct {
		change func([]keyring.Record) []keyring.Record
		roots  *rootkey.Ring
		want   error
		says   string
	}{
		"another root key": {
			roots: &wrongRoot, want: rootkey.ErrUnknown, says: "add the root key",
		},
		"altered private key": {
			change: edit(func(a, _ *keyring.Record) { a.Wrapped[len(a.Wrapped)-1] ^= 1 }),
			want:   rootkey.ErrUnwrap, says: "backup",
		},
		"altered reserve": {
			change: edit(func(_, r *keyring.Record) { r.Wrapped = r.Wrapped[:1] }), want: rootkey.ErrUnwrap,
		},
		"private keys of two rows swapped": {
			change: edit(func(a, r *keyring.Record) { a.Wrapped, r.Wrapped = r.Wrapped, a.Wrapped }), want: rootkey.ErrUnwrap,
		},
		"renamed": {
			change: edit(func(a, _ *keyring.Record) { a.KeyID = "chosen-by-an-intruder" }), want: rootkey.ErrUnwrap,
		},
		"other algorithm": {
			change: edit(func(a, _ *keyring.Record) { a.Algorithm = accesstoken.RS256 }), want: keyring.ErrUnusable,
		},
		"two active": {
			change: edit(func(_, r *keyring.Record) { r.State = keyring.Active }), want: keyring.ErrUnusable, says: "both active",
		},
		"none active": {
			change: edit(func(a, _ *keyring.Record) { a.State = keyring.Retiring }), want: keyring.ErrUnusable, says: "none",
		},
		"all removed": {
			change: edit(func(a, r *keyring.Record) { a.State, r.State = keyring.Removed, keyring.Removed }), want: keyring.ErrUnusable,
		},
		"unknown state": {
			change: edit(func(a, _ *keyring.Record) { a.State = "paused" }), want: keyring.ErrUnusable, says: "newer version",
		},
		"stored twice": {
			change: func(records []keyring.Record) []keyring.Record {
				again := records[1]
				again.State = keyring.Retiring
				return append(records, again)
			}, want: keyring.ErrUnusable, says: "twice",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			store, roots := &memory{}, rightRoot
			open(t, store, roots)
			if tt.change != nil {
				store.change(tt.change)
			}
			if tt.roots != nil {
				roots = *tt.roots
			}
			_, err := keyring.Open(t.Context(), keyring.Config{Store: store, RootKeys: roots}, start())
			if !errors.Is(err, tt.want) || !errors.Is(err, keyring.ErrUnusable) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("Open = %v, want ErrUnusable, %v and the words %q", err, tt.want, tt.says)
			}
			named := slices.ContainsFunc(store.records, func(r keyring.Record) bool { return strings.Contains(err.Error(), r.KeyID) })
			if !named && tt.says != "none" && name != "all removed" {
				t.Errorf("the error names no key: %v", err)
			}
		})
	}
}

// Whoever can write to the database, but lacks the root key, cannot make the
// server publish or accept a key of theirs.
func TestPublicHalfIsNotReliedOn(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	open(t, store, roots)
	intruder, err := accesstoken.Generate(accesstoken.ES256)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := intruder.Public().MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	active := store.in(t, keyring.Active)
	active.PublicJWK = []byte(strings.ReplaceAll(string(jwk), intruder.KeyID(), active.KeyID))

	ring := open(t, store, roots)
	for _, id := range published(t, ring) {
		if key, _ := ring.PublicKey(id); key.KeyID() != id {
			t.Errorf("key %s answers to %s", key.KeyID(), id)
		}
	}
	y := func(document []byte) string {
		_, rest, _ := strings.Cut(string(document), `"y":"`)
		return rest[:43]
	}
	if strings.Contains(string(ring.JWKS()), y(jwk)) {
		t.Error("the JWKS has the key of the intruder")
	}
}

// The JWKS is in one order, whatever the order of the rows: active, published,
// retiring, and each newest first.
func TestJWKSOrder(t *testing.T) {
	roots := newRoots(t)
	var records []keyring.Record
	for i, state := range []keyring.State{
		keyring.Retiring, keyring.Published, keyring.Active, keyring.Retiring, keyring.Published, keyring.Retiring,
	} {
		made := &memory{}
		open(t, made, roots)
		rec := *made.in(t, keyring.Published)
		rec.State, rec.PublishedAt = state, start().Add(time.Duration(i)*time.Hour)
		records = append(records, rec)
	}
	var want []string
	for _, i := range []int{2, 4, 1, 5, 3, 0} {
		want = append(want, records[i].KeyID)
	}
	for range 5 {
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if got := published(t, open(t, &memory{records: records}, roots)); !slices.Equal(got, want) {
			t.Fatalf("JWKS has %v, want %v", got, want)
		}
	}
}

func TestRemovedKeysNeedNoRootKey(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	open(t, store, roots)
	other := &memory{}
	open(t, other, newRoots(t))
	gone := *other.in(t, keyring.Active)
	gone.State = keyring.Removed
	store.change(func(records []keyring.Record) []keyring.Record { return append(records, gone) })
	ring := open(t, store, roots)
	if _, ok := ring.PublicKey(gone.KeyID); ok {
		t.Error("a removed key verifies")
	}
}

// A new root key takes over while the old one still opens what it wrapped.
func TestRootKeyReplaced(t *testing.T) {
	store, old := &memory{}, rootkey.Generate()
	token := sign(t, open(t, store, rootsOf(t, old)))
	if err := accepts(open(t, store, rootsOf(t, generateBeside(old), old)), token); err != nil {
		t.Error(err)
	}
}

func TestOpenReportsWhatIsMissing(t *testing.T) {
	down := errors.New("connection refused")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		cfg  keyring.Config
		want error
	}{
		"store down":        {t.Context(), keyring.Config{Store: &memory{err: down}, RootKeys: newRoots(t)}, down},
		"canceled":          {canceled, keyring.Config{Store: &memory{}, RootKeys: newRoots(t)}, context.Canceled},
		"no root key":       {t.Context(), keyring.Config{Store: &memory{}}, rootkey.ErrEmpty},
		"unknown algorithm": {t.Context(), keyring.Config{Store: &memory{}, RootKeys: newRoots(t), Algorithm: "HS256"}, accesstoken.ErrAlgorithm},
	} {
		ring, err := keyring.Open(tt.ctx, tt.cfg, start())
		if !errors.Is(err, tt.want) || ring != nil {
			t.Errorf("%s: Open = %v, want %v", name, err, tt.want)
		}
		if store := tt.cfg.Store.(*memory); len(store.records) != 0 {
			t.Errorf("%s: keys were stored", name)
		}
	}
}

func TestJWKSIsACopy(t *testing.T) {
	ring := open(t, &memory{}, newRoots(t))
	clear(ring.JWKS())
	if len(published(t, ring)) != 2 {
		t.Error("a caller changed the document")
	}
}

// Signing and looking up go on while the keys are swapped (run with -race).
func TestConcurrentUse(t *testing.T) {
	store, roots := &memory{}, newRoots(t)
	ring := open(t, store, roots)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				token, err := ring.Sign(context.Background(), claims(), start())
				if err == nil {
					err = accepts(ring, token)
				}
				if err != nil {
					t.Error(err)
				}
				ring.JWKS()
			}
		})
		wg.Go(func() {
			for range 20 {
				if err := ring.Reload(t.Context(), start()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSign(b *testing.B) {
	ring := open(b, &memory{}, newRoots(b))
	b.ReportAllocs()
	for b.Loop() {
		sign(b, ring)
	}
}
