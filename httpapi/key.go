package httpapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/keyring"
)

type jwksOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte `contentType:"application/jwk-set+json"`
}

// jwksBody is what the answer holds, for its description.
type jwksBody struct {
	Keys []jwkBody `json:"keys" nullable:"false"`
}

type jwkBody struct {
	KeyID     string `json:"kid" doc:"Its RFC 7638 thumbprint"`
	Type      string `json:"kty" enum:"EC,RSA,OKP"`
	Use       string `json:"use" enum:"sig"`
	Algorithm string `json:"alg" enum:"ES256,RS256,EdDSA"`
	Curve     string `json:"crv,omitempty" enum:"P-256,Ed25519"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	Modulus   string `json:"n,omitempty"`
	Exponent  string `json:"e,omitempty"`
}

func jwksOperation(a *API) route {
	r := op("GET /.well-known/jwks.json", "jwks", "The public keys that verify access tokens", 200)
	r.Responses["200"] = &huma.Response{
		Description: "OK",
		Content:     map[string]*huma.MediaType{"application/jwk-set+json": {Schema: schemaOf[jwksBody](a, "JWKSBody")}},
	}
	return r
}

// jwks publishes the public signing keys (RFC 7517 section 5). Verifiers may keep
// them for as long as it says, because no key signs that has been published for
// less. While the store does not answer, nobody may keep what may be old.
func (a *API) jwks(ctx context.Context, _ *struct{}) (*jwksOutput, error) {
	jwks, maxAge := a.authority.PublicKeys(ctx)
	out := &jwksOutput{
		ContentType:  "application/jwk-set+json",
		CacheControl: fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds())),
		Body:         jwks,
	}
	if maxAge == 0 {
		out.CacheControl = "no-store"
	}
	return out, nil
}

type keyBody struct {
	KeyID       string    `json:"kid" doc:"As in the header of tokens and in the JWKS"`
	State       string    `json:"state" enum:"published,active,retiring,removed" doc:"published: next, signs nothing yet; active: signs; retiring: verifies what it has signed; removed: gone"`
	Algorithm   string    `json:"alg" enum:"ES256,RS256,EdDSA"`
	PublishedAt time.Time `json:"published_at,omitzero"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	RetiredAt   time.Time `json:"retired_at,omitzero"`
	RemovedAt   time.Time `json:"removed_at,omitzero"`
	NextAt      time.Time `json:"next_at,omitzero" doc:"Of a published key: when it may sign, at the earliest. Of a retiring one: when it is removed"`
}

type keysOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Keys []keyBody `json:"keys" nullable:"false" doc:"The active one first, then the one that is next, those that retire, and those that are gone; each newest first"`
	}
}

func (a *API) listKeys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	keys, err := a.authority.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{CacheControl: "no-store"}
	out.Body.Keys = make([]keyBody, len(keys))
	for i, key := range keys {
		out.Body.Keys[i] = keyBody{
			KeyID: key.KeyID, State: string(key.State), Algorithm: string(key.Algorithm),
			PublishedAt: key.PublishedAt, ActivatedAt: key.ActivatedAt, RetiredAt: key.RetiredAt, RemovedAt: key.RemovedAt,
			NextAt: key.NextAt(),
		}
	}
	return out, nil
}

func (a *API) rotateKeys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	if _, err := a.authority.RotateKeys(ctx, byClerk(ctx)); err != nil {
		return nil, err
	}
	return a.listKeys(ctx, nil)
}

type keyInput struct {
	KeyID     string `path:"kid" doc:"As in the list of keys"`
	Emergency bool   `query:"emergency" doc:"The key has been stolen: refuse all that it has signed, from now on. If the database or the memory of a server has leaked, the one that is next was in it too, and would sign now: DELETE /admin/keys?emergency=true"`
}

func (a *API) retireKey(ctx context.Context, in *keyInput) (*nothing, error) {
	retire := a.authority.RetireKey
	if in.Emergency {
		retire = a.authority.RevokeKey
	}
	_, err := retire(ctx, in.KeyID, byClerk(ctx))
	return done(err)
}

type keysInput struct {
	Emergency bool `query:"emergency" required:"true" doc:"true, and nothing else: whoever leaves it out has not meant this"`
}

// revokeKeys answers with the keys that there are now: the token of whoever asks is
// refused from here on, so that they could not list them before they have refreshed.
func (a *API) revokeKeys(ctx context.Context, in *keysInput) (*keysOutput, error) {
	if !in.Emergency {
		return nil, &innkeeper.InputError{Field: "emergency", Detail: "say true to revoke every key"}
	}
	if _, err := a.authority.RevokeAllKeys(ctx, byClerk(ctx)); err != nil {
		return nil, err
	}
	return a.listKeys(ctx, nil)
}

// earlyProblem is a move of keys that would harm somebody. It passes by itself.
func earlyProblem(early *keyring.TooEarlyError) *Problem {
	const next = "; if the key was stolen, DELETE /admin/keys/{kid}?emergency=true"
	code := "key_too_young"
	if early.State == keyring.Retiring {
		code = "key_in_use"
	}
	p := newProblem(http.StatusConflict, code, early.Error()+next)
	p.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(early.Wait, time.Second).Seconds()))))
	return p
}
