package innkeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// RefreshRequest is one try at a refresh.
type RefreshRequest struct {
	// RefreshTokens are those presented. A browser sends several when another site
	// of its domain has tossed a cookie in: see [Authority.PickRefreshToken].
	RefreshTokens []string
	Delivery      Delivery       // how they came
	Key           IdempotencyKey // zero value: none was sent
	Client        Client
}

// maxRefreshTries bounds how often a swap that did not match is decided anew. A
// second round is needed only when the user was disabled and enabled again, or
// the session carried to a new epoch, between the swap and the read.
const maxRefreshTries = 3

// Refresh trades a refresh token for the next pair. The hot path is one
// conditional write and no read before it; only when the write matched nothing
// is the session read and the decision table asked.
//
// It returns [ErrRefreshTokenInvalid], [ErrRefreshTokenAmbiguous], [ErrRefreshTokenExpired],
// [ErrRefreshTokenReused], [ErrRefreshSuperseded], a [*GenerationMismatchError],
// a [*SessionEndedError], a [*TooManyAttemptsError], after which the session is as it
// was, or an error that matches [ErrUnavailable], after which the client must try again with the same token and key: the outcome is unknown.
func (a *Authority) Refresh(ctx context.Context, req RefreshRequest) (*Grant, error) {
	now := a.now()
	p := Presentation{Delivery: req.Delivery, Key: req.Key}
	switch token, err := a.pick(req.RefreshTokens); {
	case err == nil:
		p.Token = &token
	case errors.Is(err, ErrRefreshTokenAmbiguous):
		return nil, err
	}
	if verdict, decided := screen(p, now); decided {
		return nil, refusal(p, verdict)
	}
	if wait := a.refreshes.take(p.Token.session, now); wait > 0 {
		return nil, &TooManyAttemptsError{RetryAfter: wait} // nothing is consumed
	}
	for range maxRefreshTries {
		grant, err := a.rotate(ctx, p, req.Client, now)
		if !errors.Is(err, ErrNoMatch) {
			return grant, err
		}
		grant, err = a.settle(ctx, p, req.Client, now)
		if !errors.Is(err, ErrNoMatch) {
			return grant, err
		}
	}
	return nil, unavailable(errors.New("rotate session: the session keeps changing"))
}

// rotate is row 5. It returns [ErrNoMatch] if the presented token is not the
// current one of a live session.
func (a *Authority) rotate(ctx context.Context, p Presentation, client Client, now time.Time) (*Grant, error) {
	if err := a.canSign(ctx, now); err != nil {
		return nil, err // before anything is consumed
	}
	key, salt := a.roots.Active(), newSalt()
	next := successorSecret(key, salt, p.Token.session, p.Token.generation+1, p.Token.ratchet())
	session, user, err := a.stores.Sessions.RotateSession(ctx, Rotation{
		SessionID:        p.Token.session,
		Presented:        p.Token.ratchet().hash(),
		Generation:       p.Token.generation + 1,
		SecretHash:       next.hash(),
		Salt:             salt,
		Key:              p.Key.hash,
		At:               now,
		RefreshExpiresAt: wholeSeconds(now.Add(a.policy.IdleTTL)),
		Client:           client.bounded(),
	})
	if errors.Is(err, ErrNoMatch) {
		return nil, ErrNoMatch
	}
	if err != nil {
		// Whether the swap was committed is unknown. It is never tried again here: a
		// second try would find its own first one and take it for a theft. The client
		// repeats the request with its key and is replayed.
		return nil, unavailable(fmt.Errorf("rotate session: %w", err))
	}
	return a.grant(ctx, &session, &user, mint(key, &session, next), now, now)
}

// settle decides about a token that is not the current one of a live session.
// It returns [ErrNoMatch] if by now it is.
func (a *Authority) settle(ctx context.Context, p Presentation, client Client, now time.Time) (*Grant, error) {
	var session *Session
	stored, user, err := a.stores.Sessions.Session(ctx, p.Token.session)
	switch {
	case err == nil:
		session = &stored
	case !errors.Is(err, ErrNotFound):
		return nil, unavailable(fmt.Errorf("read session: %w", err))
	}

	verdict := Decide(p, session, user, now, a.policy.RefreshLeeway)
	switch verdict.Outcome {
	case OutcomeRotated:
		return nil, ErrNoMatch
	case OutcomeReplayed:
		return a.replay(ctx, p, session, user, verdict, now)
	case OutcomeReused, OutcomeAhead:
		return nil, a.alarm(ctx, p, session, verdict, client)
	default:
		return nil, refusal(p, verdict)
	}
}

