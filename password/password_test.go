package password

import (
	"context"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

const secret = "correct horse battery staple"

// cheap is the least that argon2 computes.
var cheap = Params{Memory: 8, Iterations: 1, Parallelism: 1}

func newHasher(t testing.TB, cfg Config) *Hasher {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newCheapHasher(t testing.TB) *Hasher {
	t.Helper()
	return newHasher(t, Config{Params: cheap, InsecureWeakParams: true})
}

// The vectors of the reference implementation (phc-winner-argon2, test.c). They
// have salts of 8 bytes, which parsePHC refuses, so they are held against the
// function below it. RFC 9106 §5.3 needs a secret and associated data, which
// x/crypto/argon2 does not take.
func TestArgon2idReferenceVectors(t *testing.T) {
	for _, v := range []struct {
		params         Params
		password, salt string
		tag            string
	}{
		{Params{65536, 2, 1}, "password", "somesalt", "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
		{Params{256, 2, 1}, "password", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"},
		{Params{256, 2, 2}, "password", "somesalt", "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"},
		{Params{65536, 1, 1}, "password", "somesalt", "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"},
		{Params{65536, 4, 1}, "password", "somesalt", "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"},
		{Params{65536, 2, 1}, "differentpassword", "somesalt", "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
		{Params{65536, 2, 1}, "password", "diffsalt", "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"},
	} {
		if got := hex.EncodeToString(Argon2id(v.params, []byte(v.salt), []byte(v.password))); got != v.tag {
			t.Errorf("%+v %s %s: got %s, want %s", v.params, v.password, v.salt, got, v.tag)
		}
	}
}

// Whole strings that the reference implementation printed and that Verify must
// accept, so that hashes move between servers.
func TestVerifyAcceptsReferenceHashes(t *testing.T) {
	h := newCheapHasher(t)
	for _, v := range []struct{ encoded, password string }{
		{"$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU", secret},
		{"$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$hTsnKkTbFCHAKWJmmlXrCZTzyrOF7RxMeSU+7hm6tJ4", secret},
		{"$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0c2FsdA$7PCw6lTrVcqZB4uvMkl7NOUjxGtvALJ5SyYrIQAEWsc", "password"},
		// Memory that is no multiple of four blocks a lane.
		{"$argon2id$v=19$m=67,t=1,p=2$EBESExQVFhcYGRobHB0eHw$ZEh7SuPc2iWt2EbtTNHAM2I10n8k8lQgggiky0kqRK0", strings.Repeat("x", 1024)},
		{"$argon2id$v=19$m=64,t=1,p=1$/////////////////////w$edB8utrm6vre8XfM+UGrz1/SON3xazu9vhFbBtVAQDc", "pässwörd €"},
		// Hashed there in the form that it has after NFKC.
		{"$argon2id$v=19$m=64,t=1,p=1$EBESExQVFhcYGRobHB0eHw$beD8YepJ5zlV4m4pJtxOm28NT9OaX699W6bWAuNAcnw", "A\u030angstrom \u210c"},
	} {
		if _, err := h.Verify(t.Context(), v.encoded, v.password); err != nil {
			t.Errorf("%s: %v", v.encoded, err)
		}
		if _, err := h.Verify(t.Context(), v.encoded, v.password+"x"); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s with a wrong password: got %v, want ErrMismatch", v.encoded, err)
		}
	}
}

func TestNewDefaults(t *testing.T) {
	h := newHasher(t, Config{})
	if want := (Params{Memory: 19456, Iterations: 2, Parallelism: 1}); h.params != want {
		t.Errorf("params %+v, want %+v", h.params, want)
	}
	if want := max(1, runtime.GOMAXPROCS(0)-1); h.gate.capacity != want || h.gate.queue != 64*want {
		t.Errorf("concurrency %d, queue %d, want %d", h.gate.capacity, h.gate.queue, want)
	}
	encoded, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s", encoded)
	}
	if rehash, err := h.Verify(t.Context(), encoded, secret); err != nil || rehash {
		t.Errorf("got %v, %v", rehash, err)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{Params: cheap}); !errors.Is(err, ErrParams) {
		t.Errorf("weak params: got %v, want ErrParams", err)
	}
	if _, err := New(Config{Params: Params{Memory: 1 << 31}, InsecureWeakParams: true}); !errors.Is(err, ErrParams) {
		t.Errorf("huge params: got %v, want ErrParams", err)
	}
	if _, err := New(Config{Concurrency: -1}); err == nil {
		t.Error("negative concurrency: no error")
	}
}

func TestHashIsSalted(t *testing.T) {
	h := newCheapHasher(t)
	one, err1 := h.Hash(t.Context(), secret)
	two, err2 := h.Hash(t.Context(), secret)
	if err1 != nil || err2 != nil || one == two {
		t.Errorf("got %s, %v and %s, %v", one, err1, two, err2)
	}
}

// A password matches its own hash, and another one only if both normalize alike.
func TestVerifyMatchesTheSamePasswordOnly(t *testing.T) {
	h := newCheapHasher(t)
	rapid.Check(t, func(rt *rapid.T) {
		enrolled := rapid.String().Draw(rt, "enrolled")
		presented := rapid.OneOf(
			rapid.Just(enrolled),
			rapid.Just(norm.NFD.String(enrolled)),
			rapid.Just(strings.ToUpper(enrolled)),
			rapid.Just(enrolled+" "),
			rapid.String(),
		).Draw(rt, "presented")
		encoded, err := h.Hash(t.Context(), enrolled)
		if err != nil {
			rt.Fatal(err)
		}
		var want error
		if norm.NFKC.String(enrolled) != norm.NFKC.String(presented) {
			want = ErrMismatch
		}
		if rehash, err := h.Verify(t.Context(), encoded, presented); !errors.Is(err, want) || rehash {
			rt.Fatalf("got %v, %v, want %v", rehash, err, want)
		}
	})
}

func TestNormalization(t *testing.T) {
	h := newCheapHasher(t)
	long := strings.Repeat("long ", 200)
	for _, tc := range []struct {
		name, enrolled, presented string
		want                      error
	}{
		{"composed and decomposed", "caf\u00e9 cr\u00e8me", "cafe\u0301 cre\u0300me", nil},
		{"compatibility forms", "\uff50\uff41\uff53\uff53 ofﬁce", "pass office", nil},
		{"no-break space", "two\u00a0words", "two words", nil},
		{"upper case", "pässword", "PÄSSWORD", ErrMismatch},
		{"space before", "password", " password", ErrMismatch},
		{"space after", "password", "password ", ErrMismatch},
		{"line break after", "password", "password\n", ErrMismatch},
		{"nothing after NUL is lost", "password\x00one", "password\x00two", ErrMismatch},
		{"the last byte of a long one counts", long + "a", long + "b", ErrMismatch},
		{"empty", "password", "", ErrMismatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			encoded, err := h.Hash(t.Context(), tc.enrolled)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Verify(t.Context(), encoded, tc.presented); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// Policy knows unassigned code points from package unicode and trusts package
// norm to leave the others alone for good: both must speak of one Unicode.
func TestUnicodeVersionsAgree(t *testing.T) {
	if unicode.Version != norm.Version {
		t.Errorf("package unicode has %s, package norm %s", unicode.Version, norm.Version)
	}
}

func TestWhatCannotBeHashedNeverMatches(t *testing.T) {
	h := newCheapHasher(t)
	for bad, want := range map[string]Reason{
		"pass\xffword":            ReasonInvalidUTF8,
		strings.Repeat("x", 4097): ReasonTooLong,
	} {
		var rejected *RejectedError
		if _, err := h.Hash(t.Context(), bad); !errors.As(err, &rejected) || rejected.Reason != want {
			t.Errorf("hash: got %v, want %s", err, want)
		}
		// Not even the hash that such bytes would have had.
		d := digest{params: cheap}
		copy(d.tag[:], Argon2id(cheap, d.salt[:], []byte(bad)))
		if _, err := h.Verify(t.Context(), d.encode(), bad); !errors.Is(err, ErrMismatch) {
			t.Errorf("verify (%s): got %v, want ErrMismatch", want, err)
		}
		if err := h.VerifyUnknown(t.Context(), bad); !errors.Is(err, ErrMismatch) {
			t.Errorf("verify unknown (%s): got %v, want ErrMismatch", want, err)
		}
	}
	longest := strings.Repeat("\ufdfa", 4096/3)
	encoded, err := h.Hash(t.Context(), longest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Verify(t.Context(), encoded, longest); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

func TestVerifyTellsWhenToRehash(t *testing.T) {
	present := Params{Memory: 64, Iterations: 4, Parallelism: 2}
	for _, tc := range []struct {
		name   string
		stored Params
		want   bool
	}{
		{"the same", present, false},
		{"less memory", Params{63, 5, 2}, true},
		{"fewer passes", Params{64, 3, 2}, true},
		{"more memory, less work", Params{128, 1, 2}, true},
		{"more memory, fewer passes, the same work", Params{128, 2, 2}, false},
		{"more of both", Params{128, 8, 2}, false},
		{"fewer lanes", Params{64, 4, 1}, false},
		{"more lanes", Params{64, 4, 4}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			encoded, err := newHasher(t, Config{Params: tc.stored, InsecureWeakParams: true}).Hash(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
			h := newHasher(t, Config{Params: present, InsecureWeakParams: true})
			if got, err := h.Verify(t.Context(), encoded, secret); err != nil || got != tc.want {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
			if got, err := h.Verify(t.Context(), encoded, "wrong"); got || !errors.Is(err, ErrMismatch) {
				t.Errorf("wrong password: got %v, %v, want ErrMismatch and no rehash", got, err)
			}
		})
	}
}

// derivation is what one run of argon2 was given, and with it what it cost.
type derivation struct {
	params             Params
	saltLen            int
	password           string
	freeSlots, waiting int
}

// argon2Only is an engine for hashes of ours.
type argon2Only func(p Params, salt, password []byte) []byte

func (f argon2Only) Argon2id(p Params, salt, password []byte) []byte { return f(p, salt, password) }

func (argon2Only) MatchesImported(encoded string, _ []byte) bool { panic("imported: " + encoded) }

func TestVerifyUnknownDoesTheWorkOfAWrongPassword(t *testing.T) {
	h := newHasher(t, Config{})
	encoded, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	var runs []derivation
	h.engine = argon2Only(func(p Params, salt, password []byte) []byte {
		runs = append(runs, derivation{p, len(salt), string(password), h.gate.free, len(h.gate.lines[secondLine])})
		return Argon2id(p, salt, password)
	})
	_, errWrong := h.Verify(t.Context(), encoded, "wro\u0301ng password")
	errUnknown := h.VerifyUnknown(t.Context(), "wro\u0301ng password")
	if !errors.Is(errWrong, ErrMismatch) || !errors.Is(errUnknown, ErrMismatch) || errWrong.Error() != errUnknown.Error() {
		t.Errorf("wrong password: %v, unknown user: %v", errWrong, errUnknown)
	}
	if len(runs) != 2 || runs[0] != runs[1] {
		t.Errorf("different work: %+v", runs)
	}
}

func TestVerifyUnknownNeverSucceeds(t *testing.T) {
	h := newCheapHasher(t)
	decoy, err := parsePHC(h.decoy)
	if err != nil {
		t.Fatal(err)
	}
	h.engine = argon2Only(func(Params, []byte, []byte) []byte { return decoy.tag[:] })
	if err := h.VerifyUnknown(t.Context(), secret); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

func TestErrorsTellNoSecret(t *testing.T) {
	h := newCheapHasher(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	encoded, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	costly := digest{params: Params{Memory: 1 << 30, Iterations: 1, Parallelism: 1}}.encode()

	var errs []error
	_, err = h.Verify(t.Context(), encoded, secret+"!")
	errs = append(errs, err)
	_, err = h.Verify(t.Context(), encoded+"!", secret)
	errs = append(errs, err)
	_, err = h.Verify(t.Context(), costly, secret)
	errs = append(errs, err)
	_, err = h.Verify(canceled, encoded, secret)
	errs = append(errs, err)
	_, err = h.Hash(canceled, secret)
	errs = append(errs, err)
	_, err = h.Hash(t.Context(), secret+"\xff")
	errs = append(errs, err, h.VerifyUnknown(t.Context(), secret),
		Policy{MinLength: 64}.Check(secret, About{}), Policy{}.Check(secret+"\xff", About{}),
		Policy{}.Check(secret+"\u0378", About{}), Policy{}.Check(strings.Repeat(secret, 64), About{}))

	for _, err := range errs {
		if err == nil {
			t.Fatalf("no error among %v", errs)
		}
		for _, word := range append(strings.Fields(secret), "argon2id$", encoded[len(encoded)-43:]) {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%q gives away %q", err, word)
			}
		}
	}
}

// probe stands in for argon2: each hash that runs is counted and held until the
// test releases it.
type probe struct {
	release chan struct{}

	mu       sync.Mutex
	running  int
	most     int
	memory   uint32 // KiB
	finished int
}

func holdHashes(h *Hasher) *probe {
	p := &probe{release: make(chan struct{})}
	h.engine = argon2Only(func(params Params, _, _ []byte) []byte {
		p.mu.Lock()
		p.running++
		p.most = max(p.most, p.running)
		p.memory += params.Memory
		p.mu.Unlock()
		<-p.release
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
		p.finished++
		p.memory -= params.Memory
		return make([]byte, tagSize)
	})
	return p
}

func (p *probe) expect(t *testing.T, running, finished int) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != running || p.finished != finished {
		t.Fatalf("%d running, %d finished, want %d and %d", p.running, p.finished, running, finished)
	}
}

// In a bubble of synctest, Wait returns once every caller either is inside a hash
// or waits for its turn, so the counts are exact.
func TestConcurrencyIsBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHasher(t, Config{Params: cheap, Concurrency: 2, Queue: 3, InsecureWeakParams: true})
		encoded, err := h.Hash(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		p := holdHashes(h)
		calls := []func() error{
			func() error { _, err := h.Hash(t.Context(), secret); return err },
			func() error { _, err := h.Verify(t.Context(), encoded, secret); return err },
			func() error { return h.VerifyUnknown(t.Context(), secret) },
		}
		// Two are served and three wait, whichever they are.
		for i := range 5 {
			go func() {
				if err := calls[i%3](); errors.Is(err, ErrBusy) {
					t.Errorf("call %d: %v", i, err)
				}
			}()
		}
		p.expect(t, 2, 0)
		for i, call := range calls {
			if err := call(); !errors.Is(err, ErrBusy) {
				t.Errorf("call %d beyond the queue: got %v, want ErrBusy", i, err)
			}
		}
		p.expect(t, 2, 0)
		p.release <- struct{}{}
		p.expect(t, 2, 1)
		close(p.release)
		p.expect(t, 0, 5)
		if p.most != 2 {
			t.Errorf("%d ran at once, want 2", p.most)
		}
		expectIdle(t, h.gate)
	})
}

func TestNegativeQueueMeansNoWaiting(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHasher(t, Config{Params: cheap, Concurrency: 1, Queue: -1, InsecureWeakParams: true})
		p := holdHashes(h)
		go func() { _ = h.VerifyUnknown(t.Context(), secret) }()
		p.expect(t, 1, 0)
		if err := h.VerifyUnknown(t.Context(), secret); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		close(p.release)
		p.expect(t, 0, 1)
	})
}

func TestCancelledWaiterLeavesTheQueue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHasher(t, Config{Params: cheap, Concurrency: 1, Queue: 1, InsecureWeakParams: true})
		p := holdHashes(h)
		go func() { _ = h.VerifyUnknown(t.Context(), secret) }()
		p.expect(t, 1, 0)

		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := h.Hash(ctx, secret); left <- err }()
		p.expect(t, 1, 0)
		if err := h.VerifyUnknown(t.Context(), secret); !errors.Is(err, ErrBusy) {
			t.Fatalf("got %v, want ErrBusy", err)
		}
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}

		// Its place in the queue is free again, and the turn goes to the next.
		go func() { _ = h.VerifyUnknown(t.Context(), secret) }()
		p.expect(t, 1, 0)
		close(p.release)
		p.expect(t, 0, 2)
		expectIdle(t, h.gate)
	})
}

