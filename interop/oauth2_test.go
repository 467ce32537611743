package interop_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/innkeeper-auth/innkeeper/interop"
)

var styles = map[string]oauth2.AuthStyle{
	"AutoDetect": oauth2.AuthStyleAutoDetect, "InHeader": oauth2.AuthStyleInHeader, "InParams": oauth2.AuthStyleInParams,
}

func (i *inn) config(style oauth2.AuthStyle, id, secret string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: id, ClientSecret: secret, Endpoint: oauth2.Endpoint{TokenURL: i.issuer + "/oauth/token", AuthStyle: style},
	}
}

// over lets x/oauth2 use an HTTP client.
func over(client *http.Client) context.Context {
	return context.WithValue(context.Background(), oauth2.HTTPClient, client)
}

// isSignOut reports whether a client has to ask for a sign-in.
func isSignOut(err error) bool {
	var refused *oauth2.RetrieveError
	return errors.As(err, &refused) && refused.ErrorCode == "invalid_grant"
}

// refreshes refreshes n times, as a program does that keeps its refresh token
// somewhere: whatever goes wrong, it tries again with the token that it has. It
// returns the last token, and how often it was told to sign in.
func refreshes(ctx context.Context, config *oauth2.Config, token *oauth2.Token, n int) (last *oauth2.Token, failures, signOuts int) {
	for range n {
		for {
			next, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
			if err == nil {
				token = next
				break
			}
			failures++
			if isSignOut(err) {
				return token, failures, signOuts + 1
			}
		}
	}
	return token, failures, signOuts
}

// dice hurts about every third request to the token endpoint, in all ways.
func dice(seed uint64) func(*http.Request) fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 7))
	return func(*http.Request) fault {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(3) > 0 {
			return none
		}
		return before + fault(random.IntN(int(afterCut)))
	}
}

// perClient is how often a client refreshes: a thousand times with each style, half of
// them public and half confidential.
const perClient = 500

// TestOAuth2 is 7.2 (b) and C5: each style of authentication refreshes a thousand
// times, while a third of all answers is lost or broken, before the server has acted
// and after it. --refresh-leeway is all that it takes, and nobody is signed out.
func TestOAuth2(t *testing.T) {
	i := open(t, "--refresh-leeway", "1m")
	secret := i.addService("web")
	i.inject(dice(1))
	var clients sync.WaitGroup
	for name, style := range styles {
		for _, as := range [][2]string{{"innkeeper", ""}, {"web", secret}} {
			session := i.signIn()
			clients.Go(func() {
				config := i.config(style, as[0], as[1])
				last, failures, signOuts := refreshes(over(i.client), config, &oauth2.Token{RefreshToken: session.RefreshToken}, perClient)
				t.Logf("%s as %s: %d refreshes, %d failures on the way, %d sign-outs", name, as[0], perClient, failures, signOuts)
				if signOuts != 0 || failures < perClient/10 {
					t.Errorf("%s as %s: %d failures, %d sign-outs", name, as[0], failures, signOuts)
					return
				}
				if status := i.status(last.AccessToken); status != http.StatusOK || last.RefreshToken == session.RefreshToken {
					t.Errorf("%s as %s: the last access token gets %d", name, as[0], status)
				}
			})
		}
	}
	clients.Wait()
	i.wantNoAlarm()
	for kind, name := range faultNames {
		t.Logf("%s: %d", name, i.hits[kind].Load())
		if i.hits[kind].Load() < perClient/10 {
			t.Errorf("%s: only %d times", name, i.hits[kind].Load())
		}
	}
}

func (i *inn) wantNoAlarm() {
	i.t.Helper()
	if strings.Contains(i.log.String(), "refresh_token.reused") {
		i.t.Errorf("an alarm was raised:\n%s", i.log)
	}
}

// TestOAuth2WithKeys does the same without any leeway, with a RoundTripper below the
// client that sends an Idempotency-Key.
func TestOAuth2WithKeys(t *testing.T) {
	i := open(t)
	i.inject(dice(2))
	session := i.signIn()
	client := &http.Client{Transport: &interop.Keyed{Next: i.client.Transport}}
	last, failures, signOuts := refreshes(over(client), i.config(oauth2.AuthStyleAutoDetect, "innkeeper", ""), &oauth2.Token{RefreshToken: session.RefreshToken}, perClient)
	t.Logf("%d refreshes, %d failures on the way, %d sign-outs", perClient, failures, signOuts)
	if signOuts != 0 || failures < perClient/10 || i.status(last.AccessToken) != http.StatusOK {
		t.Errorf("%d failures, %d sign-outs", failures, signOuts)
	}
	i.wantNoAlarm()
}

