package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// OpenSessionRequest is a sign-in that somebody else has checked: the back end of an
// app, with a passkey, a magic link or another company's sign-in.
type OpenSessionRequest struct {
	UserID   UserID   // who has authenticated
	Username string   // the same, by name; give one of the two
	Methods  []string // how: the `amr` claim, in the words of RFC 8176 or your own
	// AuthTime is when: the `auth_time` claim, and what the absolute end of the session
	// is counted from. The zero value means now.
	AuthTime time.Time
	Delivery Delivery
	Device   string // may be empty
	Client   Client // of the person, not of the back end
	// AllowAdmin lets a session be opened for a holder of [RoleAdmin]. Leave it at the
	// zero value for callers who are no administrators themselves: they could become
	// one.
	AllowAdmin bool
}

const (
	maxMethods = 16
	// maxClockSkew is how far ahead of ours the clock of a back end may be.
	maxClockSkew = time.Minute
)

var methodPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$`)

// check also brings AuthTime to what it can be.
func (r *OpenSessionRequest) check(now time.Time, policy Policy) error {
	if err := checkArrival(r.Delivery, r.Device); err != nil {
		return err
	}
	if (r.UserID == UserID{}) == (r.Username == "") {
		return &InputError{Field: "user_id", Detail: "give either user_id or username"}
	}
	if len(r.Methods) > maxMethods || slices.ContainsFunc(r.Methods, func(m string) bool { return !methodPattern.MatchString(m) }) {
		return &InputError{Field: "amr", Detail: fmt.Sprintf("give at most %d words, like those of RFC 8176: hwk, otp, mfa", maxMethods)}
	}
	switch {
	case r.AuthTime.IsZero():
		r.AuthTime = now
	case r.AuthTime.After(now.Add(maxClockSkew)):
		return &InputError{Field: "auth_time", Detail: "it lies in the future; give seconds since 1970, or leave it out for now"}
	case !now.Before(wholeSeconds(r.AuthTime.Add(policy.SessionTTL))):
		return &InputError{Field: "auth_time", Detail: fmt.Sprintf("a session ends %s after it, which is over; ask for a new sign-in", policy.SessionTTL)}
	case r.AuthTime.After(now):
		r.AuthTime = now
	}
	return nil
}

// OpenSession opens a session for a user whom the caller has authenticated. It
// returns [ErrNotFound], [ErrUserDisabled], [ErrUserIsAdmin] or an [*InputError].
//
// The address and the user agent of its event are those of the person, as the caller
// says; those of the caller stand beside them.
func (a *Authority) OpenSession(ctx context.Context, req OpenSessionRequest, by By) (*Grant, error) {
	if err := req.check(a.now(), a.policy); err != nil {
		return nil, err
	}
	for range maxLoginTries {
		user, err := a.vouchedFor(ctx, &req)
		if err != nil {
			return nil, err
		}
		session, refresh := a.open(&user.Subject, arrival{
			delivery: req.Delivery, device: req.Device, client: req.Client, methods: req.Methods, authTime: req.AuthTime,
		})
		if err := a.canSign(ctx, session.RotatedAt); err != nil {
			return nil, err
		}
		event := Event{}.signed(by).with(vouching(by.requester().Client.bounded(), req.Methods))
		grant, err := a.begin(ctx, user, Birth{Session: session, Event: event}, refresh)
		// The user was changed or disabled since they were read: look again.
		if !errors.Is(err, ErrEpochMoved) {
			return grant, err
		}
	}
	return nil, unavailable(errors.New("open session: the user keeps changing"))
}

// vouching says for the audit log how somebody has authenticated, and where the program
// sits that says so: the client of the event is what it claims.
func vouching(by Client, methods []string) map[string]string {
	facts := map[string]string{"amr": strings.Join(methods, " ")}
	if by.Addr.IsValid() {
		facts["by_ip"] = by.Addr.String()
	}
	if by.UserAgent != "" {
		facts["by_user_agent"] = by.UserAgent
	}
	return facts
}

// vouchedFor returns the user of a request, if they may be let in.
func (a *Authority) vouchedFor(ctx context.Context, req *OpenSessionRequest) (*User, error) {
	find := func() (*User, error) { return a.User(ctx, req.UserID) }
	if req.Username != "" {
		find = func() (*User, error) { return a.UserByUsername(ctx, req.Username) }
	}
	user, err := find()
	switch {
	case err != nil:
		return nil, err
	case user.Disabled:
		return nil, ErrUserDisabled
	case !req.AllowAdmin && slices.Contains(user.Roles, RoleAdmin):
		return nil, ErrUserIsAdmin
	}
	return user, nil
}
