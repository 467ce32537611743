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
	// Devices are the device tokens that the request arrived with, if any: see
	// [DeviceToken]. What is no good token of this very user is as good as none.
	Devices []string
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

// SignUp creates a user and signs them in. It returns [ErrSignupClosed], a
// [*TooManyAttemptsError] and the errors of [Authority.CreateUser]. Names that are taken
// count against the network that finds them out, and so do, much later, sign-ups that
// succeed.
func (a *Authority) SignUp(ctx context.Context, req SignupRequest) (*Grant, error) {
	if !a.signup {
		return nil, ErrSignupClosed
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	try, err := a.take(ctx, a.signUpBuckets(req.Client))
	if err != nil {
		if errors.Is(err, ErrTooManyAttempts) {
			a.refusals.count(a.throttled(req.Client))
		}
		return nil, err
	}
	user, err := a.CreateUser(ctx,
		NewUser{Username: req.Username, Password: req.Password, Email: req.Email}, Requester{Client: req.Client})
	try.settle(ctx, err)
	if err != nil {
		if errors.Is(err, ErrUsernameTaken) {
			a.signupFailed(ctx, req.Client)
		}
		return nil, err
	}
	grant, err := a.start(ctx, user, nil, req.LoginRequest)
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
// the same work, for a wrong password, an unknown user and a disabled one; and alike
// for all of them a [*TooManyAttemptsError] before any work.
func (a *Authority) Login(ctx context.Context, req LoginRequest) (*Grant, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	for range maxLoginTries {
		user, known, err := a.prove(ctx, &req)
		if err != nil {
			return nil, err
		}
		grant, err := a.start(ctx, user, known, req)
		// The password was changed or the user disabled since it was read: what has
		// been proven may be worth nothing any more, so prove it again.
		if !errors.Is(err, ErrEpochMoved) {
			return grant, err
		}
	}
	return nil, unavailable(errors.New("open session: the user keeps changing"))
}

// prove returns the user whose password it is, and the token of the device if that is
// known. The try is counted before the user is read and the password looked at: who is
// refused has been answered alike, and as fast, for a name that nobody has.
func (a *Authority) prove(ctx context.Context, req *LoginRequest) (*User, *DeviceToken, error) {
	// A storm of strangers is turned away here, before it gives the store anything to do.
	if err := a.hasher.Busy(); err != nil && len(req.Devices) == 0 {
		return nil, nil, hashingError(err)
	}
	known, err := a.knownDevice(ctx, req.Username, req.Devices)
	if err != nil {
		return nil, nil, err
	}
	hasher := a.hasher
	if known != nil {
		hasher = a.hasherFor(known.user)
	}
	if err := hasher.Busy(); err != nil {
		return nil, nil, hashingError(err)
	}
	try, err := a.take(ctx, a.signInBuckets(req.Username, known, req.Client))
	if err != nil {
		if errors.Is(err, ErrTooManyAttempts) {
			a.countRefused(req.Username, req.Client)
		}
		return nil, nil, err
	}
	user, err := a.UserByUsername(ctx, req.Username)
	if err == nil || errors.Is(err, ErrNotFound) {
		err = a.checkLogin(ctx, hasher, user, req)
	}
	try.settle(ctx, err)
	return user, known, err
}

// checkLogin returns nil if the password is that of the user, who may not exist.
func (a *Authority) checkLogin(ctx context.Context, hasher *password.Hasher, user *User, req *LoginRequest) error {
	if user == nil {
		if err := hasher.VerifyUnknown(ctx, req.Password); !errors.Is(err, password.ErrMismatch) {
			return hashingError(err)
		}
		a.loginFailed(ctx, UserID{}, req.Client)
		return ErrInvalidCredentials
	}
	if err := a.checkPassword(ctx, hasher, user, req.Password, req.Client); err != nil {
		return err
	}
	if user.Disabled {
		a.loginFailed(ctx, user.ID, req.Client)
		return ErrInvalidCredentials
	}
	return nil
}

// countRefused counts a try that was refused for the audit log. Nobody else is told of
// each: refusing costs nothing, so there can be very many. Whose name it was is looked up
// later, by [Authority.Run], where nobody waits for it and can time it; where many
// wait for that already, it is not.
func (a *Authority) countRefused(username string, client Client) {
	event := a.throttled(client)
	select {
	case a.refused <- refusedSignIn{username, event}:
	default:
		a.refusals.countNameless(event)
	}
}

// throttled is the event of a try that came too early.
func (a *Authority) throttled(client Client) Event {
	return Event{At: a.now(), Kind: EventLoginThrottled, Client: client.bounded()}
}

// signupFailed counts a sign-up that has found a name taken. Who finds out many names shows
// by the network; the names are not kept.
func (a *Authority) signupFailed(ctx context.Context, client Client) {
	event := Event{At: a.now(), Kind: EventSignupFailed, Client: client.bounded()}
	if a.takenNames.count(event) {
		a.observe(ctx, event)
	}
}

// loginFailed lets the observer know, and counts for the audit log. It writes nothing
// itself: a write for users who exist would tell them from those who do not, by time,
// and one for every failure would let strangers fill the disk. See [failures].
func (a *Authority) loginFailed(ctx context.Context, user UserID, client Client) {
	event := Event{At: a.now(), Kind: EventLoginFailed, UserID: user, Client: client.bounded()}
	a.failures.count(event)
	a.observe(ctx, event)
}

// start opens a session for a user who has just proved their password, on a device that
// may be known. It returns [ErrEpochMoved] if the user has changed since they were read.
func (a *Authority) start(ctx context.Context, user *User, known *DeviceToken, req LoginRequest) (*Grant, error) {
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
	grant, err := a.begin(ctx, user, birth, refresh)
	if err == nil {
		grant.Device, grant.DeviceExpiresIn = a.device(user.ID, known, session.RotatedAt), deviceLife
	}
	return grant, err
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
