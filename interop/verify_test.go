package interop_test

import (
	"strings"
	"testing"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
)

var algorithms = []string{"ES256", "RS256", "EdDSA"}

// verifiers are resource servers. Each returns the sub of an access token.
func (i *inn) verifiers(alg, audience string) map[string]func(token string) (string, error) {
	i.t.Helper()
	jwks := i.issuer + "/.well-known/jwks.json"
	checker := oidc.NewVerifier(i.issuer, oidc.NewRemoteKeySet(oidc.ClientContext(i.t.Context(), i.client), jwks),
		&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{alg}})
	keys, err := keyfunc.NewDefaultOverrideCtx(i.t.Context(), []string{jwks}, keyfunc.Override{Client: i.client})
	i.must(err)
	return map[string]func(string) (string, error){
		"coreos/go-oidc": func(token string) (string, error) {
			verified, err := checker.Verify(oidc.ClientContext(i.t.Context(), i.client), token)
			if err != nil {
				return "", err
			}
			return verified.Subject, nil
		},
		"MicahParks/keyfunc": func(token string) (string, error) {
			parsed, err := jwt.Parse(token, keys.Keyfunc, jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(i.issuer),
				jwt.WithAudience(audience), jwt.WithExpirationRequired())
			if err != nil {
				return "", err
			}
			return parsed.Claims.GetSubject()
		},
	}
}

// TestVerifiers is 7.2 and D4 to D7: resource servers of others verify our access
// tokens with our key set, and go on when the key that signs is revoked.
func TestVerifiers(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			i := open(t, "--alg", alg)
			good, others := i.verifiers(alg, i.issuer), i.verifiers(alg, "https://other.example")
			accept := func(what, token string) {
				t.Helper()
				for name, verify := range good {
					subject, err := verify(token)
					if err != nil || len(subject) != 22 {
						t.Errorf("%s, %s: %q, %v", name, what, subject, err)
					}
				}
			}
			refuse := func(what, token string, verifiers map[string]func(string) (string, error)) {
				t.Helper()
				for name, verify := range verifiers {
					if _, err := verify(token); err == nil {
						t.Errorf("%s, %s: accepted", name, what)
					}
				}
			}
			session := i.signIn()
			accept("a token", session.AccessToken)
			refuse("another audience", session.AccessToken, others)
			refuse("a refresh token", session.RefreshToken, good)
			parts := strings.Split(session.AccessToken, ".")
			refuse("another signature", parts[0]+"."+parts[1]+"."+strings.Split(i.signIn().AccessToken, ".")[2], good)
			refuse("no signature", parts[0]+"."+parts[1]+".", good)

			// The next key was in the set all along: nobody has to fetch it first.
			head, _, err := jwt.NewParser().ParseUnverified(session.AccessToken, jwt.MapClaims{})
			i.must(err)
			kid, _ := head.Header["kid"].(string)
			i.run("", "key", "retire", "--emergency", kid)
			for {
				fresh := i.signIn().AccessToken
				after, _, err := jwt.NewParser().ParseUnverified(fresh, jwt.MapClaims{})
				i.must(err)
				if after.Header["kid"] != kid {
					accept("a token of the next key", fresh)
					break
				}
			}
		})
	}
}
