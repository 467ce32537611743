package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

// game is one round.
type game struct {
	author
	inn         *inn
	description *openapi.Description
	wire        wire
	tally       *tally
	failures    []error
	known       map[string]bool // what is wrong with an answer, seen before
}

// playRound sends so many requests to an inn of its own. The error holds the
// answers that were wrong, each with its request.
func playRound(ctx context.Context, seed uint64, round, requests int) (*tally, error) {
	limits := innkeeper.LimitAccountsAndNetworks
	if round%2 == 1 {
		limits = innkeeper.InsecureLimitNothing // else few would get far
	}
	inn, err := openInn(ctx, round%4 == 3, limits)
	if err != nil {
		return nil, err
	}
	defer inn.close()
	g := &game{inn: inn, tally: newTally(), known: make(map[string]bool), wire: wire{addr: inn.addr}}
	defer g.wire.close()
	g.dice = dice{rand.New(rand.NewPCG(seed, uint64(round)))} //nolint:gosec // choices that can be made again
	g.bag = make(bag)
	w := httptest.NewRecorder()
	inn.api.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/openapi.json", nil))
	if g.description, err = openapi.Read(w.Body.Bytes()); err != nil {
		return nil, err
	}
	// Some tokens are old, and the key in reserve may sign, when the round begins.
	if err := inn.furnish(ctx, g.dice, g.bag); err != nil {
		return nil, fmt.Errorf("furnish: %w", err)
	}
	inn.advance(time.Hour)
	for n := range requests {
		if n%100 == 0 {
			if err := inn.furnish(ctx, g.dice, g.bag); err != nil {
				return g.tally, fmt.Errorf("furnish before request %d: %w", n, err)
			}
		}
		if err := g.play(ctx); err != nil {
			g.failed(fmt.Errorf("request %d: %w", n, err))
		}
		if len(g.failures) == maxFailures || ctx.Err() != nil {
			break
		}
	}
	return g.tally, errors.Join(g.failures...)
}

// maxFailures is how many different ones end a round.
const maxFailures = 10

// failed keeps the first failure of a kind.
func (g *game) failed(err error) {
	var wrong *wrongAnswerError
	if errors.As(err, &wrong) {
		if g.known[wrong.Error()] {
			return
		}
		g.known[wrong.Error()] = true
		err = fmt.Errorf("%w\n%s", err, wrong.report)
	}
	g.failures = append(g.failures, err)
}

// wrongAnswerError is what is wrong with an answer.
type wrongAnswerError struct {
	where  string
	err    error
	report string
}

func (e *wrongAnswerError) Error() string { return e.where + ": " + e.err.Error() }

func (e *wrongAnswerError) Unwrap() error { return e.err }

// play sends one request and judges the answer.
func (g *game) play(ctx context.Context) error {
	g.inn.advance(20 * time.Millisecond)
	g.now = time.UnixMicro(g.inn.now.Load()).UTC()
	d := g.write(pick(g.dice, g.description.Operations))
	if g.percent(55) {
		g.spoil(d)
	}
	wired := g.percent(10)
	d.hangUp = !wired && g.percent(1)
	text := d.text()
	r := understood(text)
	var (
		a   *answer
		err error
	)
	if wired || r == nil { // what is not understood is for a real server to refuse
		g.tally.wired++
		a, err = g.wire.send(ctx, text, d.method)
	} else {
		a, err = g.inn.hand(ctx, r, fmt.Sprintf("192.0.2.%d:4711", g.IntN(256)), d.hangUp)
	}
	where := d.operation.ID
	if err == nil {
		where, err = judge(g.description, d, r, a)
		g.tally.count(where, a.status)
	}
	if faults := g.inn.log.take(); err == nil && !d.hangUp && len(faults) > 0 {
		err = fmt.Errorf("it logged %s", strings.Join(faults, "; "))
	}
	if err != nil {
		return &wrongAnswerError{where: where, err: err, report: report(d, text, a)}
	}
	if a.status < http.StatusMultipleChoices {
		g.learn(where, a)
	}
	return nil
}

// report shows a request and its answer, cut short.
func report(d *draft, text []byte, a *answer) string {
	const most = 3000
	if len(text) > most {
		text = append(text[:most:most], " …"...)
	}
	shown := fmt.Sprintf("made for %s, spoiled by %q\n--- request\n%q\n", d.operation.ID, d.spoiled, text)
	if a != nil {
		shown += fmt.Sprintf("--- answer\n%d %v\n%.*s", a.status, a.header, most, a.body)
	}
	return shown
}

// learn puts what an answer gives away into the bag.
func (g *game) learn(where string, a *answer) {
	var given struct {
		ID           string                 `json:"id"`
		Secret       string                 `json:"secret"`
		Username     string                 `json:"username"`
		AccessToken  string                 `json:"access_token"`
		RefreshToken string                 `json:"refresh_token"`
		DeviceToken  string                 `json:"device_token"`
		Session      struct{ ID string }    `json:"session"`
		Keys         []struct{ Kid string } `json:"keys"`
	}
	if json.Unmarshal(a.body, &given) != nil {
		given.ID = "" // no object, or one of another kind: what was read of it is right
	}
	g.put(g.dice, "access", given.AccessToken)
	g.put(g.dice, "refresh:body", given.RefreshToken)
	g.put(g.dice, "device", given.DeviceToken)
	g.put(g.dice, "session", given.Session.ID)
	for _, key := range given.Keys {
		g.put(g.dice, "key", key.Kid)
	}
	switch where {
	case "createUser":
		g.put(g.dice, "user", given.ID)
		g.put(g.dice, "username", given.Username)
	case "addService":
		g.put(g.dice, "service", given.ID)
		g.put(g.dice, "secret", given.Secret)
	case "addWebhook":
		g.put(g.dice, "webhook", given.ID)
	}
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		if cookie.Name == refreshCookie {
			g.put(g.dice, "refresh:cookie", cookie.Value)
		}
	}
}
