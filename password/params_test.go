package password

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestParamsForNewHashes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		params Params
		want   error
	}{
		{"zero", Params{}, nil},
		// OWASP's equivalent choices.
		{"46 MiB, 1 pass", Params{47104, 1, 1}, nil},
		{"19 MiB, 2 passes", Params{19456, 2, 1}, nil},
		{"12 MiB, 3 passes", Params{12288, 3, 1}, nil},
		{"9 MiB, 4 passes", Params{9216, 4, 1}, nil},
		{"7 MiB, 5 passes", Params{7168, 5, 1}, nil},
		// RFC 9106 §4, second recommendation.
		{"64 MiB, 3 passes, 4 lanes", Params{65536, 3, 4}, nil},
		{"the most", Params{262144, 4, 16}, nil},
		{"default memory, one pass", Params{Iterations: 1}, ErrParams},
		{"little memory, many passes", Params{7167, 64, 1}, ErrParams},
		{"little work", Params{7168, 4, 1}, ErrParams},
		{"too much memory", Params{262145, 1, 1}, ErrParams},
		{"too many passes", Params{7168, 65, 1}, ErrParams},
		{"too many lanes", Params{65536, 3, 17}, ErrParams},
		{"too much work", Params{262144, 5, 1}, ErrParams},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.params.withDefaults().checkNew(); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// One rehash is enough, and none is missed when either cost was raised.
func TestRehashConverges(t *testing.T) {
	params := rapid.Custom(func(rt *rapid.T) Params {
		return Params{
			Memory:      rapid.Uint32Range(8, maxMemory).Draw(rt, "memory"),
			Iterations:  rapid.Uint32Range(1, maxIterations).Draw(rt, "iterations"),
			Parallelism: rapid.Uint8Range(1, maxParallelism).Draw(rt, "parallelism"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		present := params.Draw(rt, "present")
		if present.weakerThan(present) {
			rt.Fatal("a new hash asks for another")
		}
		raised := present
		raised.Iterations++
		if !present.weakerThan(raised) {
			rt.Fatal("raising the passes does not show")
		}
		raised = present
		raised.Memory++
		if !present.weakerThan(raised) {
			rt.Fatal("raising the memory does not show")
		}
	})
}
