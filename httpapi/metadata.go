package httpapi

import (
	"context"
	"net/http"
	"net/url"

	"github.com/innkeeper-auth/innkeeper"
)

const metadataPath = "/.well-known/oauth-authorization-server"

// metadataBody says what there is (RFC 8414 section 2). What there is not is left
// out, as section 3.2 asks for lists without members: response_types_supported too,
// since nothing is authorized in a browser here.
type metadataBody struct {
	Issuer                string   `json:"issuer" doc:"The iss of every token, to the byte"`
	JWKSURI               string   `json:"jwks_uri"`
	TokenEndpoint         string   `json:"token_endpoint"`
	TokenAuth             []string `json:"token_endpoint_auth_methods_supported" nullable:"false"`
	GrantTypes            []string `json:"grant_types_supported" nullable:"false"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported" nullable:"false"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported" nullable:"false"`
}

type metadataOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         metadataBody
}

func (a *API) metadata(context.Context, *struct{}) (*metadataOutput, error) {
	issuer := a.authority.Issuer()
	withSecret := []string{"client_secret_basic", "client_secret_post"}
	anyWay := append([]string{"none"}, withSecret...)
	return &metadataOutput{CacheControl: "public, max-age=600", Body: metadataBody{
		Issuer: issuer, JWKSURI: issuer + "/.well-known/jwks.json", GrantTypes: []string{"refresh_token"},
		TokenEndpoint: issuer + "/oauth/token", TokenAuth: anyWay,
		RevocationEndpoint: issuer + "/oauth/revoke", RevocationAuth: anyWay,
		IntrospectionEndpoint: issuer + "/oauth/introspect", IntrospectionAuth: withSecret,
	}}, nil
}

// metadataOfPath answers for an issuer with a path, whose metadata lies between host
// and path (RFC 8414 section 3.1): that of https://example.com/inn is looked for at
// https://example.com/.well-known/oauth-authorization-server/inn.
func (a *API) metadataOfPath(plain http.Handler) (http.HandlerFunc, error) {
	issuer, err := url.Parse(a.authority.Issuer())
	if err != nil {
		return nil, &innkeeper.InputError{Field: "issuer", Detail: "give a URL"}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if issuer.Path == "" || r.URL.Path != metadataPath+issuer.Path {
			a.refuseHTTP(w, r, nothingHere())
			return
		}
		between := r.Clone(r.Context())
		between.URL.Path, between.URL.RawPath = metadataPath, ""
		plain.ServeHTTP(w, between)
	}, nil
}
