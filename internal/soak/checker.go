package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// verdict is what the checker says about a history.
type verdict string

const (
	linearizable verdict = "linearizable"
	violated     verdict = "violated"
	undecided    verdict = "undecided" // the time was up: it proves nothing
)

// checkLimit bounds how long a question may take. Most take milliseconds.
const checkLimit = time.Minute

// check asks porcupine whether the answers of a history can be explained by
// requests that were carried out one after the other, each between its call and its
// return, in the way that the model says.
func check(h *History) verdict {
	switch porcupine.CheckOperationsTimeout(specification(h.Store), steps(h), checkLimit) {
	case porcupine.Ok:
		return linearizable
	case porcupine.Illegal:
		return violated
	}
	return undecided
}

// verb is what a step does to the world.
type verb string

const (
	authenticates verb = "authenticates"
	answers       verb = "answers"
	isSent        verb = "is sent"
)

// step is a part of an operation that is atomic.
type step struct {
	verb verb
	op   *Operation
}

// steps cuts a history into what is atomic. A request with an access token is two
// things: the server looks whether the token is good, and then does what was asked.
// Between the two, others may act. Both lie between call and return.
func steps(h *History) []porcupine.Operation {
	var all []porcupine.Operation
	for i := range h.Operations {
		op := &h.Operations[i]
		add := func(verb verb, end time.Duration) {
			all = append(all, porcupine.Operation{
				ClientId: op.Client, Input: step{verb, op}, Call: int64(op.Call), Output: &op.Outcome, Return: int64(end),
			})
		}
		if op.Outcome.Unknown {
			if op.Kind != Me && op.Kind != Sessions {
				add(isSent, op.Call)
			}
			continue
		}
		refused := false
		switch op.Kind {
		case Me, Sessions, End, Others, Everywhere:
			add(authenticates, op.Return)
			refused = op.Outcome.is(401, "access_token_revoked")
		}
		if !refused {
			add(answers, op.Return)
		}
	}
	return all
}

// specification is the model in porcupine's terms.
func specification(store string) porcupine.Model {
	spec := porcupine.NondeterministicModel{
		Partition: byUser,
		Init:      func() []any { return []any{world{apart: store == onRedis}} },
		Step: func(state, input, _ any) []any {
			return state.(world).step(input.(step)) //nolint:errcheck // porcupine hands back what it was given
		},
		Equal: func(a, b any) bool {
			return a.(world).equal(b.(world)) //nolint:errcheck // as above
		},
		Hash:              func(state any) uint64 { return state.(world).hash() },      //nolint:errcheck // as above
		DescribeOperation: func(input, _ any) string { return input.(step).String() },  //nolint:errcheck // as above
		DescribeState:     func(state any) string { return fmt.Sprint(state.(world)) }, //nolint:errcheck // as above
	}
	return spec.ToModel()
}

func byUser(all []porcupine.Operation) [][]porcupine.Operation {
	var partitions [][]porcupine.Operation
	index := map[string]int{}
	for _, op := range all {
		user := stepOf(op).op.User
		i, known := index[user]
		if !known {
			i = len(partitions)
			index[user] = i
			partitions = append(partitions, nil)
		}
		partitions[i] = append(partitions[i], op)
	}
	return partitions
}

// step returns the worlds in which the step can have been answered as it was.
func (w world) step(s step) []any {
	if s.verb == isSent {
		return []any{w.sent(s.op)}
	}
	var next []any
	for _, possible := range w.meanwhile() {
		if after, ok := possible.answer(s); ok {
			next = append(next, after)
		}
		if after, ok := possible.answerLate(s); ok {
			next = append(next, after)
		}
	}
	return next
}

// answerLate is answer for a request that ends a session whose epoch was replaced
// while it was at it.
func (w world) answerLate(s step) (world, bool) {
	row, after, ok := w.late(s.op)
	switch {
	case !ok || s.verb != answers:
		return w, false
	case s.op.Kind == Refresh:
		return w.agree(row, after, s.op)
	}
	return after, s.op.Outcome.Status == 204
}