func TestCancelledContextStartsNothing(t *testing.T) {
	h := newCheapHasher(t)
	h.engine = argon2Only(func(Params, []byte, []byte) []byte { t.Error("hashed"); return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, secret); !errors.Is(err, context.Canceled) {
		t.Errorf("hash: got %v", err)
	}
	if err := h.VerifyUnknown(ctx, secret); !errors.Is(err, context.Canceled) {
		t.Errorf("verify unknown: got %v", err)
	}
	expectIdle(t, h.gate)
}

// Stored hashes that need more memory than new ones take more of the bound.
func TestMemoryIsBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHasher(t, Config{Params: Params{Memory: 64}, Concurrency: 4, InsecureWeakParams: true})
		p := holdHashes(h)
		verify := func(memory uint32) {
			encoded := digest{params: Params{Memory: memory, Iterations: 1, Parallelism: 1}}.encode()
			_, _ = h.Verify(t.Context(), encoded, secret)
		}
		for _, memory := range []uint32{64, 8, 129, 64, 1024, 64} {
			go verify(memory)
			synctest.Wait()
		}
		// 129 KiB take three slots, which are not free beside the first two hashes.
		// Those behind would fit, but must not overtake it for ever.
		p.expect(t, 2, 0)
		p.release <- struct{}{}
		p.expect(t, 2, 1)
		if p.memory > 4*64 {
			t.Errorf("%d KiB in use", p.memory)
		}
		// 1024 KiB are more than all slots: it waits until it is alone.
		for range 3 {
			p.release <- struct{}{}
			synctest.Wait()
		}
		p.expect(t, 1, 4)
		if p.memory != 1024 {
			t.Errorf("%d KiB in use, want 1024", p.memory)
		}
		close(p.release)
		p.expect(t, 0, 6)
		expectIdle(t, h.gate)
	})
}

