package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// What an API pays for a token is measured beside what it cannot do without, the
// signature alone, and beside golang-jwt, which checks it and the usual claims. All of
// it runs in one goroutine, in turns so short that a machine which is slower for a
// second is slower for all.
const (
	verifyTurn   = 20 * time.Millisecond
	verifyRounds = 75
	verifyIssuer = "http://localhost:8080"
)

// contestant is one way to verify the one token.
type contestant struct {
	name   string
	verify func() error

	nanoseconds []float64 // of a call, in each turn
	allocations float64   // of a call
}

// reportVerify prints what verifying a token costs, for each algorithm.
func reportVerify(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "\nverifying an access token:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "algorithm\t\tns\tof the signature\tallocations\t")
	for _, algorithm := range []accesstoken.Algorithm{accesstoken.ES256, accesstoken.RS256, accesstoken.EdDSA} {
		contestants, err := newContestants(ctx, algorithm)
		if err != nil {
			return fmt.Errorf("%s: %w", algorithm, err)
		}
		if err := contest(contestants); err != nil {
			return fmt.Errorf("%s: %w", algorithm, err)
		}
		signature := contestants[0].nanoseconds
		for _, c := range contestants {
			fmt.Fprintf(table, "%s\t%s\t%.0f\t%s\t%.0f\t\n", algorithm, c.name, median(c.nanoseconds), ratio(c.nanoseconds, signature), c.allocations)
		}
	}
	return table.Flush()
}

// contest lets all take their turns.
func contest(contestants []*contestant) error {
	for range verifyRounds {
		for _, c := range contestants {
			if err := c.turn(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

func (c *contestant) turn() error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	calls, began := 0, time.Now()
	for time.Since(began) < verifyTurn {
		for range 16 { // so that the clock costs nothing
			if err := c.verify(); err != nil {
				return err
			}
		}
		calls += 16
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	c.nanoseconds = append(c.nanoseconds, float64(took.Nanoseconds())/float64(calls))
	c.allocations = float64(after.Mallocs-before.Mallocs) / float64(calls)
	return nil
}

// newContestants makes a key, a token and all who verify it, the bare signature
// first.
func newContestants(ctx context.Context, algorithm accesstoken.Algorithm) ([]*contestant, error) {
	key, err := accesstoken.Generate(algorithm)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	token, err := accesstoken.Sign(key, accesstoken.Claims{
		Issuer: verifyIssuer, Subject: "TVSfyJ-uWz-1gHCD9vifwg", SessionID: "6OGpPYrJzyPdGGLuaHnP4g",
		Audience: []string{verifyIssuer}, ExpiresAt: now.Add(time.Hour), IssuedAt: now, AuthTime: now,
		ID: "1Iw67LGYkH3NzVznbbyl7g", ClientID: "innkeeper", AuthMethods: []string{"pwd"}, Epoch: "HJQP6dZJg1U", Username: username,
		Roles: []string{"editor"}, Permissions: []string{"mail:read", "mail:send"},
	})
	if err != nil {
		return nil, err
	}
	document, err := key.Public().MarshalJWK()
	if err != nil {
		return nil, err
	}
	var public jose.JSONWebKey
	if err := json.Unmarshal(document, &public); err != nil {
		return nil, err
	}
	signature, err := bareSignature(token, public.Key)
	if err != nil {
		return nil, err
	}
	uncached, err := ours(ctx, document, token, -1)
	if err != nil {
		return nil, err
	}
	cached, err := ours(ctx, document, token, 0)
	if err != nil {
		return nil, err
	}
	return []*contestant{
		{name: "signature alone", verify: signature},
		{name: "golang-jwt", verify: golangJWT(token, public.Key, string(algorithm))},
		{name: "verify", verify: uncached},
		{name: "verify, seen before", verify: cached},
	}, nil
}

// ours verifies as an API does that follows revocations.
func ours(ctx context.Context, document []byte, token string, cacheSize int) (func() error, error) {
	issuer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/revocations") {
			_, _ = io.WriteString(w, `{"entries":[],"next":1}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, document)
	})
	v, err := verify.New(verify.Config{
		Issuer: verifyIssuer, CacheSize: cacheSize, FollowRevocations: true,
		HTTPClient: &http.Client{Transport: inPlace{issuer}},
	})
	if err != nil {
		return nil, err
	}
	if _, err = v.Verify(ctx, token); err != nil {
		return nil, err
	}
	v.Close() // what it knows goes on counting; asking meanwhile is not what is measured
	return func() error {
		_, err := v.Verify(ctx, token)
		return err
	}, nil
}

// inPlace answers requests without a network.
type inPlace struct{ handler http.Handler }

func (t inPlace) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	t.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// golangJWT verifies with the library alone, into its own claims.
func golangJWT(token string, key any, algorithm string) func() error {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(verifyIssuer), jwt.WithAudience(verifyIssuer), jwt.WithExpirationRequired(),
	)
	return func() error {
		_, err := parser.ParseWithClaims(token, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return key, nil })
		return err
	}
}

var errSignature = errors.New("the signature is wrong")

// bareSignature checks the signature of a token that is decoded already.
func bareSignature(token string, key any) (func() error, error) {
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		return nil, err
	}
	signed := []byte(token[:dot])
	check := func(good bool) error {
		if !good {
			return errSignature
		}
		return nil
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return func() error {
			digest := sha256.Sum256(signed)
			return check(ecdsa.Verify(key, digest[:], r, s))
		}, nil
	case *rsa.PublicKey:
		return func() error {
			digest := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
		}, nil
	case ed25519.PublicKey:
		return func() error { return check(ed25519.Verify(key, signed, signature)) }, nil
	}
	return nil, fmt.Errorf("no bare check for %T", key)
}