func (w world) answer(s step) (world, bool) {
	in, out := &s.op.Input, &s.op.Outcome
	if s.verb == authenticates {
		return w, w.accepts(in) != out.is(401, "access_token_revoked")
	}
	switch s.op.Kind {
	case Me:
		return w, out.Status == 200 && out.Session == in.Session
	case Sessions:
		return w.list(s.op)
	case SignIn:
		return w.signIn(s.op)
	case Refresh:
		return w.refresh(s.op)
	case Everywhere, Others:
		return w.logoutWide(s.op)
	case Logout, End:
		return w.carryOut(s.op), out.Status == 204
	case Disable, Enable:
		return w.carryOut(s.op), out.Status == 200
	}
	return w, false
}

// String describes a step in a visualization.
func (s step) String() string {
	in, out := s.op.Input, s.op.Outcome
	text := fmt.Sprintf("%s %s", s.op.Kind, s.verb)
	if in.Session != "" {
		text += " " + in.Session
	}
	if in.Token != "" {
		text += fmt.Sprintf(" #%d %s key %s", in.Generation, in.Token, in.Key)
	}
	if in.Target != "" {
		text += " target " + in.Target
	}
	switch {
	case out.Unknown:
		return text + " → no answer: " + out.Error
	case s.verb == authenticates:
		return fmt.Sprintf("%s → %d", text, out.Status)
	}
	return fmt.Sprintf("%s → %d %s%s %s #%d %s %v", text, out.Status, out.Code, out.Reason, out.Session, out.Generation, out.Token, out.Sessions)
}

// report writes a history to a directory, and a picture of it for each user whose
// answers cannot be explained. It returns what to tell people: the files, and the
// answers that nothing explains.
func report(h *History, directory string) ([]string, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(directory, fmt.Sprintf("%s-%d", h.Store, h.Seed))
	lines := []string{name + ".json"}
	err := h.write(lines[0])
	model := specification(h.Store)
	for _, partition := range byUser(steps(h)) {
		result, info := porcupine.CheckOperationsVerbose(model, partition, checkLimit)
		if result == porcupine.Ok {
			continue
		}
		info.AddAnnotations(annotations(h))
		picture := fmt.Sprintf("%s-%s.html", name, stepOf(partition[0]).op.User)
		err = errors.Join(err, porcupine.VisualizePath(model, info, picture))
		lines = append(lines, picture, inexplicable(partition, info))
	}
	return lines, err
}

// inexplicable names the answer at which even the best try to put the requests in
// order came to its end. What is wrong may have happened before it.
func inexplicable(partition []porcupine.Operation, info porcupine.LinearizationInfo) string {
	longest := 0
	placed := map[step]bool{}
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) <= longest {
			continue
		}
		longest = len(order)
		clear(placed)
		for _, op := range order {
			placed[stepOf(op)] = true
		}
	}
	var first *porcupine.Operation
	for i, op := range partition {
		if !placed[stepOf(op)] && (first == nil || op.Return < first.Return) {
			first = &partition[i]
		}
	}
	if first == nil {
		return "the time was up"
	}
	s := stepOf(*first)
	return fmt.Sprintf("client %d at %v to %v: %s", s.op.Client, s.op.Call, s.op.Return, s)
}

func stepOf(op porcupine.Operation) step {
	return op.Input.(step) //nolint:errcheck // porcupine hands back what it was given
}

// annotations shows the faults beside the operations.
func annotations(h *History) []porcupine.Annotation {
	all := make([]porcupine.Annotation, len(h.Faults))
	for i, f := range h.Faults {
		all[i] = porcupine.Annotation{
			Tag: "nemesis", Start: int64(f.Begin), End: int64(f.End), Description: f.Kind, Details: f.On,
			BackgroundColor: "#ffe0b0",
		}
	}
	return all
}
