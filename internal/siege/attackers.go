package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
// They are a process of their own, to which the machine gives what nobody else wants:
// those of the real world are elsewhere, and take no core from the server.
type attackers struct {
	URL   string        `json:"url"`
	Count int           `json:"count"`
	For   time.Duration `json:"for"` // nanoseconds
	// Strangers are so many users, "stranger-1" and on, whose names are guessed at instead
	// of such that nobody has.
	Strangers int `json:"strangers"`
}

// attackVariable holds the attackers that a process of this program is to be.
const attackVariable = "INNKEEPER_SIEGE_ATTACKERS"

// told is how often the attackers were told what, by status.
type told map[int]int64

// run starts the process and waits until it has attacked for as long as it should.
func (a attackers) run(ctx context.Context) (told, error) {
	plan, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", self) //nolint:gosec // G204: this program
	cmd.Env = append(os.Environ(), attackVariable+"="+string(plan))
	cmd.Stdout, cmd.Stderr = &printed, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("attackers: %w", err)
	}
	var t told
	err = json.Unmarshal(printed.Bytes(), &t)
	return t, err
}

// attackIfAsked is all that a process does that [attackers.run] has started.
func attackIfAsked() {
	plan, asked := os.LookupEnv(attackVariable)
	if !asked {
		return
	}
	var a attackers
	err := json.Unmarshal([]byte(plan), &a)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(a.attack())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "siege:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
	os.Exit(0) //nolint:forbidigo // this is a program
}

func (a attackers) attack() told {
	ctx, cancel := context.WithTimeout(context.Background(), a.For)
	defer cancel()
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
// that each is a password to be compared.
func (a attackers) guess(ctx context.Context, s *server, n int, statuses *[600]atomic.Int64) {
	for i := n; ctx.Err() == nil; i++ {
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
