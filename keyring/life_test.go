package keyring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// noon is when the keys of the table below are looked at.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// keys reads a line like "a:active+720h p:published+2h r:retiring+2h x:removed": the
// name of a key, its state, and since when it has been in it.
func keys(t *testing.T, line string) []Record {
	t.Helper()
	var records []Record
	for word := range strings.FieldsSeq(line) {
		name, rest, _ := strings.Cut(word, ":")
		state, age, _ := strings.Cut(rest, "+")
		since := noon
		if age != "" {
			d, err := time.ParseDuration(age)
			if err != nil {
				t.Fatal(err)
			}
			since = noon.Add(-d)
		}
		rec := Record{KeyID: name, State: State(state), Algorithm: accesstoken.RS256, PublishedAt: since}
		switch rec.State {
		case Published:
		case Active:
			rec.ActivatedAt = since
		case Retiring:
			rec.RetiredAt = since
		case Removed:
			rec.RemovedAt = since
		}
		records = append(records, rec)
	}
	return records
}

// said prints a plan like "a>retiring p>active +published:ES256".
func said(p plan) string {
	var words []string
	for _, step := range p.steps {
		words = append(words, step.KeyID+">"+string(step.To))
	}
	for _, made := range p.makes {
		words = append(words, fmt.Sprintf("+%s:%s", made.state, made.alg))
	}
	return strings.Join(words, " ")
}

// TestLife is the state machine. Every row is the keys that there are, what is asked
// for, and what happens; "until" is a refusal, with the time from noon on after which
// it would be granted.
func TestLife(t *testing.T) {
	const month = 720 * time.Hour
	for _, tt := range []struct {
		keys string
		wish wish
		want string
	}{
		// What is due by itself.
		{"a:active+1h p:published+1h", wish{}, ""},
		{"a:active+719h59m59s p:published+719h", wish{}, ""},
		{"a:active+720h p:published+720h", wish{}, "a>retiring p>active +published:ES256"},
		{"a:active+800h p:published+2h", wish{}, "a>retiring p>active +published:ES256"},
		{"a:active+800h p:published+1h59m59s", wish{}, ""}, // after an emergency, say: it has time
		{"a:active+800h", wish{}, "+published:ES256"},
		{"a:active+1h p:published+1h r:retiring+1h59m59s", wish{}, ""},
		{"a:active+1h p:published+1h r:retiring+2h x:removed+9h", wish{}, "r>removed"},
		{"a:active+720h p:published+720h r:retiring+3h", wish{}, "r>removed a>retiring p>active +published:ES256"},
		{"a:active+-1h p:published+-1h", wish{}, ""},               // by a clock that is ahead
		{"a:active+800h closed:published+800h", wish{}, ""},        // another server may open it
		{"a:active+1h r:retiring+-1h", wish{}, "+published:ES256"}, // by a clock that is ahead
		{"a:active+1h r:retiring+2h", wish{}, "r>removed +published:ES256"},

		// By hand.
		{"a:active+1h p:published+15m", wish{kind: rotate}, "a>retiring p>active +published:ES256"},
		{"a:active+1h p:published+14m59s", wish{kind: rotate}, "until 1s"},
		{"a:active+800h p:published+0s", wish{kind: rotate}, "until 15m0s"},
		{"a:active+800h p:published+-1m", wish{kind: rotate}, "until 16m0s"},
		{"a:active+800h", wish{kind: rotate}, "until 15m0s"},
		{"a:active+800h closed:published+15m", wish{kind: rotate}, "unusable"},

		// One key.
		{"a:active+1h p:published+15m", wish{kind: retire, keys: []string{"a"}}, "a>retiring p>active +published:ES256"},
		{"a:active+1h p:published+1m", wish{kind: retire, keys: []string{"a"}}, "until 14m0s"},
		{"a:active+1h p:published+1m", wish{kind: retire, keys: []string{"p"}}, "p>removed +published:ES256"},
		{"a:active+1h closed:published+1m", wish{kind: retire, keys: []string{"closed"}}, "closed>removed +published:ES256"},
		{"a:active+1h p:published+1m r:retiring+1h", wish{kind: retire, keys: []string{"r"}}, "until 1h0m0s"},
		{"a:active+1h p:published+1m r:retiring+2h", wish{kind: retire, keys: []string{"r"}}, "r>removed"},
		{"a:active+1h p:published+1m x:removed+2h", wish{kind: retire, keys: []string{"x"}}, ""},
		{"a:active+1h p:published+1m", wish{kind: retire, keys: []string{"nobody"}}, "unknown"},

		// Emergencies. Nothing is too early.
		{"a:active+1h p:published+0s", wish{kind: revoke, keys: []string{"a"}}, "a>removed p>active +published:ES256"},
		{"a:active+1h p:published+0s", wish{kind: revoke, keys: []string{"p"}}, "p>removed +published:ES256"},
		{"a:active+1h p:published+0s r:retiring+1m", wish{kind: revoke, keys: []string{"r"}}, "r>removed"},
		{"a:active+1h p:published+0s x:removed+1m", wish{kind: revoke, keys: []string{"x"}}, ""},
		{"a:active+1h p:published+0s", wish{kind: revoke, keys: []string{"nobody"}}, ""},
		{"a:active+1h", wish{kind: revoke, keys: []string{"a"}}, "a>removed +active:ES256 +published:ES256"},
		{"a:active+1h p:published+9h", wish{kind: revoke, keys: []string{"a", "p"}}, "a>removed p>removed +active:ES256 +published:ES256"},
		{"a:active+1h closed:published+9h", wish{kind: revoke, keys: []string{"a"}}, "a>removed +active:ES256"},
		{"a:active+1h p:published+9h r:retiring+1m s:retiring+1h x:removed+9h", wish{kind: revoke, keys: []string{"p", "r", "s", "a"}},
			"a>removed p>removed r>removed s>removed +active:ES256 +published:ES256"},
		// Another server has exchanged the reserve meanwhile: the one that is there now is new.
		{"a:active+1h p:removed+0s q:published+0s r:retiring+1m", wish{kind: revoke, keys: []string{"p", "r", "a"}},
			"a>removed r>removed q>active +published:ES256"},
	} {
		t.Run(fmt.Sprintf("%s %v %v", tt.keys, tt.wish.kind, tt.wish.keys), func(t *testing.T) {
			records := keys(t, tt.keys)
			before := slices.Clone(records)
			p, err := next(records, tt.wish, circumstances{now: noon, period: month, alg: accesstoken.ES256, opens: isOpen})
			if got := outcome(p, err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !slices.EqualFunc(records, before, func(a, b Record) bool { return a.KeyID == b.KeyID && a.State == b.State }) {
				t.Error("the records were changed")
			}
		})
	}
}

func isOpen(keyID string) bool { return keyID != "closed" }

func outcome(p plan, err error) string {
	var early *TooEarlyError
	switch {
	case errors.As(err, &early):
		return "until " + early.Earliest.Sub(noon).String()
	case errors.Is(err, ErrUnknownKey):
		return "unknown"
	case errors.Is(err, ErrUnusable):
		return "unusable"
	}
	return said(p)
}

// A visitor does not know which algorithm the servers want, and makes no key that
// can wait.
func TestLifeWithVisitors(t *testing.T) {
	for _, tt := range []struct {
		keys string
		wish wish
		want string
	}{
		{"a:active+800h", wish{}, ""},
		{"a:active+800h p:published+9h", wish{kind: rotate}, "a>retiring p>active"},
		{"a:active+800h p:published+9h", wish{kind: retire, keys: []string{"p"}}, "p>removed"},
		{"a:active+800h p:published+9h", wish{kind: revoke, keys: []string{"a"}}, "a>removed p>active"},
		{"a:active+800h", wish{kind: revoke, keys: []string{"a"}}, "a>removed +active:RS256"},
		{"a:active+800h p:published+9h r:retiring+1h", wish{kind: revoke, keys: []string{"p", "r", "a"}}, "a>removed p>removed r>removed +active:RS256"},
	} {
		p, err := next(keys(t, tt.keys), tt.wish, circumstances{now: noon, opens: isOpen})
		if got := outcome(p, err); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.keys, got, tt.want)
		}
	}
}

