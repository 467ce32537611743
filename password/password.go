// Package password decides whether someone knows a password, and keeps of that
// password only what a thief of the database cannot use.
//
// A [Policy] says which new passwords are accepted; ask it at sign-up and at a
// password change, never at sign-in. A [Hasher] turns an accepted password into
// a string for the store with [Hasher.Hash] and compares later with
// [Hasher.Verify]. For a user who does not exist call [Hasher.VerifyUnknown]: it
// does the same work and gives the same answer, so that neither the answer nor
// its timing tells which usernames exist.
//
// Hashes are argon2id (RFC 9106) in PHC spelling,
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt, 16 bytes>$<tag, 32 bytes>
//
// and are read strictly: a hash has exactly one spelling. Each hash carries its
// own [Params], so raising them strands nobody: old hashes go on working, and
// Verify says when to replace one.
//
// Hashes of other programs are kept too, in the spelling that [Import] gives them,
// until their users sign in and Verify says to replace them: bcrypt, scrypt, PBKDF2,
// argon2 of others, and Firebase's variant of scrypt.
//
// # Memory
//
// Hashing is slow and large on purpose, which makes a sign-in form a way to
// exhaust a server. A Hasher admits a fixed number of hashes at a time, lets a
// fixed number of callers wait, and answers [ErrBusy] at once to the rest. The
// admitted ones hold at most Concurrency × Memory, or the memory of one stored
// hash that is larger than all that together, which is never above 256 MiB.
//
// That bounds what is in use, not what the process has taken. Argon2 allocates
// its memory anew for each hash and leaves it to the garbage collector, which by
// default lets garbage grow as large as what is in use, and a little further while
// it works: a storm of sign-ins peaks at two to three times Concurrency × Memory,
// however long it lasts. Where that is too much, GOMEMLIMIT makes the collector
// run earlier, at little cost, for what it frees are a few large blocks without
// pointers.
//
// # Normalization
//
// One password can be many byte strings: é is one code point on one keyboard and
// two on another. Passwords are therefore normalized to NFKC, once, in the same
// way before hashing and before comparing, as NIST SP 800-63B-4 §3.1.1.2
// recommends. OWASP ASVS 6.2.8 asks to verify a password exactly as received; we
// follow NIST, for the alternative locks people out of their own accounts when
// they change devices. What ASVS is after holds all the same: the whole password
// counts, and it is never truncated, trimmed or case-folded.
//
// Bytes that are not UTF-8 are no password, nor is anything beyond 4,096 bytes: the
// Policy rejects it, Hash refuses it and it never matches. Take care that nothing
// replaces broken UTF-8 on the way here: encoding/json puts U+FFFD for it without
// an error, and then two different inputs become one password.
//
// A normal form must not change when Unicode grows. It does not for assigned
// code points, so the Policy rejects unassigned ones ("stabilized strings",
// Unicode Standard Annex #15 §12.1).
//
// # What stays compatible
//
// The spelling above, the normalization and the reasons of a [RejectedError].
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Errors of a [Hasher]. None of them contains a password or a hash.
var (
	// ErrMismatch reports a wrong password, or any password for a user who does
	// not exist.
	ErrMismatch = errors.New("password does not match")
	// ErrBusy reports that as many callers wait as may. Nothing was computed; try
	// again in a few seconds. It says nothing about the password.
	ErrBusy = errors.New("too many passwords are being checked")
)

