package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// User is who is signed in.
type User struct {
	ID          string   `json:"id"` // the claim sub
	Username    string   `json:"username"`
	Email       string   `json:"email,omitempty"`
	Roles       []string `json:"roles"`
	Permissions []string `json:"permissions"`
}

// Session is what a [Store] keeps: one sign-in, as of its latest refresh.
type Session struct {
	// Server is the URL of the server that the tokens may be shown to.
	Server string
	// ID is the claim sid.
	ID string
	// Generation counts the refresh tokens that the session has had.
	Generation uint32
	// ExpiresAt is the absolute end of the session by the server's clock. It is for
	// people, and decides nothing.
	ExpiresAt time.Time
	// User is who is signed in.
	User User
	// RefreshToken buys the next pair. It works once.
	RefreshToken Secret
	// AccessToken is the latest one. A store may drop it; every process then refreshes
	// for itself.
	AccessToken Secret
	// RequestedAt is when the access token was asked for, by our clock, and Lifetime
	// how long it is good from then on. Both are hints: clocks are set.
	RequestedAt time.Time
	Lifetime    time.Duration
	// Superseded is the generation whose refresh the server has called superseded once.
	// The second time means that this store was set back, and ends the session. 0 means
	// none.
	Superseded uint32
	// Ending says that somebody has logged out here and the server could not be told.
	// Nothing is done with such a session but telling it.
	Ending bool

	// rest are the members of a stored session that we do not know. A newer version,
	// which shares the store with us, does.
	rest map[string]json.RawMessage
}

// sessionVersion is that of the stored form. It changes when older readers must not
// touch what a newer one has written; new members do not change it.
const sessionVersion = 1

// storedSession is the stored form. It spells the tokens out.
type storedSession struct {
	Version          int       `json:"version"`
	Server           string    `json:"server"`
	SessionID        string    `json:"session_id"`
	Generation       uint32    `json:"generation"`
	SessionExpiresAt time.Time `json:"session_expires_at"`
	User             User      `json:"user"`
	RefreshToken     string    `json:"refresh_token"`
	AccessToken      string    `json:"access_token,omitempty"`
	RequestedAt      time.Time `json:"requested_at"`
	LifetimeMS       int64     `json:"lifetime_ms"`
	Superseded       uint32    `json:"superseded,omitempty"`
	Ending           bool      `json:"ending,omitempty"`
}

// Encode returns the session as a store keeps it: JSON, with the tokens in clear.
func (s *Session) Encode() ([]byte, error) {
	known, err := json.Marshal(storedSession{
		Version: sessionVersion, Server: s.Server, SessionID: s.ID, Generation: s.Generation,
		SessionExpiresAt: s.ExpiresAt, User: s.User,
		RefreshToken: s.RefreshToken.Reveal(), AccessToken: s.AccessToken.Reveal(),
		RequestedAt: s.RequestedAt, LifetimeMS: s.Lifetime.Milliseconds(),
		Superseded: s.Superseded, Ending: s.Ending,
	})
	if err != nil || len(s.rest) == 0 {
		return known, err
	}
	members := maps.Clone(s.rest)
	if err := json.Unmarshal(known, &members); err != nil { // ours win
		return nil, err
	}
	return json.Marshal(members)
}

// DecodeSession reads what [Session.Encode] has made. Members that it does not know
// are kept for the next Encode.
func DecodeSession(text []byte) (*Session, error) {
	var stored storedSession
	rest := make(map[string]json.RawMessage)
	if err := errors.Join(strictjson.Unmarshal(text, &stored), json.Unmarshal(text, &rest)); err != nil {
		return nil, errors.New("stored session is not readable") // the cause may quote it
	}
	switch {
	case stored.Version > sessionVersion:
		return nil, fmt.Errorf("stored session has version %d, written by a newer program; this one knows %d", stored.Version, sessionVersion)
	case stored.Version < 1, stored.SessionID == "", stored.RefreshToken == "", stored.Generation == 0:
		return nil, errors.New("stored session is incomplete")
	}
	for _, name := range storedMembers() {
		delete(rest, name)
	}
	return &Session{
		Server: stored.Server, ID: stored.SessionID, Generation: stored.Generation,
		ExpiresAt: stored.SessionExpiresAt, User: stored.User,
		RefreshToken: NewSecret(stored.RefreshToken), AccessToken: NewSecret(stored.AccessToken),
		RequestedAt: stored.RequestedAt, Lifetime: time.Duration(stored.LifetimeMS) * time.Millisecond,
		Superseded: stored.Superseded, Ending: stored.Ending, rest: rest,
	}, nil
}

func storedMembers() []string {
	return []string{
		"version", "server", "session_id", "generation", "session_expires_at", "user", "refresh_token",
		"access_token", "requested_at", "lifetime_ms", "superseded", "ending",
	}
}

// clone returns a copy to change.
func (s *Session) clone() *Session {
	other := *s
	return &other
}

// sameAs reports whether two readings of a store found the same thing.
func (s *Session) sameAs(other *Session) bool {
	return s.ID == other.ID && s.RefreshToken.Equal(other.RefreshToken)
}
