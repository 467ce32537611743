package httpapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// simultaneously sends 50 refreshes with one token, each with the key that keyOf
// gives it.
func simultaneously(t *testing.T, inn *innkeepertest.Inn, token string, keyOf func(int) string) []answer {
	t.Helper()
	answers := make([]answer, 50)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			<-begin
			answers[i] = request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+token+`"}`, "Idempotency-Key", keyOf(i))
		})
	}
	close(begin)
	wg.Wait()
	return answers
}

func TestFiftyRefreshesWithOneKey(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	answers := simultaneously(t, inn, session.RefreshToken, func(int) string { return `"the-same-key-for-all";generation=1` })
	successor := answers[0].body["refresh_token"]
	for i, a := range answers {
		a.want(t, 200, "")
		if a.body["refresh_token"] != successor || a.member("session", "generation") != 2.0 {
			t.Fatalf("answer %d differs: %s", i, a.text)
		}
	}
	request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+successor.(string)+`"}`).want(t, 200, "")
}

func TestFiftyRefreshesWithFiftyKeys(t *testing.T) {
	var mu sync.Mutex
	thefts := 0
	inn := innkeepertest.New(t, &innkeepertest.Options{Observe: func(event innkeeper.Event) {
		mu.Lock()
		defer mu.Unlock()
		if event.Kind == innkeeper.EventTokenReused {
			thefts++
		}
	}})
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	answers := simultaneously(t, inn, session.RefreshToken, func(i int) string { return fmt.Sprintf(`"one-key-for-each-%04d"`, i) })
	codes := map[any]int{}
	for _, a := range answers {
		codes[a.body["code"]]++
		if a.status == 200 {
			request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+a.body["refresh_token"].(string)+`"}`).want(t, 401, "session_ended")
		}
	}
	// Exactly one rotation, at most one alarm, and everybody else learns that it is
	// over. The 50 may also all have met an end that came before the swap.
	if codes[nil] != 1 || codes["refresh_token_reused"] != 1 || codes["session_ended"] != 48 || thefts != 1 {
		t.Fatalf("answers %v, %d alarms", codes, thefts)
	}
}

func TestRefreshGenerations(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	refresh := func(token, key string) answer {
		t.Helper()
		return request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+token+`"}`, "Idempotency-Key", key)
	}

	// A key made for another generation consumes nothing and teaches the truth.
	mislabeled := refresh(session.RefreshToken, `"key-of-generation-7";generation=7`)
	mislabeled.want(t, 409, "refresh_generation_mismatch")
	if mislabeled.body["generation"] != 1.0 {
		t.Fatalf("the answer is %s", mislabeled.text)
	}

	second := refresh(session.RefreshToken, `"key-of-generation-1";generation=1`)
	second.want(t, 200, "")
	// A lost answer, asked for again, bare and without the generation.
	again := refresh(session.RefreshToken, `key-of-generation-1`)
	again.want(t, 200, "")
	if again.body["refresh_token"] != second.body["refresh_token"] {
		t.Fatal("the replay gave another successor")
	}
	third := refresh(second.body["refresh_token"].(string), `"key-of-generation-2";generation=2`)
	third.want(t, 200, "")
	// A late duplicate of the first request harms nobody.
	refresh(session.RefreshToken, `"key-of-generation-1";generation=1`).want(t, 409, "refresh_superseded")
	refresh(third.body["refresh_token"].(string), `"key-of-generation-3";generation=3`).want(t, 200, "")
}

func TestForgedTokens(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	stranger := innkeepertest.New(t, nil)
	stranger.AddUser("ada")
	for name, token := range map[string]string{
		"truncated": session.RefreshToken[:len(session.RefreshToken)-1],
		"altered":   strings.Replace(session.RefreshToken, session.RefreshToken[40:44], "AAAA", 1),
		"longer":    session.RefreshToken + "A",
		"padded":    session.RefreshToken + "=",
		"unmarked":  strings.TrimPrefix(session.RefreshToken, innkeeper.RefreshTokenPrefix),
		"foreign":   stranger.SignIn("ada").RefreshToken,
	} {
		t.Run(name, func(t *testing.T) {
			request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+token+`"}`).want(t, 401, "refresh_token_invalid")
		})
	}
	inn.Refresh(session)
}

func TestLogoutScopes(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	logout := func(scope, token string) answer {
		t.Helper()
		return request(t, "POST", inn.URL+"/auth/logout", `{"scope":"`+scope+`","refresh_token":"`+token+`"}`)
	}
	dead := func(s innkeepertest.Session, reason string) {
		t.Helper()
		a := request(t, "POST", inn.URL+"/auth/refresh", `{"refresh_token":"`+s.RefreshToken+`"}`)
		a.want(t, 401, "session_ended")
		if a.body["reason"] != reason {
			t.Fatalf("reason %v, want %s", a.body["reason"], reason)
		}
	}

	// "this" takes any genuine token of the session: a refresh may have been
	// committed unseen.
	a := inn.SignIn("ada")
	next := inn.Refresh(inn.Refresh(a))
	logout("this", a.RefreshToken).want(t, 204, "")
	logout("this", a.RefreshToken).want(t, 204, "")
	dead(next, "logout")

	// "others" wants the current one, and leaves it alive.
	a, b := inn.SignIn("ada"), inn.SignIn("ada")
	stale := a
	a = inn.Refresh(a)
	logout("others", stale.RefreshToken).want(t, 409, "refresh_superseded")
	logout("others", a.RefreshToken).want(t, 204, "")
	dead(b, "logout_everywhere")
	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(a.AccessToken)).want(t, 401, "access_token_revoked")
	a = inn.Refresh(a)
	request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(a.AccessToken)).want(t, 200, "")

	// "everywhere", by access token.
	b = inn.SignIn("ada")
	request(t, "POST", inn.URL+"/auth/logout", `{"scope":"everywhere"}`, "Authorization", bearer(b.AccessToken)).want(t, 204, "")
	dead(a, "logout_everywhere")
	dead(b, "logout_everywhere")
	logout("everywhere", b.RefreshToken).want(t, 401, "session_ended")
}
