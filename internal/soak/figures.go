package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// figures are what a run of histories comes to.
type figures struct {
	store      string
	histories  int
	operations int
	unknown    int
	answers    map[string]int // by kind and answer
	faults     map[string]int // by kind
	verdicts   map[verdict]int
	honest     int      // sessions that nobody had asked to end and no thief had touched
	signedOut  []string // those of them that were refused all the same
	late       int      // those that a duplicate of more than eight generations ended
	checking   time.Duration
	elapsed    time.Duration
}

func newFigures(store string) *figures {
	return &figures{store: store, answers: map[string]int{}, faults: map[string]int{}, verdicts: map[verdict]int{}}
}

func (f *figures) add(h *History, v verdict) {
	f.histories++
	f.operations += len(h.Operations)
	f.unknown += h.unknown()
	f.verdicts[v]++
	for _, fault := range h.Faults {
		f.faults[fault.Kind]++
	}
	for i := range h.Operations {
		op := &h.Operations[i]
		answer := fmt.Sprintf("%s: %d", op.Kind, op.Outcome.Status)
		if op.Outcome.Unknown {
			answer = fmt.Sprintf("%s: no answer", op.Kind)
		} else if op.Outcome.Code != "" {
			answer = strings.TrimSpace(fmt.Sprintf("%s: %s %s", op.Kind, op.Outcome.Code, op.Outcome.Reason))
		}
		f.answers[answer]++
	}
	f.countSignOuts(h)
}

// bad says whether the run has found anything, or has not looked.
func (f *figures) bad() bool {
	return f.verdicts[linearizable] != f.histories || f.histories == 0 || len(f.signedOut) > 0
}

// String is the closing line, with the faults below it.
func (f *figures) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d histories, %d operations, %d unknown outcomes, %d faults, %d violations, %d undecided, %d honest sign-outs of %d (%.1f s a history, %.1f s of them checking)",
		f.store, f.histories, f.operations, f.unknown, total(f.faults), f.verdicts[violated], f.verdicts[undecided], len(f.signedOut), f.honest,
		f.elapsed.Seconds()/float64(max(1, f.histories)), f.checking.Seconds()/float64(max(1, f.histories)))
	if f.late > 0 {
		fmt.Fprintf(&b, "\n%d sessions ended by a duplicate that was more than eight generations late, which no server can tell from a theft", f.late)
	}
	fmt.Fprintf(&b, "\nfaults: %s", tally(f.faults))
	for _, who := range f.signedOut {
		fmt.Fprintf(&b, "\nhonest sign-out: %s", who)
	}
	return b.String()
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// tally prints counts, the greatest first.
func tally(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ")
}

// countSignOuts looks for sessions that were refused although nobody had asked for
// their end and no thief had touched them. It needs no model: it is the promise
// that honest clients are never signed out, counted. The model holds all others to
// account as well. Sessions that a late duplicate ended are counted apart: the
// server remembers the keys of eight rotations.
func (f *figures) countSignOuts(h *History) {
	users, newest, touched := touchedSessions(h)
	refused, tooLate := map[string]string{}, map[string]bool{}
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Kind != Refresh {
			continue
		}
		if newest[op.Session]-op.Generation > rememberedKeys {
			tooLate[op.Session] = true
		}
		if op.Outcome.Status == 401 {
			refused[op.Session] = fmt.Sprintf("seed %d, session %s: %s %s", h.Seed, op.Session, op.Outcome.Code, op.Outcome.Reason)
		}
	}
	for _, session := range slices.Sorted(maps.Keys(users)) {
		if touched[session] || touched[users[session]] {
			continue
		}
		f.honest++
		switch {
		case refused[session] == "":
		case tooLate[session]:
			f.late++
		default:
			f.signedOut = append(f.signedOut, refused[session])
		}
	}
}

// touchedSessions returns the user and the newest generation of each session, and
// which sessions and users somebody had a mind to end, or to rob.
func touchedSessions(h *History) (users map[string]string, newest map[string]int, touched map[string]bool) {
	users, newest, touched = map[string]string{}, map[string]int{}, map[string]bool{}
	for i := range h.Operations {
		op := &h.Operations[i]
		if session := op.Outcome.Session; session != "" {
			users[session] = op.User
			newest[session] = max(newest[session], op.Outcome.Generation)
		}
		switch op.Kind {
		case Logout:
			touched[op.Session] = true
		case End:
			touched[op.Target] = true
		case Others, Everywhere, Disable:
			touched[op.User] = true
		case Refresh:
			if op.Key == "" || strings.HasPrefix(op.Key, "stolen") {
				touched[op.Session] = true
			}
		}
	}
	return users, newest, touched
}
