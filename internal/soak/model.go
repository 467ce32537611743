package main

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// # The model
//
// The specification that a history is held against: docs/refresh.md, written down
// once more, as short as it goes and without a line of the server's code. If the
// two disagree, one of them is wrong, and the check says so.
//
// A world is one user with all their sessions. The partition is the user and not
// the session, since "log out everywhere" and "others", disabling and listing are
// about several sessions at once: cut up by session, a store that ended only half
// of them would pass. Users have few clients and few sessions here, so that a
// partition stays small, and the check takes a fraction of the run.
//
// What the server makes at random is not in the model. The successor of a token and
// the epoch that replaces another are empty until an answer tells what they are;
// from then on every other answer has to agree.
//
// Where sessions are kept apart from users, in Redis, no transaction covers both,
// and four things may be seen there that one database never shows. None of them
// gives anybody anything:
//
//   - A list is read in several steps, so that it may show one session as it was
//     before another ended.
//   - A sign-in that was answered with 503 may be taken back: its session, which
//     nobody has the token of, is seen and then is not.
//   - Who ends a session that a change of the user has just ended may give it a
//     second reason.
//   - A refresh at the very moment of "others" may bring an access token of the
//     epoch before, which is refused, and renewed by the next refresh.

// world is one user and their sessions. It is a value: verbs return another one.
type world struct {
	apart    bool       // sessions are kept apart from users
	epoch    string     // of the user, as access tokens spell it; empty: nobody has seen it yet
	past     string     // all epochs before
	replaced *Operation // that replaced the epoch last
	reason   string     // for which it did
	disabled bool
	sessions []*session // by ID; each is shared between worlds and never changed
	births   int        // sign-ins without an answer: as many sessions may be there
	pending  []*Operation
}

// session is one sign-in.
type session struct {
	id         string
	generation int
	token      string                 // the current one; empty: nobody has seen it yet
	keys       [rememberedKeys]string // of the latest rotations, the latest first
	ended      string                 // the reason; empty: it was not ended itself
	lapse      *Operation             // that replaced its epoch; nil: it lives under the present one
	changed    *Operation             // that began or ended it last
}

// rememberedKeys is for how many rotations the server knows the key.
const rememberedKeys = 8

// row is a row of the decision table.
type row string

const (
	mislabeled row = "1b mislabeled"
	ended      row = "3 ended"
	unheardOf  row = "4 unheard of"
	rotated    row = "5 rotated"
	replayed   row = "6 replayed"
	superseded row = "8 superseded"
	reused     row = "9 reused"
	ahead      row = "10 ahead"
)

// decide is the decision table: the row that applies to a presented refresh token,
// and the world after it.
func (w world) decide(in *Operation) (row, world) {
	if in.Label != 0 && in.Label != in.Generation {
		return mislabeled, w
	}
	s := w.session(in.Session)
	if s == nil {
		return unheardOf, w
	}
	if w.over(s) != "" {
		return ended, w
	}
	behind := s.generation - in.Generation
	explained := in.Key != "" && behind >= 1 && behind <= rememberedKeys && s.keys[behind-1] == in.Key
	switch {
	case behind == 0 && in.Token == s.token:
		return rotated, w.with(s.rotate(in.Key))
	case behind <= 0:
		return ahead, w.with(s.end("restored", in))
	case explained && behind == 1:
		return replayed, w
	case explained:
		return superseded, w
	}
	return reused, w.with(s.end("reuse", in))
}

// refresh holds an answer against the table.
func (w world) refresh(op *Operation) (world, bool) {
	row, next := w.decide(op)
	return w.agree(row, next, op)
}

// agree holds an answer against the row that applies.
func (w world) agree(row row, next world, in *Operation) (world, bool) {
	out := &in.Outcome
	switch row {
	case rotated, replayed:
		s := next.session(in.Session)
		if out.Status != 200 || out.Session != s.id || out.Generation != s.generation || out.Epoch == "" {
			return w, false
		}
		if w.apart && row == rotated && strings.Contains(w.past, out.Epoch) && in.overlaps(w.replaced) {
			return next.seen(s, out.Token, w.epoch)
		}
		return next.seen(s, out.Token, out.Epoch)
	case mislabeled:
		return next, out.is(409, "refresh_generation_mismatch") && out.Generation == in.Generation
	case superseded:
		return next, out.is(409, "refresh_superseded")
	case reused:
		return next, out.is(401, "refresh_token_reused")
	case ended:
		return next, out.is(401, "session_ended") && out.Reason == w.over(w.session(in.Session))
	case ahead:
		return next, out.is(401, "session_ended") && out.Reason == "restored"
	}
	return next, false // the server made a token for a session that never was
}