// Config describes a [Hasher]. The zero value is a good configuration.
type Config struct {
	// Params are the cost of new hashes. Zero: 19 MiB, 2 passes, 1 lane.
	Params Params

	// Concurrency is how many hashes are computed at the same time, and with
	// Params.Memory how much memory they hold. Zero: one less than GOMAXPROCS at
	// the time of New, and at least one, so that a storm of sign-ins leaves a core to
	// everything else; more than there are cores only makes each one slower.
	Concurrency int

	// Queue is how many callers may wait for their turn beyond those being
	// served. Zero: 64 × Concurrency. A hash with the default Params takes about
	// 30 ms of a core, so the last in that line waits about two seconds, which is
	// as long as a person believes that a form still works. Scale it down when
	// raising Params. Negative: nobody waits.
	Queue int

	// Engine does what is costly, such as in another process. Nil: this one does.
	Engine Engine

	// InsecureWeakParams accepts Params below the floor that [Params] names. It
	// is for tests, where a hash should cost nothing, and MUST NOT be set
	// anywhere else: a stolen database would give up its passwords.
	InsecureWeakParams bool
}

// Engine computes hashes, and returns exactly what the functions of the same names do. It
// has no way to fail: whoever computes elsewhere computes here if that fails.
type Engine interface {
	Argon2id(p Params, salt, password []byte) []byte
	MatchesImported(encoded string, password []byte) bool
}

// here is the Engine of this process.
type here struct{}

func (here) Argon2id(p Params, salt, password []byte) []byte { return Argon2id(p, salt, password) }

func (here) MatchesImported(encoded string, password []byte) bool {
	return MatchesImported(encoded, password)
}

// Hasher computes and compares password hashes, a bounded number at a time. The
// zero value is unusable; make one with [New], and one only for a process, since
// each has a bound of its own. A Hasher is safe for concurrent use.
//
// Every method waits for its turn in order of arrival, but see [Hasher.First]. While it waits it heeds
// the context: the call returns an error that wraps ctx.Err(), and its place is
// free again. A hash that has begun is finished, and its result returned, even
// if the context ends meanwhile, because argon2 cannot be interrupted.
type Hasher struct {
	params Params
	// decoy is the hash that VerifyUnknown compares with.
	decoy string
	gate  *gate
	line  int // to wait in
	// Tests put a probe before the engine, to count and to hold the hashes that really
	// run.
	engine Engine
}

// New returns a Hasher. It returns [ErrParams] for Params out of bounds, and
// another error for a negative Concurrency.
func New(cfg Config) (*Hasher, error) {
	params := cfg.Params.withDefaults()
	check := params.checkNew
	if cfg.InsecureWeakParams {
		check = params.checkStored
	}
	if err := check(); err != nil {
		return nil, err
	}
	concurrency := cfg.Concurrency
	if concurrency < 0 {
		return nil, fmt.Errorf("password hashing concurrency is negative: %d", concurrency)
	}
	if concurrency == 0 {
		concurrency = max(1, runtime.GOMAXPROCS(0)-1)
	}
	engine := cfg.Engine
	if engine == nil {
		engine = here{}
	}
	queue := cfg.Queue
	if queue == 0 {
		queue = 64 * concurrency
	}

	// The decoy's tag is random, not computed: no password leads to it, and a
	// server starts without hashing anything.
	decoy := digest{params: params}
	rand.Read(decoy.salt[:]) // never fails: crypto/rand aborts the program instead
	rand.Read(decoy.tag[:])
	return &Hasher{
		params: params,
		decoy:  decoy.encode(),
		gate:   newGate(concurrency, max(queue, 0)),
		line:   secondLine,
		engine: engine,
	}, nil
}

// First returns the same Hasher with another line to wait in, as long as that of
// [Config.Queue] and served before it. It is for those whom a storm of strangers should
// not keep waiting, such as people on a device that they have signed in with before.
func (h *Hasher) First() *Hasher {
	first := *h
	first.line = firstLine
	return &first
}

// Busy returns [ErrBusy] if whoever comes now is turned away, else nil. A moment later
// that may be different. It is for callers who would do work before that was in vain.
func (h *Hasher) Busy() error {
	if h.gate.isFull(h.line) {
		return ErrBusy
	}
	return nil
}

