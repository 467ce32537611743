package tempest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Outcome is what a tempest has come to.
type Outcome struct {
	Client, Rotation string
	Seed             uint64
	Duration         time.Duration
	People           int
	SignOuts         int // sessions of honest people that ended, for the server or for a client, and were not robbed
	Who              int // how many people those belonged to
	Planted          int // thefts: a copied token was used
	Detected         int // of these sessions, how many the server has ended
	AsReuse          int // of these, how many with the reason reuse
	Forks            int // second, different successors of one parent
	Refreshes        int // that the server has acted on
	Outcomes         map[string]int
	Faults           map[string]int
	Kills            map[string]int
	RolledBack       int      // browsers that came back from a crash with an older token
	Problems         []string // promises that do not hold; of a baseline only those that no client can break
	Notes            []string // the sign-outs, one by one
}

// judge adds up. A session that was robbed may and must end; no other may.
func (s *tempest) judge() *Outcome {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	ends := maps.Clone(s.events.all())
	s.mu.Lock()
	defer s.mu.Unlock()
	for session, reason := range ends {
		person, ours := s.register.personOf(session)
		_, robbed := s.robbed[session]
		// A sign-in that follows a client's verdict ends what that was wrong about.
		if ours && !robbed && s.innocent[session] == "" {
			s.innocent[session] = fmt.Sprintf("the session of %s ended (%s)", person, reason)
		}
	}
	o := &Outcome{
		Client: s.Client, Rotation: s.Rotation, Seed: s.Seed, Duration: s.Duration, People: len(s.people),
		SignOuts: len(s.innocent), Planted: len(s.robbed), Kills: maps.Clone(s.kills),
	}
	s.register.sums(o)
	who := map[string]bool{}
	for session, note := range s.innocent {
		person, _ := s.register.personOf(session)
		who[person] = true
		o.Notes = append(o.Notes, fmt.Sprintf("%s; the server says: %s", note, strings.TrimSpace(ends[session]+" ("+session+")")))
	}
	o.Who = len(who)
	slices.Sort(o.Notes)
	for session := range s.robbed {
		if ends[session] != "" {
			o.Detected++
		}
		if ends[session] == "reuse" {
			o.AsReuse++
		}
	}
	o.weigh(s)
	return o
}

// weigh says what does not hold of what is promised. A second successor is the server's
// fault, whatever the client.
func (o *Outcome) weigh(s *tempest) {
	if o.Forks > 0 {
		o.problem("%d tokens have two different successors", o.Forks)
	}
	if !s.promised() {
		return
	}
	o.Problems = append(o.Problems, s.problems...)
	if o.SignOuts > 0 {
		o.problem("%d honest sign-outs", o.SignOuts)
	}
	if o.Detected != o.Planted || o.AsReuse != o.Planted {
		o.problem("%d thefts were planted, %d detected, %d of them as such", o.Planted, o.Detected, o.AsReuse)
	}
	for what, n := range map[string]int{
		"refresh": o.Refreshes, "replay": o.Outcomes["replayed"], "fault": len(o.Faults), "theft": o.Planted, "kill": o.Kills["processes"],
	} {
		if n == 0 {
			o.problem("there was not one %s: nothing was shown", what)
		}
	}
}

func (o *Outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// Print prints all counts.
func (o *Outcome) Print(w io.Writer) {
	for _, note := range o.Notes {
		fmt.Fprintln(w, "\t"+note)
	}
	fmt.Fprintf(w, "honest sign-outs    %d, of %d of %d people\n", o.SignOuts, o.Who, o.People)
	fmt.Fprintf(w, "thefts              %d planted, %d detected\n", o.Planted, o.Detected)
	fmt.Fprintf(w, "second successors   %d\n", o.Forks)
	fmt.Fprintf(w, "refreshes           %d: %s\n", o.Refreshes, counts(o.Outcomes))
	fmt.Fprintf(w, "faults              %d: %s\n", sum(o.Faults), counts(o.Faults))
	fmt.Fprintf(w, "kill -9             %s; %d jars set back by it\n", counts(o.Kills), o.RolledBack)
	for _, problem := range o.Problems {
		fmt.Fprintln(w, "does not hold: "+problem)
	}
}

// TableHead begins the table of which each outcome is a row, in Markdown.
const TableHead = `| client | rotation | people | refreshes | honest sign-outs | people signed out | thefts | detected |
|---|---|---:|---:|---:|---:|---:|---:|`

// Row is an outcome as a row of that table.
func (o *Outcome) Row() string {
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d |",
		o.Client, o.Rotation, o.People, o.Refreshes, o.SignOuts, o.Who, o.Planted, o.Detected)
}

// counts prints a table of counts, the largest first.
func counts(of map[string]int) string {
	names := slices.Sorted(maps.Keys(of))
	slices.SortStableFunc(names, func(a, b string) int { return of[b] - of[a] })
	parts := make([]string, len(names))
	for k, name := range names {
		parts[k] = fmt.Sprintf("%s %d", name, of[name])
	}
	return strings.Join(parts, ", ")
}

func sum(of map[string]int) int {
	total := 0
	for _, n := range of {
		total += n
	}
	return total
}
