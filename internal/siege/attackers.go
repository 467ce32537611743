package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attackers sign in at the same moment, and again about a second after each answer, each
// time from another address, so that nothing but the work itself slows them down.
//
// They are a [child], to which the machine gives what nobody else wants: those of the real
// world are elsewhere, and take no core from the server. A process with a niceness does,
// for up to a tick: see docs/decisions/0027.
type attackers struct {
	URL   string `json:"url"`
	Count int    `json:"count"`
	// Strangers are so many users, "stranger-1" and on, whose names are guessed at instead
	// of such that nobody has.
	Strangers int `json:"strangers"`
}

// told is how often the attackers were told what, by status.
type told map[int]int64

// attack is a process of attackers that is under way.
type attack struct {
	cmd    *exec.Cmd
	input  io.Closer // they attack until it ends
	output *json.Decoder
}

// begin starts the process and returns when it is about to attack.
func (a attackers) begin(ctx context.Context) (*attack, error) {
	plan, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd, input, err := child(ctx, attackVariable, string(plan))
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("attackers: %w", err)
	}
	begun := &attack{cmd: cmd, input: input, output: json.NewDecoder(output)}
	var nothing told
	if err := begun.output.Decode(&nothing); err != nil {
		return nil, errors.Join(fmt.Errorf("attackers: %w", err), input.Close(), cmd.Wait())
	}
	return begun, nil
}

// end lets the attackers go, and returns what they were told.
func (a *attack) end() (told, error) {
	closed := a.input.Close()
	var t told
	decoded := a.output.Decode(&t)
	if err := errors.Join(closed, decoded, a.cmd.Wait()); err != nil {
		return nil, fmt.Errorf("attackers: %w", err)
	}
	return t, nil
}

// attackAsPlanned is all that a process does that [attackers.begin] has started.
func attackAsPlanned(plan string) error {
	var a attackers
	if err := json.Unmarshal([]byte(plan), &a); err != nil {
		return err
	}
	return a.attackUntil(os.Stdin, json.NewEncoder(os.Stdout))
}

// attackUntil writes that nothing was told yet, attacks until the input ends, and writes
// what was told.
func (a attackers) attackUntil(input io.Reader, output *json.Encoder) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := output.Encode(told{}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, input) // an input that breaks has ended as well
		cancel()
	}()
	return output.Encode(a.attack(ctx))
}

func (a attackers) attack(ctx context.Context) told {
	s := &server{url: a.URL, client: newClient()}
	var statuses [600]atomic.Int64
	var all sync.WaitGroup
	for n := range a.Count {
		all.Go(func() { a.guess(ctx, s, n, &statuses) })
	}
	all.Wait()
	t := told{}
	for status := range statuses {
		if n := statuses[status].Load(); n > 0 {
			t[status] = n
		}
	}
	return t
}

// guess tries owners half of the time, and else names that hardly anybody has tried, so
// that each is a password to be compared. Each guesses once at least.
func (a attackers) guess(ctx context.Context, s *server, n int, statuses *[600]atomic.Int64) {
	for i := n; ; i++ {
		name := fmt.Sprintf("owner-%d", i%owners+1)
		if i/owners%2 == 1 {
			name = a.fresh(n)
		}
		// What has begun when the attack ends is answered: a password takes longer than a
		// short attack on a machine that is busy, and its comparison goes on all the same.
		answered, err := s.login(context.WithoutCancel(ctx), somewhere(), name, wrong, "")
		if err == nil {
			statuses[answered.status].Add(1)
		}
		rest(ctx, time.Second/2+rand.N(time.Second)) //nolint:gosec // spreads them, and guards nothing
		if ctx.Err() != nil {
			return
		}
	}
}

// fresh returns such a name.
func (a attackers) fresh(n int) string {
	if a.Strangers > 0 {
		return fmt.Sprintf("stranger-%d", 1+rand.IntN(a.Strangers)) //nolint:gosec // any
	}
	return fmt.Sprintf("nobody-%d-%d", n, time.Now().UnixNano())
}

// String implements [fmt.Stringer].
func (t told) String() string {
	var parts []string
	for status := range 600 {
		if n := t[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d × %d", n, status))
		}
	}
	return strings.Join(parts, "  ")
}
