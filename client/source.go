package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what it takes to make a [Source].
type Config struct {
	// Server is the URL of the Innkeeper server: "https://auth.example.com". https, or
	// http if the host is this machine. Required.
	Server string
	// Store keeps the session. Required: a refresh token that is not kept is lost with
	// the program. [NewMemoryStore] is for programs that want just that.
	Store Store
	// Transport carries requests to the server. The zero value means one of our own,
	// which takes proxies from the environment and gives up connections that are dead.
	// With HTTP/2 another one should too, by its HTTP2.SendPingTimeout, or refreshes may
	// fail for many minutes. It must not be a [*Transport].
	Transport http.RoundTripper
	// RefreshTimeout bounds a refresh, with all its tries. The zero value means 15
	// seconds.
	RefreshTimeout time.Duration
	// OnRefresh is told of every new token, whoever has refreshed. OnSignedOut is told
	// when the session is over, OnError of failures that no caller sees, or that many do.
	// They are called without any lock, one after the other, and may use the source. The
	// zero values tell nobody.
	OnRefresh   func(Token)
	OnSignedOut func(*SignedOutError)
	OnError     func(error)
	// Logger is told the same, without tokens. The zero value means that nobody is.
	Logger *slog.Logger
	// Now is the clock by which tokens age, for tests. The zero value means [time.Now].
	Now func() time.Time
}

// Token is an access token, and where it comes from.
type Token struct {
	// Access is the token itself.
	Access Secret
	// SessionID and Generation say which refresh it came with.
	SessionID  string
	Generation uint32
	// UserID is who it speaks for.
	UserID string
	// ExpiresAt is its end by our clock.
	ExpiresAt time.Time
}

// same reports whether two tokens are one. A refresh that was asked for again gives
// another token of the same generation. The zero value is like no other.
func (t Token) same(other Token) bool {
	return t.Generation != 0 && t.SessionID == other.SessionID && t.Generation == other.Generation && t.Access.Equal(other.Access)
}

// Source hands out access tokens of one session, and refreshes them. Make one with
// [New] and share it: it is safe for concurrent use. Several sources, in one process or
// in many, may share a store.
type Source struct {
	server    *server
	store     Store
	timeout   time.Duration
	clock     clock
	hooks     hooks
	counters  counters
	lifetime  context.Context // ends with Close
	stop      context.CancelFunc
	running   sync.WaitGroup // what Close waits for
	ownCalls  http.Client    // adds the access token, for the server's own endpoints
	lockNoted sync.Once

	current atomic.Pointer[state] // nil: nothing to hand out

	// mu is never held while anything is waited for.
	mu      sync.Mutex
	flight  *flight // nil: nobody is refreshing
	epoch   uint64  // counts sign-ins and logouts here; a refresh of an older one is void
	user    string  // whose requests are being sent; empty: not known yet
	cooling cooling
	unsaved *Session // a successor that the store did not take
	leaving int      // logouts under way; nothing is handed out meanwhile
	closed  bool
}

// String says whose tokens it hands out, and nothing about them.
func (s *Source) String() string { return "token source of " + s.server.url }

// Format implements [fmt.Formatter] for every verb: what is inside changes while it is
// being looked at.
func (s *Source) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

const defaultRefreshTimeout = 15 * time.Second

