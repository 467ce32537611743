package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKill9 kills the server without a warning, again and again, while clients
// refresh and log out, and starts it on the same data. Whatever it had answered
// must hold, whatever it had not must be settled by trying again, and nobody who
// is honest may be signed out.
func TestKill9(t *testing.T) {
	t.Parallel()
	const guests = 64
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	inn := &killedInn{server: newServer(t, "--log-level", "warn")}
	inn.client = &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: guests},
		Timeout:   20 * time.Second,
	}
	inn.run(testPassword, "user", "add", "ada", "--password-stdin")
	inn.start()
	all := make([]*guest, guests)
	for i := range all {
		all[i] = &guest{inn: inn}
	}
	each(all, func(g *guest) { g.untilSettled() }) // all of them sign in

	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		inn.logoutsLeft.Store(4) // each costs a sign-in, which is slow on purpose
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(50*time.Millisecond + rand.N(400*time.Millisecond))
			inn.kill()
			cancel()
		})
		each(all, func(g *guest) { g.liveUntil(ctx) })
		killed.Wait()
		inn.start()
		inn.restarted = time.Now()
		each(all, func(g *guest) { g.check() })
		if t.Failed() {
			t.Fatalf("the server said: %s", inn.out)
		}
	}
	t.Logf("%d kills: %d acknowledged rotations, %d of them replayed after a restart, %d acknowledged logouts, 0 honest sign-outs",
		rounds, inn.rotations.Load(), inn.replays.Load(), inn.logouts.Load())
	if inn.rotations.Load() == 0 || inn.logouts.Load() == 0 || !testing.Short() && inn.replays.Load() == 0 {
		t.Error("some of this never happened: the test proves nothing")
	}
}

// killedInn is a server that dies, and the counts of what it had answered.
type killedInn struct {
	*server
	client      *http.Client
	restarted   time.Time
	logoutsLeft atomic.Int32

	rotations, replays, logouts atomic.Int64
}

// each lets all guests do something at the same time.
func each(all []*guest, do func(*guest)) {
	var wg sync.WaitGroup
	for _, g := range all {
		wg.Go(func() { do(g) })
	}
	wg.Wait()
}

// guest is an honest client with one session: it keeps the token of the latest
// answer, and tries everything again until there is an answer.
type guest struct {
	inn        *killedInn
	token      string // of the latest answer; empty: signed out
	generation uint32
	key        string   // made before the first try at refreshing this generation
	tried      bool     // the refresh was tried, and nobody knows what became of it
	leaving    bool     // a logout was begun
	ended      []string // tokens of sessions whose logout was answered
}

// liveUntil goes on until the context ends.
func (g *guest) liveUntil(ctx context.Context) {
	for ctx.Err() == nil {
		if !g.leaving && g.token != "" && rand.N(200) == 0 && g.inn.logoutsLeft.Add(-1) >= 0 {
			g.leaving = true
		}
		if !g.step() {
			time.Sleep(time.Millisecond)
		}
	}
}

// check is what must hold after every restart.
func (g *guest) check() {
	wasTried := g.tried
	if answer := g.untilSettled(); wasTried && answer.AccessToken != "" {
		me, err := g.inn.call(g.inn.client, "GET", "/auth/me", nil, "Authorization", "Bearer "+answer.AccessToken)
		if err != nil || me.status != http.StatusOK {
			g.inn.t.Errorf("a fresh access token: %v %v", me, err)
			return
		}
		rotatedAt, err := time.Parse(time.RFC3339Nano, me.Session.LastSeenAt)
		if err == nil && rotatedAt.Before(g.inn.restarted) {
			g.inn.replays.Add(1) // it was written before the kill, and answered after it
		}
	}
	for _, token := range g.ended {
		answer, err := g.refresh(token, "a key of nobody in particular")
		if err != nil || answer.Code != "session_ended" || answer.Reason != "logout" {
			g.inn.t.Errorf("after an acknowledged logout: got %v %v, want session_ended logout", answer, err)
		}
	}
	g.ended = g.ended[max(0, len(g.ended)-3):]
}

// untilSettled tries until a step has been answered.
func (g *guest) untilSettled() *answer {
	for range 3000 {
		if g.inn.t.Failed() {
			break
		}
		if answer, settled := g.tryStep(); settled {
			return answer
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.inn.t.Error("a guest got no answer")
	return &answer{}
}

func (g *guest) step() bool {
	_, settled := g.tryStep()
	return settled
}

// tryStep does the next thing, and returns false if it has to be done again.
func (g *guest) tryStep() (*answer, bool) {
	switch {
	case g.token == "":
		return g.signIn()
	case g.leaving:
		return g.logOut()
	}
	return g.rotate()
}

func (g *guest) signIn() (*answer, bool) {
	answer, err := g.inn.call(g.inn.client, "POST", "/auth/login", map[string]string{
		"username": "ada", "password": testPassword, "delivery": "body",
	})
	if !g.answered(answer, err, http.StatusOK) {
		return answer, false
	}
	g.token, g.generation, g.key, g.tried, g.leaving = answer.RefreshToken, answer.Session.Generation, "", false, false
	return answer, true
}

func (g *guest) rotate() (*answer, bool) {
	if g.key == "" {
		g.key = fmt.Sprintf(`"%016x%016x";generation=%d`, rand.Uint64(), rand.Uint64(), g.generation)
	}
	g.tried = true
	answer, err := g.refresh(g.token, g.key)
	if !g.answered(answer, err, http.StatusOK) {
		return answer, false
	}
	if answer.Session.Generation != g.generation+1 || answer.RefreshToken == g.token {
		g.inn.t.Errorf("after generation %d came %d", g.generation, answer.Session.Generation)
	}
	g.token, g.generation, g.key, g.tried = answer.RefreshToken, answer.Session.Generation, "", false
	g.inn.rotations.Add(1)
	return answer, true
}

func (g *guest) logOut() (*answer, bool) {
	answer, err := g.inn.call(g.inn.client, "POST", "/auth/logout", map[string]string{"refresh_token": g.token})
	if !g.answered(answer, err, http.StatusNoContent) {
		return answer, false
	}
	g.ended = append(g.ended, g.token)
	g.token, g.tried = "", false
	g.inn.logouts.Add(1)
	return answer, true
}

func (g *guest) refresh(token, key string) (*answer, error) {
	return g.inn.call(g.inn.client, "POST", "/auth/refresh", map[string]string{"refresh_token": token}, "Idempotency-Key", key)
}

// answered reports whether there was an answer, which must be the wanted one:
// anything else would be an honest client who was signed out.
func (g *guest) answered(answer *answer, err error, want int) bool {
	if err != nil || answer.status == http.StatusServiceUnavailable {
		return false
	}
	if answer.status != want {
		g.inn.t.Errorf("an honest guest at generation %d got %v", g.generation, answer)
		return false
	}
	return true
}
