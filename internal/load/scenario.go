package load

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Scenario is what the clients of a run do.
type Scenario string

// The scenarios. Besides what they are for, clients do what keeps them alive, and
// each step is measured on its own: an access token is renewed when half of its
// life is over, and whoever has lost the session signs in again.
const (
	// Login ends the session and begins another, so that none pile up.
	Login Scenario = "login"
	// Refresh rotates the one session of each client.
	Refresh Scenario = "refresh"
	// Verify shows the access token to GET /auth/me.
	Verify Scenario = "verify"
	// Mixed is Verify, but for a refresh in every 20 requests and a logout with the
	// sign-in after it in every 1000. In real life both are rarer still; but at
	// these weights each of the three has a share of the work.
	Mixed Scenario = "mixed"
)

// The steps, as results name them.
const (
	StepLogin   = "login"
	StepRefresh = "refresh"
	StepMe      = "me"
	StepLogout  = "logout"
)

const (
	mixedRefresh = 20
	mixedLogout  = 1000
)

// Clients makes a client of each session.
func (s Scenario) Clients(sessions []*Session) []Client {
	clients := make([]Client, len(sessions))
	for i, session := range sessions {
		// Spread over the cycle, so that not all do the expensive thing at once.
		n := i * mixedLogout / len(sessions)
		clients[i] = func(ctx context.Context) (string, error) {
			n++
			return session.do(ctx, s.step(n))
		}
	}
	return clients
}

// step is what a client means to do at its nth request.
func (s Scenario) step(n int) string {
	switch {
	case s == Login, s == Mixed && n%mixedLogout == 0:
		return StepLogout // without a session it is a sign-in, see do
	case s == Refresh, s == Mixed && n%mixedRefresh == 0:
		return StepRefresh
	}
	return StepMe
}

// do does what is meant, or what the state of the session asks for first.
func (s *Session) do(ctx context.Context, meant string) (step string, err error) {
	switch {
	case !s.signedIn:
		return StepLogin, s.SignIn(ctx)
	case s.spent || meant == StepLogout:
		return StepLogout, s.Logout(ctx)
	case s.key != "" || meant == StepRefresh || !time.Now().Before(s.renewAt):
		return StepRefresh, s.Refresh(ctx)
	}
	return StepMe, s.Me(ctx)
}

const (
	// A sign-in takes a core and some MiB: more at once would wait at the server
	// instead of here, until it turns them away.
	signInsAtOnce = 4
	logoutsAtOnce = 16
	// triesWhenBusy is how often a server is asked that says that it is busy.
	triesWhenBusy = 30
)

// SignIn signs all sessions in, a few at a time, and stops at the first that
// cannot. If progress is not nil, it is called after each with the number of
// those that are; calls do not overlap. Whatever it returns, [LogOut] ends what
// has begun.
func SignIn(ctx context.Context, sessions []*Session, progress func(done int)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		mu   sync.Mutex
		done int
	)
	forEach(sessions, signInsAtOnce, func(s *Session) {
		if ctx.Err() != nil {
			return
		}
		// What has begun is finished even if the context ends: a sign-in torn off
		// could leave a session that nobody ends.
		err := whileBusy(ctx, func(ctx context.Context) error { return s.SignIn(context.WithoutCancel(ctx)) })
		if err != nil {
			stop(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		done++
		if progress != nil {
			progress(done)
		}
	})
	return context.Cause(ctx)
}

// LogOut ends every session that is signed in, and closes all connections. Its
// error says how many sessions it could not end, and why not the first of them.
func LogOut(ctx context.Context, sessions []*Session) error {
	var (
		mu    sync.Mutex
		left  int
		first error
	)
	forEach(sessions, logoutsAtOnce, func(s *Session) {
		defer s.Close()
		if !s.signedIn {
			return
		}
		if err := whileBusy(ctx, s.Logout); err != nil && s.signedIn {
			mu.Lock()
			defer mu.Unlock()
			left++
			first = cmp.Or(first, err)
		}
	})
	if left > 0 {
		return fmt.Errorf("%d sessions are left signed in: %w", left, first)
	}
	return nil
}

// forEach calls a function for each session, at most so many at once.
func forEach(sessions []*Session, atOnce int, do func(*Session)) {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range min(atOnce, len(sessions)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sessions)); i = next.Add(1) - 1 {
				do(sessions[i])
			}
		})
	}
	wg.Wait()
}

// whileBusy tries again as long as the server asks for it.
func whileBusy(ctx context.Context, do func(context.Context) error) error {
	for try := 1; ; try++ {
		err := do(ctx)
		wait := waitAfter(err)
		if err == nil || wait == 0 || try == triesWhenBusy || ctx.Err() != nil {
			return err
		}
		sleep(ctx, wait)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