// seen notes a token and an epoch that an answer told, unless they are known and
// others: two successors of one token, or an access token of an epoch that is over.
func (w world) seen(s *session, token, epoch string) (world, bool) {
	switch {
	case token == "" || s.token != "" && s.token != token:
		return w, false
	case w.epoch != "" && w.epoch != epoch || epoch != "" && strings.Contains(w.past, epoch):
		return w, false
	}
	w.epoch = epoch
	known := *s
	known.token = token
	return w.with(&known), true
}

// accepts says whether an access token is good: from the moment that it was made
// until its session is over, or was carried to another epoch.
func (w world) accepts(in *Input) bool {
	s := w.session(in.Session)
	return s != nil && w.over(s) == "" && w.epoch == in.Epoch
}

// list holds a list of sessions against the world. It may hold sessions that
// nobody has heard of, as long as there were sign-ins without an answer.
func (w world) list(op *Operation) (world, bool) {
	out := &op.Outcome
	if out.Status != 200 {
		return w, false
	}
	for _, s := range w.sessions {
		right := slices.Contains(out.Sessions, s.id) == (w.over(s) == "")
		if !right && !(w.apart && (s.token == "" || op.overlaps(s.changed))) {
			return w, false
		}
	}
	for _, id := range out.Sessions {
		if w.session(id) != nil {
			continue
		}
		if w.births == 0 || w.disabled {
			return w, false
		}
		w.births--
		w = w.with(&session{id: id, generation: 1, changed: op})
	}
	return w, true
}

// signIn holds the answer to a sign-in against the world.
func (w world) signIn(op *Operation) (world, bool) {
	out := &op.Outcome
	if w.disabled {
		return w, out.is(401, "invalid_credentials")
	}
	if out.Status >= 300 || out.Generation != 1 || out.Epoch == "" || w.session(out.Session) != nil {
		return w, false
	}
	return w.seen(&session{id: out.Session, generation: 1, changed: op}, out.Token, out.Epoch)
}

// end ends one session, if it is alive.
func (w world) end(id string, by *Operation) world {
	if s := w.session(id); s != nil && w.over(s) == "" {
		return w.with(s.end("logout", by))
	}
	return w
}

// replaceEpoch ends all sessions but the one that is carried over.
func (w world) replaceEpoch(by *Operation, reason, carried string) world {
	if w.epoch != "" {
		w.past += w.epoch + " "
	}
	w.epoch, w.replaced, w.reason = "", by, reason
	for _, s := range w.sessions {
		if s.id != carried && s.lapse == nil {
			lapsed := *s
			lapsed.lapse, lapsed.changed = by, by
			w = w.with(&lapsed)
		}
	}
	return w
}

// logoutWide is scope everywhere or others, by a session that was found alive. It
// comes too late if somebody has replaced the epoch since.
func (w world) logoutWide(op *Operation) (world, bool) {
	out := &op.Outcome
	if w.epoch != op.Epoch {
		return w, out.is(401, "session_ended") && out.Reason == w.reason
	}
	return w.carryOut(op), out.Status == 204
}

// carryOut is what a request does to the world, whatever is answered.
func (w world) carryOut(op *Operation) world {
	switch op.Kind {
	case Refresh:
		_, w = w.decide(op)
	case Logout:
		w = w.end(op.Session, op)
	case End:
		w = w.end(op.Target, op)
	case Everywhere, Others:
		if w.epoch != op.Epoch {
			return w
		}
		carried := ""
		if op.Kind == Others {
			carried = op.Session
		}
		w = w.replaceEpoch(op, "logout_everywhere", carried)
	case Disable:
		if !w.disabled {
			w = w.replaceEpoch(op, "user_disabled", "")
			w.disabled = true
		}
	case Enable:
		w.disabled = false
	}
	return w
}

// late is the world after a request that ends a session which it had found alive,
// when somebody replaced the epoch in between. That can be where sessions are kept
// apart from users. The session is over either way, but
// from now on clients are told the other reason. It takes a request that began
// before the replacement was answered.
func (w world) late(op *Operation) (row, world, bool) {
	id := op.Session
	if op.Kind == End {
		id = op.Target
	}
	s := w.session(id)
	if !w.apart || s == nil || s.ended != "" || !op.overlaps(s.lapse) {
		return "", w, false
	}
	found, then := *s, w
	found.lapse, then.disabled = nil, false
	then = then.with(&found)
	row := ended
	switch op.Kind {
	case Refresh:
		row, then = then.decide(op)
	case Logout, End:
		then = then.end(id, op)
	}
	over := *s
	over.ended = then.session(id).ended
	return row, w.with(&over), over.ended != ""
}

