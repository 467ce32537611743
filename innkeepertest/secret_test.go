package innkeepertest_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestFindSecrets looks for the tokens of a real session, wherever they might stand.
func TestFindSecrets(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	session := inn.SignIn("ada")
	header, _, _ := strings.Cut(session.AccessToken, ".")
	for _, secret := range []string{
		session.RefreshToken, session.AccessToken, session.RefreshToken[:23], header + ".eyJ",
		innkeeper.DeviceTokenPrefix + strings.Repeat("A", 19), innkeeper.ServiceSecretPrefix + strings.Repeat("A", 19), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		object, err := json.Marshal(map[string]string{"token": secret})
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal("line\n" + secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			secret, "Bearer " + secret, "__Secure-innkeeper-refresh=" + secret + "; Path=/", "a\n" + secret + "\nb", "{" + secret + "}", string(object), string(line),
		} {
			if found := innkeepertest.FindSecrets(text + " and " + text); len(found) != 2 || found[0] != secret || found[1] != secret {
				t.Errorf("in %s it found %q", text, found)
			}
		}
	}
}

// TestFindSecretsIsNotMisledByChance draws identifiers, and puts the letters of a prefix
// into them, at the beginning too: ki38pfzikr_3ulsFN6XPzw is a session like any other.
func TestFindSecretsIsNotMisledByChance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := base64.RawURLEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		for _, prefix := range []string{innkeeper.RefreshTokenPrefix, innkeeper.DeviceTokenPrefix, innkeeper.ServiceSecretPrefix, "eyJ"} {
			at := rapid.IntRange(0, len(id)-len(prefix)).Draw(t, "at")
			text := `{"session":{"id":"` + id[:at] + prefix + id[at+len(prefix):] + `"},"token":"` + prefix + `[redacted]"}`
			if found := innkeepertest.FindSecrets(text); found != nil {
				t.Fatalf("in %s it found %q", text, found)
			}
		}
	})
}