// TestOAuth2WithNeither shows what the leeway is for: without it, and without keys,
// the first answer that is lost after the act ends the session; one that is lost
// before it does not.
func TestOAuth2WithNeither(t *testing.T) {
	for name, test := range map[string]struct {
		harm     fault
		signOuts int
	}{"before": {before, 0}, "after": {after, 1}, "cut": {afterCut, 1}} {
		t.Run(name, func(t *testing.T) {
			i := open(t)
			session := i.signIn()
			requests := 0
			i.inject(func(*http.Request) fault {
				requests++
				if requests == 3 {
					return test.harm
				}
				return none
			})
			_, failures, signOuts := refreshes(over(i.client), i.config(oauth2.AuthStyleInParams, "innkeeper", ""), &oauth2.Token{RefreshToken: session.RefreshToken}, 10)
			if failures != 1+test.signOuts || signOuts != test.signOuts {
				t.Errorf("%d failures, %d sign-outs", failures, signOuts)
			}
		})
	}
}

// TestOAuth2Probing is T14 and 7.2 (a): AutoDetect shows the same refresh token once
// for each style that it tries. As long as it is not let in, nothing is consumed.
func TestOAuth2Probing(t *testing.T) {
	i := open(t)
	secret := i.addService("web")
	wrong := secret[:20] + map[bool]string{true: "A", false: "B"}[secret[20] != 'A'] + secret[21:] // the end is a check sum, and could be AA
	session := i.signIn()
	var seen []string
	i.inject(func(r *http.Request) fault {
		_, _, inHeader := r.BasicAuth()
		seen = append(seen, fmt.Sprintf("header %v", inHeader))
		return none
	})
	token := &oauth2.Token{RefreshToken: session.RefreshToken}
	for name, config := range map[string]*oauth2.Config{
		"a wrong secret":                i.config(oauth2.AuthStyleAutoDetect, "web", wrong),
		"nobody":                        i.config(oauth2.AuthStyleAutoDetect, "stranger", ""),
		"a secret of nobody":            i.config(oauth2.AuthStyleAutoDetect, "web", "not a secret: 100%"),
		"the apps, a secret":            i.config(oauth2.AuthStyleAutoDetect, "innkeeper", secret),
		"a wrong secret, in the header": i.config(oauth2.AuthStyleInHeader, "web", "wrong"),
		"a wrong secret, in the form":   i.config(oauth2.AuthStyleInParams, "web", "wrong"),
	} {
		seen = nil
		_, err := config.TokenSource(over(i.client), token).Token()
		var refused *oauth2.RetrieveError
		if !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" {
			t.Errorf("%s: got %v", name, err)
		}
		if probes := config.Endpoint.AuthStyle == oauth2.AuthStyleAutoDetect; probes && len(seen) != 2 {
			t.Errorf("%s: tried %v", name, seen)
		}
	}
	// Without a name, the header is refused and the form is not: the second try gets it.
	seen = nil
	nameless, err := i.config(oauth2.AuthStyleAutoDetect, "", "").TokenSource(over(i.client), token).Token()
	if err != nil || len(seen) != 2 {
		t.Fatalf("without a name: %v, %v", seen, err)
	}
	last, failures, signOuts := refreshes(over(i.client), i.config(oauth2.AuthStyleAutoDetect, "web", secret), nameless, 3)
	if failures != 0 || signOuts != 0 || i.status(last.AccessToken) != http.StatusOK {
		t.Errorf("%d failures, %d sign-outs", failures, signOuts)
	}
	i.wantNoAlarm()
}

// TestOAuth2Client lets the client of x/oauth2 call an API, as it is meant to be used:
// it refreshes when it thinks that a token is about to expire, which these always are.
func TestOAuth2Client(t *testing.T) {
	i := open(t, "--access-ttl", "5s", "--refresh-leeway", "4s")
	session := i.signIn()
	client := i.config(oauth2.AuthStyleAutoDetect, "innkeeper", "").Client(over(i.client), &oauth2.Token{RefreshToken: session.RefreshToken})
	for n := range 20 {
		resp, err := client.Get(i.issuer + "/auth/me")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %s", n, resp.Status)
		}
	}
	i.wantNoAlarm()
}