// over says why a session is over, and nothing if it is alive.
func (w world) over(s *session) string {
	switch {
	case s.ended != "":
		return s.ended
	case w.disabled:
		return "user_disabled"
	case s.lapse != nil:
		return w.reason
	}
	return ""
}

func (s *session) rotate(key string) *session {
	next := *s
	next.generation++
	next.token = ""
	copy(next.keys[1:], s.keys[:])
	next.keys[0] = key
	return &next
}

func (s *session) end(reason string, by *Operation) *session {
	next := *s
	next.ended, next.changed = reason, by
	return &next
}

// overlaps says whether an earlier operation, if there was one, may have been under
// way still when this one began.
func (op *Operation) overlaps(earlier *Operation) bool {
	return earlier != nil && (earlier.Outcome.Unknown || earlier.Return >= op.Call)
}

func (o *Outcome) is(status int, code string) bool { return o.Status == status && o.Code == code }

func (w world) find(id string) (int, bool) {
	return slices.BinarySearchFunc(w.sessions, id, func(s *session, id string) int { return cmp.Compare(s.id, id) })
}

func (w world) session(id string) *session {
	if i, found := w.find(id); found {
		return w.sessions[i]
	}
	return nil
}

// with puts a session in the place of the one with its ID, or adds it.
func (w world) with(s *session) world {
	i, found := w.find(s.id)
	w.sessions = slices.Clone(w.sessions)
	if found {
		w.sessions[i] = s
	} else {
		w.sessions = slices.Insert(w.sessions, i, s)
	}
	return w
}

// # Requests without an answer
//
// Such a request may have been carried out, may be carried out at any later time,
// or never. The usual way to say so is an operation that returns at the end of
// time; every one of them then doubles the ways in which a history can be put in
// order, and an outage leaves hundreds. Here it becomes pending the moment that it
// is sent, and the worlds that a later answer may come from are all those that
// pending requests lead to. That means the same, and stays quick, since hardly any
// of them still changes anything: only the refresh of the current token does, or a
// logout of a session that lives.
//
// Several tries at one request are one pending request that may be carried out
// again and again, which is a little more than they could do.

// sent adds a request without an answer.
func (w world) sent(op *Operation) world {
	if op.Kind == SignIn {
		w.births++
		return w
	}
	again := func(earlier *Operation) bool { return earlier.Kind == op.Kind && earlier.Input == op.Input }
	if !slices.ContainsFunc(w.pending, again) {
		w.pending = append(slices.Clip(w.pending), op)
	}
	return w
}

// meanwhile returns all worlds that this one may be by now: itself, and those that
// pending requests have made of it, in any order.
func (w world) meanwhile() []world {
	worlds := []world{w}
	for i := 0; i < len(worlds); i++ {
		for _, op := range w.pending {
			next := worlds[i].carryOut(op)
			if _, late, ok := worlds[i].late(op); ok {
				next = late // otherwise it does nothing
			}
			if !slices.ContainsFunc(worlds, next.equal) {
				worlds = append(worlds, next)
			}
		}
	}
	return worlds
}

func (w world) equal(other world) bool {
	sameSession := func(a, b *session) bool { return a == b || *a == *b }
	return w.epoch == other.epoch && w.replaced == other.replaced && w.births == other.births && w.past == other.past && w.reason == other.reason && w.disabled == other.disabled &&
		slices.EqualFunc(w.sessions, other.sessions, sameSession) && slices.Equal(w.pending, other.pending)
}

var hashSeed = maphash.MakeSeed()

// hash need not tell all worlds apart, only most.
func (w world) hash() uint64 {
	h := uint64(len(w.pending))
	for _, s := range w.sessions {
		h ^= maphash.Comparable(hashSeed, *s)
	}
	return h ^ maphash.String(hashSeed, w.epoch)
}

// String describes a world in a visualization.
func (w world) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %s", cmp.Or(w.epoch, "?"))
	if w.disabled {
		b.WriteString(", disabled")
	}
	for _, s := range w.sessions {
		fmt.Fprintf(&b, "; %s: generation %d %s %s", s.id, s.generation, cmp.Or(s.token, "?"), cmp.Or(w.over(s), "alive"))
	}
	if len(w.pending) > 0 {
		fmt.Fprintf(&b, "; %d pending", len(w.pending))
	}
	return b.String()
}
