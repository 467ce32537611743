package innkeeper_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

func TestCheck(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		s.must(s.SetRole(ctx, innkeeper.Role{Name: "mail", Permissions: []string{"mail:send", "mail:read"}}, innkeeper.ActorOperator))
		ada, err := s.CreateUser(ctx, innkeeper.NewUser{
			Username: "ada", Password: rightPassword, Email: "ada@example.com", Roles: []string{"mail"},
		}, innkeeper.ActorOperator)
		s.must(err)
		s.page(0, time.Second)
		signedIn := time.Now()
		grant := s.login("ada")
		synctest.Wait() // for what looks at the keys once in a while
		s.tap.forget()

		checked, err := s.Check(ctx, grant.AccessToken)
		s.must(err)
		want := innkeeper.Checked{
			UserID: ada.ID, SessionID: grant.Session.ID, Username: "ada", Email: "ada@example.com",
			Roles: []string{"mail"}, Permissions: []string{"mail:read", "mail:send"},
			AuthTime: signedIn.UTC().Truncate(time.Second), ExpiresAt: signedIn.UTC().Add(15 * time.Minute).Truncate(time.Second),
		}
		if !reflect.DeepEqual(*checked, want) {
			t.Errorf("it says\n%+v\nwant\n%+v", *checked, want)
		}
		for name, token := range map[string]string{
			"none": "", "no token": "x", "not one of ours": grant.AccessToken[:len(grant.AccessToken)-6] + "AAAAAA",
			"a refresh token": grant.RefreshToken.Reveal(),
		} {
			_, err := s.Check(ctx, token)
			if err != innkeeper.ErrAccessTokenInvalid { //nolint:errorlint // the very same error, not one that wraps it
				t.Errorf("%s: got %v", name, err)
			}
		}
		if calls := s.tap.forget(); len(calls) > 0 {
			t.Errorf("the store was asked: %v", calls)
		}
		time.Sleep(15 * time.Minute)
		_, err = s.Check(ctx, grant.AccessToken)
		s.want(err, innkeeper.ErrAccessTokenExpired)
	})
}

// A token of another audience or issuer is none, whoever signed it.
func TestCheckOfAnotherAudience(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := openInn(t, withRealClock, func(c *innkeeper.Config) { c.Audience = []string{"https://api.example.com"} })
		other := run(t, openInnOn(t, i.store, i.clock, withRealClock, withRoots(i.config.RootKeys)))
		other.page(0, time.Second)
		i.addUser("ada")
		_, err := other.Check(ctx, i.login("ada").AccessToken)
		other.want(err, innkeeper.ErrAccessTokenInvalid)
	})
}

// All three kinds of entry count, for a key whatever else is wrong with the token.
func TestCheckAsksTheFeed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, kind := range []innkeeper.RevocationKind{innkeeper.RevokedSession, innkeeper.RevokedUser, innkeeper.RevokedKey} {
			s := servers(t, 1)[0]
			ada := s.addUser("ada")
			s.page(0, time.Second)
			grant, other := s.login("ada"), s.login("ada")
			_, err := s.Check(ctx, grant.AccessToken)
			s.must(err)
			s.revoke(kind, map[innkeeper.RevocationKind]string{
				innkeeper.RevokedSession: grant.Session.ID.String(),
				innkeeper.RevokedUser:    innkeeper.UserRevocationID("https://auth.example.com", ada.ID, ada.Epoch),
				innkeeper.RevokedKey:     keyIDOf(t, grant.AccessToken),
			}[kind])
			time.Sleep(time.Second)
			_, err = s.Check(ctx, grant.AccessToken)
			s.want(err, innkeeper.ErrAccessTokenRevoked)
			_, err = s.Check(ctx, other.AccessToken)
			if kind == innkeeper.RevokedSession {
				s.must(err)
			} else {
				s.want(err, innkeeper.ErrAccessTokenRevoked)
			}
			s.stop()
		}
	})
}

// Check goes on with what it knows: while the store fails, and after Run has ended.
func TestCheckWithoutTheStore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := servers(t, 1)[0]
		s.addUser("ada")
		s.page(0, time.Second)
		grant, ended := s.login("ada"), s.login("ada")
		s.must(s.EndSession(ctx, ended.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		synctest.Wait()
		for _, end := range []func(){
			func() { s.tap.always("Revocations", func() error { return context.DeadlineExceeded }) },
			s.stop,
		} {
			end()
			time.Sleep(5 * time.Minute)
			_, err := s.Check(ctx, grant.AccessToken)
			s.must(err)
			_, err = s.Check(ctx, ended.AccessToken)
			s.want(err, innkeeper.ErrAccessTokenRevoked)
		}
	})
}

// Checked.Lag is small while the store answers, and grows while it does not. What a
// server cannot know of, it accepts, and says how long it has known of nothing.
func TestCheckSaysHowOldItsViewIs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		both := servers(t, 2)
		here, there := both[0], both[1]
		here.addUser("ada")
		grant := here.login("ada")
		check := func() *innkeeper.Checked {
			t.Helper()
			checked, err := here.Check(ctx, grant.AccessToken)
			here.must(err)
			return checked
		}
		for range 100 {
			time.Sleep(77 * time.Millisecond)
			if lag := check().Lag; lag > 250*time.Millisecond {
				t.Fatalf("the view is %v old", lag)
			}
		}
		here.tap.always("LastRevocation", func() error { return context.DeadlineExceeded })
		there.must(there.EndSession(ctx, grant.Session.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator))
		time.Sleep(5 * time.Minute)
		if lag := check().Lag; lag < 5*time.Minute || lag > 5*time.Minute+time.Second {
			t.Errorf("the view is %v old, want 5 min", lag)
		}
		here.tap.forget()
		time.Sleep(5 * time.Second)
		_, err := here.Check(ctx, grant.AccessToken)
		here.want(err, innkeeper.ErrAccessTokenRevoked)
	})
}

// keyIDOf reads the `kid` of an access token.
func keyIDOf(t *testing.T, token string) string {
	t.Helper()
	encoded, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}