// New returns a source for the session in a store, which may be empty: see
// [Source.Login]. It asks neither the store nor the server yet. It returns an error if a
// field of cfg is not as required.
func New(cfg Config) (*Source, error) {
	if cfg.Store == nil {
		return nil, errors.New("store: required; NewMemoryStore keeps a session for as long as the program runs")
	}
	if _, ours := cfg.Transport.(*Transport); ours {
		return nil, errors.New("transport: a refresh cannot wait for the token that it brings")
	}
	server, err := newServer(cfg.Server, cfg.Transport)
	if err != nil {
		return nil, err
	}
	if cfg.RefreshTimeout <= 0 {
		cfg.RefreshTimeout = defaultRefreshTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{
		server: server, store: cfg.Store, timeout: cfg.RefreshTimeout, clock: newClock(cfg.Now),
		hooks: hooks{refresh: cfg.OnRefresh, signedOut: cfg.OnSignedOut, failed: cfg.OnError, logger: cfg.Logger},
	}
	s.lifetime, s.stop = context.WithCancel(context.Background())
	own, err := NewTransport(s, TransportConfig{Origins: []string{server.origin()}, Base: server.http.Transport})
	if err != nil {
		return nil, err
	}
	s.ownCalls = http.Client{Transport: own, CheckRedirect: server.http.CheckRedirect}
	return s, nil
}

// Token returns an access token that is good for a while. It waits only if there is
// none, and no longer than ctx lasts; the refresh that it waits for goes on all the
// same. It returns [ErrSignedOut] if there is no session, [ErrUnavailable] if the
// server cannot be asked, [ErrUserChanged], [ErrClosed], or the cause of ctx.
func (s *Source) Token(ctx context.Context) (Token, error) {
	st := s.current.Load()
	if st == nil {
		return s.await(ctx, request{})
	}
	switch st.freshness(s.clock()) {
	case fresh:
		return st.token, nil
	case stale:
		s.join(ctx, request{avoid: st.token, ahead: true})
		return st.token, nil
	default:
		return s.await(ctx, request{avoid: st.token})
	}
}

// Refresh returns a token other than the one that an API has refused: the present one
// if that is newer, else that of a refresh. A refused token that is itself seconds old,
// and came because the one before it was refused, is not refreshed again: such an API
// refuses all of them. Errors are those of [Source.Token].
func (s *Source) Refresh(ctx context.Context, refused Token) (Token, error) {
	if st := s.current.Load(); st != nil {
		now := s.clock()
		switch {
		case !st.token.same(refused):
			if st.freshness(now) != expired {
				return st.token, nil
			}
		case st.demandedLately(now):
			return Token{}, errRefusedAgain
		}
	}
	return s.await(ctx, request{avoid: refused, demanded: true})
}

var errRefusedAgain = &UnavailableError{Err: errors.New("the access token before this one was refused as well, a moment ago")}

// await waits for a token that is not the one to avoid.
func (s *Source) await(ctx context.Context, r request) (Token, error) {
	overtaken := false
	for {
		f := s.join(ctx, r)
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, fmt.Errorf("wait for an access token: %w", context.Cause(ctx))
		}
		switch out := new(SignedOutError); {
		case errors.Is(f.err, errOvertaken): // somebody has signed in or out meanwhile
			overtaken = true
		case f.err == nil && f.token.same(r.avoid): // it was under way for somebody else
		case overtaken && errors.As(f.err, &out) && *out == SignedOutError{Code: codeNoSession}:
			// The store has forgotten why there is none. We have seen it.
			return Token{}, left().signedOut
		default:
			return f.token, f.err
		}
	}
}

// Close stops refreshing. It waits for a refresh that has its answer until that is
// stored, 5 seconds at most. Tokens that were handed out stay good. It may be called
// more than once.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		return errors.New("close token source: a refresh has not been stored yet")
	}
	return s.closeUnsaved()
}

const closeTimeout = 5 * time.Second

// begin notes that what Close has to wait for begins. It returns false once closed.
func (s *Source) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// publish hands out a session's token from now on, unless somebody has signed in or
// out since the epoch.
func (s *Source) publish(epoch uint64, session *Session, st *state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.epoch != epoch:
		return errOvertaken
	case s.user != "" && s.user != session.User.ID:
		return ErrUserChanged
	}
	s.user = session.User.ID
	s.current.Store(st)
	return nil
}

// errOvertaken reports a refresh that began before a sign-in or logout here.
var errOvertaken = errors.New("overtaken by a sign-in or logout")

// withdraw hands out nothing from now on. It reports whether anything was.
func (s *Source) withdraw(epoch uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch == epoch && s.current.Swap(nil) != nil
}

// turn begins a new epoch, at a sign-in or logout, and returns it. A refresh under way
// counts no more.
func (s *Source) turn() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turnLocked()
}

// leave is turn for a logout: until it is done, what is still stored is handed out to
// nobody.
func (s *Source) leave() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnLocked()
	s.leaving++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaving--
	}
}

func (s *Source) turnLocked() uint64 {
	s.epoch++
	s.user, s.unsaved, s.cooling = "", nil, cooling{}
	s.current.Store(nil)
	return s.epoch
}
