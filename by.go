package innkeeper

import "maps"

// By says who does something, for the audit log: an [Actor] by its name, or a [Requester],
// of whom more is known. Programs that act for themselves give an actor, like
// [ActorOperator]; those that do what a request asks for give a requester, so that the log
// says from where. It MUST NOT be nil.
type By interface{ requester() Requester }

// Requester is an actor who has sent a request.
type Requester struct {
	Actor  Actor  // empty: it is not known by name
	Client Client // that has sent the request; zero value: nothing is known of it
	// SessionID is that of the actor, whomever the act concerns. The zero value means
	// that the actor has none, as services have none.
	SessionID SessionID
}

func (a Actor) requester() Requester     { return Requester{Actor: a} }
func (r Requester) requester() Requester { return r }

// signed is the event with who has done it, and from where. The session of who has done
// it is a fact beside the others: SessionID says which one the event concerns.
func (e Event) signed(by By) Event {
	r := by.requester()
	e.Actor, e.Client = r.Actor, r.Client.bounded()
	if r.SessionID != (SessionID{}) {
		e = e.with(map[string]string{"by_session": r.SessionID.String()})
	}
	return e
}

// with is the event with further facts.
func (e Event) with(facts map[string]string) Event {
	if len(facts) == 0 {
		return e
	}
	e.Detail = maps.Clone(e.Detail)
	if e.Detail == nil {
		e.Detail = make(map[string]string, len(facts))
	}
	maps.Copy(e.Detail, facts)
	return e
}
