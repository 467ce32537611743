package redis

import (
	"context"
	"errors"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// EndSession implements [innkeeper.SessionStore].
//
// The order of its steps, and what is left when it stops after one:
//
//  1. Read the session from Redis. Nothing is written.
//  2. Note at the session that this has begun. From here on whoever wants to use the
//     session asks the log in SQL first, see [Store.judge], and finds nothing: it lives.
//     But whoever asks for the first time an hour later could not tell this from step 3,
//     and the session is over.
//  3. Write event and revocation entry to SQL. From here on the session is over:
//     verifiers refuse its access tokens, and whoever wants to use it finds the event.
//     Whoever tries again writes no second alarm, since the feed knows the session.
//  4. End the session in Redis, so that nobody has to ask any more.
//
// Of several that race, the first in step 3 is the one whose event is kept, and the
// first in step 4 the one that gets no error and whose reason is kept.
func (s *Store) EndSession(ctx context.Context, ending innkeeper.Ending) error {
	return wrap("end session", s.end(ctx, &ending))
}

func (s *Store) end(ctx context.Context, ending *innkeeper.Ending) error {
	rec, user, err := s.settled(ctx, ending.SessionID)
	switch {
	case err != nil:
		return noMatch(err)
	case rec.session.Ended(), user == nil, user.Disabled, user.Epoch != rec.session.Epoch:
		return innkeeper.ErrNoMatch
	}
	key := s.keys.session(ending.SessionID)
	_, lives, err := s.conn.run(ctx, beginScript, key, string(appendBegun(nil, s.clock(), ending)))
	switch {
	case err != nil:
		return err
	case !lives:
		return innkeeper.ErrNoMatch
	}
	if err := s.base.Revocations.Revoke(ctx, ending.Revocation, ending.Event); err != nil {
		return err
	}
	_, ended, err := s.conn.run(ctx, endScript, key, string(appendEnding(nil, ending)))
	switch {
	case err != nil:
		return err
	case !ended:
		return innkeeper.ErrNoMatch
	}
	// The session is over, whether or not its entry goes at once.
	if err := s.leave(ctx, rec.birth.userID, entry(ending.SessionID, rec.birth.createdAt)); err != nil {
		s.log.DebugContext(ctx, "an ended session stays in its user's index until somebody looks", "error", err)
	}
	return nil
}

const (
	// inDoubt is how long the log is asked about an ending that was begun. Later nobody
	// could tell whether its event was never written or has been swept, and the session
	// counts as ended.
	inDoubt = time.Hour
	// inFlight is longer than any write to SQL takes. An ending that has left no event by
	// then never will.
	inFlight = 10 * time.Minute
)

// errBegun reports that an ending was begun that has to be judged first.
var errBegun = errors.New("an ending of the session was begun")

// judge makes a session an ended one if its ending was begun and came to pass, though
// Redis does not know. It does not write that down: whoever began it may be about to,
// and would take it for the work of somebody else. How long ago that was, servers
// measure by their own clocks: not every reader is told the time of the domain.
func (s *Store) judge(ctx context.Context, rec *record) error {
	if rec.begun == (begun{}) {
		return nil
	}
	over := s.clock().Sub(rec.begun.notedAt) >= inDoubt
	if !over {
		var err error
		if over, err = s.told(ctx, rec.session.ID); err != nil {
			return err
		}
	}
	if over {
		rec.session.EndedAt, rec.session.Reason = rec.begun.at, rec.begun.reason
		rec.session.SecretHash = innkeeper.SecretHash{}
	}
	return nil
}

// told reports whether the log says that a session has ended.
func (s *Store) told(ctx context.Context, id innkeeper.SessionID) (bool, error) {
	for _, kind := range []innkeeper.EventKind{innkeeper.EventSessionEnded, innkeeper.EventTokenReused, innkeeper.EventStoreBehind} {
		found, err := s.base.Events.Events(ctx, innkeeper.EventQuery{SessionID: id, Kind: kind, Limit: 1})
		if err != nil || len(found) > 0 {
			return len(found) > 0, err
		}
	}
	return false, nil
}

// forgets is the argument of a rotation that says whether to forget an ending that came
// to nothing. Until then its write to SQL may still be under way.
func (s *Store) forgets(judged *begun) string {
	if *judged == (begun{}) || s.clock().Sub(judged.notedAt) < inFlight {
		return ""
	}
	return "y"
}
