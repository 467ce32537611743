package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// regular is an honest client with a session of its own, who behaves as
// docs/refresh.md asks: it makes a key before it refreshes, tries again with the
// same token and the same key until there is an answer, and gives up its session
// for nothing. While servers and stores come and go, it must always be able to go
// on from the latest answer that it got.
type regular struct {
	caller  *caller
	diary   *diary
	node    int // that it asks until that one fails
	refresh refreshToken
	access  accessToken
	turn    int
}

// diary is what all regulars have seen.
type diary struct {
	mu   sync.Mutex
	page page
}

// page is what they have seen since somebody last turned one.
type page struct {
	refreshes   int           // that were answered with the next token
	retries     int           // tries that were not answered, or with 503
	unavailable int           // 503
	slowest     time.Duration // answer, good or 503
	longest     time.Duration // refresh, all tries included
	problems    []error
}

func (d *diary) note(write func(*page)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	write(&d.page)
}

func (d *diary) problem(format string, args ...any) {
	d.note(func(p *page) { p.problems = append(p.problems, fmt.Errorf(format, args...)) })
}

// turn returns the page, and begins another.
func (d *diary) turn() page {
	var full page
	d.note(func(p *page) { full, *p = *p, page{} })
	return full
}

// regularPatience is longer than any server may take: that it answers in time is
// what is measured.
const regularPatience = 20 * time.Second

// newRegulars signs up so many users, each with a session.
func newRegulars(ctx context.Context, nodes []string, n int, d *diary) ([]*regular, error) {
	c := newCaller(nodes, n, regularPatience)
	regulars := make([]*regular, n)
	for k := range regulars {
		r := &regular{caller: c, diary: d, node: k % len(nodes)}
		name := fmt.Sprintf("regular-%d-%d", k, rand.Uint32()) //nolint:gosec // only has to be another
		answer, err := c.send(ctx, r.node, call{method: "POST", path: "/auth/signup", body: map[string]string{
			"username": name, "password": testPassword, "delivery": "body",
		}})
		if err == nil && answer.status != http.StatusCreated {
			err = fmt.Errorf("%d %s", answer.status, answer.Code)
		}
		if err != nil {
			return nil, fmt.Errorf("sign up: %w", err)
		}
		r.adopt(answer)
		regulars[k] = r
	}
	return regulars, nil
}

func (r *regular) adopt(a *reply) {
	r.refresh = refreshToken{session: a.Session.ID, generation: a.Session.Generation, secret: a.RefreshToken}
	r.access = accessToken{session: a.Session.ID, secret: a.AccessToken}
}

// live refreshes again and again, and looks who it is now and then, until the
// context ends.
func (r *regular) live(ctx context.Context, pause time.Duration) {
	for ctx.Err() == nil {
		r.turn++
		if r.turn%4 == 0 {
			r.me(ctx)
		} else {
			_ = r.goOn(ctx) // a refresh that was begun when the context ended goes on later
		}
		sleep(ctx, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// goOn refreshes the session, with as many tries as it takes.
func (r *regular) goOn(ctx context.Context) error {
	begin := time.Now()
	for ctx.Err() == nil {
		answer, err := r.try()
		switch {
		case err != nil:
			r.diary.problem("%w", err)
			return err
		case answer != nil:
			r.diary.note(func(p *page) {
				p.refreshes++
				p.longest = max(p.longest, time.Since(begin))
			})
			return nil
		}
		r.diary.note(func(p *page) { p.retries++ })
		r.node = (r.node + 1) % len(r.caller.nodes)
		sleep(ctx, 50*time.Millisecond)
	}
	return ctx.Err()
}

var errSignedOut = errors.New("an honest client was refused")

// try is one try at refreshing the session. It returns nil if it was not answered,
// or with 503, and an error for an answer that no honest client deserves.
func (r *regular) try() (*reply, error) {
	if r.refresh.key == "" {
		r.refresh.key = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) //nolint:gosec // nobody steals it here
	}
	answer := r.ask(call{
		method: "POST", path: "/auth/refresh", body: map[string]string{"refresh_token": r.refresh.secret},
		key: fmt.Sprintf(`"%s";generation=%d`, r.refresh.key, r.refresh.generation),
	})
	switch {
	case answer == nil:
		return nil, nil
	case answer.status != http.StatusOK || answer.Session.Generation != r.refresh.generation+1 || answer.RefreshToken == "":
		return nil, fmt.Errorf("%w at generation %d: %d %s %s, generation %d",
			errSignedOut, r.refresh.generation, answer.status, answer.Code, answer.Reason, answer.Session.Generation)
	}
	r.adopt(answer)
	return answer, nil
}

// me asks who is signed in. The access token is of the latest refresh, so that only
// silence is an excuse.
func (r *regular) me(context.Context) {
	answer := r.ask(call{method: "GET", path: "/auth/me", bearer: r.access.secret})
	switch {
	case answer == nil:
		r.diary.note(func(p *page) { p.retries++ })
	case answer.status != http.StatusOK || answer.Session.ID != r.access.session:
		r.diary.problem("%w: GET /auth/me: %d %s", errSignedOut, answer.status, answer.Code)
	}
}

// ask sends a request, and returns nil if there was no answer, or one that is no
// verdict: a 503, which has to say when to come back.
func (r *regular) ask(c call) *reply {
	begin := time.Now()
	// A client that stops does not hang up: it would not learn what it was told.
	answer, err := r.caller.send(context.Background(), r.node, c)
	if err != nil {
		return nil
	}
	r.diary.note(func(p *page) {
		p.slowest = max(p.slowest, time.Since(begin))
		if answer.status == http.StatusServiceUnavailable {
			p.unavailable++
		}
	})
	if answer.status != http.StatusServiceUnavailable {
		return answer
	}
	if seconds, err := strconv.Atoi(answer.retryAfter); err != nil || seconds < 1 || answer.Code != "unavailable" {
		r.diary.problem("a 503 with Retry-After %q and code %q", answer.retryAfter, answer.Code)
	}
	return nil
}

// liveAll lets all regulars live until the context ends, and returns when they have
// stopped.
func liveAll(ctx context.Context, regulars []*regular, pause time.Duration) {
	var all sync.WaitGroup
	for _, r := range regulars {
		all.Go(func() { r.live(ctx, pause) })
	}
	all.Wait()
}

// goOnAll makes every regular go on from where it is.
func goOnAll(ctx context.Context, regulars []*regular, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	problems := make([]error, len(regulars))
	var all sync.WaitGroup
	for k, r := range regulars {
		all.Go(func() { problems[k] = r.goOn(ctx) })
	}
	all.Wait()
	return errors.Join(problems...)
}
