package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper/password"
)

// PasswordChange is a person's change of their own password.
type PasswordChange struct {
	Current string
	New     string
	Client  Client
}

// ChangePassword replaces the caller's password, ends every session of theirs,
// the calling one too, and opens a new one in its place: whoever had stolen any
// of them is out. It returns [ErrInvalidCredentials] or a
// [*password.RejectedError].
func (a *Authority) ChangePassword(ctx context.Context, caller *Caller, req PasswordChange) (*Grant, error) {
	user, err := a.User(ctx, caller.Subject.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrAccessTokenRevoked
	}
	if err != nil {
		return nil, err
	}
	if user.Epoch != caller.Session.Epoch {
		return nil, ErrAccessTokenRevoked
	}
	try, err := a.takeOf(ctx, caller, req.Client)
	if err != nil {
		return nil, err
	}
	err = a.checkPassword(ctx, a.hasherFor(user.ID), user, req.Current, req.Client)
	try.settle(ctx, err)
	if err != nil {
		return nil, err
	}
	hash, err := a.hashPassword(ctx, req.New, about(&user.Subject))
	if err != nil {
		return nil, err
	}

	replacement := a.newEpoch(user, ReasonPasswordChanged)
	after := user.Subject
	after.Epoch = replacement.Epoch
	session, refresh := a.open(&after, arrival{
		delivery: caller.Session.Delivery, device: caller.Session.Device, client: req.Client, methods: byPassword(),
	})
	replacement.Open = &session
	if err := a.canSign(ctx, session.CreatedAt); err != nil {
		return nil, err // before the other sessions end
	}
	_, err = a.applyChange(ctx, user, UserChange{
		PasswordHash: &hash,
		NewEpoch:     replacement,
		Event: Event{
			Kind: EventPasswordChanged, Actor: caller.actor(), SessionID: caller.Session.ID, Client: req.Client,
		},
	})
	switch {
	case errors.Is(err, ErrEpochMoved), errors.Is(err, ErrNotFound):
		// The session was ended while the passwords were being hashed.
		return nil, ErrAccessTokenRevoked
	case err != nil:
		return nil, err
	}
	return a.grant(ctx, &session, &after, refresh, session.CreatedAt, session.CreatedAt)
}

// takeOf counts a try of somebody who is signed in, as take does. One that came too early is
// counted for the audit log: whoever guesses here holds an access token already.
func (a *Authority) takeOf(ctx context.Context, caller *Caller, client Client) (*try, error) {
	try, err := a.take(ctx, a.sessionBuckets(caller.Session.ID))
	if errors.Is(err, ErrTooManyAttempts) {
		event := a.throttled(client)
		event.Actor, event.UserID, event.SessionID = caller.actor(), caller.Subject.ID, caller.Session.ID
		a.refusals.count(event)
	}
	return try, err
}

// checkPassword returns nil if the password is the user's, and brings its stored
// hash up to the present parameters.
func (a *Authority) checkPassword(ctx context.Context, hasher *password.Hasher, user *User, plain string, client Client) error {
	outdated, err := verifyPassword(ctx, hasher, user, plain)
	if errors.Is(err, password.ErrMismatch) {
		a.loginFailed(ctx, user.ID, client)
		return ErrInvalidCredentials
	}
	if err != nil {
		return hashingError(err)
	}
	if outdated {
		a.rehash(ctx, hasher, user, plain)
	}
	return nil
}

// verifyPassword compares a password with the stored hash, which users who were
// imported without one do not have.
func verifyPassword(ctx context.Context, hasher *password.Hasher, user *User, plain string) (outdated bool, err error) {
	if user.PasswordHash == "" {
		return false, hasher.VerifyUnknown(ctx, plain)
	}
	return hasher.Verify(ctx, user.PasswordHash, plain)
}

// rehash replaces a hash made with weaker parameters, or by another program. It is a convenience: if it
// does not succeed, or the password has changed meanwhile, the next login tries
// again.
func (a *Authority) rehash(ctx context.Context, hasher *password.Hasher, user *User, plain string) {
	hash, err := hasher.Hash(ctx, plain)
	if err != nil {
		return
	}
	if _, err := a.applyChange(ctx, user, UserChange{PasswordHash: &hash}); err == nil {
		user.PasswordHash = hash
	}
}

// hashPassword checks a new password against the policy and hashes it.
func (a *Authority) hashPassword(ctx context.Context, plain string, whose password.About) (string, error) {
	if err := a.rules.Check(plain, whose); err != nil {
		return "", err
	}
	hash, err := a.hasher.Hash(ctx, plain)
	if err != nil {
		return "", hashingError(err)
	}
	return hash, nil
}

// firstLinePerMinute is how often one person is served before strangers, at once and in
// each minute: more often than anybody signs in, and at the default cost a core for 0.6
// seconds.
const firstLinePerMinute = 20

// hasherFor returns the hasher for somebody who has been here before, and whom a storm of
// strangers is not to keep waiting. Who asks for that again and again waits with the
// strangers: of others with an account, nobody can be kept waiting either.
func (a *Authority) hasherFor(user UserID) *password.Hasher {
	if a.firstLine.take(user, a.now()) > 0 {
		return a.hasher
	}
	return a.hasher.First()
}

func about(subject *Subject) password.About {
	return password.About{Username: subject.Username, Email: subject.Email}
}

// PasswordJudgment says what would become of a new password, for forms that tell
// people while they type.
type PasswordJudgment struct {
	// Rejected is why the password would be refused; nil if it would be accepted.
	Rejected *password.RejectedError
	// Score is how hard it is to guess, 0 to [password.MaxScore]; 0 for one that is
	// refused.
	Score int
}

// JudgePassword says what would become of a new password of this person. It hashes
// nothing, asks no store and remembers nothing, so that it tells no more than
// anybody could work out with a copy of this program: nothing about who exists, or
// what passwords there are.
func (a *Authority) JudgePassword(plain string, whose password.About) PasswordJudgment {
	var rejected *password.RejectedError
	if errors.As(a.rules.Check(plain, whose), &rejected) {
		return PasswordJudgment{Rejected: rejected}
	}
	return PasswordJudgment{Score: password.Estimate(plain)}
}

// minServiceName is the length from which a label of the issuer's host is taken for
// the name of the service.
const minServiceName = 4

// serviceNames are the names that stand in the issuer: the labels of its host, but
// for the last one and those that say what a host does.
func serviceNames(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	labels := strings.Split(u.Hostname(), ".")
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || len(labels) < 2 {
		return nil // an address, or localhost
	}
	var names []string
	for _, label := range labels[:len(labels)-1] {
		if len(label) >= minServiceName && !slices.Contains([]string{"auth", "login", "signin", "account", "accounts"}, label) {
			names = append(names, label)
		}
	}
	return names
}

// hashingError tells a full queue, which passes, from a broken hash, which does
// not but is no verdict on the password either.
func hashingError(err error) error {
	return unavailable(fmt.Errorf("hash password: %w", err))
}