func TestPanicGivesTheSlotBack(t *testing.T) {
	h := newCheapHasher(t)
	h.engine = argon2Only(func(Params, []byte, []byte) []byte { panic("argon2") })
	func() {
		defer func() { _ = recover() }()
		_ = h.VerifyUnknown(t.Context(), secret)
	}()
	expectIdle(t, h.gate)
}

func expectIdle(t testing.TB, g *gate) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if waiting := len(g.lines[firstLine]) + len(g.lines[secondLine]); g.free != g.capacity || waiting != 0 {
		t.Errorf("%d of %d slots free, %d waiting", g.free, g.capacity, waiting)
	}
}

// Strangers who fill their line neither keep out who comes first, nor are served before.
func TestFirstHasALineOfItsOwn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newCheapHasher(t)
		h.gate = newGate(1, 2)
		turn := make(chan struct{})
		h.engine = argon2Only(func(Params, []byte, []byte) []byte { <-turn; return make([]byte, tagSize) })
		served := make(chan string, 4)
		come := func(name string, h *Hasher) {
			go func() {
				if err := h.VerifyUnknown(t.Context(), secret); !errors.Is(err, ErrMismatch) {
					t.Errorf("%s: %v", name, err)
				}
				served <- name
			}()
			synctest.Wait()
		}
		for _, name := range []string{"stranger 1", "stranger 2", "stranger 3"} {
			come(name, h)
		}
		if err := h.VerifyUnknown(t.Context(), secret); !errors.Is(err, ErrBusy) {
			t.Fatalf("a fourth stranger: %v", err)
		}
		come("friend", h.First())
		for _, want := range []string{"stranger 1", "friend", "stranger 2", "stranger 3"} {
			turn <- struct{}{}
			if got := <-served; got != want {
				t.Errorf("served %s, want %s", got, want)
			}
		}
		expectIdle(t, h.gate)
	})
}

func BenchmarkHash(b *testing.B) {
	h := newHasher(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), secret); err != nil {
			b.Fatal(err)
		}
	}
}

// The two below must cost the same.
func BenchmarkVerifyWrongPassword(b *testing.B) {
	h := newHasher(b, Config{})
	encoded, err := h.Hash(b.Context(), secret)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Verify(b.Context(), encoded, "wrong"); !errors.Is(err, ErrMismatch) {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyUnknown(b *testing.B) {
	h := newHasher(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		if err := h.VerifyUnknown(b.Context(), "wrong"); !errors.Is(err, ErrMismatch) {
			b.Fatal(err)
		}
	}
}

// A storm keeps every slot busy and the queue filled: throughput of all cores.
func BenchmarkStorm(b *testing.B) {
	h := newHasher(b, Config{})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := h.VerifyUnknown(b.Context(), "wrong"); !errors.Is(err, ErrMismatch) {
				b.Error(err)
			}
		}
	})
}
