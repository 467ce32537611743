package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// guest is one client: one tab of a browser of a person. It does one thing after
// the other, at random, and writes down all of it.
type guest struct {
	id     int
	person *person
	rng    *rand.Rand
	caller *caller
	rec    *recorder
	node   int // that it asks, until that one fails
}

// habits are what guests do, and how often in a thousand times. Much of it is
// honest. A thief's part is there so that the rows for thieves are checked too.
var habits = []struct {
	often int
	do    func(*guest, *jar)
}{
	{480, (*guest).refresh},
	{120, (*guest).retry},
	{60, (*guest).lateDuplicate},
	{160, (*guest).me},
	{80, (*guest).sessions},
	{60, (*guest).haunt},
	{10, (*guest).mislabel},
	{8, (*guest).logOut},
	{5, (*guest).endOther},
	{6, (*guest).others},
	{3, (*guest).everywhere},
	{4, (*guest).steal},
	{4, (*guest).useStolen},
}

// act does one thing.
func (g *guest) act() {
	j := g.person.jars[g.rng.IntN(len(g.person.jars))]
	if j.beginSignIn() {
		g.signIn(j)
		j.endSignIn()
		return
	}
	if j.signedIn() == "" {
		time.Sleep(time.Millisecond) // another tab is signing in
		return
	}
	dice := g.rng.IntN(1000)
	for _, habit := range habits {
		if dice -= habit.often; dice < 0 {
			habit.do(g, j)
			return
		}
	}
}

// pause is short: a history should be full, also right after a fault.
func (g *guest) pause() {
	time.Sleep(20*time.Millisecond + time.Duration(g.rng.Int64N(int64(40*time.Millisecond))))
}

// ask sends a request and records it. A request that cannot have reached a server
// is none. The answer is nil if there was none.
func (g *guest) ask(op Operation, c call) *reply {
	op.Client, op.Node, op.User = g.id, g.node, g.person.name
	op.Call = g.rec.now()
	answer, err := g.caller.send(context.Background(), g.node, c)
	op.Return = g.rec.now()
	if errors.Is(err, errNotSent) || err == nil && answer.status == http.StatusTooManyRequests {
		g.elsewhere()
		return nil
	}
	op.Outcome = answer.outcome(err)
	g.rec.operation(op)
	if op.Outcome.Unknown {
		g.elsewhere()
		return nil
	}
	return answer
}

// elsewhere turns to another node, a little later.
func (g *guest) elsewhere() {
	g.pause()
	g.node = g.rng.IntN(len(g.caller.nodes))
}

// signUp makes a user of the person. A server may still recover from the faults of the
// history before, so it asks until it is answered: each time with another name, for that
// of a try without an answer may be taken.
func (g *guest) signUp() (*reply, error) {
	name, tries := g.person.name, 0
	var answer *reply
	err := g.untilAnswered(func() *reply {
		g.person.name = fmt.Sprintf("%s-%d", name, tries)
		tries++
		answer = g.ask(Operation{Kind: SignIn}, call{method: "POST", path: "/auth/signup", body: map[string]string{
			"username": g.person.name, "password": testPassword, "delivery": "body",
		}})
		return answer
	})
	if err == nil && answer.status != http.StatusCreated {
		err = fmt.Errorf("sign %s up: %v", g.person.name, answer)
	}
	return answer, err
}

func (g *guest) signIn(j *jar) {
	answer := g.ask(Operation{Kind: SignIn}, call{method: "POST", path: "/auth/login", body: map[string]string{
		"username": g.person.name, "password": testPassword, "delivery": "body",
	}})
	switch {
	case answer == nil:
	case answer.status == http.StatusOK:
		j.adopt(answer)
	default:
		g.pause() // disabled
	}
}

// present sends a refresh token with a key that says it is for some generation, and
// does with the answer what docs/refresh.md asks.
func (g *guest) present(j *jar, token refreshToken, key string, label int) *reply {
	in := Input{
		Session: token.session, Generation: token.generation, Token: fingerprint(token.secret), Key: key, Label: label,
	}
	header := ""
	if key != "" {
		header = fmt.Sprintf(`"%s";generation=%d`, key, label)
	}
	answer := g.ask(Operation{Kind: Refresh, Input: in}, call{
		method: "POST", path: "/auth/refresh", body: map[string]string{"refresh_token": token.secret}, key: header,
	})
	switch {
	case answer == nil:
	case answer.status == http.StatusOK:
		j.adopt(answer)
	case answer.status == http.StatusUnauthorized:
		g.person.bury(j.clear(token.session))
	}
	return answer
}

// refresh is what an honest client does when its access token grows old.
func (g *guest) refresh(j *jar) {
	if c, ok := j.behind(0, g.rng); ok {
		g.present(j, c.refresh, c.refresh.key, c.refresh.generation)
	}
}

// retry repeats the latest refresh on another node, as if its answer had been lost.
func (g *guest) retry(j *jar) {
	if c, ok := j.behind(1, g.rng); ok {
		g.node = (g.node + 1) % len(g.caller.nodes)
		g.present(j, c.refresh, c.refresh.key, c.refresh.generation)
	}
}

