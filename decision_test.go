package innkeeper

import (
	"iter"
	"reflect"
	"testing"
	"time"
)

// The decision table of docs/refresh.md is tested twice. TestDecisionTable is
// to be read: each row as a story or two. TestDecisionTableIsExhaustive is to be
// trusted: every combination of what a decision can depend on, against an oracle
// that is the table itself, written down a second time.

// The scene of all cases: it is noon, and ada's session has come to generation
// 13. Each of its rotations was made with a key of its own, the latest one ten
// seconds ago.
const sceneGeneration = 13

var (
	noon            = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	sceneSecretHash = secretOf(sceneGeneration).hash()
)

// scene is everything that Decide looks at.
type scene struct {
	Presentation
	session *Session
	user    *Subject
	now     time.Time
	leeway  time.Duration
}

// present sets the scene for a token of the given generation: presented in time,
// in the right way and without a key.
func present(generation uint32) *scene {
	session := &Session{
		ID: SessionID{7}, UserID: UserID{9}, Epoch: Epoch{1}, Delivery: DeliverByCookie,
		CreatedAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(30 * 24 * time.Hour),
		Generation: sceneGeneration, SecretHash: sceneSecretHash,
		RecentKeys: recentKeysAt(sceneGeneration),
		RotatedAt:  noon.Add(-10 * time.Second), RefreshExpiresAt: noon.Add(24 * time.Hour),
	}
	return &scene{
		Presentation: Presentation{
			Delivery: DeliverByCookie,
			Token: &RefreshToken{
				delivery: DeliverByCookie, session: session.ID, generation: generation,
				expires: noon.Add(24 * time.Hour).Unix(), secret: hidden(secretOf(generation)),
			},
		},
		session: session,
		user:    &Subject{ID: session.UserID, Username: "ada", Epoch: session.Epoch},
		now:     noon,
	}
}

// recentKeysAt returns what a session holds that has come to a generation with a
// key for every rotation.
func recentKeysAt(generation uint32) RecentKeys {
	var keys RecentKeys
	for i := range keys {
		if older := int(generation) - 1 - i; older >= 1 {
			keys[i] = keyOf(uint32(older)).hash
		}
	}
	return keys
}

func (s *scene) decide() Verdict {
	return Decide(s.Presentation, s.session, s.user, s.now, s.leeway)
}

func (s *scene) with(key IdempotencyKey) *scene { s.Key = key; return s }

// but changes the scene.
func (s *scene) but(change func(s *scene)) *scene { change(s); return s }

// rotatedWithoutKey makes the rotation of a generation one without a key.
func (s *scene) rotatedWithoutKey(generation uint32) *scene {
	s.session.RecentKeys[sceneGeneration-1-generation] = KeyHash{}
	return s
}

func (s *scene) leewayOf(d time.Duration) *scene { s.leeway = d; return s }

func secretOf(generation uint32) secret { return secret{byte(generation), byte(generation >> 8), 0xaa} }

// keyOf is the key with which the owner rotated a generation.
func keyOf(generation uint32) IdempotencyKey {
	return IdempotencyKey{hash: KeyHash{0xee, byte(generation >> 16), byte(generation >> 8), byte(generation)}}
}

// strangersKey is a key that no rotation was made with.
func strangersKey() IdempotencyKey { return keyOf(999_999) }

func (k IdempotencyKey) madeFor(generation uint32) IdempotencyKey {
	k.generation = generation
	return k
}

