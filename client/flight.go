package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// flight is one refresh under way, and whoever waits for it. It belongs to none of
// them: when all have left it still lands, since a rotation whose answer nobody keeps
// would cost another.
type flight struct {
	done  chan struct{} // closed when the rest is set
	token Token
	err   error
}

// request is what a flight is for.
type request struct {
	avoid    Token // a token that will not do; the zero value: any good one does
	demanded bool  // an API has refused that token
	ahead    bool  // nobody waits: the token is still good
}

// join returns the flight under way, or starts one. The context gives values only. Of
// what nobody waits for it returns nil where a failure is remembered.
func (s *Source) join(ctx context.Context, r request) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil && s.leaving == 0 {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	switch {
	case s.closed:
		f.err = ErrClosed
	case s.leaving > 0:
		f.err = &SignedOutError{Code: codeNoSession, Reason: reasonLogout}
	}
	if f.err != nil {
		close(f.done)
		return f
	}
	if r.ahead && time.Now().Before(s.cooling.until) {
		return nil
	}
	s.flight = f // before the goroutine runs, so that there is never a second one
	s.running.Add(1)
	go s.fly(context.WithoutCancel(ctx), f, r, s.epoch)
	return f
}

// fly carries a flight out. It is over when its function has returned, and not before.
func (s *Source) fly(ctx context.Context, f *flight, r request, epoch uint64) {
	var told notices
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer context.AfterFunc(s.lifetime, cancel)()
	defer func() {
		if cause := recover(); cause != nil {
			f.token, f.err = Token{}, fmt.Errorf("refresh: panic: %v", cause)
		}
		if f.err != nil {
			told.failure(f.err)
		}
		s.mu.Lock()
		s.flight = nil
		s.mu.Unlock()
		close(f.done)
		s.running.Done()
		s.tell(told)
	}()
	f.token, f.err = s.refresh(ctx, r, epoch, &told)
	if s.lifetime.Err() != nil && f.err != nil {
		f.err = ErrClosed
	}
}

// refresh tries until there is a token, a verdict, or no hope for now. The lock of the
// store is free between two tries: another process may have better luck.
func (s *Source) refresh(ctx context.Context, r request, epoch uint64, told *notices) (Token, error) {
	tries := s.tries()
	for try := 1; ; try++ {
		token, err := s.attempt(ctx, r, epoch, told)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !unavailable.passing {
			if err == nil {
				s.warm()
			}
			return token, err
		}
		pause := backOff(try-1, unavailable.RetryAfter)
		if deadline, ok := ctx.Deadline(); try == tries || ctx.Err() != nil || ok && time.Until(deadline) < pause {
			return Token{}, s.cool(unavailable)
		}
		s.counters.retries.Add(1)
		if sleep(ctx, pause) != nil {
			return Token{}, s.cool(unavailable)
		}
	}
}

// Bounds of the pauses between tries: at random below a limit that doubles ("full
// jitter"), so that those whom one failure has hit do not come back together.
const (
	maxTries   = 4
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

func backOff(try int, asked time.Duration) time.Duration {
	limit := lastPause
	if try < 6 {
		limit = min(firstPause<<try, lastPause)
	}
	return max(asked, rand.N(limit)) //nolint:gosec // spreads load, and guards nothing
}

// cooling is a failure that is remembered for a while, so that an unreachable server is
// not asked with every request of the program.
type cooling struct {
	failures int
	until    time.Time
	err      *UnavailableError
}

// tries is how often a refresh is tried: once, to see whether the server is back, when
// the one before it has failed.
func (s *Source) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cooling.failures > 0 {
		return 1
	}
	return maxTries
}

// cool remembers a failure, and returns it with the time after which to come back.
func (s *Source) cool(err *UnavailableError) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := backOff(s.cooling.failures, err.RetryAfter)
	s.cooling = cooling{failures: s.cooling.failures + 1, until: time.Now().Add(pause), err: err}
	return &UnavailableError{RetryAfter: pause, Err: err.Err}
}

// cold returns the failure while it is remembered, nil otherwise.
func (s *Source) cold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Until(s.cooling.until)
	if s.cooling.err == nil || left <= 0 {
		return nil
	}
	return &UnavailableError{RetryAfter: left, Err: s.cooling.err.Err, known: true}
}

// warm forgets failures.
func (s *Source) warm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cooling = cooling{}
}