// lateDuplicate repeats an older refresh, as if the network had kept it. Most of
// them are recent enough for the server to recognize them; those that are not end
// the session, as they should.
func (g *guest) lateDuplicate(j *jar) {
	if c, ok := j.behind(2+int(5*g.rng.Float64()*g.rng.Float64()), g.rng); ok {
		g.present(j, c.refresh, c.refresh.key, c.refresh.generation)
	}
}

// mislabel sends a key that was made for another generation.
func (g *guest) mislabel(j *jar) {
	if c, ok := j.behind(g.rng.IntN(2), g.rng); ok {
		g.present(j, c.refresh, c.refresh.key, c.refresh.generation+1)
	}
}

// steal uses the current token without knowing its key, and throws the successor
// away: the owner will find out.
func (g *guest) steal(j *jar) {
	if c, ok := j.behind(0, g.rng); ok {
		g.present(&jar{}, c.refresh, fmt.Sprintf("stolen %016x", g.rng.Uint64()), c.refresh.generation)
	}
}

// useStolen uses a token that was copied a while ago, with another key or none.
func (g *guest) useStolen(j *jar) {
	c, ok := j.behind(1+g.rng.IntN(10), g.rng)
	if !ok {
		return
	}
	key, label := fmt.Sprintf("stolen %016x", g.rng.Uint64()), c.refresh.generation
	if g.rng.IntN(2) == 0 {
		key, label = "", 0
	}
	g.present(&jar{}, c.refresh, key, label)
}

func (g *guest) me(j *jar) {
	if c, ok := j.behind(0, g.rng); ok {
		g.askMe(c.access)
	}
}

func (g *guest) askMe(token accessToken) *reply {
	return g.ask(Operation{Kind: Me, Input: token.input()}, call{method: "GET", path: "/auth/me", bearer: token.secret})
}

func (t accessToken) input() Input { return Input{Session: t.session, Epoch: t.epoch} }

func (g *guest) sessions(j *jar) {
	if c, ok := j.behind(0, g.rng); ok {
		g.askSessions(c.access)
	}
}

func (g *guest) askSessions(token accessToken) *reply {
	return g.ask(Operation{Kind: Sessions, Input: token.input()},
		call{method: "GET", path: "/auth/sessions", bearer: token.secret})
}

// haunt tries what is left of a session that is over.
func (g *guest) haunt(*jar) {
	graves := g.person.graves()
	if len(graves) == 0 {
		return
	}
	dead := graves[g.rng.IntN(len(graves))]
	switch g.rng.IntN(5) {
	case 0, 1:
		g.askMe(dead.access)
	case 2:
		g.askLogOut(dead.refresh)
	default:
		g.present(&jar{}, dead.refresh, dead.refresh.key, dead.refresh.generation)
	}
}

func (g *guest) logOut(j *jar) {
	// Any token of the session will do.
	c, ok := j.behind(g.rng.IntN(3), g.rng)
	if !ok {
		return
	}
	if answer := g.askLogOut(c.refresh); answer != nil {
		g.person.bury(j.clear(c.refresh.session))
	}
}

func (g *guest) askLogOut(token refreshToken) *reply {
	in := Input{Session: token.session, Generation: token.generation, Token: fingerprint(token.secret)}
	return g.ask(Operation{Kind: Logout, Input: in}, call{
		method: "POST", path: "/auth/logout", body: map[string]string{"refresh_token": token.secret},
	})
}

// endOther ends the session of another browser of the same person.
func (g *guest) endOther(j *jar) {
	c, ok := j.behind(0, g.rng)
	other := g.person.jars[g.rng.IntN(len(g.person.jars))].signedIn()
	if !ok || other == "" {
		return
	}
	in := c.access.input()
	in.Target = other
	g.ask(Operation{Kind: End, Input: in}, call{method: "DELETE", path: "/auth/sessions/" + other, bearer: c.access.secret})
}

func (g *guest) others(j *jar)     { g.logOutWide(j, Others) }
func (g *guest) everywhere(j *jar) { g.logOutWide(j, Everywhere) }

func (g *guest) logOutWide(j *jar, scope Kind) {
	if c, ok := j.behind(0, g.rng); ok {
		g.ask(Operation{Kind: scope, Input: c.access.input()}, call{
			method: "POST", path: "/auth/logout", body: map[string]string{"scope": string(scope)}, bearer: c.access.secret,
		})
	}
}

// settle is the end of a history: when all faults are over, everybody gets an
// answer, and what was acknowledged has to be there still.
func (g *guest) settle() error {
	for _, j := range g.person.jars {
		if err := g.untilAnswered(func() *reply {
			c, ok := j.behind(0, g.rng)
			if !ok {
				return &reply{}
			}
			return g.present(j, c.refresh, c.refresh.key, c.refresh.generation)
		}); err != nil {
			return err
		}
		g.me(j)
		g.sessions(j)
	}
	for _, dead := range g.person.graves() {
		err := errors.Join(
			g.untilAnswered(func() *reply { return g.askMe(dead.access) }),
			g.untilAnswered(func() *reply {
				return g.present(&jar{}, dead.refresh, dead.refresh.key, dead.refresh.generation)
			}))
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) untilAnswered(ask func() *reply) error {
	for range 200 {
		if ask() != nil {
			return nil
		}
	}
	return fmt.Errorf("guest %d got no answer although all faults are over", g.id)
}
