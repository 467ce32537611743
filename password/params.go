package password

import (
	"errors"
	"fmt"
)

// ErrParams reports [Params], or those of a foreign hash, out of bounds: too cheap to
// protect anyone, or so expensive that a single sign-in would take the server down.
var ErrParams = errors.New("parameters of the password hash are out of bounds")

// Params are the cost of an argon2id hash: what one guess costs a thief, and one
// sign-in costs you.
//
// The zero value is OWASP's first choice, 19 MiB and 2 passes; fields left at
// zero take their value from it. New hashes must cost at least 7 MiB and as many
// passes as make Memory × Iterations 35 MiB, which is the cheapest of OWASP's
// equivalent choices (7 MiB, 5 passes). Stored hashes may be cheaper, so that an
// import can be verified and then replaced.
//
// No hash, new or stored, may exceed 256 MiB, 64 passes, 16 lanes and 1 GiB for
// Memory × Iterations. A stored hash is input: without a limit one imported
// string could make the server allocate 4 TiB, or compute for hours.
type Params struct {
	// Memory is the memory in use while hashing, in KiB. Zero: 19,456, that is
	// 19 MiB.
	Memory uint32
	// Iterations is the number of passes over that memory. Zero: 2.
	Iterations uint32
	// Parallelism is the number of lanes, which are computed in parallel. It
	// changes the hash and hardly its strength. Zero: 1, which suits a server: its
	// parallelism comes from concurrent sign-ins.
	Parallelism uint8
}

// Bounds, in the units of Params.
const (
	minMemory      = 7 << 10
	minWork        = 5 * minMemory
	maxMemory      = 256 << 10
	maxIterations  = 64
	maxParallelism = 16
	maxWork        = 1 << 20
)

func (p Params) withDefaults() Params {
	if p.Memory == 0 {
		p.Memory = 19 << 10
	}
	if p.Iterations == 0 {
		p.Iterations = 2
	}
	if p.Parallelism == 0 {
		p.Parallelism = 1
	}
	return p
}

// checkStored holds params to what argon2 permits below and to what this server
// can bear above.
func (p Params) checkStored() error {
	switch {
	case p.Parallelism < 1 || p.Parallelism > maxParallelism:
		return fmt.Errorf("%w: %d lanes, want 1 to %d", ErrParams, p.Parallelism, maxParallelism)
	case p.Iterations < 1 || p.Iterations > maxIterations:
		return fmt.Errorf("%w: %d passes, want 1 to %d", ErrParams, p.Iterations, maxIterations)
	case p.Memory < 8*uint32(p.Parallelism) || p.Memory > maxMemory: // RFC 9106 §3.1: 8 blocks a lane
		return fmt.Errorf("%w: %d KiB, want 8 for each lane to %d", ErrParams, p.Memory, maxMemory)
	case p.work() > maxWork:
		return fmt.Errorf("%w: %d KiB in all passes together, want at most %d", ErrParams, p.work(), maxWork)
	}
	return nil
}

// checkNew holds params for new hashes to the floor besides.
func (p Params) checkNew() error {
	if err := p.checkStored(); err != nil {
		return err
	}
	if p.Memory < minMemory || p.work() < minWork {
		return fmt.Errorf("%w: %d KiB and %d passes, want at least %d KiB and %d in all passes together",
			ErrParams, p.Memory, p.Iterations, minMemory, minWork)
	}
	return nil
}

// work returns the KiB written in all passes together: what a guess costs in
// time, and what OWASP's choices have in common.
func (p Params) work() uint64 { return uint64(p.Memory) * uint64(p.Iterations) }

// weakerThan reports whether a guess costs less memory or less time under p than
// under other. A hash with more memory and fewer passes but no less work in all
// is not weaker: to replace it would lower the memory that a thief needs. Lanes
// do not count, for a thief may compute them one by one.
func (p Params) weakerThan(other Params) bool {
	return p.Memory < other.Memory || p.work() < other.work()
}