// replay hands out the same successor again (rows 6 and 7), with a fresh access
// token.
func (a *Authority) replay(ctx context.Context, p Presentation, session *Session, user *Subject, verdict Verdict, now time.Time) (*Grant, error) {
	key, next, ok := a.successor(p.Token, session)
	if !ok {
		// The root key that made the successor was taken away. That is an operator's
		// mistake and not the client's: nobody is signed out for it.
		return nil, unavailable(errors.New("replay rotation: the root key of the successor is missing"))
	}
	issuedAt := now
	if verdict.ByLeeway {
		issuedAt = session.RotatedAt
	}
	return a.grant(ctx, session, user, mint(key, session, next), issuedAt, now)
}

// successor finds the secret that the session's latest rotation gave to the
// holder of the parent token, whichever root key made it.
func (a *Authority) successor(parent *RefreshToken, session *Session) (*rootkey.Key, secret, bool) {
	for _, key := range a.roots.All() {
		next := successorSecret(key, session.Salt, session.ID, session.Generation, parent.ratchet())
		if next.hash() == session.SecretHash {
			return key, next, true
		}
	}
	return nil, secret{}, false
}

// alarm ends a session whose token was reused (row 9), or whose store has lost
// writes (row 10).
func (a *Authority) alarm(ctx context.Context, p Presentation, session *Session, verdict Verdict, client Client) error {
	kind := EventTokenReused
	if verdict.Outcome == OutcomeAhead {
		kind = EventStoreBehind
	}
	// If somebody else has ended it since the read, ErrNoMatch makes the caller
	// decide anew: the answer is then row 3, and there is one alarm, not two.
	err := a.end(ctx, session, verdict.Reason, Event{
		Kind:   kind,
		Client: client.bounded(),
		Detail: alarmFacts(p, session, verdict),
	})
	if err != nil {
		return err
	}
	return refusal(p, verdict)
}

// alarmFacts are what an auditor needs of both presenters of one session's tokens:
// the one of now is the event's client, the one before is whom the row names.
func alarmFacts(p Presentation, session *Session, verdict Verdict) map[string]string {
	facts := map[string]string{
		"presented_generation": fmt.Sprint(p.Token.generation),
		"current_generation":   fmt.Sprint(session.Generation),
		"last_rotated_at":      session.RotatedAt.Format(time.RFC3339Nano),
		"last_rotated_by":      session.Client.UserAgent,
	}
	if session.Client.Addr.IsValid() {
		facts["last_rotated_from"] = session.Client.Addr.String()
	}
	if verdict.Behind > 0 {
		facts["generations_behind"] = fmt.Sprint(verdict.Behind)
	}
	return facts
}

// refusal is the error that tells a client about a verdict.
func refusal(p Presentation, verdict Verdict) error {
	switch verdict.Outcome {
	case OutcomeMislabeled:
		return &GenerationMismatchError{Generation: p.Token.generation}
	case OutcomeExpired:
		return ErrRefreshTokenExpired
	case OutcomeEnded, OutcomeAhead:
		return &SessionEndedError{Reason: verdict.Reason}
	case OutcomeSuperseded:
		return ErrRefreshSuperseded
	case OutcomeReused:
		return ErrRefreshTokenReused
	}
	return ErrRefreshTokenInvalid
}

// PickRefreshToken chooses among the refresh tokens of one request. Those that
// are not genuine are ignored, since any site of the same domain can toss a
// cookie in; of one session the newest generation counts. Genuine tokens of two
// sessions give [ErrRefreshTokenAmbiguous], none at all [ErrRefreshTokenInvalid].
func (a *Authority) PickRefreshToken(presented []string) (string, error) {
	token, err := a.pick(presented)
	return token.Reveal(), err
}

func (a *Authority) pick(presented []string) (RefreshToken, error) {
	var picked *RefreshToken
	for _, text := range presented {
		token, err := ParseRefreshToken(a.roots, text)
		switch {
		case err != nil:
			continue
		case picked != nil && picked.session != token.session:
			return RefreshToken{}, ErrRefreshTokenAmbiguous
		case picked == nil || token.generation > picked.generation:
			picked = &token
		}
	}
	if picked == nil {
		return RefreshToken{}, ErrRefreshTokenInvalid
	}
	return *picked, nil
}
