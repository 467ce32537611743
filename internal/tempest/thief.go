package tempest

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// loot is a copied refresh token, and how it travels.
type loot struct {
	token  string
	cookie bool
}

// errNoLoot says that there was nothing to copy: somebody is signed out right now.
var errNoLoot = errors.New("the jar is empty")

// thief copies the jar of one person, at rest, and uses it: some time later, so that it
// is before or after its owner's next refresh. There is no key in it for a refresh that
// has not begun.
type thief struct {
	*tempest

	victim person
	rng    *rand.Rand
}

// prowl robs the same person again and again, with a while between in which nothing may
// happen to them.
func (t *thief) prowl(ctx context.Context) error {
	for {
		if sleep(ctx, between(t.rng, 3*time.Second, 10*time.Second)) != nil {
			return nil
		}
		if err := t.rob(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// rob copies a token and uses it. It does nothing if that session is over meanwhile.
func (t *thief) rob(ctx context.Context) error {
	taken, err := t.victim.jar(ctx)
	if errors.Is(err, errNoLoot) {
		return nil
	}
	if err != nil {
		return err
	}
	session, _ := readToken(taken.token)
	if session == "" || t.isRobbed(session) {
		return nil
	}
	wait := between(t.rng, 0, 6*time.Second)
	if t.rng.IntN(3) == 0 {
		wait = 0 // before the owner, mostly
	}
	if sleep(ctx, wait) != nil || t.isOver(session) {
		return nil
	}
	t.mu.Lock()
	t.robbed[session] = t.victim.name()
	t.mu.Unlock()
	return t.use(ctx, taken, t.rng.IntN(5))
}

// use trades the token, and then what it got for it, so many times: greed does not
// help. Thieves have a good network.
func (t *thief) use(ctx context.Context, taken loot, greed int) error {
	for ; ; greed-- {
		a, err := t.injector.act(taken.request())
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || greed <= 0 {
			return nil
		}
		var said tokensAnswer
		_ = json.Unmarshal(a.body, &said) // it was 200
		taken.token = a.refreshToken(said)
		if sleep(ctx, between(t.rng, 200*time.Millisecond, 1500*time.Millisecond)) != nil {
			return nil
		}
	}
}

func (l loot) request() *request {
	q := &request{
		method: http.MethodPost, path: refreshPath, host: "127.0.0.1", byThief: true, body: []byte("{}"),
		header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"thief"}},
	}
	if l.cookie {
		q.header.Set("Cookie", refreshCookie+"="+l.token)
		return q
	}
	q.body, _ = json.Marshal(map[string]string{"refresh_token": l.token})
	return q
}
