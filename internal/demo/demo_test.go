package demo_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/demo"
)

const (
	keyOfOne = `"key-made-for-generation-1";generation=1`
	keyOfTwo = `"key-made-for-generation-2";generation=2`
)

func TestSampleSignIn(t *testing.T) {
	b := newStage(t).browser(t)
	a := b.signIn()
	if a.body.ExpiresIn != 15 || a.body.RefreshToken != "" || !slices.Equal(a.body.User.Permissions, []string{"mail:read"}) {
		t.Fatalf("signed in with %s", a.text)
	}
	if mail := b.mail(); mail.status != 200 || mail.body.Account != demo.Username {
		t.Fatalf("mail: %d %s", mail.status, mail.text)
	}
}

func TestOverAStoreThatKnowsTheSampleUser(t *testing.T) {
	s := newStage(t)
	s.handler(t)
}

func TestMailRefreshMail(t *testing.T) {
	s := newStage(t)
	b := s.browser(t)
	b.send("GET", "/api/mail", "").want(t, 401, "access_token_invalid")
	b.signIn()
	s.clock.Advance(14 * time.Second)
	b.mail().want(t, 200, "")
	s.clock.Advance(time.Second) // no allowance for clocks: 15 s are 15 s
	a := b.mail()
	a.want(t, 401, "access_token_expired")
	if challenge := a.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
		t.Fatalf("challenge %q", challenge)
	}
	a = b.refresh(keyOfOne)
	a.want(t, 200, "")
	if seen := arrivals(t, a); len(seen) != 1 || seen[0].Did != "rotated" || seen[0].Generation != 2 || !seen[0].Answered {
		t.Fatalf("the desk saw %+v", seen)
	}
	b.mail().want(t, 200, "")
}

func TestVictimBeforeThief(t *testing.T) {
	s := newStage(t)
	b := s.browser(t)
	b.signIn()
	theft := b.send("POST", "/auth/demo/thief/copy", "{}")
	theft.want(t, 200, "")
	if theft.body.Generation != 1 || innkeepertest.FindSecrets(theft.text) != nil {
		t.Fatalf("the page learns %s", theft.text)
	}
	b.refresh(keyOfOne).want(t, 200, "")

	used := b.send("POST", "/auth/demo/thief/use", `{"thief":"`+theft.body.Thief+`"}`)
	used.want(t, 200, "")
	if deeds := used.body.Deeds; len(deeds) != 1 || deeds[0].Status != 401 || deeds[0].Code != "refresh_token_reused" {
		t.Fatalf("the thief got %s", used.text)
	}
	a := b.refresh(keyOfTwo)
	a.want(t, 401, "session_ended")
	if a.body.Reason != "reuse" {
		t.Fatalf("the victim got %s", a.text)
	}
	if len(a.header.Values("Set-Cookie")) > 0 {
		t.Fatal("a failed refresh touched the cookies")
	}
}

func TestThiefBeforeVictim(t *testing.T) {
	s := newStage(t)
	b := s.browser(t)
	b.signIn()
	theft := b.send("POST", "/auth/demo/thief/copy", "{}")
	use := func() answer {
		t.Helper()
		return b.send("POST", "/auth/demo/thief/use", `{"thief":"`+theft.body.Thief+`"}`)
	}

	used := use()
	if deeds := used.body.Deeds; len(deeds) != 2 || deeds[0].Obtained != 2 || deeds[1].Path != "/api/mail" || deeds[1].Status != 200 {
		t.Fatalf("the thief got %s", used.text)
	}
	if innkeepertest.FindSecrets(used.text) != nil {
		t.Fatal("the page was shown a stolen token")
	}
	b.refresh(keyOfOne).want(t, 401, "refresh_token_reused")

	// The thief is out as well, and its last key card is as good as any other until
	// it expires.
	used = use()
	if deeds := used.body.Deeds; len(deeds) != 2 || deeds[0].Code != "session_ended" || deeds[0].Reason != "reuse" || deeds[1].Status != 200 {
		t.Fatalf("the thief got %s", used.text)
	}
	s.clock.Advance(demo.AccessTTL)
	if deeds := use().body.Deeds; deeds[1].Status != 401 {
		t.Fatalf("the thief still reads mail: %+v", deeds)
	}
	b.signIn()
}

