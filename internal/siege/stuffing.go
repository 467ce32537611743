package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	oneAccount = time.Minute
	// One person in so many has the same password elsewhere, where it was stolen.
	reused = 100
	// witnesses are owners who sign in during and after it all.
	witnesses = 50
	workers   = 32
)

// How many wrong passwords are looked at in an hour, at most. docs/threat-model.md says
// it, and TestGuessesInTime of the root computes it.
const (
	hourOfNetwork = 22 // whatever the accounts
	hourOfAccount = 16 // from wherever
)

// stuffing tries stolen pairs of names and passwords: first one at each account, in
// three rounds; then all addresses at one account.
type stuffing struct {
	out       io.Writer
	accounts  int
	addresses int
	one       time.Duration

	server *server
}

// tally is what the attackers were told.
type tally struct{ entered, looked, early, busy, other atomic.Int64 }

func (t *tally) count(a answer) {
	switch a.status {
	case http.StatusOK, http.StatusCreated:
		t.entered.Add(1)
	case http.StatusUnauthorized:
		t.looked.Add(1)
	case http.StatusTooManyRequests:
		t.early.Add(1)
	case http.StatusServiceUnavailable:
		t.busy.Add(1)
	default:
		t.other.Add(1)
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d got in, %d wrong, %d refused unseen (429), %d busy (503), %d other",
		t.entered.Load(), t.looked.Load(), t.early.Load(), t.busy.Load(), t.other.Load())
}

// add counts what another one has counted as well.
func (t *tally) add(other *tally) {
	t.entered.Add(other.entered.Load())
	t.looked.Add(other.looked.Load())
	t.early.Add(other.early.Load())
	t.busy.Add(other.busy.Load())
	t.other.Add(other.other.Load())
}

// within returns an error if more got through in some time than may in an hour.
func (t *tally) within(hour int, took time.Duration) error {
	switch looked := t.looked.Load(); {
	case t.other.Load() > 0:
		return fmt.Errorf("%d answers were none that a sign-in has", t.other.Load())
	case took > time.Hour:
		return fmt.Errorf("it took %s, and what may get through is known for an hour", took.Round(time.Second))
	case looked > int64(hour):
		return fmt.Errorf("%d wrong passwords were looked at, and %d may be", looked, hour)
	}
	return nil
}

func (s *stuffing) run(ctx context.Context) (err error) {
	users, err := people(ctx, "ada", s.accounts)
	if err != nil {
		return err
	}
	if s.server, err = open(ctx, users); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.server.close()) }()
	devices, err := s.meet(ctx)
	if err != nil {
		return err
	}
	all, began := &tally{}, time.Now()
	for round := range 3 {
		t, err := s.stuff(ctx, round)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "round %d, %d accounts from %d addresses, one password each: %v\n", round+1, s.accounts, s.addresses, t)
		all.add(t)
	}
	stuffed := all.within(hourOfNetwork*s.addresses, time.Since(began))
	known, strange, err := s.witness(ctx, devices)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "then %d owners sign in: %d of %d at once on a device that is known, %d of %d at once on a new one\n",
		witnesses, known, witnesses, strange, witnesses)
	if known != witnesses || strange != witnesses {
		stuffed = errors.Join(stuffed, errors.New("owners noticed"))
	}
	return errors.Join(stuffed, s.besiege(ctx, devices[0]))
}

// meet signs witnesses in for the first time.
func (s *stuffing) meet(ctx context.Context) ([]string, error) {
	devices := make([]string, witnesses)
	for i := range devices {
		entered, err := s.server.enter(ctx, fmt.Sprintf("192.0.2.%d", i+1), name(i))
		if err != nil {
			return nil, err
		}
		devices[i] = entered.Device
	}
	return devices, nil
}

func name(i int) string { return fmt.Sprintf("ada-%d", i+1) }

// address is that of one of the attackers.
func (s *stuffing) address(i int) string {
	n := i % s.addresses
	return fmt.Sprintf("10.1.%d.%d", n>>8, n&0xff)
}

// stuff tries one password at each account. In each round it is the right one of some,
// none of whom is a witness.
func (s *stuffing) stuff(ctx context.Context, round int) (*tally, error) {
	t := &tally{}
	var next atomic.Int64
	err := s.atOnce(ctx, func() (bool, error) {
		i := int(next.Add(1)) - 1
		if i >= s.accounts {
			return false, nil
		}
		password := wrong
		if i >= witnesses && i%reused == round {
			password = right
		}
		for {
			a, err := s.server.login(ctx, s.address(i), name(i), password, "")
			if err != nil {
				return false, err
			}
			if a.status != http.StatusServiceUnavailable {
				t.count(a)
				return true, nil
			}
			rest(ctx, time.Second)
		}
	})
	return t, err
}

// atOnce calls do with as many workers as there are, until it returns false.
func (s *stuffing) atOnce(ctx context.Context, do func() (bool, error)) error {
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil && failed.Load() == nil {
				more, err := do()
				if err != nil {
					failed.Store(&err)
				}
				if !more {
					return
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// witness counts the owners who get in at their first try: on a device that is known,
// and on one that is not, at home.
func (s *stuffing) witness(ctx context.Context, devices []string) (known, strange int, err error) {
	for i, device := range devices {
		for _, as := range []string{device, ""} {
			a, err := s.server.login(ctx, fmt.Sprintf("192.0.2.%d", i+1), name(i), right, as)
			switch {
			case err != nil:
				return 0, 0, err
			case a.status != http.StatusOK:
			case as != "":
				known++
			default:
				strange++
			}
		}
	}
	return known, strange, nil
}

// besiege guesses at one account from all addresses, as fast as they can, while its
// owner signs in again and again.
func (s *stuffing) besiege(ctx context.Context, device string) error {
	t := &tally{}
	began := time.Now()
	deadline := began.Add(s.one)
	var owner sync.WaitGroup
	var visits, refused int
	owner.Go(func() {
		for time.Now().Before(deadline) && ctx.Err() == nil {
			a, err := s.server.login(ctx, "192.0.2.1", name(0), right, device)
			visits++
			if err != nil || a.status != http.StatusOK {
				refused++
			}
			rest(ctx, time.Second)
		}
	})
	var next atomic.Int64
	err := s.atOnce(ctx, func() (bool, error) {
		a, err := s.server.login(ctx, s.address(int(next.Add(1))), name(0), wrong, "")
		if err == nil {
			t.count(a)
		}
		return time.Now().Before(deadline), err
	})
	owner.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "one account for %s from %d addresses: %v\n", s.one, s.addresses, t)
	fmt.Fprintf(s.out, "its owner signed in %d times meanwhile and was refused %d times\n", visits, refused)
	a, err := s.server.login(ctx, "192.0.2.1", name(0), right, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "on a device that never signed in before, the owner is told: %d, Retry-After %q\n", a.status, a.header.Get("Retry-After"))
	missed := []error{t.within(hourOfAccount, time.Since(began)), waits(a)}
	if refused > 0 {
		missed = append(missed, errors.New("the owner noticed"))
	}
	if n := t.entered.Load(); n > 0 {
		missed = append(missed, fmt.Errorf("%d got in with a wrong password", n))
	}
	return errors.Join(missed...)
}

// waits returns an error unless whoever is told this is in, or knows when to try again
// within an hour.
func waits(a answer) error {
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status == http.StatusOK || a.status == http.StatusTooManyRequests && err == nil && seconds <= 3600 {
		return nil
	}
	return fmt.Errorf("on a new device the owner is told %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
}
