package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// A user's index is a sorted set whose members sort by their bytes: the time of
// creation and then the session ID. A score would be a double, which holds no
// microseconds after the year 2255.
//
// The index heals itself. What it names but is gone is removed when somebody sees
// it; what it does not name comes back when the session is refreshed, at the first
// refresh of each hour. So it costs the others nothing.

const entrySize = timeSize + len(innkeeper.SessionID{})

func entry(id innkeeper.SessionID, createdAt time.Time) string {
	return string(append(appendTime(make([]byte, 0, entrySize), createdAt), id[:]...))
}

func parseEntry(text string) (id innkeeper.SessionID, createdAt time.Time, err error) {
	r := reader{rest: text}
	createdAt = r.time()
	r.fill(id[:])
	if r.malformed || r.rest != "" {
		err = errMalformed
	}
	return id, createdAt, err
}

// hourOf numbers the hours. A clock that goes back enters another one, too.
func hourOf(t time.Time) int64 { return t.Unix() / int64(time.Hour/time.Second) }

// enter puts a session into its user's index, which lives as long as the longest
// of its sessions, and the hour more in which a refresh does not touch it.
//
// Sessions that nobody lists would leave their entries there. So whoever enters
// looks at the two oldest, if those should have expired already by this session's
// measure, and removes what is gone.
func (s *Store) enter(ctx context.Context, id innkeeper.SessionID, b *birth, now time.Time, seconds int64) error {
	seconds += int64(time.Hour / time.Second)
	own := entry(id, b.createdAt)
	oldest, _, err := s.conn.run(ctx, enterScript, s.keys.index(b.userID), own, strconv.FormatInt(seconds, 10))
	if err != nil {
		return err
	}
	var due []string
	for r := (reader{rest: oldest}); len(r.rest) >= entrySize; {
		member := r.take(entrySize)
		_, createdAt, err := parseEntry(member)
		if err == nil && member != own && createdAt.Add(b.expiresAt.Sub(b.createdAt)).Before(now.Add(-margin)) {
			due = append(due, member)
		}
	}
	if len(due) == 0 {
		return nil
	}
	return s.dropGone(ctx, b.userID, due)
}

// dropGone removes those of a user's entries whose sessions are no more.
func (s *Store) dropGone(ctx context.Context, user innkeeper.UserID, entries []string) error {
	found, err := s.hashes(ctx, entries)
	if err != nil {
		return err
	}
	var gone []string
	for i, fields := range found {
		if len(fields) == 0 {
			gone = append(gone, entries[i])
		}
	}
	return s.leave(ctx, user, gone...)
}

// touch enters a session again that has just been rotated. The rotation is good
// without it.
func (s *Store) touch(ctx context.Context, session *innkeeper.Session, b *birth) {
	seconds := lifetime(session.RotatedAt, session.RefreshExpiresAt)
	if err := s.enter(ctx, session.ID, b, session.RotatedAt, seconds); err != nil {
		s.log.WarnContext(ctx, "a session may be missing from its user's list for an hour",
			"session", session.ID.String(), "error", err)
	}
}

// leave removes entries from a user's index.
func (s *Store) leave(ctx context.Context, user innkeeper.UserID, entries ...string) error {
	const most = 1000 // of one command
	for chunk := range slices.Chunk(entries, most) {
		if err := s.conn.removeMembers(ctx, s.keys.index(user), chunk); err != nil {
			return err
		}
	}
	return nil
}

// Sessions implements [innkeeper.SessionStore].
//
// If sessions are passed over because of their epoch, the user is read again: only
// if their epoch has stood still do those sessions belong to an older one. Then
// they are over for good, and their entries are removed.
func (s *Store) Sessions(ctx context.Context, query innkeeper.SessionQuery) ([]innkeeper.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("list sessions", err)
	}
	for range maxLooks {
		epoch, ok, err := s.epoch(ctx, query.UserID)
		if err != nil || !ok {
			return nil, wrap("list sessions", err)
		}
		p, err := s.page(ctx, query, epoch)
		if err != nil {
			return nil, wrap("list sessions", err)
		}
		if p.strangers {
			now, _, err := s.epoch(ctx, query.UserID)
			if err != nil {
				return nil, wrap("list sessions", err)
			}
			if now != epoch {
				continue
			}
		}
		if err := s.leave(ctx, query.UserID, append(p.gone, p.passed...)...); err != nil {
			s.log.DebugContext(ctx, "dead entries stay in a user's index", "error", err)
		}
		return p.live, nil
	}
	return nil, wrap("list sessions", errRestless)
}

