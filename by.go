package innkeeper

// By says who does something, for the audit log: an [Actor], like [ActorOperator]. It
// MUST NOT be nil.
type By interface{ who() Actor }

func (a Actor) who() Actor { return a }

// signed is the event with the name of who has done it.
func (e Event) signed(by By) Event {
	e.Actor = by.who()
	return e
}