func TestDecisionTable(t *testing.T) {
	const current, parent = sceneGeneration, sceneGeneration - 1
	tests := []struct {
		row   string
		story string
		scene *scene
		want  Verdict
	}{
		{"1", "text that is no token of ours",
			present(current).but(func(s *scene) { s.Token = nil }),
			Verdict{Outcome: OutcomeInvalid}},
		{"1", "a script shows the cookie session's token in a body: nothing is consumed",
			present(current).but(func(s *scene) { s.Delivery = DeliverByBody }),
			Verdict{Outcome: OutcomeInvalid}},
		{"1", "a wrong way is refused before the mislabeled key is looked at",
			present(current).with(keyOf(3).madeFor(3)).but(func(s *scene) { s.Delivery = DeliverByBody }),
			Verdict{Outcome: OutcomeInvalid}},

		{"1b", "a jar that was rolled back holds the parent, and the client thinks it holds the current token",
			present(parent).with(keyOf(current).madeFor(current)),
			Verdict{Outcome: OutcomeMislabeled}},
		{"1b", "the label is looked at before the token's age",
			present(current).with(keyOf(current).madeFor(parent)).but(func(s *scene) { s.now = noon.Add(48 * time.Hour) }),
			Verdict{Outcome: OutcomeMislabeled}},

		{"2", "a token at the very second of its expiry",
			present(current).but(func(s *scene) { s.now = s.Token.ExpiresAt() }),
			Verdict{Outcome: OutcomeExpired}},
		{"2", "the right key does not bring an expired parent back",
			present(parent).with(keyOf(parent)).but(func(s *scene) { s.now = s.Token.ExpiresAt() }),
			Verdict{Outcome: OutcomeExpired}},
		{"2", "the last number that a generation can have has no successor",
			present(maxGeneration).but(func(s *scene) { s.session.Generation, s.session.SecretHash = maxGeneration, s.Token.ratchet().hash() }),
			Verdict{Outcome: OutcomeExpired}},

		{"3", "a dead token after the theft was found: the same answer, and no second alarm",
			present(parent).but(func(s *scene) { s.session.EndedAt, s.session.Reason = noon, ReasonReuse }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonReuse}},
		{"3", "the current token after a logout",
			present(current).but(func(s *scene) { s.session.EndedAt, s.session.Reason = noon, ReasonLogout }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonLogout}},
		{"3", "the current token of a disabled user",
			present(current).but(func(s *scene) { s.user.Disabled = true }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonUserDisabled}},
		{"3", "the current token after a password change on another device",
			present(current).but(func(s *scene) { s.user.Epoch, s.user.EpochReason = Epoch{2}, ReasonPasswordChanged }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonPasswordChanged}},
		{"3", "the current token of a deleted user",
			present(current).but(func(s *scene) { s.user = nil }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonAdmin}},
		{"3", "a retry with the right key of a session that has ended meanwhile",
			present(parent).with(keyOf(parent)).but(func(s *scene) { s.session.EndedAt, s.session.Reason = noon, ReasonAdmin }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonAdmin}},

		{"4", "a session that was swept away long after its end",
			present(current).but(func(s *scene) { s.session, s.user = nil, nil }),
			Verdict{Outcome: OutcomeEnded, Reason: ReasonExpired}},

		{"5", "the ordinary refresh",
			present(current).with(keyOf(current).madeFor(current)),
			Verdict{Outcome: OutcomeRotated}},
		{"5", "the ordinary refresh of a client that sends no key",
			present(current),
			Verdict{Outcome: OutcomeRotated}},
		{"5", "one second before the idle limit",
			present(current).but(func(s *scene) { s.now = s.Token.ExpiresAt().Add(-time.Nanosecond) }),
			Verdict{Outcome: OutcomeRotated}},

		{"6", "a retry after a lost answer, an hour of tunnel later",
			present(parent).with(keyOf(parent).madeFor(parent)).but(func(s *scene) { s.now = noon.Add(time.Hour) }),
			Verdict{Outcome: OutcomeReplayed, Behind: 1}},
		{"6", "the same by a client that does not say which generation the key is for",
			present(parent).with(keyOf(parent)),
			Verdict{Outcome: OutcomeReplayed, Behind: 1}},

		{"7", "a retry by a client that cannot send keys, within the leeway",
			present(parent).rotatedWithoutKey(parent).leewayOf(10*time.Second + 1),
			Verdict{Outcome: OutcomeReplayed, Behind: 1, ByLeeway: true}},
		{"9, not 7", "the leeway is over",
			present(parent).rotatedWithoutKey(parent).leewayOf(10 * time.Second),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},
		{"9, not 7", "the rotation was made with a key: the leeway is not for the thief of a client that sends keys",
			present(parent).leewayOf(time.Minute),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},
		{"9, not 7", "whoever sends a key where none was sent is somebody else",
			present(parent).with(keyOf(parent)).rotatedWithoutKey(parent).leewayOf(time.Minute),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},
		{"9, not 7", "the leeway is for the parent alone",
			present(parent - 1).rotatedWithoutKey(parent).rotatedWithoutKey(parent - 1).leewayOf(time.Minute),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 2}},

		{"8", "a request that hung in a buffer while two refreshes went by",
			present(parent - 1).with(keyOf(parent - 1)),
			Verdict{Outcome: OutcomeSuperseded, Behind: 2}},
		{"8", "the oldest late duplicate that can be recognized",
			present(current - 8).with(keyOf(current - 8)),
			Verdict{Outcome: OutcomeSuperseded, Behind: 8}},
		{"9, not 8", "one rotation later its key has been forgotten",
			present(current - 9).with(keyOf(current - 9)),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 9}},
		{"9, not 8", "an old token with the key of a neighbor proves nothing",
			present(parent - 1).with(keyOf(parent)),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 2}},

		{"9", "the thief comes second, with a token and no key",
			present(parent),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},
		{"9", "the owner comes second: their key did not make the rotation that the thief made",
			present(parent).with(strangersKey().madeFor(parent)),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},
		{"9", "no key against a rotation without a key: an empty slot matches nothing",
			present(parent).rotatedWithoutKey(parent),
			Verdict{Outcome: OutcomeReused, Reason: ReasonReuse, Behind: 1}},

		{"10", "a token from a future that the restored backup does not know",
			present(current + 1).with(keyOf(current + 1)),
			Verdict{Outcome: OutcomeAhead, Reason: ReasonRestored}},
		{"10", "the present generation with another secret: the restored session went another way",
			present(current).but(func(s *scene) { s.Token.secret = hidden(flipped(s.Token.ratchet())) }),
			Verdict{Outcome: OutcomeAhead, Reason: ReasonRestored}},
	}
	for _, test := range tests {
		t.Run("row "+test.row+": "+test.story, func(t *testing.T) {
			if got := test.scene.decide(); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// A situation is one combination of all that a decision can depend on, in the
// words of the table and not in those of the code.
type situation struct {
	token   tokenKind
	way     wayKind
	age     ageKind
	behind  int  // generations behind the current one; negative: ahead of it
	current bool // the token's secret is the current one
	session sessionKind
	user    userKind
	key     keyKind
	label   labelKind
	history historyKind
	leeway  leewayKind
}

type (
	tokenKind   int
	wayKind     int
	ageKind     int
	sessionKind int
	userKind    int
	keyKind     int
	labelKind   int
	historyKind int
	leewayKind  int
)

const (
	genuine tokenKind = iota
	malformed
)
const (
	rightWay wayKind = iota
	wrongWay
)
const (
	fresh ageKind = iota
	lastNanosecond
	atExpiry
	longExpired
)
const (
	live sessionKind = iota
	endedByLogout
	endedByReuse
	absent
)
const (
	inOrder userKind = iota
	disabled
	otherEpoch
	disabledAndOtherEpoch
	deleted
)
const (
	noKey        keyKind = iota
	keyOfToken           // the owner's key of the token's generation
	keyOfYounger         // … of the generation after it
	keyOfOlder           // … of the generation before it
	unknownKey
)
const (
	noLabel labelKind = iota
	rightLabel
	wrongLabel
)
const (
	allKeyed historyKind = iota
	allKeyless
	latestKeyless // all keyed but for the latest rotation
	latestKeyed   // all keyless but for the latest rotation
)
const (
	leewayOff leewayKind = iota
	inLeeway
	atLeewayEnd
	afterLeeway
	leewayOffClockSetBack // the rotation was made a nanosecond from now
	inLeewayClockSetBack
	beyondLeewayClockSetBack
)

// rotationHadKey reports whether the rotation that consumed the presented token
// was made with a key.
func (s situation) rotationHadKey() bool {
	switch s.history {
	case allKeyed:
		return true
	case latestKeyless:
		return s.behind != 1
	case latestKeyed:
		return s.behind == 1
	}
	return false
}

// provesItself reports whether the key is the one that rotated the presented
// token's generation.
func (s situation) provesItself() bool {
	return s.behind >= 1 && s.key == keyOfToken && s.rotationHadKey()
}

// table is docs/refresh.md. Rows 1 to 4 are tried first, in their order; of the
// others exactly one applies, which the test checks.
var table = []struct {
	number  string
	outcome Outcome
	applies func(s situation) bool
}{
	{"1", OutcomeInvalid, func(s situation) bool { return s.token == malformed || s.way == wrongWay }},
	{"1b", OutcomeMislabeled, func(s situation) bool { return s.label == wrongLabel }},
	{"2", OutcomeExpired, func(s situation) bool { return s.age == atExpiry || s.age == longExpired }},
	{"3", OutcomeEnded, func(s situation) bool {
		return s.session != absent && (s.session != live || s.user != inOrder)
	}},
	{"4", OutcomeEnded, func(s situation) bool { return s.session == absent }},

	{"5", OutcomeRotated, func(s situation) bool { return s.current }},
	{"6", OutcomeReplayed, func(s situation) bool { return !s.current && s.behind == 1 && s.provesItself() }},
	{"7", OutcomeReplayed, coveredByLeeway},
	{"8", OutcomeSuperseded, func(s situation) bool {
		return !s.current && s.behind >= 2 && s.behind <= 8 && s.provesItself()
	}},
	{"9", OutcomeReused, func(s situation) bool {
		remembered := s.behind <= 8
		return !s.current && s.behind >= 1 && !(s.provesItself() && remembered) && !coveredByLeeway(s)
	}},
	{"10", OutcomeAhead, func(s situation) bool { return !s.current && s.behind <= 0 }},
}

const rowsTriedInOrder = 5

func coveredByLeeway(s situation) bool {
	within := s.leeway == inLeeway || s.leeway == inLeewayClockSetBack
	return !s.current && s.behind == 1 && within && s.key == noKey && !s.rotationHadKey()
}

// expected looks a situation up in the table.
func (s situation) expected(t *testing.T) (row string, want Verdict) {
	found := -1
	for i, row := range table {
		if !row.applies(s) {
			continue
		}
		if found >= 0 {
			t.Fatalf("rows %s and %s both apply to %+v", table[found].number, row.number, s)
		}
		found = i
		if i < rowsTriedInOrder {
			break
		}
	}
	if found < 0 {
		t.Fatalf("no row applies to %+v", s)
	}
	want = Verdict{Outcome: table[found].outcome}
	switch table[found].number {
	case "3":
		want.Reason = s.endedBecause()
	case "4":
		want.Reason = ReasonExpired // the table gives none; a client is owed one
	case "6", "8":
		want.Behind = uint32(s.behind)
	case "7":
		want.Behind, want.ByLeeway = 1, true
	case "9":
		want.Reason, want.Behind = ReasonReuse, uint32(s.behind)
	case "10":
		want.Reason = ReasonRestored
	}
	return table[found].number, want
}

func (s situation) endedBecause() Reason {
	switch {
	case s.session == endedByLogout:
		return ReasonLogout
	case s.session == endedByReuse:
		return ReasonReuse
	case s.user == deleted:
		return ReasonAdmin
	case s.user == disabled || s.user == disabledAndOtherEpoch:
		return ReasonUserDisabled
	}
	return ReasonPasswordChanged
}

// situations yields every combination that differs from all others.
func situations() iter.Seq[situation] {
	type claim struct {
		key   keyKind
		label labelKind
	}
	claims := []claim{{noKey, noLabel}} // a label comes with a key or not at all
	for key := keyOfToken; key <= unknownKey; key++ {
		for label := noLabel; label <= wrongLabel; label++ {
			claims = append(claims, claim{key, label})
		}
	}
	return func(yield func(situation) bool) {
		each := func(way wayKind, age ageKind, behind, current int, session sessionKind, user userKind) bool {
			last := beyondLeewayClockSetBack
			if way == wrongWay || session == absent {
				last = inLeeway // what the session holds is not looked at
			}
			for _, c := range claims {
				for history := allKeyed; history <= latestKeyed; history++ {
					for leeway := leewayOff; leeway <= last; leeway++ {
						s := situation{
							genuine, way, age, behind, current == 1, session, user, c.key, c.label, history, leeway,
						}
						if !yield(s) {
							return false
						}
					}
				}
			}
			return true
		}
		for way := rightWay; way <= wrongWay; way++ {
			if !yield(situation{token: malformed, way: way}) {
				return
			}
			for age := fresh; age <= longExpired; age++ {
				for behind := -2; behind <= 12; behind++ {
					for current := range 2 {
						for session := live; session <= absent; session++ {
							for user := inOrder; user <= deleted; user++ {
								if !each(way, age, behind, current, session, user) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// stage turns the words of a situation into values.
func (s situation) stage() *scene {
	generation := uint32(sceneGeneration - s.behind)
	scene := present(generation)
	if s.way == wrongWay {
		scene.Delivery = DeliverByBody
	}
	scene.stageAge(s.age)
	if s.current {
		scene.Token.secret = hidden(secretOf(sceneGeneration))
	} else {
		scene.Token.secret = hidden(flipped(scene.Token.ratchet())) // of its generation, but not what is stored
	}
	if s.token == malformed {
		scene.Token = nil
	}
	scene.stageSession(s)
	scene.stageUser(s.user)
	scene.stageKey(s, generation)
	scene.stageLeeway(s.leeway)
	return scene
}

func (s *scene) stageAge(age ageKind) {
	switch age {
	case lastNanosecond:
		s.now = s.Token.ExpiresAt().Add(-1)
	case atExpiry:
		s.now = s.Token.ExpiresAt()
	case longExpired:
		s.now = s.Token.ExpiresAt().Add(time.Hour)
	}
}

func (s *scene) stageSession(situation situation) {
	for i := range s.session.RecentKeys {
		latest := i == 0
		keyless := situation.history == allKeyless || situation.history == latestKeyless && latest ||
			situation.history == latestKeyed && !latest
		if keyless {
			s.session.RecentKeys[i] = KeyHash{}
		}
	}
	switch situation.session {
	case endedByLogout:
		s.session.EndedAt, s.session.Reason = noon, ReasonLogout
	case endedByReuse:
		s.session.EndedAt, s.session.Reason = noon, ReasonReuse
	case absent:
		s.session = nil
	}
}

func (s *scene) stageUser(user userKind) {
	if user == disabled || user == disabledAndOtherEpoch {
		s.user.Disabled = true
	}
	if user == otherEpoch || user == disabledAndOtherEpoch {
		s.user.Epoch, s.user.EpochReason = Epoch{2}, ReasonPasswordChanged
	}
	if user == deleted {
		s.user = nil
	}
}

func (s *scene) stageKey(situation situation, generation uint32) {
	switch situation.key {
	case keyOfToken:
		s.Key = keyOf(generation)
	case keyOfYounger:
		s.Key = keyOf(generation + 1)
	case keyOfOlder:
		s.Key = keyOf(generation - 1)
	case unknownKey:
		s.Key = strangersKey()
	}
	switch situation.label {
	case rightLabel:
		s.Key.generation = generation
	case wrongLabel:
		s.Key.generation = generation + 1
	}
}

func (s *scene) stageLeeway(leeway leewayKind) {
	const on = 30 * time.Second
	staged := map[leewayKind]struct{ leeway, sinceRotation time.Duration }{
		leewayOff:                {0, 10 * time.Second},
		inLeeway:                 {on, on - 1},
		atLeewayEnd:              {on, on},
		afterLeeway:              {on, on + 1},
		leewayOffClockSetBack:    {0, -1},
		inLeewayClockSetBack:     {on, -on + 1},
		beyondLeewayClockSetBack: {on, -on},
	}[leeway]
	s.leeway = staged.leeway
	if s.session != nil {
		s.session.RotatedAt = s.now.Add(-staged.sinceRotation)
	}
}

func TestDecisionTableIsExhaustive(t *testing.T) {
	total := 0
	rows := make(map[string]int)
	for s := range situations() {
		row, want := s.expected(t)
		if got := s.stage().decide(); got != want {
			t.Fatalf("row %s: %+v\ngot  %+v\nwant %+v", row, s, got, want)
		}
		rows[row]++
		total++
	}
	for _, row := range table {
		if rows[row.number] == 0 {
			t.Errorf("no combination has come to row %s", row.number)
		}
	}
	t.Logf("%d combinations, by row: %v", total, rows)
}

// Where now is before the rotation, because the clock was set back or this
// server's is behind, a leeway of zero must still be off, and one of seconds must
// not become one of an hour.
func TestLeewayWhenTheClockIsSetBack(t *testing.T) {
	const parent = sceneGeneration - 1
	for _, test := range []struct {
		leeway, setBack time.Duration
		want            Outcome
	}{
		{0, time.Nanosecond, OutcomeReused},
		{0, time.Second, OutcomeReused},
		{0, time.Hour, OutcomeReused},
		{10 * time.Second, time.Second, OutcomeReplayed},
		{10 * time.Second, time.Hour, OutcomeReused},
	} {
		s := present(parent).rotatedWithoutKey(parent).leewayOf(test.leeway)
		s.now = s.session.RotatedAt.Add(-test.setBack)
		if got := s.decide(); got.Outcome != test.want {
			t.Errorf("leeway %s, clock set back by %s: got %s, want %s", test.leeway, test.setBack, got.Outcome, test.want)
		}
	}
}

// A session that is younger than eight rotations has slots that no rotation has
// filled. They match nobody.
func TestDecisionAboutYoungSessions(t *testing.T) {
	for stored := uint32(1); stored <= 9; stored++ {
		for generation := uint32(1); generation <= stored; generation++ {
			for _, key := range []IdempotencyKey{{}, strangersKey(), keyOf(generation)} {
				s := present(generation).with(key)
				s.session.Generation, s.session.SecretHash = stored, secretOf(stored).hash()
				s.session.RecentKeys = recentKeysAt(stored)
				want := OutcomeReused
				switch behind := stored - generation; {
				case behind == 0:
					want = OutcomeRotated
				case key == keyOf(generation) && behind == 1:
					want = OutcomeReplayed
				case key == keyOf(generation):
					want = OutcomeSuperseded
				}
				if got := s.decide(); got.Outcome != want {
					t.Errorf("generation %d at %d, key %v: got %s, want %s", generation, stored, key, got.Outcome, want)
				}
			}
		}
	}
}

// Each of the reasons for which a session can have ended is the one that its
// owner is told.
func TestDecisionTellsTheReason(t *testing.T) {
	for _, reason := range []Reason{
		ReasonLogout, ReasonLogoutEverywhere, ReasonPasswordChanged, ReasonReuse, ReasonExpired,
		ReasonAdmin, ReasonUserDisabled, ReasonReplaced, ReasonRestored,
	} {
		want := Verdict{Outcome: OutcomeEnded, Reason: reason}
		row := present(sceneGeneration).but(func(s *scene) { s.session.EndedAt, s.session.Reason = noon, reason })
		if got := row.decide(); got != want {
			t.Errorf("the row ended: got %+v, want %+v", got, want)
		}
		if !reason.Valid() {
			t.Errorf("%q is no reason", reason)
		}
		epoch := present(sceneGeneration).but(func(s *scene) { s.user.Epoch, s.user.EpochReason = Epoch{2}, reason })
		if got := epoch.decide(); got != want {
			t.Errorf("the epoch moved: got %+v, want %+v", got, want)
		}
	}
	if Reason("").Valid() || Reason("bored").Valid() {
		t.Error("a reason that is none passes for one")
	}
}

// Decide changes nothing that it is shown, and decides alike when asked again.
func TestDecideIsPure(t *testing.T) {
	asked, untouched := present(sceneGeneration-1), present(sceneGeneration-1)
	first := asked.decide()
	if second := asked.decide(); second != first {
		t.Errorf("asked twice: %+v, then %+v", first, second)
	}
	if !reflect.DeepEqual(asked, untouched) {
		t.Error("the arguments have changed")
	}
}

func hidden(s secret) concealed { return conceal(string(s[:])) }

// flipped is another secret of the same generation.
func flipped(s secret) secret {
	s[31] ^= 1
	return s
}
