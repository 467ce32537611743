package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// lodger is a user with a few sessions, all of which somebody will end.
type lodger struct {
	name, id string
	password string
	stays    []*stay
}

// stay is one session, with its newest tokens.
type stay struct {
	refresh refreshToken
	used    string // the refresh token of the generation before; empty: there was none
	pass    *pass
}

// warden lets lodgers in and throws them out, one thing after the other, at nodes
// chosen at random. Each has an administrator's session of its own.
type warden struct {
	caller *caller
	ledger *ledger
	rng    *rand.Rand
	admin  *stay
	node   int // that was asked last
}

func newWarden(ctx context.Context, c *caller, l *ledger, seed, id uint64) (*warden, error) {
	w := &warden{caller: c, ledger: l, rng: rand.New(rand.NewPCG(seed, id))} //nolint:gosec // it has to be the same again
	var err error
	w.admin, err = w.signIn(ctx, administrator, testPassword)
	return w, err
}

// A warden tries this often, and as far apart, what is not answered.
const (
	wardenTries = 40
	wardenPause = 50 * time.Millisecond
	// passwordPatience is for an answer that takes a password to be hashed, behind those
	// of all others. Who hangs up sooner has it done for nothing, and comes back for more.
	passwordPatience = 30 * time.Second
)

var errNoAnswer = errors.New("no answer, after all tries")

// send sends a request to some node. It returns nil if there was no answer.
func (w *warden) send(ctx context.Context, c call) *reply {
	w.node = w.rng.IntN(len(w.caller.nodes))
	answer, err := w.caller.send(ctx, w.node, c)
	if err != nil {
		return nil
	}
	return answer
}

// ask does the same, and returns nil as well for an answer that is no verdict.
func (w *warden) ask(ctx context.Context, c call) *reply {
	answer := w.send(ctx, c)
	if answer == nil || !answer.isVerdict() {
		return nil
	}
	return answer
}

// insist sends a password until there is a verdict, and no sooner again than it was told
// to: a server whose hands are full of passwords says when to come back.
func (w *warden) insist(ctx context.Context, c call) (*reply, error) {
	c.patience = passwordPatience
	for range wardenTries {
		pause := wardenPause
		if answer := w.send(ctx, c); answer != nil {
			if answer.isVerdict() {
				return answer, nil
			}
			seconds, _ := strconv.Atoi(answer.retryAfter)
			pause = max(pause, time.Duration(seconds)*time.Second)
		}
		sleep(ctx, pause)
	}
	return nil, errors.Join(fmt.Errorf("%s %s: %w", c.method, c.path, errNoAnswer), ctx.Err())
}

// moveIn signs a new user up, with so many sessions.
func (w *warden) moveIn(ctx context.Context, name string, sessions int) (*lodger, error) {
	l := &lodger{name: name, password: testPassword}
	answer, err := w.insist(ctx, call{method: "POST", path: "/auth/signup", body: map[string]string{
		"username": name, "password": l.password, "delivery": "body",
	}})
	switch {
	case err != nil:
		return nil, err
	case answer.status == http.StatusCreated:
		first, err := w.adopt(answer)
		if err != nil {
			return nil, err
		}
		l.stays = append(l.stays, first)
	case answer.status != http.StatusConflict: // otherwise the answer to a try before was lost
		return nil, unexpected("sign up", answer)
	}
	for len(l.stays) < sessions {
		next, err := w.signIn(ctx, name, l.password)
		if err != nil {
			return nil, err
		}
		l.stays = append(l.stays, next)
	}
	l.id = l.stays[0].pass.user
	return l, nil
}

func (w *warden) signIn(ctx context.Context, name, password string) (*stay, error) {
	answer, err := w.insist(ctx, call{method: "POST", path: "/auth/login", body: map[string]string{
		"username": name, "password": password, "delivery": "body",
	}})
	if err == nil && answer.status != http.StatusOK {
		err = unexpected("sign in", answer)
	}
	if err != nil {
		return nil, err
	}
	return w.adopt(answer)
}

func unexpected(what string, answer *reply) error {
	return fmt.Errorf("%s: unexpected answer: %d %s %s", what, answer.status, answer.Code, answer.Reason)
}

// adopt makes a stay of the tokens of an answer.
func (w *warden) adopt(answer *reply) (*stay, error) {
	p, err := w.ledger.admit(answer.AccessToken)
	return &stay{refresh: newestToken(answer), pass: p}, err
}

func newestToken(answer *reply) refreshToken {
	return refreshToken{session: answer.Session.ID, generation: answer.Session.Generation, secret: answer.RefreshToken}
}

// renew refreshes a session. It returns an answer that is no success to the caller,
// and nil if there is none.
func (w *warden) renew(ctx context.Context, s *stay) (*reply, error) {
	if s.refresh.key == "" {
		s.refresh.key = fmt.Sprintf("%016x%016x", w.rng.Uint64(), w.rng.Uint64())
	}
	answer := w.ask(ctx, call{
		method: "POST", path: "/auth/refresh", body: map[string]string{"refresh_token": s.refresh.secret},
		key: fmt.Sprintf(`"%s";generation=%d`, s.refresh.key, s.refresh.generation),
	})
	if answer == nil || answer.status != http.StatusOK {
		return answer, nil
	}
	p, err := w.ledger.admit(answer.AccessToken)
	if err == nil {
		s.used, s.refresh, s.pass = s.refresh.secret, newestToken(answer), p
	}
	return answer, err
}

// renewOnce renews a session, with as many tries as it takes.
func (w *warden) renewOnce(ctx context.Context, s *stay) error {
	for range wardenTries {
		answer, err := w.renew(ctx, s)
		switch {
		case err != nil:
			return err
		case answer == nil:
			sleep(ctx, wardenPause)
		case answer.status != http.StatusOK:
			return unexpected("refresh of "+s.pass.String(), answer)
		default:
			return nil
		}
	}
	return errors.Join(fmt.Errorf("refresh of %s: %w", s.pass, errNoAnswer), ctx.Err())
}

// refreshUntilAlive renews a session until its access token is not of a key that has
// been withdrawn. Servers that have not learned of that yet go on signing with it
// for a moment.
func (w *warden) refreshUntilAlive(ctx context.Context, s *stay) error {
	for range wardenTries {
		if s.pass.lives() {
			return nil
		}
		if err := w.renewOnce(ctx, s); err != nil {
			return err
		}
		if !s.pass.lives() {
			sleep(ctx, wardenPause)
		}
	}
	return fmt.Errorf("after %d refreshes the access token is still of %s", wardenTries, s.pass)
}

// keepKey has the warden's own session outlive the end of a key.
func (w *warden) keepKey(ctx context.Context) error { return w.refreshUntilAlive(ctx, w.admin) }
