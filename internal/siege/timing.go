package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/aclements/go-moremath/stats"
)

// timing asks questions whose answers must not tell who has an account (OWASP ASVS
// 6.3.8), and compares them: the bytes, and the time by the test of Mann and Whitney.
type timing struct {
	out   io.Writer
	tries int
	only  string // the name of the one question to ask; empty: all of them
	// bytesOnly leaves time out of the verdict: of a few tries beside other tests.
	bytesOnly bool
}

// question is asked in two ways that must look the same.
type question struct {
	name     string // which no other question has
	one, two string // the ways
	ask      [2]func(ctx context.Context, n int) (answer, error)
	differs  string // why it does not look the same, if it is known not to
}

// alpha is the chance to call two ways different that are not. There are a handful of
// questions, so one run in a hundred and fifty does for all of them.
const alpha = 0.001

func (t *timing) run(ctx context.Context) error {
	users, err := people(ctx, "ada", 2)
	if err != nil {
		return err
	}
	foreign, err := imported("imported", 10)
	if err != nil {
		return err
	}
	disabled := map[string]any{"username": "disabled", "password_hash": users[0]["password_hash"], "disabled": true}
	users = append(users, disabled, foreign)

	// One at a time, one after the other: how strangers are slowed down is looked at
	// below, with a server of its own.
	unlimited, err := open(ctx, users, "--sign-in-limits", "off", "--signup", "closed")
	if err != nil {
		return err
	}
	questions, err := t.questions(ctx, unlimited)
	known := names(questions)
	if err == nil {
		err = t.compareAll(ctx, questions)
	}
	if err = errors.Join(err, unlimited.close()); err != nil {
		return err
	}

	limited, err := open(ctx, users, "--signup", "open")
	if err != nil {
		return err
	}
	questions = t.limited(limited)
	known = append(known, names(questions)...)
	if err := errors.Join(t.compareAll(ctx, questions), limited.close()); err != nil {
		return err
	}
	if t.only != "" && !slices.Contains(known, t.only) {
		return fmt.Errorf("unknown question %q: choose one of %q", t.only, known)
	}
	return nil
}

func names(questions []question) []string {
	var all []string
	for i := range questions {
		all = append(all, questions[i].name)
	}
	return all
}

func (t *timing) questions(ctx context.Context, s *server) ([]question, error) {
	login := func(name, password string) func(context.Context, int) (answer, error) {
		return func(ctx context.Context, _ int) (answer, error) { return s.login(ctx, somewhere(), name, password, "") }
	}
	signup := func(name string) func(context.Context, int) (answer, error) {
		return func(ctx context.Context, _ int) (answer, error) {
			return s.post(ctx, "/auth/signup", somewhere(), "", map[string]string{"username": name, "password": right, "delivery": "body"})
		}
	}
	// Whoever has signed in has a hash of ours, and is compared with nobody. Imported ones
	// cost something else, and are not even computed in the same process.
	if _, err := s.enter(ctx, somewhere(), "ada-1"); err != nil {
		return nil, err
	}
	ada, err := s.enter(ctx, somewhere(), "ada-2")
	if err != nil {
		return nil, err
	}
	// That of who may not sign in is ours all the same after the right password.
	if _, err := s.login(ctx, somewhere(), "disabled", right, ""); err != nil {
		return nil, err
	}
	change := func(next string) func(context.Context, int) (answer, error) {
		return func(ctx context.Context, _ int) (answer, error) {
			return s.post(ctx, "/auth/password", somewhere(), ada.Access, map[string]string{"current_password": wrong, "new_password": next})
		}
	}
	return []question{
		{name: "sign-in, wrong password", one: "wrong password", two: "nobody of that name", ask: ways(login("ada-1", wrong), login("nobody", wrong))},
		{name: "sign-in, disabled", one: "disabled, and the password is right", two: "nobody of that name", ask: ways(login("disabled", right), login("nobody", right))},
		{
			name: "sign-in, imported", one: "wrong password, imported with bcrypt", two: "nobody of that name", ask: ways(login("imported", wrong), login("nobody", wrong)),
			differs: "an imported hash costs what the other program chose, until its user signs in",
		},
		{name: "sign-up, closed", one: "the name is taken", two: "the name is free", ask: ways(signup("ada-1"), signup("nobody"))},
		{name: "change of password", one: "wrong password, good new one", two: "wrong password, bad new one", ask: ways(change("tr0ub4dor and three more"), change("password"))},
	}, nil
}

