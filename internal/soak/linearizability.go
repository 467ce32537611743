package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The size of a history. Four clients over three sessions race enough, and keep a
// user's part of a history small enough to check in no time.
const (
	people        = 8
	guestsPerUser = 4
	jarsPerUser   = 3
	patience      = 2 * time.Second // of a client for one answer
)

// trial is a run of histories over one inn.
type trial struct {
	store     string
	nodes     []string // URLs
	seed      uint64   // of the first history; the next one has the next
	histories uint64
	failures  string // the directory for histories that are not linearizable
	out       io.Writer
	// strike breaks what it likes while guests are there, and has mended it when it
	// returns.
	strike func(ctx context.Context, rec *recorder, seed uint64) error
}

// run plays histories and checks each. Users and sessions are new in each; servers
// and databases go on, with all that the faults of before have left behind.
func (t *trial) run(ctx context.Context) (*figures, error) {
	f := newFigures(t.store)
	begin := time.Now()
	for seed := t.seed; seed < t.seed+t.histories && ctx.Err() == nil; seed++ {
		h, err := t.play(ctx, seed)
		if err != nil {
			return f, fmt.Errorf("history with seed %d: %w", seed, err)
		}
		checked := time.Now()
		v := check(h)
		f.checking += time.Since(checked)
		f.add(h, v)
		if v != linearizable {
			lines, err := report(h, t.failures)
			fmt.Fprintf(t.out, "seed %d: %s\n\t%s\n", h.Seed, v, strings.Join(lines, "\n\t"))
			if err != nil {
				return f, err
			}
		}
	}
	f.elapsed = time.Since(begin)
	return f, nil
}

// play is one history.
func (t *trial) play(ctx context.Context, seed uint64) (*History, error) {
	rec := newRecorder(t.store, seed)
	caller := newCaller(t.nodes, people*guestsPerUser, patience)
	defer caller.close()
	guests, err := admit(ctx, caller, rec, seed)
	if err != nil {
		return nil, err
	}
	admin, err := newAdmin(caller, rec, seed, guests)
	if err != nil {
		return nil, err
	}

	mended, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for _, g := range guests {
		all.Go(func() {
			for mended.Err() == nil {
				g.act()
			}
		})
	}
	all.Go(func() { admin.act(mended) })
	err = t.strike(ctx, rec, seed)
	stop()
	all.Wait()
	if err == nil {
		err = settleAll(guests)
	}
	return &rec.history, err
}

// admit signs new people up, and seats their guests.
func admit(ctx context.Context, caller *caller, rec *recorder, seed uint64) ([]*guest, error) {
	guests := make([]*guest, 0, people*guestsPerUser)
	for k := range people {
		p := &person{name: fmt.Sprintf("p%d-%d-%d", seed, rec.begin.UnixMicro(), k)}
		for range jarsPerUser {
			p.jars = append(p.jars, &jar{})
		}
		for range guestsPerUser {
			id := len(guests)
			guests = append(guests, &guest{
				id: id, person: p, caller: caller, rec: rec, node: id % len(caller.nodes),
				rng: rand.New(rand.NewPCG(seed, uint64(1+id))), //nolint:gosec // it has to be the same again
			})
		}
		answer, err := guests[len(guests)-1].signUp()
		if err != nil {
			return nil, err
		}
		p.id = answer.User.ID
		p.jars[0].adopt(answer)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return guests, nil
}

// settleAll lets one guest of each person have the last word.
func settleAll(guests []*guest) error {
	problems := make([]error, len(guests))
	var all sync.WaitGroup
	for k := 0; k < len(guests); k += guestsPerUser {
		all.Go(func() { problems[k] = guests[k].settle() })
	}
	all.Wait()
	return errors.Join(problems...)
}

// admin is the administrator, who now and then locks somebody out for a moment.
type admin struct {
	*guest
	token  string
	guests []*guest
}

// newAdmin signs the administrator in. Servers may still recover from the faults of the
// history before, so it asks until it is answered.
func newAdmin(caller *caller, rec *recorder, seed uint64, guests []*guest) (*admin, error) {
	self := &guest{
		id: len(guests), caller: caller, rec: rec,
		rng: rand.New(rand.NewPCG(seed, 1000)), //nolint:gosec // it has to be the same again
	}
	var answer *reply
	err := self.untilAnswered(func() *reply {
		var err error
		answer, err = caller.send(context.Background(), 0, call{method: "POST", path: "/auth/login", body: map[string]string{
			"username": administrator, "password": testPassword, "delivery": "body",
		}})
		if err != nil || answer.status == http.StatusServiceUnavailable {
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		return answer
	})
	if err == nil && answer.status != http.StatusOK {
		err = fmt.Errorf("%d %s", answer.status, answer.Code)
	}
	if err != nil {
		return nil, fmt.Errorf("sign in as %s: %w", administrator, err)
	}
	return &admin{guest: self, token: answer.AccessToken, guests: guests}, nil
}

// act locks one person out, and in again.
func (a *admin) act(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Duration(a.rng.Int64N(int64(2 * time.Second)))):
	}
	a.person = a.guests[a.rng.IntN(len(a.guests))].person
	for _, kind := range []Kind{Disable, Enable} {
		_ = a.untilAnswered(func() *reply { // if it never is, the person stays out, and settle says so
			return a.ask(Operation{Kind: kind}, call{
				method: "PATCH", path: "/admin/users/" + a.person.id, body: map[string]bool{"disabled": kind == Disable}, bearer: a.token,
			})
		})
	}
}
