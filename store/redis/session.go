package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// CreateSession implements [innkeeper.SessionStore].
//
// The order of its steps, and what is left when it stops after one:
//
//  1. Read the user from SQL. Nothing is written.
//  2. Put the entry into the user's index: it names no session, and is removed when
//     somebody sees that.
//  3. Put the session: nobody holds its token, and Redis lets it go in time.
//  4. Write the event to SQL: the same, and the log knows of it.
//  5. End the replaced session, see [Store.EndSession]. It comes last, so that until
//     then a client which is told of a failure still has what it came with.
//
// A failure that is noticed takes the session away again, if Redis lets us.
func (s *Store) CreateSession(ctx context.Context, birth innkeeper.Birth) error {
	return wrap("create session", s.create(ctx, &birth))
}

func (s *Store) create(ctx context.Context, birth *innkeeper.Birth) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	session := &birth.Session
	user, err := s.base.Users.User(ctx, session.UserID)
	switch {
	case errors.Is(err, innkeeper.ErrNotFound):
		return innkeeper.ErrEpochMoved
	case err != nil:
		return err
	case user.Disabled || user.Epoch != session.Epoch:
		return innkeeper.ErrEpochMoved
	}
	ctx = context.WithoutCancel(ctx)
	if err := s.put(ctx, session); err != nil {
		return err
	}
	if err := s.announce(ctx, birth); err != nil {
		s.discard(ctx, session)
		return err
	}
	return nil
}

// announce makes known that a session has begun, and with that, that the one which
// it replaces is over.
func (s *Store) announce(ctx context.Context, birth *innkeeper.Birth) error {
	if birth.Event.Kind != "" {
		if err := s.base.Events.AppendEvent(ctx, birth.Event); err != nil {
			return err
		}
	}
	if birth.Replaces == nil {
		return nil
	}
	err := s.end(ctx, birth.Replaces)
	if errors.Is(err, innkeeper.ErrNoMatch) {
		return nil
	}
	return err
}

// put writes a session, and before it its entry in the index.
func (s *Store) put(ctx context.Context, session *innkeeper.Session) error {
	b := birthOf(session)
	seconds := lifetime(session.RotatedAt, session.RefreshExpiresAt)
	if err := s.enter(ctx, session.ID, &b, session.RotatedAt, seconds); err != nil {
		return err
	}
	_, _, err := s.conn.run(ctx, createScript, s.keys.session(session.ID),
		string(appendBirth(nil, &b)),
		string(session.Epoch[:]),
		string(session.SecretHash[:]),
		string(appendRecent(nil, session.RotatedAt, session.RecentKeys[:]...)),
		string(appendRotation(nil, session.RefreshExpiresAt, session.Generation, session.Salt, session.Client)),
		strconv.FormatInt(seconds, 10))
	if err == nil {
		s.births.put(session.ID, b)
	}
	return err
}

// discard takes back what put has written, as far as Redis lets us. What stays is a
// session that nobody has the token of.
func (s *Store) discard(ctx context.Context, session *innkeeper.Session) {
	b := birthOf(session)
	err := s.conn.remove(ctx, s.keys.session(session.ID))
	if err == nil {
		err = s.leave(ctx, b.userID, entry(session.ID, b.createdAt))
	}
	if err != nil {
		s.log.WarnContext(ctx, "a session that nobody has the token of stays until it expires",
			"session", session.ID.String(), "error", err)
	}
}

// RotateSession implements [innkeeper.SessionStore].
//
// The user is read before the swap: a database that fails consumes nothing. Should
// their epoch move between the two, then the rotation came first: the session is
// over like all the others of that epoch.
func (s *Store) RotateSession(ctx context.Context, r innkeeper.Rotation) (innkeeper.Session, innkeeper.Subject, error) {
	session, user, err := s.rotate(ctx, &r)
	if err != nil {
		return innkeeper.Session{}, innkeeper.Subject{}, wrap("rotate session", err)
	}
	return session, user, nil
}

func (s *Store) rotate(ctx context.Context, r *innkeeper.Rotation) (session innkeeper.Session, subject innkeeper.Subject, err error) {
	if err := ctx.Err(); err != nil {
		return session, subject, err
	}
	b, err := s.birth(ctx, r.SessionID)
	if err != nil {
		return session, subject, noMatch(err)
	}
	user, err := s.base.Users.User(ctx, b.userID)
	if err != nil {
		return session, subject, noMatch(err)
	}
	if user.Disabled {
		return session, subject, innkeeper.ErrNoMatch
	}
	session = b.session(r.SessionID)
	session.Epoch = user.Epoch // the script compares it
	r.Apply(&session)
	before, err := s.pass(ctx, r, &session)
	if err != nil {
		return session, subject, err
	}
	if hourOf(before) != hourOf(session.RotatedAt) {
		s.touch(ctx, &session, &b)
	}
	return session, user.Subject, nil
}

// noMatch is the error of a rotation for which there is no session or no user.
func noMatch(err error) error {
	if errors.Is(err, innkeeper.ErrNotFound) {
		return innkeeper.ErrNoMatch
	}
	return err
}

