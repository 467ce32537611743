package innkeeper_test

import (
	"errors"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

func (i *inn) wantInactive(what, token string) {
	i.t.Helper()
	if _, err := i.Introspect(ctx, token); !errors.Is(err, innkeeper.ErrTokenInactive) {
		i.t.Errorf("%s: got %v", what, err)
	}
}

// TestIntrospect holds I2, I5 and I6: what is good for nothing is inactive, and
// being asked changes nothing.
func TestIntrospect(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	first := i.login("ada")
	second := i.refresh(first, ownKey(first))
	found, err := i.Introspect(ctx, second.RefreshToken.Reveal())
	i.must(err)
	if found.Claims != nil || found.Session.ID != first.Session.ID || !found.ExpiresAt.Equal(second.RefreshToken.ExpiresAt()) {
		t.Errorf("found %+v", found)
	}
	found, err = i.Introspect(ctx, first.AccessToken)
	i.must(err)
	if found.Claims == nil || found.Claims.SessionID != first.Session.ID.String() || found.Subject.Username != "ada" {
		t.Errorf("found %+v", found)
	}

	i.tap.forget()
	for range 3 {
		i.wantInactive("a token that was used", first.RefreshToken.Reveal()) // I5
	}
	for call := range i.tap.forget() {
		if call != "Session" {
			t.Errorf("introspecting called %s", call)
		}
	}
	if i.count(innkeeper.EventTokenReused) != 0 || i.row(first.Session.ID).Ended() { // I6
		t.Error("introspecting has ended the session")
	}
	third := i.refresh(second, ownKey(second))

	i.wantInactive("nothing", "")
	i.wantInactive("garbage", "ikr_x")
	i.wantInactive("an altered token", third.AccessToken+"A")
	browser, err := i.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: rightPassword, Delivery: innkeeper.DeliverByCookie})
	i.must(err)
	i.wantInactive("a token of the cookie", browser.RefreshToken.Reveal())

	i.tap.once("Session", func() error { return errors.New("away") })
	_, err = i.Introspect(ctx, third.RefreshToken.Reveal())
	i.want(err, innkeeper.ErrUnavailable)
	i.tap.once("Session", func() error { return errors.New("away") })
	_, err = i.Introspect(ctx, third.AccessToken)
	i.want(err, innkeeper.ErrUnavailable)

	i.clock.advance(innkeeper.RevocationRetention)
	i.wantInactive("an expired access token", third.AccessToken)
	i.clock.advance(15 * 24 * time.Hour)
	i.wantInactive("an expired refresh token", third.RefreshToken.Reveal())
}

// TestRevokeToken holds V2, V4 and V8.
func TestRevokeToken(t *testing.T) {
	i := openInn(t)
	i.addUser("ada")
	revoke := func(token string, actor innkeeper.Actor) {
		t.Helper()
		i.must(i.RevokeToken(ctx, token, innkeeper.Requester{Actor: actor, Client: someService}))
	}
	for _, garbage := range []string{"", "ikr_x", "x.y.z"} {
		revoke(garbage, "")
	}
	for name, token := range map[string]func(first, second *innkeeper.Grant) string{
		"refresh token":           func(_, g *innkeeper.Grant) string { return g.RefreshToken.Reveal() },
		"refresh token of before": func(g, _ *innkeeper.Grant) string { return g.RefreshToken.Reveal() },
		"access token":            func(_, g *innkeeper.Grant) string { return g.AccessToken },
		"access token of before":  func(g, _ *innkeeper.Grant) string { return g.AccessToken },
	} {
		first := i.login("ada")
		second := i.refresh(first, ownKey(first))
		ends := i.count(innkeeper.EventSessionEnded)
		for range 2 { // V8
			revoke(token(first, second), "")
		}
		if row := i.row(first.Session.ID); row.Reason != innkeeper.ReasonLogout || i.count(innkeeper.EventSessionEnded) != ends+1 {
			t.Errorf("%s: ended for %q", name, row.Reason)
		}
		i.wantInactive(name, second.AccessToken) // V4
		if i.count(innkeeper.EventTokenReused) != 0 {
			t.Errorf("%s: an alarm was raised", name)
		}
	}
	grant := i.login("ada")
	revoke(grant.AccessToken, "service:web")
	events := i.events()
	if last := events[len(events)-1]; last.Actor != "service:web" || last.Client != someService {
		t.Errorf("logged %+v", last)
	}
	grant = i.login("ada")
	i.tap.once("Session", func() error { return errors.New("away") })
	i.want(i.RevokeToken(ctx, grant.RefreshToken.Reveal(), innkeeper.Requester{Client: someService}), innkeeper.ErrUnavailable) // V6
}