func TestLostAnswer(t *testing.T) {
	s := newStage(t)
	b := s.browser(t)
	b.signIn()
	b.send("POST", "/auth/demo/lose-next-answer", "{}").want(t, 204, "")
	for range 3 { // a browser repeats by itself what it has sent over a used connection
		if a, err := b.try("POST", "/auth/refresh", "{}", "Idempotency-Key", keyOfOne); err == nil {
			t.Fatalf("the answer arrived: %d %s", a.status, a.text)
		}
	}
	s.clock.Advance(500 * time.Millisecond)
	a := b.refresh(keyOfOne)
	a.want(t, 200, "")
	first := b.cookie()

	seen := arrivals(t, a)
	if len(seen) != 4 || seen[0].Did != "rotated" || seen[0].Answered || seen[3].Did != "replayed" || !seen[3].Answered {
		t.Fatalf("the desk saw %+v", seen)
	}
	for _, arrived := range seen {
		if arrived.Generation != 2 || arrived.Successor != seen[0].Successor {
			t.Fatalf("the successors differ: %+v", seen)
		}
	}
	b.refresh(keyOfTwo).want(t, 200, "")
	if b.cookie() == first {
		t.Fatal("the next refresh did not rotate")
	}
}

func TestLostAnswerOfOneSessionOnly(t *testing.T) {
	s := newStage(t)
	unlucky, other := s.browser(t), s.browser(t)
	unlucky.signIn()
	other.signIn()
	unlucky.send("POST", "/auth/demo/lose-next-answer", "{}").want(t, 204, "")
	other.refresh(keyOfOne).want(t, 200, "")
	if _, err := unlucky.try("POST", "/auth/refresh", "{}", "Idempotency-Key", keyOfOne); err == nil {
		t.Fatal("the answer arrived")
	}
}

func TestPhoneBesideBrowser(t *testing.T) {
	s := newStage(t)
	b, phone := s.browser(t), s.browser(t)
	b.signIn()
	login := `{"username":"` + demo.Username + `","password":"` + demo.Password + `","delivery":"body","device":"phone"}`
	a := phone.send("POST", "/auth/login", login)
	a.want(t, 200, "")
	b.send("POST", "/auth/logout", `{"scope":"everywhere"}`).want(t, 204, "")
	phone.mail().want(t, 200, "") // checked offline, until it expires
	s.clock.Advance(demo.AccessTTL)
	phone.mail().want(t, 401, "access_token_expired")
	a = phone.send("POST", "/auth/refresh", `{"refresh_token":"`+a.body.RefreshToken+`"}`, "Idempotency-Key", keyOfOne)
	a.want(t, 401, "session_ended")
	if a.body.Reason != "logout_everywhere" {
		t.Fatalf("the phone got %s", a.text)
	}
}

func TestDemoEndpointsRefuse(t *testing.T) {
	s := newStage(t)
	b := s.browser(t)
	for path, want := range map[string]struct {
		body, code string
		status     int
	}{
		"/auth/demo/lose-next-answer": {"{}", "refresh_token_missing", 401},
		"/auth/demo/thief/copy":       {"{}", "refresh_token_missing", 401},
		"/auth/demo/thief/use":        {`{"thief":"nobody"}`, "not_found", 404},
	} {
		b.send("POST", path, want.body).want(t, want.status, want.code)
		if a := b.send("POST", path, want.body, "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("%s from another site: %d", path, a.status)
		}
		if a := b.send("GET", path, ""); a.status != 404 && a.status != 405 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
	b.send("POST", "/auth/demo/thief/use", "not JSON").want(t, 400, "invalid_request")
	b.send("POST", "/auth/demo/thief/use", `{"thief":"`+strings.Repeat("x", 2000)+`"}`).want(t, 400, "invalid_request")
}

// The real server has none of it.
func TestDemoEndpointsAreOnlyHere(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	real := &stage{url: inn.URL, clock: inn.Clock}
	b := real.browser(t)
	for _, path := range []string{"/auth/demo/lose-next-answer", "/auth/demo/thief/copy", "/auth/demo/thief/use"} {
		b.send("POST", path, "{}").want(t, 404, "not_found")
	}
	b.send("GET", "/api/mail", "").want(t, 404, "not_found")
}

// arrival is what the page is told about a refresh.
type arrival struct {
	Did        string `json:"did"`
	Generation uint32 `json:"generation"`
	Successor  string `json:"successor"`
	Answered   bool   `json:"answered"`
}

func arrivals(t *testing.T, a answer) []arrival {
	t.Helper()
	var seen []arrival
	if err := json.Unmarshal([]byte(a.header.Get("Innkeeper-Demo-Desk")), &seen); err != nil {
		t.Fatal(err)
	}
	return seen
}
