package innkeeper

import "time"

// Outcome is what becomes of one presented refresh token. The comments number
// the rows of the decision table in docs/refresh.md.
type Outcome string

// The outcomes.
const (
	OutcomeInvalid    Outcome = "invalid"    // row 1: not ours, or it came the wrong way
	OutcomeMislabeled Outcome = "mislabeled" // row 1b: the key names another generation
	OutcomeExpired    Outcome = "expired"    // row 2: past its own expiry
	OutcomeEnded      Outcome = "ended"      // rows 3 and 4: the session is over or unknown
	OutcomeRotated    Outcome = "rotated"    // row 5: the current token
	OutcomeReplayed   Outcome = "replayed"   // rows 6 and 7: the parent, by whoever rotated it
	OutcomeSuperseded Outcome = "superseded" // row 8: a late duplicate of an honest request
	OutcomeReused     Outcome = "reused"     // row 9: a dead token in the wrong hands
	OutcomeAhead      Outcome = "ahead"      // row 10: the store has lost writes
)

// Presentation is one try at a refresh, as far as it can be known without
// looking at a store.
type Presentation struct {
	Token    *RefreshToken // nil: the text was not a token of ours
	Delivery Delivery      // how it came
	Key      IdempotencyKey
}

// Verdict is a decision and what is needed to carry it out.
type Verdict struct {
	Outcome Outcome
	Reason  Reason // of an ended session
	Behind  uint32 // how many generations old the presented token is
	// ByLeeway says that the replay was granted without a key (row 7), so that the
	// access token must not outlive the one that the rotation gave.
	ByLeeway bool
}

// screen decides the rows that need no store: a token that we did not mint, that
// is mislabeled or that has expired never reaches one. It returns false where
// the stored session has to be asked.
func screen(p Presentation, now time.Time) (Verdict, bool) {
	switch {
	case p.Token == nil || p.Token.delivery != p.Delivery:
		return Verdict{Outcome: OutcomeInvalid}, true
	case p.Key.generation != 0 && p.Key.generation != p.Token.generation:
		return Verdict{Outcome: OutcomeMislabeled}, true
	case !now.Before(p.Token.ExpiresAt()), p.Token.generation == maxGeneration:
		return Verdict{Outcome: OutcomeExpired}, true
	}
	return Verdict{}, false
}

// Decide is the decision table: what becomes of a presented refresh token, given
// the stored session and its user as they are. A nil session does not exist; a
// nil user has been deleted. It is a pure function; leeway is the policy's
// RefreshLeeway.
//
// Nothing in it depends on a restart, on the number of nodes or, but for expiry
// and leeway, on a clock.
func Decide(p Presentation, session *Session, user *Subject, now time.Time, leeway time.Duration) Verdict {
	if verdict, decided := screen(p, now); decided {
		return verdict
	}
	if session == nil {
		return Verdict{Outcome: OutcomeEnded, Reason: ReasonExpired}
	}
	// Before anything else about the token: whoever holds a token of a session that
	// is over learns just that, and no second alarm is raised.
	if reason, alive := session.aliveFor(user); !alive {
		return Verdict{Outcome: OutcomeEnded, Reason: reason}
	}
	if p.Token.ratchet().hash() == session.SecretHash {
		return Verdict{Outcome: OutcomeRotated}
	}
	if p.Token.generation >= session.Generation {
		return Verdict{Outcome: OutcomeAhead, Reason: ReasonRestored}
	}

	behind := session.Generation - p.Token.generation
	keyShown := session.RecentKeys.rotated(behind, p.Key.hash)
	switch {
	case behind == 1 && keyShown:
		return Verdict{Outcome: OutcomeReplayed, Behind: behind}
	case behind == 1 && withinLeeway(p, session, now, leeway):
		return Verdict{Outcome: OutcomeReplayed, Behind: behind, ByLeeway: true}
	case keyShown:
		return Verdict{Outcome: OutcomeSuperseded, Behind: behind}
	}
	return Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: behind}
}

// withinLeeway is row 7: comfort for clients that cannot send a key, at the
// price of detection while the leeway lasts. It is fixed to the rotation and
// never renewed, and it never covers a rotation that was made with a key. The
// clocks of two servers, or of one that was set back, may differ by the leeway,
// and by nothing where there is none.
func withinLeeway(p Presentation, session *Session, now time.Time, leeway time.Duration) bool {
	none := KeyHash{}
	age := now.Sub(session.RotatedAt)
	return p.Key.hash == none && session.RecentKeys[0] == none && -leeway < age && age < leeway
}
