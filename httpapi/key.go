package httpapi

import (
	"context"
	"fmt"

	"github.com/innkeeper-auth/innkeeper/keyring"
)

type jwksOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte `contentType:"application/jwk-set+json"`
}

// jwks publishes the public signing keys (RFC 7517 section 5). Verifiers may keep
// them for as long as it says, because no key signs that has been published for
// less.
func (a *API) jwks(context.Context, *struct{}) (*jwksOutput, error) {
	return &jwksOutput{
		ContentType:  "application/jwk-set+json",
		CacheControl: fmt.Sprintf("public, max-age=%d", int(keyring.JWKSMaxAge.Seconds())),
		Body:         a.authority.JWKS(),
	}, nil
}