// pass swaps. If an ending of the session was begun, that has done nothing, and another
// one follows once the ending is known not to have come to pass.
func (s *Store) pass(ctx context.Context, r *innkeeper.Rotation, session *innkeeper.Session) (time.Time, error) {
	var judged begun
	for range maxLooks {
		before, err := s.swap(ctx, r, session, &judged)
		if !errors.Is(err, errBegun) {
			return before, err
		}
		rec, err := s.record(ctx, r.SessionID)
		if err == nil {
			err = s.judge(ctx, &rec)
		}
		switch {
		case err != nil:
			return time.Time{}, noMatch(err)
		case rec.session.Ended():
			return time.Time{}, innkeeper.ErrNoMatch
		}
		judged = rec.begun
	}
	return time.Time{}, errRestless
}

// swap is the compare-and-swap. It completes the session by the keys of the
// rotations before, and returns when the latest of them was. It returns errBegun if an
// ending was begun that is not the one that was judged.
func (s *Store) swap(ctx context.Context, r *innkeeper.Rotation, session *innkeeper.Session, judged *begun) (time.Time, error) {
	// One text that is cut into arguments is one allocation.
	var buf [512]byte
	packed := append(buf[:0], r.Presented[:]...)
	packed = append(packed, session.Epoch[:]...)
	packed = append(packed, r.SecretHash[:]...)
	recent := len(packed)
	packed = append(appendTime(packed, r.At), r.Key[:]...)
	rotation := len(packed)
	packed = appendRotation(packed, session.RefreshExpiresAt, r.Generation, r.Salt, r.Client)
	seconds := len(packed)
	packed = strconv.AppendInt(packed, lifetime(r.At, session.RefreshExpiresAt), 10)
	text := string(packed)

	const hash, epoch = len(r.Presented), len(session.Epoch)
	reply, ok, err := s.conn.run(ctx, rotateScript, s.keys.session(r.SessionID),
		text[:hash], text[hash:hash+epoch], text[hash+epoch:recent], text[recent:rotation], text[rotation:seconds], text[seconds:],
		judged.field, s.forgets(judged))
	switch {
	case err != nil:
		return time.Time{}, err
	case !ok:
		return time.Time{}, innkeeper.ErrNoMatch
	case reply == "":
		return time.Time{}, errBegun
	}
	before, keys, err := parseRecent(reply)
	session.RecentKeys = keys.Push(r.Key)
	return before, err
}

// Session implements [innkeeper.SessionStore].
func (s *Store) Session(ctx context.Context, id innkeeper.SessionID) (innkeeper.Session, *innkeeper.Subject, error) {
	rec, user, err := s.settled(ctx, id)
	if err == nil {
		err = s.judge(ctx, &rec)
	}
	if err != nil {
		return innkeeper.Session{}, nil, wrap("read session", err)
	}
	return rec.session, user, nil
}

// settled reads a session and its user, nil if deleted. It returns ErrNotFound.
//
// A session that is carried to a new epoch learns of it before the user does. Who
// reads it before and its user after that sees two that do not match, though they
// never lived apart; so it looks again, until the epoch has stood still meanwhile.
func (s *Store) settled(ctx context.Context, id innkeeper.SessionID) (record, *innkeeper.Subject, error) {
	var last innkeeper.Epoch
	for look := range maxLooks {
		rec, user, err := s.member(ctx, id)
		if err != nil {
			return record{}, nil, err
		}
		if user == nil || rec.resolve(user.Epoch) || rec.session.Ended() || look > 0 && user.Epoch == last {
			return rec, user, nil
		}
		last = user.Epoch
	}
	return record{}, nil, errRestless
}

// maxLooks bounds how often something is read anew because the user's epoch moved
// under the reader.
const maxLooks = 5

var errRestless = errors.New("the user keeps changing")

// member reads a session and then its user, nil if deleted.
func (s *Store) member(ctx context.Context, id innkeeper.SessionID) (record, *innkeeper.Subject, error) {
	rec, err := s.record(ctx, id)
	if err != nil {
		return record{}, nil, err
	}
	user, err := s.base.Users.User(ctx, rec.session.UserID)
	switch {
	case errors.Is(err, innkeeper.ErrNotFound):
		return rec, nil, nil
	case err != nil:
		return record{}, nil, err
	}
	return rec, &user.Subject, nil
}

// record reads a session as it is stored. It returns ErrNotFound.
func (s *Store) record(ctx context.Context, id innkeeper.SessionID) (record, error) {
	if err := ctx.Err(); err != nil {
		return record{}, err
	}
	found, err := s.conn.hashes(ctx, []string{s.keys.session(id)})
	switch {
	case err != nil:
		return record{}, err
	case len(found[0]) == 0:
		return record{}, innkeeper.ErrNotFound
	}
	return parseRecord(id, found[0])
}

// SweepSessions implements [innkeeper.SessionStore]. Redis lets go of sessions by
// itself.
func (s *Store) SweepSessions(context.Context, time.Time, int) (int, error) { return 0, nil }
