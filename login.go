package innkeeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/innkeeper-auth/innkeeper/password"
)

// LoginRequest is a sign-in with a password.
type LoginRequest struct {
	Username string
	Password string
	Delivery Delivery
	Device   string // a name that the person gives the device; may be empty
	Client   Client
	// Replaces is the refresh token that the request arrived with, if any. Its
	// session ends when the sign-in succeeds, so that one browser never leaves a
	// trail of live sessions behind.
	Replaces string
}

// SignupRequest is a sign-in by someone who is not a user yet.
type SignupRequest struct {
	LoginRequest
	Email string
}

const maxDevice = 100

func (r *LoginRequest) check() error { return checkArrival(r.Delivery, r.Device) }

func checkArrival(delivery Delivery, device string) error {
	if !delivery.Valid() {
		return &InputError{Field: "delivery", Detail: `choose "cookie" or "body"`}
	}
	if len([]rune(device)) > maxDevice {
		return &InputError{Field: "device", Detail: fmt.Sprintf("use at most %d characters", maxDevice)}
	}
	return nil
}

// SignUp creates a user and signs them in. It returns [ErrSignupClosed] and the
// errors of [Authority.CreateUser].
func (a *Authority) SignUp(ctx context.Context, req SignupRequest) (*Grant, error) {
	if !a.signup {
		return nil, ErrSignupClosed
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	user, err := a.createUser(ctx,
		NewUser{Username: req.Username, Password: req.Password, Email: req.Email}, Event{Client: req.Client.bounded()})
	if err != nil {
		return nil, err
	}
	grant, err := a.start(ctx, user, req.LoginRequest)
	if errors.Is(err, ErrEpochMoved) {
		// Somebody has changed the new user already: what holds now is for a sign-in to
		// find out.
		return a.Login(ctx, req.LoginRequest)
	}
	return grant, err
}

// maxLoginTries bounds how often a proven password is proven again because the
// user's epoch moved in the meantime.
const maxLoginTries = 2

// Login checks a password and opens a new session; a sign-in never revives an
// old one (OWASP ASVS 7.2.4). It returns [ErrInvalidCredentials] alike, and after
// the same work, for a wrong password, an unknown user and a disabled one.
func (a *Authority) Login(ctx context.Context, req LoginRequest) (*Grant, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	for range maxLoginTries {
		user, err := a.prove(ctx, req.Username, req.Password, req.Client)
		if err != nil {
			return nil, err
		}
		grant, err := a.start(ctx, user, req)
		// The password was changed or the user disabled since it was read: what has
		// been proven may be worth nothing any more, so prove it again.
		if !errors.Is(err, ErrEpochMoved) {
			return grant, err
		}
	}
	return nil, unavailable(errors.New("open session: the user keeps changing"))
}

// prove returns the user whose password it is.
func (a *Authority) prove(ctx context.Context, username, plain string, client Client) (*User, error) {
	user, err := a.UserByUsername(ctx, username)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := a.hasher.VerifyUnknown(ctx, plain); !errors.Is(err, password.ErrMismatch) {
			return nil, hashingError(err)
		}
		a.loginFailed(ctx, UserID{}, client)
		return nil, ErrInvalidCredentials
	case err != nil:
		return nil, err
	}
	if err := a.checkPassword(ctx, user, plain, client); err != nil {
		return nil, err
	}
	if user.Disabled {
		a.loginFailed(ctx, user.ID, client)
		return nil, ErrInvalidCredentials
	}
	return user, nil
}

// loginFailed lets the observer know, and counts for the audit log. It writes nothing
// itself: a write for users who exist would tell them from those who do not, by time,
// and one for every failure would let strangers fill the disk. See [loginFailures].
func (a *Authority) loginFailed(ctx context.Context, user UserID, client Client) {
	event := Event{At: a.now(), Kind: EventLoginFailed, UserID: user, Client: client.bounded()}
	a.failures.count(event)
	a.observe(ctx, event)
}

// start opens a session for a user who has just proved their password. It returns
// [ErrEpochMoved] if the user has changed since they were read.
func (a *Authority) start(ctx context.Context, user *User, req LoginRequest) (*Grant, error) {
	session, refresh := a.open(&user.Subject, arrival{
		delivery: req.Delivery, device: req.Device, client: req.Client, methods: byPassword(),
	})
	if err := a.canSign(ctx, session.RotatedAt); err != nil {
		return nil, err // and the session that it replaces lives on
	}
	birth := Birth{Session: session, Event: Event{Actor: UserActor(user.ID)}}
	replaced, err := a.replaced(ctx, req)
	if err != nil {
		return nil, err
	}
	birth.Replaces = replaced
	return a.begin(ctx, user, birth, refresh)
}

// begin stores a new session and hands out its first tokens. It returns
// [ErrEpochMoved] as start does.
func (a *Authority) begin(ctx context.Context, user *User, birth Birth, refresh RefreshToken) (*Grant, error) {
	session, now := birth.Session, birth.Session.RotatedAt
	birth.Event.At, birth.Event.Kind = now, EventSessionStarted
	birth.Event.UserID, birth.Event.SessionID, birth.Event.Client = user.ID, session.ID, session.Client
	switch err := a.stores.Sessions.CreateSession(ctx, birth); {
	case errors.Is(err, ErrEpochMoved):
		return nil, ErrEpochMoved
	case err != nil:
		return nil, unavailable(fmt.Errorf("open session: %w", err))
	}
	if replaced := birth.Replaces; replaced != nil {
		a.feed.wrote(replaced.Revocation)
		a.observe(ctx, replaced.Event)
	}
	a.observe(ctx, birth.Event)
	return a.grant(ctx, &session, &user.Subject, refresh, now, now)
}

// replaced returns the end of the live session that a sign-in arrived with, nil
// if there is none.
func (a *Authority) replaced(ctx context.Context, req LoginRequest) (*Ending, error) {
	token, err := ParseRefreshToken(a.roots, req.Replaces)
	if err != nil {
		return nil, nil // not a token of ours is as good as none
	}
	session, alive, err := a.session(ctx, token.session)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !alive:
		return nil, nil
	}
	ending := a.ending(session, ReasonReplaced, Event{Kind: EventSessionEnded, Client: req.Client.bounded()})
	return &ending, nil
}