// epoch returns a user's epoch, and false if they can have no session.
func (s *Store) epoch(ctx context.Context, id innkeeper.UserID) (innkeeper.Epoch, bool, error) {
	user, err := s.base.Users.User(ctx, id)
	switch {
	case errors.Is(err, innkeeper.ErrNotFound):
		return innkeeper.Epoch{}, false, nil
	case err != nil:
		return innkeeper.Epoch{}, false, err
	}
	return user.Epoch, !user.Disabled, nil
}

// page is a part of a user's index.
type page struct {
	live   []innkeeper.Session
	gone   []string // entries of sessions that have ended, or are no more
	passed []string // entries of sessions with another epoch than the user's

	strangers bool // whether there were such sessions, young ones included
}

// page reads the index until it has found the sessions that were asked for.
func (s *Store) page(ctx context.Context, query innkeeper.SessionQuery, epoch innkeeper.Epoch) (page, error) {
	const batch = 128
	var p page
	below, err := s.position(ctx, query.After)
	if err != nil {
		return p, err
	}
	for {
		entries, err := s.conn.members(ctx, s.keys.index(query.UserID), below, batch)
		if err != nil || len(entries) == 0 {
			return p, err
		}
		found, err := s.hashes(ctx, entries)
		if err != nil {
			return p, err
		}
		for i, member := range entries {
			rec, err := s.judged(ctx, member, found[i])
			if err == nil {
				err = p.add(member, rec, query, epoch)
			}
			if err != nil {
				return p, err
			}
			if len(p.live) == query.Limit {
				return p, nil
			}
		}
		if len(entries) < batch {
			return p, nil
		}
		below = "(" + entries[len(entries)-1]
	}
}

// position is where in the index a page begins, as ZRANGE wants it.
func (s *Store) position(ctx context.Context, after innkeeper.SessionID) (string, error) {
	const beginning = "+"
	if after == (innkeeper.SessionID{}) {
		return beginning, nil
	}
	field, ok, err := s.conn.field(ctx, s.keys.session(after), fieldBirth)
	if err != nil || !ok {
		return beginning, err
	}
	b, err := parseBirth(field)
	return "(" + entry(after, b.createdAt), err
}

// hashes reads the sessions of index entries.
func (s *Store) hashes(ctx context.Context, entries []string) ([]map[string]string, error) {
	names := make([]string, len(entries))
	for i, member := range entries {
		id, _, err := parseEntry(member)
		if err != nil {
			return nil, err
		}
		names[i] = s.keys.session(id)
	}
	return s.conn.hashes(ctx, names)
}

// judged reads the session of an index entry, nil if there is none.
func (s *Store) judged(ctx context.Context, member string, fields map[string]string) (*record, error) {
	id, _, err := parseEntry(member)
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	rec, err := parseRecord(id, fields)
	if err == nil {
		err = s.judge(ctx, &rec)
	}
	return &rec, err
}

// add sorts a session into the page. A young entry is never taken for a dead one:
// its session may be on its way, see [Store.CreateSession], or its epoch.
func (p *page) add(member string, rec *record, query innkeeper.SessionQuery, epoch innkeeper.Epoch) error {
	_, createdAt, err := parseEntry(member)
	if err != nil {
		return err
	}
	young := createdAt.After(query.AliveAt.Add(-margin))
	switch {
	case rec == nil:
		if !young {
			p.gone = append(p.gone, member)
		}
	case rec.session.Ended():
		p.gone = append(p.gone, member)
	case !rec.resolve(epoch):
		p.strangers = true
		if !young {
			p.passed = append(p.passed, member)
		}
	case rec.session.RefreshExpiresAt.After(query.AliveAt):
		p.live = append(p.live, rec.session)
	}
	return nil
}