// limited are the questions of whoever has no tries left, and of sign-up where it is open.
func (t *timing) limited(s *server) []question {
	refused := func(name string) func(context.Context, int) (answer, error) {
		return func(ctx context.Context, _ int) (answer, error) {
			for { // until it is refused: each has some tries now and then
				a, err := s.login(ctx, somewhere(), name, wrong, "")
				if err != nil || a.status == http.StatusTooManyRequests {
					a.header.Del("Retry-After") // how long is a matter of when it was tried before
					return a, err
				}
			}
		}
	}
	rejected := func(name string) func(context.Context, int) (answer, error) {
		return func(ctx context.Context, _ int) (answer, error) {
			return s.post(ctx, "/auth/signup", somewhere(), "", map[string]string{"username": name, "password": "password", "delivery": "body"})
		}
	}
	return []question{
		{name: "sign-in, too early", one: "somebody of that name", two: "nobody of that name", ask: ways(refused("ada-1"), refused("nobody"))},
		{name: "sign-up, bad password", one: "the name is taken", two: "the name is free", ask: ways(rejected("ada-1"), rejected("nobody"))},
	}
}

type way = func(context.Context, int) (answer, error)

func ways(one, two way) [2]func(context.Context, int) (answer, error) {
	return [2]func(context.Context, int) (answer, error){one, two}
}

func (t *timing) compareAll(ctx context.Context, questions []question) error {
	var told []error
	for _, q := range questions {
		if t.only != "" && q.name != t.only {
			continue
		}
		err := t.compare(ctx, q)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		told = append(told, err)
	}
	return errors.Join(told...)
}

// compare asks in both ways, in random order, so that whatever else the machine does
// befalls both alike.
func (t *timing) compare(ctx context.Context, q question) error {
	order := make([]int, t.tries)
	for i := range order {
		order[i] = i % 2
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // mixes them, and guards nothing
	var times [2][]float64
	var looks [2]map[string]bool
	for i, which := range order {
		a, err := q.ask[which](ctx, i)
		if err != nil {
			return err
		}
		times[which] = append(times[which], float64(a.took))
		if looks[which] == nil {
			looks[which] = map[string]bool{}
		}
		looks[which][look(a)] = true
	}
	result, err := stats.MannWhitneyUTest(times[0], times[1], stats.LocationDiffers)
	if err != nil {
		return err
	}
	// The chance that an answer of the first way took longer than one of the second: a
	// half if time tells nothing.
	chance := result.U / float64(len(times[0])*len(times[1]))
	fmt.Fprintf(t.out, "%s: %s | %s\n  %d tries, medians %.2f and %.2f ms, P(first is slower) %.3f, p = %.3f\n",
		q.name, q.one, q.two, t.tries, median(times[0]), median(times[1]), chance, result.P)
	switch {
	case !maps.Equal(looks[0], looks[1]):
		return fmt.Errorf("%s: the answers differ: %v and %v", q.name, keys(looks[0]), keys(looks[1]))
	case q.differs != "":
		fmt.Fprintf(t.out, "  %s\n", q.differs)
	case result.P < alpha && !t.bytesOnly:
		return fmt.Errorf("%s: time tells %s from %s", q.name, q.one, q.two)
	}
	return nil
}

// look is what can be seen of an answer: all but the time at which it was given.
func look(a answer) string {
	names := slices.Sorted(maps.Keys(a.header))
	return fmt.Sprintf("%d %v %s", a.status, names, a.body)
}

func keys(looks map[string]bool) []string { return slices.Sorted(maps.Keys(looks)) }

func median(times []float64) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2] / float64(time.Millisecond)
}