// Hash returns a new hash of a password for the store, with a fresh salt and the
// present Params. It does not judge the password: ask [Policy.Check] first.
//
// It returns a [*RejectedError] for what can never match, which is anything but
// UTF-8 and more than 4,096 bytes, [ErrBusy], or an error that wraps ctx.Err().
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := hashable(password); err != nil {
		return "", err
	}
	d := digest{params: h.params}
	rand.Read(d.salt[:])
	tag, err := h.tag(ctx, d, password)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	copy(d.tag[:], tag)
	return d.encode(), nil
}

// Verify compares a password with a hash from the store. A nil error means that
// they belong together; needsRehash then tells that the hash is cheaper to attack
// than a new one would be, or another program's, and that the caller, who holds the
// password now, should replace it by a fresh [Hasher.Hash].
//
// It returns [ErrMismatch] for a wrong password, [ErrMalformed] or [ErrParams]
// for a stored hash that cannot be used, [ErrBusy], or an error that wraps
// ctx.Err(). Only ErrMismatch is a verdict on the password. For a user without a
// password call [Hasher.VerifyUnknown].
//
// Until a hash has been replaced, a wrong password takes the time that its old
// Params take, and not that of VerifyUnknown. After Params were raised, or hashes
// imported, someone who measures well can thus tell which users have not signed
// in since.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (needsRehash bool, err error) {
	d, err := parsePHC(encoded)
	if errors.Is(err, ErrMalformed) {
		var f foreign
		if f, err = parseForeign(encoded); err == nil {
			err = h.verifyForeign(ctx, f, password)
			return err == nil, err
		}
	}
	if err != nil {
		return false, fmt.Errorf("verify password: stored hash: %w", err)
	}
	if hashable(password) != nil {
		return false, ErrMismatch // at once, for known and unknown users alike
	}
	tag, err := h.tag(ctx, d, password)
	if err != nil {
		return false, fmt.Errorf("verify password: %w", err)
	}
	if subtle.ConstantTimeCompare(tag, d.tag[:]) != 1 {
		return false, ErrMismatch
	}
	return d.params.weakerThan(h.params), nil
}

// VerifyUnknown does what [Hasher.Verify] does for a wrong password, and returns
// what it returns: [ErrMismatch], [ErrBusy], or an error that wraps ctx.Err().
// It never returns nil. Call it when there is no stored hash to compare with, so
// that asking about an unknown user looks like a wrong password (OWASP ASVS
// 6.3.8).
func (h *Hasher) VerifyUnknown(ctx context.Context, password string) error {
	// The very same code runs, parsing included: two paths would drift apart.
	if _, err := h.Verify(ctx, h.decoy, password); err != nil {
		return err
	}
	return ErrMismatch // fail closed, were the decoy ever guessed
}

// tag waits for a turn and computes the tag of a valid UTF-8 password under the
// digest's params and salt.
func (h *Hasher) tag(ctx context.Context, d digest, password string) ([]byte, error) {
	slots := h.slots(d.params.Memory)
	if err := h.gate.enter(ctx, h.line, slots); err != nil {
		return nil, err
	}
	defer h.gate.leave(slots)
	// Normalizing takes time as well, so it is done inside the bound.
	return h.engine.Argon2id(d.params, d.salt[:], []byte(normalize(password))), nil
}

// slots returns how much of the gate a hash of so many KiB takes: one slot for each
// Params.Memory that it needs, rounded up. A hash that needs more than there is takes everything
// and so runs alone. Refusing it would lock out those whose hashes were made under
// more generous Params.
func (h *Hasher) slots(memory uint32) int {
	needed := (memory + h.params.Memory - 1) / h.params.Memory
	return min(int(needed), h.gate.capacity)
}

// Argon2id returns the hash of a password: argon2id (RFC 9106), 32 bytes. It waits for
// no turn and judges nothing; a [Hasher] does.
func Argon2id(p Params, salt, password []byte) []byte {
	return argon2.IDKey(password, salt, p.Iterations, p.Memory, p.Parallelism, tagSize)
}

// normalize returns the form of a password that is hashed and whose length
// counts; see the package comment.
func normalize(password string) string { return norm.NFKC.String(password) }
