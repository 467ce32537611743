package tempest

import (
	"math/rand/v2"
	"time"
)

// fault is what befalls one request on its way. The zero value is none.
type fault struct {
	kind  kind
	pause time.Duration // of those that delay, and until the late copy of a duplicate
}

// kind names a fault. The act is what the server does.
type kind string

const (
	none           kind = ""
	lostRequest    kind = "dropped before the act"
	lostAnswer     kind = "dropped after the act"
	resetRequest   kind = "reset before the act"
	resetAnswer    kind = "reset after the act, before the headers"
	resetInHeaders kind = "reset in the headers"
	resetInBody    kind = "reset after the headers"
	slowRequest    kind = "delayed before the act"
	slowAnswer     kind = "delayed after the act"
	duplicated     kind = "duplicated, the copy late"
	lateRequest    kind = "overtaken before the act"
	lateAnswer     kind = "overtaken after the act"
	unavailable    kind = "503"
	tooMany        kind = "429"
	captivePortal  kind = "captive portal"
	sealed         kind = "reset, before a crash" // see injector.seal; never at random
)

// odds are the weights of the faults. What neither comes nor goes is rare: it takes a
// client's whole patience, and there would be little else to see.
type odds []struct {
	kind   kind
	weight int
}

// oddsOf returns what may befall a request to a path, nil for nothing: signing in is
// not what is tested, and a page that does not load tests nothing.
func oddsOf(path string) odds {
	quiet := 0
	switch path {
	case refreshPath, "/auth/logout":
		quiet = 90
	case apiPath:
		quiet = 600
	default:
		return nil
	}
	return odds{
		{none, quiet},
		{lostRequest, 1}, {lostAnswer, 1},
		{resetRequest, 6}, {resetAnswer, 8}, {resetInHeaders, 6}, {resetInBody, 6},
		{slowRequest, 6}, {slowAnswer, 6}, {duplicated, 8}, {lateRequest, 2}, {lateAnswer, 2},
		{unavailable, 4}, {tooMany, 3}, {captivePortal, 4},
	}
}

// Bounds of what is slow.
const (
	longestPause = 4 * time.Second
	// longestHold is how long something waits to be overtaken, or for a client to give up:
	// longer than our clients wait for an answer.
	longestHold = 9 * time.Second
)

func (o odds) draw(rng *rand.Rand) fault {
	total := 0
	for _, one := range o {
		total += one.weight
	}
	if total == 0 {
		return fault{}
	}
	n := rng.IntN(total)
	pause := time.Duration(rng.Int64N(int64(longestPause)))
	for _, one := range o {
		if n -= one.weight; n < 0 {
			return fault{one.kind, pause}
		}
	}
	return fault{}
}
