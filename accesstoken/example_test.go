package accesstoken_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// A token from the server that signs it to an API that verifies it. Between the
// two only the public key travels.
func Example() {
	key, err := accesstoken.Generate(accesstoken.ES256)
	if err != nil {
		log.Fatal(err)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	token, err := accesstoken.Sign(key, accesstoken.Claims{
		Issuer:    "https://auth.example.com",
		Audience:  []string{"https://api.example.com"},
		Subject:   "01JAZ4T9W7",
		ID:        "5qYxQ0sT8gk",
		ClientID:  "web",
		IssuedAt:  now,
		ExpiresAt: now.Add(15 * time.Minute),
		Roles:     []string{"admin"},
	})
	if err != nil {
		log.Fatal(err)
	}
	published, err := key.Public().MarshalJWK()
	if err != nil {
		log.Fatal(err)
	}

	trusted, err := accesstoken.ParseJWK(published)
	if err != nil {
		log.Fatal(err)
	}
	keys := func(id string) (accesstoken.PublicKey, bool) { return trusted, id == trusted.KeyID() }
	for _, later := range []time.Duration{0, 15 * time.Minute} {
		claims, err := accesstoken.Verify(token, keys, accesstoken.Expectation{
			Issuer:   "https://auth.example.com",
			Audience: "https://api.example.com",
			Now:      now.Add(later),
		})
		switch {
		case errors.Is(err, accesstoken.ErrExpired):
			fmt.Println("refresh it")
		case err != nil:
			fmt.Println("refuse it:", err)
		default:
			fmt.Println(claims.Subject, claims.Roles)
		}
	}
	fmt.Println(key)

	// Output:
	// 01JAZ4T9W7 [admin]
	// refresh it
	// signing key [redacted]
}