// Automatic rotation is off without a period; the rest goes on.
func TestLifeWithoutPeriod(t *testing.T) {
	c := circumstances{now: noon, alg: accesstoken.ES256, opens: isOpen}
	p, err := next(keys(t, "a:active+9000h p:published+9000h r:retiring+3h"), wish{}, c)
	if got := outcome(p, err); got != "r>removed" {
		t.Errorf("got %q", got)
	}
}

// The times rest on each other; whoever changes one has to think of the others.
func TestTimes(t *testing.T) {
	const (
		longestToken   = time.Hour       // innkeeper's maxAccessTTL
		longestLeeway  = 5 * time.Minute // of verifiers, for exp
		hourlyVerifier = time.Hour       // fetches the JWKS so often, whatever its headers say
	)
	if least := JWKSMaxAge + SnapshotAge + ClockDifference; MinPublished < least {
		t.Errorf("MinPublished is %s, and cannot be less than %s", MinPublished, least)
	}
	if least := hourlyVerifier + SnapshotAge + ClockDifference; AutoPublished < least {
		t.Errorf("AutoPublished is %s, and cannot be less than %s", AutoPublished, least)
	}
	if least := longestToken + SnapshotAge + 2*ClockDifference + longestLeeway; RetiredFor < least {
		t.Errorf("RetiredFor is %s, and cannot be less than %s", RetiredFor, least)
	}
	if SnapshotAge < 3*ReloadInterval {
		t.Errorf("a server that misses a reload or two stops signing after %s", SnapshotAge)
	}
}
